"""Test masks in a whole run: found, stored, checked in every field, NaN in forecasts."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from gfrnn.pipeline.errors import ConfigError, DataError
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn_testing.archives import DATA, real
from gfrnn_testing.weather import experiment, finish, make_weather, write_store

PRESSURE = "mean_sea_level_pressure"
PARTS = {"state": {"delays": 2, "modes": 5}, "climatology": {"annual": 1}}


@dataclass(frozen=True)
class Masked:
    """A run on data with some masked columns, and a run on the other columns alone.

    Attributes
    ----------
    raw : xarray.Dataset
        The store of the masked run, as its maker wrote it, in memory.
    run, narrow : Run
    """

    raw: xr.Dataset
    run: Run
    narrow: Run


def scores(run: Run) -> xr.Dataset:
    with xr.open_zarr(run.score_store, consolidated=False, decode_timedelta=True) as ds:
        return ds.load()


def forecasts(run: Run) -> xr.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with xr.open_zarr(run.forecast_store, decode_timedelta=True) as ds:
            return ds.load()


@pytest.fixture(scope="module")
def masked(tmp_path_factory) -> Masked:
    folder: Path = tmp_path_factory.mktemp("masked")
    weather = make_weather(folder / "whole.zarr", damping=0.95, noise=0.3, times=680)
    with xr.open_zarr(weather.path, consolidated=False) as ds:
        raw = ds.load()
    write_store(raw.isel(longitude=slice(3, None)), folder / "narrow.zarr")
    for array in raw.data_vars.values():
        array[..., :3] = np.nan
    write_store(raw, folder / "masked.zarr")
    runs = [
        finish(Run(experiment(folder / f"{name}.zarr", **PARTS), folder / name))
        for name in ("masked", "narrow")
    ]
    return Masked(raw, *runs)


@pytest.fixture
def changed(masked, tmp_path):
    """Write a changed store of the masked data."""

    def write(change) -> Path:
        ds = masked.raw.copy(deep=True)
        change(ds)
        write_store(ds, tmp_path / "changed.zarr")
        return tmp_path / "changed.zarr"

    return write


@pytest.mark.slow
def test_scores_are_those_of_the_data_without_the_masked_cells(masked):
    """References agree to rounding; hidden features depend on the arbitrary signs of EOFs."""
    ours, theirs = scores(masked.run), scores(masked.narrow)
    np.testing.assert_array_equal(ours["pairs"], theirs["pairs"])
    references = list(ours["system"].values[1:])
    assert len(references) == 5
    size = theirs["rmse"].sel(system=references)
    for metric, scale in (("rmse", size), ("bias", size), ("acc", 1.0)):
        error = np.abs(ours[metric] - theirs[metric]).sel(system=references)
        assert (error <= 1e-6 * scale).all()
    share = ours["rmse"].sel(system="forecast") / theirs["rmse"].sel(system="forecast")
    assert (abs(share - 1) < 0.1).all()


def test_the_store_is_nan_in_the_mask_and_nowhere_else(masked):
    store = forecasts(masked.run)
    expected = np.isin(store["longitude"].values, [340, 350, 0])
    assert expected.sum() == 3
    for name, levels in (("geopotential", [500, 850]), ("temperature", [850]), (PRESSURE, None)):
        field = store[name]
        field = field if levels is None else field.sel(level=levels)
        missing = np.isnan(field.transpose(..., "longitude").values)
        np.testing.assert_array_equal(missing, np.broadcast_to(expected, missing.shape))


def test_the_model_keeps_its_mask(masked):
    group = zarr.open_group(masked.run.model, mode="r")
    assert group["mask"].dtype == bool
    assert group["mask"].shape == (4 * 5 * 8,)
    model = ForecastModel.load(masked.run.model)
    np.testing.assert_array_equal(model.layout.scaling.grid.mask, group["mask"][...])
    assert model.layout.scaling.grid.valid.sum() == 4 * 5 * 5
    assert "mask" not in zarr.open_group(masked.narrow.model, mode="r")
    assert ForecastModel.load(masked.narrow.model).layout.scaling.grid.mask is None


@pytest.mark.slow
def test_a_mask_of_one_variable_and_cells_that_never_vary(masked, tmp_path):
    """Sea ice reaches cells that were constant in training: persistence there is not damped."""
    ds = masked.raw.copy(deep=True)
    for name in ("z", "t"):
        ds[name] = ds[name].fillna(ds[name].mean(("latitude", "longitude")))
    ds["msl"][:455, :2, 5:] = 1e5
    write_store(ds, tmp_path / "mixed.zarr")
    run = finish(Run(experiment(tmp_path / "mixed.zarr", **PARTS), tmp_path / "run"))
    found = forecasts(run)
    assert np.isnan(found[PRESSURE]).mean() == 3 / 8
    assert np.isfinite(found["geopotential"]).all()
    for metric in ("rmse", "bias", "acc"):
        assert np.isfinite(scores(run)[metric]).all()
    damped = scores(run)["rmse"].sel(channel=PRESSURE, system=["damped persistence", "climatology"])
    assert (damped[0] < 1.1 * damped[1]).all()


def test_a_value_in_the_mask_stops_the_pass_that_reads_it(changed, tmp_path):
    def appears(ds: xr.Dataset) -> None:
        ds["t"].loc[{"time": "2001-11-05", "level": 850, "latitude": 40, "longitude": -10}] = 271.5

    run = Run(experiment(changed(appears), **PARTS), tmp_path / "run")
    with pytest.raises(
        DataError, match=r"^temperature_850: the mask changes in time: 271.5 at 2001-1"
    ):
        run.fit()
    assert not run.model.exists()


def test_a_value_in_the_mask_of_the_test_period_stops_the_forecast(changed, tmp_path):
    def appears(ds: xr.Dataset) -> None:
        ds["msl"].loc[{"time": "2002-08-05", "latitude": 40, "longitude": -20}] = 1e5

    run = Run(experiment(changed(appears), **PARTS), tmp_path / "run")
    run.fit()
    with pytest.raises(
        DataError, match=f"^{PRESSURE}: the mask changes in time: 100000 at 2002-08-05"
    ):
        run.forecast()


def test_a_value_in_the_mask_of_the_truth_stops_verification(changed, tmp_path):
    """The time is read for scores only: no forecast starts from it."""

    def appears(ds: xr.Dataset) -> None:
        ds["msl"].loc[{"time": "2002-09-03", "latitude": 40, "longitude": -20}] = 1e5

    run = Run(experiment(changed(appears), **PARTS), tmp_path / "run")
    run.fit()
    run.forecast()
    with pytest.raises(
        DataError, match=f"^{PRESSURE}: the mask changes in time: 100000 at 2002-09-03"
    ):
        run.verify()


def test_ends_of_training_that_differ_are_refused_before_any_pass(changed, tmp_path):
    def vanishes(ds: xr.Dataset) -> None:
        ds["msl"].loc[{"time": "2002-03-31", "latitude": 40, "longitude": 30}] = np.nan

    run = Run(experiment(changed(vanishes), **PARTS), tmp_path / "run")
    with pytest.raises(DataError, match="nan at 2002-03-31T00:00.* a mask must be the same at all"):
        run.fit()
    assert not list(run.folder.glob("*.zarr"))


def test_a_variable_without_values_is_refused_before_any_pass(masked, tmp_path):
    """The data are netCDF, as zarr would leave such chunks out, which is another error."""
    ds = masked.raw.copy(deep=True)
    ds["msl"][:] = np.nan
    ds.to_netcdf(tmp_path / "changed.nc")
    run = Run(experiment(tmp_path / "changed.nc", **PARTS), tmp_path / "run")
    with pytest.raises(DataError, match=f"^{PRESSURE}: has no value .* at any time of the periods"):
        run.fit()
    assert not list(run.folder.glob("*.zarr"))


def test_modes_above_the_cells_that_are_left(masked, tmp_path):
    source = masked.run.experiment.data.sources[0].path
    run = Run(experiment(source, state={"modes": 101}), tmp_path / "run")
    with pytest.raises(
        ConfigError, match=r"state.modes: 101 EOFs.* of 100 grid cells; choose at mo"
    ):
        run.fit()
    assert not list(run.folder.glob("*.zarr"))


@real
def test_a_run_on_the_temperature_of_the_sea(tmp_path):
    """The data are monthly; some cells are always ice, which does not vary."""
    with xr.open_dataset(DATA / "traps/ersst_monthly_2010_2020_sst.mnmean.nc") as ds:
        raw = ds[["sst"]].load().isel(lat=slice(None, None, 4), lon=slice(None, None, 4))
    raw["sst"].encoding = {}
    raw.to_netcdf(tmp_path / "sst.nc")
    periods = {
        "train": ["2010-01-01", "2016-12-31"],
        "validation": ["2017-01-01", "2018-12-31"],
        "test": ["2019-01-01", "2020-08-31"],
    }
    parts = experiment(
        tmp_path / "sst.nc",
        periods=periods,
        state={"modes": 5},
        model={"leads": ["1mo"]},
        forecast={"horizon": "3mo"},
    )
    parts = parts.model_copy(update={"data": parts.data.model_copy(update={"variables": None})})
    run = finish(Run(parts, tmp_path / "run"))
    land = np.isnan(raw["sst"].values[0, ::-1])
    assert 0.2 < land.mean() < 0.5
    field = forecasts(run)["sea_surface_temperature"]
    np.testing.assert_array_equal(np.isnan(field.values), np.broadcast_to(land, field.shape))
    for metric in ("rmse", "bias", "acc"):
        assert np.isfinite(scores(run)[metric]).all()
    rmse = scores(run)["rmse"].isel(prediction_timedelta=0, channel=0)
    assert rmse.sel(system="forecast") < rmse.sel(system="persistence")
