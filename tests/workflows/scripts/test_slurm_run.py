"""Test whole runs on a real Slurm: the same bits as in one process, with any worker lost."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
import xarray as xr
import yaml

from gfrnn.cluster import open_cluster
from gfrnn.pipeline.config.experiment import dump_experiment
from gfrnn.pipeline.errors import ResourceError
from gfrnn.pipeline.runs.run import Run
from gfrnn_testing.batch_systems import batch
from gfrnn_testing.paths import with_support
from gfrnn_testing.waiting import eventually
from gfrnn_testing.waves import make_run

pytestmark = [pytest.mark.slurm, pytest.mark.cluster]


def keys(**given: object) -> dict[str, object]:
    """Return the keys of a cluster file."""
    return batch(**given).model_dump(exclude_unset=True)


def same_forecast(run: Run, other: Run) -> bool:
    with xr.open_zarr(run.forecast_store) as one, xr.open_zarr(other.forecast_store) as two:
        return bool(one.identical(two.assign_attrs(one.attrs)))


@pytest.fixture
def command(tmp_path):
    """Start ``gfrnn run`` on the small experiment and a cluster; its folder is ``run``."""

    def command(**given):
        run = make_run(tmp_path)
        experiment, place = tmp_path / "waves.yaml", tmp_path / "cluster.yaml"
        experiment.write_text(dump_experiment(run.experiment))
        place.write_text(yaml.safe_dump(keys(**given)))
        words = ["run", str(experiment), "--cluster", str(place), "-o", str(run.folder)]
        return run, subprocess.Popen(
            [
                sys.executable,
                "-c",
                "from gfrnn.workflows.commands.main import main; main()",
                *words,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=with_support(),
        )

    return command


def test_the_whole_run_over_tls(slurm, command, finished):
    run, process = command(workers=2)
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert "cluster: jobs of slurm: " in out
    assert same_forecast(run, finished)
    record = Run.reopen(run.folder).record
    assert record.cluster == {"kind": "slurm", "workers": 2, "threads": 2, "memory_gib": 1.17}
    assert len(list((run.folder / "cluster").glob("gfrnn-*.err"))) == 2
    assert not list((run.folder / "cluster").glob("tls-*"))
    assert eventually(lambda: not slurm.queue())


class Middle:
    """A callback of progress that acts once, with tasks finished and others running."""

    def __init__(self, do, call=11):
        self.do, self.left = do, call

    def __call__(self, *_):
        self.left -= 1
        if self.left == 0:
            self.do()


def test_a_worker_whose_job_is_cancelled_in_the_middle(slurm, tmp_path, finished):
    run = make_run(tmp_path)
    cancelled = []

    def cancel():
        cancelled.extend(slurm.queue())
        for job in cancelled:
            slurm.cancel(job)
        assert eventually(lambda: not set(cancelled) & set(slurm.queue()))

    with open_cluster(batch(), folder=run.folder):
        run.progress = Middle(cancel)
        run.fit()
        run.progress = Middle(cancel, call=2)
        run.forecast()
    assert len(cancelled) == 2
    assert same_forecast(run, finished)


def test_the_walltime_is_reached_in_the_middle(slurm, tmp_path, finished):
    run = make_run(tmp_path)
    left = []

    with open_cluster(batch(walltime="1min"), folder=run.folder) as cluster:

        def wait():
            (worker,) = cluster.client.nthreads()
            left.extend(slurm.queue())
            assert eventually(lambda: worker not in cluster.client.nthreads())

        run.progress = Middle(wait)
        run.fit()
        run.progress = None
        run.forecast()
        assert left[0] not in slurm.queue()
    (log,) = (run.folder / "cluster").glob(f"gfrnn-{left[0]}.err")
    assert "worker-lifetime-reached" in log.read_text()  # in good order
    assert "TIME LIMIT" not in log.read_text()
    assert same_forecast(run, finished)


def test_no_job_outlives_a_run_that_is_killed(slurm, command):
    run, process = command(workers=3, threads=3)  # nine cores: one job has to wait
    with process:
        assert eventually(lambda: (run.folder / "summaries.zarr").exists())
        assert len(slurm.queue()) == 3
        process.send_signal(signal.SIGKILL)
    assert eventually(lambda: not slurm.queue())
    assert eventually(lambda: not list((run.folder / "cluster").glob("tls-*")))


def test_a_plan_that_does_not_fit_is_refused_before_work(slurm, tmp_path):
    source = make_run(tmp_path)
    tree = source.experiment.model_copy(
        update={"model": source.experiment.model.model_copy(update={"width": 4000})}
    )
    run = Run(tree, tmp_path / "wide")
    with (
        open_cluster(batch(memory="300MiB"), folder=run.folder),
        pytest.raises(ResourceError, match=r"give the workers more \(cluster\.memory\)"),
    ):
        run.fit()
    assert not (run.folder / "summaries.zarr").exists()


def test_an_error_of_the_cluster_is_shown_without_a_traceback(slurm, command):
    _, process = command(queue="nowhere")
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 2
    assert errors.startswith("error: cluster: no job can be submitted to slurm: sbatch: error:")
    assert "Traceback" not in errors
