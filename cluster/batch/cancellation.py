"""The jobs that are to be cancelled when this process ends, told to a process that outlives it."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_PATIENCE = 60.0
"""Seconds for the cancel command."""


@dataclass(frozen=True)
class CancellationJournal:
    """What the watchdog reads."""

    pipe: IO[str]

    def add(self, job: str) -> None:
        """A job was submitted."""
        self._write(f"+{job}")

    def remove(self, job: str) -> None:
        """A job is over."""
        self._write(f"-{job}")

    def _write(self, line: str) -> None:
        self.pipe.write(f"{line}\n")
        self.pipe.flush()


@contextmanager
def keep_journal(cancel: str, secrets: Path) -> Iterator[CancellationJournal]:
    """A journal whose jobs are cancelled, and secrets removed, at the end of the block or of this
    process, whichever comes first.

    Parameters
    ----------
    cancel : str
        Command that takes the numbers of jobs.
    secrets : Path
        Folder.
    """
    script = Path(__file__).with_name("watchdog.py")
    watchdog = subprocess.Popen(
        # Isolated, and by its path: it starts in no time, and none of the user's code can fail it.
        [sys.executable, "-I", str(script), str(secrets), *shlex.split(cancel)],
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
            watchdog.wait(_PATIENCE)
