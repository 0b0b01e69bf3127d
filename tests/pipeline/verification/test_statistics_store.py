"""Test the store of statistics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from gfrnn.pipeline.storage import string_array
from gfrnn.pipeline.verification.statistics_store import (
    create_statistics_store,
    finish_statistics_store,
    open_statistics,
    read_quantiles,
    unwritten,
    write_quantiles,
)


def test_quantiles_leave_the_key_and_the_coordinates_of_the_store(tmp_path: Path) -> None:
    path = tmp_path / "statistics.zarr"
    coords = xr.Dataset(
        coords={
            "time": np.array(["2001-01-01", "2001-01-02"], "datetime64[ns]"),
            "channel": string_array(["t2m"]),
            "units": ("channel", string_array(["K"])),
        }
    )
    create_statistics_store(path, coords, {"error": ("channel", "time")}, 1, "abc")
    quantiles = np.random.default_rng(0).random((2, 12, 6)).astype(np.float32)
    quantiles[1] = np.nan
    for _ in range(2):  # a resumed verification writes them again
        write_quantiles(path, quantiles, np.array([10.0, 20.0]), np.array([0.0, 1.0, 2.0]))
    np.testing.assert_array_equal(read_quantiles(path), quantiles)
    left = unwritten(path, "abc")
    assert left is not None
    assert left.all()
    finish_statistics_store(path)
    found = open_statistics(path)
    assert {"units", "latitude", "longitude", "month"} <= set(found.coords)
    assert found["event_quantile"].dims == ("event", "month", "latitude", "longitude")
    np.testing.assert_array_equal(found["latitude"].values, [10.0, 20.0])
