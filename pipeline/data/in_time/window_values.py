"""Compute one value of the stored values of each window, read in any number of parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.data.in_time.windows import TimeWindows

Array = NDArray[Any]


class WindowValues:
    """The values of some windows, of which stored values are added in order of time.

    Values are added one time after the other in float64, so that the results do not depend on the
    parts in which they are read.

    Parameters
    ----------
    windows : TimeWindows
    places : ndarray of int
        Positions of the wanted windows, ascending.
    """

    def __init__(self, windows: TimeWindows, places: Array) -> None:
        self._windows = windows
        self._places = places
        self._value: Array | None = None  # of the window that is not complete yet
        self._previous: Array | None = None  # the last stored value, of values that grow

    def add(self, rows: Array, values: Array) -> Iterator[tuple[int, Array]]:
        """Add stored values; yield those of the windows that are complete.

        Parameters
        ----------
        rows : ndarray of int, shape (rows,)
            Stored times, which follow those that were added before.
        values : ndarray of float32, shape (rows, ...)

        Yields
        ------
        int
            Number of the window among the wanted ones.
        ndarray of float64, shape (...)
        """
        windows = self._windows
        owners = windows.windows_of(rows)
        wanted = np.searchsorted(self._places, owners)
        for row, owner, place, value in zip(rows, owners, wanted, values, strict=True):
            previous, self._previous = self._previous, value
            is_wanted = place < len(self._places) and self._places[place] == owner
            if not is_wanted:
                continue
            own = value
            if windows.fresh is not None and not windows.fresh[row]:
                assert previous is not None, "the stored time before is read too"
                own = value.astype(float) - previous
            first, stop = windows.first[owner], windows.stop[owner]
            self._value = own.astype(float) if row == first else self._joined(own)
            if row == stop - 1:
                if windows.method == "mean":
                    self._value /= stop - first
                yield int(place), self._value

    def _joined(self, value: Array) -> Array:
        assert self._value is not None, "the first time of a window is added first"
        if self._windows.method == "max":
            return np.maximum(self._value, value, out=self._value)
        if self._windows.method == "min":
            return np.minimum(self._value, value, out=self._value)
        return np.add(self._value, value, out=self._value)


def read_windows(
    target: Array,
    windows: TimeWindows,
    places: Array,
    parts: Sequence[Array],
    read: Callable[[Array], Array],
) -> None:
    """Read stored times in parts, and compute the values of windows.

    Parameters
    ----------
    target : ndarray of float32 or float64, shape (times, ...)
        Receives the values.
    windows : TimeWindows
    places : ndarray of int, shape (times,)
        Positions of the windows, in any order.
    parts : sequence of ndarray of int
        All stored times of these windows, ascending, cut into those that are read together.
    read : callable
        Returns the values of stored times: float32, shape (rows, ...).
    """
    unique, back = np.unique(places, return_inverse=True)
    order = np.argsort(back, kind="stable")
    ends = np.cumsum(np.bincount(back))
    computed = WindowValues(windows, unique)
    for rows in parts:
        for number, value in computed.add(rows, read(rows)):
            start = ends[number - 1] if number else 0
            target[order[start : ends[number]]] = value
