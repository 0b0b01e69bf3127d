"""Test what is said of files that overlap, lack times, or state other units."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from gfrnn.pipeline.errors import DataError
from gfrnn.pipeline.runs.run import Run
from gfrnn_testing.archives import make, opened, same
from gfrnn_testing.weather import experiment


def test_overlapping_files_with_the_same_values(tmp_path: Path) -> None:
    whole = make(20)
    whole.isel(time=slice(0, 12)).to_netcdf(tmp_path / "a.nc")
    whole.isel(time=slice(8, 20)).to_netcdf(tmp_path / "b.nc")
    found = opened(f"{tmp_path}/*.nc")
    same(found, whole.rename(z="geopotential", t2m="2m_temperature"))
    assert found.attrs["notes"] == [
        f"{name}: 4 times are given twice, 2001-01-03T00:00 to 2001-01-03T18:00, in "
        f"{tmp_path}/a.nc and {tmp_path}/b.nc; the values are equal at these times, "
        "and those of the first file are used"
        for name in ("geopotential", "2m_temperature")
    ]
    assert found.attrs["losses"] == found.attrs["notes"]


@pytest.mark.parametrize("packed", [False, True])
def test_overlapping_files_with_other_values(tmp_path: Path, packed: bool) -> None:
    whole = make(20)[["t2m"]]
    packing = {"dtype": "i2", "scale_factor": 1e-3, "add_offset": 290.0, "_FillValue": -32768}
    whole.isel(time=slice(0, 12)).to_netcdf(tmp_path / "a.nc")
    late = whole.isel(time=slice(8, 20)).copy(deep=True)
    encoding = {"t2m": packing} if packed else {}
    late.to_netcdf(tmp_path / "b.nc", encoding=encoding)
    # Rounding of packed values is no difference.
    assert (
        "the values are equal at these times, and" in opened(f"{tmp_path}/*.nc").attrs["notes"][0]
    )
    late.t2m[3, 1, 1] += 2
    (tmp_path / "b.nc").unlink()
    late.to_netcdf(tmp_path / "b.nc", encoding=encoding)
    found = opened(f"{tmp_path}/*.nc")
    (note,) = found.attrs["notes"]
    assert "a.nc and" in note
    assert "b.nc; the values differ (by up to 2 K at 2001-01-03T18:00), and those of the" in note
    np.testing.assert_array_equal(found["2m_temperature"].values[:12], whole.t2m.values[:12])


def test_all_levels_of_overlapping_files_are_compared(tmp_path: Path) -> None:
    whole = make(20)[["z"]]
    whole.isel(time=slice(0, 12)).to_netcdf(tmp_path / "a.nc")
    late = whole.isel(time=slice(8, 20)).copy(deep=True)
    late.z[3, -1] += 100.0
    late.to_netcdf(tmp_path / "b.nc")
    (note,) = opened(f"{tmp_path}/*.nc").attrs["notes"]
    level = f"{whole.level.values[-1]:g} hPa"
    assert f"the values differ (by up to 100 m2 s-2 at {level} at 2001-01-03T18:00)" in note


def test_a_part_of_many_levels_is_named(tmp_path: Path) -> None:
    one = make(20)[["z"]].isel(level=0)
    whole = xr.concat([one.assign_coords(level=100.0 + n) for n in range(7)], "level")
    for name, part in (("a", slice(0, 12)), ("b", slice(8, 20))):
        whole.isel(time=part).transpose("time", "level", ...).to_netcdf(tmp_path / f"{name}.nc")
    (note,) = opened(f"{tmp_path}/*.nc").attrs["notes"]
    assert "the values are equal at these times and 5 of 7 levels, and" in note


def test_values_that_are_missing_in_one_of_two_files(tmp_path: Path) -> None:
    whole = make(20)[["t2m"]]
    early = whole.isel(time=slice(0, 12)).copy(deep=True)
    early.t2m[11] = np.nan
    early.to_netcdf(tmp_path / "a.nc")
    whole.isel(time=slice(8, 20)).to_netcdf(tmp_path / "b.nc")
    (note,) = opened(f"{tmp_path}/*.nc").attrs["notes"]
    assert "the values differ (32 values are missing in one of them at 2001-01-03T18:00)" in note


def test_many_overlaps_are_counted(tmp_path: Path) -> None:
    whole = make(48)[["t2m"]]
    for day in range(11):
        part = whole.isel(time=slice(4 * day, 4 * day + 5)).copy(deep=True)
        part.t2m[0] += day == 6
        part.to_netcdf(tmp_path / f"{day:02d}.nc")
    *shown, more = opened(f"{tmp_path}/*.nc").attrs["notes"]
    assert len(shown) == 3
    assert "05.nc and" in shown[0]
    assert "the values differ (by up to 1 K" in shown[0]
    assert more == "2m_temperature: times are given twice in 7 more pairs of files"


def test_a_month_that_a_variable_lacks(tmp_path: Path) -> None:
    whole = make(120, "1D")
    whole[["z"]].to_netcdf(tmp_path / "z.nc")
    month = whole.time.dt.month
    for number in (1, 2, 4):
        whole[["t2m"]].isel(time=month == number).to_netcdf(tmp_path / f"t2m_{number}.nc")
    found = opened(f"{tmp_path}/*.nc")
    assert found.sizes["time"] == 120 - 31
    (note,) = found.attrs["losses"]
    assert note == (
        "times: 89 of up to 120 are common to all variables, and only these are used; "
        f"2m_temperature ({tmp_path}/t2m_1.nc and 2 more) lacks 31 times, 2001-03-01T00:00 "
        "to 2001-03-31T00:00"
    )


@pytest.mark.parametrize(
    ("units", "factor"),
    [(("kg m-3", "ug m-3"), 1e9), (("kg m**-3", "µg/m3"), 1e9), (("hPa", "Pa"), 100.0)],
)
def test_other_units_of_a_variable_are_converted(
    tmp_path: Path, units: tuple[str, str], factor: float
) -> None:
    whole = make(8)[["t2m"]].rename(t2m="pm10")
    parts = whole.isel(time=slice(0, 5)), whole.isel(time=slice(5, 8)) * factor
    for part, unit, name in zip(parts, units, "ab", strict=True):
        part.pm10.attrs["units"] = unit
        part.to_netcdf(tmp_path / f"{name}.nc")
    found = opened(f"{tmp_path}/*.nc").pm10
    np.testing.assert_allclose(found, whole.pm10, rtol=1e-6)
    assert found.attrs["units"] == units[0]


def test_degrees_of_a_variable_are_converted(tmp_path: Path) -> None:
    whole = make(8)[["t2m"]].rename(t2m="soil")
    whole.isel(time=slice(0, 5)).to_netcdf(tmp_path / "a.nc")
    warm = whole.isel(time=slice(5, 8)) - 273.15
    warm.soil.attrs["units"] = "degC"
    warm.to_netcdf(tmp_path / "b.nc")
    np.testing.assert_allclose(opened(f"{tmp_path}/*.nc").soil, whole.soil, rtol=1e-6)
    differences = opened(f"{tmp_path}/*.nc", anomalies=True).soil
    np.testing.assert_allclose(differences[5:], warm.soil, rtol=1e-6)


@pytest.mark.parametrize("unit", ["m s-1", "", "furlongs"])
def test_units_that_cannot_be_converted_are_refused(tmp_path: Path, unit: str) -> None:
    whole = make(8)[["t2m"]].rename(t2m="pm10")
    whole.isel(time=slice(0, 5)).to_netcdf(tmp_path / "a.nc")
    other = whole.isel(time=slice(5, 8))
    other.pm10.attrs["units"] = unit
    other.to_netcdf(tmp_path / "b.nc")
    message = rf"pm10: .*a\.nc states the unit 'K', .*b\.nc '{unit}'.*data\.sources\.units"
    with pytest.raises(DataError, match=message):
        opened(f"{tmp_path}/*.nc")
    given = opened(f"{tmp_path}/a.nc", {"path": f"{tmp_path}/b.nc", "units": {"pm10": "K"}})
    np.testing.assert_array_equal(given.pm10, whole.pm10)


def test_the_order_of_variables_in_a_file_does_not_matter(tmp_path: Path) -> None:
    whole = make(8)
    names = list(whole.data_vars)
    whole[names].to_netcdf(tmp_path / "a.nc")
    whole[names[::-1]].to_netcdf(tmp_path / "b.nc")
    first, other = (opened(f"{tmp_path}/{name}.nc") for name in "ab")
    assert list(first.data_vars) == list(other.data_vars) == ["geopotential", "2m_temperature"]
    xr.testing.assert_equal(first.load(), other.load())


def test_a_run_says_what_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = make(20)
    whole[["z"]].to_netcdf(tmp_path / "z.nc")
    whole[["t2m"]].isel(time=slice(0, 17)).to_netcdf(tmp_path / "t2m.nc")
    config = experiment(tmp_path / "*.nc", data={"variables": None})
    run = Run(config, tmp_path / "run")
    with caplog.at_level(logging.WARNING):
        assert run.ds.sizes["time"] == 17
    assert "data: times: 17 of up to 20 are common to all variables" in caplog.text
    assert f"2m_temperature ({tmp_path}/t2m.nc) lacks 3 times" in caplog.text
