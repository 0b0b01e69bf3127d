"""Indices of GRIB files, kept in the user's cache, so that each file is indexed once.

An index is a file of numpy arrays and JSON: nothing in it is run, and a damaged one is made again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import json
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from gfrnn.pipeline.data.files.grib_index import FieldKind, GribVariable, index_file

FEWEST = 1000
"""Number of messages from which on an index is kept; fewer are read in less than a second."""

_FORM = 1  # changes where the content of the files does
_UNREADABLE = (
    OSError, ValueError, KeyError, TypeError, EOFError, NotImplementedError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""Errors of an index that is damaged, of another file, or not there."""
_ARRAYS = ("times", "members", "levels", "offsets", "lengths")


@functools.lru_cache(maxsize=64)
def grib_variables(path: str, stamp: tuple[int | str, ...]) -> dict[str, GribVariable]:
    """Return the variables of a GRIB file by name, from its kept index or its messages.

    Parameters
    ----------
    path : str
    stamp : tuple
        Size and modification time of the file: a rewritten file is indexed again.

    Raises
    ------
    DataError
        See :func:`index_file`.
    """
    kept = _kept_index(path)
    with contextlib.suppress(*_UNREADABLE):
        return _read(kept.read_bytes(), _key(path, stamp))
    found = index_file(path)
    if sum(variable.lengths.size for variable in found.values()) >= FEWEST:
        with contextlib.suppress(OSError):  # a full or read-only disk
            _write(kept, _content(found, _key(path, stamp)))
    return found


def _kept_index(path: str) -> Path:
    """Return the place of the index of a file: below ``$XDG_CACHE_HOME``, or ``~/.cache``.

    The index of a file that has changed takes the place of the earlier one.
    """
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    digest = hashlib.sha256(_key(path, ()).encode()).hexdigest()
    return Path(home) / "gfrnn" / "grib" / f"{digest}.npz"


def _key(path: str, stamp: tuple[int | str, ...]) -> str:
    return json.dumps([_FORM, path, *stamp])


def _content(variables: dict[str, GribVariable], key: str) -> bytes:
    described = [
        [each.name, *each.kind, each.description, each.problem] for each in variables.values()
    ]
    arrays: dict[str, Any] = {
        f"{number}_{name}": getattr(each, name)
        for number, each in enumerate(variables.values())
        for name in _ARRAYS
    }
    stream = io.BytesIO()
    np.savez_compressed(stream, described=np.array(json.dumps([key, described])), **arrays)
    return stream.getvalue()


def _read(content: bytes, key: str) -> dict[str, GribVariable]:
    """Return the variables of a kept index.

    Raises
    ------
    ValueError
        If it is that of another file; one of ``_UNREADABLE`` if it is damaged.
    """
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        found, described = json.loads(str(arrays["described"]))
        if found != key:
            raise ValueError("the index of another file")
        variables = {}
        for number, (name, *kind, description, problem) in enumerate(described):
            values = {each: arrays[f"{number}_{each}"] for each in _ARRAYS}
            variables[name] = GribVariable(
                name, FieldKind(*kind), description, **values, problem=problem
            )
        return variables


def _write(path: Path, content: bytes) -> None:
    """Write a file for its owner only, completely or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
