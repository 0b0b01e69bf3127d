"""Faults on a real Slurm soon give an error that names them, and leave no job behind."""

from __future__ import annotations

import os
import time

import pytest

from gfrnn.cluster import ClusterError, open_cluster, worker_memory
from gfrnn.pipeline.reduction.run_tasks import run_tasks
from gfrnn_testing.batch_systems import batch, watchdogs
from gfrnn_testing.waiting import eventually

pytestmark = [pytest.mark.slurm, pytest.mark.cluster]


@pytest.fixture
def refused(slurm, tmp_path):
    """Return the error of a cluster that does not open, or fails while it is used."""

    def attempt(do, keys):
        with open_cluster(batch(**keys), folder=tmp_path) as cluster:
            do(cluster)

    def refused(do=lambda _: None, **keys):
        with pytest.raises(ClusterError) as caught:
            attempt(do, keys)
        assert eventually(lambda: not slurm.queue())
        assert not watchdogs()
        assert not list((tmp_path / "cluster").glob("tls-*"))
        return str(caught.value)

    return refused


def test_an_unknown_queue_is_named(refused):
    message = refused(queue="nowhere")
    assert message.startswith("cluster: no job can be submitted to slurm: sbatch: error: ")
    assert "invalid partition specified: nowhere" in message
    assert "cluster.queue" in message


def test_an_unknown_directive_is_named(refused):
    assert "unrecognized option '--nonsense=3'" in refused(directives=["--nonsense=3"])


@pytest.mark.parametrize("given", ["spill", "TMPDIR"])
def test_a_spill_folder_that_others_control(refused, tmp_path, monkeypatch, given):
    folder = tmp_path / f"gfrnn-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    if given == "TMPDIR":
        monkeypatch.setenv("TMPDIR", str(tmp_path))  # of the job; the driver has found its own
    message = refused(**({"spill": str(tmp_path)} if given == "spill" else {}))
    for part in ("3 jobs in a row ended", str(folder), "0700", "cluster.spill"):
        assert part in message


def test_more_time_than_the_queue_has(refused):
    message = refused(queue="short", walltime="2h")
    assert "will not start: PENDING (PartitionTimeLimit)" in message
    assert "cluster.walltime" in message


def test_waiting_for_a_busy_node_ends_after_queue_wait(refused, slurm, tmp_path):
    blocker = slurm.run("sbatch", "--parsable", "--exclusive", "-o/dev/null", "--wrap=sleep 90")
    assert eventually(lambda: slurm.queue().get(blocker.strip()) == "RUNNING")
    try:
        with (
            pytest.raises(ClusterError, match="no job has started within 2s") as caught,
            open_cluster(batch(queue_wait="2s"), folder=tmp_path),
        ):
            pass
    finally:
        slurm.cancel(blocker.strip())
    assert "PENDING (" in str(caught.value)
    assert eventually(lambda: not slurm.queue())


def test_jobs_that_fail_are_not_submitted_for_ever(refused, slurm, tmp_path):
    message = refused(setup=["echo the module is gone >&2", "exit 3"])
    assert "3 jobs in a row ended" in message
    assert "FAILED (NonZeroExitCode)" in message
    assert "  the module is gone" in message
    assert len(list((tmp_path / "cluster").glob("gfrnn-*.err"))) == 3


def test_a_missing_python_is_named(refused):
    assert "/no/such/python: No such file or directory" in refused(python="/no/such/python")


def test_a_worker_that_does_not_connect_is_an_error_with_its_log(refused):
    message = refused(setup=["echo slow >&2", "sleep 100"], timeout=3)
    assert "a job runs" in message
    assert "its worker has not connected to the scheduler at tls://" in message
    assert "cluster.timeout" in message
    assert "cluster.interface" in message
    assert "  slow" in message
    assert "RUNNING" in message


def test_too_little_memory_for_a_worker_is_named(refused, monkeypatch):
    monkeypatch.setattr(worker_memory, "LEAST_MEMORY", 0)
    # Its process is ended as soon as it has grown, which may be before or after it connects.
    message = refused(lambda _: run_tasks("long", time.sleep, [(500,)]), memory="40MiB", timeout=60)
    assert message.startswith("cluster.memory: 40MiB")
    assert "too little" in message


def test_a_walltime_shorter_than_a_task_is_named(refused):
    begun = time.monotonic()
    message = refused(lambda _: run_tasks("long", time.sleep, [(500,)]), walltime="1min")
    assert message.startswith("cluster.walltime: 1min is too short")
    assert "(long-0-" in message
    assert time.monotonic() - begun < 300  # not only when the task is over


def test_jobs_that_are_cancelled_repeatedly_are_an_error(refused, slurm):
    cancelled: set[str] = set()

    def cancel(_):
        for _ in range(3):
            assert eventually(lambda: bool(set(slurm.queue()) - cancelled))
            (job,) = set(slurm.queue()) - cancelled
            slurm.cancel(job)
            cancelled.add(job)
        run_tasks("any", pow, [(2, 3)])

    # Whoever waits for a task is told, and told why.
    assert "3 jobs in a row ended" in refused(cancel)
