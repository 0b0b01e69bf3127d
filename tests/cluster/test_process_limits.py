"""Start local clusters that cannot start: the cause is named, and no traceback is printed."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from gfrnn.cluster import ClusterConfig, ClusterError, local_cluster
from gfrnn.workflows.chaos.file_faults import FileFault, write_startup

SCRIPT = """
import resource, sys
from gfrnn.cluster import ClusterConfig, ClusterError
from gfrnn.cluster.local_cluster import open_local
if __name__ == "__main__":
    files = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    try:
        with open_local(ClusterConfig(workers=8, dashboard=False)):
            print("started")
    except ClusterError as error:
        print("refused:", error)
"""


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.parametrize("files", [30, 60])
def test_too_few_open_files_are_named_with_what_to_do(tmp_path, files):
    script = tmp_path / "limited.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(files)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    (line,) = [line for line in found.stdout.splitlines() if line.startswith("refused:")]
    assert "8 workers cannot be started" in line
    assert "Too many open files" in line
    assert "--workers" in line
    assert "ulimit -u, -n, -v" in line


@pytest.mark.cluster
def test_a_full_disk_of_temporary_files_is_named_without_a_traceback(tmp_path):
    """Workers write their certificates there, and remove them by names without a folder."""
    script, disk, log = tmp_path / "failing.py", tmp_path / "disk", tmp_path / "log"
    script.write_text(SCRIPT)
    disk.mkdir(), log.mkdir()
    write_startup(tmp_path / "startup")
    fault = FileFault("error", str(disk), str(log), workers=True, operation=3)
    paths = [str(tmp_path / "startup"), *filter(None, [os.environ.get("PYTHONPATH")])]
    found = subprocess.run(
        [sys.executable, str(script), "1000"],
        env=os.environ | fault.environment()
        | {"PYTHONPATH": os.pathsep.join(paths), "TMPDIR": str(tmp_path)},
        cwd=disk,
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert "refused: cluster: the local scheduler and its 8 workers cannot be" in found.stdout
    assert "No space left on device" in found.stdout
    assert f"or free some space in {tmp_path}" in found.stdout
    assert "Traceback" not in found.stdout + found.stderr


def test_an_assertion_of_dask_after_a_failed_start_is_named_by_its_cause(monkeypatch):
    """Dask asserts that all workers have ended when it ends a cluster that could not start."""

    def start(*_: object) -> None:
        try:
            raise OSError(errno.EROFS, "Read-only file system")
        except OSError:
            raise AssertionError("Status.init")  # noqa: B904 - as Dask raises it

    monkeypatch.setattr(local_cluster, "_start", start)
    with (
        pytest.raises(ClusterError, match=r"2 workers cannot be started \(.*Read-only file"),
        local_cluster.open_local(ClusterConfig(workers=2, dashboard=False)),
    ):
        pass
