"""The program of a job keeps temporary files of its workers in a folder of the user alone."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from distributed import Client, LocalCluster

from gfrnn_testing.intruder import NOBODY
from gfrnn_testing.paths import with_support

PROGRAM = [sys.executable, "-m", "gfrnn.cluster.batch.start_workers"]


def plant(folder: Path) -> None:
    """Make a folder with a module, as another user of the node may do where folders are shared."""
    folder.mkdir(mode=0o777)
    (folder / "planted.py").write_text("raise SystemExit('run by another user')\n")
    if os.getuid() == 0:
        os.chown(folder, NOBODY, NOBODY)


@pytest.mark.cluster
@pytest.mark.parametrize("count", [1, 2])
def test_temporary_files_and_import_path_are_in_the_private_folder(tmp_path, count):
    plant(tmp_path / "dask-scratch-space")
    private = tmp_path / f"gfrnn-{os.getuid()}"
    with (
        LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        command = [
            *(*PROGRAM, client.scheduler.address, "--nanny", "--nworkers", str(count)),
            *("--nthreads", "1", "--host", "127.0.0.1", "--local-directory", str(tmp_path)),
            *("--no-dashboard", "--death-timeout", "30"),
        ]
        with subprocess.Popen(command, env=with_support(), stderr=subprocess.DEVNULL) as job:
            try:
                client.wait_for_workers(count, timeout=180)
                places = client.run(lambda dask_worker: dask_worker.local_directory).values()
                paths = client.run(lambda: __import__("sys").path)
                paths |= client.run(lambda: __import__("sys").path, nanny=True)
                client.shutdown()
                job.wait(30)
            finally:
                job.kill()
    assert len(places) == count
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert all(Path(place).is_relative_to(private) for place in places)
    found = [Path(entry) for path in paths.values() for entry in path]
    inside = [entry for entry in found if entry.is_relative_to(tmp_path)]
    assert inside
    assert all(entry.is_relative_to(private) for entry in inside)


def test_a_folder_that_others_control_ends_the_job_with_the_remedy(tmp_path):
    plant(tmp_path / f"gfrnn-{os.getuid()}")
    done = subprocess.run(
        [*PROGRAM, "tcp://127.0.0.1:1", "--nanny", "--local-directory", str(tmp_path)],
        env=with_support(),
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    for part in (str(tmp_path / f"gfrnn-{os.getuid()}"), "0700", "cluster.spill"):
        assert part in done.stderr
