"""Test the stages of a run, done once, again and after changes, and the folder of a run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from gfrnn.pipeline.config.experiment import Experiment, dump_experiment, to_tree
from gfrnn.pipeline.errors import ConfigError, RunError
from gfrnn.pipeline.forecasting import forecast as forecasting
from gfrnn.pipeline.forecasting.forecast_store import open_forecasts
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
)

STORES = ("model.zarr", "forecast.zarr", "scores.zarr")
SHORT = {"periods": {"test": ["2002-07-01", "2002-07-12"]}, "forecast": {"horizon": "3d"}}
"""A test period of few forecasts, for tests of the order of things."""


@pytest.fixture(scope="module")
def turning(tmp_path_factory) -> Weather:
    """Write patterns that turn for ever, without noise."""
    return make_weather(tmp_path_factory.mktemp("turning") / "turning.zarr")


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
    assert kinds == {".json", ".yaml", ".npz"}
    for file in done.folder.rglob("*.npz"):
        with np.load(file, allow_pickle=False) as arrays:
            assert all(values.dtype.kind in "biufc" for values in arrays.values())
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
