"""Test that the watchdog cancels the jobs of a run when its driver ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gfrnn.cluster.batch.cancellation import cancellation_journal
from gfrnn_testing.batch_systems import watchdogs
from gfrnn_testing.paths import with_support
from gfrnn_testing.waiting import eventually


@pytest.fixture
def cancel(tmp_path) -> str:
    """Return a cancel command that records its arguments; its own path has a blank."""
    script = tmp_path / "cancel jobs"
    script.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/cancelled\nexit 1\n')
    script.chmod(0o755)
    return f"'{script}' --now"


@pytest.fixture
def secrets(tmp_path) -> Path:
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "key.pem").write_text("secret")
    return folder


def cancelled(secrets: Path) -> str:
    file = secrets.parent / "cancelled"
    return file.read_text() if file.exists() else ""


def test_jobs_that_are_left_are_cancelled_with_the_block(cancel, secrets):
    with cancellation_journal(cancel, secrets) as journal:
        for job in ("12", "13", "14.0"):
            journal.add(job)
        journal.remove("13")
        assert len(watchdogs()) == 1
        assert cancelled(secrets) == ""
    assert cancelled(secrets) == "--now 12 14.0\n"
    assert not secrets.exists()
    assert not watchdogs()


def test_nothing_is_cancelled_where_nothing_is_left(cancel, secrets):
    with cancellation_journal(cancel, secrets) as journal:
        journal.add("12")
        journal.remove("12")
    assert cancelled(secrets) == ""
    assert not secrets.exists()


def test_an_error_ends_the_block_all_the_same(cancel, secrets):
    def trouble() -> None:
        with cancellation_journal(cancel, secrets) as journal:
            journal.add("12")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        trouble()
    assert cancelled(secrets) == "--now 12\n"


def test_certificates_are_removed_even_if_the_cancel_command_is_missing(secrets):
    with cancellation_journal("/no/such/command", secrets) as journal:
        journal.add("12")
    assert not secrets.exists()


_DRIVER = """
import sys, time
from pathlib import Path
from gfrnn.cluster.batch.cancellation import cancellation_journal
from gfrnn_testing.paths import with_support
with cancellation_journal(sys.argv[1], Path(sys.argv[2])) as journal:
    journal.add("12")
    print("ready", flush=True)
    time.sleep(100)
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_jobs_are_cancelled_however_the_driver_ends(cancel, secrets, end):
    driver = subprocess.Popen(
        [sys.executable, "-c", _DRIVER, cancel, str(secrets)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=with_support(),
        start_new_session=True,
    )
    with driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == b"ready\n"
        os.killpg(driver.pid, end)  # as a terminal does: to all that belong to it
        driver.wait(30)
    assert eventually(lambda: cancelled(secrets) == "--now 12\n")
    assert eventually(lambda: not secrets.exists())


def ignores(pid: int, number: signal.Signals) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    mask = int(
        next(line for line in status.splitlines() if line.startswith("SigIgn")).split()[1], 16
    )
    return bool(mask >> (number - 1) & 1)


def test_signals_for_the_driver_do_not_end_the_watchdog(cancel, secrets):
    with cancellation_journal(cancel, secrets) as journal:
        journal.add("12")
        (watchdog,) = watchdogs()
        assert eventually(lambda: ignores(watchdog.pid, signal.SIGTERM))
        for end in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1):
            watchdog.send_signal(end)
        time.sleep(0.1)
        assert watchdog.is_running()
    assert cancelled(secrets) == "--now 12\n"
