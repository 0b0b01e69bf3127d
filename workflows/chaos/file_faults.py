"""Faults at file operations of a process, by an audit hook of Python.

:func:`write_startup` writes a ``sitecustomize`` module, which the interpreter imports when it
starts; every process of a command, workers too, then calls :func:`install`. The hook sees each file
operation below one folder that changes something, before it happens: files opened for writing,
renamed and removed, folders made and removed. It counts them, and from a given one on it kills the
process, or fails or delays the operation.
"""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

VARIABLE = "GFRNN_FILE_FAULT"
"""Environment variable that holds the fault as JSON."""

_CHANGES = {
    "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink",
}  # fmt: skip
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

_STARTUP = """\
from gfrnn.workflows.chaos.file_faults import install

install()
"""


@dataclass(frozen=True)
class FileFault:
    """A fault at file operations.

    Attributes
    ----------
    action : {"count", "kill", "error", "delay", "clock"}
        What happens: nothing but counting; SIGKILL to the process itself, once; an error of the
        operating system from this operation on; a delay from this operation on; or a jump of
        ``time.time``.
    folder : str
        Only operations on paths below this folder count.
    log : str
        Folder of the counts: a file for each process, with one byte for each operation.
    workers : bool
        Whether the fault happens in workers; otherwise in the process of the command.
    operation : int
        The first operation concerned, counted from 1 in each process.
    number : int
        Error number of the operating system.
    seconds : float
        Length of the delay or of the jump.
    """

    action: str
    folder: str
    log: str
    workers: bool = False
    operation: int = 1
    number: int = errno.ENOSPC
    seconds: float = 0.0

    def environment(self) -> dict[str, str]:
        """Return the environment variable that hands the fault to processes."""
        return {VARIABLE: json.dumps(asdict(self))}

    @property
    def fired(self) -> Path:
        """File that exists once the fault has happened."""
        return Path(self.log) / "fired"

    def counts(self) -> tuple[int, int]:
        """Return the operations of the command and the most of one worker."""
        sizes: dict[str, list[int]] = {"command": [0], "worker": [0]}
        for path in Path(self.log).glob("*-*"):
            sizes[path.name.split("-")[0]].append(path.stat().st_size)
        return max(sizes["command"]), max(sizes["worker"])


def write_startup(folder: Path) -> None:
    """Write the module ``sitecustomize`` into a folder for PYTHONPATH."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(_STARTUP, encoding="utf-8")


def install(environ: Mapping[str, str] = os.environ) -> None:
    """Install the fault that the environment names; do nothing if there is none."""
    if VARIABLE in environ:
        fault = FileFault(**json.loads(environ[VARIABLE]))
        hook = _Hook(fault)
        if fault.action == "clock":
            # Other modules keep references to the function, so that it is replaced before them.
            time.time = hook.time
        sys.addaudithook(hook)


class _Hook:
    """Audit hook that counts the operations of its process and causes the fault."""

    def __init__(self, fault: FileFault) -> None:
        self._fault = fault
        self._prefix = os.path.join(os.path.abspath(fault.folder), "")
        self._count = 0
        self._process = 0  # a forked process counts anew
        self._log = 0
        self._inside = False
        self._right_time = time.time
        self._jump = 0.0

    def time(self) -> float:
        """Return the time (s), with the jump of the clock if it has happened."""
        return self._right_time() + self._jump

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._inside or not self._concerns(event, arguments):
            return
        self._inside = True  # the hook opens files itself
        try:
            self._note()
            self._act(str(arguments[0]))
        finally:
            self._inside = False

    def _concerns(self, event: str, arguments: tuple[Any, ...]) -> bool:
        if event == "open":
            if not isinstance(arguments[2], int) or not arguments[2] & _WRITING:
                return False
        elif event not in _CHANGES:
            return False
        path = arguments[0]
        if not isinstance(path, str | bytes | os.PathLike):
            return False
        return os.path.abspath(os.fsdecode(path)).startswith(self._prefix)

    def _note(self) -> None:
        if self._process != os.getpid():
            self._count, self._process = 0, os.getpid()
            kind = "worker" if _is_worker() else "command"
            path = os.path.join(self._fault.log, f"{kind}-{os.getpid()}")
            self._log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(self._log, b".")
        self._count += 1

    def _act(self, path: str) -> None:
        fault = self._fault
        if self._count < fault.operation or _is_worker() != fault.workers:
            return
        first = _create(fault.fired)
        if fault.action == "kill" and first:
            os.kill(os.getpid(), signal.SIGKILL)
        elif fault.action == "error":
            raise OSError(fault.number, os.strerror(fault.number), path)
        elif fault.action == "delay":
            time.sleep(fault.seconds)
        elif fault.action == "clock" and first:
            self._jump = fault.seconds


def _is_worker() -> bool:
    return multiprocessing.parent_process() is not None


def _create(path: Path) -> bool:
    """Create a file; return whether it did not exist."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True
