"""Reading of values from one file in canonical order and unit."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from zarr.buffer.cpu import NDBuffer

from gfrnn.pipeline.data.files.raw_file import RawFile
from gfrnn.pipeline.errors import DataError

DIMS = ("time", "level", "latitude", "longitude")

_NEAR_BYTES = 2**16
_NEAR_READS = 64


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
    chunks = stored_chunk_lengths(raw)
    near = {} if chunks else _near_times(part, raw)
    blocks = [
        list(_blocks(picks[dim], (chunks or near).get(grid.dims[dim], 1), near.get(grid.dims[dim])))
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
        put_values(out, puts, values.astype(np.float32, copy=False))


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
    chunks = stored_chunk_lengths(part.file.open()[part.variable].variable)
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


def stored_chunk_lengths(raw: xr.Variable) -> dict[str, int]:
    """Return the length of a stored chunk along each dimension; empty if there are no chunks."""
    sizes = raw.encoding.get("chunks") or raw.encoding.get("chunksizes")
    if not sizes or isinstance(sizes, str) or len(sizes) != len(raw.dims):
        return {}
    return {str(dim): int(size) for dim, size in zip(raw.dims, sizes, strict=True)}


def _near_times(part: FileTimeRange, raw: xr.Variable) -> dict[str, int]:
    """Return how many times of a netCDF variable without chunks are read as one chunk would be.

    They take no more bytes of the file than can be read in the time that another read costs.
    """
    time = part.grid.dims.get("time")
    if time is None or time not in raw.dims or part.file.is_zarr or part.file.engine == "grib":
        return {}
    stored = np.dtype(raw.encoding.get("dtype") or raw.dtype).itemsize
    return {time: max(1, _NEAR_BYTES * raw.sizes[time] // max(1, stored * raw.size))}


def _blocks(
    index: np.ndarray, chunk: int, near: int | None = None
) -> Iterator[tuple[slice, Any, Any]]:
    """Split positions in a file into slices, so that a chunk is read once and only if needed.

    With ``near``, a chunk is a number of near positions of an array without chunks. Slices then
    have at most ``_NEAR_READS`` of them, as values between the wanted ones need memory too.

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
    apart = ordered[1:] // chunk > ordered[:-1] // chunk + 1
    if near is not None:
        apart |= np.diff(ordered // (_NEAR_READS * near)) > 0
    cuts = np.nonzero(apart)[0] + 1
    for part in np.split(np.arange(index.size), cuts):
        first, last = int(ordered[part[0]]), int(ordered[part[-1]])
        yield (
            slice(first, last + 1),
            slice_or_index(ordered[part] - first),
            slice_or_index(order[part]),
        )


def _as_slice(index: np.ndarray) -> tuple[int, int, int] | None:
    """Return start, stop and step of evenly spaced positions, None for others."""
    if index.size == 1:
        return int(index[0]), int(index[0]) + 1, 1
    step = int(index[1] - index[0])
    if step == 0 or np.any(np.diff(index) != step):
        return None
    return int(index[0]), int(index[-1]) + (1 if step > 0 else -1), step


def slice_or_index(index: np.ndarray) -> Any:
    """Return ascending, evenly spaced positions as a slice, others unchanged."""
    regular = _as_slice(index)
    return slice(*regular) if regular is not None and regular[2] > 0 else index


def put_values(out: np.ndarray, where: tuple[Any, ...], values: np.ndarray) -> None:
    """Set ``out[where] = values``, where each entry of ``where`` selects along its own axis."""
    simple = [slice_or_index(w) if isinstance(w, np.ndarray) else w for w in where]
    if all(isinstance(w, slice) for w in simple):
        out[tuple(simple)] = values
    else:
        axes = [
            np.arange(n)[w] for n, w in zip(out.shape, [*simple, *[slice(None)] * 4], strict=False)
        ]
        out[np.ix_(*axes)] = values
