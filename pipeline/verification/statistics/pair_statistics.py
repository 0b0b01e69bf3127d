"""Statistics of pairs of forecast and truth: means over regions of products of their anomalies.

A metric is a function of means of these statistics over initial times.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.verification.statistics.region_means import RegionMeans

Array = NDArray[Any]

STATISTICS = (
    "squared_error",
    "error",
    "absolute_error",
    "anomaly_correlation",
    "squared_anomaly",
)
"""Statistics of each pair of forecast and truth."""


def pair_statistics(forecast: Array, truth: Array, squares: Array, means: RegionMeans) -> Array:
    """Return the statistics of pairs: shape (pairs, len(STATISTICS), regions, channels).

    Parameters
    ----------
    forecast, truth : ndarray, shape (pairs, channels, cells)
        Anomalies times the roots of the weights of cells.
    squares : ndarray, shape (pairs, regions, channels)
        Mean squared anomaly of the truth.
    means : RegionMeans

    Returns
    -------
    ndarray
        NaN where a value of the forecast is NaN. A forecast without anomalies, as the climatology
        is, has no pattern to correlate: its correlation is 0.
    """
    error = forecast - truth
    own = means.inner(forecast, forecast)
    norm = np.sqrt(own * squares)
    correlation = np.divide(
        means.inner(forecast, truth), norm, out=np.zeros_like(norm), where=norm != 0
    )
    squared, mean = means.inner(error, error), means.inner(error, means.roots)
    absolute = means.inner(np.abs(error, out=error), means.roots)
    return np.stack([squared, mean, absolute, correlation, own], axis=1)


def climatology_statistics(squares: Array, first: Array, absolute: Array) -> Array:
    """Return the statistics of forecasts of zero: shape (pairs, len(STATISTICS), ...).

    Parameters
    ----------
    squares, first, absolute : ndarray, shape (pairs, ...)
        Means of the squares of the truth's anomalies, of the anomalies, and of their sizes.
    """
    nothing = np.zeros_like(squares)
    return np.stack([squares, -first, absolute, nothing, nothing], axis=1)
