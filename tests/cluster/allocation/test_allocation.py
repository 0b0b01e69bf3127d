"""Test that the processes of one allocation connect, exclude others, and end together."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Client

from gfrnn_testing import intruder
from gfrnn_testing.mpi import mpirun
from gfrnn_testing.paths import SUPPORT
from gfrnn_testing.waiting import eventually

PROGRAM = SUPPORT / "gfrnn_testing" / "allocated.py"
pytestmark = [pytest.mark.cluster, pytest.mark.slurm]


class Started:
    """The processes that one launcher has started."""

    def __init__(self, command: list[str], kind: str, folder: Path, mode: str) -> None:
        self.kind, self.folder = kind, folder
        self.popen = subprocess.Popen(
            [*command, sys.executable, str(PROGRAM), kind, str(folder), mode],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    def state(self) -> dict[str, Any]:
        """Wait until all processes have connected, and return what the driver has written."""
        file = self.folder / "state.json"
        eventually(lambda: file.exists() or self.popen.poll() is not None)
        assert file.exists(), self.popen.communicate()
        found: dict[str, Any] = json.loads(file.read_text())
        return found

    def go_on(self) -> None:
        (self.folder / "go").touch()

    def end(self) -> tuple[int, str, str]:
        """Wait for the end, and return exit code, output and errors."""
        out, err = self.popen.communicate(timeout=300)
        return self.popen.returncode, out, err

    def processes(self) -> list[psutil.Process]:
        """Return all processes that still run, child processes included."""
        found = []
        for process in psutil.process_iter():
            try:
                if str(self.folder) in process.cmdline():
                    found += [process, *process.children(recursive=True)]
            except psutil.Error:
                continue
        return found


def srun(size: int) -> list[str]:
    return ["srun", "--quiet", "--overcommit", "--kill-on-bad-exit=0", "--ntasks", str(size)]


Start = Callable[..., Started]


@pytest.fixture(params=["srun", "mpi"])
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Start]:
    """Start the program with the launcher of each kind."""
    if request.param == "srun":
        request.getfixturevalue("slurm")
    running: list[Started] = []

    def begin(mode: str, size: int = 4) -> Started:
        launcher = srun(size) if request.param == "srun" else mpirun(size)
        running.append(Started(launcher, request.param, tmp_path, mode))
        return running[-1]

    yield begin
    for one in running:
        for process in one.processes():
            process.kill()
        one.popen.kill()
        one.popen.communicate()


def test_ranks_connect_and_end_together(start, tmp_path):
    started = start("plain")
    code, out, err = started.end()
    assert (code, out, err) == (0, "result 1024\n", "")
    described = started.state()["described"]
    assert (described["kind"], described["workers"]) == (started.kind, 2)
    assert described["memory_gib"] < psutil.virtual_memory().total / 2**30 / 2 / 1.1
    # The dashboard listens on the loopback interface, whatever interface the workers use.
    assert started.state()["dashboard"].startswith("http://127.0.0.1:")
    assert list((tmp_path / "cluster").iterdir()) == []
    assert not started.processes()


@pytest.mark.parametrize("mode", ["plain", "spill"])
def test_temporary_files_of_workers_are_in_a_private_folder(start, mode, tmp_path):
    started = start(mode)
    assert started.end()[0] == 0
    parent = tmp_path / "spill" if mode == "spill" else Path(tempfile.gettempdir())
    private = parent / f"gfrnn-{os.getuid()}"
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    scratch = started.state()["scratch"]
    assert len(scratch) == 2
    assert all(Path(folder).is_relative_to(private) for folder in scratch)


def test_a_spill_folder_that_others_control_is_an_error(start, tmp_path):
    folder = tmp_path / "spill" / f"gfrnn-{os.getuid()}"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    code, _, err = start("spill").end()
    assert code != 0
    for part in (str(folder), "0700", "cluster.spill"):
        assert part in err


def test_the_exit_code_is_that_of_the_driver(start):
    started = start("fail")
    assert started.end()[0] == 5
    assert eventually(lambda: not started.processes())


def test_only_the_interface_is_open_and_needs_certificates(start, tmp_path):
    started = start("wait")
    state = started.state()
    assert state["address"].startswith("tls://127.0.0.1:")
    ours = [psutil.Process(state[name]) for name in ("driver", "scheduler")]
    ours += [psutil.Process(worker) for worker in state["workers"]]
    own = {process.pid for one in ours for process in (one, *one.children(recursive=True))}
    listening = {
        tuple(connection.laddr)
        for connection in psutil.net_connections("inet")
        if connection.pid in own and connection.status == psutil.CONN_LISTEN
    }
    assert {address for address, _ in listening} == {"127.0.0.1"}
    ports = sorted({port for _, port in listening})
    statuses = intruder.answers(ports, ["/status", "/info/main/workers.html", "/metrics"])
    assert set(statuses.values()) == {0, 403}
    # All processes have read the key, so its file is removed.
    assert eventually(lambda: list((tmp_path / "cluster").iterdir()) == [])
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    with browser.open(state["dashboard"]) as page:
        assert page.status == 200
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(state["dashboard"].partition("?")[0])
    with pytest.raises(OSError, match=r"(?i)timed out|closed"):
        Client(state["address"].replace("tls", "tcp"), timeout=2)
    started.go_on()
    assert started.end()[0] == 0


def test_signals_of_the_batch_system_are_for_the_driver(start):
    started = start("wait")
    state = started.state()
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM):
        for process in (state["scheduler"], *state["workers"]):
            os.kill(process, number)
    started.go_on()
    code, out, _ = started.end()
    assert (code, out) == (0, "result 1024\n")


@pytest.mark.parametrize(
    ("victim", "mode"), [("driver", "wait"), ("scheduler", "wait"), ("scheduler", "compute")]
)
def test_all_end_when_one_is_killed(start, victim, mode, tmp_path):
    started = start(mode)
    os.kill(started.state()[victim], signal.SIGKILL)
    if victim == "scheduler":
        started.go_on()  # a busy driver notices the loss at its next request
    code, out, err = started.end()
    assert code == 137
    assert out == ""
    if started.kind == "srun":  # mpirun may end the processes before they print it
        rank = {"driver": 1, "scheduler": 0}[victim]
        assert f"the {victim}, rank {rank}, was lost" in err
    assert eventually(lambda: not started.processes())
    assert list((tmp_path / "cluster").iterdir()) == []


def test_too_few_processes_are_an_error_with_their_number(start):
    code, _, err = start("plain", size=2).end()
    assert code == 2
    assert "2 processes are too few for a scheduler, a driver and a worker; start 3 or more" in err


def test_the_wait_for_a_missing_driver_ends(start):
    started = start("absent")
    code, _, err = started.end()
    assert code == 7
    if started.kind == "srun":
        assert "rank 0: " in err
        assert "the driver, rank 1, has not connected after 3 s" in err
    assert eventually(lambda: not started.processes())


def test_a_run_continues_without_a_lost_worker(slurm, tmp_path):
    started = Started(srun(4), "srun", tmp_path, "compute")
    os.kill(started.state()["workers"][0], signal.SIGKILL)
    started.go_on()
    _, out, _ = started.end()
    assert out == "result 1024\n"
    assert not started.processes()
