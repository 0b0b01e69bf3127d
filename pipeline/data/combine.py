"""Combination of the variables of many files along time and levels into lazy variables."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from xarray.core import indexing

from gfrnn.pipeline.data.canonical_array import CanonicalArray, LevelGroup
from gfrnn.pipeline.data.file_reading import FileTimeRange, IndexMap
from gfrnn.pipeline.data.in_time.windows import TimeWindows
from gfrnn.pipeline.data.joined_times import join_times
from gfrnn.pipeline.data.variables.file_variables import FileVariable
from gfrnn.pipeline.errors import DataError

# Variables of files by canonical name and levels, in order of time.
VariableGroups = dict[tuple[str, tuple[float, ...] | None], list[FileVariable]]


def group_variables(variables: list[FileVariable]) -> VariableGroups:
    """Group variables of files by name and levels, each group in order of time.

    Raises
    ------
    DataError
        If two variables of a file are the same quantity, or files have different levels.
    """
    groups: VariableGroups = {}
    for part in variables:
        groups.setdefault((part.variable, part.levels), []).append(part)
    seen: dict[tuple[str, float | None], FileVariable] = {}
    for (variable, levels), parts in groups.items():
        parts.sort(key=lambda part: part.times[0] if part.times.size else np.datetime64("NaT"))
        for a, b in itertools.pairwise(parts):
            if a.file == b.file:
                raise DataError(
                    f"{a.file.path}: {a.raw_name} and {b.raw_name} are both {variable}; give one "
                    "of them another name with the key rename of its source"
                )
        for level in levels or (None,):
            other = seen.setdefault((variable, level), parts[0])
            if other is not parts[0]:
                raise DataError(
                    f"{other.file.path} and {parts[0].file.path} have different levels of "
                    f"{variable}: {list(other.levels or ())} and {list(levels or ())}; list "
                    "the levels that all files have in data.variables"
                )
    return groups


@dataclass(frozen=True, eq=False)
class Selection:
    """Times, levels (hPa), rows and columns of the common grid that the Dataset has.

    ``shared`` holds one index map for all files of the same grid, so that it is pickled once.
    """

    time: np.ndarray
    level: list[float]
    latitude: np.ndarray
    longitude: np.ndarray

    shared: dict[Any, IndexMap] = field(default_factory=dict)

    def index_map(self, grid: IndexMap) -> IndexMap:
        """Select the rows and columns of a file's index map."""
        selected = grid.select(self.latitude, self.longitude)
        weights = selected.weights or (None, None)
        arrays = (selected.latitude, selected.longitude, selected.level, *weights)
        key = (
            *sorted(selected.dims.items()),
            *(None if a is None else a.tobytes() for a in arrays),
        )
        return self.shared.setdefault(key, selected)


def lazy_variable(
    groups: dict[tuple[float, ...] | None, list[FileVariable]],
    windows: dict[tuple[float, ...] | None, TimeWindows | None],
    selection: Selection,
) -> xr.Variable:
    """Return a variable of the canonical Dataset from its groups by levels, and their windows."""
    level_groups = tuple(
        LevelGroup(
            tuple(selection.level.index(level) for level in levels or ()) or (0,),
            _time_ranges(parts, selection, whole=windows[levels] is not None),
            windows[levels],
        )
        for levels, parts in groups.items()
    )
    levels = sorted(level for some in groups for level in some or ())
    dims = (
        ("time", "level", "latitude", "longitude") if levels else ("time", "latitude", "longitude")
    )
    sizes = {
        "time": selection.time.size,
        "level": len(selection.level),
        "latitude": selection.latitude.size,
        "longitude": selection.longitude.size,
    }
    array = CanonicalArray(tuple(sizes[dim] for dim in dims), level_groups)
    attrs = {**next(iter(groups.values()))[0].attrs, "levels": levels}
    return xr.Variable(dims, indexing.LazilyIndexedArray(array), attrs, {"source": array})


def _time_ranges(
    parts: list[FileVariable], selection: Selection, *, whole: bool
) -> tuple[FileTimeRange, ...]:
    """Split the selected times, or all of the files, into ranges evenly spaced in one file."""
    times, which, rows, _ = join_times(parts)
    if not whole:
        here = np.searchsorted(times, selection.time)
        which, rows = which[here], rows[here]
    grids = [selection.index_map(part.grid) for part in parts]
    edges = np.nonzero(np.diff(which))[0] + 1
    ranges = []
    for begin, end in zip([0, *edges], [*edges, which.size], strict=True):
        part, grid = parts[which[begin]], grids[which[begin]]
        for start, run in _runs(rows[begin:end]):
            ranges.append(
                FileTimeRange(
                    part.file,
                    part.raw_name,
                    grid,
                    int(begin) + start,
                    run,
                    part.factor,
                    part.offset,
                )
            )
    return tuple(ranges)


def _runs(rows: np.ndarray) -> Iterator[tuple[int, range]]:
    """Split positions (shape (n,)) into evenly spaced runs: (index of the first, run)."""
    start = 0
    while start < rows.size:
        steps = np.diff(rows[start:])
        breaks = np.nonzero(steps != steps[:1])[0]
        length = int(breaks[0]) + 1 if breaks.size else rows.size - start
        step = int(steps[0]) if length > 1 else 1
        yield start, range(int(rows[start]), int(rows[start]) + step * length, step)
        start += length


def time_chunks(
    groups: VariableGroups, windows: Mapping[Any, TimeWindows | None], time: np.ndarray
) -> tuple[int, int]:
    """Return the number of times in the longest stored chunk, and the first time of a chunk."""
    key, parts = max(groups.items(), key=lambda item: item[1][0].time_chunk)
    chunk = parts[0].time_chunk
    axis, _, rows, _ = join_times(parts)
    own = windows[key]
    rows = rows[np.searchsorted(axis, time) if own is None else own.first]
    stride = int(rows[1] - rows[0]) if rows.size > 1 else 1
    starts = np.nonzero(np.diff(rows // chunk))[0] + 1
    first = int(starts[0]) if starts.size and rows[0] % chunk else 0
    return max(1, chunk // max(1, abs(stride))), first
