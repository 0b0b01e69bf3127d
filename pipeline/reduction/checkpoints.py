"""Checkpoints: summaries on disk, each under a key of all that determines its content."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.storage import new_file

_LOGGER = logging.getLogger(__name__)

Arrays = dict[str, NDArray[Any]]
"""Arrays of a summary by name."""

_SUFFIX = ".npz"
_DIGESTS = "sha256"
"""Name of the array in a file that holds the digests of all others, as JSON."""
_KINDS = "biufc"
"""Kinds of types that are saved: truth values and numbers."""


def content_key(*parts: Any) -> str:
    """Return a short hash of values that JSON can represent."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


class Checkpoints:
    """A folder of summaries, each a file under a key of all that determines its content.

    A summary is one uncompressed ``.npz`` file, as :func:`numpy.savez` writes it, as parallel file
    systems of clusters are slow with many small files. It also holds the digest of each array: the
    checksums of the format do not cover all of a file.

    Parameters
    ----------
    path : Path
        The folder, ``summaries.zarr`` in a run's folder. Only the driver writes it.
    every : float
        Seconds of work that a block of a fold must be worth to be saved while the fold is being
        computed. A killed run loses up to twice as much.
    """

    def __init__(self, path: Path, every: float = 30.0) -> None:
        self.path = path
        self.every = every

    def load(self, name: str, key: str) -> Arrays | None:
        """Return the arrays saved under a key, or None where they are missing or damaged.

        What is damaged or cannot be read is logged, as ``--verbose`` shows.
        """
        file = self._file(name, key)
        try:
            return _read(file)
        except FileNotFoundError:
            return None
        except MemoryError:
            raise
        except Exception as error:  # damage of any kind, in which libraries raise any error
            problem = str(error) or type(error).__name__
            _LOGGER.info("the checkpoint %s is not used (%s)", file, problem)
            return None

    def save(self, name: str, key: str, arrays: Arrays) -> None:
        """Save arrays; they appear under their name only when they are complete.

        Raises
        ------
        TypeError
            If an array is not one of numbers or truth values.
        """
        file = self._file(name, key)
        ordered: dict[str, Any] = {n: np.asarray(v, order="C") for n, v in arrays.items()}
        for array, values in ordered.items():
            if values.dtype.kind not in _KINDS:
                raise TypeError(f"the array {array} has the type {values.dtype}, expected numbers")
        file.parent.mkdir(parents=True, exist_ok=True)
        digests = json.dumps({array: content_digest(v) for array, v in ordered.items()})
        ordered[_DIGESTS] = np.frombuffer(digests.encode(), dtype=np.uint8)
        with new_file(file) as opened:
            np.savez(opened, **ordered)
        _LOGGER.debug("checkpoint %s", file)

    def keys(self, name: str) -> list[str]:
        """Return the keys under which something is saved."""
        try:
            files = os.listdir(self.path / name)
        except FileNotFoundError:
            return []
        return sorted(file.removesuffix(_SUFFIX) for file in files if file.endswith(_SUFFIX))

    def remove(self, name: str, key: str | None = None) -> None:
        """Remove the checkpoint of one key, or all those of a name."""
        if key is None:
            shutil.rmtree(self.path / name, ignore_errors=True)
        else:
            with suppress(OSError):  # it may stay, as other data have another key
                self._file(name, key).unlink()

    def clear(self) -> None:
        """Remove all checkpoints."""
        shutil.rmtree(self.path, ignore_errors=True)

    def keep_only(self, kept: Iterable[tuple[str, str]]) -> None:
        """Remove all checkpoints except those of the given names and keys.

        Only what looks like a checkpoint, or like one that was not finished, is removed.
        """
        files = {self._file(name, key) for name, key in kept}
        for place in self.path.glob("*/*"):
            linked = any(each.is_symlink() for each in (self.path, place.parent, place))
            if linked or place in files:
                continue
            if place.name.endswith(".blocks") and place.is_dir():
                shutil.rmtree(place)
            elif place.name.endswith((_SUFFIX, f"{_SUFFIX}.partial")) and place.is_file():
                place.unlink()

    def _file(self, name: str, key: str) -> Path:
        return self.path / name / f"{key}{_SUFFIX}"


def _read(file: Path) -> Arrays:
    """Return the arrays of a file, which may be damaged, or anybody's.

    Raises
    ------
    OSError, ValueError, KeyError, zipfile.BadZipFile
        If it cannot be read, is damaged, or something that :meth:`Checkpoints.save` does not write.
        Libraries raise errors of other classes too.
    MemoryError
    """
    if file.is_symlink():
        raise ValueError("it is a link")
    # Pickled objects could run code.
    with file.open("rb") as opened, np.load(opened, allow_pickle=False) as stored:
        # Else a small file, compressed or with parts that overlap, could need any amount of memory.
        parts = stored.zip.infolist()
        if sum(part.file_size for part in parts) > file.stat().st_size:
            raise ValueError("its arrays are larger than the file")
        for part in parts:
            with stored.zip.open(part) as array_file:
                _check_header(array_file, part.file_size)
        digests = json.loads(stored[_DIGESTS].tobytes())
        arrays = {array: stored[array] for array in digests}
    for array, values in arrays.items():
        if values.dtype.kind not in _KINDS or content_digest(values) != digests[array]:
            raise ValueError(f"the array {array} has changed since it was written")
    return arrays


def _check_header(array_file: IO[bytes], size: int) -> None:
    """Check that an array in the format ``.npy`` has as many bytes as its header states."""
    if np.lib.format.read_magic(array_file) != (1, 0):
        raise ValueError("it has arrays of another version of the format")
    shape, _, dtype = np.lib.format.read_array_header_1_0(array_file)
    if array_file.tell() + math.prod(shape) * dtype.itemsize != size:
        raise ValueError("an array has other bytes than its header states")


def content_digest(values: NDArray[Any]) -> str:
    """Return the SHA-256 (hex) of type, shape and values of an array."""
    digest = hashlib.sha256(f"{values.dtype.str} {values.shape} ".encode())
    digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()
