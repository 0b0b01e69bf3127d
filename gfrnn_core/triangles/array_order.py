"""Copy rows and triangles between arrays of different order."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Rows that are copied together between arrays of different order, so that both stay in the cache.
_COPIED = 16

# Entries of a square of so many rows that are not below its diagonal.
_UPPER = np.triu(np.ones((_COPIED, _COPIED), dtype=bool))


def copy_rows(rows: Array, out: Array) -> None:
    """Copy rows into an array of another order, a few at a time, which may stay in the cache.

    Parameters
    ----------
    rows, out : ndarray, shape (rows, columns)
    """
    for first in range(0, len(rows), _COPIED):
        out[first : first + _COPIED] = rows[first : first + _COPIED]


def upper_triangle(trapezoid: Array, dtype: Any, order: Literal["C", "F"]) -> Array:
    """Return a copy of a trapezoid with zeros below the diagonal, in a precision and an order.

    ``np.triu`` followed by a change of the order takes more than twice as long.

    Parameters
    ----------
    trapezoid : ndarray, shape (rows, columns)
        Values below the diagonal are ignored.
    """
    rows, columns = trapezoid.shape
    upper = np.zeros((rows, columns), dtype, order=order)
    for first in range(0, rows, _COPIED):
        last = min(first + _COPIED, rows)
        upper[first:last, last:] = trapezoid[first:last, last:]
        square = trapezoid[first:last, first:last]
        np.copyto(upper[first:last, first:last], square, where=_UPPER[: len(square), : len(square)])
    return upper
