"""Statistics of pairs of forecast and truth: means over regions of products of their anomalies.

A metric is a function of means of these statistics over initial times. They derive from few sums
over cells, in which all fields are multiplied by the roots of the weights of cells: of the error e,
of its size, and of its products with itself and with the truth's anomaly t. The anomaly of the
forecast is ``e + t``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

STATISTICS = (
    "squared_error",
    "error",
    "absolute_error",
    "anomaly_correlation",
    "squared_anomaly",
)
"""Statistics of each pair of forecast and truth."""

SUMS = 4
"""Number of the sums from which the statistics derive."""

# Mean squared anomaly of a forecast, relative to that of the truth, from which rounding errors of
# float32 do not decide its pattern.
_LEAST_ANOMALY = 1e-7


def error_sums(error: Array, truth: Array, regions: Array, weighted: Array) -> Array:
    """Return sums over the cells of a channel, or over a block of them.

    Parameters
    ----------
    error, truth : ndarray, shape (pairs, cells)
        Error of the forecast, which is overwritten, and anomaly of the truth, times the roots of
        the weights of cells.
    regions : ndarray, shape (cells, regions)
        1 for the cells of each region, else 0. The whole area is the first region.
    weighted : ndarray, shape (cells, regions)
        The same times the roots of the weights.

    Returns
    -------
    ndarray of float64, shape (SUMS, pairs, regions)
        Sums of ``e^2``, ``e``, ``|e|`` and ``e t``; those of the second and the third are weighted.
    """
    sums = np.empty((SUMS, len(error), regions.shape[1]))
    with np.errstate(invalid="ignore", over="ignore"):
        for own, factor in ((sums[0], error), (sums[3], truth)):
            if regions.shape[1] > 1:
                own[:] = (error * factor) @ regions
            else:
                own[:, 0] = np.vecdot(error, factor)
        sums[1] = error @ weighted
        sums[2] = np.abs(error, out=error) @ weighted
    return sums


def pair_statistics(means: Array, squares: Array) -> Array:
    """Return the statistics of pairs: shape (pairs, len(STATISTICS), regions, channels).

    Parameters
    ----------
    means : ndarray, shape (SUMS, pairs, regions, channels)
        Sums of :func:`error_sums` over all cells, divided by the share of each region.
    squares : ndarray, shape (pairs, regions, channels)
        Mean squared anomaly of the truth.

    Returns
    -------
    ndarray
        NaN where a value of the forecast is NaN. A forecast without anomalies, as the climatology
        is, has no pattern to correlate, and so has a truth without anomalies, such as one without
        precipitation: the correlation is 0.
    """
    squared, first, absolute, product = means
    with np.errstate(invalid="ignore", over="ignore"):
        own = np.maximum(squared + 2 * product + squares, 0.0)  # rounding errors have any sign
        # Comparisons with NaN are false, so that the correlation is NaN where a value is.
        varies = ~((own <= _LEAST_ANOMALY * squares) | ((squares == 0) & (own >= 0)))
        norm = np.sqrt(own * squares)
        correlation = np.divide(product + squares, norm, out=np.zeros_like(norm), where=varies)
    return np.stack([squared, first, absolute, correlation, own], axis=1)


def climatology_statistics(squares: Array, first: Array, absolute: Array) -> Array:
    """Return the statistics of forecasts of zero: shape (pairs, len(STATISTICS), ...).

    Parameters
    ----------
    squares, first, absolute : ndarray, shape (pairs, ...)
        Means of the squares of the truth's anomalies, of the anomalies, and of their sizes.
    """
    nothing = np.zeros_like(squares)
    return np.stack([squares, -first, absolute, nothing, nothing], axis=1)
