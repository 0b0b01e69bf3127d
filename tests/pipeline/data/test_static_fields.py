"""Test that static fields are found in all sources and put on the grid, or rejected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gfrnn.pipeline.config.data_config import DataConfig
from gfrnn.pipeline.data.dataset import open_source
from gfrnn.pipeline.data.grid import Grid
from gfrnn.pipeline.data.static_fields import open_static
from gfrnn.pipeline.data.variables.units import GRAVITY
from gfrnn.pipeline.errors import DataError
from gfrnn_testing.archives import DATA, make, real

# Tests write consolidated stores as other programs do.
pytestmark = pytest.mark.filterwarnings("ignore:Consolidated metadata")

HEIGHT = np.arange(32.0).reshape(4, 8) * 100 - 50
LAND = (np.arange(32.0).reshape(4, 8) % 3) / 2
UNITS = {"orog": "m", "lsm": "1", "sftlf": "%", "z": "m**2 s**-2"}


def fields(values: dict[str, np.ndarray], like: xr.Dataset | None = None) -> xr.Dataset:
    """Return fields without time on the grid of the small archive."""
    place = (make(1) if like is None else like)[["latitude", "longitude"]].coords
    dims = ("latitude", "longitude")
    data = {name: (dims, field, {"units": UNITS[name]}) for name, field in values.items()}
    return xr.Dataset(data, place)


def written(ds: xr.Dataset, path: Path) -> str:
    ds.to_netcdf(path)
    return str(path)


def statics(names: Any, *sources: Any, key: str = "state.static", **data: Any) -> np.ndarray:
    config = DataConfig(sources=list(sources), **{"variables": {"2m_temperature": None}} | data)
    return open_static(config, Grid.from_dataset(open_source(config)), names, key)


@pytest.fixture
def plain(tmp_path: Path) -> str:
    """Write an archive without static fields."""
    return written(make(), tmp_path / "plain.nc")


@pytest.fixture
def whole(tmp_path: Path) -> str:
    """Write an archive with static fields."""
    return written(make().merge(fields({"orog": HEIGHT, "lsm": LAND})), tmp_path / "whole.nc")


# Found


def test_variables_without_time_beside_the_states(whole: str) -> None:
    found = statics(["land_sea_mask", "geopotential_at_surface"], whole)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, [LAND, HEIGHT * GRAVITY], rtol=1e-6)


def test_static_fields_in_separate_files(plain: str, tmp_path: Path) -> None:
    height = written(fields({"orog": HEIGHT}), tmp_path / "height.nc")
    land = tmp_path / "land.zarr"
    fields({"sftlf": 100 * LAND}).to_zarr(land)
    for static in ([height, str(land)], [{"path": [height, str(land)]}]):
        found = statics(["geopotential_at_surface", "land_sea_mask"], plain, static=static)
        np.testing.assert_allclose(found, [HEIGHT * GRAVITY, LAND], rtol=1e-6)


@pytest.mark.parametrize("times", [1, 5])
@pytest.mark.parametrize("own", [True, False])
def test_variables_that_have_time_but_never_change(
    plain: str, tmp_path: Path, times: int, own: bool
) -> None:
    still = fields({"z": HEIGHT * GRAVITY}).expand_dims(time=make(times).time)
    ds = still if own else make(times).drop_vars("z").merge(still)
    path = written(ds, tmp_path / "still.nc")
    given = {"static": [path]} if own else {}
    (found,) = statics(["geopotential_at_surface"], plain if own else path, **given)
    np.testing.assert_allclose(found, HEIGHT * GRAVITY, rtol=1e-6)


def test_latitude_needs_no_file(plain: str) -> None:
    (found,) = statics(["latitude"], plain)
    sine = np.sin(np.deg2rad([40, 41.5, 43, 44.5]))
    np.testing.assert_allclose(found, np.repeat(sine[:, None], 8, axis=1))
    assert statics([], plain).shape == (0, 4, 8)


def test_other_names_and_units_of_a_source(plain: str, tmp_path: Path) -> None:
    odd = fields({"orog": HEIGHT, "lsm": LAND}).rename(orog="relief", lsm="fraction_of_lakes")
    odd.relief.attrs["units"] = "furlong"
    path = written(odd, tmp_path / "odd.nc")
    entry = {
        "path": path,
        "rename": {"relief": "geopotential_at_surface"},
        "units": {"relief": "m"},
    }
    found = statics(["geopotential_at_surface", "fraction_of_lakes"], plain, static=[entry])
    np.testing.assert_allclose(found, [HEIGHT * GRAVITY, LAND], rtol=1e-6)
    # The same of a source that holds states, where the variable has no time either.
    both = written(make().merge(odd), tmp_path / "both.nc")
    (found,) = statics(["geopotential_at_surface"], entry | {"path": both})
    np.testing.assert_allclose(found, HEIGHT * GRAVITY, rtol=1e-6)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    turned=st.booleans(),
    flips=st.sets(st.sampled_from(["latitude", "longitude"])),
    west=st.booleans(),
    single=st.booleans(),
    region=st.sampled_from([None, ([40, 43], [-50, 100]), ([41, 45], [40, 280])]),
)
def test_any_layout_is_brought_to_the_grid_of_the_data(
    plain: str, tmp_path: Path, turned: bool, flips: set[str], west: bool, single: bool, region: Any
) -> None:
    ds = fields({"orog": HEIGHT})
    if west:
        ds = ds.assign_coords(longitude=(ds.longitude + 180) % 360 - 180).sortby("longitude")
    if single:
        ds = ds.assign_coords(latitude=ds.latitude.astype("f4"))
    for dim in flips:
        ds = ds.isel({dim: slice(None, None, -1)})
    path = tmp_path / "layout.nc"
    path.unlink(missing_ok=True)
    written(ds.transpose(*("longitude", "latitude")[:: 1 if turned else -1]), path)
    box = None if region is None else {"latitude": region[0], "longitude": region[1]}
    (found,) = statics(["geopotential_at_surface"], plain, static=[str(path)], region=box)
    inside = {
        None: HEIGHT,
        40: HEIGHT[:3, [0, 1, 2, 7]],
        41: HEIGHT[1:, 1:7],
    }[region and region[0][0]]
    np.testing.assert_allclose(found, inside * GRAVITY, rtol=1e-6)


def test_coordinates_may_be_rounded_also_at_greenwich(plain: str, tmp_path: Path) -> None:
    ds = fields({"lsm": LAND})
    near = ds.assign_coords(longitude=ds.longitude - 2e-5, latitude=ds.latitude + 2e-5)
    (found,) = statics(["land_sea_mask"], plain, static=[written(near, tmp_path / "near.nc")])
    np.testing.assert_array_equal(found, LAND)


def test_copies_that_agree_but_for_packing_are_one(plain: str, tmp_path: Path) -> None:
    copy = fields({"orog": HEIGHT})
    packing = {"dtype": "i2", "scale_factor": 0.06, "add_offset": 1500.0, "_FillValue": -32767}
    copy.to_netcdf(tmp_path / "packed.nc", encoding={"orog": packing})
    z = fields({"z": HEIGHT * GRAVITY})
    paths = [written(z, tmp_path / "z.nc"), str(tmp_path / "packed.nc")]
    (found,) = statics(["geopotential_at_surface"], plain, static=paths)
    np.testing.assert_allclose(found, HEIGHT * GRAVITY, rtol=1e-6)


def test_fields_that_change_do_not_hide_one_that_does_not(tmp_path: Path) -> None:
    # 500 hPa, which only the name of the file says.
    upper = make()[["t2m", "z"]].isel(level=0, drop=True)
    source = written(upper, tmp_path / "z500.nc")
    orography = written(fields({"z": HEIGHT * GRAVITY}), tmp_path / "orography.nc")
    (found,) = statics(["geopotential_at_surface"], source, static=[orography])
    np.testing.assert_allclose(found, HEIGHT * GRAVITY, rtol=1e-6)


# Refused


def refusal(*args: Any, **data: Any) -> str:
    with pytest.raises(DataError) as caught:
        statics(*args, **data)
    return str(caught.value)


def test_a_name_that_no_source_has_is_refused(whole: str) -> None:
    said = refusal(["soil"], whole)
    assert "soil: no such static field in data.sources or data.static" in said
    assert "allowed: latitude, geopotential_at_surface, land_sea_mask" in said
    assert "did you mean land_sea_mask?" in refusal(["lsm"], whole)


def test_the_sine_of_latitude_is_no_field_of_a_region(whole: str, plain: str) -> None:
    key = "verification.regions.rhine.field"
    assert "allowed: geopotential_at_surface, land_sea_mask" in refusal(["soil"], whole, key=key)
    assert refusal(["soil"], plain, key=key).endswith("; name a file that has it in data.static")


def test_a_geopotential_on_a_level_is_not_that_of_the_surface(plain: str, tmp_path: Path) -> None:
    levels = make(1)[["z"]].isel(time=0, drop=True)
    upper = written(levels, tmp_path / "levels.nc")
    one = {"path": written(levels.isel(level=0, drop=True), tmp_path / "z500.nc"), "level": 500}
    for name in ("geopotential", "geopotential_at_surface"):
        for static in ([upper], [one]):
            said = refusal([name], plain, static=static)
            assert said.startswith(f"{name}: no such static field")


def test_a_field_that_changes_in_time_is_refused(plain: str, tmp_path: Path) -> None:
    assert "plain.nc: t2m (2m_temperature) changes in time" in refusal(["2m_temperature"], plain)
    # The change may lie between two files only.
    parts = [
        written(make(1, start=day).drop_vars("z"), tmp_path / f"{day}.nc")
        for day in ("2001-01-02", "2001-01-01")
    ]
    assert "2001-01-01.nc: t2m" in refusal(["2m_temperature"], {"path": parts})


def test_a_field_on_another_grid_is_refused(plain: str, tmp_path: Path) -> None:
    ds = fields({"orog": HEIGHT})
    coarse = written(ds.isel(longitude=slice(None, None, 2)), tmp_path / "coarse.nc")
    said = refusal(["geopotential_at_surface"], plain, static=[coarse])
    assert "coarse.nc: orog (geopotential_at_surface) is on another grid" in said
    assert "longitudes are 0..270 (4), those of the data 0..315 (8)" in said
    shifted = written(ds.assign_coords(latitude=ds.latitude + 0.25), tmp_path / "shifted.nc")
    said = refusal(["geopotential_at_surface"], plain, static=[shifted])
    assert "latitudes are 40.25..44.75 (4), those of the data 40..44.5 (4)" in said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.nan, "has a missing value (NaN) at latitude 41.5, longitude 90"),
        (-9999.0, "has -9999 at latitude 41.5, longitude 90 (1 such values of 32)"),
        (np.inf, "has inf at latitude 41.5"),
    ],
)
def test_impossible_values_are_refused(plain: str, tmp_path: Path, value: float, said: str) -> None:
    land = LAND.copy()
    land[1, 2] = value
    path = written(fields({"lsm": land}), tmp_path / "land.nc")
    found = refusal(["land_sea_mask"], plain, static=[path])
    assert said in found
    assert "land.nc: lsm (land_sea_mask)" in found
    # Outside of the region it does no harm.
    box = {"latitude": [43, 45], "longitude": [0, 350]}
    (rest,) = statics(["land_sea_mask"], plain, static=[path], region=box)
    np.testing.assert_array_equal(rest, LAND[2:])


def test_copies_that_differ_are_refused(whole: str, tmp_path: Path) -> None:
    other = HEIGHT.copy()
    other[3, 7] += 5
    path = written(fields({"orog": other}), tmp_path / "other.nc")
    said = refusal(["geopotential_at_surface"], whole, static=[path])
    assert "whole.nc (orog) and" in said
    assert "other.nc (orog) differ" in said
    np.testing.assert_array_equal(statics(["land_sea_mask"], whole, static=[path])[0], LAND)


def test_an_unknown_unit_is_refused(plain: str, tmp_path: Path) -> None:
    ds = fields({"orog": HEIGHT})
    ds.orog.attrs["units"] = "furlong"
    said = refusal(["geopotential_at_surface"], plain, static=[written(ds, tmp_path / "odd.nc")])
    assert "odd.nc: orog (geopotential_at_surface) has the unit 'furlong'" in said
    assert "set data.static[0].units" in said


def test_options_for_missing_names_are_refused(plain: str, tmp_path: Path) -> None:
    path = written(fields({"orog": HEIGHT}), tmp_path / "height.nc")
    entry = {"path": path, "rename": {"org": "geopotential_at_surface"}}
    said = refusal(["geopotential_at_surface"], plain, static=[entry])
    assert "data.static[0].rename: the source has no variable org; did you mean orog?" in said


def test_missing_files_are_refused(plain: str) -> None:
    said = refusal(["land_sea_mask"], plain, static=["nowhere.nc"])
    assert "data.static[0]: nowhere.nc not found" in said


def test_static_files_among_the_states(plain: str, tmp_path: Path) -> None:
    path = written(fields({"lsm": LAND}), tmp_path / "land.nc")
    said = refusal(["land_sea_mask"], plain, path)
    assert "land.nc: no time coordinate" in said
    assert "static fields belong in data.static" in said


@real
def test_a_real_store_without_time_beside_real_states() -> None:
    store = "small_global/era5_tl31_19590102T00_wb2names.nc"
    config = DataConfig(sources=[store], static=[store])
    place = xr.open_dataset(DATA / store)
    grid = Grid((), np.sort(place.latitude.values), np.sort(place.longitude.values))
    (sine, ice) = open_static(config, grid, ["latitude", "sea_ice_cover"])
    expected = place.sea_ice_cover.transpose("latitude", "longitude").sortby("latitude").values
    np.testing.assert_array_equal(ice, expected)
    assert ice[sine < 0.5].sum() < ice.sum()
