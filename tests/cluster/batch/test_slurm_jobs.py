"""Test workers as jobs of a real Slurm: they connect, are replaced, and end with the driver."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import get_client
from distributed.comm import connect
from distributed.security import Security

from gfrnn.cluster import ClusterConfig, open_cluster
from gfrnn.pipeline.errors import ResourceError
from gfrnn.pipeline.reduction.run_tasks import run_tasks
from gfrnn_testing.batch_systems import batch, watchdogs
from gfrnn_testing.paths import with_support
from gfrnn_testing.waiting import eventually

pytestmark = [pytest.mark.slurm, pytest.mark.cluster]


def secrets_in(folder: Path) -> list[Path]:
    return list((folder / "cluster").glob("tls-*"))


def test_workers_are_as_configured_and_end(slurm, tmp_path):
    said: list[str] = []
    config = batch(workers=4, per_job=2, threads=2, memory="300MiB", queue="debug")
    with open_cluster(config, folder=tmp_path, report=said.append) as cluster:
        assert get_client() is cluster.client
        cluster.client.wait_for_workers(4, timeout=180)
        assert len(slurm.queue()) == 2
        assert list(cluster.client.nthreads().values()) == [2] * 4
        limits = cluster.client.run(lambda dask_worker: dask_worker.memory_manager.memory_limit)
        assert list(limits.values()) == [300 * 2**20] * 4
        threads = cluster.client.run(lambda name: os.environ.get(name), "OPENBLAS_NUM_THREADS")
        assert list(threads.values()) == ["1"] * 4
        private = Path(tempfile.gettempdir()) / f"gfrnn-{os.getuid()}"
        scratch = cluster.client.run(lambda dask_worker: dask_worker.local_directory)
        assert all(Path(folder).is_relative_to(private) for folder in scratch.values())
        asked = slurm.run("squeue", "--noheader", "--format=%P %C %m %l").split("\n")[:2]
        assert asked == ["debug 4 672M 10:00"] * 2
        assert cluster.describe() == {
            "kind": "slurm",
            "workers": 4,
            "threads": 8,
            "memory_gib": 1.17,
            "queue": "debug",
        }
        assert said[0] == "jobs of slurm: 2 submitted"
    assert eventually(lambda: not slurm.queue())
    assert not watchdogs()
    assert len(list((tmp_path / "cluster").glob("gfrnn-*.err"))) == 2


def test_only_clients_with_the_certificate_can_connect(slurm, tmp_path):
    with open_cluster(batch(), folder=tmp_path) as cluster:
        address = cluster.client.scheduler.address
        assert address.startswith("tls://127.0.0.1:")
        assert cluster.dashboard.startswith("http://127.0.0.1:")
        (folder,) = secrets_in(tmp_path)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
        for refused in _strangers():
            for place in (address, address.replace("tls://", "tcp://")):
                with pytest.raises(OSError, match=r"TLS|SSL|reset|closed|Timed out"):
                    asyncio.run(connect(place, timeout=2, **refused))
        existing = ClusterConfig(kind="existing", address=address, certificates=str(folder))
        with open_cluster(existing) as joined:
            assert joined.client.submit(pow, 2, 10).result() == 1024
        assert cluster.client.submit(pow, 2, 11).result() == 2048
    assert not secrets_in(tmp_path)


def _strangers() -> Iterator[dict[str, Any]]:
    """Yield arguments of connections by those who lack the run's certificate."""
    another = Security.temporary().get_connection_args("client")["ssl_context"]
    for context in (another, ssl.create_default_context()):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # they trust whoever answers
        yield {"ssl_context": context}


def test_nothing_listens_on_other_addresses(slurm, tmp_path):
    there = _listening()
    with open_cluster(batch(), folder=tmp_path) as cluster:
        (worker,) = cluster.client.run(_listening, parent=True).values()
        assert len(worker) == 2  # worker and its nanny: no web pages
        port = int(cluster.client.scheduler.address.rsplit(":", 1)[1])
        own = _listening()
        assert ("127.0.0.1", port) in own
        assert {ip for ip, _ in worker | (own - there)} == {"127.0.0.1"}


def _by_value() -> Callable[..., set[tuple[str, int]]]:
    # A nested function is pickled by value: jobs cannot import the tests.
    def listening(*, parent: bool = False) -> set[tuple[str, int]]:
        """Return the addresses on which this process and its parent accept connections."""
        own = {os.getpid(), os.getppid()} if parent else {os.getpid()}
        return {
            tuple(connection.laddr)
            for connection in psutil.net_connections("inet")
            if connection.pid in own and connection.status == psutil.CONN_LISTEN
        }

    return listening


_listening = _by_value()


def test_a_cancelled_job_is_replaced(slurm, tmp_path):
    with open_cluster(batch(), folder=tmp_path) as cluster:
        assert cluster.client.submit(pow, 2, 3).result(timeout=180) == 8
        (job,) = slurm.queue()
        slurm.cancel(job)
        assert eventually(lambda: job not in slurm.queue() and len(slurm.queue()) == 1)
        assert cluster.client.submit(pow, 3, 3).result(timeout=180) == 27


_DRIVER = """
import sys, time
from pathlib import Path
from gfrnn.cluster import ClusterConfig, open_cluster
from gfrnn_testing.batch_systems import batch
from gfrnn_testing.paths import with_support
# Nine cores are more than the node has: a job waits.
with open_cluster(batch(workers=3, threads=3, memory="300MiB"), folder=Path(sys.argv[1])):
    print("open", flush=True)
    time.sleep(300)
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_no_job_outlives_the_driver(slurm, tmp_path, end):
    driver = subprocess.Popen(
        [sys.executable, "-c", _DRIVER, str(tmp_path)],
        stdout=subprocess.PIPE,
        env=with_support(),
    )
    with driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == b"open\n"
        assert sorted(slurm.queue().values()) == ["PENDING", "RUNNING", "RUNNING"]
        (waiting,) = (job for job, state in slurm.queue().items() if state == "PENDING")
        assert secrets_in(tmp_path)
        driver.send_signal(end)
        driver.wait(30)
    assert eventually(lambda: not slurm.queue())
    # It was cancelled, and not only left alone until it found no scheduler.
    assert slurm.run("squeue", "-h", "--states=all", "--format=%T", f"--jobs={waiting}") == (
        "CANCELLED\n"
    )
    assert eventually(lambda: not secrets_in(tmp_path))


def test_the_first_worker_is_enough_to_begin(slurm, tmp_path):
    config = batch(workers=3, threads=3, memory="300MiB")  # one has to wait
    with open_cluster(config, folder=tmp_path) as cluster:
        assert cluster.client.submit(pow, 2, 3).result() == 8
    assert eventually(lambda: not slurm.queue())


def _hog() -> int:
    kept = []
    while True:
        kept.append(os.urandom(20 * 2**20))
        time.sleep(0.01)


def test_a_task_that_needs_too_much_memory_ends_the_run(slurm, tmp_path):
    with open_cluster(batch(workers=2, memory="400MiB"), folder=tmp_path) as cluster:
        cluster.client.wait_for_workers(2, timeout=180)
        with pytest.raises(
            ResourceError, match=r"worker processes ended repeatedly.*cluster\.memory"
        ):
            run_tasks("hog", _hog, [()])
