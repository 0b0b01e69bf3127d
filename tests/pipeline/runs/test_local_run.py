"""Test whole runs of local layouts: known laws are learnt, real weather is forecast with skill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from gfrnn.cluster import ClusterConfig, open_cluster
from gfrnn.pipeline.config.experiment import Experiment, to_tree
from gfrnn.pipeline.config.section import Period
from gfrnn.pipeline.forecasting import forecast_chunks
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.runs.update import Update
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn_testing.archives import DATA, real
from gfrnn_testing.models import scale_weights
from gfrnn_testing.spheres import (
    DAYS,
    VARIABLES,
    advected,
    latitudes,
    local_experiment,
    longitudes,
    write_fields,
)
from gfrnn_testing.weather import contents, experiment, finish, make_weather

NORTH, EAST = latitudes(6, "between"), longitudes(12)
T2M, MSL = "2m_temperature", "mean_sea_level_pressure"
SPEEDS = [1, 1, 1, -1, -1, -1]  # by row, from south to north


def done(source: Path, folder: Path, **sections: Any) -> Run:
    return finish(Run(local_experiment(source, **sections), folder))


def scores(run: Run) -> xr.Dataset:
    with xr.open_zarr(run.score_store, consolidated=False, decode_timedelta=True) as ds:
        return ds.load()


def forecasts(run: Run) -> xr.Dataset:
    with xr.open_zarr(run.forecast_store, decode_timedelta=True) as ds:
        return ds.load()


def worst(run: Run, system: str = "forecast") -> float:
    """Return the largest RMSE of all leads and channels relative to that of climatology."""
    rmse = scores(run)["rmse"]
    return float((rmse.sel(system=system) / rmse.sel(system="climatology")).max())


@pytest.fixture(scope="module")
def drift(tmp_path_factory) -> Path:
    """Return two fields that move east by a cell a day on a globe of 6 x 12 cells."""
    path = tmp_path_factory.mktemp("drift") / "drift.zarr"
    fields = {T2M: advected(6, 12, 1, DAYS), MSL: advected(6, 12, 1, DAYS, seed=1)}
    return write_fields(path, fields, NORTH, EAST)


@pytest.fixture(scope="module")
def shear(tmp_path_factory) -> Path:
    """Return a field that moves east north of the equator and west south of it."""
    path = tmp_path_factory.mktemp("shear") / "shear.zarr"
    return write_fields(path, {T2M: advected(6, 12, SPEEDS[::-1], DAYS)}, NORTH, EAST)


@pytest.fixture(scope="module")
def drifted(drift, tmp_path_factory) -> Run:
    return done(drift, tmp_path_factory.mktemp("drifted") / "run")


# Known laws


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["shared", "bands", "own"])
def test_a_field_that_moves_by_a_cell_a_day_is_forecast(drift, tmp_path, weights):
    run = done(drift, tmp_path / "run", state={"weights": weights, "bands": 3})
    assert worst(run) < 1e-6
    assert worst(run, "linear") < 1e-6  # it is the same model
    # The references know nothing of a law.
    assert scores(run)["rmse"].sel(system="damped persistence", channel=T2M).min() > 1
    with xr.open_zarr(drift, consolidated=False) as truth:
        found = forecasts(run)[T2M]
        for start, lead in ((0, 0), (3, 5), (-3, 2)):
            one = found.isel(time=start, prediction_timedelta=lead)
            valid = one["time"].values + one["prediction_timedelta"].values
            expected = truth[T2M].sel(time=valid)
            np.testing.assert_allclose(one, expected, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_weights_that_differ_with_latitude_learn_a_law_that_does(shear, tmp_path):
    patch = {"patch": [1, 3], "halo": [0, 1]}
    shared = done(shear, tmp_path / "shared", state=patch)
    assert worst(shared) > 0.5
    bands = done(shear, tmp_path / "bands", state={**patch, "weights": "bands", "bands": 2})
    assert worst(bands) < 1e-6
    own = done(shear, tmp_path / "own", state={**patch, "weights": "own"})
    assert worst(own) < 1e-6


def test_hidden_features_that_see_the_latitude_learn_it_too(shear, tmp_path):
    """The law is a product of field and latitude, which no linear model of both can represent."""
    run = done(
        shear,
        tmp_path / "run",
        state={"patch": [1, 3], "halo": [0, 1], "static": ["latitude"]},
        model={"width": 200, "scale": 0.3},
        forecast={"horizon": "1d", "every": "3d"},
    )
    assert worst(run, "linear") > 0.5
    assert worst(run) < 0.1


@pytest.mark.slow
def test_patterns_in_a_box_across_greenwich_are_forecast_by_weights_of_each_patch(tmp_path):
    """Six turning patterns can be forecast from their values in one patch."""
    weather = make_weather(tmp_path / "weather.zarr", times=620)
    keys = {"layout": "local", "patch": [2, 3], "halo": [1, 1], "weights": "own", "delays": 1}
    tree = {"state": keys, "model": {"width": 0, "leads": ["1d", "3d"]}}
    whole = {**to_tree(experiment(weather.path)), **tree}
    run = finish(Run(Experiment.model_validate(whole), tmp_path / "run"))
    assert worst(run) < 1e-3


# The same however it is computed


@pytest.mark.slow
def test_leaves_of_any_length_give_the_same_forecasts(drift, drifted, tmp_path):
    run = done(drift, tmp_path / "run", data={"sources": [str(drift)], "chunk": 23})
    for name in (T2M, MSL):
        np.testing.assert_allclose(forecasts(run)[name], forecasts(drifted)[name], rtol=1e-6)


@pytest.mark.slow
def test_forecasts_written_lead_by_lead_are_those_of_a_shard_each(
    drift, drifted, tmp_path, monkeypatch
):
    for name in ("_CHUNK_BYTES", "_SHARD_BYTES"):
        monkeypatch.setattr(forecast_chunks, name, 0)
    run = done(drift, tmp_path / "run")
    found, expected = forecasts(run), forecasts(drifted)
    assert found[T2M].encoding["chunks"][:2] == (1, 1)
    assert expected[T2M].encoding["chunks"][:2] == (1, 6)
    xr.testing.assert_equal(found, expected)
    xr.testing.assert_equal(scores(run), scores(drifted))


@pytest.mark.slow
@pytest.mark.cluster
def test_workers_compute_the_same_bit_for_bit(shear, tmp_path):
    keys: dict[str, Any] = {
        "state": {"weights": "bands", "bands": 2, "static": ["latitude"]},
        "model": {"width": 10, "sampling": "pairs", "noise": 0.1},
        "data": {"sources": [str(shear)], "chunk": 30},
        "search": {"state.halo": [[1, 1], [0, 1]]},
    }
    here = done(shear, tmp_path / "here", **keys)
    with open_cluster(ClusterConfig(workers=2, dashboard="127.0.0.1:0", memory="600MiB")):
        there = done(shear, tmp_path / "there", **keys)
    for store in ("model", "forecast_store", "score_store"):
        assert contents(getattr(here, store)) == contents(getattr(there, store)), store


def test_a_model_comes_back_from_disk(tmp_path):
    noise = np.random.default_rng(0).normal(size=(DAYS, 6, 12))
    run = Run(
        local_experiment(
            write_fields(tmp_path / "noise.zarr", {T2M: noise}, NORTH, EAST),
            state={"weights": "own", "static": ["latitude"]},
            model={"width": 10, "leads": ["1d", "2d"], "inputs": ["day_of_year", "insolation"]},
            search={"model.seed": [0, 1]},
            fit={"ridge": [1e-3], "average": 2, "calibration": False},
        ),
        tmp_path / "run",
    )
    run.fit()
    model = ForecastModel.load(run.model)
    model.save(tmp_path / "again.zarr")
    again = ForecastModel.load(tmp_path / "again.zarr")
    assert len(again.networks) == 2
    assert again.forcing.count == 4
    history = np.random.default_rng(0).normal(size=(3, 1, 72))
    when = np.array(["2002-01-01", "2002-05-01", "2002-09-01"], dtype="datetime64[ns]")
    path = model.rollout(history, when, 4)
    np.testing.assert_array_equal(path, again.rollout(history, when, 4))
    # The season is among the inputs, so the same start at another time goes elsewhere.
    assert np.abs(path - model.rollout(history, when[::-1], 4))[0].max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["shared", "own"])
def test_an_update_learns_a_law_that_has_changed(tmp_path, weights):
    """The field moves east in the training period, and west afterwards."""
    # The last of 360 fields is one cell west of the first, and the next is two.
    values = np.concatenate([advected(6, 12, 1, 360), advected(6, 12, -1, DAYS - 358)[2:]])
    source = write_fields(tmp_path / "turned.zarr", {T2M: values}, NORTH, EAST)
    run = Run(
        # A calibration would stay that of the fit, whose law fails in the validation period.
        local_experiment(
            source, state={"weights": weights}, fit={"ridge": [1e-8], "calibration": False}
        ),
        tmp_path / "run",
    )
    run.fit()
    period = Period.model_validate(["2001-12-27", "2002-02-28"])
    work = Update.prepare(run.folder, [str(source)], forget=1e-12, period=period)
    updated = finish(work.run())
    assert worst(updated) < 1e-3


# Masks


@pytest.mark.slow
def test_masked_cells_are_nan_and_the_others_are_forecast(tmp_path):
    """Two patches of temperature and pressure are masked, and one cell beside them in one only."""
    fields = {T2M: advected(6, 12, 1, DAYS), MSL: advected(6, 12, 1, DAYS, seed=1)}
    land = np.zeros((6, 12), dtype=bool)
    land[2:4, :6] = True
    # The rows of the mask carry nothing, so that nothing comes out of it.
    for values in fields.values():
        values[:, 2:4] = advected(2, 12, 0, DAYS, seed=2)
        values[:, land] = np.nan
    fields[T2M][:, 2, 7] = np.nan
    source = write_fields(tmp_path / "masked.zarr", fields, NORTH, EAST)
    run = done(source, tmp_path / "run", state={"weights": "own"}, fit={"ridge": [1e-8]})
    model = ForecastModel.load(run.model)
    assert model.notes.patches == 12 - 2
    assert len(np.unique(model.linear.groups)) == 10
    assert model.notes.rows == 359 * 10
    found = forecasts(run)
    for name in (T2M, MSL):
        missing = np.isnan(fields[name][0])
        np.testing.assert_array_equal(
            np.isnan(found[name].values), np.broadcast_to(missing, found[name].shape)
        )
    assert found.attrs["lost_forecasts"] == 0
    assert np.isfinite(scores(run)["rmse"]).all()


def test_a_cell_that_never_changes_has_no_anomaly_and_is_forecast_as_it_is(tmp_path):
    values = advected(6, 12, 1, DAYS)
    values[:, 2:4, 3:6] = 0.7
    values[:, 2:4] = values[:1, 2:4]  # nothing moves through it
    source = write_fields(tmp_path / "still.zarr", {T2M: values}, NORTH, EAST)
    run = done(source, tmp_path / "run", state={"weights": "own"})
    mean, amplitude, _ = VARIABLES[T2M]
    still = forecasts(run)[T2M].isel(latitude=slice(2, 4), longitude=slice(3, 6))
    np.testing.assert_allclose(still, mean + amplitude * 0.7, atol=1e-3)


# Forecasts that run away


def test_diverged_forecasts_are_nan_and_counted(drift, tmp_path):
    run = Run(local_experiment(drift, model={"bound": None}), tmp_path / "run")
    run.fit()
    grow(run)
    run.forecast()
    store = forecasts(run)
    assert store.attrs["lost_forecasts"] == store.sizes["time"]
    missing = np.isnan(store[T2M]).all(("latitude", "longitude"))
    assert not missing.isel(prediction_timedelta=0).any()
    assert missing.isel(prediction_timedelta=-1).all()
    run.verify()
    rmse = scores(run)["rmse"].sel(system="forecast").isel(prediction_timedelta=-1)
    assert np.isnan(rmse).all()


def grow(run: Run) -> None:
    """Make the forecasts of a model run away."""
    scale_weights(run.model, 3.0)


def test_the_bound_holds_forecasts_and_counts_the_values(drift, tmp_path):
    run = Run(local_experiment(drift, fit={"calibration": False}), tmp_path / "run")
    assert run.experiment.model.bound == 5.0
    run.fit()
    grow(run)
    run.forecast()
    store = forecasts(run)
    assert store.attrs["lost_forecasts"] == 0
    assert "share of values" in store["limited"].attrs["long_name"]
    model = ForecastModel.load(run.model)
    scaling = model.layout.scaling
    mean = scaling.climatology(store["valid_time"].values.reshape(-1))
    channels = [store[channel.variable].values for channel in scaling.grid.channels]
    fields = np.stack(channels, axis=2).reshape(mean.shape)
    largest = np.abs((fields - mean) * scaling.weights).reshape(*store["limited"].shape, -1)
    np.testing.assert_allclose(largest[:, -1].max(), 5.0, rtol=1e-3)
    shares = (largest > 5 - 1e-3).mean(axis=2)
    np.testing.assert_allclose(store["limited"], shares, atol=1e-6)
    assert shares[:, -1].min() > max(0.2, shares[:, 0].max())
    run.verify()
    assert np.isfinite(scores(run)["rmse"]).all()


# Real weather


@real
def test_real_weather_over_europe_is_forecast_better_than_by_damped_persistence(tmp_path):
    folder = DATA / "erai_weur_daily_2000_2010"
    sources = [
        {"path": str(folder / "z500_ei.nc"), "level": 500},
        {"path": str(folder / "t850_ei.nc"), "level": 850},
    ]
    keys: dict[str, Any] = {
        "data": {"sources": sources},
        "periods": {
            "train": ["2003-01-01", "2005-12-31"],
            "validation": ["2006-01-01", "2006-06-30"],
            "test": ["2006-07-01", "2006-12-31"],
        },
        "climatology": {"annual": 2},
        "state": {"patch": [7, 8], "halo": [2, 2], "static": ["latitude"]},
        "model": {"width": 50, "scale": 0.05, "inputs": ["day_of_year"], "leads": ["1d", "2d"]},
        "fit": {"ridge": [1e-4, 1e-3, 1e-2]},
        "forecast": {"horizon": "2d", "every": "2d"},
    }
    run = done(tmp_path, tmp_path / "run", **keys)
    rmse = scores(run)["rmse"]
    for name in ("geopotential_500", "temperature_850"):
        ours = rmse.sel(system="forecast", channel=name)
        damped = rmse.sel(system="damped persistence", channel=name)
        assert (ours < damped).all()
        assert ours[0] < 0.95 * damped[0]


@real
def test_real_weather_of_a_whole_globe_is_forecast_across_its_poles(tmp_path):
    """Eleven days of four times each are enough to beat persistence at six hours."""
    keys: dict[str, Any] = {
        "data": {"sources": [str(DATA / "small_global" / "ncep-r1_hgt.1960.nc")]},
        "periods": {
            "train": ["1960-01-01", "1960-01-07"],
            "validation": ["1960-01-08", "1960-01-08T18"],
            "test": ["1960-01-09", "1960-01-10T18"],
        },
        "climatology": {"annual": 0, "diurnal": 0},
        "state": {"patch": [6, 8], "halo": [2, 2], "weights": "bands", "bands": 3},
        "fit": {"ridge": [1e-4, 1e-3, 1e-2, 1e-1]},
        "forecast": {"horizon": "6h"},
    }
    run = done(tmp_path, tmp_path / "run", **keys)
    assert ForecastModel.load(run.model).linear.patches.poles == ("row", "row")
    rmse = scores(run)["rmse"].isel(prediction_timedelta=0, channel=0)
    assert rmse.sel(system="forecast") < rmse.sel(system="damped persistence")
    assert rmse.sel(system="damped persistence") < rmse.sel(system="persistence")
