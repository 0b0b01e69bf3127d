"""Test conservative regridding: means over areas are kept, and come from no other cells."""

from __future__ import annotations

import pickle
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
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.data.grid import Grid
from gfrnn.pipeline.data.regridding.area_means import _edges, _latitudes, _longitudes
from gfrnn.pipeline.data.static_fields import open_static
from gfrnn.pipeline.errors import ConfigError, DataError

MSL = "mean_sea_level_pressure"


def write(path: Path, lat: np.ndarray, lon: np.ndarray, values: Any, name: str = "msl") -> str:
    """Write three days of fields, of shape (days, latitudes, longitudes) or broadcast to it."""
    fields = np.broadcast_to(np.asarray(values, "f8"), (3, lat.size, lon.size))
    ds = xr.Dataset(
        {name: (("time", "lat", "lon"), fields, {"units": "Pa" if name == "msl" else "m2 s-2"})},
        {"time": np.datetime64("2001-01-01", "ns") + np.arange(3) * np.timedelta64(1, "D"),
         "lat": lat, "lon": lon},
    )  # fmt: skip
    ds.to_netcdf(path)
    return str(path)


def opened(path: str, spacing: float, **keys: Any) -> xr.Dataset:
    return open_source(
        DataConfig.model_validate({"sources": [path], "grid": {"spacing": spacing}, **keys})
    )


def means_of_sine(edges: np.ndarray) -> np.ndarray:
    """Return the means of the sine of latitude over cells, exactly."""
    sines = np.sin(np.deg2rad(np.clip(edges, -90, 90)))
    return (sines[1:] + sines[:-1]) / 2


@pytest.mark.parametrize(("fine", "coarse"), [(1.5, 4.5), (2.0, 3.0), (2.5, 22.5)])
@pytest.mark.parametrize("poles", [True, False], ids=["poles", "between"])
def test_means_of_the_globe_and_of_each_cell_are_exact(tmp_path, fine, coarse, poles):
    lat = np.linspace(-90, 90, round(180 / fine) + 1)
    lat = lat if poles else (lat[1:] + lat[:-1]) / 2
    lon = np.arange(0, 360, fine)
    noise = np.random.default_rng(0).normal(size=(3, 1, lon.size))
    fields = 1e5 + 1e3 * (means_of_sine(_edges(lat))[:, None] + noise)
    ds = opened(write(tmp_path / "a.nc", lat[::-1], lon, fields[:, ::-1]), coarse)
    found = ds[MSL].values
    np.testing.assert_allclose(ds["latitude"], np.linspace(-90, 90, round(180 / coarse) + 1))
    np.testing.assert_allclose(ds["longitude"], np.arange(0, 360, coarse))
    fine_grid = Grid((), lat, lon)
    coarse_grid = Grid.from_dataset(ds)
    np.testing.assert_allclose(
        (found.mean(axis=2) * coarse_grid.area).mean(axis=1),
        (fields.mean(axis=2) * fine_grid.area).mean(axis=1),
        rtol=1e-7,
    )
    if not (poles and fine == 1.5):
        return  # the edges of larger cells lie inside of smaller ones, whose parts are unknown
    # The zonal mean of a cell is that of the sine of latitude, whose integral is known.
    expected = 1e5 + 1e3 * means_of_sine(_edges(ds["latitude"].values))
    zonal = (found - 1e3 * noise.mean(axis=2)[:, :, None]).mean(axis=2)
    np.testing.assert_allclose(zonal, np.broadcast_to(expected, zonal.shape), rtol=1e-7)


def test_a_cell_is_the_mean_of_what_it_covers(tmp_path):
    """Three by three cells of one degree, in a region across Greenwich."""
    lat, lon = np.arange(29.0, 44), np.arange(-7.0, 8)
    fields = np.random.default_rng(1).normal(1e5, 1e3, size=(3, 15, 15))
    ds = opened(write(tmp_path / "a.nc", lat, lon, fields), 3)
    assert ds["latitude"].values.tolist() == [30, 33, 36, 39, 42]
    assert ds["longitude"].values.tolist() == [0, 3, 6, 354, 357]
    area = np.diff(np.sin(np.deg2rad(np.arange(28.5, 44))))[:, None]
    for row, south in enumerate(range(0, 15, 3)):
        for column, west in zip((3, 4, 0, 1, 2), range(0, 15, 3), strict=True):
            box = np.s_[:, south : south + 3, west : west + 3]
            mean = (fields[box] * area[south : south + 3]).sum(axis=(1, 2))
            mean /= 3 * area[south : south + 3].sum()
            np.testing.assert_allclose(ds[MSL][:, row, column], mean, rtol=1e-6)


def test_cells_that_the_data_cover_in_part_are_left_out(tmp_path):
    path = write(tmp_path / "a.nc", np.arange(30.0, 41), np.arange(10.0, 21), 1e5)
    ds = opened(path, 3)  # 29.5 to 40.5 degrees north, 9.5 to 20.5 east
    assert ds["latitude"].values.tolist() == [33, 36, 39]
    assert ds["longitude"].values.tolist() == [12, 15, 18]
    part = opened(path, 3, region={"latitude": [32, 36.5], "longitude": [14, 20]})
    assert part["latitude"].values.tolist() == [33, 36]
    assert part["longitude"].values.tolist() == [15, 18]


def test_the_spacing_of_the_data_changes_nothing(tmp_path):
    lat, lon = np.arange(30.0, 41, 2), np.arange(-10.0, 21, 2)
    fields = np.random.default_rng(2).normal(1e5, 1e3, size=(3, lat.size, lon.size))
    path = write(tmp_path / "a.nc", lat, lon, fields)
    plain = open_source(DataConfig.model_validate({"sources": [path]}))
    np.testing.assert_array_equal(opened(path, 2)[MSL], plain[MSL])


def test_a_missing_value_is_missing_in_its_own_cell_only(tmp_path):
    lat, lon = np.arange(29.0, 44), np.arange(0.0, 15)
    fields = np.full((3, 15, 15), 1e5)
    fields[1, 4, 4] = np.nan
    found = opened(write(tmp_path / "a.nc", lat, lon, fields), 3)[MSL]
    missing = np.argwhere(np.isnan(found.values))
    assert missing.tolist() == [[1, 1, 0]]  # 33 degrees north, 3 degrees east, the second time
    assert found["longitude"].values[0] == 3


def test_parts_are_read_lazily_and_alike(tmp_path):
    lat, lon = np.arange(29.0, 44), np.arange(0.0, 15)
    fields = np.random.default_rng(3).normal(1e5, 1e3, size=(3, 15, 15))
    ds = opened(write(tmp_path / "a.nc", lat, lon, fields), 3)
    whole = ds[MSL].values
    again = pickle.loads(pickle.dumps(ds))
    np.testing.assert_array_equal(again[MSL].isel(time=2, latitude=[3, 1]), whole[2, [3, 1]])
    np.testing.assert_array_equal(Fields(ds).read(1, 3).reshape(2, 5, -1), whole[1:])
    assert any("means over cells of 3 degrees" in note for note in ds.attrs["notes"])
    # A read holds the values of the file too.
    one = open_source(DataConfig.model_validate({"sources": [str(tmp_path / "a.nc")]}))
    planned, plain = Fields(ds).read_bytes(3), Fields(one).read_bytes(3)
    assert planned - 8 * 3 * whole[0].size > plain - 8 * 3 * 15 * 15


def test_static_fields_are_averaged_too(tmp_path):
    lat, lon = np.arange(29.0, 44), np.arange(0.0, 15)
    height = 10.0 * np.arange(15.0)[:, None] + np.arange(15.0)
    msl = write(tmp_path / "a.nc", lat, lon, 1e5)
    static = write(tmp_path / "z.nc", lat, lon, height, name="geopotential_at_surface")
    config = DataConfig.model_validate(
        {"sources": [msl], "static": [static], "grid": {"spacing": 3}}
    )
    ds = open_source(config)
    (found,) = open_static(config, Grid.from_dataset(ds), ["geopotential_at_surface"])
    assert found.shape == (5, 4)
    np.testing.assert_allclose(found[:, 1] - found[:, 0], 3.0, rtol=1e-5)


@given(st.integers(20, 120), st.integers(2, 12), st.floats(0, 1), st.booleans())
def test_weights_have_the_sum_one_and_keep_areas(count, coarse, shift, poles):
    """Grids of any spacing and offset: each coarse cell covers its own area, and all of it."""
    spacing = 180 / coarse
    lat = np.linspace(-90, 90, count + 1)
    lat = lat if poles else (lat[1:] + lat[:-1]) / 2
    lon = np.sort((np.arange(2 * count) + shift) * 180 / count % 360)
    north, _, rows = _latitudes(lat, spacing)
    east, columns, shares = _longitudes(lon, spacing)
    assert north.size == coarse + 1
    assert east.size == 2 * coarse
    for weights in (rows, shares):
        np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-12)
        assert (weights >= 0).all()
    # Each fine cell gives all of itself, but for slivers that are rounding of coordinates.
    given_away = np.bincount(columns.ravel(), shares.ravel(), lon.size)
    np.testing.assert_allclose(given_away, east.size / lon.size, rtol=0, atol=5e-6)


@pytest.mark.parametrize(
    ("spacing", "message"),
    [
        (0.5, "data.grid.spacing: 0.5 degrees is finer than the grid of .*a.nc, 2 degrees"),
        (45, "no cell of 45 degrees lies inside of the cells of .*a.nc, latitudes 30..40"),
    ],
)
def test_what_cannot_be_averaged_is_refused(tmp_path, spacing, message):
    path = write(tmp_path / "a.nc", np.arange(30.0, 41, 2), np.arange(0.0, 21, 2), 1e5)
    with pytest.raises(DataError, match=message):
        opened(path, spacing)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"grid": {"spacing": 0.7}}, "0.7 degrees do not divide 180 .* 0.697674 or 0.70"),
        ({"grid": {"spacing": 0}}, "spacing"),
        ({"grid": {"resolution": 1}}, "resolution"),
        ({"grid": {"spacing": 1}, "sources": ["b.nc", {"path": "a.nc", "interpolate": True}]},
         "data.grid: is not allowed with interpolate"),
    ],
)  # fmt: skip
def test_keys_are_checked(keys, message):
    with pytest.raises(ConfigError, match=message):
        checked(DataConfig, {"sources": ["a.nc"], **keys}, "data")
