"""Small habits of writing to disk that every store of a run follows."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zarr


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Let ``write`` make a folder under another name, and give it its name when it is whole.

    A reader never sees half of it, and what was there before stays until then.
    """
    partial = path.with_name(path.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    write(partial)
    if path.exists():
        old = path.with_name(path.name + ".old")
        shutil.rmtree(old, ignore_errors=True)
        path.rename(old)
        partial.rename(path)
        shutil.rmtree(old)
    else:
        partial.rename(path)


def write_text(path: Path, text: str) -> None:
    """Write a file at once or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def consolidate(path: Path) -> None:
    """Consolidate the metadata of a zarr store, so that opening it takes one read."""
    with warnings.catch_warnings():
        # Tools of this field read consolidated metadata from format 3 although its
        # specification is not final; the plain metadata stay beside it.
        warnings.filterwarnings("ignore", message="Consolidated metadata", category=UserWarning)
        zarr.consolidate_metadata(path)


def array_in(group: zarr.Group, name: str) -> zarr.Array:
    """An array of a group.

    Raises
    ------
    KeyError
        If there is none of this name.
    """
    found = group[name]
    if not isinstance(found, zarr.Array):
        raise KeyError(f"{name} in {group.store_path} is a group, not an array")
    return found
