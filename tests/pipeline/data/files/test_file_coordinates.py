"""Test coordinates as programs write them: levels, longitudes, and dimensions of other names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from gfrnn.pipeline.data.files.file_coordinates import FileLevels, read_grid, read_levels
from gfrnn.pipeline.data.files.raw_file import RawFile
from gfrnn.pipeline.errors import DataError
from gfrnn_testing.archives import make, opened, same

EXPECTED = make(5).rename(z="geopotential", t2m="2m_temperature")


def levels(entries: Any, **attrs: str) -> FileLevels:
    return read_levels(xr.Dataset(coords={"level": ("level", entries, attrs)}), "level")


def longitudes(values: Any, dtype: str = "f8") -> list[float]:
    coords = {"latitude": [50.0], "longitude": np.array(values, dtype)}
    kinds = {"latitude": "latitude", "longitude": "longitude"}
    grid = read_grid(xr.Dataset(coords=coords), kinds, RawFile("file.nc", "netcdf4"))
    np.testing.assert_allclose(
        (np.array(values, dtype)[grid.columns] - grid.longitude + 180) % 360, 180, atol=1e-3
    )
    return list(grid.longitude.tolist())


def test_dimensions_of_other_names(tmp_path: Path) -> None:
    ds = make(5).rename_dims(latitude="y", longitude="x")
    ds.rename(latitude="lat", longitude="lon").to_netcdf(tmp_path / "a.nc")
    same(opened(tmp_path / "a.nc"), EXPECTED)
    projected = ds.assign_coords(
        y=("y", np.arange(4.0), {"units": "m", "standard_name": "projection_y_coordinate"}),
        x=("x", np.arange(8.0), {"units": "m", "standard_name": "projection_x_coordinate"}),
    )
    projected.to_zarr(tmp_path / "b.zarr", consolidated=False)
    same(opened(tmp_path / "b.zarr"), EXPECTED)
    stations = make(5)[["t2m"]].isel(longitude=[0, 1, 2, 3])
    stations = stations.rename(latitude="lat", longitude="lon").isel(
        lat=xr.DataArray(range(4), dims="station"), lon=xr.DataArray(range(4), dims="station")
    )
    stations.to_netcdf(tmp_path / "stations.nc")
    with pytest.raises(DataError, match=r"latitude lat varies along \['station'\].*not regular"):
        opened(tmp_path / "stations.nc")


@pytest.mark.parametrize("first", [0.0, -1e-6, 1e-6, 359.99997, 360.0, -360.0])
def test_greenwich_is_at_0(first: float) -> None:
    assert longitudes([first, 90, 180, 270]) == [0, 90, 180, 270]
    assert longitudes([90, 180, 270, first]) == [0, 90, 180, 270]


@pytest.mark.parametrize("ends", [(0, 360), (0, 359.99997), (-1e-6, 359.9999), (-180, 180)])
def test_a_repeated_meridian_is_dropped(tmp_path: Path, ends: tuple[float, float]) -> None:
    values = np.linspace(*ends, 9)
    assert np.allclose(longitudes(values), np.arange(0, 360, 45), atol=1e-3)
    assert np.allclose(longitudes(values, "f4"), np.arange(0, 360, 45), atol=1e-3)
    with pytest.raises(DataError, match="2 longitudes repeat"):
        longitudes([*values, values[1]])


@pytest.mark.parametrize("pole", [90.0, 90.0000076, -90.0005])
def test_a_pole_is_at_90_degrees(tmp_path: Path, pole: float) -> None:
    ds = make(3).assign_coords(latitude=np.linspace(np.sign(pole) * 60, pole, 4))
    ds.to_zarr(tmp_path / "a.zarr", consolidated=False)
    found = opened(tmp_path / "a.zarr")["latitude"].values
    assert np.abs(found).max() == 90
    assert np.cos(np.deg2rad(found)).min() >= 0


@pytest.mark.parametrize("latitudes", [[60, 70, 80, 90.01], [60, 89.9, 90, 90.0005]])
def test_latitudes_beyond_the_pole_are_refused(tmp_path: Path, latitudes: list[float]) -> None:
    make(3).assign_coords(latitude=latitudes).to_zarr(tmp_path / "a.zarr", consolidated=False)
    with pytest.raises(DataError, match="repeat or are outside of -90..90"):
        opened(tmp_path / "a.zarr")


@given(st.integers(4, 1440), st.booleans(), st.floats(-1, 1))
def test_rounding_of_float32_does_not_matter(count: int, west: bool, noise: float) -> None:
    exact = np.arange(count) * 360 / count
    stored = exact + noise * 3e-5
    stored = np.where(stored >= 180, stored - 360, stored) if west else stored
    assert np.allclose(longitudes(stored, "f4"), exact, atol=1e-4)


def test_grids_of_files_agree_within_rounding(tmp_path: Path) -> None:
    ds = make(5)
    ds[["z"]].to_netcdf(tmp_path / "a.nc")
    noisy = ds.longitude.values + np.where(ds.longitude.values == 0, -1e-6, 3e-5)
    ds[["t2m"]].assign_coords(longitude=noisy.astype("f4")).to_netcdf(tmp_path / "b.nc")
    same(opened(f"{tmp_path}/*.nc"), EXPECTED)


def test_fine_grids_keep_their_points() -> None:
    fine = np.arange(0, 0.0008, 2e-4)
    assert longitudes(fine) == pytest.approx(fine.tolist(), abs=1e-9)


@pytest.mark.parametrize(
    ("entries", "attrs"),
    [
        ([850.0, 500.0], {"units": "millibars"}),
        ([850, 500], {"units": "hPa"}),
        ([850, 500], {}),
        (np.array([84999.992, 50000.004], "f4"), {"units": "Pa"}),
        ([8.5e4, 5e4], {"units": "Pa"}),
        (["850hPa", "500hPa"], {}),
        (["850 mb", "500 mb"], {}),
        ([b"85000 Pa", b"50000 Pa"], {}),
        (["850", "500"], {}),
    ],
)
def test_levels_are_read_in_any_form(entries: Any, attrs: dict[str, str]) -> None:
    found = levels(entries, **attrs)
    assert found.levels == (500.0, 850.0)
    assert found.positions.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("entries", "attrs", "problem"),
    [
        (["500hPa", "surface"], {}, r"entries that are no pressures \(surface\)"),
        (["500hPa", "850mb"], {}, "entries that are no pressures"),
        ([500.0, np.nan], {"units": "hPa"}, r"entries that are no pressures \(nan\)"),
        ([500.0, 850.0, 500.0], {"units": "hPa"}, "has the level 500 hPa more than once"),
        ([1, 2, 3], {}, "not a pressure"),
        ([0.1, 0.9], {"units": "sigma_level"}, "not a pressure"),
    ],
)
def test_levels_that_are_none_are_named(
    tmp_path: Path, entries: Any, attrs: dict[str, str], problem: str
) -> None:
    assert levels(entries, **attrs).levels is None
    ds = make(5)[["z"]].isel(level=[index % 2 for index in range(len(entries))])
    ds = ds.assign_coords(level=("level", entries, attrs))
    ds.to_netcdf(tmp_path / "a.nc")
    with pytest.raises(DataError, match=rf"a\.nc: z: its dimension level .*{problem}"):
        opened(tmp_path / "a.nc")


@pytest.mark.parametrize(
    ("name", "value", "unit"),
    [
        ("level", 500, "millibars"),
        ("level", np.float32(500), "hPa"),
        ("isobaricInhPa", 500.0, "hPa"),
        ("plev", 50000.0, "Pa"),
        ("plev", np.float32(50000.004), "Pa"),
        ("pressure_level", 500, ""),
        ("level", "500hPa", ""),
    ],
)
@pytest.mark.filterwarnings("ignore:.*does not have a Zarr V3 specification")
@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_scalar_coordinate_is_the_level(
    tmp_path: Path, name: str, value: Any, unit: str, suffix: str
) -> None:
    ds = make(5)[["z"]].isel(level=0, drop=True)
    path = tmp_path / f"a{suffix}"
    ds = ds.assign_coords({name: ((), value, {"units": unit} if unit else {})})
    ds.to_netcdf(path) if suffix == ".nc" else ds.to_zarr(path, consolidated=False)
    found = opened(path).geopotential
    assert found.attrs["levels"] == [500.0]
    np.testing.assert_array_equal(found.values[:, 0], ds.z.values)
    same(opened({"path": str(path), "level": 500}), opened(path))
    with pytest.raises(DataError, match=r"level 850 hPa is given, but the file has \[500\.0\]"):
        opened({"path": str(path), "level": 850})


@pytest.mark.filterwarnings("ignore:.*does not have a Zarr V3 specification")
@pytest.mark.parametrize("kind", ["U5", "bool", "c16"])
def test_coordinates_that_are_no_numbers_are_refused(tmp_path: Path, kind: str) -> None:
    ds = make(5)
    latitude = ds["latitude"]
    ds = ds.assign_coords(latitude=(latitude.dims, latitude.values.astype(kind), latitude.attrs))
    ds.to_zarr(tmp_path / "a.zarr", consolidated=False)
    with pytest.raises(DataError, match="latitude has the type .*, not numbers; convert it"):
        opened(tmp_path / "a.zarr")


@pytest.mark.parametrize("kind", ["latitude", "longitude"])
def test_a_grid_without_points_is_refused(tmp_path: Path, kind: str) -> None:
    make(5).isel({kind: slice(0, 0)}).to_netcdf(tmp_path / "a.nc")
    with pytest.raises(DataError, match=f"{kind} {kind} has no entries"):
        opened(tmp_path / "a.nc")


def test_a_variable_without_levels_in_its_dimension_is_refused(tmp_path: Path) -> None:
    make(5)[["z"]].isel(level=slice(0, 0)).to_netcdf(tmp_path / "a.nc")
    with pytest.raises(DataError, match="z: its dimension level has no entries"):
        opened(tmp_path / "a.nc")
