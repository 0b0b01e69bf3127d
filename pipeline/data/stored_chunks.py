"""Stored chunks behind a Dataset: how many a read decodes, and the memory that this takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from gfrnn.pipeline.data.canonical_array import ROWS_BYTES, LevelGroup, canonical_array
from gfrnn.pipeline.data.file_reading import DIMS, is_read_directly, stored_chunk_lengths

Array = NDArray[Any]

# While a chunk is decoded, it is in memory as stored, at worst hardly smaller, and decoded.
_COPIES = 2


@dataclass(frozen=True, eq=False)
class StoredChunks:
    """Chunks of levels of a variable that lie in the same files, all chunked like the first.

    Attributes
    ----------
    level_group : LevelGroup
    field_bytes : int
        Size of one time of the selected levels and cells as float32.
    chunk_bytes : int
        Size of a decoded chunk.
    chunks_per_time : int
        Chunks that hold one time of the selected levels and cells.
    file_times : int
        Times of the file in a chunk.
    concurrent : int
        Largest number of chunks that are decoded at the same time.
    copied : bool
        Whether values are converted or rearranged between the chunk and the result.
    """

    level_group: LevelGroup
    field_bytes: int
    chunk_bytes: int
    chunks_per_time: int
    file_times: int
    concurrent: int
    copied: bool

    @property
    def times(self) -> int:
        """Times of the Dataset in a chunk."""
        return max(1, self._stored_times // self._longest_window)

    @property
    def _stored_times(self) -> int:
        """Times of the ranges of files in a chunk."""
        return max(1, self.file_times // abs(self.level_group.time_ranges[0].times.step))

    @property
    def _longest_window(self) -> int:
        """Stored times that make one time of the Dataset."""
        windows = self.level_group.windows
        return 1 if windows is None else windows.longest

    def count(self, windows: Array) -> tuple[int, int]:
        """Count the chunks that reads of windows of time decode.

        Parameters
        ----------
        windows : ndarray of int, shape (reads, 2)
            First time, and last time plus one.

        Returns
        -------
        decoded, distinct : int
            All decoded chunks, and chunks that are different.
        """
        if not len(windows):
            return 0, 0
        along = self._chunk_of_times()
        made = self.level_group.windows
        if made is None:
            first, last = along[windows[:, 0]], along[windows[:, 1] - 1]
        else:
            first = along[made.begin(windows[:, 0])]
            last = along[made.stop[windows[:, 1] - 1] - 1]
        # Number of windows with a chunk: those that begin up to it less those that end before it.
        holding = np.zeros(along[-1] + 2, dtype=int)
        np.add.at(holding, first, 1)
        np.add.at(holding, last + 1, -1)
        distinct = int(np.count_nonzero(holding.cumsum()))
        return int((last - first + 1).sum()) * self.chunks_per_time, distinct * self.chunks_per_time

    def peak_bytes(self, times: int) -> int:
        """Return the peak memory of chunks while this number of times is read, in bytes."""
        stored = times * self._longest_window
        chunks = self.chunks_per_time * (-(-(stored - 1) // self._stored_times) + 1)
        return _COPIES * self.chunk_bytes * min(chunks, self.concurrent)

    def values_bytes(self, times: int) -> int:
        """Return the memory of values between chunks and result while times are read, in bytes."""
        if self.level_group.windows is None:
            # Values as read from the file, converted, and in order.
            return 3 * times * self.field_bytes if self.copied else 0
        # Stored values in three forms; the values of the windows, and a sum in float64.
        stored = times * self._longest_window
        together = max(self._stored_times, ROWS_BYTES // self.field_bytes, 1)
        return (3 * min(stored, together) + times + 6) * self.field_bytes

    def cut_at_chunks(self, windows: Array) -> list[tuple[int, int]]:
        """Cut windows of time where a chunk ends: first time, and last plus one, of each part."""
        along = self._chunk_of_times()
        if (made := self.level_group.windows) is not None:
            along = along[made.stop - 1]
        return [
            (int(first + part[0]), int(first + part[-1]) + 1)
            for first, last in windows
            for part in np.split(
                np.arange(last - first), np.flatnonzero(np.diff(along[first:last])) + 1
            )
        ]

    def _chunk_of_times(self) -> Array:
        """Return the number of the chunk along time of each stored time: shape (times,)."""
        parts: list[Array] = []
        number, before = 0, None
        for part in self.level_group.time_ranges:
            chunk = np.asarray(part.times) // self.file_times
            number += before not in (None, (part.file, chunk[0]))
            parts.append(number + np.cumsum(np.diff(chunk, prepend=chunk[0]) != 0))
            number, before = int(parts[-1][-1]), (part.file, chunk[-1])
        return np.concatenate(parts)


def stored_chunks(ds: xr.Dataset) -> list[StoredChunks]:
    """Return the stored chunks of a canonical Dataset, none for variables that come from no file.

    One file of each variable and level is opened; no values are read.
    """
    return [
        _chunks_of_group(group, ds.sizes["latitude"] * ds.sizes["longitude"])
        for array in ds.data_vars.values()
        if (data := canonical_array(array)) is not None
        for group in data.level_groups
    ]


def _chunks_of_group(group: LevelGroup, cells: int) -> StoredChunks:
    part = group.time_ranges[0]
    raw, grid = part.file.open()[part.variable].variable, part.grid
    chunks = stored_chunk_lengths(raw)
    picks = {"latitude": grid.latitude, "longitude": grid.longitude}
    if grid.level is not None:
        picks["level"] = grid.level
    per_time, size = 1, np.dtype(raw.encoding.get("dtype", raw.dtype)).itemsize
    canonical = {raw_dim: dim for dim, raw_dim in grid.dims.items()}
    for dim, length in zip(map(str, raw.dims), raw.shape, strict=True):
        # Without chunks a read takes the selected cells only.
        wanted = picks.get(canonical.get(dim, ""))
        plain = length if wanted is None else len(np.unique(wanted))
        plain = 1 if canonical.get(dim) == "time" else plain
        size *= chunks.get(dim, plain)
        if wanted is not None and dim in chunks:
            per_time *= len(np.unique(wanted // chunks[dim]))
        elif canonical.get(dim) not in DIMS:
            per_time *= -(-length // chunks.get(dim, length))
    return StoredChunks(
        level_group=group,
        field_bytes=4 * len(group.levels) * (cells if grid.weights is None else grid.cells_read),
        chunk_bytes=size,
        chunks_per_time=per_time,
        file_times=chunks.get(grid.dims.get("time", ""), 1),
        copied=group.windows is not None or not is_read_directly(part),
        concurrent=zarr.config.get("async.concurrency") if part.file.is_zarr else 1,
    )


@dataclass(frozen=True)
class ChunkReads:
    """Chunks that reads of all variables decode.

    Attributes
    ----------
    chunks, distinct : int
        All decoded chunks, and chunks that are different.
    decoded_bytes, distinct_bytes : int
    """

    chunks: int
    distinct: int
    decoded_bytes: int
    distinct_bytes: int

    @classmethod
    def count(cls, stored: list[StoredChunks], windows: Array) -> ChunkReads:
        """Sum :meth:`StoredChunks.count` over variables and levels."""
        counts = [each.count(windows) for each in stored]
        return cls(
            chunks=sum(chunks for chunks, _ in counts),
            distinct=sum(distinct for _, distinct in counts),
            decoded_bytes=sum(
                chunks * each.chunk_bytes for each, (chunks, _) in zip(stored, counts, strict=True)
            ),
            distinct_bytes=sum(
                chunks * each.chunk_bytes for each, (_, chunks) in zip(stored, counts, strict=True)
            ),
        )


def read_bytes(stored: list[StoredChunks], times: int) -> int:
    """Return the peak memory (bytes) of reading times of all variables, without the result."""
    if not stored:
        return 0
    # One variable is read at a time.
    values = max(each.values_bytes(times) for each in stored)
    # Chunks of the previous variable are in reference cycles until the garbage collection.
    chunks = sorted((each.peak_bytes(times) for each in stored), reverse=True)
    return values + chunks[0] + (chunks[1] if len(chunks) > 1 else chunks[0])
