"""Read forecasts of every supported layout, and compare them with what was written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

from gfrnn.pipeline.config.data_config import DataConfig, SourceConfig
from gfrnn.pipeline.data.files.find_files import find_files
from gfrnn.pipeline.data.files.leads import decode_leads
from gfrnn.pipeline.errors import DataError
from gfrnn.pipeline.verification.sources.forecast_file import ForecastFile
from gfrnn.pipeline.verification.sources.forecast_source import ForecastSource
from gfrnn.pipeline.verification.sources.matched_truth import MatchedTruth
from gfrnn_testing.forecast_layouts import (
    LATITUDE,
    LAYOUTS,
    LEADS,
    LONGITUDE,
    make_forecasts,
    make_truth,
    write_anemoi,
    write_cfgrib,
    write_own,
    write_weatherbench2,
)

pytestmark = pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")

STARTS = pd.date_range("2019-01-05", periods=5, freq="18h")


@pytest.fixture(scope="module")
def truth() -> xr.Dataset:
    return make_truth(days=20)


def opened(path: Path | str, **options) -> ForecastSource:
    keys = {name: options.pop(name) for name in ("units", "rename") if name in options}
    return ForecastSource.open(SourceConfig(path=str(path), **keys), **options)


def expected(forecasts: xr.Dataset, source: ForecastSource) -> list[np.ndarray]:
    """Return the fields of each channel: (starts, members, leads, cells)."""
    found = []
    for channel in source.channels:
        array = forecasts[channel.variable]
        if channel.level is not None:
            array = array.sel(level=channel.level, drop=True)
        if "number" not in array.dims:
            array = array.expand_dims("number")
        values = array.transpose("time", "number", ...).values
        found.append(values.reshape(*values.shape[:3], -1))
    return found


def check_equal(source: ForecastSource, forecasts: xr.Dataset) -> None:
    """Check all fields, read together and in parts."""
    every = slice(0, len(source.initial)), slice(0, len(source.leads))
    parts = slice(1, 3), slice(1, 2)
    wanted = expected(forecasts, source)
    for starts, leads in (
        (every, parts) if min(len(source.initial), len(source.leads)) > 1 else (every,)
    ):
        fields = source.read(starts, leads)
        assert len(fields) == len(wanted) == 3
        for field, own in zip(fields, wanted, strict=True):
            assert field.dtype == np.float32
            np.testing.assert_allclose(field, own[starts, :, leads], rtol=1e-6)


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_gives_the_fields_that_were_written(truth, tmp_path, layout, members) -> None:
    forecasts = make_forecasts(truth, STARTS, members)
    source = opened(LAYOUTS[layout](forecasts, tmp_path / "store.zarr"), era5_units=True)
    assert source.members == members
    np.testing.assert_array_equal(source.initial, STARTS.to_numpy())
    np.testing.assert_array_equal(source.leads, LEADS)
    np.testing.assert_array_equal(source.valid, STARTS.to_numpy()[:, None] + LEADS)
    np.testing.assert_array_equal(source.latitude, LATITUDE)
    np.testing.assert_array_equal(source.longitude, LONGITUDE)
    names = {channel.name for channel in source.channels}
    assert names == {"geopotential_500", "geopotential_850", "2m_temperature"}
    check_equal(source, forecasts)


def test_chunks_are_read_as_a_whole(truth, tmp_path, monkeypatch) -> None:
    """A lazy transposition would make xarray select value by value, many times slower."""
    monkeypatch.setattr(
        "zarr.Array.get_coordinate_selection", lambda *_, **__: pytest.fail("by value")
    )
    forecasts = make_forecasts(truth, STARTS)
    check_equal(opened(write_weatherbench2(forecasts, tmp_path / "wb.zarr")), forecasts)


def test_files_of_one_start_each_are_one_source(truth, tmp_path) -> None:
    forecasts = make_forecasts(truth, STARTS)
    for number in reversed(range(len(STARTS))):
        write_cfgrib(forecasts.isel(time=number), tmp_path / f"{number}.nc")
    source = opened(tmp_path / "*.nc")
    np.testing.assert_array_equal(source.initial, STARTS.to_numpy())
    check_equal(source, forecasts)


@pytest.mark.parametrize("stated", [False, True])
def test_times_of_one_forecast_with_its_initial_time(truth, tmp_path, stated) -> None:
    """CF files of one forecast have valid times, and may have leads beside them."""
    forecasts = make_forecasts(truth, STARTS)
    for number in range(len(STARTS)):
        one = forecasts.isel(time=number).rename(time="forecast_reference_time")
        one = one.assign_coords(time=("prediction_timedelta", STARTS[number] + LEADS))
        one = one.swap_dims(prediction_timedelta="time")
        if stated:
            one = one.rename(prediction_timedelta="forecast_period")
        else:
            one = one.drop_vars("prediction_timedelta")
        one.to_netcdf(tmp_path / f"{number}.nc")
    source = opened(tmp_path / "*.nc")
    np.testing.assert_array_equal(source.initial, STARTS.to_numpy())
    np.testing.assert_array_equal(source.leads, LEADS)
    check_equal(source, forecasts)


def test_flattened_cells_of_a_regular_grid(truth, tmp_path) -> None:
    forecasts = make_forecasts(truth, STARTS[:1])
    path = write_anemoi(forecasts.isel(time=0), tmp_path / "one.nc")
    source = opened(path, initial_time=STARTS[0].to_datetime64(), era5_units=True)
    np.testing.assert_array_equal(source.leads, LEADS)
    check_equal(source, forecasts)


def test_flattened_cells_of_another_grid_are_refused(truth, tmp_path) -> None:
    path = write_anemoi(make_forecasts(truth, STARTS[:1]).isel(time=0), tmp_path / "one.nc")
    ds = xr.load_dataset(path)
    ds["latitude"] = ds["latitude"] + 0.1 * np.arange(ds.sizes["values"])
    ds.to_netcdf(tmp_path / "points.nc")
    with pytest.raises(DataError, match="12 cells along values are no regular grid"):
        opened(tmp_path / "points.nc", initial_time=STARTS[0].to_datetime64(), era5_units=True)


def test_units_are_converted(truth, tmp_path) -> None:
    forecasts = make_forecasts(truth, STARTS)
    celsius = forecasts.copy()
    celsius["2m_temperature"] = forecasts["2m_temperature"] - np.float32(273.15)
    celsius["2m_temperature"].attrs["units"] = "degC"
    celsius["geopotential"] = forecasts["geopotential"] / np.float32(9.80665)
    celsius["geopotential"].attrs["units"] = "gpm"
    source = opened(write_weatherbench2(celsius, tmp_path / "store.zarr"))
    for field, own in zip(
        source.read(slice(0, 5), slice(0, 3)), expected(forecasts, source), strict=True
    ):
        np.testing.assert_allclose(field, own, rtol=1e-6)


def test_names_and_units_are_given(truth, tmp_path) -> None:
    forecasts = make_forecasts(truth, STARTS)
    other = forecasts.rename({"2m_temperature": "var167"})
    other["var167"].attrs = {}
    path = write_weatherbench2(other, tmp_path / "store.zarr")
    source = opened(path, rename={"var167": "2m_temperature"}, units={"var167": "K"})
    check_equal(source, forecasts)
    with pytest.raises(DataError, match="--rename: the forecasts have no variable var16;"):
        opened(path, rename={"var16": "2m_temperature"})


def test_levels_that_a_variable_lacks_are_no_channels(truth, tmp_path) -> None:
    forecasts = make_forecasts(truth, STARTS)
    forecasts["geopotential"].attrs["levels"] = [850.0]
    source = opened(write_own(forecasts, tmp_path / "store.zarr"))
    names = {channel.name for channel in source.channels}
    assert names == {"geopotential_850", "2m_temperature"}


def test_zeros_that_are_read_as_missing_are_noted(truth, tmp_path) -> None:
    forecasts = make_forecasts(truth, STARTS)
    names = {"2m_temperature": "total_precipitation"}
    rain = forecasts[list(names)].rename(names).clip(min=280.0) - 280.0
    rain["total_precipitation"].attrs["units"] = "m"
    rain.to_zarr(tmp_path / "f.zarr", zarr_format=2, consolidated=False,
                 encoding={"total_precipitation": {"_FillValue": 0.0}})  # fmt: skip
    real = abs(truth[list(names)].rename(names))
    real["total_precipitation"].attrs["units"] = "m"
    real.to_netcdf(tmp_path / "truth.nc")
    matched = MatchedTruth.match(
        DataConfig(sources=[str(tmp_path / "truth.nc")]), opened(tmp_path / "f.zarr")
    )
    assert any(
        "total_precipitation: zeros are read as missing, as 0 is the fill value; if they are "
        "values, write the forecasts again with NaN as the fill value" in note
        for note in matched.notes
    )


def test_problems_of_variables_are_kept(truth, tmp_path) -> None:
    """Such as those of fields of a GRIB file that cannot be read."""
    write_own(make_forecasts(truth, STARTS), tmp_path / "store.zarr")
    source = SourceConfig(path=str(tmp_path / "store.zarr"))
    (file,) = find_files(source, "forecast")
    file.open()["geopotential"].encoding["problem"] = "cannot be read"
    read = ForecastFile.open(file, source)
    found = {own.variable: own.problem for own in read.variables}
    assert found == {"geopotential": "cannot be read", "2m_temperature": None}


def test_a_dimension_of_several_entries_is_refused_with_what_can_be_done(truth, tmp_path) -> None:
    forecasts = make_forecasts(truth, STARTS).expand_dims(quantile=2)
    forecasts.to_netcdf(tmp_path / "f.nc")
    truth.to_netcdf(tmp_path / "truth.nc")
    data = DataConfig(sources=[str(tmp_path / "truth.nc")])
    with pytest.raises(DataError, match="select one entry of quantile and write the forecasts"):
        MatchedTruth.match(data, opened(tmp_path / "f.nc"))


def test_one_member_is_a_single_forecast(truth, tmp_path) -> None:
    source = opened(write_own(make_forecasts(truth, STARTS, 1), tmp_path / "store.zarr"))
    assert source.members is None
    assert source.notes == ("one member: scored as a single forecast, without a spread",)
    assert source.read(slice(0, 2), slice(0, 1))[0].shape == (2, 1, 1, 12)


def test_a_store_being_written_is_refused(truth, tmp_path) -> None:
    path = write_own(make_forecasts(truth, STARTS), tmp_path / "store.zarr")
    zarr.open_group(path, mode="r+").attrs["complete"] = False
    with pytest.raises(DataError, match="still being written; wait until it is complete"):
        opened(path)
    path = write_own(make_forecasts(truth, STARTS), tmp_path / "other.zarr")
    group = zarr.open_group(path, mode="r+")
    group.create_array("written", data=np.zeros(5, "i1"), dimension_names=("time",))
    with pytest.raises(DataError, match="still being written"):
        opened(path)


def test_what_is_no_forecast_is_refused(truth, tmp_path) -> None:
    truth.to_zarr(tmp_path / "truth.zarr", consolidated=False)
    with pytest.raises(DataError, match="not a store of forecasts: it has no dimension of leads"):
        opened(tmp_path / "truth.zarr")
    # ERA5 converted from GRIB has a step, which is 0.
    truth.assign_coords(step=np.timedelta64(0, "ns")).to_netcdf(tmp_path / "era5.nc")
    with pytest.raises(DataError, match="not a store of forecasts"):
        opened(tmp_path / "era5.nc")


def test_one_lead_may_be_a_scalar(truth, tmp_path) -> None:
    forecasts = make_forecasts(truth, STARTS)
    forecasts.isel(prediction_timedelta=1).rename(prediction_timedelta="step").to_netcdf(
        tmp_path / "one.nc"
    )
    source = opened(tmp_path / "one.nc")
    np.testing.assert_array_equal(source.leads, LEADS[1:2])
    check_equal(source, forecasts.isel(prediction_timedelta=[1]))


@pytest.mark.parametrize(
    ("dim", "standard_name", "beside"),
    [("valid_time", None, False), ("time", "time", False), ("time", "time", True),
     ("valid_time", "time", True), ("time", "forecast_reference_time", False)],
)  # fmt: skip
def test_one_lead_at_times_of_validity(truth, tmp_path, dim, standard_name, beside) -> None:
    forecasts = make_forecasts(truth, STARTS).isel(prediction_timedelta=1)
    one = forecasts.rename(prediction_timedelta="step")
    if beside:
        one = one.assign_coords(forecast_reference_time=("time", STARTS))
    if standard_name != "forecast_reference_time":
        one = one.assign_coords(time=STARTS + LEADS[1])
    one = one.rename(time=dim) if dim != "time" else one
    if standard_name:
        one[dim].attrs["standard_name"] = standard_name
    one.to_netcdf(tmp_path / "one.nc")
    source = opened(tmp_path / "one.nc")
    np.testing.assert_array_equal(source.initial, STARTS.to_numpy())
    np.testing.assert_array_equal(source.valid[:, 0], STARTS + LEADS[1])
    check_equal(source, forecasts.expand_dims("prediction_timedelta", 1))


def test_one_lead_in_months_at_times_of_validity(truth, tmp_path) -> None:
    one = make_forecasts(truth, STARTS[:2]).isel(prediction_timedelta=1, drop=True)
    months = np.array(["2020-01-16", "2020-02-15"], "M8[ns]")
    one = one.assign_coords(time=months, lead=((), 2, {"units": "months"})).rename(
        time="valid_time"
    )
    one.to_netcdf(tmp_path / "one.nc")
    source = opened(tmp_path / "one.nc")
    found = source.initial.astype("M8[M]").astype(str), source.valid.astype("M8[M]").astype(str)
    assert [each.tolist() for each in found] == [["2019-11", "2019-12"], [["2020-01"], ["2020-02"]]]


@pytest.mark.parametrize("leads", [1, 3])
@pytest.mark.parametrize("standard_name", [None, "time"])
def test_times_of_validity_along_leads(truth, tmp_path, leads, standard_name) -> None:
    forecasts = make_forecasts(truth, STARTS[:1]).isel(prediction_timedelta=slice(leads))
    one = forecasts.isel(time=0).rename(prediction_timedelta="step")
    one = one.assign_coords(time=("step", STARTS[0] + LEADS[:leads]))
    if standard_name:
        one["time"].attrs["standard_name"] = standard_name
    one.to_netcdf(tmp_path / "one.nc")
    source = opened(tmp_path / "one.nc")
    np.testing.assert_array_equal(source.initial, STARTS[:1].to_numpy())
    np.testing.assert_array_equal(source.valid[0], STARTS[0] + LEADS[:leads])
    check_equal(source, forecasts)


def test_ambiguous_times_are_refused(truth, tmp_path) -> None:
    forecasts = make_forecasts(truth, STARTS[:1]).isel(time=0)
    wrong = forecasts.assign_coords(time=("prediction_timedelta", STARTS[0] + 2 * LEADS))
    wrong.to_netcdf(tmp_path / "wrong.nc")
    with pytest.raises(DataError, match="time less the leads along .* is no single initial time"):
        opened(tmp_path / "wrong.nc")
    named = make_forecasts(truth, STARTS).isel(time=0, prediction_timedelta=slice(1))
    named["time"].attrs["standard_name"] = "time"
    named.to_netcdf(tmp_path / "named.nc")
    with pytest.raises(DataError, match="time has the standard name time, that of times of valid"):
        opened(tmp_path / "named.nc")


@pytest.mark.parametrize("which", [slice(None), 0])
def test_initial_times_may_keep_the_standard_name_of_an_archive(truth, tmp_path, which) -> None:
    """Forecasts that xarray makes from analyses keep it."""
    named = make_forecasts(truth, STARTS).isel(time=which)
    named["time"].attrs["standard_name"] = "time"
    named.to_netcdf(tmp_path / "named.nc")
    source = opened(tmp_path / "named.nc")
    np.testing.assert_array_equal(source.initial, np.atleast_1d(STARTS.to_numpy()[which]))
    valid = named["time"] + named["prediction_timedelta"]
    named.assign_coords(valid_time=valid.drop_attrs()).to_netcdf(tmp_path / "both.nc")
    np.testing.assert_array_equal(opened(tmp_path / "both.nc").initial, source.initial)


def test_files_that_differ_are_refused(truth, tmp_path) -> None:
    forecasts = make_forecasts(truth, STARTS)
    write_cfgrib(forecasts.isel(time=0), tmp_path / "0.nc")
    short = forecasts.isel(time=1, prediction_timedelta=[0, 1])
    write_cfgrib(short, tmp_path / "1.nc")
    with pytest.raises(DataError, match="have different leads"):
        opened(tmp_path / "*.nc")
    write_cfgrib(forecasts.isel(time=0), tmp_path / "2.nc")
    with pytest.raises(DataError, match="is in two files"):
        opened(tmp_path / "[02].nc")


@pytest.mark.parametrize(
    ("values", "units", "found"),
    [
        ([6, 12], "hours", [6, 12]),
        ([0.25, 0.5], "days", [6, 12]),
        ([360, 720], "minutes", [6, 12]),
        ([21600.0, 43200.0], "seconds", [6, 12]),
        ([21600 * 10**9], "nanoseconds", [6]),
        (np.array([6, 12], "m8[h]"), "", [6, 12]),
    ],
)
def test_units_of_leads(values, units, found) -> None:
    ds = xr.Dataset(coords={"step": ("step", values, {"units": units} if units else {})})
    leads = decode_leads(ds, "step", "file")
    np.testing.assert_array_equal(leads, np.array(found, "m8[h]"))
    assert leads.dtype == "m8[ns]"


def test_leads_in_months() -> None:
    ds = xr.Dataset(coords={"lead": ("lead", [1.0, 2.0], {"units": "months"})})
    leads = decode_leads(ds, "lead", "file")
    np.testing.assert_array_equal(leads, [1, 2])
    assert leads.dtype.kind == "i"


@pytest.mark.parametrize(
    ("values", "units", "message"),
    [
        ([6, 12], "", "have the unit '';"),
        ([0.5, 1.5], "months", "whole months"),
        ([6, 6], "hours", "are repeated"),
        ([-6, 6], "hours", "missing or negative"),
        ([np.nan, 6], "hours", "missing or negative"),
    ],
)
def test_leads_that_are_refused(values, units, message) -> None:
    ds = xr.Dataset(coords={"step": ("step", values, {"units": units} if units else {})})
    with pytest.raises(DataError, match=message):
        decode_leads(ds, "step", "file")
