"""Kill the process of a scheduler that was started independently, in the middle of a run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from gfrnn.pipeline.config.experiment import load_experiment
from gfrnn.pipeline.runs.run import Run
from gfrnn_testing.paths import with_support
from gfrnn_testing.waiting import eventually
from gfrnn_testing.weather import contents, make_weather, tree

pytestmark = [pytest.mark.slow, pytest.mark.cluster]

GFRNN = [sys.executable, "-c", "from gfrnn.workflows.commands.main import main; main()"]


@contextmanager
def started(folder: Path, name: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command of Dask; it is killed at the end at the latest."""
    command = [sys.executable, "-P", "-m", f"distributed.cli.dask_{name}", *words]
    with (folder / f"{name}.log").open("w") as log:
        process = subprocess.Popen(command, env=with_support(), cwd=folder, stderr=log)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


@pytest.mark.parametrize(
    ("product", "stage"), [("summaries.zarr/climatology", "fit"), ("forecast.zarr", "forecast")]
)
def test_a_killed_scheduler_ends_the_command_and_another_one_resumes_it(tmp_path, product, stage):
    make_weather(tmp_path / "w.zarr", times=640, chunk=10)
    parts = {
        "periods": {"test": ["2002-07-01", "2002-08-31"]},
        "data": {"chunk": 10},
        "forecast": {"batch": 1},
        "cluster": {"timeout": 15},
    }
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(tree(tmp_path / "w.zarr", **parts)))
    folder, file = tmp_path / "run", tmp_path / "scheduler.json"
    local = "--host", "127.0.0.1"
    with (
        started(
            tmp_path, "scheduler", *local, "--port", "0", "--no-dashboard",
            "--scheduler-file", str(file),
        ) as scheduler,
        started(
            tmp_path, "worker", *local, "--scheduler-file", str(file), "--nthreads", "1",
            "--no-nanny", "--no-dashboard",
        ),
        subprocess.Popen(
            [*GFRNN, "run", "x.yaml", "-o", str(folder), "--scheduler", str(file)],
            env=with_support(), cwd=tmp_path, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as process,
    ):  # fmt: skip
        assert eventually(lambda: (folder / product).exists() or process.poll() is not None)
        scheduler.kill()
        _, errors = process.communicate(timeout=300)
    assert process.returncode == 2, errors
    assert "error: cluster: the scheduler at scheduler_file " in errors
    assert "does not answer any more; finished parts are kept" in errors
    assert "Traceback" not in errors
    run = Run(load_experiment(tmp_path / "x.yaml"), folder)
    assert run.is_done("fit") == (stage == "forecast")
    run.fit(), run.forecast()
    whole = Run(run.experiment, tmp_path / "whole")
    whole.fit(), whole.forecast()
    assert contents(run.model) == contents(whole.model)
    assert contents(run.forecast_store) == contents(whole.forecast_store)
