"""Test the graceful stop by the timer and by signals during work."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue

import psutil
import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

from gfrnn.cluster.batch.job_limit import job_limit
from gfrnn.pipeline.config.experiment import load_experiment
from gfrnn.pipeline.errors import ConfigError
from gfrnn.pipeline.runs.run import Run
from gfrnn.workflows.commands.main import app
from gfrnn.workflows.session import graceful_stop as module
from gfrnn.workflows.session.graceful_stop import (
    StopRequested,
    graceful_stop,
    print_time_limit,
    set_time_limit,
    stop_at_progress,
)
from gfrnn_testing.weather import contents, finish, make_weather, tree

GFRNN = [sys.executable, "-c", "from gfrnn.workflows.commands.main import main; main()"]


# What a batch system tells


def answering(folder: Path, command: str, answer: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a command of a batch system with a given output that records its arguments."""
    script = folder / command
    script.write_text(f'#!/bin/sh\necho "$@" > {folder}/words\ncat <<END\n{answer}\nEND\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder / "words"


QSTAT = """Job Id: 7.head
    Job_Name = fit
    resources_used.walltime = 00:10:00
    Resource_List.nodect = 1
    Resource_List.walltime = 01:30:00"""


@pytest.mark.parametrize(
    ("environment", "command", "answer", "words", "seconds"),
    [
        ({"SLURM_JOB_ID": "5"}, "squeue", "9:30", "-h -j 5 -o %L", 570),
        ({"SLURM_JOB_ID": "5"}, "squeue", "45", "-h -j 5 -o %L", 45),
        ({"SLURM_JOB_ID": "5"}, "squeue", "2:00:01", "-h -j 5 -o %L", 7201),
        ({"SLURM_JOB_ID": "5"}, "squeue", "1-00:00:05", "-h -j 5 -o %L", 86405),
        ({"SLURM_JOB_ID": "5"}, "squeue", "UNLIMITED", "-h -j 5 -o %L", None),
        ({"SLURM_JOB_ID": "5"}, "squeue", "INVALID", "-h -j 5 -o %L", None),
        (
            {"SLURM_JOB_ID": "6", "SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "2"},
            "squeue",
            "10:00",
            "-h -j 5_2 -o %L",
            600,
        ),
        ({"PBS_JOBID": "7.head"}, "qstat", QSTAT, "-f 7.head", 4800),
        ({"PBS_JOBID": "7"}, "qstat", QSTAT.replace("resources_used", "x"), "-f 7", 5400),
        ({"PBS_JOBID": "7"}, "qstat", "Job Id: 7", "-f 7", None),
        ({"LSB_JOBID": "3"}, "bjobs", "1:05 L", "-noheader -o time_left 3", 3900),
        (
            {"LSB_JOBID": "3", "LSB_JOBINDEX": "4"},
            "bjobs",
            "0:02 L",
            "-noheader -o time_left 3[4]",
            120,
        ),
        ({"LSB_JOBID": "3"}, "bjobs", "-", "-noheader -o time_left 3", None),
        ({"LSB_JOBID": "3"}, "bjobs", "0:02 E", "-noheader -o time_left 3", None),
    ],
)
def test_the_remaining_time_is_read_from_the_batch_system(
    environment, command, answer, words, seconds, tmp_path, monkeypatch
):
    asked = answering(tmp_path, command, answer, monkeypatch)
    limit = job_limit(environment)
    assert asked.read_text() == words + "\n"
    assert (limit.seconds if limit else None) == seconds


def test_squeue_is_not_called_if_the_environment_has_the_end_of_the_job(tmp_path, monkeypatch):
    asked = answering(tmp_path, "squeue", "1:00", monkeypatch)
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    limit = job_limit({"SLURM_JOB_ID": "5", "SLURM_JOB_END_TIME": "1600"})
    assert limit is not None
    assert (limit.job, limit.seconds) == ("Slurm job 5", 600.0)
    assert not asked.exists()
    over = job_limit({"SLURM_JOB_ID": "5", "SLURM_JOB_END_TIME": "900"})
    assert over is not None
    assert over.seconds == 0


@pytest.mark.parametrize("end", ["Unknown", "", "inf", "nan"])
def test_squeue_is_called_if_the_end_in_the_environment_is_no_time(end, tmp_path, monkeypatch):
    answering(tmp_path, "squeue", "1:00", monkeypatch)
    limit = job_limit({"SLURM_JOB_ID": "5", "SLURM_JOB_END_TIME": end})
    assert limit is not None
    assert limit.seconds == 60


def test_outside_of_jobs_and_without_the_command_nothing_is_known(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert job_limit({}) is None
    assert job_limit({"SLURM_JOB_ID": "5"}) is None


# The timer


@pytest.fixture
def stoppable() -> Iterator[None]:
    """Let signals and the timer stop the test."""
    with graceful_stop():
        yield


@pytest.fixture
def job(monkeypatch):
    """Set the remaining seconds of the batch job."""

    def remaining(seconds: float) -> None:
        monkeypatch.setenv("SLURM_JOB_ID", "5")
        monkeypatch.setenv("SLURM_JOB_END_TIME", str(time.time() + seconds))

    for name in ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID"):
        monkeypatch.delenv(name, raising=False)
    return remaining


def timer() -> float:
    return signal.getitimer(signal.ITIMER_REAL)[0]


@pytest.mark.parametrize(
    ("left", "before", "after", "expected"),
    [
        (None, None, None, 0),
        (None, None, "2h", 7200),
        (6000, None, None, 5880),  # two minutes before
        (300, None, None, 240),  # in short jobs a fifth
        (6000, "10m", None, 5400),
        (6000, "90s", "2h", 5910),
        (6000, "10m", "1h", 3600),
    ],
)
def test_the_timer_is_set(left, before, after, expected, job, stoppable, capsys):
    if left is not None:
        job(left)
    set_time_limit(before, after)
    assert expected - 60 < timer() <= expected + 1 if expected else timer() == 0
    print_time_limit(Console())
    assert re.fullmatch(r"stops at .*\n" if expected else "", capsys.readouterr().out)
    print_time_limit(Console())  # once is enough
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("left", "before", "after", "message"),
    [
        (None, "10m", None, "--stop-before: .*; give --stop-after instead"),
        (300, "10m", None, "--stop-before: 600 s is not less than the 300 s left of"),
        (0, "10m", None, "--stop-before: 600 s is not less than the 0 s left of Slurm job 5"),
        (None, None, "5", "--stop-after: '5' is not a duration; write for example 10m or 2h"),
        (300, "soon", None, "--stop-before: 'soon' is not a duration; write for example 10m or 2h"),
    ],
)
def test_limits_that_leave_no_time_for_work_are_refused(
    left, before, after, message, job, stoppable
):
    if left is not None:
        job(left)
    with pytest.raises(ConfigError, match=message):
        set_time_limit(before, after)


@pytest.mark.parametrize("after", [None, "2h"])
def test_a_job_whose_end_has_passed_sets_no_limit_and_says_so(after, job, stoppable, capsys):
    job(-100)
    set_time_limit(None, after)
    assert 7000 < timer() <= 7200 if after else timer() == 0
    print_time_limit(Console(width=200))
    passed, *others = capsys.readouterr().out.splitlines()
    assert passed.startswith("the end of Slurm job 5 has passed; ")
    assert [line[:8] for line in others] == (["stops at"] if after else [])


@pytest.mark.parametrize(
    ("environment", "waits"),
    [
        ({}, False),
        ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}, False),
        ({"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "4"}, True),
        ({"SLURM_PROCID": "0", "OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "3"}, True),
        ({"PMI_RANK": "0", "PMI_SIZE": "3"}, True),
    ],
)
def test_one_of_several_processes_waits_until_it_is_known_whether_it_is_the_driver(
    environment, waits, stoppable, monkeypatch
):
    for name in ("SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    set_time_limit(None, "2h")
    assert (timer() == 0) == waits
    begun = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: begun + 600)
    print_time_limit(Console())  # of the driver, which has waited for the others
    assert timer() > 6600 if not waits else 6540 < timer() <= 6601
    with pytest.raises(ConfigError, match="--stop-after: 'soon' is not a duration"):
        set_time_limit(None, "soon")


def test_time_that_is_over_when_the_timer_starts_stops_the_work(stoppable, monkeypatch):
    monkeypatch.setenv("PMI_RANK", "1")
    monkeypatch.setenv("PMI_SIZE", "3")
    advance = stop_at_progress(lambda: None)
    set_time_limit(None, "1ms")
    time.sleep(0.01)
    print_time_limit(Console())
    time.sleep(0.2)
    with pytest.raises(StopRequested, match="--stop-after"):
        advance()


def test_the_timer_stops_the_work_at_its_next_progress(job, stoppable):
    reported: list[int] = []
    advance = stop_at_progress(reported.append)
    job(0.5)
    set_time_limit("450ms", None)
    advance(1)
    time.sleep(0.2)
    with pytest.raises(StopRequested, match="before the end of Slurm job 5") as caught:
        advance(2)
    assert caught.value.code == 75
    advance(3)  # raised only once, so that the work can be completed
    assert reported == [1, 2, 3]
    assert timer() == 0


# Signals


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGUSR1, 75),
        (signal.SIGUSR2, 75),
        (signal.SIGTERM, 143),
        (signal.SIGHUP, 129),
    ],
)
def test_signals_stop_the_work_at_its_next_progress(number, code, stoppable):
    os.kill(os.getpid(), number)
    os.kill(os.getpid(), signal.SIGTERM)  # the first of them counts
    with pytest.raises(StopRequested, match=f"on {number.name}") as caught:
        stop_at_progress(lambda: None)()
    assert caught.value.code == code


def test_work_without_progress_is_interrupted(monkeypatch, stoppable):
    monkeypatch.setattr(module, "_GRACE", 0.1)
    os.kill(os.getpid(), signal.SIGUSR1)
    with pytest.raises(StopRequested):
        SimpleQueue().get(timeout=180)


def test_an_error_after_a_signal_counts_as_the_stop():
    def work(error: Exception, number: int | None = None) -> None:
        with graceful_stop():
            if number is not None:
                os.kill(os.getpid(), number)
            raise error

    with pytest.raises(StopRequested) as caught:
        work(OSError("the workers are gone"), signal.SIGTERM)
    assert isinstance(caught.value.__cause__, OSError)
    with pytest.raises(OSError, match="another"):
        work(OSError("another"))


def test_ignored_signals_stay_ignored_and_handlers_are_restored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        usual = signal.getsignal(signal.SIGTERM)
        with graceful_stop():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is not usual
            signal.setitimer(signal.ITIMER_REAL, 1000)
        assert signal.getsignal(signal.SIGTERM) is usual
        assert timer() == 0
    finally:
        signal.signal(signal.SIGHUP, before)


# In the middle of the work


@pytest.fixture
def file(tmp_path) -> Path:
    """Write an experiment file with many small tasks in each stage."""
    weather = make_weather(tmp_path / "weather.zarr", damping=0.95, noise=0.3, times=600)
    small = tree(
        weather.path,
        periods={"test": ["2002-07-01", "2002-07-31"]},
        search={"model.seed": list(range(12))},
        forecast={"horizon": "3d", "batch": 1},
        cluster={"workers": 1, "dashboard": ":0"},
    )
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(small, sort_keys=False))
    return path


def of_group(group: int) -> list[psutil.Process]:
    """Return the running processes of a process group."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def stopped(command: list[str], folder: Path, sign: str, number: int) -> tuple[int, str]:
    """Send a signal once a path exists; return the exit code and output of the command."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        while not list(folder.glob(sign)):
            assert process.poll() is None
            time.sleep(0.02)
        os.killpg(process.pid, number)  # as a batch system does: to all processes of a job
        said, _ = process.communicate(timeout=300)
    end = time.monotonic() + 20
    while left := of_group(process.pid):
        assert time.monotonic() < end, left
        time.sleep(0.1)
    return process.returncode, said


@pytest.mark.slow
@pytest.mark.cluster
def test_a_run_stopped_in_fit_and_in_forecast_resumes_to_the_same_bits(file, tmp_path):
    folder, whole = tmp_path / "run", tmp_path / "whole"
    command = [*GFRNN, "run", str(file), "-o", str(folder)]
    for stage, sign, number, expected in (
        ("fit", "summaries.zarr/rows/*", signal.SIGUSR1, 75),
        ("forecast", "forecast.zarr/written/c/*", signal.SIGTERM, 143),
    ):
        code, said = stopped(command, folder, sign, number)
        assert code == expected, said
        last = said.splitlines()[-1]
        assert last.startswith(f"stopped on {number.name}; ")
        assert "resume" in last
        assert "Traceback" not in said
        record = json.loads((folder / "run.json").read_text())
        assert "finished" not in record["stages"].get(stage, {})
    subprocess.run(command, check=True, capture_output=True)
    finish(Run(load_experiment(file), whole))  # nothing stops it
    for store in ("model.zarr", "forecast.zarr", "scores.zarr"):
        assert contents(folder / store) == contents(whole / store), store


@pytest.mark.parametrize("command", ["run", "fit", "forecast", "verify", "refit", "update"])
def test_every_command_that_computes_has_the_options(command):
    help_text = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output
    assert "--stop-before" in help_text
    assert "--stop-after" in help_text
