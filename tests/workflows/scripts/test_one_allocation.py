"""Test the example script that runs a whole job inside of one Slurm allocation."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from gfrnn.pipeline.config.experiment import load_experiment
from gfrnn.pipeline.runs.run import Run
from gfrnn_testing.mpi import mpirun
from gfrnn_testing.paths import ROOT
from gfrnn_testing.slurm import Slurm
from gfrnn_testing.weather import contents, finish, make_weather, tree

pytestmark = [pytest.mark.cluster, pytest.mark.slurm]

SCRIPT = ROOT / "workflows" / "slurm" / "one_allocation.sh"
SMALL = {"periods": {"test": ["2002-07-01", "2002-07-10"]}, "forecast": {"horizon": "4d"}}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write an experiment file."""
    folder = tmp_path_factory.mktemp("weather")
    make_weather(folder / "weather.zarr", damping=0.95, noise=0.3, times=600)
    path = folder / "turning.yaml"
    path.write_text(yaml.safe_dump(tree(folder / "weather.zarr", **SMALL)))
    (folder / "allocation.yaml").write_text("{kind: srun, interface: lo, dashboard: ':0'}")
    return path


def submit(slurm: Slurm, file: Path, where: Path) -> tuple[int, str]:
    """Submit a job, wait for its end, and return exit code and log."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    words = [SCRIPT, file, "--cluster", file.with_name("allocation.yaml"), "--output", "run"]
    done = subprocess.run(
        ["sbatch", "--parsable", "--ntasks=4", "--mem-per-cpu=0", "--output=job.log"]
        + [str(word) for word in words],
        cwd=where,
        env=os.environ | {"PATH": path},
        check=True,
        capture_output=True,
        text=True,
    )
    job, end = done.stdout.strip(), time.monotonic() + 240
    while job in slurm.queue():
        assert time.monotonic() < end, (where / "job.log").read_text()
        time.sleep(0.2)
    (code,) = re.findall(r"ExitCode=(\d+):0", slurm.run("scontrol", "show", "job", job))
    return int(code), (where / "job.log").read_text()


@pytest.fixture(scope="module")
def alone(file: Path) -> Run:
    """Run the same experiment in one process."""
    return finish(Run(load_experiment(file), file.with_name("alone")))


def same(folder: Path, alone: Run) -> bool:
    """Return whether two runs have the same results, bit for bit."""
    return all(
        contents(folder / f"{product}.zarr") == contents(alone.folder / f"{product}.zarr")
        for product in ("model", "forecast", "scores")
    )


def test_the_forecast_is_that_of_one_process_bit_for_bit(slurm: Slurm, file, tmp_path, alone):
    code, log = submit(slurm, file, tmp_path)
    assert code == 0, log
    for line in ("stops at ", "dashboard: "):
        assert log.count(line) == 1  # the driver alone goes through the program
    assert "RMSE, cos-latitude weighted" in log
    assert "Traceback" not in log
    assert same(tmp_path / "run", alone)
    assert list((tmp_path / "run" / "cluster").iterdir()) == []  # the certificates


def test_with_mpirun_it_is_the_same(file, tmp_path, alone):
    place = tmp_path / "mpi.yaml"
    place.write_text("{kind: mpi, interface: lo, dashboard: ':0'}")
    gfrnn = [sys.executable, "-c", "from gfrnn.workflows.commands.main import main; main()"]
    command = [*mpirun(4), *gfrnn, "run", file, "--cluster", place, "--output", tmp_path / "run"]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert same(tmp_path / "run", alone)


def test_an_experiment_that_fails_ends_the_job_with_its_exit_code(slurm: Slurm, file, tmp_path):
    broken = tmp_path / "broken.yaml"
    broken.write_text(file.read_text().replace("width: 20", "width: 5000"))
    shutil.copy(file.with_name("allocation.yaml"), tmp_path)
    code, log = submit(slurm, broken, tmp_path)
    assert code == 2
    assert log.count("\nerror: ") == 1  # of the driver alone
    assert "model.width: 5000 hidden and 7 other features are more than" in log
