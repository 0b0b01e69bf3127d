"""Faults at file operations happen in the process and at the operation that they name."""

import os
import signal
import subprocess
import sys

import pytest

from gfrnn.workflows.chaos.file_faults import FileFault, write_startup

# Five operations: two files written, one renamed, one folder made, one file removed.
SCRIPT = """
import os, sys
from time import time
begin = time()
for step in (
    lambda: open("a", "w").close(),
    lambda: open("b", "w").close(),
    lambda: os.replace("a", "c"),
    lambda: os.mkdir("d"),
    lambda: os.remove("b"),
):
    try:
        step()
    except OSError as error:
        print("error", error.errno)
open(sys.executable, "rb").close()
open(os.path.join(sys.argv[1], "elsewhere"), "w").close()
print("days", round((time() - begin) / 86400))
"""


@pytest.fixture
def folders(tmp_path):
    for name in ("work", "log", "elsewhere"):
        (tmp_path / name).mkdir()
    write_startup(tmp_path / "startup")
    return tmp_path


def run_script(folders, script=SCRIPT, **options):
    fault = FileFault(folder=str(folders / "work"), log=str(folders / "log"), **options)
    path = os.pathsep.join(filter(None, [str(folders / "startup"), os.environ.get("PYTHONPATH")]))
    ended = subprocess.run(
        [sys.executable, "-c", script, str(folders / "elsewhere")],
        cwd=folders / "work",
        env={**os.environ, "PYTHONPATH": path, **fault.environment()},
        capture_output=True,
        text=True,
        check=False,
    )
    return fault, ended, {path.name for path in (folders / "work").iterdir()}


def test_operations_that_change_something_below_the_folder_are_counted(folders):
    fault, ended, left = run_script(folders, action="count")
    assert ended.returncode == 0, ended.stderr
    assert fault.counts() == (5, 0)
    assert left == {"c", "d"}


@pytest.mark.parametrize(
    ("operation", "left"),
    [(1, set()), (2, {"a"}), (3, {"a", "b"}), (4, {"b", "c"}), (5, {"b", "c", "d"})],
)
def test_the_process_is_killed_before_the_operation(folders, operation, left):
    fault, ended, found = run_script(folders, action="kill", operation=operation)
    assert ended.returncode == -signal.SIGKILL
    assert found == left
    assert fault.fired.exists()


def test_errors_begin_at_the_operation_and_stay(folders):
    fault, ended, found = run_script(folders, action="error", operation=3, number=30)
    assert ended.stdout.splitlines() == ["error 30"] * 3 + ["days 0"]
    assert found == {"a", "b"}
    assert fault.counts() == (5, 0)


def test_the_clock_jumps_once(folders):
    _, ended, found = run_script(folders, action="clock", operation=2, seconds=-86400.0 * 10)
    assert ended.stdout.splitlines() == ["days -10"]
    assert found == {"c", "d"}


WITH_WORKER = """
import multiprocessing as m
if __name__ == "__main__":
    open("first", "w").close()
    worker = m.get_context("fork").Process(target=lambda: open("second", "w").close())
    worker.start()
    worker.join()
    print(worker.exitcode)
"""


def test_faults_of_workers_spare_the_command(folders):
    fault, ended, found = run_script(folders, WITH_WORKER, action="kill", workers=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == [str(-signal.SIGKILL)]
    assert found == {"first"}
    command, worker = fault.counts()
    assert (command, worker) == (1, 1)
