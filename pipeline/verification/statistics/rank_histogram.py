"""The rank histogram: sums of weights by the rank of the truth among the members."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.verification.statistics.area_means import (
    cell_blocks,
    check_fields,
    count_members,
    has_nan,
    nan_where,
    sums_in_bins,
)

Array = NDArray[Any]


def rank_histogram(members: Array, truth: Array, weights: Array) -> Array:
    """Return the rank histogram of each initial time.

    Bin k holds the weights of the cells where k members are below the truth (Hamill 2001, Mon.
    Wea. Rev. 129, 550-560). Where members equal the truth, the weight of the cell is divided evenly
    among the bins that are possible.

    Parameters
    ----------
    members : ndarray, shape (starts, members, channels, cells)
    truth : ndarray, shape (starts, channels, cells)
        In the units of the members.
    weights : ndarray, shape (regions, channels, cells)

    Returns
    -------
    ndarray, shape (starts, regions, channels, members + 1)
        Relative frequencies: the bins sum to 1. With one member there are two bins. Without spread
        the truth lies in the outer bins, or in all of them evenly where it equals the members.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    check_fields(members, truth, weights, members=True)
    starts, number, channels, cells = members.shape
    histogram = np.zeros((starts, len(weights), channels, number + 1))
    for block in cell_blocks(cells, starts * channels * (number + 32)):
        some, real, own = members[..., block], truth[..., block], weights[..., block]
        below = count_members(np.less, some, real)
        equal = count_members(np.less_equal, some, real) - below
        # In the mask, all values are equal.
        equal[:, ~own.any(axis=0)] = 0
        if equal.any():
            histogram += _with_ties(below, equal, number + 1, own)
        else:
            histogram += sums_in_bins(below, number + 1, own)
    return nan_where(has_nan(members, truth), histogram)


def _with_ties(below: Array, equal: Array, number: int, weights: Array) -> Array:
    """Return the sums of weights in bins where ``equal`` members equal the truth."""
    starts, channels, _ = below.shape
    pairs = np.arange(starts * channels).reshape(starts, channels, 1)
    places = (pairs * number + below).reshape(-1)
    ties = equal.reshape(-1)
    sums = np.zeros((starts, len(weights), channels, number))
    for region, own in enumerate(weights):
        shares = (own / (equal + 1)).reshape(-1)
        total = np.zeros(starts * channels * number)
        for extra in range(int(ties.max()) + 1):
            possible = np.flatnonzero(ties >= extra)
            total += np.bincount(places[possible] + extra, shares[possible], minlength=total.size)
        sums[:, region] = total.reshape(starts, channels, number)
    return sums
