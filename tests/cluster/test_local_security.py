"""Test that a local cluster accepts nobody without its certificates, other users included."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Client, get_client, secede
from distributed.security import Security

from gfrnn.cluster import Cluster, ClusterConfig, open_cluster
from gfrnn_testing import intruder
from gfrnn_testing.intruder import ports_of

pytestmark = pytest.mark.cluster

WORKERS = 2


def family() -> list[psutil.Process]:
    own = psutil.Process()
    return [own, *own.children(recursive=True)]


@dataclass
class OpenCluster:
    """A local cluster, the ports it has opened, and the folder of its temporary files.

    The port of its web pages is ``page``, all others are ``comms``.
    """

    cluster: Cluster
    comms: list[int]
    page: int
    folder: Path

    @property
    def client(self) -> Client:
        """Return a client of the cluster."""
        return self.cluster.client


@pytest.fixture(scope="module")
def opened() -> Iterator[OpenCluster]:
    before = ports_of(family())
    # Not in a folder of pytest, which other users cannot enter anyway.
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    config = ClusterConfig(workers=WORKERS, memory="300MiB", dashboard=":0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder))
        patch.setattr(tempfile, "tempdir", None)
        with open_cluster(config) as cluster:
            client = cluster.client
            page = client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.http_server.port)
            comms = ports_of(family()) - before - {page}
            yield OpenCluster(cluster, sorted(comms), page, folder)
    shutil.rmtree(folder)


def own_way(client: Client) -> dict[str, dict[str, Any]]:
    return {"tls with the cluster's": client.security.get_connection_args("client")}


def test_every_port_answers_those_with_the_certificates(opened):
    assert len(opened.comms) == 1 + 2 * WORKERS  # scheduler, nannies, workers
    found = intruder.entered(opened.comms, own_way(opened.client))
    assert [port for port, _ in found] == opened.comms


def test_no_port_answers_those_without(opened):
    assert intruder.entered(opened.comms, intruder.connections()) == []
    assert opened.client.submit(pow, 2, 10).result() == 1024


@pytest.mark.parametrize(
    ("protocol", "security"),
    [("tcp", None), ("tls", Security.temporary())],
    ids=["none", "of another run"],
)
def test_no_client_without_the_certificates(opened, protocol, security):
    address = opened.client.scheduler.address.replace("tls", protocol)
    with pytest.raises(OSError, match="reset|certificate does not match|Timed out"):
        Client(address, security=security, timeout=1, set_as_default=False)


def test_another_user_neither_enters_nor_reads_the_certificates(opened):
    if os.getuid() != 0:
        pytest.skip("only root can start a process of another user")
    processes = [f"/proc/{process.pid}" for process in family()]
    target = {
        "ports": opened.comms,
        "pages": [opened.page, *opened.comms],
        "paths": ["/status", "/info/main/workers.html", "/json/counts.json", "/metrics", "/health"],
        "secret": [
            *(f"{process}/{name}" for process in processes for name in ("environ", "mem", "fd")),
            *(str(path) for path in opened.folder.iterdir()),
        ],
        "arguments": [f"{process}/cmdline" for process in processes],
        "folder": str(opened.folder),
    }
    found = intruder.found_by_another_user(target)
    reached = {each: status for each, status in found["pages"].items() if status}
    assert reached == {f"{opened.page}{path}": 403 for path in target["paths"]}
    assert found["arguments"] == target["arguments"]  # and sees the processes
    assert found["entered"] == []
    assert found["readable"] == []
    assert found["keys"] == []
    assert found["keys in arguments"] == []


def test_the_certificates_are_in_no_file_and_in_no_environment(opened):
    assert intruder.files_with(b"PRIVATE KEY", str(opened.folder)) == []
    for process in family():
        assert "PRIVATE KEY" not in str(process.environ())
        assert "PRIVATE KEY" not in str(process.cmdline())


def total(values: list[int]) -> int:
    """Compute a sum in further tasks, on all workers."""
    client = get_client()
    secede()  # its thread is needed for them
    workers = list(client.nthreads())
    squares = [
        client.submit(pow, value, 2, workers=[workers[place % len(workers)]], pure=False)
        for place, value in enumerate(values)
    ]
    result: int = client.submit(sum, squares).result()
    return result


def test_tasks_have_a_client_and_exchange_results(opened):
    assert opened.client.submit(total, [1, 2, 3]).result(timeout=180) == 14


def test_two_clusters_do_not_share_certificates(opened):
    with open_cluster(ClusterConfig(workers=1, memory="300MiB", dashboard=":0")) as other:
        assert intruder.entered(opened.comms, own_way(other.client)) == []


def test_spilled_data_are_in_a_private_folder(opened):
    (folder,) = (path for path in opened.folder.iterdir() if path.name == f"gfrnn-{os.getuid()}")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    places = opened.client.run(lambda dask_worker: dask_worker.local_directory).values()
    assert all(Path(place).is_relative_to(folder) for place in places)
    assert list(opened.folder.iterdir()) == [folder]  # the scheduler's are there as well
