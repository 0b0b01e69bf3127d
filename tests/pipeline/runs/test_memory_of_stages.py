"""Peak memory of forecast, verify, online scoring and update is never above the plan."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.errors import ResourceError
from gfrnn.pipeline.forecasting import forecast as forecasting
from gfrnn.pipeline.reduction import dask_client
from gfrnn.pipeline.reduction.task_memory import USABLE_SHARE
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.runs.update import update
from gfrnn_testing.paths import ROOT, with_support
from gfrnn_testing.reduction_toys import period
from gfrnn_testing.weather import experiment, make_weather

MIB = 2**20
SLACK = 3 * MIB  # Python's own and the allocator's


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc"
)
@pytest.mark.parametrize(
    "layout",
    [
        "eof",
        "ensemble",
        pytest.param("local", marks=pytest.mark.exhaustive),
        pytest.param("products", marks=pytest.mark.exhaustive),
        pytest.param("zonal", marks=pytest.mark.exhaustive),
    ],
)
def test_no_task_after_a_fit_needs_more_memory_than_planned(tmp_path, layout):
    # Large arrays go back to the system at once, so that the peak is that of what is held.
    environment = with_support() | {"MALLOC_MMAP_THRESHOLD_": "65536", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "gfrnn_testing.peak_run_stages", layout, str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    tasks = {}
    for line in done.stdout.splitlines():
        name, part, planned, needed = line.split()
        tasks[name, part] = int(planned), int(needed)
    assert set(tasks) == {
        ("forecast", "batch"), ("verify", "task"), ("online", "task"), ("update", "leaf"),
        ("update", "merge"),
    }  # fmt: skip
    for task, (planned, needed) in tasks.items():
        assert needed <= planned + SLACK, task
        # A chunk is counted as if it were stored hardly smaller, and twice.
        assert planned <= 3 * needed + 4 * SLACK, task


@pytest.fixture(scope="module")
def forecast_run(tmp_path_factory) -> Run:
    """Run on a store of one chunk of some MiB, of which a task reads few times."""
    folder = tmp_path_factory.mktemp("chunks")
    weather = make_weather(
        folder / "w.zarr", times=680, chunk=680, shape=(12, 16), damping=0.95, noise=0.3
    )
    keys = experiment(weather.path, forecast={"batch": 1, "horizon": "1d"}, model={"leads": ["1d"]})
    run = Run(keys, folder / "run")
    run.fit()
    run.forecast()
    return run


@pytest.mark.parametrize("stage", ["update", "forecast", "verify"])
def test_a_chunk_that_does_not_fit_is_refused(forecast_run, tmp_path, monkeypatch, stage):
    run = forecast_run
    chunk = Fields(run.ds).read_bytes(1)
    assert chunk > 1 * MIB  # far more than the few fields of the task
    memory = int(0.9 * chunk / USABLE_SHARE)
    monkeypatch.setattr(dask_client, "_memory_of_a_thread", lambda client: memory)
    part = period("2002-09-01", "2002-09-10")

    def work() -> None:
        if stage == "update":
            path = run.experiment.data.sources[0].path
            update(run.folder, [path], tmp_path / "new", period=part)
        elif stage == "forecast":
            forecasting.forecast(run.experiment, run.ds, run.model, tmp_path / "f.zarr")
        else:
            run.verify()

    with pytest.raises(ResourceError, match=r"MiB, but a worker's thread has") as refused:
        work()
    remedy = {"update": "data.chunk", "forecast": "forecast.batch", "verify": "forecast.horizon"}
    assert remedy[stage] in str(refused.value)
