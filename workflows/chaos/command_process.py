"""A command of ``gfrnn`` as a process: started, disturbed at a moment, waited for."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType

import psutil

_MAIN = "from gfrnn.workflows.commands.main import main; main()"
_TIMEOUT = 240.0


@dataclass(frozen=True)
class EndedCommand:
    """A command that has ended.

    Attributes
    ----------
    code : int or None
        Exit code; None if it did not end in time and was killed.
    output : str
        What its processes have printed.
    """

    code: int | None
    output: str

    @property
    def has_traceback(self) -> bool:
        """Whether a traceback of Python was printed, or written to a file."""
        return "Traceback (most recent call last)" in self.output or (
            "error: unexpected " in self.output
        )

    @property
    def last_line(self) -> str:
        """The last line that was printed."""
        return (self.output.strip().splitlines() or [""])[-1]


class CommandProcess:
    """A running command, in a session of its own; all its processes are killed at the end.

    Parameters
    ----------
    arguments : sequence of str
        Arguments of ``gfrnn``.
    folder : Path
        Working folder.
    startup : Path
        Folder with a module ``sitecustomize``.
    environment : mapping of str to str, optional
        Environment variables to add.
    largest_file : int, optional
        Limit of the size of files that it writes, in bytes.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        folder: Path,
        startup: Path,
        environment: Mapping[str, str] | None = None,
        largest_file: int | None = None,
    ) -> None:
        path = os.pathsep.join(filter(None, [str(startup), os.environ.get("PYTHONPATH")]))
        added = {"PYTHONPATH": path, "COLUMNS": "200", **(environment or {})}
        self._output = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _MAIN, *arguments],
            cwd=folder,
            env={**os.environ, **added},
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=None if largest_file is None else partial(_limit_files, largest_file),
        )

    def __enter__(self) -> CommandProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._output.close()

    def disturb(self, moment: float, act: Callable[[psutil.Process], None]) -> None:
        """Call ``act`` with the process after some seconds, unless it has ended by then."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(moment)
        if self._process.poll() is None:
            with suppress(psutil.NoSuchProcess):
                act(psutil.Process(self._process.pid))

    def wait(self) -> EndedCommand:
        """Wait until the command ends."""
        code: int | None = None
        with suppress(subprocess.TimeoutExpired):
            code = self._process.wait(_TIMEOUT)
        self._output.seek(0)
        output = self._output.read()
        if code is None:
            output += f"\nit did not end within {_TIMEOUT:.0f} s"
        return EndedCommand(code, output)


def kill(process: psutil.Process) -> None:
    """Kill the process of a command, and with it the scheduler, which it contains."""
    process.kill()


def send_signal(number: int, process: psutil.Process) -> None:
    """Send a signal to the process of a command."""
    process.send_signal(number)


def kill_workers(count: int, process: psutil.Process) -> None:
    """Kill some of the worker processes of a command."""
    children = process.children(recursive=True)
    workers = [child for child in children if "spawn_main" in str(child.cmdline())]
    for worker in workers[:count]:
        worker.kill()


def _limit_files(size: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # an error of the write instead of a core dump
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
