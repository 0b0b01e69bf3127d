"""Errors of several systems at the same pairs, block by block, and their means over regions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.verification.statistics.pair_statistics import SUMS, error_sums
from gfrnn.pipeline.verification.statistics.region_means import RegionMeans
from gfrnn.pipeline.verification.systems.blocks import row_blocks

Array = NDArray[Any]

BlockErrors = Callable[[slice, int, slice], Array]
"""Function that returns the error of a forecast at some pairs, in a channel, in some cells: a new
array, shape (pairs, cells), of forecast minus truth, times the roots of the weights of cells."""


def error_means(
    systems: Sequence[BlockErrors | None],
    truth: Array,
    roots: Array,
    means: RegionMeans,
    index_weights: Array,
) -> tuple[Array, Array]:
    """Return means over regions, and indices, of the errors of systems.

    A block of the truth stays in the cache while the errors of all systems are computed there.

    Parameters
    ----------
    systems : sequence of BlockErrors or None
        None for a system whose means are not wanted; they are 0.
    truth : ndarray, shape (pairs, channels, cells)
        Anomalies of the truth, times the roots of the weights of cells.
    roots : ndarray, shape (channels, cells)
        Roots of the weights, in the precision of the truth.
    means : RegionMeans
    index_weights : ndarray, shape (indices, channels, cells)
        Weights of the errors in each index, in the precision of the truth.

    Returns
    -------
    ndarray, shape (systems, SUMS, pairs, regions, channels)
        See :func:`gfrnn.pipeline.verification.statistics.pair_statistics.error_sums`.
    ndarray, shape (systems, pairs, indices)
    """
    pairs, channels, _ = truth.shape
    sums = np.zeros((len(systems), SUMS, pairs, len(means.names), channels))
    indices = np.zeros((len(systems), pairs, len(index_weights)))
    # Most channels have no index.
    used = [np.flatnonzero(own.any(axis=-1)) for own in index_weights.swapaxes(0, 1)]
    for rows, channel, cells in row_blocks(*truth.shape):
        real, own_roots = truth[rows, channel, cells], roots[channel, cells]
        regions, own = means.cells_of_regions[cells], used[channel]
        weighted = own_roots[:, None] * regions
        for system, errors in enumerate(systems):
            if errors is None:
                continue
            error = errors(rows, channel, cells)
            if len(own):
                indices[system, rows][:, own] += error @ index_weights[own, channel, cells].T
            sums[system, :, rows, :, channel] += error_sums(error, real, regions, weighted)
    return means.of_sums(sums), indices


def forecast_errors(
    block: Sequence[Array], lead: int, part: slice | Array, real: Array, roots: Array
) -> BlockErrors:
    """Return the errors of forecasts, or of the means of ensembles.

    Parameters
    ----------
    block : sequence of ndarray
        For each channel, shape (starts, members, leads, cells).
    lead : int
        Position of the lead in the block.
    part : slice or ndarray of int
        Positions of the initial times of the pairs.
    real : ndarray, shape (pairs, channels, cells)
        Fields of the truth.
    roots : ndarray, shape (channels, cells)
        Roots of the weights of cells, 0 in the mask.
    """
    fields = [values[part, :, lead] for values in block]

    def errors(rows: slice, channel: int, cells: slice) -> Array:
        members, own = fields[channel][rows, :, cells], roots[channel, cells]
        centre = members[:, 0] if members.shape[1] == 1 else members.mean(axis=1, dtype=float)
        found = np.subtract(centre, real[rows, channel, cells])
        found = found.astype(real.dtype, copy=False)
        found *= own
        if not own.all():
            found[:, own == 0] = 0.0  # forecasts are NaN in the mask
        return found

    return errors
