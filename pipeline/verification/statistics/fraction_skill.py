"""Sums for the fractions skill score, which rates events in neighbourhoods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.verification.statistics.area_means import (
    area_means,
    broadcast_thresholds,
    check_fields,
    count_members,
    has_nan,
    nan_where,
)

Array = NDArray[Any]

FRACTION_STATISTICS = ("fraction_squared_difference", "fraction_squares")
"""Statistics of the fractions of a neighbourhood with an event."""


def fraction_statistics(
    members: Array,
    truth: Array,
    thresholds: Array,
    widths: Sequence[int],
    weights: Array,
    shape: tuple[int, int],
    periodic: bool,
    valid: Array | None = None,
) -> dict[str, Array]:
    """Return area means of the squares of event fractions in neighbourhoods.

    An event is a value of at least the threshold. The fraction of a cell is the part of the valid
    cells with an event in a square of a number of cells around it; for ensembles, it is the mean
    over members. The square ends at the edges of the grid, at the poles, and at the mask. Cells
    count equally in a neighbourhood; squares of fractions are averaged with the weights. A start
    takes about ``members + 90`` bytes of memory for each of its cells and channels.

    Parameters
    ----------
    members : ndarray, shape (starts, members, channels, cells)
        A single forecast is an ensemble with one member. Longitude varies fastest.
    truth : ndarray, shape (starts, channels, cells)
    thresholds : ndarray, shape (thresholds, [starts,] channels, cells or 1)
        In the units of the members.
    widths : sequence of int
        Odd widths of the neighbourhoods, in cells.
    weights : ndarray, shape (regions, channels, cells)
    shape : (int, int)
        Numbers of latitudes and longitudes.
    periodic : bool
        Whether the rows go around the globe.
    valid : ndarray of bool, shape (channels, cells), optional
        False in the mask. The default is no mask.

    Returns
    -------
    dict of ndarray, shape (starts, regions, channels, thresholds, widths)
        By the names FRACTION_STATISTICS, dimensionless: means of ``(Pf - Po)^2`` and of
        ``Pf^2 + Po^2`` for the fractions Pf of the forecast and Po of the truth, see
        :func:`fractions_skill_score`.

    Raises
    ------
    ValueError
        If the shapes do not fit, or a width is even, below 1 or wider than a periodic row.
    """
    check_fields(members, truth, weights, members=True)
    starts, number, channels, cells = members.shape
    rows, columns = shape
    if rows * columns != cells:
        raise ValueError(f"shape: found {shape}, allowed: two numbers with the product {cells}")
    for width in widths:
        if width < 1 or width % 2 == 0 or (periodic and width > columns):
            most = f", at most {columns}" if periodic else ""
            raise ValueError(f"widths: found {width}, allowed: odd numbers from 1{most}")
    limits = broadcast_thresholds(thresholds, truth)
    if valid is None:
        valid = np.ones((channels, cells), dtype=bool)
    size = (starts, len(weights), channels, len(thresholds), len(widths))
    found = {name: np.empty(size) for name in FRACTION_STATISTICS}
    inside = [
        np.maximum(_box_sums(valid.reshape(channels, *shape), width, periodic), 1)
        for width in widths
    ]
    for place, limit in enumerate(limits):
        real = ((truth >= limit) & valid).reshape(starts, channels, *shape)
        ours = count_members(np.greater_equal, members, limit) * valid
        counts = ours.reshape(real.shape)
        for last, width in enumerate(widths):
            forecast = _box_sums(counts, width, periodic) / (number * inside[last])
            observed = _box_sums(real, width, periodic) / inside[last]
            values = (forecast - observed) ** 2, forecast**2 + observed**2
            for name, each in zip(FRACTION_STATISTICS, values, strict=True):
                means = area_means(each.reshape(truth.shape), weights)
                found[name][..., place, last] = means
    missing = has_nan(members, truth)
    return {name: nan_where(missing, values) for name, values in found.items()}


def fractions_skill_score(squared_difference: Array, squares: Array) -> Array:
    """Return the fractions skill score ``1 - <(Pf - Po)^2> / <Pf^2 + Po^2>``.

    Means over initial times give the score of Roberts and Lean (2008, Mon. Wea. Rev. 136, 78-97).

    Parameters
    ----------
    squared_difference, squares : ndarray
        Means of the statistics FRACTION_STATISTICS.

    Returns
    -------
    ndarray
        Dimensionless, from 0 to 1, which is perfect; NaN where neither the forecast nor the truth
        has an event.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(squares == 0, np.nan, 1 - squared_difference / squares)


def _box_sums(counts: Array, width: int, periodic: bool) -> Array:
    """Return sums over the cells in a square around each: shape (..., latitudes, longitudes)."""
    half = width // 2
    sums = _window_sums(counts, half, -2)
    if not periodic:
        return _window_sums(sums, half, -1)
    columns = sums.shape[-1]
    around = np.arange(-half, columns + half) % columns
    return _window_sums(sums[..., around], half, -1)[..., half : half + columns]


def _window_sums(counts: Array, half: int, axis: int) -> Array:
    """Return sums over the neighbours up to a distance along an axis, within the array."""
    length = counts.shape[axis]
    sums = np.cumsum(counts, axis=axis, dtype=np.int64)
    sums = np.concatenate([np.zeros_like(np.take(sums, [0], axis=axis)), sums], axis=axis)
    places = np.arange(length)
    after = np.take(sums, np.minimum(places + half + 1, length), axis=axis)
    return np.asarray(after - np.take(sums, np.maximum(places - half, 0), axis=axis))
