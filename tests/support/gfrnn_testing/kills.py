"""Simulate kills: from some file operation on, nothing below a folder changes any more."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class Killed(BaseException):
    """The simulated kill; no handler of errors takes it for a failure."""


_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_TWO_PATHS = {"os.rename", "os.link", "os.symlink"}
_ONE_PATH = {"os.remove", "os.mkdir", "os.rmdir", "os.truncate"}


@dataclass
class _Kill:
    """A kill that is due; ``left`` operations are allowed before it.

    Attributes
    ----------
    folder : str
    left : int
    count : int
        Operations so far; removals that follow each other count as one, and so does all that is
        written under a temporary name.
    removing : bool
        Whether the last operation was a removal.
    """

    folder: str
    left: int
    count: int = 0
    removing: bool = False


_due: list[_Kill] = []
_hooked: list[bool] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _due:
        return
    if event == "open":
        paths = [arguments[0]] if arguments[2] & _WRITES else []
    elif event in _TWO_PATHS:
        paths = list(arguments[:2])
    elif event in _ONE_PATH:
        paths = [_absolute(arguments[0], arguments[-1])]
    else:
        return
    for kill in _due:
        inside = [path for path in map(str, paths) if path.startswith(kill.folder)]
        if not inside:
            continue
        removing = event in ("os.remove", "os.rmdir")
        aside = all(".partial/" in path for path in inside)
        if not aside and not (removing and kill.removing):
            kill.count += 1
        kill.removing = removing
        if kill.count > kill.left:
            raise Killed


def _absolute(path: Any, folder: Any) -> Any:
    """Return a path that may be relative to an open folder, as ``shutil.rmtree`` uses them."""
    if isinstance(folder, int) and folder >= 0 and not os.path.isabs(path):
        return os.path.join(os.readlink(f"/proc/self/fd/{folder}"), path)
    return path


@contextmanager
def killed_after(folder: Path, operations: int) -> Iterator[_Kill]:
    """Kill the block after some operations that change files below a folder.

    Nothing below the folder changes after that, so no handler of errors can clean up. The block
    ends without an error; ``count`` of what it yields is at most ``operations`` if there was no
    kill.
    """
    if not _hooked:
        sys.addaudithook(_hook)
        _hooked.append(True)
    kill = _Kill(str(folder.absolute()) + os.sep, operations)
    _due.append(kill)
    try:
        yield kill
    except Killed:
        pass
    except Exception as error:  # of another thread's kill, such as that of zarr
        if kill.count <= operations:
            raise error
    finally:
        _due.remove(kill)
