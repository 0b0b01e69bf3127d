"""Runs with ``forecast.store: false``: statistics while forecasting, no fields kept."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from gfrnn.pipeline.config.experiment import Experiment
from gfrnn.pipeline.config.section import Period, checked
from gfrnn.pipeline.errors import DataError, ResourceError, RunError
from gfrnn.pipeline.forecasting.divergence import divergences
from gfrnn.pipeline.forecasting.forecast_store import open_forecasts
from gfrnn.pipeline.reduction import dask_client
from gfrnn.pipeline.runs.new_period import NewPeriod
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.verification import verify as verification
from gfrnn.pipeline.verification.online.verify_online import OnlineScoring
from gfrnn.pipeline.verification.scores import open_scores
from gfrnn.pipeline.verification.statistics_store import open_statistics
from gfrnn_testing.models import scale_weights
from gfrnn_testing.weather import experiment, finish, make_weather, stamps, tree
from gfrnn_testing.zonal_weather import write_zonal_noise, zonal_tree

PARTS: dict[str, dict[str, Any]] = {
    "periods": {"test": ["2002-07-01", "2002-07-31"]},
    "climatology": {"annual": 1},
    "state": {"modes": 5, "delays": 2},
    "fit": {"ridge": [1e-3, 1e-2]},
    "verification": {
        "thresholds": {"temperature_850": [280.0]},
        "spectra": True,
        "regions": ["europe"],
    },
}
CASES: dict[str, dict[str, Any]] = {
    "single": {},
    "ensemble": {"forecast": {"members": 7}},
    "every third day": {"forecast": {"every": "3d", "batch": 4}},
    "bound": {"model": {"bound": 1.5}},
}


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    folder: Path = tmp_path_factory.mktemp("weather")
    return make_weather(folder / "w.zarr", damping=0.9, noise=0.4, times=720, cycle=True).path


def with_parts(source: Path, parts: dict[str, dict[str, Any]], **forecast: Any) -> Any:
    found = {name: {**PARTS.get(name, {}), **parts.get(name, {})} for name in PARTS | parts}
    found["forecast"] = {"batch": 10, **found.get("forecast", {}), **forecast}
    return experiment(source, **found)


def run_online(run: Run, folder: Path, **forecast: Any) -> Run:
    """Use the fit of a run for one that keeps no fields."""
    shutil.copytree(run.folder, folder)
    for name in ("forecast.zarr", "statistics.zarr", "scores.zarr"):
        shutil.rmtree(folder / name, ignore_errors=True)
    return Run(run_config(run, **{"store": False} | forecast), folder)


def run_config(run: Run, **forecast: Any) -> Experiment:
    """Return the experiment of a run with other keys of the forecast."""
    changed = run.experiment.forecast.model_copy(update=forecast)
    return run.experiment.model_copy(update={"forecast": changed})


@pytest.fixture(scope="module", params=CASES)
def stored(request, source, single, tmp_path_factory) -> Run:
    if request.param == "single":
        return single
    folder = tmp_path_factory.mktemp("stored") / "run"
    return finish(Run(with_parts(source, CASES[request.param]), folder))


@pytest.fixture(scope="module")
def single(source, tmp_path_factory) -> Run:
    return finish(Run(with_parts(source, {}), tmp_path_factory.mktemp("single") / "run"))


def assert_same_statistics(run: Run, stored: Run) -> None:
    """Check that the statistics of two runs are equal bit for bit."""
    with open_statistics(stored.statistics) as there, open_statistics(run.statistics) as here:
        assert set(here) - set(there) <= {"limited", "diverged"}
        for name in [*there.data_vars, *there.coords]:
            assert here[name].dtype == there[name].dtype
            assert here[name].values.tobytes() == there[name].values.tobytes(), name


def test_statistics_and_scores_are_those_of_stored_forecasts(stored, tmp_path):
    run = run_online(stored, tmp_path / "run")
    assert run.fit().skipped
    run.forecast(), run.verify()
    assert not run.forecast_store.exists()
    assert_same_statistics(run, stored)
    xr.testing.assert_equal(open_scores(run.score_store), open_scores(stored.score_store))
    ours, theirs = run.rollouts(), stored.rollouts()
    np.testing.assert_array_equal(ours["limited"].astype("f4"), theirs["limited"])
    assert ours.attrs["lost_forecasts"] == theirs.attrs["lost_forecasts"]
    for name in ("time", "valid_time", "prediction_timedelta"):
        np.testing.assert_array_equal(ours[name], theirs[name])
    assert run.forecast().skipped
    assert run.verify().skipped


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["local", "zonal"])
def test_statistics_are_those_of_stored_forecasts_in_other_layouts(layout, source, tmp_path):
    if layout == "zonal":
        write_zonal_noise(tmp_path / "w.zarr", 400, (8, 16), 100)
        plain = zonal_tree(
            tmp_path / "w.zarr",
            periods={
                "train": ["2001-01-01", "2001-09-30"],
                "validation": ["2001-10-01", "2001-12-15"],
                "test": ["2001-12-16", "2002-02-04"],
            },
            fit={"ridge": [1e-2]},
            forecast={"batch": 8, "every": "1d"},
        )
    else:
        plain = tree(source, fit={"ridge": [1e-2]}, model={"leads": ["1d"]}, forecast={"batch": 10})
        plain["state"] = {"layout": "local", "patch": [5, 4], "halo": [1, 1], "delays": 2}
    stored = finish(Run(checked(Experiment, plain, "test"), tmp_path / "stored"))
    run = run_online(stored, tmp_path / "run")
    run.forecast()
    assert_same_statistics(run, stored)


def test_a_killed_run_resumes_in_batches_of_another_size(single, tmp_path, monkeypatch):
    run = run_online(single, tmp_path / "run")
    monkeypatch.setattr(verification, "_TASK_STARTS", 10)
    real, calls = OnlineScoring.write, itertools.count()

    def breaks(self, path, first, stop):
        if next(calls) == 2:
            raise KeyboardInterrupt
        real(self, path, first, stop)

    monkeypatch.setattr(OnlineScoring, "write", breaks)
    with pytest.raises(KeyboardInterrupt):
        run.forecast()
    again = Run(run_config(run, batch=7), run.folder)
    with pytest.raises(RunError, match=r"statistics.zarr: not finished.*`gfrnn forecast` first"):
        again.verify()
    counted = []
    again.progress = lambda update: counted.append((update.name, update.total))
    again.forecast()
    tasks = -(-again.rollouts().sizes["time"] // 7)
    assert set(counted) == {("forecast", tasks - 2)}  # the third wrote 6 of 7
    other = run_online(single, tmp_path / "other")
    other.forecast()
    with open_statistics(again.statistics) as ours, open_statistics(other.statistics) as theirs:
        first = {"time": slice(14)}
        xr.testing.assert_identical(ours.isel(first).drop_attrs(), theirs.isel(first).drop_attrs())
        for name in ("known", "squared_error"):
            xr.testing.assert_allclose(ours[name], theirs[name], rtol=1e-3)


def test_changed_keys_of_the_verification_need_the_forecasts_again(single, tmp_path):
    run = run_online(single, tmp_path / "run")
    run.forecast(), run.verify()
    changed = run.experiment.verification.model_copy(update={"spectra": False})
    again = Run(run.experiment.model_copy(update={"verification": changed}), run.folder)
    assert again.fit().skipped
    with pytest.raises(RunError, match="whose section verification decides statistics too"):
        again.verify()
    assert not again.forecast().skipped
    again.verify()
    assert "wavenumber" not in open_scores(again.score_store).dims


def test_stored_fields_are_not_left_beside_statistics_of_others(single, tmp_path):
    shutil.copytree(single.folder, tmp_path / "run")
    own = run_online(single, tmp_path / "other").experiment
    run = Run(own, tmp_path / "run")
    with pytest.raises(RunError, match=r"forecast.zarr: has fields.*remove them by"):
        run.check()
    assert (tmp_path / "run" / "forecast.zarr" / "zarr.json").exists()


def test_a_forced_run_replaces_stored_fields(single, tmp_path):
    shutil.copytree(single.folder, tmp_path / "run")
    run = Run(run_online(single, tmp_path / "other").experiment, tmp_path / "run")
    run.check(force=True)
    run.forecast(force=True), run.verify(force=True)
    assert not run.forecast_store.exists()
    assert_same_statistics(run, single)


def test_statistics_that_are_made_again_are_the_same_to_the_last_attribute(single, tmp_path):
    shutil.copytree(single.folder, tmp_path / "run")
    run = Run.reopen(tmp_path / "run")
    before = (run.statistics / "zarr.json").read_text()
    run.verify(force=True)
    assert (run.statistics / "zarr.json").read_text() == before


def test_forced_forecasts_alone_replace_stored_fields_and_keep_the_model(single, tmp_path):
    shutil.copytree(single.folder, tmp_path / "run")
    run = Run(run_online(single, tmp_path / "other").experiment, tmp_path / "run")
    before = stamps(run.model)
    run.check(forecast_again=True)
    run.forecast(force=True), run.verify()
    assert not run.forecast_store.exists()
    assert stamps(run.model) == before
    assert_same_statistics(run, single)


def test_without_truth_there_is_nothing_to_score(single, tmp_path):
    run = run_online(single, tmp_path / "run")
    last = run.ds["time"].values[-1]
    period = checked(Period, [str(last)] * 2, "test")
    periods = run.experiment.periods.model_copy(update={"test": period})
    late = Run(run.experiment.model_copy(update={"periods": periods}), tmp_path / "late")
    with pytest.raises(DataError, match=r"forecast.store: false: there is no truth for any of the"):
        late.check()


def test_another_period_keeps_no_fields_but_the_latest_forecast_does(single, tmp_path):
    run = run_online(single, tmp_path / "run")
    period = checked(Period, ["2002-09-01", "2002-09-20"], "test")
    later = NewPeriod.prepare(run.folder, period, tmp_path / "later").run()
    later.forecast(), later.verify()
    assert not later.forecast_store.exists()
    stored = NewPeriod.prepare(single.folder, period, tmp_path / "stored").run()
    stored.forecast(), stored.verify()
    assert_same_statistics(later, stored)
    latest = NewPeriod.from_initial_time(run.folder, "latest", tmp_path / "latest").run()
    latest.forecast()
    assert open_forecasts(latest.forecast_store).sizes["time"] == 1


def test_forecasts_that_diverge_are_counted(single, tmp_path, monkeypatch):
    real = ForecastModel.walk

    def diverges(self, history, initial, leads):
        for lead, (states, limited) in enumerate(real(self, history, initial, leads)):
            if lead >= 3:
                states = np.where(np.arange(len(states))[:, None] == 1, np.nan, states)
            yield states, limited

    monkeypatch.setattr(ForecastModel, "walk", diverges)
    run = run_online(single, tmp_path / "run")
    stored = run_online(single, tmp_path / "stored", store=True)
    run.forecast(), stored.forecast(), stored.verify()
    starts = run.rollouts().sizes["time"]
    assert run.rollouts().attrs["lost_forecasts"] == -(-(starts - 1) // 10)
    assert stored.rollouts().attrs["lost_forecasts"] == -(-(starts - 1) // 10)
    assert_same_statistics(run, stored)
    found = divergences(run.rollouts())
    assert found == divergences(stored.rollouts())
    assert {each["lead"] for each in found} == {4}
    counts = run.record.stages["forecast"].rollouts
    assert counts == {
        "forecasts": starts,
        "diverged": -(-(starts - 1) // 10),
        "first_divergence": found[0],
    }
    assert counts == stored.record.stages["forecast"].rollouts


def test_states_of_modes_that_leave_the_range_diverge(single, tmp_path):
    """All that such weights forecast is finite for some steps."""
    run = run_online(single, tmp_path / "run", store=True)
    scale_weights(run.model, 1e20)
    run.forecast()
    store = open_forecasts(run.forecast_store)
    assert store.attrs["lost_forecasts"] == store.sizes["time"]
    assert np.isnan(store["temperature"].sel(level=850.0)).all()
    assert divergences(store)[0]["lead"] == 1


def test_a_task_that_does_not_fit_is_refused(single, tmp_path, monkeypatch):
    run = run_online(single, tmp_path / "run")
    monkeypatch.setattr(dask_client, "_memory_of_a_thread", lambda client: 1000)
    with pytest.raises(ResourceError, match=r"forecast: a leaf needs .* lower forecast.batch or"):
        run.forecast()
