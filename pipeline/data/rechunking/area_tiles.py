"""Tiles of a file's grid that hold whole stored chunks, as many as one task may decode."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from gfrnn.pipeline.data.canonical_array import CanonicalArray
from gfrnn.pipeline.data.file_reading import DIMS, IndexMap, stored_chunk_lengths
from gfrnn.pipeline.data.stored_chunks import StoredChunks

Array = NDArray[Any]

# Bytes of values that a task holds: the more, the larger are the chunks of the copy.
_TASK_BYTES = 256 * 2**20


@dataclass(frozen=True, eq=False)
class AreaTiles:
    """Division of the levels and cells of a level group into tiles, in the order of the file.

    Attributes
    ----------
    stored : StoredChunks
        Chunks of the file.
    times : int
        Largest number of times of a stored chunk that are copied.
    """

    stored: StoredChunks
    times: int

    @cached_property
    def _chunks(self) -> tuple[int, ...]:
        """Length of a stored chunk along level, latitude and longitude; all levels if several."""
        part = self.stored.level_group.time_ranges[0]
        chunks = stored_chunk_lengths(part.file.open()[part.variable].variable)
        level, *area = (chunks.get(part.grid.dims.get(dim, ""), 1) for dim in DIMS[1:])
        return (1 if level == 1 else len(self.stored.level_group.levels), *area)

    @cached_property
    def _positions(self) -> tuple[Array, ...]:
        """Positions in the copy of the levels of the group, of latitudes and of longitudes.

        The copy has the order of the file, without levels that are left out, and begins where a
        stored chunk begins.
        """
        grid = self.stored.level_group.time_ranges[0].grid
        level = np.zeros(1, int) if grid.level is None else np.argsort(np.argsort(grid.level))
        starts = [
            int(index.min()) // chunk * chunk
            for index, chunk in zip((grid.latitude, grid.longitude), self._chunks[1:], strict=True)
        ]
        return level, grid.latitude - starts[0], grid.longitude - starts[1]

    @property
    def shape(self) -> tuple[int, ...]:
        """Levels, latitudes and longitudes of the copy."""
        return tuple(int(index.max()) + 1 for index in self._positions)

    @cached_property
    def tile_shape(self) -> tuple[int, ...]:
        """Levels, latitudes and longitudes of a tile, which is one chunk of the copy."""
        sizes = [min(chunk, n) for chunk, n in zip(self._chunks, self.shape, strict=True)]
        fitting = max(1, _TASK_BYTES // (4 * self.times * int(np.prod(sizes))))
        for axis in (2, 1, 0):  # neighbours eastwards first
            together = min(fitting, -(-self.shape[axis] // sizes[axis]))
            sizes[axis] = min(sizes[axis] * together, self.shape[axis])
            fitting //= together
        return tuple(sizes)

    def index_map(self, dims: dict[str, str]) -> IndexMap:
        """Return the positions of canonical coordinates in a copy with some names of dimensions."""
        level, latitude, longitude = self._positions
        return IndexMap(dims, latitude, longitude, level)

    @property
    def is_regular(self) -> bool:
        """Whether positions in the copy are evenly spaced, so that views of it have the values."""
        return all(len(set(np.diff(index).tolist())) < 2 for index in self._positions)

    @cached_property
    def tiles(self) -> list[tuple[int, ...]]:
        """Numbers along level, latitude and longitude of each tile that has values."""
        along = [
            np.unique(index // size)
            for index, size in zip(self._positions, self.tile_shape, strict=True)
        ]
        return [tuple(map(int, tile)) for tile in np.stack(np.meshgrid(*along), -1).reshape(-1, 3)]

    def chunk_bytes(self, length: int) -> int:
        """Return the size of a chunk of the copy of a number of times."""
        return 4 * length * int(np.prod(self.tile_shape))

    def bytes_of(self, times: int) -> int:
        """Return the size of a number of times of the copy."""
        return 4 * times * int(np.prod(self.tile_shape)) * len(self.tiles)

    def task_bytes(self, length: int) -> int:
        """Return the peak memory of copying a tile to chunks of a number of times."""
        sizes = zip(self.tile_shape, self._chunks, strict=True)
        chunks = int(np.prod([-(-size // chunk) for size, chunk in sizes]))
        chunks *= -(-self._times_together // self.times)
        values = self.chunk_bytes(self._times_together)
        if not self.is_regular or self.stored.copied:
            values *= 4
        written = min(values, zarr.config.get("async.concurrency") * self.chunk_bytes(length))
        # Stored chunks are encoded and decoded in memory, as are those of the copy.
        decoded = 2 * self.stored.chunk_bytes * min(chunks, self.stored.concurrent)
        return values + max(decoded, 2 * written)

    @cached_property
    def _times_together(self) -> int:
        """Largest number of times of a tile that a task holds: those of a stored chunk at least."""
        return max(self.times, _TASK_BYTES // self.chunk_bytes(1))

    def _reads(self, windows: Array) -> list[tuple[int, int]]:
        """Cut windows of time into reads of whole stored chunks, as many as are held together.

        Each write encodes the chunks of the copy that it touches anew, so that writing one stored
        chunk of few times after the other would take many times as long.
        """
        reads: list[tuple[int, int]] = []
        for first, last in self.stored.cut_at_chunks(windows):
            if reads and first == reads[-1][1] and last - reads[-1][0] <= self._times_together:
                first = reads.pop()[0]
            reads.append((first, last))
        return reads

    def copy(self, tile: tuple[int, ...], windows: Array, target: zarr.Array) -> None:
        """Write the values of a tile at some windows of time, with each stored chunk decoded once.

        Parameters
        ----------
        windows : ndarray of int, shape (runs, 2)
            First time, and last plus one, of each run.
        target : zarr.Array
            Array of the copy: shape (times, levels, latitudes, longitudes).
        """
        firsts = [number * size for number, size in zip(tile, self.tile_shape, strict=True)]
        ends = [
            min(first + size, n)
            for first, size, n in zip(firsts, self.tile_shape, self.shape, strict=True)
        ]
        inside = []  # canonical positions in the order of the copy
        for index, first, end in zip(self._positions, firsts, ends, strict=True):
            found = np.flatnonzero((index >= first) & (index < end))
            inside.append(found[np.argsort(index[found])])
        places = [
            index[found] - first
            for index, found, first in zip(self._positions, inside, firsts, strict=True)
        ]
        levels = np.array(self.stored.level_group.levels)[inside[0]]
        shape = (target.shape[0], int(levels.max()) + 1, *map(len, self._positions[1:]))
        source = CanonicalArray(shape, (self.stored.level_group,))
        area = tuple(slice(first, end) for first, end in zip(firsts, ends, strict=True))
        whole = all(
            len(found) == end - first
            for found, first, end in zip(inside, firsts, ends, strict=True)
        )
        for first, last in self._reads(windows):
            read = np.empty((last - first, *map(len, inside)), np.float32)
            source.read_into(read, (slice(first, last), levels, *inside[1:]))
            values = read
            if not whole:
                values = np.full(
                    (last - first, *(b - a for a, b in zip(firsts, ends, strict=True))),
                    np.nan,
                    np.float32,
                )
                values[np.ix_(np.arange(last - first), *places)] = read
            target[(slice(first, last), *area)] = values
