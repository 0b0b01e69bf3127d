"""Runs with ensembles: members, their scores, resume, faults."""

from __future__ import annotations

import itertools
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from gfrnn.pipeline.config.section import Period, checked
from gfrnn.pipeline.errors import ConfigError, RunError
from gfrnn.pipeline.forecasting import forecast as forecasting
from gfrnn.pipeline.forecasting.forecast_store import open_forecasts
from gfrnn.pipeline.runs.new_period import NewPeriod
from gfrnn.pipeline.runs.refit import refit
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.verification.scores import open_scores
from gfrnn.pipeline.verification.statistics_store import open_statistics
from gfrnn_testing.weather import contents, experiment, finish, make_weather, refused

MEMBERS = 12
PARTS = {
    "climatology": {"annual": 1},
    "state": {"modes": 5, "delays": 2},
    "fit": {"ridge": [1e-3, 1e-2]},
}


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    folder: Path = tmp_path_factory.mktemp("weather")
    return make_weather(folder / "w.zarr", damping=0.9, noise=0.4, times=720, cycle=True).path


def ensemble_run(source: Path, folder: Path, **forecast: object) -> Run:
    own = {"members": MEMBERS, "batch": 10, **forecast}
    return Run(experiment(source, forecast=own, **PARTS), folder)


@pytest.fixture(scope="module")
def ensemble(source, tmp_path_factory) -> Run:
    return finish(ensemble_run(source, tmp_path_factory.mktemp("ensemble") / "run"))


@pytest.fixture(scope="module")
def single(source, tmp_path_factory) -> Run:
    return finish(Run(experiment(source, **PARTS), tmp_path_factory.mktemp("single") / "run"))


def test_the_store_has_members(ensemble):
    store = open_forecasts(ensemble.forecast_store)
    dims = ("time", "number", "prediction_timedelta", "latitude", "longitude")
    assert store["mean_sea_level_pressure"].dims == dims
    assert store["geopotential"].dims == (*dims[:3], "level", *dims[3:])
    np.testing.assert_array_equal(store["number"].values, np.arange(MEMBERS))
    assert store["number"].attrs["standard_name"] == "realization"


def test_the_mean_of_the_members_is_the_single_forecast_and_a_bias(ensemble, single):
    """The bias is one number for each channel, lead and initial time, and small here."""
    members, alone = open_forecasts(ensemble.forecast_store), open_forecasts(single.forecast_store)
    for name in ("geopotential", "temperature", "mean_sea_level_pressure"):
        centre = alone[name].load().astype(float)
        bias = members[name].load().astype(float).mean("number", skipna=False) - centre
        np.testing.assert_array_equal(np.isfinite(bias), np.isfinite(centre))
        plane = ("latitude", "longitude")
        assert float(bias.std(plane).max()) < 1e-6 * float(np.abs(centre).max())
        assert float(np.abs(bias).max()) < 0.2 * float(centre.std(plane).max())
        assert not (members[name].std("number") == 0).any()
    ours, theirs = open_scores(ensemble.score_store), open_scores(single.score_store)
    np.testing.assert_allclose(ours["rmse"], theirs["rmse"], rtol=0.05)


def test_spread_and_ranks_fit_the_errors(ensemble):
    """The process is the same at all times, so that held-out errors are those of the test."""
    scores = open_scores(ensemble.score_store)
    ratio = scores["spread_skill_ratio"].values
    assert ratio.shape == (4, 6)
    assert (np.abs(ratio - 1) < 0.2).all()
    ranks = scores["rank_histogram"].values * (MEMBERS + 1)
    np.testing.assert_allclose(ranks.mean(axis=0), 1, rtol=1e-12)
    assert np.abs(ranks.mean(axis=(1, 2)) - 1).max() < 0.25


def test_scores_are_those_of_the_scores_library(ensemble):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from scores.probability import crps_for_ensemble
    store = open_forecasts(ensemble.forecast_store)
    truth = ensemble.ds["mean_sea_level_pressure"].load()
    found = open_scores(ensemble.score_store).sel(
        system="forecast", channel="mean_sea_level_pressure"
    )
    weights = np.cos(np.deg2rad(store["latitude"]))
    for lead in (0, 5):
        own = store["mean_sea_level_pressure"].isel(prediction_timedelta=lead).astype(float)
        own = own.assign_coords(time=own["valid_time"].values).drop_vars(
            ["valid_time", "prediction_timedelta"]
        )
        own = own.sel(time=np.intersect1d(own["time"].values, truth["time"].values))
        for name, method in (("crps", "ecdf"), ("fair_crps", "fair")):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                each = crps_for_ensemble(
                    own,
                    truth.sel(time=own["time"]).astype(float),
                    "number",
                    method=method,
                    preserve_dims="all",
                )
            expected = each.weighted(weights).mean(("latitude", "longitude")).mean("time")
            ours = found[name].isel(prediction_timedelta=lead)
            np.testing.assert_allclose(float(ours), float(expected), rtol=1e-5)


def test_references_are_ensembles_too(ensemble):
    """The linear model and the climatology have members; persistence is a single forecast."""
    scores = open_scores(ensemble.score_store)
    crps, mae = scores["fair_crps"], scores["mae"]
    for system in ("linear", "climatology"):
        assert (crps.sel(system=system) < 0.85 * mae.sel(system=system)).all()
    singles = ["linear inverse", "persistence", "damped persistence"]
    for system in singles:
        np.testing.assert_allclose(crps.sel(system=system), mae.sel(system=system))
    # An ensemble is not compared with a single forecast.
    assert np.isfinite(scores["crps_change_low"].sel(system=["linear", "climatology"])).all()
    assert np.isnan(scores["crps_change"].sel(system=[*singles, "forecast"])).all()
    # The process is linear: networks and linear model are alike.
    ratio = crps.sel(system="forecast") / crps.sel(system="linear")
    np.testing.assert_allclose(ratio, 1, atol=0.12)
    with open_statistics(ensemble.statistics) as statistics:
        assert statistics["crps"].dims == statistics["squared_error"].dims
        assert statistics.sizes["rank"] == MEMBERS + 1


def test_members_do_not_depend_on_the_batch_or_an_interruption(ensemble, tmp_path, monkeypatch):
    real, calls = forecasting._forecast_batch, itertools.count()
    path = tmp_path / "forecast.zarr"

    def breaks(*arguments):
        if next(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(forecasting, "_forecast_batch", breaks)
        with pytest.raises(KeyboardInterrupt):
            forecasting.forecast(ensemble.experiment, ensemble.ds, ensemble.model, path)
    forecasting.forecast(ensemble.experiment, ensemble.ds, ensemble.model, path)
    for name in ("geopotential", "temperature", "mean_sea_level_pressure"):
        assert contents(path / name) == contents(ensemble.forecast_store / name)


def test_another_seed_gives_other_members(ensemble, source, tmp_path):
    other = ensemble_run(source, tmp_path / "run", seed=1)
    path = tmp_path / "forecast.zarr"
    forecasting.forecast(other.experiment, ensemble.ds, ensemble.model, path)
    first, second = (
        open_forecasts(each)["temperature"] for each in (path, ensemble.forecast_store)
    )
    difference = np.abs(first.values - second.values)
    assert np.nanmax(difference) > 0.1
    np.testing.assert_allclose(
        first.sel(level=850).mean("number"), second.sel(level=850).mean("number"), rtol=1e-5
    )


def test_errors_are_truth_less_forecast_of_held_out_data(ensemble):
    """The model is not refitted, so that it has itself made the forecasts of the archive."""
    model = ensemble.load_model()
    archive, layout = model.errors, model.layout
    assert archive is not None
    fields = model.fields(ensemble.ds)
    valid = archive.valid_time[archive.usable[5]]
    start = int(np.searchsorted(fields.time, valid[0])) - 1
    window = np.arange(start - 1, start + 1)
    history = layout.encode(fields.read(start - 1, start + 1), fields.time[window])[None]
    initial = fields.time[start : start + 1]
    sizes = archive.deviations("forecast", valid[3:4], 3)[0]
    errors = archive.errors("forecast", archive.usable[5:6], slice(3, 4), slice(None))[0, 0]
    walked = model.rollout(history, initial, 4)[:, 3]
    expected = fields.read(start + 4, start + 5) - layout.decode(walked, valid[3:4])
    found = errors * sizes[:, None]
    scale = np.abs(expected).reshape(4, -1).max(axis=1)
    difference = np.abs(found - expected.reshape(4, -1)).max(axis=1)
    assert (difference < 2e-3 * scale + 1e-6 * np.array([5e4, 1e4, 300, 1e5])).all()


def test_another_period_has_members_of_the_same_model(ensemble, tmp_path):
    period = checked(Period, ["2002-09-01", "2002-09-20"], "test")
    run = NewPeriod.prepare(ensemble.folder, period, tmp_path / "later").run()
    run.forecast(), run.verify()
    assert open_forecasts(run.forecast_store).sizes["number"] == MEMBERS
    assert "fair_crps" in open_scores(run.score_store)


def test_another_number_of_members_can_be_given(ensemble, tmp_path):
    period = checked(Period, ["2002-09-01", "2002-09-04"], "test")
    run = NewPeriod.prepare(ensemble.folder, period, tmp_path / "period", members=5).run()
    run.forecast()
    assert open_forecasts(run.forecast_store).sizes["number"] == 5
    init = NewPeriod.from_initial_time(ensemble.folder, "latest", tmp_path / "latest", members=40)
    run = init.run()
    run.forecast()
    assert open_forecasts(run.forecast_store).sizes["number"] == 40


def test_members_that_the_model_cannot_make_are_refused_before_work(single, ensemble, tmp_path):
    period = checked(Period, ["2002-09-01", "2002-09-04"], "test")
    for model, options, reason in (
        (single, {"members": 5}, "the model has no errors of held-out forecasts"),
        (ensemble, {"horizon": "8d"}, "errors of 6 leads, but forecast.horizon has 8"),
    ):
        with pytest.raises(RunError, match=f"forecast.members: .*{reason}"):
            NewPeriod.prepare(model.folder, period, tmp_path / "new", **options)
        with pytest.raises(RunError, match=f"forecast.members: .*{reason}"):
            NewPeriod.from_initial_time(model.folder, "latest", tmp_path / "new", **options)
    with pytest.raises(ConfigError, match=r"--period: forecast.members: 1 .*"):
        NewPeriod.prepare(ensemble.folder, period, tmp_path / "new", members=1)
    assert not (tmp_path / "new").exists()


def test_missing_statistics_are_computed_again(ensemble, tmp_path):
    """Runs of earlier versions have scores alone; the message says to verify again."""
    shutil.copytree(ensemble.folder, tmp_path / "run")
    run = Run.reopen(tmp_path / "run")
    shutil.rmtree(run.statistics)
    assert not run.verify().skipped
    assert contents(run.statistics) == contents(ensemble.statistics)
    assert contents(run.score_store) == contents(ensemble.score_store)
    assert run.verify().skipped


def test_a_refit_makes_single_forecasts(ensemble, tmp_path, caplog):
    """The errors of the run are not those of other networks: its members would be too close."""
    run = refit(ensemble.folder, tmp_path / "refit", ridge=[100.0], widths=[2])
    assert "the refitted run makes single forecasts" in caplog.text
    assert run.load_model().errors is None
    assert run.experiment.forecast.members is None
    run.forecast(), run.verify()
    assert "number" not in open_forecasts(run.forecast_store).dims
    assert "crps" not in open_scores(run.score_store)
    assert ensemble.load_model().errors is not None


def test_a_model_without_errors_has_no_members(single, source, tmp_path):
    run = ensemble_run(source, tmp_path / "run")
    with pytest.raises(RunError, match=r"forecast.members: the model has no errors.*fit it with"):
        forecasting.forecast(run.experiment, single.ds, single.model, tmp_path / "f.zarr")
    assert not (tmp_path / "f.zarr").exists()


def test_a_longer_horizon_than_that_of_the_errors_is_refused(ensemble, source, tmp_path):
    run = ensemble_run(source, tmp_path / "run", horizon="8d")
    with pytest.raises(RunError, match=r"errors of 6 leads, but forecast.horizon has 8"):
        forecasting.forecast(run.experiment, ensemble.ds, ensemble.model, tmp_path / "f.zarr")


def test_a_short_validation_period_is_refused_before_work(source, tmp_path):
    parts = PARTS | {"periods": {"validation": ["2002-04-01", "2002-04-30"]}}
    own = {"members": MEMBERS}
    run = Run(experiment(source, forecast=own, **parts), tmp_path / "run")
    message = refused(ConfigError, run)
    assert "forecast.members: the validation period" in message
    assert "at least 30; choose a longer validation period" in message


@pytest.mark.parametrize("members", [0, 1, -3, 2.5, "many"])
def test_other_numbers_of_members_are_refused(source, members):
    with pytest.raises(ConfigError, match=r"forecast.members"):
        experiment(source, forecast={"members": members})


def test_a_store_of_members_opens_in_xarray_without_a_warning(ensemble):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store = xr.open_zarr(ensemble.forecast_store, decode_timedelta=True)
    assert store["temperature"].sel(level=850.0).isel(time=0).mean("number").notnull().all()
