"""Statistics of pairs of forecast and truth: area means, computed as inner products.

Anomalies are multiplied by the square root of the weight of each cell, whose squares sum to 1. The
weighted mean of a product of two fields is then their inner product.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.data.grid import Grid

Array = NDArray[Any]

STATISTICS = ("squared_error", "error", "anomaly_correlation")
"""Statistics of each pair of forecast and truth: area means over the grid."""


def root_weights(grid: Grid) -> Array:
    """Return the roots of the weights of cells: shape (channels, cells), 0 in the mask.

    Weights are proportional to the cosine of latitude; those of a channel sum to 1.
    """
    weights = np.cos(np.deg2rad(grid.latitude))[:, None] * grid.valid
    weights = weights.reshape(len(weights), -1)
    return np.asarray(np.sqrt(weights / weights.sum(axis=1, keepdims=True)))


def pair_statistics(forecast: Array, truth: Array, squares: Array, roots: Array) -> Array:
    """Return the statistics of pairs: shape (len(STATISTICS), pairs, channels).

    Parameters
    ----------
    forecast, truth : ndarray, shape (pairs, channels, cells)
        Anomalies times ``roots``.
    squares : ndarray, shape (pairs, channels)
        Inner products of the truth with itself.
    roots : ndarray, shape (channels, cells)
        From :func:`root_weights`.

    Returns
    -------
    ndarray
        NaN where a value of the forecast is NaN. A forecast without anomalies, as the climatology
        is, has no pattern to correlate: its correlation is 0.
    """
    error = forecast - truth
    norm = np.sqrt(np.vecdot(forecast, forecast) * squares)
    correlation = np.divide(
        np.vecdot(forecast, truth), norm, out=np.zeros_like(norm), where=norm != 0
    )
    return np.stack([np.vecdot(error, error), np.vecdot(error, roots), correlation])


def climatology_statistics(squares: Array, means: Array) -> Array:
    """Return the statistics of forecasts of zero: shape (len(STATISTICS), pairs, channels).

    Parameters
    ----------
    squares, means : ndarray, shape (pairs, channels)
        Inner products of the truth with itself, and with the roots of the weights.
    """
    return np.stack([squares, -means, np.zeros_like(squares)])
