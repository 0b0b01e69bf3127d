"""The energy score of maps, which rates the ensemble as forecasts of whole fields."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.verification.statistics.area_means import (
    cell_blocks,
    check_fields,
    has_nan,
    nan_where,
)

Array = NDArray[Any]

ENERGY_SCORES = ("energy_score", "fair_energy_score")
"""Statistics of a pair of ensemble and truth."""


def energy_scores(members: Array, truth: Array, weights: Array) -> dict[str, Array]:
    """Return the energy score of each channel, for each initial time.

    It is ``mean_i |x_i - y| - sum_ij |x_i - x_j| / (2 M^2)`` for maps x of M members and y of the
    truth (Gneiting and Raftery 2007, J. Amer. Stat. Assoc. 102, 359-378, equation 22). The norm of
    a map is the root of its mean square over the area. The fair score has ``M (M - 1)`` in place of
    ``M^2``. With a single cell the scores are the CRPS.

    Distances of members are computed from inner products, which takes one matrix product of the
    members for each region. Distances below 1e-8 of the ensemble spread are lost in rounding.

    Parameters
    ----------
    members : ndarray, shape (starts, members, channels, cells)
        Fields or anomalies, in the units of the channel. Their order has no effect.
    truth : ndarray, shape (starts, channels, cells)
    weights : ndarray, shape (regions, channels, cells)

    Returns
    -------
    dict of ndarray, shape (starts, regions, channels)
        By the names ENERGY_SCORES, in the units of the channel. With one member, the energy score
        is the root of the mean squared error of the map, and the fair score is NaN.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    check_fields(members, truth, weights, members=True)
    starts, number, channels, _ = members.shape
    errors = np.empty((starts, len(weights), channels))
    distances = np.empty_like(errors)
    with np.errstate(invalid="ignore", over="ignore"):
        for region, channel in np.ndindex(len(weights), channels):
            inside = np.flatnonzero(weights[region, channel])
            # Cells between the first and the last of the region, which costs no copy.
            cells = slice(inside[0], inside[-1] + 1) if len(inside) else slice(0)
            roots = np.sqrt(weights[region, channel, cells])
            for start in range(starts):
                own = members[start, :, channel, cells], truth[start, channel, cells]
                errors[start, region, channel], distances[start, region, channel] = _sums(
                    *own, roots
                )
    score = errors / number - distances / (2 * number**2)
    if number == 1:
        fair = np.full_like(score, np.nan)
    else:
        fair = errors / number - distances / (2 * number * (number - 1))
    missing = has_nan(members, truth)
    found = (nan_where(missing, own) for own in (score, fair))
    return dict(zip(ENERGY_SCORES, found, strict=True))


def _sums(members: Array, truth: Array, roots: Array) -> tuple[float, float]:
    """Return the sums of distances from members to the truth, and of all pairs of members.

    Parameters
    ----------
    members : ndarray, shape (members, cells)
    truth : ndarray, shape (cells,)
    roots : ndarray, shape (cells,)
        Roots of the weights.
    """
    number, cells = members.shape
    squares, products = np.zeros(number), np.zeros((number, number))
    blocks = list(cell_blocks(cells, 8 * number))
    # Memory that is used again stays in the cache.
    scratch = np.empty((number, blocks[0].stop if blocks else 0))
    for block in blocks:
        departures = scratch[:, : block.stop - block.start]
        np.subtract(members[:, block], truth[block], out=departures, dtype=np.float64)
        departures *= roots[block]
        squares += np.vecdot(departures, departures)
        # Products of departures from the ensemble mean are of the size of the distances.
        departures -= departures.mean(axis=0)
        products += departures @ departures.T
    own = np.diagonal(products)
    squared = np.maximum(own[:, None] + own - 2 * products, 0.0)
    np.fill_diagonal(squared, np.where(np.isnan(own), np.nan, 0.0))
    return float(np.sqrt(squares).sum()), float(np.sqrt(squared).sum())
