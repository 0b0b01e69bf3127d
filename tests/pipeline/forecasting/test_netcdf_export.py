"""Test the export of forecasts as netCDF: values, layout, CF conventions, resuming, bad input."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import netCDF4
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gfrnn.pipeline.errors import ConfigError, DataError, RunError
from gfrnn.pipeline.forecasting import netcdf_export
from gfrnn.pipeline.forecasting.netcdf_dataset import netcdf_dataset, netcdf_names
from gfrnn.pipeline.forecasting.netcdf_export import NetcdfExport
from gfrnn.pipeline.runs.run import Run
from gfrnn_testing.weather import stamps

PARTS = {
    "periods": {"test": ["2002-07-01", "2002-07-04"]},
    "model": {"width": 20},
    "forecast": {"horizon": "3d", "batch": 2},
}


@pytest.fixture(scope="module")
def run(fitted) -> Run:
    fitted.forecast()
    return fitted


@pytest.fixture(scope="module")
def files(run, tmp_path_factory) -> list[Path]:
    return export(run.folder, tmp_path_factory.mktemp("files") / "netcdf")


def export(path: Path, output: Path | None = None, *init: str, force: bool = False) -> list[Path]:
    work = NetcdfExport.prepare(path, output, init, force=force)
    work.write()
    return work.files


def forecasts(*names: str, members: int = 0, monthly: bool = False) -> xr.Dataset:
    """Return made-up forecasts of two initial times and three leads, with the names given."""
    time = pd.to_datetime(["2021-04-01T00", "2021-04-01T12"]).to_numpy()
    leads = pd.to_timedelta([6, 12, 18], "h").to_numpy()
    valid = time[:, None] + leads
    if monthly:
        months = np.datetime64("2021-04") + np.arange(2)[:, None] + np.arange(1, 4)
        begin, end = (each.astype("datetime64[ns]") for each in (months, months + 1))
        valid, leads = begin + (end - begin) // 2, np.arange(1, 4)
    dims = ("time", *(("number",) if members else ()), "prediction_timedelta", "latitude",
            "longitude")  # fmt: skip
    shape = (2, *((members,) if members else ()), 3, 4, 5)
    values = np.random.default_rng(0).normal(size=shape).astype("f4")
    attrs = {"units": "K"}
    coords = {
        "time": time,
        "prediction_timedelta": leads,
        "valid_time": (("time", "prediction_timedelta"), valid),
    }
    for name, size, units in (("latitude", 4, "degrees_north"), ("longitude", 5, "degrees_east")):
        coords[name] = (name, 10.0 * np.arange(size), {"standard_name": name, "units": units})
    if members:
        coords["number"] = ("number", np.arange(members), {"standard_name": "realization"})
    variables = dict.fromkeys(names or ["2m_temperature"], (dims, values, attrs))
    return xr.Dataset(variables, coords, {"title": "made up"}).chunk(time=1)


# What readers find


def test_there_is_a_file_for_each_initial_time(files):
    days = ["20020701", "20020702", "20020703", "20020704"]
    assert [file.name for file in files] == [f"run_{day}T00.nc" for day in days]
    assert sorted(files[0].parent.iterdir()) == files


def test_values_and_times_are_those_of_the_store(run, files):
    store = xr.open_zarr(run.forecast_store, decode_timedelta=True)
    for place, file in enumerate(files):
        with xr.open_dataset(file, decode_timedelta=True) as ds:
            for name, array in store.isel(time=place).data_vars.items():
                np.testing.assert_array_equal(ds[name].values, array.values)
                assert ds[name].attrs["units"] == array.attrs["units"]
            np.testing.assert_array_equal(ds["time"].values, store["valid_time"].values[place])
            assert ds["forecast_reference_time"].values == store["time"].values[place]
            np.testing.assert_array_equal(
                ds["forecast_period"].values, store["prediction_timedelta"].values
            )
            assert ds["geopotential"].dims == ("time", "level", "latitude", "longitude")


def test_layout_is_that_of_the_conventions(files):
    with netCDF4.Dataset(files[1]) as ds:
        assert ds.data_model == "NETCDF4"
        assert ds.Conventions == "CF-1.11"
        assert [line.split(" ", 1)[1] for line in ds.history.splitlines()] == [
            "written by gfrnn", "exported as netCDF by gfrnn"
        ]  # fmt: skip
        assert ds["time"].units == "hours since 2002-07-02"
        assert {ds[name].axis: name for name in ("time", "level", "latitude", "longitude")} == {
            "T": "time", "Z": "level", "Y": "latitude", "X": "longitude",
        }  # fmt: skip
        for name, variable in ds.variables.items():
            field = name in ("geopotential", "temperature", "mean_sea_level_pressure", "limited")
            assert ("_FillValue" in variable.ncattrs()) == field
            assert bool(variable.filters()["zlib"]) == field
        assert "complete" not in ds.ncattrs()


def test_files_join_to_all_forecasts(run, files):
    with xr.open_mfdataset(
        files, combine="nested", concat_dim="forecast_reference_time", decode_timedelta=True,
        preprocess=lambda ds: ds.swap_dims(time="forecast_period"), data_vars="all",
        coords="different", compat="equals", join="exact",
    ) as joined:  # fmt: skip
        store = xr.open_zarr(run.forecast_store, decode_timedelta=True)
        found = joined["temperature"].transpose("forecast_reference_time", "forecast_period", ...)
        np.testing.assert_array_equal(found.values, store["temperature"].values)
        assert joined["time"].dims == ("forecast_reference_time", "forecast_period")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["run", "members", "monthly", "heights"])
def test_compliance_checker_finds_no_errors(kind, files, tmp_path):
    runner = pytest.importorskip("compliance_checker.runner", reason="needs the extra interop")
    file = files[0]
    if kind != "run":
        made = {
            "members": lambda: forecasts(members=3),
            "monthly": lambda: forecasts("sst", monthly=True),
            "heights": lambda: forecasts("2m_temperature", "10m_u_component_of_wind"),
        }[kind]()
        made.to_zarr(tmp_path / "made.zarr", zarr_format=3, consolidated=False)
        file = export(tmp_path / "made.zarr")[0]
    runner.CheckSuite.load_all_available_checkers()
    report = tmp_path / "report.json"
    runner.ComplianceChecker.run_checker(
        str(file), ["cf:1.11"], 0, "normal", output_filename=str(report), output_format="json"
    )
    checked = json.loads(report.read_text())["cf:1.11"]
    assert len(checked["high_priorities"]) > 10
    for each in checked["high_priorities"]:  # errors; the others are recommendations
        assert each["value"][0] == each["value"][1], (each["name"], each["msgs"])


def test_members_stand_before_the_other_dimensions():
    made = forecasts(members=3)
    ds = netcdf_dataset(made.isel(time=1))
    array = ds["temperature_2m"]
    assert array.dims == ("number", "time", "latitude", "longitude")
    np.testing.assert_array_equal(array.values, made["2m_temperature"].values[1])
    assert ds["number"].attrs["standard_name"] == "realization"


def test_names_begin_with_letters_and_name_their_heights():
    names = "2m_temperature", "10m_u_component_of_wind", "sst", "17-q"
    ds = netcdf_dataset(forecasts(*names).isel(time=0))
    assert set(ds.data_vars) == {"temperature_2m", "u_component_of_wind_10m", "sst", "v17_q"}
    heights = {str(name): array.encoding["coordinates"].split() for name, array in ds.items()}
    common = ["forecast_period", "forecast_reference_time"]
    assert heights["temperature_2m"] == [*common, "height_2m"]
    assert heights["u_component_of_wind_10m"] == [*common, "height_10m"]
    assert heights["sst"] == common
    assert float(ds["height_10m"]) == 10
    assert ds["height_2m"].attrs["standard_name"] == "height"


def test_names_that_clash_are_refused():
    with pytest.raises(RunError, match="2m_q: is named q_2m in netCDF, as another variable is"):
        netcdf_names(forecasts("q_2m", "2m_q"))


def test_months_have_bounds():
    ds = netcdf_dataset(forecasts(monthly=True).isel(time=0))
    assert ds["time"].attrs["bounds"] == "time_bnds"
    months = np.array(["2021-05", "2021-06", "2021-07", "2021-08"], "datetime64[M]")
    np.testing.assert_array_equal(ds["time_bnds"].values, np.stack([months[:-1], months[1:]], 1))
    days = (
        ds["forecast_period"].values
        / {"hours": 24, "minutes": 1440}[ds["forecast_period"].attrs["units"]]
    )
    assert ((days > 28 * np.arange(1, 4)) & (days < 31 * np.arange(1, 4) + 31)).all()


def test_other_times_have_no_bounds():
    assert "time_bnds" not in netcdf_dataset(forecasts().isel(time=0)).variables


def test_the_middle_of_a_month_is_no_month():
    """A daily forecast of one lead that is valid at the middle of a month."""
    made = forecasts().isel(time=0, prediction_timedelta=[0])
    valid = np.array(["2021-04-16"], "M8[ns]")
    made = made.assign_coords(valid_time=("prediction_timedelta", valid))
    assert "time_bnds" not in netcdf_dataset(made).variables


def test_leads_in_months_without_valid_times(tmp_path):
    made = forecasts("sst", monthly=True)
    wanted = made["valid_time"].values
    made = made.drop_vars("valid_time")
    with pytest.raises(DataError, match="prediction_timedelta have the unit ''"):
        netcdf_dataset(made.isel(time=0))
    made["prediction_timedelta"].attrs["units"] = "months"
    made.to_zarr(tmp_path / "made.zarr", zarr_format=3, consolidated=False)
    for place, file in enumerate(export(tmp_path / "made.zarr")):
        with xr.open_dataset(file) as ds:
            np.testing.assert_array_equal(ds["time"].values, wanted[0])
            assert ds["forecast_reference_time"].values == made["time"].values[place]
            assert "time_bnds" in ds


def test_minutes_are_kept(tmp_path):
    made = forecasts().drop_vars("valid_time")
    made = made.assign_coords(
        time=made["time"] + np.timedelta64(30, "m"),
        prediction_timedelta=pd.to_timedelta([10, 20, 30], "min").to_numpy(),
    )
    made.to_zarr(tmp_path / "made.zarr", zarr_format=3, consolidated=False)
    found = export(tmp_path / "made.zarr")
    assert found[1] == tmp_path / "made_netcdf" / "made_20210401T123000.nc"
    with xr.open_dataset(found[1], decode_timedelta=True) as ds:
        assert str(ds["time"].values[1]) == "2021-04-01T12:50:00.000000000"
        assert ds["forecast_period"].values[1] == np.timedelta64(20, "m")


# Which forecasts


@pytest.mark.parametrize(
    ("init", "days"),
    [(["latest"], [4]), (["2002-07-02"], [2]), (["2002-07-03T00", "2002-07-01"], [1, 3]),
     (["2002-07-04", "latest"], [4])],
)  # fmt: skip
def test_initial_times_are_chosen(run, tmp_path, init, days):
    found = export(run.folder, tmp_path, *init)
    assert [file.name for file in found] == [f"run_200207{day:02}T00.nc" for day in days]
    assert sorted(tmp_path.iterdir()) == found


def test_default_folder_is_within_the_run(run, tmp_path):
    folder = Path(shutil.copytree(run.folder, tmp_path / "run"))
    for given in (folder, folder / "forecast.zarr"):
        assert NetcdfExport.prepare(given).files[0] == folder / "netcdf" / "run_20020701T00.nc"


# Resuming


def test_a_killed_export_resumes_and_no_reader_sees_a_part(run, tmp_path, monkeypatch):
    real, calls = netcdf_export.netcdf_dataset, itertools.count()

    def breaks(forecast):
        found = real(forecast)
        if next(calls) == 2:  # the file is begun, but its values cannot be read

            def fail(block):
                raise KeyboardInterrupt

            found["geopotential"].data = found["geopotential"].data.map_blocks(
                fail, dtype="f4", meta=np.empty((0,) * 4, "f4")
            )
        return found

    with monkeypatch.context() as patch:
        patch.setattr(netcdf_export, "netcdf_dataset", breaks)
        with pytest.raises(KeyboardInterrupt):
            export(run.folder, tmp_path)
    complete = sorted(tmp_path.glob("*.nc"))
    assert len(complete) == 2
    before = stamps(tmp_path)
    work = NetcdfExport.prepare(run.folder, tmp_path)
    assert work.missing == [2, 3]
    work.write()
    assert sorted(tmp_path.iterdir()) == work.files
    after = stamps(tmp_path)
    assert all(after[name] == before[name] for name in before if name in after)
    assert not NetcdfExport.prepare(run.folder, tmp_path).missing
    assert len(NetcdfExport.prepare(run.folder, tmp_path, force=True).missing) == 4


def test_files_of_a_store_without_title_and_history_are_written_again(tmp_path):
    made = forecasts().drop_attrs(deep=False)
    made.to_zarr(tmp_path / "made.zarr", zarr_format=3, consolidated=False)
    files = export(tmp_path / "made.zarr")
    (made + 1).to_zarr(tmp_path / "made.zarr", mode="w", zarr_format=3, consolidated=False)
    assert export(tmp_path / "made.zarr") == files
    with xr.open_dataset(files[0]) as ds:
        wanted = made["2m_temperature"].values[0] + 1
        np.testing.assert_array_equal(ds["temperature_2m"].values, wanted)
    titled = xr.open_dataset(files[0]).load().assign_attrs(title="of another run")
    for other in (xr.Dataset({"a": ("x", [1.0])}), titled):
        other.to_netcdf(files[0])
        with pytest.raises(RunError, match="holds other forecasts"):
            export(tmp_path / "made.zarr")


def test_a_full_disk_is_named_and_what_is_written_is_kept(run, tmp_path, monkeypatch):
    real, calls = xr.Dataset.to_netcdf, itertools.count()

    def breaks(self, path, **options):
        real(self, path, **options)
        if next(calls) == 1:
            raise RuntimeError("NetCDF: HDF error")

    with monkeypatch.context() as patch:
        patch.setattr(xr.Dataset, "to_netcdf", breaks)
        with pytest.raises(RunError, match=r"run_20020702T00\.nc: cannot be written .* free space"):
            export(run.folder, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["run_20020701T00.nc"]
    assert NetcdfExport.prepare(run.folder, tmp_path).missing == [1, 2, 3]


def test_progress_counts_files(run, tmp_path):
    updates = []
    NetcdfExport.prepare(run.folder, tmp_path).write(updates.append)
    assert [(each.name, each.done, each.total) for each in updates] == [
        ("export", done, 4) for done in range(5)
    ]


# Bad input


def test_files_of_other_forecasts_are_refused(run, files, tmp_path):
    other = Path(shutil.copytree(run.folder, tmp_path / "run"))
    store = xr.open_zarr(other / "forecast.zarr", decode_timedelta=True).load()
    shutil.rmtree(other / "forecast.zarr")
    changed = store.assign_attrs(history="2001-01-01T00:00:00Z written by somebody")
    del changed.attrs["sha256"]  # sums of the files that were removed
    changed.to_zarr(other / "forecast.zarr", zarr_format=3, consolidated=False)
    with pytest.raises(RunError, match=r"run_20020701T00\.nc: holds other forecasts .*--force"):
        NetcdfExport.prepare(other, files[0].parent)
    (tmp_path / "run_20020701T00.nc").write_bytes(b"text")
    with pytest.raises(RunError, match="exists and cannot be read"):
        NetcdfExport.prepare(run.folder, tmp_path)
    assert len(export(run.folder, tmp_path, force=True)) == 4


def test_wrong_stores_and_times_are_refused(run, weather, tmp_path):
    with pytest.raises(RunError, match="no forecasts there; run `gfrnn forecast` first"):
        NetcdfExport.prepare(tmp_path / "nothing")
    with pytest.raises(RunError, match="has no dimension prediction_timedelta, only .*time"):
        NetcdfExport.prepare(weather.path)
    for other in (run.model, run.experiment_file):
        with pytest.raises(RunError, match="is no zarr store that can be read"):
            NetcdfExport.prepare(other)
    with pytest.raises(ConfigError, match=r"--init: 2001-01-01 is no initial time .* 4 initial"):
        NetcdfExport.prepare(run.folder, init=["2001-01-01"])
    with pytest.raises(ConfigError, match="--init: 'newest' is not a date"):
        NetcdfExport.prepare(run.folder, init=["newest"])
    with pytest.raises(RunError, match="--output: .* is not a folder"):
        NetcdfExport.prepare(run.folder, run.experiment_file)


def test_unfinished_forecasts_are_refused(run, tmp_path):
    folder = Path(shutil.copytree(run.folder, tmp_path / "run"))
    text = (folder / "forecast.zarr" / "zarr.json").read_text()
    assert '"complete": 1' in text
    (folder / "forecast.zarr" / "zarr.json").write_text(
        text.replace('"complete": 1', '"complete": 0')
    )
    with pytest.raises(RunError, match="the forecasts are not finished; run `gfrnn forecast`"):
        NetcdfExport.prepare(folder)
