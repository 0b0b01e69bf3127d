"""Times of a variable in many files: joined, given twice, and lacking."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gfrnn.pipeline.data.file_reading import FileTimeRange, read_from_file
from gfrnn.pipeline.data.time_axis import format_minute
from gfrnn.pipeline.data.variables.file_variables import FileVariable
from gfrnn.pipeline.errors import DataError

NOT_COMMON = "times: "
"""How the note on times that some variables lack begins."""

_SHOWN = 3  # variables, or pairs of files, in a note
# Pairs of files, and times of each, of which values are compared: opening takes little time.
_COMPARED, _TIMES = 8, 5
_LEVELS = 5  # that are compared at a time
# Packed copies of a field differ by some 1e-5 of its range.
_ROUNDING = 1e-3


def join_times(
    parts: Sequence[FileVariable],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Join the times of a variable in several files.

    Returns
    -------
    times : ndarray of datetime64, shape (n,)
        Ascending and unique.
    part, row : ndarray of int, shape (n,)
        Part that holds each time, and the position in its file.
    twice : ndarray of int, shape (repeated, 4)
        Times that are given again: part and row that are used, part and row that are not.
    """
    times = np.concatenate([part.times for part in parts])
    which = np.repeat(np.arange(len(parts)), [part.times.size for part in parts])
    rows = np.concatenate([part.rows for part in parts])
    order = np.argsort(times, kind="stable")
    again = np.zeros(times.size, bool)
    again[1:] = times[order][1:] == times[order][:-1]
    # The position of the first of equal times, for each time in order.
    first = order[np.maximum.accumulate(np.where(again, 0, np.arange(times.size)))]
    used, other = first[again], order[again]
    twice = np.stack([which[used], rows[used], which[other], rows[other]], axis=1)
    kept = order[~again]
    return times[kept], which[kept], rows[kept], twice


def common_times(
    groups: Mapping[tuple[str, Any], Sequence[FileVariable]],
    times_of: Mapping[tuple[str, Any], np.ndarray],
) -> tuple[np.ndarray, list[str]]:
    """Return times (datetime64, shape (n,)) of all variables, and notes on what is left out.

    Where files overlap, values of some times of the overlap are compared.

    Parameters
    ----------
    groups : mapping of sequence of FileVariable
    times_of : mapping of ndarray of datetime64
        Times of each group: those of its files, or those that are made of them.

    Raises
    ------
    DataError
        If there is none, or values cannot be read.
    """
    notes: list[str] = []
    own: dict[str, np.ndarray] = {}
    common: np.ndarray | None = None
    for (variable, levels), parts in groups.items():
        times, twice = times_of[variable, levels], join_times(parts)[-1]
        name = variable if levels is None else f"{variable} at {levels[0]:g} hPa"
        own[name] = times
        notes += _on_overlaps(variable, parts, twice)
        both = times if common is None else np.intersect1d(common, times, assume_unique=True)
        if both.size == 0:
            extents = "; ".join(
                f"{name} {_span(times_of[name, levels])}" for name, levels in groups
            )
            raise DataError(
                f"the variables have no common time: {extents}; give files of the same times, or "
                "leave a variable out (data.variables)"
            )
        common = both
    assert common is not None
    longest = max(times.size for times in own.values())
    if common.size < longest:
        every = np.unique(np.concatenate(list(own.values())))
        lacking = list(_lacking(own, every, groups))
        more = f"; {len(lacking) - _SHOWN} more variables lack times" if lacking[_SHOWN:] else ""
        notes.append(
            f"{NOT_COMMON}{common.size} of up to {longest} are common to all variables, and only "
            f"these are used; {'; '.join(lacking[:_SHOWN])}{more}"
        )
    return common, notes


def _lacking(
    own: Mapping[str, np.ndarray],
    every: np.ndarray,
    groups: Mapping[tuple[str, Any], Sequence[FileVariable]],
) -> Iterator[str]:
    """Describe the times that each variable lacks, with its files."""
    for (name, times), parts in zip(own.items(), groups.values(), strict=True):
        absent = np.setdiff1d(every, times, assume_unique=True)
        if absent.size:
            files = list(dict.fromkeys(part.file.path for part in parts))
            more = f" and {len(files) - 1} more" if files[1:] else ""
            yield f"{name} ({files[0]}{more}) lacks {absent.size} times, {_span(absent)}"


def _on_overlaps(variable: str, parts: Sequence[FileVariable], twice: np.ndarray) -> Iterator[str]:
    """Describe the times that files of a variable give twice, those with other values first."""
    pairs = np.unique(twice[:, [0, 2]], axis=0)
    described = [
        _overlap(variable, parts[a], parts[b], twice[(twice[:, 0] == a) & (twice[:, 2] == b)])
        for a, b in pairs[:_COMPARED]
    ]
    described.sort(key=lambda each: not each[0])
    yield from (text for _, text in described[:_SHOWN])
    if len(pairs) > _SHOWN:
        yield f"{variable}: times are given twice in {len(pairs) - _SHOWN} more pairs of files"


def _overlap(
    variable: str, a: FileVariable, b: FileVariable, shared: np.ndarray
) -> tuple[bool, str]:
    """Return whether the values of two files differ, and a text about their common times."""
    stamps = b.times[np.isin(b.rows, shared[:, 3])]
    text = f"{variable}: {len(shared)} times are given twice, {_span(stamps)}, in {a.file.path}"
    if a is b:
        return False, f"{text}; the first of each is used"
    compared = np.unique(np.linspace(0, len(shared) - 1, _TIMES).astype(int))
    for which in compared:
        if found := _difference(a, b, shared[which]):
            return True, (
                f"{text} and {b.file.path}; the values differ ({found} at "
                f"{format_minute(stamps[which])}), and those of the first file are used"
            )
    which = "these times" if compared.size == len(shared) else f"{compared.size} of these times"
    levels = len(a.levels or ())
    if levels > _LEVELS:
        which += f" and {_LEVELS} of {levels} levels"
    return False, (
        f"{text} and {b.file.path}; the values are equal at {which}, and those of the first file "
        "are used"
    )


def _difference(a: FileVariable, b: FileVariable, shared: np.ndarray) -> str:
    """Describe how fields of two files at a time differ; empty if all compared ones are equal."""
    count = len(a.levels or (None,))
    levels = np.unique(np.linspace(0, count - 1, _LEVELS).astype(int))
    _, row, _, other = shared
    fields = []
    for part, time in ((a, row), (b, other)):
        shape = (1, len(levels), part.latitude.size, part.longitude.size)
        out = np.empty(shape, np.float32)
        range_of_file = FileTimeRange(
            part.file, part.raw_name, part.grid, 0, range(1), part.factor, part.offset
        )
        read_from_file(
            out,
            range_of_file,
            np.array([time]),
            levels,
            np.arange(part.latitude.size),
            np.arange(part.longitude.size),
        )
        fields.append(out[0])
    for level, ours, theirs in zip(levels, *fields, strict=True):
        if found := _difference_of_fields(ours.astype(float), theirs.astype(float)):
            units = str(a.attrs["units"]) if found.startswith("by") else ""
            place = "" if a.levels is None else f"at {a.levels[level]:g} hPa"
            return " ".join(filter(None, (found, units, place)))
    return ""


def _difference_of_fields(ours: np.ndarray, theirs: np.ndarray) -> str:
    """Describe how two fields differ; empty if they are equal but for rounding."""
    missing = int((np.isnan(ours) != np.isnan(theirs)).sum())
    if missing:
        return f"{missing} values are missing in one of them"
    largest = float(np.nanmax(np.abs(ours - theirs), initial=0.0))
    spread = float(np.nanmax(ours, initial=-np.inf) - np.nanmin(ours, initial=np.inf))
    if largest <= max(_ROUNDING * spread, 1e-6 * float(np.nanmax(np.abs(ours), initial=0.0))):
        return ""
    return f"by up to {largest:.3g}"


def _span(times: np.ndarray) -> str:
    if not times.size:
        return "none"
    return f"{format_minute(times[0])} to {format_minute(times[-1])}"
