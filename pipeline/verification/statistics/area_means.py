"""Area means and sums of weights, for several regions at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Bytes of the values of a block of cells: they stay in a processor core's own cache.
_BLOCK_BYTES = 2**18

# Fewest cells of a block: shorter ones spend their time in Python.
_LEAST_CELLS = 64


def cell_blocks(cells: int, bytes_per_cell: int) -> Iterator[slice]:
    """Yield slices that cut the cells into blocks of one length; the last may be shorter.

    Parameters
    ----------
    cells : int
        Number of cells.
    bytes_per_cell : int
        Bytes of all the values of a cell that are held at once.
    """
    length = max(_LEAST_CELLS, _BLOCK_BYTES // max(1, bytes_per_cell))
    for first in range(0, cells, length):
        yield slice(first, min(first + length, cells))


def area_means(values: Array, weights: Array) -> Array:
    """Return weighted sums over cells, which are means as the weights sum to 1.

    Parameters
    ----------
    values : ndarray, shape (n, channels, cells)
    weights : ndarray, shape (regions, channels, cells)

    Returns
    -------
    ndarray of float64, shape (n, regions, channels)
        In the units of the values.
    """
    # One matrix product (regions, cells) @ (cells, n) for each channel. Values that are not finite
    # are allowed, so the warnings about them are not wanted.
    with np.errstate(invalid="ignore", over="ignore"):
        sums = np.matmul(weights.transpose(1, 0, 2), values.transpose(1, 2, 0), dtype=np.float64)
    return np.ascontiguousarray(sums.transpose(2, 1, 0))


def sums_in_bins(bins: Array, number: int, weights: Array) -> Array:
    """Return the sum of the weights of the cells in each bin.

    Parameters
    ----------
    bins : ndarray of int, shape (n, channels, cells)
        Bin of each cell, from 0 to ``number - 1``.
    number : int
        Number of bins.
    weights : ndarray, shape (regions, channels, cells)

    Returns
    -------
    ndarray of float64, shape (n, regions, channels, number)
        Dimensionless; the bins of a pair sum to the sum of its weights.
    """
    rows, channels, _ = bins.shape
    places = np.arange(rows * channels).reshape(rows, channels, 1) * number + bins
    sums = np.empty((rows, len(weights), channels, number))
    for region, own in enumerate(weights):
        repeated = np.broadcast_to(own, bins.shape).reshape(-1)
        found = np.bincount(places.reshape(-1), repeated, minlength=rows * channels * number)
        sums[:, region] = found.reshape(rows, channels, number)
    return sums


def count_members(compare: np.ufunc, members: Array, limits: Array) -> Array:
    """Return the number of members for which a comparison with a limit holds.

    Parameters
    ----------
    compare : numpy.ufunc
        Such as ``numpy.less``; it is False for NaN.
    members : ndarray, shape (starts, members, channels, cells)
    limits : ndarray, shape (starts, channels, cells)
        In the units of the members.

    Returns
    -------
    ndarray of int64, shape (starts, channels, cells)
    """
    holds = compare(members, limits[:, None])
    # Short integers are added many at a time.
    return np.add.reduce(holds.view(np.uint8), axis=1, dtype=np.uint16).astype(np.int64)


def broadcast_thresholds(thresholds: Array, truth: Array) -> Array:
    """Return thresholds at each value of the truth: shape (thresholds, *truth.shape), a view.

    Parameters
    ----------
    thresholds : ndarray, shape (thresholds, [starts,] channels, cells or 1)
        Fixed values, or those of each cell, also of each initial time.
    truth : ndarray, shape (starts, channels, cells)

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    found = thresholds[:, None] if thresholds.ndim == 3 else thresholds
    if found.ndim != 4 or any(
        size not in (1, allowed) for size, allowed in zip(found.shape[1:], truth.shape, strict=True)
    ):
        starts, channels, cells = truth.shape
        raise ValueError(
            f"thresholds: found shape {thresholds.shape}, allowed: (thresholds, [{starts},] "
            f"{channels}, {cells} or 1)"
        )
    return np.broadcast_to(found, (len(found), *truth.shape))


def has_nan(members: Array, truth: Array) -> Array:
    """Return whether a member or the truth is NaN anywhere: shape (starts, channels)."""
    # A maximum is NaN where a value is, and needs no copy of the members.
    with np.errstate(invalid="ignore"):
        return np.isnan(members.max(axis=(1, 3))) | np.isnan(truth.max(axis=2))


def nan_where(missing: Array, statistic: Array) -> Array:
    """Set a statistic to NaN at some pairs, in place, and return it.

    Parameters
    ----------
    missing : ndarray of bool, shape (starts, channels)
    statistic : ndarray, shape (starts, regions, channels, ...)
    """
    if missing.any():
        statistic.swapaxes(1, 2)[missing] = np.nan
    return statistic


def check_fields(forecast: Array, truth: Array, weights: Array, members: bool = False) -> None:
    """Check that the shapes of forecast, truth and weights fit.

    Raises
    ------
    ValueError
        If they do not; it names the array, its shape and the allowed one.
    """
    if truth.ndim != 3:
        raise ValueError(f"truth: found shape {truth.shape}, allowed: (starts, channels, cells)")
    starts, channels, cells = truth.shape
    expected = (starts, "members", channels, cells) if members else truth.shape
    found = forecast.shape
    if len(found) != len(expected) or any(
        isinstance(size, int) and size != own for own, size in zip(found, expected, strict=True)
    ):
        raise ValueError(f"forecast: found shape {found}, allowed: {expected}")
    if members and not found[1]:
        raise ValueError(f"forecast: found shape {found}, allowed: one member or more")
    if weights.ndim != 3 or weights.shape[1:] != (channels, cells):
        raise ValueError(
            f"weights: found shape {weights.shape}, allowed: (regions, {channels}, {cells})"
        )
