"""Helpers to write files and zarr stores completely or not at all, and to read arrays."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import zarr
from numpy.typing import NDArray

from gfrnn.pipeline.errors import RunError


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Let ``write`` create a folder under a temporary name, and rename it when it is complete.

    A reader never sees an incomplete folder, and an earlier folder stays until then. A process that
    is killed between the two renames leaves none under the name; :func:`recover` mends that.

    Raises
    ------
    RunError
        If one of these names is a link.
    """
    refuse_links(path, *_aside(path))
    recover(path)
    partial, old = _aside(path)
    partial.parent.mkdir(parents=True, exist_ok=True)
    write(partial)
    if path.exists():
        path.rename(old)
        partial.rename(path)
        shutil.rmtree(old)
    else:
        partial.rename(path)


def check_writable(folder: Path, option: str = "--output") -> None:
    """Check, before any work, that a folder can be made or is one to write into.

    Raises
    ------
    RunError
        If something on the way to it is no folder, or may not be written.
    """
    folder = folder.absolute()
    # Path.exists raises an error below a folder that may not be entered.
    there = next(path for path in (folder, *folder.parents) if os.path.exists(path))
    if there == folder and not folder.is_dir():
        raise RunError(f"{folder}: is a file; give {option} the name of a folder")
    if not there.is_dir():
        raise RunError(
            f"{folder}: cannot be created, as {there} is not a folder; choose another {option}"
        )
    try:  # permissions do not tell of file systems that refuse files, such as /proc
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise RunError(
            f"{folder}: cannot be created or written, as {there} is not writable "
            f"({error.strerror}); choose another {option}"
        ) from None


def check_writable_file(file: Path, option: str = "--output") -> None:
    """Check, before any work, that a file can be written.

    Raises
    ------
    RunError
        If it is a folder, or its folder cannot be made or written.
    """
    if file.is_dir():
        raise RunError(f"{file}: is a folder; give {option} the name of a file")
    if os.path.exists(file.parent) and not file.parent.is_dir():
        raise RunError(
            f"{file}: cannot be created, as {file.parent} is not a folder; choose another {option}"
        )
    check_writable(file.parent, option)


def recover(path: Path) -> None:
    """Finish or undo a :func:`write_whole` that was interrupted; no process may be in it now."""
    partial, old = _aside(path)
    # The new folder is complete before the earlier one is renamed.
    if old.exists() and partial.exists() and not path.exists():
        partial.rename(path)
    elif old.exists() and not path.exists():  # somebody has removed the new folder
        old.rename(path)
    for leftover in (partial, old):
        shutil.rmtree(leftover, ignore_errors=True)


def interrupted(path: Path) -> bool:
    """Check whether a :func:`write_whole` was interrupted, or is at work."""
    return any(each.exists() for each in _aside(path))


def _aside(path: Path) -> tuple[Path, Path]:
    """Return the temporary names of the new folder and of the earlier one."""
    return path.with_name(path.name + ".partial"), path.with_name(path.name + ".old")


def refuse_links(*paths: Path) -> None:
    """Refuse symbolic links: what they lead to would be written or deleted.

    Raises
    ------
    RunError
        If a path is a link.
    """
    for path in paths:
        if path.is_symlink():
            raise RunError(
                f"{path}: is a link to {os.readlink(path)}, which a run's folder may not have "
                "inside, as what it leads to would be written or deleted; remove the link"
            )


def remove_partial_files(store: Path) -> None:
    """Remove files that a killed process has left half written in a zarr store.

    Zarr writes each file under a temporary name that ends with ``.partial``. The caller makes sure
    that no process is writing, except for workers that Dask has given up.
    """
    for path in store.rglob("*.partial"):
        path.unlink(missing_ok=True)


def remove_store(store: Path) -> None:
    """Remove a zarr store, if there is one.

    The metadata of its root go first: what is left by a process that is killed here counts as no
    store, instead of one with missing chunks, which read as fill values.
    """
    (store / "zarr.json").unlink(missing_ok=True)
    shutil.rmtree(store, ignore_errors=True)  # files that stay are overwritten with the next store


def stored_files(folder: Path) -> list[str]:
    """Return the sorted paths of all files in a folder, relative to it.

    Files that are half written, as :func:`remove_partial_files` removes them, are left out.
    """
    files: list[str] = []
    for place, _, names in os.walk(folder):
        within = place[len(os.fspath(folder)) + 1 :]
        files += [os.path.join(within, name) for name in names if not name.endswith(".partial")]
    return sorted(files)


@contextmanager
def new_file(path: Path, *, private: bool = False) -> Iterator[BinaryIO]:
    """Open a file to write; it appears under its name when the block ends without an error.

    A private file can be read by its owner only, at all times. One process at a time may write a
    file of this name.

    Raises
    ------
    RunError
        If its temporary name is a link.
    """
    partial = path.with_name(path.name + ".partial")
    refuse_links(partial)
    partial.unlink(missing_ok=True)  # that of a killed process may have another mode
    mode = 0o600 if private else 0o666
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with open(descriptor, "wb") as file:
            yield file
            file.flush()
            # Else a crash of the machine may leave an empty file of this name.
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):  # such as that of a full disk, which is raised already
            partial.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str, *, private: bool = False) -> None:
    """Write a file atomically, as :func:`new_file` does."""
    with new_file(path, private=private) as file:
        file.write(text.encode())


def consolidate(path: Path) -> None:
    """Consolidate the metadata of a zarr store, so that opening it takes one read."""
    with warnings.catch_warnings():
        # Xarray reads consolidated metadata of zarr format 3, although they are not yet part of its
        # specification; the metadata of each array stay beside them.
        warnings.filterwarnings("ignore", message="Consolidated metadata", category=UserWarning)
        zarr.consolidate_metadata(path)


def array_in(group: zarr.Group, name: str) -> zarr.Array:
    """Return an array of a group.

    Raises
    ------
    KeyError
        If the group has no array of this name.
    """
    found = group[name]
    if not isinstance(found, zarr.Array):
        raise KeyError(f"{name} in {group.store_path}: found a group, expected an array")
    return found


def string_array(words: Iterable[Any]) -> NDArray[Any]:
    """Return strings of variable length, as zarr 3 does not specify strings of fixed length."""
    return np.array([str(word) for word in words], dtype=np.dtypes.StringDType())
