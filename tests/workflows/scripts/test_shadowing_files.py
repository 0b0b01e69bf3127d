"""Test that files in the current folder with names of modules do not disturb a run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from gfrnn.pipeline.config.experiment import dump_experiment
from gfrnn_testing.batch_systems import batch
from gfrnn_testing.waiting import eventually
from gfrnn_testing.waves import make_run

pytestmark = pytest.mark.cluster

# Modules of the standard library, of packages that are installed, and of this project.
SHADOWED = ("types", "random", "signal", "distributed", "gfrnn", "pipeline", "cluster")

# Some processes fail without a word, so the file leaves a mark as well.
MODULE = 'open(__file__ + ".imported", "w").close()\nraise ImportError("a user\'s own file")\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write files named like modules, and a small experiment, into a folder."""
    for name in SHADOWED:
        (tmp_path / f"{name}.py").write_text(MODULE)
    for name in ("workflows", "gfrnn_core"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(MODULE)
    run = make_run(tmp_path)
    (tmp_path / "waves.yaml").write_text(dump_experiment(run.experiment))
    return tmp_path


def imported(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*.imported")]


@pytest.fixture
def run(folder: Path, commands: Path, monkeypatch) -> Callable[..., None]:
    """Call ``gfrnn run`` in the folder and check that it has used none of its modules."""
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)

    def run(*options: str) -> None:
        done = subprocess.run(
            [commands / "gfrnn", "run", "waves.yaml", "-o", "run", *options],
            capture_output=True,
            text=True,
            cwd=folder,
            timeout=180,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr == ""
        assert (folder / "run" / "report.html").exists()
        assert imported(folder) == []

    return run


@pytest.mark.slow
def test_a_local_cluster(run):
    run("--workers", "2", "--memory", "400MiB")


@contextmanager
def started(folder: Path, *words: str) -> Iterator[None]:
    """Start a command of Dask in the folder, and stop it at the end."""
    dask = Path(sys.executable).with_name("dask")
    with (
        open(folder / f"{words[0]}.log", "w") as log,
        subprocess.Popen(
            [dask, *words, "--scheduler-file", "scheduler.json", "--host", "127.0.0.1"],
            stdout=log,
            stderr=log,
            cwd=folder,
            env=os.environ | {"PYTHONSAFEPATH": "1"},
        ) as process,
    ):
        try:
            yield
        finally:
            process.terminate()


@pytest.mark.slow
def test_a_scheduler_and_workers_that_were_started_with_a_safe_path(folder, run):
    with started(folder, "scheduler", "--port", "0", "--no-dashboard"):
        assert eventually(lambda: (folder / "scheduler.json").exists())
        with started(folder, "worker", "--nworkers", "2", "--nthreads", "1", "--no-dashboard"):
            run("--scheduler", "scheduler.json")


@pytest.mark.slurm
def test_jobs_of_a_batch_system(slurm, folder, run):
    keys = batch().model_dump(exclude_unset=True)
    (folder / "slurm.yaml").write_text(yaml.safe_dump(keys))
    run("--cluster", "slurm.yaml")
