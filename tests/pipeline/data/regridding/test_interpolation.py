"""Interpolation of a source to the grid of another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from gfrnn.pipeline.config.data_config import DataConfig
from gfrnn.pipeline.config.section import checked
from gfrnn.pipeline.data.dataset import open_source
from gfrnn.pipeline.data.regridding.interpolation import _neighbours
from gfrnn.pipeline.errors import ConfigError, DataError
from gfrnn_testing.archives import DATA, real

PACIFIC = DATA / "pacific_sst_slp_monthly_1856_2014"


def write(path: Path, name: str, lat: np.ndarray, lon: np.ndarray, values: Any) -> str:
    """Write five days of a field that is a function of time, latitude and longitude."""
    time = np.arange(5.0)
    fields = np.asarray(values(time[:, None, None], lat[:, None], lon), "f8")
    fields = np.broadcast_to(fields, (5, lat.size, lon.size))
    units = {"sst": "K", "slp": "Pa"}[name]
    ds = xr.Dataset(
        {name: (("time", "lat", "lon"), fields, {"units": units})},
        {"time": np.datetime64("2001-01-01", "ns") + np.arange(5) * np.timedelta64(1, "D"),
         "lat": lat, "lon": lon},
    )  # fmt: skip
    ds.to_netcdf(path)
    return str(path)


def opened(grid: str, other: str, **keys: Any) -> xr.Dataset:
    sources = [{"path": grid}, {"path": other, "interpolate": True}]
    return open_source(DataConfig.model_validate({"sources": sources, **keys}))


def bilinear(t: Any, y: Any, x: Any) -> Any:
    return 1e5 + t + 3 * y - 2 * x + 0.25 * x * y


def test_coordinates_in_single_precision_lose_no_value(tmp_path):
    """Points on an edge, or on a point beside a missing value, are those of the file."""
    lat, lon = np.arange(30, 50.1, 2 / 3), np.arange(0, 20.1, 2 / 3)
    grid = write(tmp_path / "sst.nc", "sst", lat, lon, lambda t, y, x: 290 + t + 0 * (x + y))
    every = slice(None, None, 2)

    def field(t: Any, y: Any, x: Any) -> Any:
        gap = (np.abs(y - lat[10]) < 0.1) & (np.abs(x - lon[10]) < 0.1)
        return np.where(gap, np.nan, bilinear(t, y, x))

    double = write(tmp_path / "double.nc", "slp", lat[every], lon[every], field)
    single = write(
        tmp_path / "single.nc", "slp", lat[every].astype("f4"), lon[every].astype("f4"), field
    )
    expected, found = (
        opened(grid, other)["mean_sea_level_pressure"].values for other in (double, single)
    )
    assert np.isnan(expected[0]).sum() == 9
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_bilinear_fields_are_exact_and_the_outside_is_missing(tmp_path):
    lat, lon = np.arange(-10.0, 11, 5), np.arange(160.0, 201, 5)
    grid = write(tmp_path / "sst.nc", "sst", lat[::-1], lon, lambda t, y, x: 290 + t + 0 * (x + y))
    near = lat[:-1] + 2.5, lon[:-1] + 2.5
    other = write(tmp_path / "slp.nc", "slp", near[0][::-1], near[1], bilinear)
    found = opened(grid, other)["mean_sea_level_pressure"]
    assert found.shape == (5, lat.size, lon.size)
    inside = found[:, 1:-1, 1:-1]
    expected = bilinear(np.arange(5)[:, None, None], lat[1:-1, None], lon[1:-1])
    np.testing.assert_allclose(inside, expected, rtol=1e-6)
    assert np.isfinite(found.values).sum() == inside.size
    part = opened(grid, other, region={"latitude": [-6, 6], "longitude": [170, 180]})
    np.testing.assert_array_equal(
        part["mean_sea_level_pressure"], found.sel(latitude=slice(-6, 6), longitude=slice(170, 180))
    )
    one = found.isel(time=3, latitude=2, longitude=[4, 2])
    np.testing.assert_array_equal(one, found.values[3, 2, [4, 2]])


def test_a_global_grid_has_no_edge_in_longitude(tmp_path):
    lat = np.array([-5.0, 0.0, 5.0])
    grid = write(tmp_path / "sst.nc", "sst", lat, np.arange(0.0, 360, 10), lambda *_: 290.0)
    shifted = np.arange(-175.0, 180, 10)
    fields = lambda t, y, x: 1e5 + 100 * np.cos(np.deg2rad(x)) + 0 * (t + y)  # noqa: E731
    found = opened(grid, write(tmp_path / "slp.nc", "slp", lat, shifted, fields))
    values = found["mean_sea_level_pressure"].values - 1e5
    # The mean of two neighbours of a cosine is the cosine in the middle, a little smaller.
    expected = 100 * np.cos(np.deg2rad(np.arange(0, 360, 10))) * np.cos(np.deg2rad(5))
    np.testing.assert_allclose(values, np.broadcast_to(expected, values.shape), atol=0.02)


def test_a_region_across_greenwich_is_not_joined_outside_of_it(tmp_path):
    lat = np.array([-5.0, 0.0, 5.0])
    grid = write(tmp_path / "sst.nc", "sst", lat, np.arange(0.0, 360, 10), lambda *_: 290.0)
    fields = lambda t, y, x: 1e5 + x + 0 * (t + y)  # noqa: E731
    found = opened(grid, write(tmp_path / "slp.nc", "slp", lat, np.arange(-25.0, 26, 10), fields))
    known = np.isfinite(found["mean_sea_level_pressure"].values).all(axis=(0, 1))
    assert found["longitude"].values[known].tolist() == [0, 10, 20, 340, 350]
    values = found["mean_sea_level_pressure"].values[0, 0, known] - 1e5
    np.testing.assert_allclose(values, [0, 10, 20, -20, -10], atol=0.02)


def test_missing_values_do_not_spread_to_points_of_both_grids(tmp_path):
    lat, lon = np.arange(-10.0, 11, 5), np.arange(160.0, 201, 5)
    grid = write(tmp_path / "sst.nc", "sst", lat, lon, lambda *_: 290.0)
    hole = lambda t, y, x: np.where((y == 0) & (x == 180), np.nan, 1e5 + 0 * t)  # noqa: E731
    found = opened(grid, write(tmp_path / "slp.nc", "slp", lat, lon, hole))
    missing = np.isnan(found["mean_sea_level_pressure"].values)
    assert missing[0].sum() == 1
    assert missing[:, 2, 4].all()


@given(
    st.lists(st.integers(0, 50), min_size=1, max_size=8, unique=True).map(sorted),
    st.lists(st.integers(-5, 60), min_size=1, max_size=8),
)
def test_neighbours_enclose_what_lies_within_the_points(points, wanted):
    at, goal = np.array(points, float), np.array(wanted, float)
    pairs, weights = _neighbours(at, goal)
    known = np.isfinite(weights).all(axis=1)
    low, high = at[pairs[:, 0]], at[pairs[:, 1]]
    assert ((low <= goal) & (goal <= high))[known].all()
    between = (weights * np.stack([low, high], axis=1)).sum(axis=1)
    np.testing.assert_allclose(between[known], goal[known])
    assert known[np.isin(goal, at)].all()
    assert not known[(goal < at[0]) | (goal > at[-1])].any()


def test_grids_that_differ_name_the_key(tmp_path):
    lat, lon = np.arange(-10.0, 11, 5), np.arange(160.0, 201, 5)
    grid = write(tmp_path / "sst.nc", "sst", lat, lon, lambda *_: 290.0)
    other = write(tmp_path / "slp.nc", "slp", lat + 1, lon, bilinear)
    with pytest.raises(DataError, match=r"different latitudes.*\(data\.sources\.interpolate\)"):
        open_source(DataConfig.model_validate({"sources": [grid, other]}))


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"sources": [{"path": "a.nc", "interpolate": True}]}, "none gives the grid; leave it out"),
        (
            {"sources": ["a.nc"], "static": [{"path": "b.nc", "interpolate": True}]},
            r"data\.static: interpolate is allowed in data\.sources only",
        ),
    ],
)
def test_interpolation_without_a_grid_is_refused(tree, message):
    with pytest.raises(ConfigError, match=message):
        checked(DataConfig, tree, "data")


@real
def test_pressure_on_the_grid_of_the_sea_surface_temperature():
    ds = opened(str(PACIFIC / "sst.nc"), str(PACIFIC / "slp.nc"))
    with xr.open_dataset(PACIFIC / "slp.nc") as slp:
        expected = slp["slp"].interp(lat=ds["latitude"].values, lon=ds["longitude"].values) * 100
    np.testing.assert_allclose(ds["mean_sea_level_pressure"], expected, atol=0.01)
