"""Test that files of all common layouts give the same canonical Dataset, or a clear error."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gfrnn.pipeline.config.data_config import SourceConfig
from gfrnn.pipeline.data.dataset import _origins
from gfrnn.pipeline.data.files.raw_file import RawFile
from gfrnn.pipeline.data.fingerprint import fingerprint
from gfrnn.pipeline.data.grid import Channel, channels
from gfrnn.pipeline.data.variables.file_variables import file_variables, source_variables
from gfrnn.pipeline.errors import DataError
from gfrnn_testing.archives import make, opened, same

# Tests write consolidated stores as other programs do.
pytestmark = pytest.mark.filterwarnings("ignore:Consolidated metadata")


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """Write a file in canonical order."""
    path = tmp_path / "plain.nc"
    make().to_netcdf(path)
    return path


def test_canonical_form(plain: Path) -> None:
    ds = opened(plain)
    assert list(ds.data_vars) == ["geopotential", "2m_temperature"]
    assert ds.geopotential.dims == ("time", "level", "latitude", "longitude")
    assert ds["2m_temperature"].dims == ("time", "latitude", "longitude")
    assert ds.geopotential.dtype == np.float32
    assert ds.geopotential.attrs["levels"] == [500.0, 850.0]
    assert ds.geopotential.attrs["units"] == "m2 s-2"
    assert ds.time.dtype == "datetime64[ns]"
    np.testing.assert_array_equal(ds.geopotential.values, make().z.values)
    np.testing.assert_array_equal(ds["2m_temperature"].values, make().t2m.values)
    names = [channel.name for channel in channels(ds)]
    assert names == ["geopotential_500", "geopotential_850", "2m_temperature"]
    assert channels(ds)[2] == Channel("2m_temperature", None)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.permutations(["time", "level", "latitude", "longitude"]),
    flips=st.sets(st.sampled_from(["level", "latitude", "longitude"])),
    west=st.booleans(),
    pascal=st.booleans(),
    names=st.booleans(),
)
def test_any_layout_gives_the_same(
    tmp_path: Path, order: list[str], flips: set[str], west: bool, pascal: bool, names: bool
) -> None:
    ds = make(5)
    if west:
        ds = ds.assign_coords(longitude=(ds.longitude + 180) % 360 - 180).sortby("longitude")
    if pascal:
        ds = ds.assign_coords(level=("level", ds.level.values * 100, {"units": "Pa"}))
    for dim in flips:
        ds = ds.isel({dim: slice(None, None, -1)})
    ds = ds.transpose(*order)
    if names:
        ds = ds.rename(
            time="valid_time", latitude="g0_lat_1", longitude="lng", level="isobaricInhPa", z="Z"
        )
    path = tmp_path / "layout.nc"
    path.unlink(missing_ok=True)
    ds.to_netcdf(path)
    found = opened(path)
    expected = make(5).rename(z="geopotential", t2m="2m_temperature")
    same(found, expected)
    window = {"time": slice(1, 4), "latitude": [0, 2], "longitude": slice(6, 2, -2)}
    same(found.isel(window), expected.isel(window))
    same(found.isel(time=2, level=1), expected.isel(time=2, level=1))
    same(
        found.isel(time=[3, 0, 3], longitude=[1, 5, 2]),
        expected.isel(time=[3, 0, 3], longitude=[1, 5, 2]),
    )


@pytest.mark.parametrize("form", [2, 3])
@pytest.mark.parametrize("consolidated", [True, False])
def test_zarr(tmp_path: Path, plain: Path, form: int, consolidated: bool) -> None:
    store = tmp_path / "store.zarr"
    make().chunk(time=5).to_zarr(store, zarr_format=form, consolidated=consolidated)
    ds = opened(store)
    same(ds, opened(plain))
    assert (ds.attrs["time_chunk"], ds.attrs["time_chunk_start"]) == (5, 0)
    assert fingerprint(ds) == fingerprint(opened(plain))
    assert ds.geopotential.encoding["preferred_chunks"] == {"time": 5}
    same(ds.chunk(time=5), opened(plain))


def test_zarr_by_url(plain: Path) -> None:
    make().chunk(time=5).to_zarr("memory://archive/one.zarr", mode="w")
    same(opened("memory://archive/one.zarr"), opened(plain))
    with pytest.raises(DataError, match=r"none\.zarr cannot be reached"):
        opened("memory://archive/none.zarr")


def test_netcdf_by_url(plain: Path) -> None:
    pytest.importorskip("h5py", reason="netCDF-4 by URL needs h5py, which is not installed")
    same(opened(f"file://{plain}"), opened(plain))
    classic = plain.with_name("classic.nc")
    make().to_netcdf(classic, format="NETCDF3_CLASSIC")
    same(opened(f"file://{classic}"), opened(plain))
    same(opened(f"file://{plain.parent}/pl*.nc"), opened(plain))


def test_packed_and_masked(tmp_path: Path) -> None:
    ds = make()
    ds.z[3, 0, 1, 1] = np.nan
    packing = {"dtype": "i2", "scale_factor": 0.1, "add_offset": 5e4, "_FillValue": -32767}
    ds.to_netcdf(tmp_path / "packed.nc", encoding={"z": packing})
    found = opened(tmp_path / "packed.nc").geopotential
    np.testing.assert_allclose(found.values, ds.z.values, atol=0.06)
    assert np.isnan(found.values).sum() == 1


def test_yearly_files_by_variable_in_any_order(tmp_path: Path) -> None:
    whole = make(48)
    for part, name in ((slice(30, 48), "a"), (slice(0, 11), "b"), (slice(11, 30), "c")):
        whole[["z"]].isel(time=part).to_netcdf(tmp_path / f"z_{name}.nc")
    for part, name in ((slice(20, 48), "b"), (slice(0, 20), "a")):
        whole[["t2m"]].isel(time=part, latitude=slice(None, None, -1)).to_netcdf(
            tmp_path / f"t_{name}.nc"
        )
    expected = whole.rename(z="geopotential", t2m="2m_temperature")
    found = opened({"path": f"{tmp_path}/*.nc"})
    same(found, expected)
    same(found.isel(time=slice(8, 35, 3)), expected.isel(time=slice(8, 35, 3)))
    same(opened({"path": [f"{tmp_path}/z_*.nc", f"{tmp_path}/t_*.nc"]}), expected)
    same(opened(f"{tmp_path}/z_*.nc", f"{tmp_path}/t_*.nc"), expected)
    assert len(pickle.dumps(found)) < 30_000


def test_common_times(tmp_path: Path) -> None:
    whole = make(20)
    whole[["z"]].isel(time=slice(0, 15)).to_netcdf(tmp_path / "z.nc")
    whole[["t2m"]].isel(time=slice(5, 20)).to_netcdf(tmp_path / "t.nc")
    found = opened(f"{tmp_path}/*.nc")
    same(found, whole.isel(time=slice(5, 15)).rename(z="geopotential", t2m="2m_temperature"))
    assert "10 of up to 15 are common to all" in found.attrs["notes"][0]
    (tmp_path / "t.nc").unlink()
    whole[["t2m"]].isel(time=slice(15, 20)).to_netcdf(tmp_path / "t.nc")
    with pytest.raises(DataError, match=r"no common time: .*2001-01-04T18:00"):
        opened(f"{tmp_path}/*.nc")


def test_files_without_times_are_refused_with_a_step_too(tmp_path: Path) -> None:
    make(0).to_netcdf(tmp_path / "a.nc")
    with pytest.raises(DataError, match="no common time"):
        opened(tmp_path / "a.nc", step="1d")


def test_origins_are_those_of_the_files_once_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are kept when a file is read: of thousands of files, few stay open."""
    whole, stated = make(40), {"title": "ERA5", "institution": "ECMWF"}
    for day in range(4):
        part = whole.isel(time=slice(10 * day, 10 * day + 10))
        part.assign_attrs(stated | {"history": f"{day}"}).to_netcdf(tmp_path / f"{day}.nc")
    assert opened(tmp_path / "*.nc").attrs["origins"] == [stated]
    source = SourceConfig(path=str(tmp_path / "*.nc"))
    (parts,) = source_variables([source], "data.sources", file_variables).values()
    monkeypatch.setattr(RawFile, "open", lambda _: pytest.fail("opened again"))
    assert _origins(parts) == [stated]


def test_repeated_and_unsorted_times(tmp_path: Path) -> None:
    make().isel(time=[4, 2, 2, 0, 1, 3]).to_netcdf(tmp_path / "messy.nc")
    found = opened(tmp_path / "messy.nc")
    same(found, make(5).rename(z="geopotential", t2m="2m_temperature"))
    assert "1 times are given twice" in found.attrs["notes"][0]


def test_levels_from_the_config_and_from_names(tmp_path: Path) -> None:
    ds = make()
    for level in (500, 850):
        ds[["z"]].sel(level=level, drop=True).to_netcdf(tmp_path / f"z{level}.nc")
    ds["t850"] = (("time", "latitude", "longitude"), ds.t2m.values, {"units": "K"})
    ds[["t850", "t2m"]].to_netcdf(tmp_path / "t.nc")
    found = opened(
        {"path": str(tmp_path / "z850.nc"), "level": 850},
        {"path": str(tmp_path / "z500.nc"), "level": 500},
        tmp_path / "t.nc",
    )
    np.testing.assert_array_equal(found.geopotential.values, ds.z.values)
    assert [c.name for c in channels(found)] == [
        "geopotential_500",
        "geopotential_850",
        "temperature_850",
        "2m_temperature",
    ]
    assert np.isnan(found.temperature.sel(level=500).values).all()
    np.testing.assert_array_equal(found.temperature.sel(level=850).values, ds.t2m.values)
    with pytest.raises(DataError, match=r"z \(geopotential\) .* set data.sources\[0\].level"):
        opened(tmp_path / "z500.nc")


def test_selection(plain: Path) -> None:
    found = opened(plain, variables={"2m_temperature": None, "geopotential": [850]})
    assert [c.name for c in channels(found)] == ["2m_temperature", "geopotential_850"]
    np.testing.assert_array_equal(found.geopotential.values[:, 0], make().z.values[:, 1])
    with pytest.raises(DataError, match="z is not in the data; did you mean geopotential"):
        opened(plain, variables={"z": [500]})
    with pytest.raises(
        DataError, match=r"\[700.0\] \(hPa\) are not in the data; choose from \[500.0, 850.0\]"
    ):
        opened(plain, variables={"geopotential": [500, 700]})
    with pytest.raises(DataError, match="has no levels"):
        opened(plain, variables={"2m_temperature": [500]})


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ([-100, 50], [0, 45, 270, 315]),
        ([260, 410], [0, 45, 270, 315]),
        ([90, 180], [90, 135, 180]),
        ([-180, 180], list(range(0, 360, 45))),
        ([0, 360], list(range(0, 360, 45))),
        ([315, 360], [0, 315]),
    ],
)
def test_region(plain: Path, box: list[float], expected: list[float]) -> None:
    found = opened(plain, region={"latitude": [41, 43], "longitude": box})
    assert found.longitude.values.tolist() == expected
    assert found.latitude.values.tolist() == [41.5, 43.0]
    same(found, opened(plain).sel(longitude=expected, latitude=[41.5, 43.0]))


def test_empty_region(plain: Path) -> None:
    with pytest.raises(
        DataError, match=r"data.region.latitude: \[-20.0, -10.0\] contains no point"
    ):
        opened(plain, region={"latitude": [-20, -10], "longitude": [0, 90]})


def test_step(tmp_path: Path, plain: Path) -> None:
    same(opened(plain, step="12h"), opened(plain).isel(time=slice(0, None, 2)))
    same(opened(plain, step="1d"), opened(plain).isel(time=slice(0, None, 4)))
    with pytest.raises(
        DataError, match=r"data\.step: 9h is not a multiple of the step of the data, 6h"
    ):
        opened(plain, step="9h")
    make(9, "1h", "2001-01-01T00:30").to_netcdf(tmp_path / "half.nc")
    assert opened(tmp_path / "half.nc", step="3h").sizes["time"] == 3
    make(9, "1h", "2001-01-01T05:00").to_netcdf(tmp_path / "late.nc")
    assert opened(tmp_path / "late.nc", step="6h").time.dt.hour.values.tolist() == [6, 12]


def test_step_reports_chunks_in_its_own_times(tmp_path: Path) -> None:
    make(40).chunk(time=8).to_zarr(tmp_path / "a.zarr")
    ds = opened(tmp_path / "a.zarr", step="12h")
    assert (ds.attrs["time_chunk"], ds.attrs["time_chunk_start"]) == (4, 0)


def test_units(tmp_path: Path) -> None:
    ds = make()
    ds["t2m"] = (ds.t2m - 273.15).assign_attrs(units="degC")
    ds["z"] = (ds.z / 9.80665).assign_attrs(units="gpm")
    ds.rename(z="hgt").to_netcdf(tmp_path / "other.nc")
    found = opened(tmp_path / "other.nc")
    np.testing.assert_allclose(found["2m_temperature"].values, make().t2m.values, rtol=1e-6)
    np.testing.assert_allclose(found.geopotential.values, make().z.values, rtol=1e-6)
    del ds.t2m.attrs["units"]
    ds.to_netcdf(tmp_path / "none.nc")
    with pytest.raises(
        DataError, match=r"t2m \(2m_temperature\) states no unit.*data.sources\[0\].units"
    ):
        opened(tmp_path / "none.nc")
    assert opened(tmp_path / "none.nc", variables={"geopotential": None}).data_vars
    given = opened({"path": str(tmp_path / "none.nc"), "units": {"t2m": "degC"}})
    np.testing.assert_allclose(given["2m_temperature"].values, make().t2m.values, rtol=1e-6)
    with pytest.raises(DataError, match="units: the source has no variable t2n; did you mean t2m"):
        opened({"path": str(tmp_path / "none.nc"), "units": {"t2n": "degC"}})


def test_variable_of_no_table_keeps_name_and_unit(tmp_path: Path) -> None:
    make()[["t2m"]].rename(t2m="rtp_500-850").to_netcdf(tmp_path / "own.nc")
    assert opened(tmp_path / "own.nc")["rtp_500-850"].attrs["units"] == "K"
    named = opened({"path": str(tmp_path / "own.nc"), "rename": {"rtp_500-850": "2m_temperature"}})
    assert list(named.data_vars) == ["2m_temperature"]


@pytest.mark.parametrize(
    "stops",
    [
        {"valid_time_stop": "2001-01-20"},
        {"valid_time_stop": "2001-01-10", "valid_time_stop_era5t": "2001-01-20"},
    ],
    ids=["final", "final and preliminary"],
)
def test_padding_is_cut(tmp_path: Path, stops: dict[str, str]) -> None:
    ds = make(40, "1D", "2001-01-01")
    ds.attrs |= {"valid_time_start": "2001-01-05", **stops}
    ds.to_netcdf(tmp_path / "padded.nc")
    found = opened(tmp_path / "padded.nc")
    same(
        found, make(40, "1D").isel(time=slice(4, 20)).rename(z="geopotential", t2m="2m_temperature")
    )
    assert "24 of 40 times are outside of 2001-01-05..2001-01-20" in found.attrs["notes"][0]


def test_singletons_points_and_expver(tmp_path: Path) -> None:
    ds = make()[["t2m"]]
    ds.expand_dims(number=1, expver=1).to_netcdf(tmp_path / "single.nc")
    np.testing.assert_array_equal(opened(tmp_path / "single.nc")["2m_temperature"].values, ds.t2m)
    point = ds.isel(latitude=1, longitude=7)
    point.to_netcdf(tmp_path / "point.nc")
    found = opened(tmp_path / "point.nc")["2m_temperature"]
    assert found.shape == (12, 1, 1)
    np.testing.assert_array_equal(found.values[:, 0, 0], point.t2m.values)
    first, late = ds.where(ds.time < ds.time[8]), ds.where(ds.time >= ds.time[8])
    both = xr.concat([first, late], pd.Index([1, 5], name="expver"))
    both.t2m.attrs["units"] = "K"
    both.to_netcdf(tmp_path / "both.nc")
    found = opened(tmp_path / "both.nc")
    np.testing.assert_array_equal(found["2m_temperature"].values, ds.t2m.values)
    assert "expver" in found.attrs["notes"][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.expand_dims(number=3), "dimension number has 3 entries"),
        (lambda d: d.isel(time=0, drop=True), "no time coordinate"),
        (
            lambda d: d.stack(p=("latitude", "longitude")).reset_index("p"),
            "the grid is not regular",
        ),
        (lambda d: d.isel(latitude=0, longitude=0, drop=True), "no latitude"),
        (lambda d: d.assign_coords(time=np.arange(12)), "which gives no dates"),
        (
            lambda d: d.assign_coords(
                time=(
                    "time",
                    np.arange(12.0),
                    {"units": "days since 2001-01-01", "calendar": "noleap"},
                )
            ),
            "calendar 'noleap'",
        ),
        (
            lambda d: d.assign_coords(level=("level", [1.0, 2.0], {"units": "sigma"})),
            "not a pressure",
        ),
        (lambda d: d.assign(air=d.z.drop_attrs()), r"air \(temperature\) states no unit"),
        (lambda d: d.assign(t2=d.t2m), "t2m and t2 are both 2m_temperature"),
    ],
)
def test_refused(tmp_path: Path, change: Any, message: str) -> None:
    change(make()).to_netcdf(tmp_path / "bad.nc")
    with pytest.raises(DataError, match=message) as caught:
        opened(tmp_path / "bad.nc")
    assert "bad.nc" in str(caught.value)
