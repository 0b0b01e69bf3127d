"""Fields of many files, put one after another in time and side by side by variable and level."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from xarray.core import indexing

from gfrnn.pipeline.data.canonical_array import CanonicalArray, FileSlice, IndexMap, LevelGroup
from gfrnn.pipeline.data.file_variables import FileVariable
from gfrnn.pipeline.errors import DataError

Layers = dict[tuple[str, tuple[float, ...] | None], list[FileVariable]]


def join_layers(fields: list[FileVariable]) -> Layers:
    """Fields by variable and levels; those of one entry follow each other in time."""
    layers: Layers = {}
    for part in fields:
        layers.setdefault((part.variable, part.levels), []).append(part)
    seen: dict[tuple[str, float | None], FileVariable] = {}
    for (variable, levels), parts in layers.items():
        parts.sort(key=lambda part: part.times[0] if part.times.size else np.datetime64("NaT"))
        for a, b in itertools.pairwise(parts):
            if a.file == b.file:
                raise DataError(
                    f"{a.file.path}: {a.raw_name} and {b.raw_name} are both {variable}; give one "
                    "of them another name in rename"
                )
        for level in levels or (None,):
            other = seen.setdefault((variable, level), parts[0])
            if other is not parts[0]:
                raise DataError(
                    f"{other.file.path} and {parts[0].file.path} have different levels of "
                    f"{variable}: {list(other.levels or ())} and {list(levels or ())}; choose "
                    "those that all files have in data.variables"
                )
    return layers


def _axis(parts: list[FileVariable]) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Times of fields that follow each other; which field, and which row of it; repeated times."""
    times = np.concatenate([part.times for part in parts])
    which = np.repeat(np.arange(len(parts)), [part.times.size for part in parts])
    rows = np.concatenate([part.rows for part in parts])
    unique, first = np.unique(times, return_index=True)
    return unique, which[first], rows[first], times.size - unique.size


def common_times(layers: Layers) -> tuple[np.ndarray, list[str]]:
    """Times (datetime64, shape (n,)) that all variables have, and notes on those that are left out.

    Raises
    ------
    DataError
        Where there is none.
    """
    notes: list[str] = []
    common: np.ndarray | None = None
    longest = 0
    for (variable, _), parts in layers.items():
        times, _, _, repeated = _axis(parts)
        if repeated:
            notes.append(f"{variable}: {repeated} times are given twice; the first of each is used")
        longest = max(longest, times.size)
        both = times if common is None else np.intersect1d(common, times, assume_unique=True)
        if both.size == 0:
            extents = "; ".join(
                f"{name} {_span(_axis(fields)[0])}" for (name, _), fields in layers.items()
            )
            raise DataError(f"the variables have no common time: {extents}")
        common = both
    assert common is not None
    if common.size < longest:
        notes.append(f"times: {common.size} are common to all variables, of up to {longest}")
    return common, notes


def _span(times: np.ndarray) -> str:
    return (
        f"{times[0].astype('datetime64[m]')}..{times[-1].astype('datetime64[m]')}"
        if times.size
        else "none"
    )


@dataclass(frozen=True, eq=False)
class Cut:
    """What is kept of everything: times, levels (hPa), rows and columns of the common grid."""

    time: np.ndarray
    level: list[float]
    latitude: np.ndarray
    longitude: np.ndarray

    shared: dict[Any, IndexMap] = field(default_factory=dict)

    def grid(self, grid: IndexMap) -> IndexMap:
        """The rows and columns kept; the same object for equal ones, which pickles only once."""
        cut = IndexMap(
            grid.dims, grid.latitude[self.latitude], grid.longitude[self.longitude], grid.level
        )
        arrays = (cut.latitude, cut.longitude, cut.level)
        key = (*sorted(cut.dims.items()), *(None if a is None else a.tobytes() for a in arrays))
        return self.shared.setdefault(key, cut)


def lazy_variable(
    name: str, own: dict[tuple[float, ...] | None, list[FileVariable]], cut: Cut
) -> xr.Variable:
    """One variable of the canonical Dataset, out of its layers."""
    layers = tuple(
        LevelGroup(
            tuple(cut.level.index(level) for level in levels or ()) or (0,), _pieces(parts, cut)
        )
        for levels, parts in own.items()
    )
    levels = sorted(level for some in own for level in some or ())
    dims = (
        ("time", "level", "latitude", "longitude") if levels else ("time", "latitude", "longitude")
    )
    sizes = {
        "time": cut.time.size,
        "level": len(cut.level),
        "latitude": cut.latitude.size,
        "longitude": cut.longitude.size,
    }
    array = CanonicalArray(tuple(sizes[dim] for dim in dims), layers)
    attrs = {**next(iter(own.values()))[0].attrs, "levels": levels}
    return xr.Variable(dims, indexing.LazilyIndexedArray(array), attrs, {"source": array})


def _pieces(parts: list[FileVariable], cut: Cut) -> tuple[FileSlice, ...]:
    """Runs of canonical times that are evenly spaced in one file."""
    times, which, rows, _ = _axis(parts)
    here = np.searchsorted(times, cut.time)
    which, rows = which[here], rows[here]
    grids = [cut.grid(part.grid) for part in parts]
    edges = np.nonzero(np.diff(which))[0] + 1
    pieces = []
    for begin, end in zip([0, *edges], [*edges, which.size], strict=True):
        part, grid = parts[which[begin]], grids[which[begin]]
        for start, run in _runs(rows[begin:end]):
            pieces.append(
                FileSlice(
                    part.file,
                    part.raw_name,
                    grid,
                    int(begin) + start,
                    run,
                    part.factor,
                    part.offset,
                )
            )
    return tuple(pieces)


def _runs(rows: np.ndarray) -> Iterator[tuple[int, range]]:
    """Positions (shape (n,)) as evenly spaced runs: (where it begins, the run)."""
    start = 0
    while start < rows.size:
        steps = np.diff(rows[start:])
        breaks = np.nonzero(steps != steps[:1])[0]
        length = int(breaks[0]) + 1 if breaks.size else rows.size - start
        step = int(steps[0]) if length > 1 else 1
        yield start, range(int(rows[start]), int(rows[start]) + step * length, step)
        start += length


def chunking(layers: Layers, time: np.ndarray) -> tuple[int, int]:
    """Canonical times in the longest stored chunk, and the first that begins one."""
    parts = max(layers.values(), key=lambda fields: fields[0].time_chunk)
    chunk = parts[0].time_chunk
    axis, _, rows, _ = _axis(parts)
    rows = rows[np.searchsorted(axis, time)]
    stride = int(rows[1] - rows[0]) if rows.size > 1 else 1
    starts = np.nonzero(np.diff(rows // chunk))[0] + 1
    first = int(starts[0]) if starts.size and rows[0] % chunk else 0
    return max(1, chunk // max(1, abs(stride))), first
