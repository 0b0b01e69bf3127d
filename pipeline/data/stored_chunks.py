"""How fields lie in their files: which chunks a read decodes, and what that takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from gfrnn.pipeline.data.canonical_array import DIMS, LevelGroup, canonical_array, chunks_of

Array = NDArray[Any]

# A chunk is there twice while it is decoded: as stored, hardly smaller at worst, and decoded.
_COPIES = 2


@dataclass(frozen=True, eq=False)
class Stored:
    """Levels of a variable that lie together in files, which are taken to be alike.

    Attributes
    ----------
    layer : LevelGroup
    field_bytes : int
        One time of the wanted levels and cells, as it is read.
    chunk_bytes : int
        One chunk, decoded.
    across : int
        Chunks beside each other that hold one time of the wanted levels and cells.
    rows : int
        Times of a file in a chunk.
    at_once : int
        Chunks that are decoded at the same time, at most.
    """

    layer: LevelGroup
    field_bytes: int
    chunk_bytes: int
    across: int
    rows: int
    at_once: int

    @property
    def times(self) -> int:
        """Times of the data in a chunk."""
        return max(1, self.rows // abs(self.layer.pieces[0].times.step))

    def decoded(self, windows: Array) -> tuple[int, int]:
        """Chunks that reads of windows of time decode.

        Parameters
        ----------
        windows : ndarray of int, shape (reads, 2)
            First time, and the one after the last.

        Returns
        -------
        decoded, different : int
            Each as often as it is decoded; each once.
        """
        if not len(windows):
            return 0, 0
        along = self._along()
        first, last = along[windows[:, 0]], along[windows[:, 1] - 1]
        # How many windows hold a chunk: those that begin up to there, less those that have ended.
        holding = np.zeros(along[-1] + 2, dtype=int)
        np.add.at(holding, first, 1)
        np.add.at(holding, last + 1, -1)
        different = int(np.count_nonzero(holding.cumsum()))
        return int((last - first + 1).sum()) * self.across, different * self.across

    def held(self, times: int) -> int:
        """Bytes of the chunks that are in memory at once while so many times are read."""
        chunks = self.across * (-(-(times - 1) // self.times) + 1)
        return _COPIES * self.chunk_bytes * min(chunks, self.at_once)

    def _along(self) -> Array:
        """Which chunk along time holds each time, counted from 0: shape (times,)."""
        parts: list[Array] = []
        number, before = 0, None
        for piece in self.layer.pieces:
            chunk = np.asarray(piece.times) // self.rows
            number += before not in (None, (piece.file, chunk[0]))
            parts.append(number + np.cumsum(np.diff(chunk, prepend=chunk[0]) != 0))
            number, before = int(parts[-1][-1]), (piece.file, chunk[-1])
        return np.concatenate(parts)


def stored_in(ds: xr.Dataset) -> list[Stored]:
    """How the variables of a canonical Dataset lie in files; nothing for values in memory.

    One file of each is opened, and no values are read.
    """
    return [
        _stored(layer, ds.sizes["latitude"] * ds.sizes["longitude"])
        for array in ds.data_vars.values()
        if (data := canonical_array(array)) is not None
        for layer in data.layers
    ]


def _stored(layer: LevelGroup, cells: int) -> Stored:
    piece = layer.pieces[0]
    raw, grid = piece.file.open()[piece.variable].variable, piece.grid
    chunks = chunks_of(raw)
    picks = {"latitude": grid.latitude, "longitude": grid.longitude}
    if grid.level is not None:
        picks["level"] = grid.level
    across, size = 1, np.dtype(raw.encoding.get("dtype", raw.dtype)).itemsize
    canonical = {raw_dim: dim for dim, raw_dim in grid.dims.items()}
    for dim, length in zip(map(str, raw.dims), raw.shape, strict=True):
        # Where there are no chunks, a read takes what it wants.
        wanted = picks.get(canonical.get(dim, ""))
        plain = 1 if canonical.get(dim) == "time" else length if wanted is None else len(wanted)
        size *= chunks.get(dim, plain)
        if wanted is not None and dim in chunks:
            across *= len(np.unique(wanted // chunks[dim]))
        elif canonical.get(dim) not in DIMS:
            across *= -(-length // chunks.get(dim, length))
    return Stored(
        layer=layer,
        field_bytes=4 * len(layer.levels) * cells,
        chunk_bytes=size,
        across=across,
        rows=chunks.get(grid.dims["time"], 1),
        at_once=zarr.config.get("async.concurrency") if piece.file.engine == "zarr" else 1,
    )


@dataclass(frozen=True)
class Reads:
    """What reads of all variables decode.

    Attributes
    ----------
    chunks, different : int
        Each as often as it is decoded; each once.
    decoded_bytes : int
    """

    chunks: int
    different: int
    decoded_bytes: int

    @classmethod
    def of(cls, stored: list[Stored], windows: Array) -> Reads:
        """Of reads as :meth:`Stored.decoded` has them."""
        counts = [each.decoded(windows) for each in stored]
        return cls(
            chunks=sum(chunks for chunks, _ in counts),
            different=sum(different for _, different in counts),
            decoded_bytes=sum(
                chunks * each.chunk_bytes for each, (chunks, _) in zip(stored, counts, strict=True)
            ),
        )


def read_bytes(stored: list[Stored], times: int) -> int:
    """Peak memory of reading so many times of all variables, beside what comes of it."""
    if not stored:
        return 0
    # The values as read from file, put together, and turned; of one variable after the other.
    values = 3 * times * max(each.field_bytes for each in stored)
    # Chunks of the variable before stay in reference cycles until Python looks for these.
    chunks = sorted((each.held(times) for each in stored), reverse=True)
    return values + chunks[0] + (chunks[1] if len(chunks) > 1 else chunks[0])
