"""Test the batch scripts of `workflows/slurm` with fake commands, and on a real Slurm."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from gfrnn.pipeline.runs.run import Run
from gfrnn_testing.paths import ROOT
from gfrnn_testing.slurm import Slurm
from gfrnn_testing.weather import make_weather, tree

SCRIPTS = ROOT / "workflows" / "slurm"
PATIENCE = 900.0


def test_shellcheck_has_no_findings():
    if shutil.which("shellcheck") is None:
        pytest.skip("no shellcheck here; apt-get install shellcheck")
    scripts = sorted(map(str, SCRIPTS.glob("*.sh")))
    assert scripts
    done = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True)
    assert done.stdout == ""


# With stand-ins


def stand_in(folder: Path, name: str, body: str) -> None:
    """Write a fake command that records its arguments and does what is given."""
    folder.mkdir(exist_ok=True)
    script = folder / name
    script.write_text(f'#!/bin/sh\necho "{name} $@" >> {folder}/calls\n{body}\n')
    script.chmod(0o755)


@pytest.mark.parametrize(
    ("script", "words", "job", "first", "again"),
    [
        ("resubmit.sh", ["a b.yaml", "--workers", "2"], {}, "run a b.yaml --workers 2", "sbatch"),
        (
            "array.sh",
            ["list.txt", "--workers", "2"],
            {"SLURM_ARRAY_TASK_ID": "2"},
            "run two.yaml --workers 2",
            "sbatch --array=2",
        ),
    ],
)
@pytest.mark.parametrize("code", [0, 2, 75, 143])
@pytest.mark.parametrize("rounds", ["1", "2"])
def test_only_work_that_stopped_in_time_is_submitted_again(
    script, words, job, first, again, code, rounds, tmp_path
):
    stand_in(tmp_path / "bin", "gfrnn", f"exit {code}")
    stand_in(tmp_path / "bin", "sbatch", f'echo "$GFRNN_ROUND" > {tmp_path}/round')
    record = f'echo "   Command=/home/me/my jobs/job.sh {" ".join(words)}"; echo "   Comment=x"'
    # Slurm shows all jobs of an array for the one whose number is that of the array.
    stand_in(tmp_path / "bin", "scontrol", "\n".join([record] * 3))
    (tmp_path / "list.txt").write_text("one.yaml\ntwo.yaml\n")
    environment = {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "SLURM_JOB_ID": "7",
        "GFRNN_ROUNDS": rounds,
        **job,
    }
    done = subprocess.run(
        ["bash", str(SCRIPTS / script), *words],
        env=environment, cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    calls = (tmp_path / "bin" / "calls").read_text().splitlines()
    assert calls[0] == f"gfrnn {first}"
    if code == 75 and rounds == "2":
        assert done.returncode == 0
        assert calls[1:] == [
            "scontrol show job 7",
            f"{again} /home/me/my jobs/job.sh {' '.join(words)}",
        ]
        assert (tmp_path / "round").read_text() == "2\n"
    else:
        assert done.returncode == code
        assert calls[1:] == []
        assert ("not done after 1 jobs" in done.stderr) == (code == 75)


def test_a_list_without_the_line_is_refused(tmp_path):
    (tmp_path / "list.txt").write_text("one.yaml\n")
    done = subprocess.run(
        ["bash", str(SCRIPTS / "array.sh"), "list.txt"],
        env={"PATH": os.environ["PATH"], "SLURM_ARRAY_TASK_ID": "2"},
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (2, "list.txt: has no line 2\n")


# On a real Slurm


def adapted(script: str, folder: Path, *, minutes: int) -> Path:
    """Copy a script with requests that the test's node can satisfy, as users change it."""
    text = (SCRIPTS / script).read_text()
    for key, value in (("cpus-per-task", "1"), ("mem", "2G"), ("time", f"00:{minutes:02d}:00")):
        text, count = re.subn(rf"(?m)^#SBATCH --{key}=.*$", f"#SBATCH --{key}={value}", text)
        assert count == 1, key
    path = folder / script
    path.write_text(text)
    return path


def experiment_file(folder: Path, name: str, seeds: int) -> Path:
    """Write an experiment of some candidates, each with little work."""
    weather = folder / "weather.zarr"
    if not weather.exists():
        make_weather(weather, damping=0.95, noise=0.3, times=640)
    parts = {
        "periods": {"test": ["2002-07-01", "2002-07-10"]},
        "forecast": {"horizon": "3d"},
        "search": {"model.seed": list(range(seeds))},
        "cluster": {"workers": 1, "dashboard": ":0"},
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(tree(weather, **parts) | {"name": name}, sort_keys=False))
    return path


def wait_for_end(slurm: Slurm) -> None:
    end = time.monotonic() + PATIENCE
    while slurm.queue():
        assert time.monotonic() < end, slurm.queue()
        time.sleep(0.3)


@pytest.mark.slurm
@pytest.mark.cluster
def test_a_run_longer_than_a_job_is_done_by_several(slurm, gfrnn_on_path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = experiment_file(tmp_path, "long", 60)
    script = adapted("resubmit.sh", tmp_path, minutes=2)
    # The first job has a few seconds, in which no machine trains all candidates; later ones have a
    # minute and a half, and as much time to end in as a slow machine needs.
    seconds = '"$([ "$round" = 1 ] && echo 110s || echo 30s)"'
    text, count = re.subn(
        r'(?m)^gfrnn run "\$@"$', rf"\g<0> --stop-before {seconds}", script.read_text()
    )
    assert count == 1
    script.write_text(text)
    slurm.run("sbatch", str(script), file.name)
    wait_for_end(slurm)
    logs = [log.read_text() for log in sorted(tmp_path.glob("gfrnn-*.log"))]
    assert len(logs) >= 2, logs
    assert "110 s before the end of Slurm job" in logs[0]
    for log in logs[:-1]:
        assert "resume" in log
        assert "Submitted batch job" in log
    assert re.search(r"^report: ", logs[-1], re.MULTILINE), logs[-1]
    assert Run.reopen(tmp_path / "runs" / "long").finished("verify")


@pytest.mark.slurm
@pytest.mark.cluster
def test_an_array_runs_each_experiment_of_a_list(slurm, gfrnn_on_path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["one", "two"]
    files = [experiment_file(tmp_path, name, 1).name for name in names]
    (tmp_path / "experiments.txt").write_text("\n".join(files) + "\n")
    script = adapted("array.sh", tmp_path, minutes=10)
    slurm.run("sbatch", "--array=1-2%2", str(script), "experiments.txt", "--stop-before", "5s")
    wait_for_end(slurm)
    logs = sorted(log.name for log in tmp_path.glob("gfrnn-array-*.log"))
    assert [re.sub(r"\d+-(\d)", r"N-\1", log) for log in logs] == [
        "gfrnn-array-N-1.log",
        "gfrnn-array-N-2.log",
    ]
    for name in names:
        assert Run.reopen(tmp_path / "runs" / name).finished("verify")
