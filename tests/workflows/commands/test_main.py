"""Test the ``gfrnn`` command as users call it."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
import xarray as xr
import yaml
import zarr
from typer.testing import CliRunner

from gfrnn.pipeline.config.experiment import load_experiment
from gfrnn.pipeline.data.dataset import open_source
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.verification.scores import open_scores
from gfrnn.workflows.commands.main import app, main
from gfrnn.workflows.report.better_references import better_references
from gfrnn_testing.weather import Weather, experiment, finish, make_weather, stamps, tree

GFRNN = [sys.executable, "-c", "from gfrnn.workflows.commands.main import main; main()"]


def all_commands(command: Any, words: str = "") -> Iterator[str]:
    """Yield the words of each command and group below one: ``bench``, ``bench pass`` and so on."""
    for name, inner in getattr(command, "commands", {}).items():
        yield f"{words} {name}".strip()
        yield from all_commands(inner, f"{words} {name}".strip())


COMMANDS = list(all_commands(typer.main.get_command(app)))
SMALL = {
    "periods": {"test": ["2002-07-01", "2002-07-10"]},
    "forecast": {"horizon": "4d"},
    "cluster": {"workers": 1, "dashboard": ":0"},
}


@pytest.fixture(scope="module")
def weather(tmp_path_factory) -> Weather:
    path = tmp_path_factory.mktemp("weather") / "weather.zarr"
    return make_weather(path, damping=0.95, noise=0.3, times=600)


@pytest.fixture
def file(weather, tmp_path) -> Path:
    """Write an experiment file."""
    path = tmp_path / "turning.yaml"
    path.write_text(yaml.safe_dump(tree(weather.path, **SMALL), sort_keys=False))
    return path


@pytest.fixture
def at_home(tmp_path, monkeypatch) -> Path:
    """Change to an empty working directory."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    return home


def gfrnn(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command in a separate process."""
    command = [*GFRNN, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


class Answer:
    """Output and exit code of the command in this process."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def said(monkeypatch, capsys):
    """Call the command in this process, including its handling of errors."""

    def call(*words: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["gfrnn", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            main()
        printed = capsys.readouterr()
        return Answer(int(caught.value.code or 0), printed.out, printed.err)

    return call


def complaint(answer: Answer) -> str:
    """Return the message of an error, which must be one that users can correct."""
    assert answer.code == 2
    assert answer.err.startswith("error: ")
    assert "Traceback" not in answer.err + answer.out
    return answer.err.removeprefix("error: ").strip()


# Help


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example(command):
    result = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert re.search(rf"Examples?: .*gfrnn {command}", result.output, re.DOTALL)


def test_all_commands_are_found():
    assert {"run", "new", "demo", "bench", "bench pass", "cluster check"} <= set(COMMANDS)
    assert len(COMMANDS) == len(set(COMMANDS)) > 25


@pytest.mark.parametrize("option", ["-h", "--help"])
@pytest.mark.parametrize("command", ["", "cluster check"])
def test_help_has_a_short_option(command, option):
    result = CliRunner().invoke(app, [*command.split(), option])
    assert result.exit_code == 0
    assert "Usage:" in result.output


def test_every_option_and_argument_has_a_help_text():
    def parameters(command, path):
        for name, inner in getattr(command, "commands", {}).items():
            yield from parameters(inner, f"{path} {name}")
        yield from ((path, each) for each in command.params)

    missing = [
        f"{path} {each.name}"
        for path, each in parameters(typer.main.get_command(app), "gfrnn")
        if not each.help
    ]
    assert missing == []


def test_the_version_is_that_of_the_package(said):
    answer = said("--version")
    assert (answer.code, answer.out) == (0, f"gfrnn {version('gfrnn')}\n")


def test_without_a_command_the_help_is_shown():
    answer = gfrnn()
    assert answer.returncode == 2
    assert "Usage" in answer.stdout + answer.stderr
    assert "error" not in answer.stderr
    assert "Traceback" not in answer.stderr


# From data to scores


def test_a_level_that_the_command_states_is_in_the_saved_experiment(weather, said, tmp_path):
    with xr.open_zarr(weather.path, consolidated=False) as store:
        field = store["z"].sel(level=500, drop=True).load().drop_encoding()
    field.to_dataset().to_netcdf(tmp_path / "z.nc")
    path = tmp_path / "start.yaml"
    assert said("inspect", tmp_path / "z.nc", "--level", 500, "--save", path).code == 0
    experiment = load_experiment(path)
    assert [source.level for source in experiment.data.sources] == [500]
    open_source(experiment.data)


@pytest.mark.slow
@pytest.mark.cluster
def test_inspect_gives_an_experiment_that_runs(weather, tmp_path, said):
    answer = said("inspect", weather.path)
    assert answer.code == 0
    for line in (
        "geopotential [m2 s-2] at 500, 850 hPa",
        "mean_sea_level_pressure [Pa]",
        "latitude: 30 to 70 (5, spacing 10)",
        "longitude: -20 to 50 (8, spacing 10)",
        "time: 2001-01-01T00:00 to 2002-08-23T00:00 (600)",
        "step: 1d, no gap",
    ):
        assert line in answer.out, line
    assert "# experiment file to start from" in answer.out
    printed = answer.out.split("# experiment file to start from\n")[1]
    path = tmp_path / "start.yaml"
    saved = said("inspect", weather.path, "--save", path)
    assert saved.code == 0
    assert f"experiment file: {path}" in saved.out
    assert yaml.safe_load(path.read_text()) == yaml.safe_load(printed)
    assert "exists already; choose another name" in complaint(
        said("inspect", weather.path, "--save", path)
    )
    # It is accepted as it is, but for a width that suits so short a record.
    small = yaml.safe_load(path.read_text()) | {"model": {"width": 20}, "cluster": {"workers": 1}}
    small["fit"] = {"widths": [0, 20]}
    small["cluster"]["dashboard"] = ":0"
    path.write_text(yaml.safe_dump(small))
    folder = tmp_path / "run"
    done = gfrnn("run", path, "--output", folder)
    assert done.returncode == 0, done.stderr
    assert load_experiment(path) == Run.reopen(folder).experiment
    assert Run.reopen(folder).finished("verify")


def test_keys_that_data_need_are_said_to_be_of_an_experiment_file(said, tmp_path):
    field = xr.DataArray(np.zeros((3, 2, 2)), dims=("time", "latitude", "longitude"))
    time = np.arange("2001-01-01", "2001-01-04", dtype="datetime64[D]").astype("datetime64[ns]")
    axes = {"time": time, "latitude": [50.0, 51.0], "longitude": [5.0, 6.0]}
    field.assign_coords(axes).to_dataset(name="z").to_netcdf(tmp_path / "z.nc")
    answer = said("inspect", tmp_path / "z.nc")
    for line in (
        "  z, geopotential [m2 s-2]: cannot be used as it is in 1 of 1 files",
        "latitude: 50 to 51 (2, spacing 1)",
        "time: 2001-01-01T00:00 to 2001-01-03T00:00 (3)",
    ):
        assert line in answer.out.splitlines(), line
    assert "is a variable of pressure levels, but the file states none" in answer.err
    found = complaint(answer)
    assert "data.sources are keys of an experiment file" in found
    assert "--level 500 sets the level (hPa) of all files" in found
    (tmp_path / "my.yaml").write_text("name: a")
    assert "my.yaml is an experiment file, and not data" in complaint(
        said("inspect", tmp_path / "my.yaml")
    )


def test_inspect_names_what_is_wrong(weather, tmp_path, said):
    with xr.open_zarr(weather.path, consolidated=False) as ds:
        damaged = ds.load()
    damaged["msl"][300:310] = float("nan")
    damaged = damaged.isel(time=[*range(100), *range(110, 600)])
    damaged.to_netcdf(tmp_path / "damaged.nc")
    answer = said("inspect", tmp_path / "damaged.nc")
    assert answer.code == 0
    assert "warning mean_sea_level_pressure: missing (NaN) everywhere" in answer.out
    assert "warning 1 gaps in time (step 1d): 2001-04-10T00:00 to 2001-04-21T00:00" in answer.out
    assert "no problems found" not in answer.out


def test_inspect_compares_the_data_of_a_run_with_its_record(finished, tmp_path, said):
    folder = tmp_path / "run"
    shutil.copytree(finished.folder, folder)
    answer = said("inspect", folder)
    assert (answer.code, answer.err) == (0, "")
    parts = [line.split(maxsplit=1) for line in answer.out.splitlines()]
    assert {state for state, _ in parts[:-1]} == {"unchanged"}
    assert {part.split("/")[0] for _, part in parts[:-2]} == {
        "train", "validation", "test", "truth",
    }  # fmt: skip
    assert answer.out.endswith("the data are those that the run was computed from\n")
    record = json.loads((folder / "run.json").read_text())
    first = next(iter(record["folds"]))
    record["folds"] |= {first: "0" * 64, "train/1850": "0" * 64}
    (folder / "run.json").write_text(json.dumps(record))
    answer = said("inspect", folder)
    assert (answer.code, answer.err) == (1, "")
    assert f"changed   {first}\n" in answer.out
    assert "missing   train/1850\n" in answer.out
    assert "`gfrnn run` repeats the stages that they decide" in answer.out
    assert "give it alone" in complaint(said("inspect", folder, "--save", tmp_path / "a.yaml"))
    assert "give it alone" in complaint(said("inspect", folder, tmp_path))


@pytest.mark.cluster
def test_run_does_every_stage_once(weather, file, tmp_path):
    folder = tmp_path / "home" / "runs" / "turning"
    folder.parent.parent.mkdir()
    first = gfrnn("run", file, "--workers", 2, cwd=tmp_path / "home")
    assert first.returncode == 0, first.stderr
    assert first.stderr == ""
    assert re.search(
        r"^dashboard: http://127\.0\.0\.1:\d+/gfrnn\?token=\S+$", first.stdout, re.MULTILINE
    )
    for stage, product in (("fit", "model"), ("forecast", "forecast"), ("verify", "scores")):
        pattern = rf"^{stage}: {folder}/{product}\.zarr \(\d+\.\d s\)$"
        assert re.search(pattern, first.stdout, re.MULTILINE), first.stdout
        assert (folder / f"{product}.zarr").is_dir()
    assert re.search(rf"^report: {folder}/report\.html$", first.stdout, re.MULTILINE)
    assert (folder / "report.html").read_text().startswith("<!")
    # The table: the numbers are those of the scores.
    assert "RMSE, cos-latitude weighted" in first.stdout
    with xr.open_zarr(folder / "scores.zarr", consolidated=False, decode_timedelta=True) as scores:
        rmse = scores["rmse"].sel(channel="temperature_850").load()
    table = first.stdout.split("temperature_850, K")[1]
    for system in rmse["system"].values:
        row = re.search(rf"^\W*{system} .*$", table, re.MULTILINE)
        assert row is not None
        assert f"{float(rmse.sel(system=system)[0]):.4g}" in row[0]
        assert f"{float(rmse.sel(system=system)[-1]):.4g}" in row[0]
    record = json.loads((folder / "run.json").read_text())
    assert record["cluster"]["workers"] == 2
    performance = folder / "performance-run.html"
    assert 'href="performance-run.html"' in (folder / "report.html").read_text()
    assert "number of tasks" in performance.read_text()
    made = performance.stat().st_mtime_ns
    # Again: nothing is computed, and it says so.
    products = {p: stamps(folder / f"{p}.zarr") for p in ("model", "forecast", "scores")}
    second = gfrnn("run", file, "--workers", 1, cwd=tmp_path / "home")
    assert second.returncode == 0, second.stderr
    assert second.stdout.count("(done before, skipped)") == 4
    assert "dashboard" not in second.stdout  # no cluster was started
    assert performance.stat().st_mtime_ns == made
    assert {p: stamps(folder / f"{p}.zarr") for p in products} == products


def test_finished_stages_need_no_cluster(weather, file, at_home, said, monkeypatch):
    folder = at_home / "out"
    finish(Run(experiment(weather.path, **SMALL), folder))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a cluster was opened")

    monkeypatch.setattr("gfrnn.workflows.session.run_session.open_cluster", refuse)
    there = ("--output", folder)
    for stage in ("fit", "forecast", "verify"):
        answer = said(stage, file, *there)
        assert answer.code == 0, answer.err
        assert answer.out.count("(done before, skipped)") == 1
        assert ("RMSE, cos-latitude weighted" in answer.out) == (stage == "verify")
        assert "a cluster was opened" in said(stage, file, *there, "--force").err
    page = folder / "report.html"
    before = stamps(folder)
    # Only the report is missing; then it is there; then it is older than the scores.
    for skipped in (3, 4, 3):
        answer = said("run", file, *there)
        assert answer.code == 0, answer.err
        assert f"report: {page}" in answer.out
        assert answer.out.count("(done before, skipped)") == skipped
        assert page.read_text().startswith("<!")
        assert "RMSE, cos-latitude weighted" in answer.out
        if skipped == 4:
            os.utime(page, (0, 0))
    page.unlink()
    assert stamps(folder) == before
    assert "a cluster was opened" in said("run", file, *there, "--force").err


@pytest.mark.slow
@pytest.mark.cluster
def test_stages_one_by_one(file, at_home, said):
    folder = at_home / "out"
    there = ("--output", folder)
    assert "run `gfrnn fit` first" in complaint(said("forecast", file, *there))
    assert "not a run's folder" in complaint(said("report", folder))
    for stage, product in (("fit", "model"), ("forecast", "forecast"), ("verify", "scores")):
        if stage != "fit":
            assert "run `gfrnn verify` first" in complaint(said("report", folder))
        answer = said(stage, file, *there)
        assert answer.code == 0, answer.err
        assert f"{stage}: {folder}/{product}.zarr (" in answer.out
        assert "skipped" not in answer.out
        assert (folder / f"performance-{stage}.html").exists()
        assert ("RMSE, cos-latitude weighted" in answer.out) == (stage == "verify")
    answer = said("report", folder)
    assert answer.code == 0
    assert answer.out.strip() == str(folder / "report.html")
    assert (folder / "report.html").exists()
    assert "done before, skipped" in said("verify", file, *there).out


@pytest.mark.slow
@pytest.mark.cluster
def test_fit_by_force_replaces_another_experiment(weather, file, at_home, said):
    folder = at_home / "out"
    finish(Run(experiment(weather.path, **SMALL), folder))
    text = yaml.safe_dump(tree(weather.path, **SMALL | {"model": {"width": 10}}), sort_keys=False)
    file.write_text(text)
    for words in (["fit"], ["forecast"], ["forecast", "--force"], ["verify", "--force"]):
        message = complaint(said(*words, file, "--output", folder))
        assert "holds a run of another experiment (model.width: 20 there, 10 here)" in message
    answer = said("fit", file, "--output", folder, "--force")
    assert answer.code == 0, answer.err
    assert Run.reopen(folder).experiment.model.width == 10


@pytest.mark.slow
@pytest.mark.cluster
def test_refit_and_update_continue_to_a_report(weather, file, at_home, said):
    run, new = at_home / "out", at_home / "out-refit"
    Run(experiment(weather.path, **SMALL), run).fit()
    words = ["--without", 2002, "--width", 6, "--width", 9, "--ridge", "1e-4,1e-2", "--balance", 1]
    answer = said("refit", run, *words)
    assert answer.code == 0, answer.err
    assert f"refit: {new}/model.zarr" in answer.out
    fit = Run.reopen(new).experiment.fit
    assert (fit.without, fit.widths, fit.ridge, fit.balance) == ([2002], [6, 9], [1e-4, 1e-2], [1])
    for stage in ("fit", "forecast", "verify"):
        answer = said(stage, new)
        assert answer.code == 0, answer.err
        assert ("skipped" in answer.out) == (stage == "fit")
    assert said("report", new).code == 0
    assert "without 2002" in (new / "report.html").read_text()
    answer = said(
        "update", new, weather.path, "--period", "2002-04-02", "2002-07-12", "--forget", 0.9
    )
    assert answer.code == 0, answer.err
    assert f"update: {new}/model.zarr (102 times from 2002-04-02 00:00:00 to" in answer.out
    assert "gap before 2002-04-02 00:00:00" in answer.out
    told = answer.out.splitlines()[-1]
    assert told.startswith("forecast from 2002-07-12 00:00:00 or later: gfrnn forecast ")
    assert told.endswith(" --init latest")
    assert "begins before 2002-07-12" in complaint(said("run", new))
    parts = SMALL | {"periods": {"test": ["2002-07-12", "2002-07-20"]}}
    changed = tree(weather.path, **parts)
    changed["fit"] = yaml.safe_load((new / "experiment.yaml").read_text())["fit"]
    file.write_text(yaml.safe_dump(changed, sort_keys=False))
    answer = said("run", file, "--output", new)
    assert answer.code == 0, answer.err
    assert "updated to 2002-07-12" in (new / "report.html").read_text()
    there = said("update", run, weather.path, "--period", "2002-04-01", "2002-04-30", "-o", "b")
    assert "gap before" not in there.out
    assert Run.reopen(at_home / "b").updated
    assert not Run.reopen(run).updated


@pytest.mark.slow
@pytest.mark.cluster
def test_another_period_is_forecast_beside_the_run(weather, file, at_home, said):
    run, new = at_home / "out", at_home / "out-20020801"
    Run(experiment(weather.path, **SMALL), run).fit()
    words = "forecast", run, "--period", "2002-08-01", "2002-08-05"
    answer = said(*words)
    assert answer.code == 0, answer.err
    assert f"forecast: {new}/forecast.zarr" in answer.out
    assert "done before, skipped" in said(*words).out
    for stage in ("verify", "report"):
        assert said(stage, new).code == 0
    compared = said("inspect", new)
    assert compared.code == 0
    assert "unchanged test/2002" in compared.out
    assert "train/" not in compared.out
    assert "not compared: the data of the run whose model was copied" in compared.out
    assert "periods: train (2001-01-01..2002-03-31) and test" in complaint(
        said(*words[:3], "2002-01-01", "2002-01-02", "-o", "b")
    )
    assert not (at_home / "b").exists()


@pytest.mark.slow
@pytest.mark.cluster
def test_the_latest_state_is_forecast_and_exported(weather, file, at_home, said):
    run, new = at_home / "out", at_home / "out-20020823T00"
    Run(experiment(weather.path, **SMALL), run).fit()
    words = "forecast", run, "--init", "latest", "--horizon", "6d"
    answer = said(*words)
    assert answer.code == 0, answer.err
    assert "initial time: 2002-08-23T00:00\n" in answer.out
    assert f"forecast: {new}/forecast.zarr" in answer.out
    assert "done before, skipped" in said(*words).out
    exported = new / "netcdf" / "out_20020823T00.nc"
    answer = said("export", new)
    assert answer.out.splitlines()[-1] == f"export: {exported} (1 initial time)"
    assert said("export", new).out == f"export: {exported} (1 initial time, 1 done before)\n"
    with xr.open_dataset(exported, decode_timedelta=True) as ds:
        assert ds.sizes["time"] == 6
    assert "there is no truth for any of the forecasts" in complaint(said("verify", new))


# Errors


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
    refused("spectrum", chunks("summaries.zarr", "*/*/*"), "summaries.zarr: ")
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


def test_a_reference_that_is_better_than_the_forecast_is_said(weather, at_home, said):
    """The network of many features and hardly a ridge fits noise."""
    overfitted = {"width": 150, "scale": 3.0}, {"ridge": [1e-10], "calibration": True}
    parts = SMALL | dict(zip(("model", "fit"), overfitted, strict=True))
    path = at_home / "overfitted.yaml"
    path.write_text(yaml.safe_dump(tree(weather.path, **parts), sort_keys=False))
    answer = said("run", path)
    assert answer.code == 0
    text = " ".join(answer.out.split())
    assert re.search(
        r"on the validation period, the forecast is worse than \w+ \(larger RMSE", text
    )
    lines = better_references(open_scores(Run.reopen(Path("runs/turning")).score_store), "eof")
    assert lines
    for line in lines:
        assert " ".join(line.split()) in text


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
        (
            ["update", "nowhere", "new.nc", "--forget", "2"],
            "--forget: 2.0 is not above 0 and at most 1",
        ),
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


# The nature run


@pytest.mark.slow
def test_nature_writes_a_store_that_can_be_inspected(tmp_path, said):
    path = tmp_path / "nature.zarr"
    answer = said("nature", path, "--years", 1, "--seed", 3)
    assert answer.code == 0
    assert f"nature run: {path} (simulated weather" in answer.out
    with xr.open_zarr(path) as store:
        assert store.sizes["time"] == 4 * 365
        assert str(store["time"].values[0])[:10] == "2001-01-01"
    before = stamps(path)
    assert "exists already; choose another name, or replace it with --force" in complaint(
        said("nature", path, "--years", 1)
    )
    assert stamps(path) == before
    assert "step: 6h, no gap" in said("inspect", path).out


@pytest.mark.slow
@pytest.mark.cluster
def test_ctrl_c_stops_a_run_without_tracebacks(weather, at_home, tmp_path):
    # Many candidates make the run long.
    long = tree(weather.path, **SMALL, search={"model.seed": list(range(300))})
    file = tmp_path / "long.yaml"
    file.write_text(yaml.safe_dump(long, sort_keys=False))
    # Where the tests run in the background of a script, the signal is ignored from the start.
    listening = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    process = subprocess.Popen(
        [*GFRNN[:-1], listening + GFRNN[-1], "run", str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("rows, candidate "):
            break
    # A terminal sends the signal to the command and its workers alike.
    os.killpg(process.pid, signal.SIGINT)
    rest, _ = process.communicate(timeout=300)
    assert process.returncode == 130
    last = rest.splitlines()[-1]
    assert last.startswith("stopped; ")
    assert "resume" in last
    assert "from Nanny" not in rest  # as the traceback of a worker begins
