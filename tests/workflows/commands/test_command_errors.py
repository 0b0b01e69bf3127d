"""Test what users are told: errors without tracebacks, and notes on weak forecasts."""

from __future__ import annotations

import errno
import re
import shutil
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import xarray as xr
import yaml
import zarr

from gfrnn.pipeline.config.experiment import load_experiment
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.training.model_notes import ModelNotes
from gfrnn.pipeline.verification.scores import open_scores
from gfrnn.workflows.commands.console import console
from gfrnn.workflows.report.better_references import better_references
from gfrnn.workflows.session.run_session import linear_note, print_stage
from gfrnn_testing.commands import SMALL, complaint, gfrnn
from gfrnn_testing.weather import experiment, finish, tree


def test_stages_without_what_they_need_start_no_cluster(weather, at_home, said, monkeypatch):
    @contextmanager
    def refuse(*_, **__):
        raise AssertionError("a cluster was started")
        yield

    monkeypatch.setattr("gfrnn.workflows.session.run_session.open_cluster", refuse)
    run = Run(experiment(weather.path, **SMALL), at_home / "out")
    with run.lock():  # which makes the folder
        pass
    assert "model.zarr: " in complaint(said("forecast", run.folder))
    assert "no forecasts there; run `gfrnn forecast` first" in complaint(said("verify", run.folder))
    run.fit(), run.forecast()
    zarr.open_group(run.forecast_store, mode="r+").attrs["complete"] = 0
    assert "the forecasts are not finished" in complaint(said("verify", run.folder))
    members = experiment(weather.path, **SMALL | {"forecast": {"horizon": "4d", "store": False}})
    online = Run(members, at_home / "online")
    with online.lock():
        pass
    assert "no statistics of forecasts there" in complaint(said("verify", online.folder))


def test_statistics_are_scored_without_a_cluster(weather, at_home, said, monkeypatch):
    @contextmanager
    def refuse(*_, **__):
        raise AssertionError("a cluster was started")
        yield

    monkeypatch.setattr("gfrnn.workflows.session.run_session.open_cluster", refuse)
    online = SMALL | {"forecast": {"horizon": "4d", "store": False}}
    run = Run(experiment(weather.path, **online), at_home / "online")
    run.fit(), run.forecast()
    for options in ((), ("--force",)):
        answer = said("verify", run.folder, *options)
        assert (answer.code, answer.err) == (0, "")
        assert re.search(rf"^verify: {run.score_store} \(\d.* s\)$", answer.out, re.MULTILINE)
        assert "RMSE, cos-latitude weighted" in answer.out
    assert run.record.stages["verify"].finished
    assert "(done before, skipped)" in said("verify", run.folder).out


def test_damaged_forecasts_of_a_run_are_not_scored_against_another_truth(finished, tmp_path, said):
    folder = tmp_path / "run"
    shutil.copytree(finished.folder, folder)
    store = folder / "forecast.zarr"
    next(path for path in sorted(store.rglob("c/**/*")) if path.is_file()).unlink()
    answer = said("verify", folder, finished.folder, "--output", tmp_path / "other")
    assert f"{store}: is damaged, files of the array " in complaint(answer)
    shutil.rmtree(store)
    answer = said("verify", folder, finished.folder, "--output", tmp_path / "other")
    assert f"{store}: no forecasts there" in complaint(answer)
    assert not (tmp_path / "other").exists()


def test_damaged_stores_of_a_run_are_not_shown(finished, tmp_path, said):
    folder = tmp_path / "run"
    shutil.copytree(finished.folder, folder)

    def refused(command: str, files: list[Path], message: str) -> None:
        whole = {path: path.read_bytes() for path in files}
        for path, content in whole.items():
            middle = len(content) // 2
            damaged = content[:middle] + bytes([content[middle] ^ 16]) + content[middle + 1 :]
            path.write_bytes(damaged)
        assert message in complaint(said(command, folder))
        for path, content in whole.items():
            path.write_bytes(content)

    def chunks(store: str, array: str) -> list[Path]:
        return [path for path in (folder / store).glob(f"{array}/c/**/*") if path.is_file()]

    variable = next(iter(xr.open_zarr(folder / "forecast.zarr").data_vars))
    refused("report", chunks("forecast.zarr", variable), "forecast.zarr: is damaged, values of ")
    refused("report", chunks("scores.zarr", "rmse"), "files of the array rmse are missing or were")
    refused("verify", chunks("statistics.zarr", "known"), "files of the array known are missing")
    refused("spectrum", chunks("model.zarr", "lagged"), "the array lagged was changed")
    refused("spectrum", list(folder.glob("summaries.zarr/*/*.npz")), "summaries.zarr: ")
    assert said("report", folder).code == 0


def test_a_climatology_that_is_worse_than_a_mean_is_said(weather, at_home, said):
    periods = {
        "train": ["2001-01-01", "2001-05-31"],
        "validation": ["2001-09-01", "2001-12-31"],
        "test": ["2002-06-01", "2002-06-05"],
    }
    parts = SMALL | {"periods": periods, "climatology": {"annual": 2}}
    run = finish(Run(experiment(weather.path, **parts), at_home / "out"))
    note = "on the validation period the climatology has "
    answer = said("fit", run.folder)
    assert answer.code == 0
    assert f"warning: {note}" in answer.out
    assert said("report", run.folder).code == 0
    assert note[1:] in run.report.read_text()


def test_a_reference_that_is_better_than_the_forecast_is_said(weather, at_home, said, capsys):
    """The network of many features and hardly a ridge fits noise."""
    overfitted = {"width": 150, "scale": 3.0}, {"ridge": [1e-10], "calibration": True}
    parts = SMALL | dict(zip(("model", "fit"), overfitted, strict=True))
    run = Run(experiment(weather.path, **parts), at_home / "out")
    print_stage(run, run.fit(), console)  # as each command does
    text = " ".join(capsys.readouterr().out.split())
    assert re.search(
        r"on the validation period, the best reference is \w+ \(its RMSE of states", text
    )
    run.forecast(), run.verify()
    answer = said("verify", run.folder)
    assert answer.code == 0
    text = " ".join(answer.out.split())
    lines = better_references(open_scores(run.score_store), run.experiment)
    assert lines
    for line in lines:
        assert " ".join(line.split()) in text


def test_a_forecast_that_is_the_linear_model_is_said(weather, at_home, said):
    note = "of fit.widths, 0 hidden features were chosen: the forecast is the linear model"
    chosen = Run(experiment(weather.path, **SMALL | {"fit": {"widths": [0]}}), at_home / "out")
    finish(chosen)
    for command in ("verify", "report"):
        answer = said(command, chosen.folder)
        assert answer.code == 0
        assert (note in answer.out.splitlines()) == (command == "verify")
    assert not re.search(r"forecast / linear, % [^\n]*[-+\N{MINUS SIGN}*]", answer.out)
    summary = chosen.report.read_text().split('id="summary"')[1].split("</p>")[0]
    assert f"O{note[1:]}." in summary
    notes = ModelNotes.read(chosen.model)
    network = notes.solves[0]
    for other in (
        replace(notes, solves=[replace(network, width=5)]),
        replace(notes, solves=[network, network]),
        replace(notes, solves=[replace(network, candidate=1)]),
        replace(notes, linear_solve=None),
        None,
    ):
        assert linear_note(chosen.experiment, other) == ""
    fixed = experiment(weather.path, **SMALL | {"model": {"width": 0}})
    assert linear_note(fixed, notes) == ""  # nothing was chosen


def test_pairs_without_truth_are_counted_and_said(weather, at_home, said):
    parts = SMALL | {"periods": {"test": ["2002-08-10", "2002-08-23"]}}
    run = Run(experiment(weather.path, **parts), at_home / "out")
    run.fit(), run.forecast(), run.verify()
    starts, leads = 14, 4  # the data end at the last initial time
    lost = sum(range(1, leads + 1))
    answer = said("verify", run.folder)
    assert answer.code == 0
    said_last = answer.out.splitlines()[-1]
    assert said_last == f"{lost} of {starts * leads} pairs have no truth and are not scored"
    assert open_scores(run.score_store)["pairs"].values.tolist() == [13, 12, 11, 10]


def test_errors_go_to_stderr_without_traceback(tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump(tree("nowhere.zarr", model={"widht": 3})))
    answer = gfrnn("run", path)
    assert answer.returncode == 2
    assert answer.stdout == ""
    told = "model.widht: unknown key; did you mean width?"
    assert re.fullmatch(
        rf"error: {path}: {re.escape(told)} \(line \d+, column \d+\)\n", answer.stderr
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "nowhere.yaml"], "nowhere.yaml: cannot be read (No such file or directory)"),
        (["run"], "FILE: missing; give an experiment file"),
        (["fit"], "`gfrnn demo` runs an example that needs no data"),
        (["verify"], "FILE: missing; give an experiment file"),
        (["run", "{file}", "--demo"], "--demo: not allowed with FILE"),
        (["fit", "gs://bucket/era5.zarr"], "`gfrnn new gs://bucket/era5.zarr --save my.yaml` wr"),
        (["run", "../weather"], "`gfrnn new '../weather/*' --save my.yaml` writes"),
        (["verify", "{file}", "truth.nc"], "{file}: its run is not in runs/turning"),
        (["fit", "era5/2001.nc"], "era5/2001.nc: is data, and neither an experiment file nor"),
        (["fit", "{file}", "--memory", "much"], "cluster: memory: 'much' is not a size"),
        (["fit", "{file}", "--workers", "0"], "cluster: workers: 0 is not allowed"),
        (["run", "{file}", "--cluster", "here.yaml"], "here.yaml: cannot be read"),
        (["fit", "{file}", "--scheduler", "s.json"], "but kind is existing"),
        (["fit", "{file}", "--depth", "3"], "No such option"),
        (["train"], "No such command"),
        (
            ["forecast", "{file}", "--period", "2002-08-01", "2002-08-02"],
            "{file}: its run is not in runs/turning; give the folder of the run",
        ),
        (
            ["forecast", "nowhere", "--period", "2002-08-01", "2002-08-02"],
            "found nowhere; give the folder in place of FILE",
        ),
        (["forecast", "--init", "latest"], "--init: needs the folder of a run, found no FILE"),
        (["forecast", "{file}", "--data", "a.nc"], "--data: allowed with --period or --init only"),
        (["report", "{file}"], "{file}: its run is not in runs/turning"),
        (["refit", "{file}"], "{file}: its run is not in runs/turning"),
        (["update", "{file}", "new.nc"], "{file}: its run is not in runs/turning"),
        (["export", "{file}"], "{file}: its run is not in runs/turning"),
        (["spectrum", "new.nc"], "new.nc: is data, and neither an experiment file nor the folder"),
        (
            ["forecast", "a", "--init", "latest", "--period", "2002-08-01", "2002-08-02"],
            "--init: not allowed with --period",
        ),
        (["forecast", "a", "--init", "latest", "--every", "1d"], "--every: allowed with --period"),
        (["forecast", "{file}", "--horizon", "9d"], "--horizon: allowed with --period or --init"),
        (["forecast", "{file}", "--members", "9"], "--members: allowed with --period or --init"),
        (["export", "nowhere"], "nowhere: no forecasts there; run `gfrnn forecast` first"),
        (["run", "{file}", "--stop-after", "5"], "--stop-after: '5' is not a duration"),
        (["inspect", "nowhere.nc"], "nowhere.nc not found; looked in"),
        (["inspect"], "Missing argument"),
        (["report", "nowhere"], "nowhere: not a run's folder"),
        (["nature", "a.zarr", "--years", "0"], "--years"),
        (["reproduce", "lorenz36"], "no case 'lorenz36'"),
        (["refit", "nowhere"], "nowhere: not a run's folder"),
        (["refit", "nowhere", "--ridge", "small"], "--ridge: 'small' is not a list of numbers"),
        (["update", "nowhere", "new.nc"], "nowhere: not a run's folder"),
        (["update", "nowhere", "a.nc", "--period", "2001", "x"], "--period: 'x' is not a date"),
        (["update", "nowhere"], "Missing argument"),
        (
            ["run", "{file}", "--output", "{file}/run"],
            "{file}/run: cannot be created, as {file} is not a folder",
        ),
        (["nature", "{file}/a.zarr", "--years", "1"], "turning.yaml: File exists; give a path"),
        (["bench", "plan", "--sizes", "inf"], "--sizes: 'inf' is not a list of positive integers"),
        (["bench", "plan", "--sizes", "nan"], "--sizes: 'nan' is not a list of positive integers"),
    ],
)
def test_user_errors_are_named(words, message, file, at_home, said):
    text = file.read_text()
    (file.parent / "weather").mkdir()
    (file.parent / "weather" / "2001.nc").touch()
    answer = said(*(word.format(file=file) for word in words))
    assert message.format(file=file) in complaint(answer)
    assert file.read_text() == text
    assert list(at_home.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "parts"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device"),
            ["No space left", "free some", "resume"],
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "/x"),
            ["/x: Permission denied", "give"],
        ),
        (
            OSError(errno.EMFILE, "Too many open files", "/x"),
            ["/x: the process has too many open files", "ulimit -n", "resume"],
        ),
        (OSError(errno.EFBIG, "File too large"), ["larger than allowed", "ulimit -f"]),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), ["too little memory", "fewer workers"]),
        (MemoryError(), ["too little memory", "ulimit -v", "resume"]),
    ],
)
def test_full_disks_closed_folders_and_limits_are_no_tracebacks(
    error, parts, file, said, monkeypatch
):
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("gfrnn.workflows.session.given_paths.load_experiment", fail)
    message = complaint(said("run", file))
    assert all(part in message for part in parts)


def test_lists_in_messages_are_not_taken_for_markup(weather, file, said):
    data = {"sources": str(weather.path), "region": {"latitude": [70, 20], "longitude": [0, 9]}}
    file.write_text(yaml.safe_dump(tree(weather.path, **SMALL) | {"data": data}))
    message = "region.latitude: [70.0, 20.0] is not [south, north] within -90..90"
    assert message in complaint(said("run", file))


@pytest.mark.parametrize("command", ["run", "fit", "forecast", "verify", "report"])
def test_a_folder_that_is_no_run_is_named_with_a_remedy(command, at_home, said):
    (at_home / "plots").mkdir()
    message = complaint(said(command, "plots"))
    for part in ("plots: not a run's folder", "experiment.yaml", "gfrnn run FILE"):
        assert part in message
    assert list((at_home / "plots").iterdir()) == []


def test_impossible_experiments_are_refused_before_a_cluster_starts(weather, file, at_home, said):
    file.write_text(yaml.safe_dump(tree(weather.path, **SMALL | {"model": {"width": 5000}})))
    answer = said("run", file)
    assert "model.width: 5000 hidden and 7 other features are more than" in complaint(answer)
    assert "dashboard" not in answer.out
    # After a correction, the same folder can be used.
    file.write_text(yaml.safe_dump(tree(weather.path, **SMALL)))
    assert Run(load_experiment(file), at_home / "runs" / "turning").check() is None
