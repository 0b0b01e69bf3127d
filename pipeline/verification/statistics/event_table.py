"""The table of events, from which all scores of probability forecasts derive."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.verification.statistics.area_means import (
    broadcast_thresholds,
    cell_blocks,
    check_fields,
    count_members,
    has_nan,
    nan_where,
    sums_in_bins,
)

Array = NDArray[Any]


def event_table(members: Array, truth: Array, thresholds: Array, weights: Array) -> Array:
    """Return sums of weights by the number of members with an event and by the event itself.

    An event is a value of at least the threshold. Scores of the opposite event are the same
    for the Brier score, and follow from the reversed table for the others.

    Parameters
    ----------
    members : ndarray, shape (starts, members, channels, cells)
        A single forecast is an ensemble with one member.
    truth : ndarray, shape (starts, channels, cells)
    thresholds : ndarray, shape (thresholds, [starts,] channels, cells or 1)
        In the units of the members: fixed values, or quantiles of each cell, also of each initial
        time as with quantiles that depend on the day of the year.
    weights : ndarray, shape (regions, channels, cells)

    Returns
    -------
    ndarray, shape (starts, regions, channels, thresholds, 2, members + 1)
        Relative frequencies of 0 to all members with an event, at ``[..., 0, :]`` without the
        event in the truth, at ``[..., 1, :]`` with it; those of a threshold sum to 1.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    check_fields(members, truth, weights, members=True)
    starts, number, channels, cells = members.shape
    limits = broadcast_thresholds(thresholds, truth)
    bins = 2 * (number + 1)
    table = np.zeros((starts, len(weights), channels, len(limits), bins))
    for block in cell_blocks(cells, starts * channels * (number + 32)):
        some, real = members[..., block], truth[..., block]
        for threshold, limit in enumerate(limits[..., block]):
            counts = count_members(np.greater_equal, some, limit)
            counts += (real >= limit) * (number + 1)
            table[..., threshold, :] += sums_in_bins(counts, bins, weights[..., block])
    nan_where(has_nan(members, truth), table)
    return table.reshape(*table.shape[:-1], 2, number + 1)
