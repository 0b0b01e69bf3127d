"""Cancellation of jobs at the end of this process, by a watchdog that outlives it."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_CANCEL_TIMEOUT = 60.0
"""Seconds for the cancel command."""


@dataclass(frozen=True)
class CancellationJournal:
    """Numbers of the jobs that the watchdog will cancel, written to its standard input."""

    pipe: IO[str]

    def add(self, job: str) -> None:
        """Add a job that was submitted."""
        self._write(f"+{job}")

    def remove(self, job: str) -> None:
        """Remove a job that is over."""
        self._write(f"-{job}")

    def _write(self, line: str) -> None:
        self.pipe.write(f"{line}\n")
        self.pipe.flush()


@contextmanager
def cancellation_journal(cancel: str, secret_folder: Path) -> Iterator[CancellationJournal]:
    """Open a journal whose jobs are cancelled at the end of the block or of this process.

    Parameters
    ----------
    cancel : str
        Command that cancels the jobs whose numbers are appended.
    secret_folder : Path
        Removed at the same time.
    """
    script = Path(__file__).with_name("watchdog.py")
    watchdog = subprocess.Popen(
        # Isolated, and by its path: it starts fast, and none of the user's files is imported.
        [sys.executable, "-I", str(script), str(secret_folder), *shlex.split(cancel)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # signals of the terminal are for the driver alone
    )
    assert watchdog.stdin is not None
    try:
        yield CancellationJournal(watchdog.stdin)
    finally:
        with suppress(BrokenPipeError):
            watchdog.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            watchdog.wait(_CANCEL_TIMEOUT)
