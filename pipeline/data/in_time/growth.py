"""Find in the values whether sums grow from stamp to stamp, and when they begin anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.config.durations import Duration
from gfrnn.pipeline.data.file_reading import FileTimeRange, read_from_file
from gfrnn.pipeline.data.joined_times import join_times
from gfrnn.pipeline.data.variables.file_variables import FileVariable

Array = NDArray[Any]

_DAY = np.timedelta64(1, "D")
_STRETCHES = 5  # days of which values are read, if one does not decide
_PLACES = 32  # latitudes and longitudes of which values are read
_ROUNDING = 1e-4  # of the largest value: differences of packed values
_FALLS, _RISES = 2, 3  # least numbers that show a growth


def find_period(
    parts: Sequence[FileVariable], time: Array, native: Duration
) -> tuple[Duration, str]:
    """Find the time after which sums begin anew.

    Parameters
    ----------
    parts : sequence of FileVariable
        Files of one variable, whose step is shorter than a day.
    time : ndarray of datetime64, shape (stored times,)
        Times of all files.
    native : Duration
        Step of these times.

    Returns
    -------
    period : Duration
        The step of the times for sums over each step; a longer one for sums that grow.
    doubt : str
        Reason why it is not certain; empty if it is.
    """
    falls: list[Array] = []  # times since midnight of the values before a fall
    rises = 0
    for stamps, values in _stretches(parts, time, native):
        size = np.abs(values).max(initial=0.0)
        tolerance = max(_ROUNDING * size, _quantum(parts[0]))
        if values.min(initial=0.0) < -tolerance and values.max(initial=0.0) > tolerance:
            return native, "values of both signs do not show whether sums grow from stamp to stamp"
        change = np.diff(np.abs(values), axis=0)
        since = stamps[:-1] - stamps[:-1].astype("datetime64[D]")
        falls.append(np.repeat(since, (change < -tolerance).sum(axis=1)))
        rises += int((change > tolerance).sum())
    fallen = np.concatenate([np.empty(0, "m8[ns]"), *falls])
    if rises == 0 and not fallen.size:
        return native, ""  # nothing but zeros, whichever sums they are
    for period in _periods(native):
        phases = np.unique(fallen % period.length)
        if len(phases) > 1:
            continue
        if fallen.size < _FALLS or rises < _RISES:
            return native, "too few values show whether sums grow from stamp to stamp"
        if phases[0] == np.timedelta64(0):
            return period, ""
        minutes = int(phases[0] / np.timedelta64(1, "m"))
        return native, (
            f"values seem to grow from stamp to stamp and to begin anew every {period} from "
            f"{minutes // 60:02d}:{minutes % 60:02d} UTC, and not from midnight; such values must "
            "be turned into sums of their own steps before"
        )
    return native, ""


def negative_share(
    parts: Sequence[FileVariable], time: Array, native: Duration, period: Duration
) -> float:
    """Return the share of negative sums of single steps if values grow over a stated time.

    Values of some days are read. Sums that may have both signs have a share of 0.

    Parameters
    ----------
    parts, time, native
        As for :func:`find_period`.
    period : Duration
        Time after which the sum is said to begin anew, from midnight UTC.
    """
    falls = count = 0
    for stamps, values in _stretches(parts, time, native):
        size = np.abs(values).max(initial=0.0)
        tolerance = max(_ROUNDING * size, _quantum(parts[0]))
        if values.min(initial=0.0) < -tolerance and values.max(initial=0.0) > tolerance:
            return 0.0
        since = stamps[:-1] - stamps[:-1].astype("datetime64[D]")
        grown = since % period.length != np.timedelta64(0)
        change = np.diff(np.abs(values), axis=0)[grown]
        falls, count = falls + int((change < -tolerance).sum()), count + change.size
    return falls / count if count else 0.0


def _periods(native: Duration) -> list[Duration]:
    """Return multiples of a step that divide a day, longest first, without the step itself."""
    steps = int(_DAY / native.length)
    return [native * n for n in range(steps, 1, -1) if _DAY % (native.length * n) == 0 * _DAY]


def _stretches(
    parts: Sequence[FileVariable], time: Array, native: Duration
) -> Iterator[tuple[Array, Array]]:
    """Yield times of some days without a gap, and values at some places: shape (times, places)."""
    length = int(_DAY / native.length) + 2
    _, which, rows, _ = join_times(parts)
    firsts = np.linspace(0, max(0, len(time) - length), _STRETCHES).astype(int)
    for first in dict.fromkeys(firsts.tolist()):
        here = slice(first, first + length)
        if (np.diff(time[here]) != native.length).any():
            continue
        values = [
            _values(parts[part], rows[here][which[here] == part])
            for part in dict.fromkeys(which[here].tolist())
        ]
        joined = np.concatenate(values)
        yield time[here], joined[:, np.isfinite(joined).all(axis=0)]


def _values(part: FileVariable, rows: Array) -> Array:
    """Read some times of a file at some places: float64, shape (times, places)."""
    places = [
        np.arange(0, size, max(1, -(-size // _PLACES)))
        for size in (part.latitude.size, part.longitude.size)
    ]
    out = np.empty((len(rows), 1, *map(len, places)))
    whole = FileTimeRange(
        part.file, part.raw_name, part.grid, 0, range(1), part.factor, part.offset
    )
    read_from_file(out, whole, rows, np.zeros(1, int), *places)
    return out.reshape(len(rows), -1)


def _quantum(part: FileVariable) -> float:
    """Return the difference of two packed integers, 0 for values that are not packed."""
    scale = part.file.open()[part.raw_name].encoding.get("scale_factor", 0.0)
    return 1.5 * abs(float(np.asarray(scale).item()) * part.factor)
