"""Checkpoints: summaries on disk, each under a key of all that determines its content."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from gfrnn.pipeline.storage import array_in, write_whole
from gfrnn.pipeline.untrusted_store import check_store

_LOGGER = logging.getLogger(__name__)

Arrays = dict[str, NDArray[Any]]
"""Arrays of a summary by name."""


def content_key(*parts: Any) -> str:
    """Return a short hash of values that JSON can represent."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


class Checkpoints:
    """A store of summaries on disk, each under a key of all that determines its content.

    Parameters
    ----------
    path : Path
        The zarr store, ``summaries.zarr`` in a run's folder. Only the driver writes it.
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
        place = self._place(name, key)
        if not (place / "zarr.json").exists():
            return None
        try:
            check_store(place)  # it may be anybody's
            group = zarr.open_group(place, mode="r", zarr_format=3, use_consolidated=False)
            attrs: dict[str, Any] = dict(group.attrs)
            hashes = attrs["sha256"]
            arrays = {array: np.asarray(array_in(group, array)[...]) for array in hashes}
        except Exception as error:  # damage of any kind, in which libraries raise any error
            _log_damage(place, f"cannot be read: {str(error) or type(error).__name__}")
            return None
        # Zarr reads a missing chunk as zeros without an error, so the hashes are compared.
        for array in hashes:
            if content_digest(arrays[array]) != hashes[array]:
                _log_damage(place, f"the array {array} has changed since it was written")
                return None
        return arrays

    def save(self, name: str, key: str, arrays: Arrays) -> None:
        """Save arrays; they appear under their name only when they are complete."""

        def write(path: Path) -> None:
            group = zarr.create_group(path)
            for array, values in arrays.items():
                # The last digits are random, so that compression takes time and saves little.
                group.create_array(array, data=np.asarray(values), compressors=None)
            group.attrs["sha256"] = {
                array: content_digest(values) for array, values in arrays.items()
            }

        write_whole(self._place(name, key), write)
        _LOGGER.debug("checkpoint %s", self._place(name, key))

    def keys(self, name: str) -> list[str]:
        """Return the keys under which something may be saved."""
        try:
            return sorted(os.listdir(self.path / name))
        except FileNotFoundError:
            return []

    def remove(self, name: str, key: str = "") -> None:
        """Remove the checkpoint of one key, or all those of a name."""
        shutil.rmtree(self._place(name, key), ignore_errors=True)

    def clear(self) -> None:
        """Remove all checkpoints."""
        shutil.rmtree(self.path, ignore_errors=True)

    def keep_only(self, kept: Iterable[tuple[str, str]]) -> None:
        """Remove all checkpoints except those of the given names and keys.

        Only what looks like a checkpoint is removed: a zarr store, or one that was not finished.
        """
        places = {self._place(name, key) for name, key in kept}
        for place in self.path.glob("*/*"):
            ours = (place / "zarr.json").exists() or place.name.endswith((".partial", ".blocks"))
            linked = any(each.is_symlink() for each in (self.path, place.parent, place))
            if ours and not linked and place not in places:
                shutil.rmtree(place)

    def _place(self, name: str, key: str) -> Path:
        return self.path / name / key


def content_digest(values: NDArray[Any]) -> str:
    """Return the SHA-256 (hex) of type, shape and values of an array."""
    digest = hashlib.sha256(f"{values.dtype.str} {values.shape} ".encode())
    digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


def _log_damage(place: Path, problem: str) -> None:
    _LOGGER.info("the checkpoint %s is not used (%s)", place, problem)
