"""Lazy array that reads a variable from its files in canonical order and unit."""

from __future__ import annotations

import bisect
import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing
from zarr.buffer.cpu import NDBuffer

from gfrnn.pipeline.data.files.raw_file import RawFile
from gfrnn.pipeline.data.in_time.window_values import read_windows
from gfrnn.pipeline.data.in_time.windows import TimeWindows
from gfrnn.pipeline.errors import DataError

DIMS = ("time", "level", "latitude", "longitude")

ROWS_BYTES = 2**26
"""Bytes of stored values (float32) that are in memory at once to compute values of windows."""


@dataclass(frozen=True, eq=False)
class IndexMap:
    """Positions of canonical coordinates in the arrays of a file.

    ``dims`` maps canonical dimensions to those of the file. ``latitude``, ``longitude`` and
    ``level`` hold, for each canonical position, the position in the file; ``level`` is None if
    the variable of the file has no such dimension.

    With ``weights``, a value is a weighted mean: ``latitude`` and ``longitude`` hold the positions
    of its parts, shape (n, parts), and ``weights`` their weights, in the same shapes; NaN is for no
    value. Where there are fewer parts, one is listed again with a weight of 0.
    """

    dims: dict[str, str]
    latitude: np.ndarray
    longitude: np.ndarray
    level: np.ndarray | None
    weights: tuple[np.ndarray, np.ndarray] | None = None

    def select(self, latitude: np.ndarray, longitude: np.ndarray) -> IndexMap:
        """Return the map of some canonical latitudes and longitudes."""
        weights = self.weights and (self.weights[0][latitude], self.weights[1][longitude])
        return replace(
            self,
            latitude=self.latitude[latitude],
            longitude=self.longitude[longitude],
            weights=weights,
        )

    @property
    def cells_read(self) -> int:
        """Number of values of four bytes that the read of a field has in memory at once.

        Weighted means are computed in eight bytes, along one axis after the other: at worst of
        four neighbours each, or of all cells of the file in larger ones.
        """
        cells = len(self.latitude) * len(self.longitude)
        if self.weights is None:
            return cells
        stored = len(np.unique(self.latitude)) * len(np.unique(self.longitude))
        return max(4 * cells, 2 * stored)


@dataclass(frozen=True, eq=False)
class FileTimeRange:
    """A range of canonical times that one file holds, evenly spaced.

    ``start`` is the first canonical position; ``times`` are the positions in the file. The
    canonical value is ``value * factor + offset``.
    """

    file: RawFile
    variable: str
    grid: IndexMap
    start: int
    times: range
    factor: float
    offset: float


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
            places = (_slice_or_index(here), _slice_or_index(row))
            if all(isinstance(place, slice) for place in places):
                read_from_file(target[places], part, rows, levels, latitude, longitude)
            else:
                shape = (here.size, row.size, latitude.size, longitude.size)
                values = np.empty(shape, np.float32)
                read_from_file(values, part, rows, levels, latitude, longitude)
                _put(target, places, values)

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
                _put(target, (slice(None), row), read(time))
                continue
            values = np.empty((len(time), *map(len, own)), np.float32)
            grid = group.time_ranges[0].grid.select(latitude, longitude)
            field_bytes = 4 * len(own[0]) * grid.cells_read
            read_windows(values, windows, time, rows_together(group, stored, field_bytes), read)
            _put(target, (slice(None), row), values)

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
    length = chunks_of(first.file.open()[first.variable].variable).get(
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


def read_from_file(
    out: np.ndarray,
    part: FileTimeRange,
    time: np.ndarray,
    level: np.ndarray,
    latitude: np.ndarray,
    longitude: np.ndarray,
) -> None:
    """Read values of one file in canonical order and unit, rounded to float32.

    Parameters
    ----------
    out : ndarray of float32 or float64, shape (time, level, latitude, longitude)
        Receives the values.
    time
        Positions in the file.
    level, latitude, longitude
        Canonical positions, which ``part.grid`` maps to those in the file.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    grid = part.grid
    if grid.weights is not None:
        out[...] = _read_weighted(part, time, level, latitude, longitude)
        return
    raw = part.file.open()[part.variable].variable
    picks = {
        "time": time,
        "latitude": grid.latitude[latitude],
        "longitude": grid.longitude[longitude],
    }
    if grid.level is not None:
        picks["level"] = grid.level[level]
    chunks = chunks_of(raw)
    blocks = [
        list(_blocks(picks[dim], chunks.get(grid.dims[dim], 1)))
        if dim in picks and dim in grid.dims
        else [(slice(None), slice(None), slice(None))]
        for dim in DIMS
    ]
    for combination in itertools.product(*blocks):
        windows, takes, puts = zip(*combination, strict=True)
        window = {
            grid.dims[dim]: where
            for dim, where in zip(DIMS, windows, strict=True)
            if dim in grid.dims
        }
        try:
            if _read_directly(out, part, window, takes, puts):
                continue
            with part.file.lock:
                values = _in_order(raw.isel(window), grid.dims)
        except DataError:
            raise
        except Exception as error:
            raise DataError(
                f"{part.file.path}: {part.variable} cannot be read ({part.file.reason(error)}); "
                "the file is damaged or incomplete; copy or download it again"
            ) from error
        for axis, take in enumerate(takes):
            values = values[(slice(None),) * axis + (take,)]
        if (part.factor, part.offset) != (1.0, 0.0):
            values = values * part.factor + part.offset
        _put(out, puts, values.astype(np.float32, copy=False))


def _read_directly(
    out: np.ndarray,
    part: FileTimeRange,
    window: dict[str, slice],
    takes: tuple[Any, ...],
    puts: tuple[Any, ...],
) -> bool:
    """Let zarr copy decoded chunks to where they belong, and return whether that is possible.

    Otherwise values are to be converted, or in another order than a view of ``out`` can have.
    """
    array = part.file.unconverted_array(part.variable)
    places = [
        _place(window.get(part.grid.dims.get(dim, ""), slice(None)), take, put)
        for dim, take, put in zip(DIMS, takes, puts, strict=True)
    ]
    if array is None or None in places or (part.factor, part.offset) != (1.0, 0.0):
        return False
    names = part.file.open()[part.variable].variable.dims
    axes = {part.grid.dims[dim]: axis for axis, dim in enumerate(DIMS) if dim in part.grid.dims}
    if set(names) != set(axes):
        return False
    view = out[tuple(place if axis in axes.values() else 0 for axis, place in enumerate(places))]
    kept = sorted(axes.values())
    view = view.transpose([kept.index(axes[str(name)]) for name in names])
    array.get_basic_selection(
        tuple(window[str(name)] for name in names), out=NDBuffer.from_numpy_array(view)
    )
    return True


def is_read_directly(part: FileTimeRange) -> bool:
    """Return whether decoded values are copied once only, to where they belong."""
    grid, array = part.grid, part.file.unconverted_array(part.variable)
    if grid.weights is not None or array is None or (part.factor, part.offset) != (1.0, 0.0):
        return False
    chunks = chunks_of(part.file.open()[part.variable].variable)
    return all(
        None not in (_place(*block) for block in _blocks(index, chunks.get(grid.dims[dim], 1)))
        for dim, index in zip(DIMS[1:], (grid.level, grid.latitude, grid.longitude), strict=True)
        if index is not None
    )


def _place(window: slice, take: Any, put: Any) -> slice | None:
    """Return the slice of the target that all values of a window fill; None if there is none."""
    if not (isinstance(take, slice) and isinstance(put, slice)):
        return None
    if put == slice(None):
        return take if take in (slice(None), slice(None, None, -1)) else None
    return put if take == slice(0, window.stop - window.start, 1) else None


def _read_weighted(
    part: FileTimeRange,
    time: np.ndarray,
    level: np.ndarray,
    latitude: np.ndarray,
    longitude: np.ndarray,
) -> np.ndarray:
    """Read the parts of the wanted values, and return their weighted means along both axes."""
    wanted = part.grid.select(latitude, longitude)
    assert wanted.weights is not None
    rows, columns = np.unique(wanted.latitude), np.unique(wanted.longitude)
    parts = replace(wanted, latitude=rows, longitude=columns, weights=None)
    values = np.empty((time.size, level.size, rows.size, columns.size), np.float32)
    read_from_file(
        values,
        replace(part, grid=parts),
        time,
        level,
        np.arange(rows.size),
        np.arange(columns.size),
    )
    for axis, there, positions, weights in (
        (2, rows, wanted.latitude, wanted.weights[0]),
        (3, columns, wanted.longitude, wanted.weights[1]),
    ):
        places = np.searchsorted(there, positions)
        shape = (-1, 1) if axis == 2 else (-1,)
        # Part by part: a product of matrices would spread a missing value to all cells.
        values = functools.reduce(
            np.add,
            (
                np.take(values, places[:, each], axis) * weights[:, each].reshape(shape)
                for each in range(places.shape[1])
            ),
        )
    return values.astype(np.float32)


def _in_order(raw: xr.Variable, dims: dict[str, str]) -> np.ndarray:
    """Return values with axes (time, level, latitude, longitude), of length 1 if missing."""
    if "expver" in dims:  # final and preliminary ERA5: one of them has each time
        values = raw.transpose(dims["expver"], ...).values
        merged = values[0]
        for other in values[1:]:
            merged = np.where(np.isnan(merged), other, merged)
        raw = xr.Variable([dim for dim in raw.dims if dim != dims["expver"]], merged)
    extra = {
        dim: 0 for dim in raw.dims if dim not in dims.values()
    }  # of length 1, as file_variables checks
    raw = raw.isel(extra).transpose(*(dims[dim] for dim in DIMS if dim in dims))
    missing = tuple(axis for axis, dim in enumerate(DIMS) if dim not in dims)
    return np.expand_dims(raw.values, missing)


def chunks_of(raw: xr.Variable) -> dict[str, int]:
    """Return the length of a stored chunk along each dimension; empty if there are no chunks."""
    sizes = raw.encoding.get("chunks") or raw.encoding.get("chunksizes")
    if not sizes or isinstance(sizes, str) or len(sizes) != len(raw.dims):
        return {}
    return {str(dim): int(size) for dim, size in zip(raw.dims, sizes, strict=True)}


def _blocks(index: np.ndarray, chunk: int) -> Iterator[tuple[slice, Any, Any]]:
    """Split positions in a file into slices, so that a chunk is read once and only if needed.

    Yields (slice to read, selection from what is read, target).
    """
    regular = _as_slice(index)
    if regular is not None:
        # Backends read forwards only; the order is reversed after reading.
        if regular[2] > 0:
            yield slice(*regular), slice(None), slice(None)
        else:
            yield (
                slice(int(index[-1]), int(index[0]) + 1, -regular[2]),
                slice(None, None, -1),
                slice(None),
            )
        return
    order = np.argsort(index, kind="stable")
    ordered = index[order]
    cuts = np.nonzero(ordered[1:] // chunk > ordered[:-1] // chunk + 1)[0] + 1
    for part in np.split(np.arange(index.size), cuts):
        first, last = int(ordered[part[0]]), int(ordered[part[-1]])
        yield (
            slice(first, last + 1),
            _slice_or_index(ordered[part] - first),
            _slice_or_index(order[part]),
        )


def _as_slice(index: np.ndarray) -> tuple[int, int, int] | None:
    """Return start, stop and step of evenly spaced positions, None for others."""
    if index.size == 1:
        return int(index[0]), int(index[0]) + 1, 1
    step = int(index[1] - index[0])
    if step == 0 or np.any(np.diff(index) != step):
        return None
    return int(index[0]), int(index[-1]) + (1 if step > 0 else -1), step


def _slice_or_index(index: np.ndarray) -> Any:
    """Return ascending, evenly spaced positions as a slice, others unchanged."""
    regular = _as_slice(index)
    return slice(*regular) if regular is not None and regular[2] > 0 else index


def _put(out: np.ndarray, where: tuple[Any, ...], values: np.ndarray) -> None:
    """Set ``out[where] = values``, where each entry of ``where`` selects along its own axis."""
    simple = [_slice_or_index(w) if isinstance(w, np.ndarray) else w for w in where]
    if all(isinstance(w, slice) for w in simple):
        out[tuple(simple)] = values
    else:
        axes = [
            np.arange(n)[w] for n, w in zip(out.shape, [*simple, *[slice(None)] * 4], strict=False)
        ]
        out[np.ix_(*axes)] = values


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
