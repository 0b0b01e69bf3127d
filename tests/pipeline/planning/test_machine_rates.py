"""The rate of reading is measured on a part of the grid where chunks hold long series."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import zarr

from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.planning import machine_rates
from gfrnn_testing.archives import make, opened

TIMES = 40
WINDOWS = np.array([[0, 20], [20, 40]])


def southwards(ds):
    return ds.isel(latitude=slice(None, None, -1))


@pytest.mark.parametrize(
    ("area", "order"),
    [((1, 2), lambda ds: ds), ((1, 2), southwards), ((4, 8), southwards)],
    ids=["series", "series southwards", "maps"],
)
def test_one_time_of_the_area_that_is_read_is_affordable(tmp_path, monkeypatch, area, order):
    """Chunks of whole maps are read as they are: a part of the grid would decode as much."""
    times = TIMES if area == (1, 2) else 1
    chunks = {"z": {"chunks": (times, 1, *area)}, "t2m": {"chunks": (times, *area)}}
    order(make(TIMES)).to_zarr(tmp_path / "a", consolidated=False, encoding=chunks)
    fields = Fields(opened(tmp_path / "a"))
    read, plain = Counter[str](), zarr.storage.LocalStore.get

    async def get(self, key, *arguments, **options):
        if "/c/" in f"/{key}":
            read[key] += 1
        return await plain(self, key, *arguments, **options)

    monkeypatch.setattr(zarr.storage.LocalStore, "get", get)
    allowed = 3 * 4 * TIMES * 2 * 4 if times == TIMES else 1  # four chunks of each of three fields
    monkeypatch.setattr(machine_rates, "_READ_BYTES", allowed)
    part = machine_rates._affordable_area(fields, 0)
    assert part.grid.shape[1:] == ((1, 8) if times == TIMES else (4, 8))
    rows = np.isin(fields.grid.latitude, part.grid.latitude)
    columns = np.isin(fields.grid.longitude, part.grid.longitude)
    whole = fields.read(3, 9).reshape(6, *fields.grid.shape)
    found = part.read(3, 9).reshape(6, *part.grid.shape)
    np.testing.assert_array_equal(found, whole[:, :, rows][..., columns])
    read.clear()
    rate = machine_rates.reading_rate(fields, WINDOWS)
    assert rate is not None
    assert rate > 0
    if times == TIMES:
        assert len(read) <= 12 < 3 * 4 * 4
