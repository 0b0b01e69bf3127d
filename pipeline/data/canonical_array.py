"""The array that turns files as they are into fields as this project has them, when it is read."""

from __future__ import annotations

import bisect
import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from gfrnn.pipeline.data.files import RawFile
from gfrnn.pipeline.errors import DataError

DIMS = ("time", "level", "latitude", "longitude")


@dataclass(frozen=True, eq=False)
class IndexMap:
    """Where in a file's arrays the canonical rows and columns are.

    ``dims`` maps canonical dimensions to those of the file. ``latitude``, ``longitude`` and
    ``level`` hold, for each canonical position, the position in the file; ``level`` may be None
    (the file's variable has no such dimension).
    """

    dims: dict[str, str]
    latitude: np.ndarray
    longitude: np.ndarray
    level: np.ndarray | None


@dataclass(frozen=True, eq=False)
class FileSlice:
    """A stretch of canonical time in one file: ``times`` are its positions there, evenly spaced."""

    file: RawFile
    variable: str
    grid: IndexMap
    start: int
    times: range
    factor: float
    offset: float


@dataclass(frozen=True, eq=False)
class LevelGroup:
    """The levels (canonical positions) that share pieces, and those pieces in order of time."""

    levels: tuple[int, ...]
    pieces: tuple[FileSlice, ...]

    @functools.cached_property
    def starts(self) -> list[int]:
        """First canonical times of the pieces."""
        return [piece.start for piece in self.pieces]


class CanonicalArray(BackendArray):
    """A variable of the canonical Dataset; float32; shape (time, [level], latitude, longitude).

    It holds paths and index ranges, no open files and no data, so that it is cheap to pickle.
    Reading opens only the files of the times asked for, and each block of a file once.
    """

    def __init__(self, shape: tuple[int, ...], layers: tuple[LevelGroup, ...]):
        """Of a shape (time, [level], latitude, longitude), out of layers."""
        self.shape = shape
        self.dtype = np.dtype(np.float32)
        self.layers = layers

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        """Values at a key of xarray: the files are read here."""
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        arrays = [np.atleast_1d(np.arange(n)[k]) for n, k in zip(self.shape, key, strict=True)]
        with_level = len(self.shape) == 4
        time, latitude, longitude = arrays[0], arrays[-2], arrays[-1]
        level = arrays[1] if with_level else np.zeros(1, int)
        shape = (time.size, level.size, latitude.size, longitude.size)
        reads = list(self._reads(time, level)) if np.prod(shape) else []
        covered = sum(there[0].size * there[1].size for there, *_ in reads)
        # What no file holds stays NaN.
        whole = covered == time.size * level.size
        out = np.empty(shape, np.float32) if whole else np.full(shape, np.nan, np.float32)
        for there, piece, rows, wanted in reads:
            _put(out, there, read_piece(piece, rows, wanted, latitude, longitude))
        if not with_level:
            out = out[:, 0]
        squeezed = tuple(
            0 if np.ndim(k) == 0 and not isinstance(k, slice) else slice(None) for k in key
        )
        return out[squeezed]

    def _reads(
        self, time: np.ndarray, level: np.ndarray
    ) -> Iterator[tuple[tuple[np.ndarray, np.ndarray], FileSlice, np.ndarray, np.ndarray]]:
        """Of each piece that holds some of these: where they go, and where they are in its file."""
        for layer in self.layers:
            places = np.array(layer.levels)
            row = np.nonzero(np.isin(level, places))[0]
            if row.size == 0:
                continue
            wanted = np.searchsorted(places, level[row])
            begin = bisect.bisect_right(layer.starts, int(time.min())) - 1
            end = bisect.bisect_right(layer.starts, int(time.max()))
            for piece in layer.pieces[max(begin, 0) : end]:
                inside = (time >= piece.start) & (time < piece.start + len(piece.times))
                here = np.nonzero(inside)[0]
                if here.size:
                    rows = np.asarray(piece.times)[time[here] - piece.start]
                    yield (here, row), piece, rows, wanted


def read_piece(
    piece: FileSlice,
    time: np.ndarray,
    level: np.ndarray,
    latitude: np.ndarray,
    longitude: np.ndarray,
) -> np.ndarray:
    """Fields of one file, shape (time, level, latitude, longitude), in canonical order and unit.

    Parameters
    ----------
    time
        Positions in the file.
    level, latitude, longitude
        Canonical positions, to be looked up in ``piece.grid``.
    """
    grid = piece.grid
    raw = piece.file.open()[piece.variable].variable
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
    out = np.empty([picks[dim].size if dim in picks else 1 for dim in DIMS], np.float32)
    for combination in itertools.product(*blocks):
        window = {
            grid.dims[dim]: where
            for dim, (where, _, _) in zip(DIMS, combination, strict=True)
            if dim in grid.dims
        }
        try:
            values = _in_order(raw.isel(window), grid.dims)
        except DataError:
            raise
        except Exception as error:
            raise DataError(
                f"{piece.file.path}: {piece.variable} cannot be read ({error}); the file is "
                "damaged or incomplete, so copy or download it again"
            ) from error
        for axis, (_, take, _) in enumerate(combination):
            values = values[(slice(None),) * axis + (take,)]
        if (piece.factor, piece.offset) != (1.0, 0.0):
            values = values * piece.factor + piece.offset
        where = [put for _, _, put in combination]
        if all(isinstance(put, slice) and put == slice(None) for put in where):
            return values.astype(np.float32, copy=False)  # all of it at once
        _put(out, tuple(where), values)
    return out


def _in_order(raw: xr.Variable, dims: dict[str, str]) -> np.ndarray:
    """Values with axes (time, level, latitude, longitude), of length 1 where the file has none."""
    if "expver" in dims:  # ERA5 and its preliminary part: each time is in one of the two
        values = raw.transpose(dims["expver"], ...).values
        merged = values[0]
        for other in values[1:]:
            merged = np.where(np.isnan(merged), other, merged)
        raw = xr.Variable([dim for dim in raw.dims if dim != dims["expver"]], merged)
    extra = {dim: 0 for dim in raw.dims if dim not in dims.values()}  # singletons, checked before
    raw = raw.isel(extra).transpose(*(dims[dim] for dim in DIMS if dim in dims))
    missing = tuple(axis for axis, dim in enumerate(DIMS) if dim not in dims)
    return np.expand_dims(raw.values, missing)


def chunks_of(raw: xr.Variable) -> dict[str, int]:
    """Length of a stored chunk along each dimension; empty where the file has no chunks."""
    sizes = raw.encoding.get("chunks") or raw.encoding.get("chunksizes")
    if not sizes or isinstance(sizes, str) or len(sizes) != len(raw.dims):
        return {}
    return {str(dim): int(size) for dim, size in zip(raw.dims, sizes, strict=True)}


def _blocks(index: np.ndarray, chunk: int) -> Iterator[tuple[slice, Any, Any]]:
    """Windows that cover positions in a file, so that no chunk is read twice, and none in vain.

    Yields (slice to read, what to take of it, where to put it).
    """
    regular = _as_slice(index)
    if regular is not None:
        # Backends read forwards only; what runs backwards is turned after reading.
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
        yield slice(first, last + 1), _simplest(ordered[part] - first), _simplest(order[part])


def _as_slice(index: np.ndarray) -> tuple[int, int, int] | None:
    """Start, stop and step of evenly spaced positions, None for others."""
    if index.size == 1:
        return int(index[0]), int(index[0]) + 1, 1
    step = int(index[1] - index[0])
    if step == 0 or np.any(np.diff(index) != step):
        return None
    return int(index[0]), int(index[-1]) + (1 if step > 0 else -1), step


def _simplest(index: np.ndarray) -> Any:
    regular = _as_slice(index)
    return slice(*regular) if regular is not None and regular[2] > 0 else index


def _put(out: np.ndarray, where: tuple[Any, ...], values: np.ndarray) -> None:
    """``out[where] = values`` where each entry of ``where`` selects along its own axis."""
    simple = [_simplest(w) if isinstance(w, np.ndarray) else w for w in where]
    if all(isinstance(w, slice) for w in simple):
        out[tuple(simple)] = values
    else:
        axes = [
            np.arange(n)[w] for n, w in zip(out.shape, [*simple, *[slice(None)] * 4], strict=False)
        ]
        out[np.ix_(*axes)] = values


def canonical_array(variable: xr.DataArray) -> CanonicalArray | None:
    """Return the array that a variable was opened from, None where it comes from no file.

    :func:`gfrnn.pipeline.data.sources.open_source` keeps it as the variable's encoding ``source``,
    where xarray keeps the file; a selection, a pickled copy and loaded values have it too.
    """
    source = variable.encoding.get("source")
    return source if isinstance(source, CanonicalArray) else None
