"""Lazy array that reads a variable from its files in canonical order and unit."""

from __future__ import annotations

import bisect
import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from gfrnn.pipeline.data.file_reading import (
    FileTimeRange,
    IndexMap,
    put_values,
    read_from_file,
    slice_or_index,
    stored_chunk_lengths,
)
from gfrnn.pipeline.data.in_time.window_values import read_windows
from gfrnn.pipeline.data.in_time.windows import TimeWindows

ROWS_BYTES = 2**26
"""Bytes of stored values (float32) that are in memory at once to compute values of windows."""


@dataclass(frozen=True, eq=False)
class LevelGroup:
    """Levels (canonical positions) that lie in the same files, and these in order of time.

    With ``windows``, a time of the Dataset is made of several stored times, and ``time_ranges``
    count the stored times.
    """

    levels: tuple[int, ...]
    time_ranges: tuple[FileTimeRange, ...]
    windows: TimeWindows | None = None

    @functools.cached_property
    def starts(self) -> list[int]:
        """First time of each range."""
        return [part.start for part in self.time_ranges]

    def times_of(self, stored: np.ndarray) -> np.ndarray:
        """Return the times of the Dataset that are made of stored ones: ascending, unique."""
        if self.windows is None:
            return stored
        found = np.unique(self.windows.windows_of(stored))
        return found[found >= 0]


class CanonicalArray(BackendArray):
    """A variable of the canonical Dataset; float32; shape (time, [level], latitude, longitude).

    It holds paths and positions, no open files and no values, and pickles to little. A read opens
    only files that hold the times it selects, and reads each chunk once.
    """

    def __init__(self, shape: tuple[int, ...], level_groups: tuple[LevelGroup, ...]):
        """Set the shape, (time, [level], latitude, longitude), and the files of the levels."""
        self.shape = shape
        self.dtype = np.dtype(np.float32)
        self.level_groups = level_groups

    def select(self, latitude: np.ndarray, longitude: np.ndarray) -> CanonicalArray:
        """Return the array of some canonical latitudes and longitudes."""
        grids: dict[int, IndexMap] = {}  # one for all files of the same grid
        groups = []
        for group in self.level_groups:
            for part in group.time_ranges:
                if id(part.grid) not in grids:
                    grids[id(part.grid)] = part.grid.select(latitude, longitude)
            ranges = tuple(replace(part, grid=grids[id(part.grid)]) for part in group.time_ranges)
            groups.append(replace(group, time_ranges=ranges))
        shape = (*self.shape[:-2], latitude.size, longitude.size)
        return CanonicalArray(shape, tuple(groups))

    def at_last_times(self) -> CanonicalArray:
        """Return the array of values as the files state them, at the last stored time of each."""
        groups = (
            replace(group, windows=group.windows and group.windows.last_times())
            for group in self.level_groups
        )
        return CanonicalArray(self.shape, tuple(groups))

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        """Read the values that an indexer of xarray selects."""
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        shape = tuple(np.arange(n)[k].size for n, k in zip(self.shape, key, strict=True))
        out = np.empty(shape, np.float32)
        self.read_into(out, key)
        squeezed = tuple(
            0 if np.ndim(k) == 0 and not isinstance(k, slice) else slice(None) for k in key
        )
        return out[squeezed]

    def read_into(self, out: np.ndarray, key: tuple[Any, ...]) -> None:
        """Read the selected values into an array, without another copy where the file allows it.

        Parameters
        ----------
        out : ndarray of float32 or float64, of any memory order
            Shape of the selection, of length 1 along a dimension selected by a number.
        key : tuple of slice, int or ndarray of int
            Selection along each dimension.
        """
        arrays = [np.atleast_1d(np.arange(n)[k]) for n, k in zip(self.shape, key, strict=True)]
        with_level = len(self.shape) == 4
        time, latitude, longitude = arrays[0], arrays[-2], arrays[-1]
        level = arrays[1] if with_level else np.zeros(1, int)
        if not out.size:
            return
        target = out if with_level else out[:, None]
        if any(group.windows for group in self.level_groups):
            self._read_windows(target, time, level, latitude, longitude)
            return
        reads = list(self._reads_of(time, level))
        if sum(here.size * row.size for (here, row), *_ in reads) < time.size * level.size:
            out[...] = np.nan  # levels of a time that no file has
        for (here, row), part, rows, levels in reads:
            places = (slice_or_index(here), slice_or_index(row))
            if all(isinstance(place, slice) for place in places):
                read_from_file(target[places], part, rows, levels, latitude, longitude)
            else:
                shape = (here.size, row.size, latitude.size, longitude.size)
                values = np.empty(shape, np.float32)
                read_from_file(values, part, rows, levels, latitude, longitude)
                put_values(target, places, values)

    def _read_windows(
        self,
        target: np.ndarray,
        time: np.ndarray,
        level: np.ndarray,
        latitude: np.ndarray,
        longitude: np.ndarray,
    ) -> None:
        """Read group by group, of which each has windows of its own."""
        target[...] = np.nan  # levels that no file has
        for group in self.level_groups:
            row = np.flatnonzero(np.isin(level, group.levels))
            if not row.size:
                continue
            windows = group.windows
            stored = time if windows is None else windows.rows(time)
            shape = (int(stored.max()) + 1, int(level.max()) + 1, *self.shape[-2:])
            array = CanonicalArray(shape, (replace(group, windows=None),))
            own = (level[row], latitude, longitude)

            def read(rows: np.ndarray, array: CanonicalArray = array, own: Any = own) -> np.ndarray:
                values = np.empty((len(rows), *map(len, own)), np.float32)
                array.read_into(values, (rows, *own))
                return values

            if windows is None:
                put_values(target, (slice(None), row), read(time))
                continue
            values = np.empty((len(time), *map(len, own)), np.float32)
            grid = group.time_ranges[0].grid.select(latitude, longitude)
            field_bytes = 4 * len(own[0]) * grid.cells_read
            read_windows(values, windows, time, rows_together(group, stored, field_bytes), read)
            put_values(target, (slice(None), row), values)

    def _reads_of(
        self, time: np.ndarray, level: np.ndarray
    ) -> Iterator[tuple[tuple[np.ndarray, np.ndarray], FileTimeRange, np.ndarray, np.ndarray]]:
        """Yield, for each file with some of these times and levels, target and source positions."""
        for group in self.level_groups:
            places = np.array(group.levels)
            row = np.nonzero(np.isin(level, places))[0]
            if row.size == 0:
                continue
            wanted = np.searchsorted(places, level[row])
            begin = bisect.bisect_right(group.starts, int(time.min())) - 1
            end = bisect.bisect_right(group.starts, int(time.max()))
            for part in group.time_ranges[max(begin, 0) : end]:
                inside = (time >= part.start) & (time < part.start + len(part.times))
                here = np.nonzero(inside)[0]
                if here.size:
                    rows = np.asarray(part.times)[time[here] - part.start]
                    yield (here, row), part, rows, wanted


def rows_together(group: LevelGroup, rows: np.ndarray, field_bytes: int) -> list[np.ndarray]:
    """Split stored times, ascending, into those that are read together.

    They are of whole stored chunks, so that each chunk is decoded once, and as many as take
    :data:`ROWS_BYTES` where chunks are smaller.
    """
    first = group.time_ranges[0]
    length = stored_chunk_lengths(first.file.open()[first.variable].variable).get(
        first.grid.dims.get("time", ""), 1
    )
    which = np.searchsorted(group.starts, rows, side="right") - 1
    ranges = [group.time_ranges[number] for number in which]
    chunks = [
        (part.file.path, part.times[row - part.start] // length)
        for part, row in zip(ranges, rows.tolist(), strict=True)
    ]
    most = max(1, ROWS_BYTES // field_bytes)
    cuts, begin, start = [], 0, 0
    for end in range(1, len(rows) + 1):
        if end < len(rows) and chunks[end] == chunks[end - 1]:
            continue
        if end - begin > most and start > begin:
            cuts.append(start)
            begin = start
        start = end
    return list(np.split(rows, cuts))


def lazy_selection(variable: xr.Variable) -> tuple[CanonicalArray, tuple[Any, ...]] | None:
    """Return the array and the key that a selection of a variable reads, None for other values."""
    data = variable._data
    if isinstance(data, indexing.LazilyIndexedArray) and isinstance(data.array, CanonicalArray):
        return data.array, data.key.tuple
    return None


def canonical_array(variable: xr.DataArray) -> CanonicalArray | None:
    """Return the array that a variable was opened from, None where it comes from no file.

    :func:`gfrnn.pipeline.data.dataset.open_source` keeps it as the variable's encoding ``source``,
    where xarray keeps the file; a selection, a pickled copy and loaded values have it too.
    """
    source = variable.encoding.get("source")
    return source if isinstance(source, CanonicalArray) else None


def as_stored(array: xr.DataArray) -> xr.DataArray:
    """Return a variable with the values that the files state at the last stored time of each.

    It is the same object where no values are made of several stored ones.
    """
    data = array.variable._data
    if not (
        isinstance(data, indexing.LazilyIndexedArray)
        and isinstance(data.array, CanonicalArray)
        and any(group.windows for group in data.array.level_groups)
    ):
        return array
    stored = indexing.LazilyIndexedArray(data.array.at_last_times(), data.key)
    return array.copy(data=xr.Variable(array.dims, stored))
