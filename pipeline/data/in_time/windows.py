"""Windows of stored times, each of which gives one time of the canonical Dataset."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.config.data_config import Aggregate
from gfrnn.pipeline.config.durations import Duration, month_middles
from gfrnn.pipeline.data.time_axis import origin_of_steps

Array = NDArray[Any]

CELL_METHODS = {"mean": "mean", "sum": "sum", "max": "maximum", "min": "minimum"}
"""Names of CF (``cell_methods``) of the ways to make one value of several."""


@dataclass(frozen=True, eq=False)
class TimeWindows:
    """Successive stored times that are made one.

    Attributes
    ----------
    method : {"mean", "sum", "max", "min"}
    first, stop : ndarray of int32, shape (times,)
        First stored time of each window, and the one after the last; windows do not overlap.
    fresh : ndarray of bool, shape (stored times,), or None
        Of values that grow from stamp to stamp: whether the growth begins anew before a stamp, so
        that the value is that of its own step. None for values that do not grow.
    """

    method: Literal["mean", "sum", "max", "min"]
    first: Array
    stop: Array
    fresh: Array | None = None

    def at(self, places: Array) -> TimeWindows:
        """Return some of the windows, given by their positions, ascending."""
        return replace(self, first=self.first[places], stop=self.stop[places])

    def last_times(self) -> TimeWindows:
        """Return windows of the last stored time of each, whose values are as the files state."""
        return TimeWindows("mean", self.stop - 1, self.stop)

    @property
    def longest(self) -> int:
        """Largest number of stored times of a window."""
        return int((self.stop - self.first).max(initial=1))

    def begin(self, places: Array) -> Array:
        """Return the first stored time that is read for some windows: shape of ``places``."""
        first = self.first[places]
        return first if self.fresh is None else first - ~self.fresh[first]

    def rows(self, places: Array) -> Array:
        """Return the stored times that are read for some windows: ascending, unique."""
        begin, stop = self.begin(places), self.stop[places]
        counts = stop - begin
        offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.unique(np.repeat(begin, counts) + offsets)

    def windows_of(self, rows: Array) -> Array:
        """Return the window of each stored time: shape of ``rows``, -1 for those of none."""
        found = np.searchsorted(self.first, rows, side="right") - 1
        return np.where((found >= 0) & (rows < self.stop[found]), found, -1)


def has_predecessor(time: Array, native: Duration, fresh: Array) -> Array:
    """Return whether the sum of a step can be computed from values that grow: shape of ``time``.

    The value one step before is needed, unless the growth begins anew there.
    """
    follows = np.append(False, native.differences(time) == native.length)
    return np.asarray(fresh | follows)


def complete_windows(
    time: Array,
    native: Duration,
    step: Duration,
    method: Aggregate,
    *,
    at_end: bool,
    fresh: Array | None = None,
    origin: np.datetime64 | None = None,
) -> tuple[Array, TimeWindows, Array, Array]:
    """Find the windows of one step of which all stored times are there.

    Windows begin at multiples of the step from an origin. The first time of a window of months is
    the middle of its first month, as in monthly data.

    Parameters
    ----------
    time : ndarray of datetime64, shape (stored times,)
        Increasing.
    native, step : Duration
        Step of the stored times, and that of the windows, a multiple of it.
    method : {"mean", "sum", "max", "min"}
    at_end : bool
        Whether values belong to the time before their stamp, so that a day has the stamps after
        00:00 up to the next 00:00.
    fresh : ndarray of bool, shape (stored times,), optional
        See :class:`TimeWindows`.
    origin : datetime64, optional
        Midnight UTC of a day or, for months, a January, at which a window begins; by default the
        day or year of the first time.

    Returns
    -------
    labels : ndarray of datetime64, shape (windows,)
        Beginning of each window, or the middle of its first month.
    windows : TimeWindows
    incomplete : ndarray of datetime64
        Labels of the windows that lack times, without those at the ends.
    ends : ndarray of datetime64
        Labels of incomplete windows in which the data begin or end.
    """
    inside = time - np.timedelta64(1, "ns") if at_end else time
    # That of the stamps, so that values before and at their stamps have the same windows.
    start: Any = origin_of_steps(time[0] if origin is None else origin, step)
    if step.monthly:
        months = inside.astype("datetime64[M]")
        year = start.astype("datetime64[M]")
        number = (months - year) // step.length
        begins = year + number * step.length
    else:
        number = (inside - start) // step.length
        begins = start + number * step.length
    cuts = np.flatnonzero(np.diff(number)) + 1
    first, stop = np.append(0, cuts), np.append(cuts, len(time))
    begins = begins[first]
    following = begins + step.length
    if native.monthly:
        wanted = (following - begins) // native.length
    else:
        wanted = (following.astype("M8[ns]") - begins.astype("M8[ns]")) // native.length
    whole = stop - first == wanted
    if fresh is not None:
        whole &= has_predecessor(time, native, fresh)[first]
    labels = month_middles(begins) if step.monthly else begins.astype("datetime64[ns]")
    ends = ~whole
    ends[1:-1] = False
    windows = TimeWindows(
        method, first[whole].astype(np.int32), stop[whole].astype(np.int32), fresh
    )
    return labels[whole], windows, labels[~whole & ~ends], labels[ends]
