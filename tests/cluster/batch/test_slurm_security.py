"""Test that another user of the machine gets into nothing of a cluster of jobs on a real Slurm."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from gfrnn.cluster import open_cluster
from gfrnn_testing import intruder
from gfrnn_testing.batch_systems import batch
from gfrnn_testing.slurm import Slurm

pytestmark = [pytest.mark.slurm, pytest.mark.cluster]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Return the folder of a run that other users can enter, unlike those of pytest."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def processes_of_jobs(slurm: Slurm) -> list[psutil.Process]:
    """Return the processes of all jobs, those of the batch system aside."""
    found = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except psutil.Error:
            continue
        own = environment.get("SLURM_CONF") == slurm.environment["SLURM_CONF"]
        if own and "SLURM_JOB_ID" in environment:
            found.append(process)
    return found


def test_another_user_gets_into_nothing(slurm, open_folder):
    """The run's folder, and the folder of temporary files, can be entered by all users."""
    before = intruder.ports_of([psutil.Process()])
    with open_cluster(batch(workers=2, memory="300MiB"), folder=open_folder) as cluster:
        client = cluster.client
        client.wait_for_workers(2, timeout=180)
        page = client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.http_server.port)
        jobs = processes_of_jobs(slurm)
        ports = intruder.ports_of([psutil.Process(), *jobs]) - before
        # The scheduler and its pages, and for each worker itself and its nanny.
        assert len(ports) == 2 + 2 * 2
        processes = [f"/proc/{process.pid}" for process in (psutil.Process(), *jobs)]
        secrets = list((open_folder / "cluster").rglob("tls-*"))
        assert secrets
        target = {
            "ports": sorted(ports - {page}),
            "pages": sorted(ports),
            "paths": ["/status", "/info/main/workers.html", "/json/counts.json", "/health"],
            "secret": [
                *(f"{process}/{name}" for process in processes for name in ("environ", "mem")),
                *map(str, secrets),
                *(str(file) for each in secrets for file in each.iterdir()),
                str(Path(tempfile.gettempdir()) / f"gfrnn-{os.getuid()}"),
            ],
            "arguments": [f"{process}/cmdline" for process in processes],
            "folder": str(open_folder),
        }
        found = intruder.found_by_another_user(target)
        assert {each: status for each, status in found["pages"].items() if status} == {
            f"{page}{path}": 403 for path in target["paths"]
        }
        assert found["arguments"] == target["arguments"]  # and sees the processes
        assert found["entered"] == []
        assert found["readable"] == []
        assert found["keys"] == []
        assert found["keys in arguments"] == []
        # Those with the certificates are let in at the same ports.
        way = {"tls with the cluster's": client.security.get_connection_args("client")}
        entered = {port for port, _ in intruder.entered(sorted(ports - {page}), way)}
        assert entered == ports - {page}
