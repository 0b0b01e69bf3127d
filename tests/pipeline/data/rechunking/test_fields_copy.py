"""Copies of fields have the values of the archive, and decode each of its chunks once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.data.rechunking import area_tiles, fields_copy
from gfrnn.pipeline.data.rechunking.fields_copy import FieldsCopy, can_be_copied
from gfrnn.pipeline.data.stored_chunks import ChunkReads
from gfrnn_testing.archives import make, opened

TIMES = 40
WINDOWS = np.array([[2, 19], [22, 37]])


@pytest.fixture
def decoded(monkeypatch) -> Counter[str]:
    """Count how often the stored chunks of each array are read."""
    counts: Counter[str] = Counter()
    plain = zarr.storage.LocalStore.get

    async def get(self, key, *arguments, **options):
        found = await plain(self, key, *arguments, **options)
        if found is not None and "/c/" in f"/{key}" and "/copy" not in str(self.root):
            counts[f"{self.root}/{key}"] += 1
        return found

    monkeypatch.setattr(zarr.storage.LocalStore, "get", get)
    return counts


def stored(path: Path, z: tuple[int, ...], t2m: tuple[int, ...], order=lambda ds: ds) -> Path:
    """Write an archive whose chunks have some lengths."""
    ds = order(make(TIMES))
    encoding = {"z": {"chunks": z}, "t2m": {"chunks": t2m}}
    ds.to_zarr(path, zarr_format=3, consolidated=False, encoding=encoding)
    return path


def southwards(ds: xr.Dataset) -> xr.Dataset:
    return ds.isel(latitude=slice(None, None, -1))


def from_the_date_line(ds: xr.Dataset) -> xr.Dataset:
    return ds.assign_coords(longitude=(ds.longitude + 180) % 360 - 180).sortby("longitude")


PLACES = {"region": {"latitude": [41, 45], "longitude": [100, 280]}}
GREENWICH = {"region": {"latitude": [41, 45], "longitude": [-100, 100]}}
SIX = {"step": "12h", "variables": {"geopotential": [850], "2m_temperature": None}}


@pytest.mark.parametrize(
    ("order", "data"),
    [
        (lambda ds: ds, {}),
        (lambda ds: ds, SIX),
        (lambda ds: ds, GREENWICH),
        (southwards, PLACES),
        (from_the_date_line, {}),
        (from_the_date_line, PLACES),
    ],
)
@pytest.mark.parametrize("budget", [1, 4 * 40 * 16, 2**28])
def test_a_copy_has_the_values_and_plans_its_chunks(
    tmp_path, monkeypatch, decoded, order, data, budget
):
    monkeypatch.setattr(area_tiles, "_TASK_BYTES", budget)
    path = stored(tmp_path / "a", (TIMES, 1, 2, 3), (16, 3, 4), order)
    ds = opened(path, **data)
    windows = WINDOWS // (2 if "step" in data else 1)
    copy = FieldsCopy(ds, tmp_path / "copy", windows, 3)
    decoded.clear()
    copy.write()
    # A run in each window: z has one chunk along time, t2m up to three.
    reads = ChunkReads.count(Fields(ds).stored_chunks, windows)
    assert sum(decoded.values()) <= reads.chunks  # regions need not have all tiles
    assert max(n for key, n in decoded.items() if "/z/" in key) == len(windows)
    copied, fields = Fields(copy.dataset()), Fields(ds)
    for first, last in windows:
        np.testing.assert_array_equal(copied.read(first, last), fields.read(first, last))
    planned, real = copy.planned_fields().stored_chunks, copied.stored_chunks
    for mine, theirs in zip(planned, real, strict=True):
        for name in ("chunk_bytes", "chunks_per_time", "file_times", "field_bytes"):
            assert getattr(mine, name) == getattr(theirs, name), name
        assert mine.copied >= theirs.copied  # memory is planned for the worse case


def test_one_window_decodes_each_chunk_once_and_other_times_have_no_values(tmp_path, decoded):
    ds = opened(stored(tmp_path / "a", (TIMES, 1, 2, 3), (16, 3, 4)))
    copy = FieldsCopy(ds, tmp_path / "copy", np.array([[1, 39]]), 5)
    decoded.clear()
    copy.write()
    assert set(decoded.values()) == {1}
    assert len(decoded) == 2 * 2 * 3 + 3 * 2 * 2
    assert np.isnan(copy.dataset()["geopotential"].isel(time=0)).all()


@pytest.mark.parametrize("times", [1, 3])
def test_chunks_of_the_copy_are_not_written_again_for_each_stored_chunk(
    tmp_path, monkeypatch, decoded, times
):
    ds = opened(stored(tmp_path / "a", (times, 3, 5, 6), (times, 5, 6)))
    length, written = 10, Counter[str]()
    copy = FieldsCopy(ds, tmp_path / "copy", WINDOWS, length)
    # Room for two chunks of the copy, so that one that is begun is continued once at most.
    monkeypatch.setattr(area_tiles, "_TASK_BYTES", 2 * length * 4 * 3 * 5 * 6)
    plain = zarr.storage.LocalStore.set

    async def put(self, key, *arguments, **options):
        if "/copy" in str(self.root) and "/c/" in f"/{key}":
            written[f"{self.root}/{key}"] += 1
        return await plain(self, key, *arguments, **options)

    monkeypatch.setattr(zarr.storage.LocalStore, "set", put)
    decoded.clear()
    copy.write()
    assert set(written.values()) <= {1, 2}
    assert len(written) > 4
    assert set(decoded.values()) == {1}
    for first, last in WINDOWS:
        expected = Fields(ds).read(first, last)
        np.testing.assert_array_equal(Fields(copy.dataset()).read(first, last), expected)


def test_a_killed_copy_is_finished(tmp_path, monkeypatch, decoded):
    ds = opened(stored(tmp_path / "a", (TIMES, 1, 2, 3), (TIMES, 3, 4)))
    monkeypatch.setattr(area_tiles, "_TASK_BYTES", 1)
    copy, plain, calls = FieldsCopy(ds, tmp_path / "copy", WINDOWS, 5), fields_copy._write_tile, []

    def dies(*arguments):
        calls.append(arguments)
        if len(calls) == 6:
            raise KeyboardInterrupt
        plain(*arguments)

    monkeypatch.setattr(fields_copy, "_write_tile", dies)
    with pytest.raises(KeyboardInterrupt):
        copy.write()
    monkeypatch.setattr(fields_copy, "_write_tile", plain)
    decoded.clear()
    copy.write()
    assert len(decoded) == len(copy.tasks) - 5
    np.testing.assert_array_equal(Fields(copy.dataset()).read(2, 19), Fields(ds).read(2, 19))


def test_files_of_several_grids_cannot_be_copied(tmp_path):
    whole = make(20)
    whole.isel(time=slice(0, 10)).to_netcdf(tmp_path / "0.nc")
    southwards(whole.isel(time=slice(10, 20))).to_netcdf(tmp_path / "1.nc")
    assert not can_be_copied(opened(tmp_path / "*.nc"))
    assert can_be_copied(opened(tmp_path / "0.nc"))
    assert not can_be_copied(opened(tmp_path / "0.nc").load().drop_encoding())
