"""Test the commands from a fit to a report as users call them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess

import pytest
import xarray as xr
import yaml

from gfrnn.pipeline.runs.run import Run
from gfrnn_testing.commands import GFRNN, SMALL, complaint, gfrnn
from gfrnn_testing.weather import experiment, finish, stamps, tree


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
        pattern = rf"^{stage}: {folder}/{product}\.zarr \((\d+m \d+s|\d+\.\d s)\)$"
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
    assert f"update: {new}/model.zarr (102 times from 2002-04-02T00:00 to" in answer.out
    # The training ends on 31 March.
    assert "gap between 2002-03-31T00:00 and 2002-04-02T00:00; no row crosses it" in answer.out
    told = answer.out.splitlines()[-1]
    assert told.startswith("forecast from 2002-07-12T00:00 or later: gfrnn forecast ")
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
    assert "there is a gap" not in there.out
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
