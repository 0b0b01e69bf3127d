"""Forecasts, members and references keep to the bounds of their quantities."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr

from gfrnn.pipeline.config.durations import Duration
from gfrnn.pipeline.data.grid import Channel, Grid
from gfrnn.pipeline.data.transforms import ChannelTransforms
from gfrnn.pipeline.forecasting.divergence import STAYED, DecodedLead
from gfrnn.pipeline.forecasting.forecast_store import (
    create_forecast_store,
    finish_forecast_store,
    open_forecasts,
)
from gfrnn.pipeline.forecasting.forecast_writer import write_forecasts
from gfrnn.pipeline.verification.online.computed_forecasts import _Batch
from gfrnn.pipeline.verification.systems.physical_errors import physical_errors, physical_members

STARTS, LEADS, CELLS, MEMBERS = 3, 2, 20, 4
NAMES = ["specific_humidity", "specific_humidity", "temperature", "total_precipitation"]
LEVELS = [500.0, 850.0, 850.0, None]
GRID = Grid(
    tuple(Channel(name, level) for name, level in zip(NAMES, LEVELS, strict=True)),
    np.linspace(-30, 30, 4),
    np.arange(5) * 2.0,
)
TRANSFORMS = ChannelTransforms.of(
    xr.Dataset({name: xr.DataArray(0.0, attrs={"units": "1"}) for name in NAMES}), NAMES
)
LOW = np.array([0.0, 0.0, -np.inf, 0.0])


class Spread:
    """Members that are a forecast and fixed departures from it."""

    count = MEMBERS
    departures = np.linspace(-1, 1, MEMBERS, dtype=np.float32)[:, None, None, None]

    def fields(self, centre: np.ndarray, first: int, channels: slice) -> Iterator[np.ndarray]:
        for own in centre:
            yield own + self.departures


def decoded(values: np.ndarray) -> Iterator[DecodedLead]:
    for lead in range(LEADS):
        yield DecodedLead(values[:, lead], np.zeros(STARTS), np.full(STARTS, STAYED))


@pytest.mark.parametrize("members", [None, Spread()])
def test_stored_and_computed_forecasts_keep_to_bounds(tmp_path: Path, members: Any) -> None:
    path = tmp_path / "forecast.zarr"
    values = np.random.default_rng(0).standard_normal((STARTS, LEADS, GRID.size))
    initial = np.arange("2001-01-01", "2001-01-04", dtype="datetime64[D]").astype("datetime64[ns]")
    described = {name: {"units": "1"} for name in NAMES}
    count = None if members is None else MEMBERS
    create_forecast_store(
        path, GRID, initial, Duration.parse("1d"), LEADS, described, {}, STARTS, count
    )
    write_forecasts(path, GRID, 0, decoded(values), members, TRANSFORMS)
    finish_forecast_store(path, GRID)
    store = open_forecasts(path).load()
    fields = values.astype(np.float32).reshape(STARTS, 1, LEADS, 4, CELLS)
    if members is not None:
        fields = fields + Spread.departures.reshape(1, MEMBERS, 1, 1, 1)
    wanted = np.maximum(fields, LOW[:, None].astype(np.float32))
    assert (wanted[..., [0, 1, 3], :] == 0).any()
    for number, (name, level) in enumerate(zip(NAMES, LEVELS, strict=True)):
        own = store[name] if level is None else store[name].sel(level=level)
        found = own.values.reshape(STARTS, -1, LEADS, CELLS)
        np.testing.assert_array_equal(found, wanted[:, :, :, number])
    batch = _Batch(decoded(values), members, TRANSFORMS)
    for lead in range(LEADS):
        np.testing.assert_array_equal(batch.next_lead(lead, 4)[0], wanted[:, :, lead])


def test_references_keep_to_bounds() -> None:
    """Errors and anomalies are those of the forecasts after they are cut at the bounds."""
    rng = np.random.default_rng(1)
    real = np.maximum(rng.standard_normal((5, 4, CELLS)), LOW[:, None])
    climatology = np.full_like(real, 0.2)
    roots = rng.uniform(0.5, 1.0, (4, CELLS))
    roots[:, 0] = 0.0  # in the mask
    pairs: Any = SimpleNamespace(
        truth=SimpleNamespace(roots=roots), real=real, later=(real - climatology) * roots
    )
    members = rng.standard_normal((5, MEMBERS, 4, CELLS))  # anomalies
    fields = np.maximum(members + climatology[:, None], LOW[:, None])
    outside = roots > 0
    found = physical_members(members.copy(), pairs, TRANSFORMS)
    wanted = fields - climatology[:, None]
    np.testing.assert_allclose(found[..., outside], wanted[..., outside], atol=1e-12)
    np.testing.assert_array_equal(found[:, :, LOW == 0, 0], 0.0)

    def errors(rows: slice, channel: int, cells: slice) -> np.ndarray:
        anomaly = members[rows, 0, channel, cells] + climatology[rows, channel, cells]
        return (anomaly - real[rows, channel, cells]) * roots[channel, cells]

    converted = physical_errors(errors, pairs, TRANSFORMS)
    assert converted is not None
    for channel in range(4):
        one = converted(slice(1, 4), channel, slice(None))
        expected = (fields[1:4, 0, channel] - real[1:4, channel]) * roots[channel]
        np.testing.assert_allclose(one, expected, atol=1e-12)
