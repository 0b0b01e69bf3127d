"""Test the Snakefile: its commands, and real runs on this machine and on a real Slurm."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from gfrnn.pipeline.runs.run import Run
from gfrnn.workflows.commands.options import ClusterOptions
from gfrnn_testing.paths import ROOT
from gfrnn_testing.weather import make_weather, stamps, tree

WORKFLOW = ROOT / "workflows" / "snakemake"
JULY, AUGUST = "2002-07-20 2002-07-24", "2002-08-01 2002-08-04"


@pytest.fixture(scope="module", autouse=True)
def there() -> None:
    if shutil.which("snakemake") is None:
        pytest.skip("no snakemake on the PATH; install the extra workflows")


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """Change to an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def configure(experiments: dict[str, str], periods: dict[str | int, str]) -> None:
    one = {"threads": 1, "mem_mb": 2000, "minutes": 5}
    text = {"runs": "runs", "experiments": experiments, "periods": periods}
    Path("mine.yaml").write_text(yaml.safe_dump(text | {"fit": one, "period": one}))


def snakemake(*options: str) -> subprocess.CompletedProcess[str]:
    command = ["snakemake", "-s", str(WORKFLOW / "Snakefile"), "--configfile", "mine.yaml"]
    return subprocess.run([*command, *options], capture_output=True, text=True, timeout=300)


def run_it(*options: str) -> str:
    """Run Snakemake, check its exit code, and return its output."""
    done = snakemake(*options)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture
def stand_in(place, monkeypatch) -> Path:
    """Write a fake `gfrnn` that records its arguments; its first fit stops early."""
    (place / "bin").mkdir()
    command = place / "bin" / "gfrnn"
    command.write_text(
        f'#!/bin/sh\necho "$@" >> {place}/calls\n'
        f'test "$1" != fit -o -e {place}/once || {{ touch {place}/once; exit 75; }}\n'
        'test "$1" != report || touch "$2/report.html"\n'
    )
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{place / 'bin'}:{os.environ['PATH']}")
    return place / "calls"


def test_each_experiment_is_fitted_once_and_each_period_forecast_with_it(place, stand_in):
    (place / "a.yaml").touch()
    configure({"one": "a.yaml"}, {2009: JULY, "august": AUGUST})
    run_it("--cores", "1", "--retries", "1")
    calls = stand_in.read_text().splitlines()
    options = "--workers 1 --memory 1800MB"
    assert calls[:2] == [f"fit a.yaml --output runs/one {options}"] * 2
    for name, dates in (("2009", JULY), ("august", AUGUST)):
        folder = f"runs/one-{name}"
        begun = calls.index(f"forecast runs/one --period {dates} --output {folder} {options}")
        assert calls[begun + 1 : begun + 3] == [f"verify {folder} {options}", f"report {folder}"]
    assert len(calls) == 8
    run_it("--cores", "1")
    assert len(stand_in.read_text().splitlines()) == 8
    # The options are those that the command has.
    assert ClusterOptions(workers=1, memory="1800MB").config({}, "here").memory == "1800MB"


def test_without_retries_work_that_stopped_is_no_success(place, stand_in):
    (place / "a.yaml").touch()
    configure({"one": "a.yaml"}, {2009: JULY})
    assert snakemake("--cores", "1").returncode != 0
    assert not (place / "runs" / "one.fitted").exists()


@pytest.fixture(scope="module")
def made(tmp_path_factory, commands) -> Iterator[Path]:
    """Return the folder of a real run on this machine, of one experiment and one period."""
    folder = tmp_path_factory.mktemp("snakemake")
    make_weather(folder / "weather.zarr", damping=0.95, noise=0.3, times=640)
    parts = {
        "periods": {"test": ["2002-07-01", "2002-07-10"]},
        "forecast": {"horizon": "3d"},
        "cluster": {"dashboard": ":0"},
    }
    text = yaml.safe_dump(tree(folder / "weather.zarr", **parts), sort_keys=False)
    (folder / "small.yaml").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
        configure({"small": "small.yaml"}, {"july": JULY})
        run_it("--cores", "1")
        yield folder


@pytest.mark.cluster
def test_a_run_on_this_machine(made):
    assert Run.reopen(made / "runs" / "small").finished("fit")
    assert Run.reopen(made / "runs" / "small-july").finished("verify")
    assert (made / "runs" / "small-july" / "report.html").exists()


@pytest.mark.slurm
@pytest.mark.cluster
def test_another_period_is_a_job_of_slurm_and_reads_no_old_data(made, slurm, tmp_path, monkeypatch):
    before = stamps(made / "runs" / "small")
    # The executor hides Slurm's variables from its jobs, also the one that leads to this Slurm.
    settings = " ".join(f"{name}={value}" for name, value in slurm.environment.items())
    srun = tmp_path / "srun"
    srun.write_text(f'#!/bin/sh\n{settings} exec {shutil.which("srun")} "$@"\n')
    srun.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    configure({"small": "small.yaml"}, {"july": JULY, "august": AUGUST})
    profile = str(WORKFLOW / "profiles" / "slurm")
    for_tests = ["--latency-wait", "5", "--slurm-init-seconds-before-status-checks", "1"]
    for_tests += ["--seconds-between-status-checks", "1", "--retries", "0"]
    # This Slurm keeps no accounts, which `sacct` would show.
    for_tests += ["--slurm-status-command", "squeue", "--slurm-no-account"]
    for_tests += ["--slurm-keep-successful-logs"]
    said = run_it("--profile", profile, *for_tests)
    assert said.count("has been submitted with SLURM jobid") == 1
    assert stamps(made / "runs" / "small") == before
    assert Run.reopen(made / "runs" / "small-august").finished("verify")
    (log,) = made.glob(".snakemake/slurm_logs/rule_period/**/*.log")
    assert "before the end of Slurm job" in log.read_text()
