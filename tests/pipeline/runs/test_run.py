"""Test a run from data to scores: its skill on weather of known law, and resumed stages."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml
import zarr

from gfrnn.pipeline.config.experiment import Experiment, dump_experiment, to_tree
from gfrnn.pipeline.errors import ConfigError, RunError
from gfrnn.pipeline.forecasting import forecast as forecasting
from gfrnn.pipeline.forecasting.forecast_store import open_forecasts, written
from gfrnn.pipeline.forecasting.store_sums import SUMS
from gfrnn.pipeline.reduction.progress import ProgressUpdate
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.training import checks
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn_testing.weather import (
    Weather,
    contents,
    experiment,
    finish,
    make_weather,
    stamps,
    tree,
)

GFRNN = [sys.executable, "-c", "from gfrnn.workflows.commands.main import main; main()"]
STORES = ("model.zarr", "forecast.zarr", "scores.zarr")
SHORT = {"periods": {"test": ["2002-07-01", "2002-07-12"]}, "forecast": {"horizon": "3d"}}
"""A test period of few forecasts, for tests of the order of things."""


@pytest.fixture(scope="module")
def turning(tmp_path_factory) -> Weather:
    """Write patterns that turn for ever, without noise."""
    return make_weather(tmp_path_factory.mktemp("turning") / "turning.zarr")


@pytest.fixture(scope="module")
def noisy(tmp_path_factory) -> Weather:
    """Write patterns that turn, decay and are forced by noise."""
    path = tmp_path_factory.mktemp("noisy") / "noisy.zarr"
    return make_weather(path, damping=0.95, noise=0.3, times=1600, start="1999-01-01")


def scores_of(run: Run) -> xr.Dataset:
    return xr.open_zarr(
        run.score_store, chunks=None, decode_timedelta=True, consolidated=False
    ).load()


# Skill


@pytest.mark.parametrize(("target", "delays"), [("state", 2), ("increment", 1)])
def test_a_linear_law_without_noise_is_recovered(turning, tmp_path, target, delays):
    parts = {"model": {"target": target, "width": 20}, "state": {"delays": delays}}
    rmse = scores_of(finish(Run(experiment(turning.path, **parts), tmp_path / "run")))["rmse"]
    relative = rmse / rmse.sel(system="climatology")
    # Noise-free but for the rounding of float32, in the data and in the forecasts.
    assert relative.sel(system=["forecast", "linear"]).max() < 1e-3
    assert relative.sel(system="persistence").min() > 0.1


def test_noisy_weather_is_forecast_as_well_as_its_law_allows(noisy, tmp_path):
    periods = {"train": ["1999-01-01", "2002-03-31"]}
    run = finish(Run(experiment(noisy.path, periods=periods), tmp_path / "run"))
    rmse = scores_of(run)["rmse"]
    ours = rmse.sel(system="forecast")
    for reference in ("persistence", "damped persistence", "climatology"):
        assert (ours < rmse.sel(system=reference)).all(), reference
    # The best forecast there is: the law itself, from the true state.
    store = open_forecasts(run.forecast_store)
    weight = np.cos(np.deg2rad(noisy.ds["latitude"]))
    channels = {
        "geopotential_850": noisy.ds["geopotential"].sel(level=850),
        "mean_sea_level_pressure": noisy.ds["mean_sea_level_pressure"],
    }
    places = noisy.time.get_indexer(store["time"].values)
    for name, truth in channels.items():
        # Fields are linear in the states, so a fit to them all is exact.
        flat = truth.values.reshape(len(noisy.time), -1).astype(float)
        design = np.column_stack([np.ones(len(flat)), noisy.states])
        patterns = np.linalg.lstsq(design, flat, rcond=None)[0]
        assert np.abs(design @ patterns - flat).max() < 0.05
        for lead in range(1, 7):
            ahead = noisy.states[places] @ np.linalg.matrix_power(noisy.law, lead).T
            best = np.column_stack([np.ones(len(ahead)), ahead]) @ patterns
            error = truth[places + lead] - best.reshape(len(ahead), *truth.shape[1:])
            limit = float(np.sqrt((error**2).weighted(weight).mean()))
            found = float(ours.sel(channel=name).isel(prediction_timedelta=lead - 1))
            assert 0.97 * limit < found < 1.1 * limit, (name, lead)


def test_a_candidate_that_cannot_represent_the_law_is_not_chosen(turning, tmp_path):
    # Two modes cannot hold three turning pairs.
    parts = {"search": {"state.modes": [2, 6]}, **SHORT}
    run = Run(experiment(turning.path, **parts), tmp_path / "run")
    run.fit()
    model = ForecastModel.load(run.model)
    assert model.notes.chosen == {"state.modes": 6}
    bad, good = (entry.score for entry in model.notes.candidates)
    assert good < 1e-3 < bad


def test_networks_are_averaged_at_each_lead(noisy, tmp_path):
    parts = SHORT | {"search": {"model.seed": [0, 1, 2]}, "fit": {"average": 2, "ridge": [1e-3]}}
    run = Run(experiment(noisy.path, **parts), tmp_path / "run")
    run.fit()
    model = ForecastModel.load(run.model)
    np.testing.assert_array_equal(model.mixture.sum(axis=0), 1)
    np.testing.assert_array_equal((model.mixture > 0).sum(axis=0), 2)
    history = np.random.default_rng(0).normal(size=(3, model.delays, 6))
    initial = np.full(3, np.datetime64("2002-07-01", "ns"))
    singles = [network.rollout(history, 6) for network in model.networks]
    mixed = np.stack([states for states, _ in model.rollouts.walk(history, initial, 6)], axis=1)
    for lead in range(6):
        column = 1 if lead >= 2 else 0  # own weights at one and at three days
        expected = sum(s[:, lead] * w for s, w in zip(singles, model.mixture[:, column]))  # noqa: B905
        np.testing.assert_allclose(mixed[:, lead], expected, rtol=1e-12)
    factors = model.calibration[:, model.layout.regression_groups]
    assert len(factors) < 6  # factors of leads beyond the horizon are those of the last
    factors = factors[np.minimum(np.arange(6), len(factors) - 1)]
    np.testing.assert_allclose(model.rollout(history, initial, 6), mixed * factors, rtol=1e-12)


def test_without_calibration_forecasts_are_the_rollouts(noisy, tmp_path):
    parts = SHORT | {"fit": {"ridge": [1e-3], "calibration": False}}
    run = Run(experiment(noisy.path, **parts), tmp_path / "run")
    run.fit()
    model = ForecastModel.load(run.model)
    assert model.calibration is None
    assert "rollout_errors" not in model.selection
    history = np.random.default_rng(0).normal(size=(3, model.delays, 6))
    initial = np.full(3, np.datetime64("2002-07-01", "ns"))
    np.testing.assert_array_equal(
        model.rollout(history, initial, 6), model.networks[0].rollout(history, 6)
    )


# Stages, once and again


@pytest.fixture(scope="module")
def done(turning, tmp_path_factory) -> Run:
    """Return a small run with all stages done; copy its folder to change it."""
    return finish(Run(experiment(turning.path, **SHORT), tmp_path_factory.mktemp("done") / "run"))


@pytest.fixture
def copy(done, tmp_path) -> Path:
    return Path(shutil.copytree(done.folder, tmp_path / "run"))


def test_a_run_has_all_documented_files(done):
    names = {path.name for path in done.folder.iterdir()} - {".lock"}
    assert names == {"experiment.yaml", "run.json", "summaries.zarr", "statistics.zarr", *STORES}
    record = json.loads((done.folder / "run.json").read_text())
    assert set(record["stages"]) == {"fit", "forecast", "verify"}
    assert record["fingerprint"] == done.fingerprint
    assert record["versions"]["numpy"] == np.__version__
    assert Run.reopen(done.folder).experiment == done.experiment


def test_nothing_is_pickled(done):
    kinds = {file.suffix for file in done.folder.rglob("*") if file.is_file()} - {""}
    assert kinds == {".json", ".yaml"}
    for name in STORES:
        for file in (done.folder / name).rglob("*"):
            assert file.is_dir() or not file.read_bytes().startswith(b"\x80\x04")


def test_finished_stages_are_skipped_and_unchanged(done, copy):
    before = {name: stamps(copy / name) for name in (*STORES, "summaries.zarr")}
    run = Run(done.experiment, copy)
    outcomes = [run.fit(), run.forecast(), run.verify()]
    assert [outcome.skipped for outcome in outcomes] == [True, True, True]
    assert [outcome.stage for outcome in outcomes] == ["fit", "forecast", "verify"]
    assert [outcome.product.name for outcome in outcomes] == list(STORES)
    assert {name: stamps(copy / name) for name in before} == before


def test_force_repeats_a_stage_with_the_same_result(done, copy):
    before = {name: contents(copy / name) for name in STORES}
    times = {name: stamps(copy / name) for name in (*STORES, "summaries.zarr")}
    run = Run(done.experiment, copy, force=True)
    outcomes = [stage(force=True) for stage in (run.fit, run.forecast, run.verify)]
    assert not any(outcome.skipped for outcome in outcomes)
    for name in times:
        now = stamps(copy / name)
        assert set(now) == set(times[name])
        assert not any(now[file] == stamp for file, stamp in times[name].items())
    assert {name: contents(copy / name) for name in STORES} == before


def test_forecasts_that_were_half_removed_are_made_anew(done, copy, monkeypatch):
    """Missing chunks read as fill values, so none may be left of a store with its metadata."""
    store = copy / "forecast.zarr"
    before, real = contents(store), shutil.rmtree

    def killed(path: Path, *arguments: object, **options: object) -> None:
        if Path(path) != store:
            real(path, *arguments, **options)
            return
        for array in ("temperature", "geopotential"):
            real(store / array / "c")
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        Run(done.experiment, copy).forecast(force=True)
    monkeypatch.undo()
    assert not Run(done.experiment, copy).forecast().skipped
    assert contents(store) == before


def test_stages_after_a_repeated_stage_are_repeated(done, copy):
    run = Run(done.experiment, copy)
    assert not run.fit(force=True).skipped
    assert not run.forecast().skipped
    assert not run.verify().skipped
    assert run.fit().skipped
    assert not run.forecast(force=True).skipped
    assert run.fit().skipped
    assert not run.verify().skipped


def test_a_product_that_was_removed_is_made_again(done, copy):
    shutil.rmtree(copy / "forecast.zarr")
    run = Run(done.experiment, copy)
    assert run.fit().skipped
    assert not run.forecast().skipped
    assert contents(copy / "forecast.zarr") == contents(done.forecast_store)


def test_changed_data_are_noticed(tmp_path):
    source = tmp_path / "data.zarr"
    make_weather(source)
    run = finish(Run(experiment(source, **SHORT), tmp_path / "run"))
    before = {name: contents(run.folder / name) for name in STORES}
    make_weather(source, seed=1)
    again = Run(experiment(source, **SHORT), tmp_path / "run")
    # Never forecasts of one archive by the model of another.
    with pytest.raises(RunError, match=r"model\.zarr: .*not of these data.*run `gfrnn fit` first"):
        again.forecast()
    with pytest.raises(RunError, match="forecast"):
        again.verify()
    assert not again.fit().skipped
    with pytest.raises(RunError, match="run `gfrnn forecast` first"):
        again.verify()
    assert not again.forecast().skipped
    assert not again.verify().skipped
    assert all(contents(run.folder / name) != before[name] for name in STORES)
    # The same as in a folder of its own: nothing of the earlier run is left in it, or in memory.
    fresh = finish(Run(experiment(source, **SHORT), tmp_path / "fresh"))
    for name in STORES:
        assert contents(fresh.folder / name) == contents(again.folder / name), name


def test_the_files_of_the_store_are_listed_once(turning, tmp_path, monkeypatch):
    looked, missing_chunks = [], checks.missing_chunks
    monkeypatch.setattr(
        checks, "missing_chunks", lambda *given: looked.append(given) or missing_chunks(*given)
    )
    run = Run(experiment(turning.path), tmp_path / "run")
    run.check()
    run.fit(), run.forecast(), run.verify()
    assert len(looked) == 1


def test_stages_name_the_missing_stage(turning, tmp_path):
    run = Run(experiment(turning.path, **SHORT), tmp_path / "run")
    with pytest.raises(RunError, match=r"model\.zarr: no trained model there; run `gfrnn fit`"):
        run.forecast()
    with pytest.raises(RunError, match=r"forecast\.zarr: no forecasts there; run `gfrnn forecast`"):
        run.verify()
    assert not run.forecast_store.exists()
    with pytest.raises(RunError, match="not a run's folder"):
        Run.reopen(tmp_path)


# Folders


def test_a_folder_of_another_experiment_is_refused(done, copy, turning):
    before = stamps(copy)
    other = experiment(turning.path, **SHORT | {"model": {"width": 30}})
    with pytest.raises(RunError) as caught:
        Run(other, copy)
    assert "holds a run of another experiment (model.width: 20 there, 30 here)" in str(caught.value)
    assert stamps(copy) == before


def test_variables_in_another_order_are_another_experiment(done, copy):
    """The columns of the model are in the order of the file."""
    own = to_tree(done.experiment)
    own["data"]["variables"] = dict(reversed(own["data"]["variables"].items()))
    with pytest.raises(RunError, match=r"data.variables: \[\['geopotential', .* there"):
        Run(Experiment.model_validate(own), copy)


def test_the_cluster_does_not_change_the_experiment(done, copy, turning):
    same = experiment(turning.path, **SHORT | {"cluster": {"workers": 1}})
    assert Run(same.model_copy(update={"description": "reworded"}), copy).fit().skipped


def test_force_replaces_another_experiment(done, copy, turning):
    other = experiment(turning.path, **SHORT | {"model": {"width": 30}})
    run = Run(other, copy, force=True)
    with pytest.raises(RunError, match="run `gfrnn fit` first"):
        run.forecast()
    run.fit()
    assert ForecastModel.load(run.model).notes.width == 30
    assert Run.reopen(copy).experiment == other


def test_a_refused_experiment_can_be_corrected_in_the_same_folder(turning, tmp_path):
    wrong = Run(experiment(turning.path, **SHORT | {"model": {"width": 10_000}}), tmp_path / "run")
    with pytest.raises(ConfigError, match=r"model\.width"):
        wrong.fit()
    mended = Run(experiment(turning.path, **SHORT), tmp_path / "run")
    assert not mended.fit().skipped
    assert Run.reopen(tmp_path / "run").experiment == mended.experiment


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"stages": {"fit": {"unheard_of": 1}}}', '{"stages": {}, "x": 1}']
)
def test_a_record_that_cannot_be_read_is_refused_with_what_to_do(turning, tmp_path, text):
    folder = tmp_path / "run"
    folder.mkdir()
    Run(experiment(turning.path, **SHORT), folder)
    (folder / "run.json").write_text(text)
    with pytest.raises(RunError, match=r"run\.json: cannot be read by this version .* remove it"):
        Run.reopen(folder)
    assert (folder / "run.json").read_text() == text


def test_a_folder_of_other_files_is_refused_and_unchanged(turning, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    before = stamps(tmp_path)
    for force in (False, True):
        with pytest.raises(RunError, match="not empty and not a run's folder"):
            Run(experiment(turning.path), tmp_path, force=force)
    assert stamps(tmp_path) == before
    with pytest.raises(RunError, match="not a folder"):
        Run(experiment(turning.path), tmp_path / "thesis.tex")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_removed_experiment_file_is_written_again_by_the_same_experiment(turning, tmp_path):
    own = experiment(turning.path, **SHORT)
    other = experiment(turning.path, **SHORT | {"model": {"width": 30}})
    run = Run(own, tmp_path / "run")
    run.fit()
    model, text = stamps(run.model), run.experiment_file.read_text()
    run.experiment_file.unlink()
    for opens in (lambda: Run.reopen(run.folder), lambda: Run(other, run.folder)):
        with pytest.raises(RunError, match=r"experiment\.yaml is missing; `gfrnn run .*--force"):
            opens()
    assert not run.experiment_file.exists()
    assert Run(own, run.folder).fit().skipped
    assert stamps(run.model) == model
    assert run.experiment_file.read_text() == text
    run.experiment_file.unlink()
    assert not Run(other, run.folder, force=True).fit(force=True).skipped
    assert Run.reopen(run.folder).experiment == other


def test_a_removed_experiment_file_of_an_unfinished_fit_is_written_again(turning, tmp_path):
    own = experiment(turning.path, **SHORT)

    def stop(_: ProgressUpdate) -> None:
        raise KeyboardInterrupt

    run = Run(own, tmp_path / "run", stop)
    with pytest.raises(KeyboardInterrupt):
        run.fit()
    run.experiment_file.unlink()
    other = experiment(turning.path, **SHORT | {"model": {"width": 30}})
    with pytest.raises(RunError, match=r"experiment\.yaml is missing"):
        Run(other, run.folder)
    assert Run(own, run.folder).experiment_file.exists()


def test_forecasts_of_another_experiment_are_kept_where_the_experiment_file_was_removed(done, copy):
    (copy / "experiment.yaml").unlink()
    before = stamps(copy / "forecast.zarr")
    changed = done.experiment.forecast.model_copy(update={"seed": 5})
    with pytest.raises(RunError, match=r"experiment\.yaml is missing"):
        Run(done.experiment.model_copy(update={"forecast": changed}), copy)
    assert Run(done.experiment, copy).forecast().skipped
    assert stamps(copy / "forecast.zarr") == before


def test_a_file_that_is_called_like_a_record_does_not_make_a_folder_ours(turning, tmp_path):
    (tmp_path / "run.json").write_text('{"steps": 3}')
    (tmp_path / "thesis.tex").write_text("years of work")
    before = stamps(tmp_path)
    for force in (False, True):
        with pytest.raises(RunError, match=r"run\.json: cannot be read"):
            Run(experiment(turning.path), tmp_path, force=force)
    assert stamps(tmp_path) == before


SECOND = """
import sys
from pathlib import Path
from gfrnn.pipeline import Run
from gfrnn.pipeline.errors import RunError
try:
    Run.reopen(Path(sys.argv[1])).fit()
except RunError as error:
    print(error)
    sys.exit(7)
"""


@pytest.mark.slow
def test_a_second_process_in_the_same_folder_is_refused(turning, tmp_path):
    answers: list[subprocess.CompletedProcess[str]] = []

    def intrude(_: ProgressUpdate) -> None:
        if not answers:
            command = [sys.executable, "-c", SECOND, str(tmp_path / "run")]
            answers.append(subprocess.run(command, capture_output=True, text=True, check=False))

    Run(experiment(turning.path, **SHORT), tmp_path / "run", intrude).fit()
    (answer,) = answers
    assert answer.returncode == 7, answer.stderr
    assert "another process is using this folder" in answer.stdout


# Killed and taken up again


def wait_for(moment: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait until a condition holds; fail if the process ends before."""
    while not moment():
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_result(noisy, tmp_path):
    parts = {
        "periods": {
            "train": ["1999-01-01", "2002-03-31"],
            "test": ["2002-07-01", "2003-04-30"],
        },
        "model": {"width": 300},
        "forecast": {"horizon": "4d", "batch": 4},
        "cluster": {"workers": 2, "dashboard": ":0"},
    }
    whole = experiment(noisy.path, **parts)
    reference = finish(Run(whole, tmp_path / "reference"))
    file, folder = tmp_path / "killed.yaml", tmp_path / "killed"
    file.write_text(yaml.safe_dump(tree(noisy.path, **parts), sort_keys=False))
    command = [*GFRNN, "run", str(file), "--output", str(folder)]
    rows, forecasts = folder / "summaries.zarr" / "rows", folder / "forecast.zarr"

    def kept() -> list[Path]:
        return [p for p in rows.glob("*") if (p / "zarr.json").exists() and "." not in p.name]

    def finished(stage: str) -> bool:
        record = folder / "run.json"
        stages = json.loads(record.read_text())["stages"] if record.exists() else {}
        return "finished" in stages.get(stage, {})

    def forecasts_under_way() -> bool:
        try:
            marks = written(forecasts)
        except (FileNotFoundError, KeyError, ValueError):  # just being made
            return False
        return marks is not None and bool(marks.any())

    def run_and_kill_at(moment: Callable[[], bool]) -> None:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip
        try:
            wait_for(moment, process)
            os.kill(process.pid, signal.SIGKILL)
        finally:
            process.kill()
            process.communicate()
            assert process.returncode == -signal.SIGKILL

    run_and_kill_at(lambda: bool(kept()))
    in_rows = {str(place): stamps(place) for place in kept()}
    assert not finished("fit")
    assert len(in_rows) < 5, "killed after the pass, not in it"

    run_and_kill_at(forecasts_under_way)
    assert finished("fit")
    # Folds that were there were not computed again.
    assert {place: stamps(Path(place)) for place in in_rows} == in_rows
    marks = written(forecasts)
    assert marks is not None
    assert 0 < marks.sum() < marks.size, "killed after the forecasts, not in them"
    shards = [forecasts / f"mean_sea_level_pressure/c/{i}/0/0/0" for i in np.flatnonzero(marks)]
    times = [shard.stat().st_mtime_ns for shard in shards]
    with pytest.raises(RunError, match="not finished"):
        open_forecasts(forecasts)

    run_and_kill_at(lambda: finished("forecast"))
    assert not finished("verify")
    assert [shard.stat().st_mtime_ns for shard in shards] == times
    unfinished = {name: stamps(folder / name) for name in ("model.zarr", "forecast.zarr")}

    last = subprocess.run(command, capture_output=True, text=True, check=False)
    assert last.returncode == 0, last.stderr
    assert last.stdout.count("done before, skipped") == 2
    assert {name: stamps(folder / name) for name in unfinished} == unfinished
    for name in STORES:
        assert contents(folder / name) == contents(reference.folder / name), name
    ours, theirs = (zarr.open_group(p / "forecast.zarr", mode="r") for p in
                    (folder, reference.folder))  # fmt: skip
    # The history has times of its own, and the sums cover it.
    changing = {"history": "", SUMS: ""}
    assert dict(ours.attrs) | changing == dict(theirs.attrs) | changing
    assert sorted(ours) == sorted(theirs)


def test_a_run_of_an_older_version_keeps_its_rule_of_combining_leads(tmp_path):
    (tmp_path / "old").mkdir()
    written = yaml.safe_load(dump_experiment(experiment("data.zarr")))
    assert written["model"].pop("combine_leads") == "mean"
    path = tmp_path / "old" / "experiment.yaml"
    path.write_text(yaml.safe_dump(written), encoding="utf-8")
    assert Run.reopen(tmp_path / "old").experiment.model.combine_leads == "longest"
    path.write_text(dump_experiment(experiment("data.zarr")), encoding="utf-8")
    assert Run.reopen(tmp_path / "old").experiment.model.combine_leads == "mean"


def test_unfinished_forecasts_of_another_version_are_replaced_with_a_message(copy, caplog):
    """Keys of other versions differ, as experiments have other keys in them."""
    run = Run.reopen(copy)
    shutil.rmtree(run.forecast_store)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forecasting, "finish_forecast_store", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run.forecast()
    begun = run.record.stages["forecast"]
    run._note("forecast", replace(begun, key="of an earlier version"))
    with caplog.at_level("WARNING"):
        run.forecast()
    (message,) = [record.getMessage() for record in caplog.records if "anew" in record.getMessage()]
    assert str(run.forecast_store) in message
    assert open_forecasts(run.forecast_store).attrs["complete"]


def interrupted(path: Path, *_: object) -> None:
    raise KeyboardInterrupt
