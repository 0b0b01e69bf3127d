"""Checkpoints: summaries on disk, each under a key of all that determines its content."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.storage import new_file

_LOGGER = logging.getLogger(__name__)

Arrays = dict[str, NDArray[Any]]
"""Arrays of a summary by name."""


def content_key(*parts: Any) -> str:
    """Return a short hash of values that JSON can represent."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


_SUFFIX = ".npz"


class Checkpoints:
    """A folder of summaries, each a file under a key of all that determines its content.

    A summary is one uncompressed ``.npz`` file, as :func:`numpy.savez` writes it. Parallel file
    systems of clusters are slow with many small files, and the format has a checksum of each array,
    so that damage is found when the file is read.

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
            if file.is_symlink():
                raise ValueError("it is a link")
            # The file may be anybody's: pickles would run code, and little that is compressed can
            # fill the memory.
            with file.open("rb") as opened, np.load(opened, allow_pickle=False) as stored:
                if any(each.compress_type != zipfile.ZIP_STORED for each in stored.zip.infolist()):
                    raise ValueError("it is compressed")
                return {array: stored[array] for array in stored.files}
        except FileNotFoundError:
            return None
        except Exception as error:  # damage of any kind, in which libraries raise any error
            problem = str(error) or type(error).__name__
            _LOGGER.info("the checkpoint %s is not used, as it is damaged (%s)", file, problem)
            return None

    def save(self, name: str, key: str, arrays: Arrays) -> None:
        """Save arrays; they appear under their name only when they are complete."""
        file = self._file(name, key)
        file.parent.mkdir(parents=True, exist_ok=True)
        ordered: dict[str, Any] = {n: np.asarray(v, order="C") for n, v in arrays.items()}
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
            self._file(name, key).unlink(missing_ok=True)

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


def content_digest(values: NDArray[Any]) -> str:
    """Return the SHA-256 (hex) of type, shape and values of an array."""
    digest = hashlib.sha256(f"{values.dtype.str} {values.shape} ".encode())
    digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()
