"""Test times as programs write them: precision, missing entries, initial times, one time a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.data.inspection.audit import audit
from gfrnn.pipeline.data.missing_chunks import missing_chunks
from gfrnn.pipeline.data.stored_chunks import stored_chunks
from gfrnn.pipeline.data.time_axis import decode_times
from gfrnn.pipeline.errors import DataError
from gfrnn_testing.archives import make, opened, same

SECONDS = {"days": 86400, "hours": 3600, "minutes": 60, "seconds": 1}


def decoded(values: Any, units: str = "hours since 1900-01-01", **attrs: str) -> np.ndarray:
    return decode_times(xr.Variable("time", values, {"units": units, **attrs}), "time", "file.nc")


def numbers(time: pd.DatetimeIndex, unit: str, since: str, dtype: str = "f8") -> np.ndarray:
    apart = time.values.astype("M8[s]") - np.datetime64(since, "s")
    return np.asarray((apart.astype(float) / SECONDS[unit]).astype(dtype))


@pytest.mark.parametrize("units", ["Days Since 1900-01-01", "days SINCE 1900-01-01 00:00:00"])
def test_the_case_of_units_does_not_matter(tmp_path: Path, units: str) -> None:
    time = pd.date_range("2001-01-01", periods=9, freq="1D")
    found = decoded(numbers(time, "days", "1900-01-01"), units)
    np.testing.assert_array_equal(found, time.values)
    ds = make(9, "1D")
    values = numbers(time, "days", "1900-01-01")
    # A dimension of another name is known by its unit.
    ds = ds.assign_coords(time=("time", values, {"units": units})).rename(time="record")
    ds.to_netcdf(tmp_path / "a.nc")
    np.testing.assert_array_equal(opened(tmp_path / "a.nc").time, time)


@given(
    unit=st.sampled_from(["days", "hours", "minutes"]),
    since=st.sampled_from(["1800-01-01", "1900-01-01", "1970-01-01"]),
    step=st.sampled_from(["30min", "1h", "3h", "6h", "1D"]),
    start=st.datetimes(pd.Timestamp("1979-01-01"), pd.Timestamp("2030-01-01")),
)
def test_single_precision_is_rounded_to_the_step(
    unit: str, since: str, step: str, start: pd.Timestamp
) -> None:
    time = pd.date_range(pd.Timestamp(start).floor(step), periods=200, freq=step)
    found = decoded(numbers(time, unit, since, "f4"), f"{unit} since {since}")
    np.testing.assert_array_equal(found, time.values)


def test_half_hours_in_single_precision_stay() -> None:
    time = pd.date_range("2005-01-01T00:30", periods=744, freq="1h")
    found = decoded(numbers(time, "days", "1900-01-01", "f4"), "days since 1900-01-01")
    np.testing.assert_array_equal(found, time.values)


def test_a_precision_that_joins_times_is_refused() -> None:
    time = pd.date_range("2005-01-01", periods=48, freq="1h")
    stored = (numbers(time, "hours", "1970-01-01") + 17_259_888).astype("f4")
    with pytest.raises(DataError, match="single precision, of which numbers are 120 minutes apart"):
        decoded(stored, "hours since 0001-01-01", calendar="proleptic_gregorian")
    daily = stored[::24]
    found = decoded(daily, "hours since 0001-01-01", calendar="proleptic_gregorian")
    np.testing.assert_array_equal(found, time[::24].values)


@pytest.mark.parametrize("form", ["native", "number"])
def test_missing_times_are_refused(form: str) -> None:
    values: Any = np.array([0.0, 6.0, np.nan, 18.0])
    if form == "native":
        values = np.array(["2001-01-01", "2001-01-02", "NaT", "2001-01-04"], "M8[ns]")
    with pytest.raises(DataError, match=r"1 of 4 entries .* are missing \(NaT\), first entry 2"):
        decoded(values)


def test_missing_times_of_a_zarr_store_are_refused(tmp_path: Path) -> None:
    ds = make(4).drop_vars("time")
    time = np.array(["2001-01-01", "2001-01-02", "NaT", "2001-01-04"], "M8[ns]")
    ds.assign_coords(time=time).to_zarr(tmp_path / "a.zarr", consolidated=False)
    with pytest.raises(DataError, match=r"a\.zarr: 1 of 4 entries .* are missing \(NaT\)"):
        opened(tmp_path / "a.zarr")


@pytest.mark.parametrize("calendar", ["noleap", "360_day", "julian"])
def test_calendars_without_real_dates_are_refused(tmp_path: Path, calendar: str) -> None:
    make(4).to_netcdf(tmp_path / "a.nc")
    attrs = {"units": "days since 2001-01-02", "calendar": calendar}
    other = make(4).assign_coords(time=("time", np.arange(4.0), attrs))
    other.to_netcdf(tmp_path / "b.nc")
    with pytest.raises(DataError, match=rf"b\.nc: .* calendar '{calendar}'; allowed are"):
        opened(f"{tmp_path}/*.nc")


LEADS: dict[str, Any] = {
    "hours": np.array(12.0),
    "timedelta": np.timedelta64(12, "h").astype("m8[ns]"),
}


def initial(ds: xr.Dataset, lead: str = "hours", **names: str) -> xr.Dataset:
    """Return values of valid times as forecasts of 12 hours, as cfgrib converts them."""
    attrs = {"units": "hours"} if lead == "hours" else {}
    valid = ds.time.values
    ds = ds.assign_coords(time=("time", valid - np.timedelta64(12, "h")))
    ds.time.attrs["standard_name"] = "forecast_reference_time"
    return ds.assign_coords(
        step=((), LEADS[lead], {**attrs, "standard_name": "forecast_period"}),
        valid_time=("time", valid, {"standard_name": "time"}),
    )


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize("without", [[], ["valid_time"], ["step"]])
def test_valid_times_are_preferred_to_initial_times(
    tmp_path: Path, lead: str, without: list[str]
) -> None:
    ds = initial(make(8), lead).drop_vars(without)
    ds.to_netcdf(tmp_path / "a.nc")
    found = opened(tmp_path / "a.nc")
    same(found, make(8).rename(z="geopotential", t2m="2m_temperature"))
    (note,) = found.attrs["notes"]
    assert ("step is added" if "valid_time" in without else "valid_time, not") in note


def test_initial_times_of_an_unknown_lead_are_refused(tmp_path: Path) -> None:
    initial(make(8)).drop_vars(["valid_time", "step"]).to_netcdf(tmp_path / "a.nc")
    with pytest.raises(DataError, match=r"time is the initial time of forecasts.*add valid_time"):
        opened(tmp_path / "a.nc")


def test_times_of_validity_beside_a_lead_stay(tmp_path: Path) -> None:
    """Files of Iris have such a forecast_period beside the time."""
    ds = make(8)
    ds.time.attrs["standard_name"] = "time"
    lead = {"units": "hours", "standard_name": "forecast_period"}
    ds.assign_coords(forecast_period=((), 6.0, lead)).to_netcdf(tmp_path / "a.nc")
    found = opened(tmp_path / "a.nc")
    same(found, make(8).rename(z="geopotential", t2m="2m_temperature"))
    assert found.attrs["notes"] == []


def test_analyses_of_grib_have_no_note(tmp_path: Path) -> None:
    ds = initial(make(8))
    ds = ds.assign_coords(
        time=("time", ds.valid_time.values, ds.time.attrs), step=((), 0.0, ds.step.attrs)
    )
    ds.to_netcdf(tmp_path / "a.nc")
    assert opened(tmp_path / "a.nc").attrs["notes"] == []


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_one_scalar_time_a_file(tmp_path: Path, suffix: str) -> None:
    whole = make(9)
    for number in range(9):
        part, path = whole.isel(time=number), tmp_path / f"{8 - number}{suffix}"
        part.to_netcdf(path) if suffix == ".nc" else part.to_zarr(path, consolidated=False)
    found = opened(f"{tmp_path}/*{suffix}")
    same(found, whole.rename(z="geopotential", t2m="2m_temperature"))
    assert missing_chunks(found) == []
    assert [chunks.count(np.array([[0, 9]])) for chunks in stored_chunks(found)]
    values = Fields(found[["geopotential"]]).read(2, 5)
    np.testing.assert_array_equal(values, whole.z.values[2:5].reshape(3, -1))
    assert [finding for finding in audit(found) if finding.severity == "error"] == []


@pytest.mark.parametrize("start", [[1, 2], 5.0, "spring"])
def test_an_extent_that_is_no_pair_of_dates_is_refused(tmp_path: Path, start: Any) -> None:
    ds = make(8).assign_attrs(valid_time_start=start, valid_time_stop="2001-01-02")
    ds.to_netcdf(tmp_path / "a.nc")
    with pytest.raises(DataError, match=r"a\.nc: its extent, valid_time_start .* is not a pair of"):
        opened(tmp_path / "a.nc")
