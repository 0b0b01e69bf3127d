"""Test the store of statistics."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
import xarray as xr

from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.storage import string_array
from gfrnn.pipeline.verification.statistics_store import (
    create_statistics_store,
    finish_statistics_store,
    open_statistics,
    read_quantiles,
    unwritten,
    use_tasks_of,
    write_quantiles,
    write_statistics,
)

VARIABLES = {"known": ("time", "prediction_timedelta")}


def test_quantiles_leave_the_key_and_the_coordinates_of_the_store(tmp_path: Path) -> None:
    path = tmp_path / "statistics.zarr"
    coords = xr.Dataset(
        coords={
            "time": np.array(["2001-01-01", "2001-01-02"], "datetime64[ns]"),
            "channel": string_array(["t2m"]),
            "units": ("channel", string_array(["K"])),
        }
    )
    coords = coords.assign_coords(prediction_timedelta=[1])
    create_statistics_store(path, coords, VARIABLES, 1, "abc")
    quantiles = np.random.default_rng(0).random((2, 12, 6)).astype(np.float32)
    quantiles[1] = np.nan
    for _ in range(2):  # a resumed verification writes them again
        write_quantiles(path, quantiles, np.array([10.0, 20.0]), np.array([0.0, 1.0, 2.0]))
    np.testing.assert_array_equal(read_quantiles(path), quantiles)
    left = unwritten(path, "abc")
    assert left is not None
    assert left.all()
    write_statistics(path, 0, {"known": np.ones((2, 1))})
    finish_statistics_store(path)
    found = open_statistics(path)
    assert {"units", "latitude", "longitude", "month"} <= set(found.coords)
    assert found["event_quantile"].dims == ("event", "month", "latitude", "longitude")
    np.testing.assert_array_equal(found["latitude"].values, [10.0, 20.0])


def begun(path: Path, batch: int) -> None:
    """Create a store of 20 initial times, of which the first task has written its own."""
    times = np.datetime64("2001-01-01", "ns") + np.arange(20) * np.timedelta64(1, "D")
    coords = xr.Dataset(coords={"time": times, "prediction_timedelta": [1, 2]})
    coords["valid_time"] = ("time", "prediction_timedelta"), times[:, None] + np.zeros(2, "m8[ns]")
    create_statistics_store(path, coords.set_coords("valid_time"), VARIABLES, batch, "abc")
    write_statistics(path, 0, {"known": np.ones((batch, 2))})


@pytest.mark.parametrize("length", [5, 8, 13, 64])
def test_tasks_of_another_length_do_not_share_chunks(tmp_path: Path, length: int) -> None:
    path = tmp_path / "statistics.zarr"
    begun(path, 8)
    use_tasks_of(path, length)
    left = unwritten(path, "abc")
    assert left is not None
    np.testing.assert_array_equal(np.flatnonzero(~left), np.arange(8))
    firsts = [first for first in range(0, 20, length) if left[first : first + length].any()]
    together = Barrier(len(firsts))

    def write(first: int) -> None:
        together.wait()
        count = min(length, 20 - first)
        write_statistics(path, first, {"known": np.full((count, 2), 1.0 + first)})

    with ThreadPoolExecutor(len(firsts)) as pool:
        list(pool.map(write, firsts))
    finish_statistics_store(path)
    found = open_statistics(path)["known"]
    wanted = [1.0 + start // length * length for start in range(20)]
    np.testing.assert_array_equal(found[firsts[0] :, 1], wanted[firsts[0] :])
    np.testing.assert_array_equal(found[: firsts[0]], 1.0)


def test_a_store_with_missing_statistics_is_not_finished(tmp_path: Path) -> None:
    path = tmp_path / "statistics.zarr"
    begun(path, 8)
    with pytest.raises(RunError, match="12 of 20 initial times have no statistics.*again"):
        finish_statistics_store(path)
    left = unwritten(path, "abc")
    assert left is not None
    assert left.sum() == 12


def test_a_finished_store_misses_nothing_and_is_not_finished_twice(tmp_path: Path) -> None:
    path = tmp_path / "statistics.zarr"
    begun(path, 20)
    finish_statistics_store(path)
    for key, wanted in (("abc", 0), ("other", None), ("", None)):
        left = unwritten(path, key)
        assert (None if left is None else left.sum()) == wanted
    next(file for file in path.glob("known/c/**/*") if file.is_file()).write_bytes(b"damage")
    finish_statistics_store(path)  # as when a process was killed while scores were computed
    with pytest.raises(RunError, match="the array known"):
        open_statistics(path)
