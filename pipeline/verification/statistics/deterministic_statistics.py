"""Statistics of single forecasts: errors, products and the anomaly correlation of each map."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.verification.statistics.area_means import area_means, cell_blocks, check_fields

Array = NDArray[Any]

# Bytes of the errors of some whole maps that are computed at once.
_BLOCK_BYTES = 2**19

DETERMINISTIC_STATISTICS = (
    "error",
    "absolute_error",
    "squared_error",
    "squared_forecast",
    "squared_truth",
    "product",
    "anomaly_correlation",
)
"""Statistics of a pair of forecast and truth."""


def deterministic_statistics(forecast: Array, truth: Array, weights: Array) -> dict[str, Array]:
    """Return the statistics of pairs of forecast and truth.

    Parameters
    ----------
    forecast, truth : ndarray, shape (starts, channels, cells)
        Anomalies from the climatology, in the units of the channel. They may be fields where only
        the errors are wanted.
    weights : ndarray, shape (regions, channels, cells)

    Returns
    -------
    dict of ndarray, shape (starts, regions, channels)
        By the names DETERMINISTIC_STATISTICS. ``error`` (forecast minus truth, whose mean is the
        bias) and ``absolute_error`` have the units of the channel, ``squared_error``,
        ``squared_forecast``, ``squared_truth`` and ``product`` their square. The root of the mean
        of ``squared_forecast`` is the activity. ``anomaly_correlation`` is that of each map, see
        :func:`anomaly_correlation`.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    check_fields(forecast, truth, weights)
    names = DETERMINISTIC_STATISTICS[:-1]
    starts, channels, cells = truth.shape
    means = np.zeros((len(names), starts, len(weights), channels))
    # Whole maps of some starts, or blocks of the cells of one: values that are next to each other.
    together = max(1, _BLOCK_BYTES // max(1, 16 * channels * cells))
    for first in range(0, starts, together):
        part = slice(first, first + together)
        means[:, part] = _means(forecast[part], truth[part], weights)
    found = dict(zip(names, means, strict=True))
    found["anomaly_correlation"] = anomaly_correlation(
        found["product"], found["squared_forecast"], found["squared_truth"]
    )
    return found


def _means(forecast: Array, truth: Array, weights: Array) -> Array:
    """Return the area means: shape (len(DETERMINISTIC_STATISTICS) - 1, starts, regions, channels).

    Parameters
    ----------
    forecast, truth : ndarray, shape (starts, channels, cells)
    weights : ndarray, shape (regions, channels, cells)
    """
    starts, channels, cells = truth.shape
    means = np.zeros((len(DETERMINISTIC_STATISTICS) - 1, starts, len(weights), channels))
    blocks = list(cell_blocks(cells, 8 * starts * channels))
    # Memory that is used again stays in the cache.
    scratch = np.empty((2, starts, channels, blocks[0].stop if blocks else 0))
    for block in blocks:
        ours, real, own = forecast[..., block], truth[..., block], weights[..., block]
        error, values = scratch[..., : block.stop - block.start]
        with np.errstate(invalid="ignore", over="ignore"):
            np.subtract(ours, real, out=error, dtype=np.float64)
            means[0] += area_means(error, own)
            means[1] += area_means(np.abs(error, out=values), own)
            means[2] += area_means(np.square(error, out=values), own)
            means[3] += area_means(np.square(ours, out=values, dtype=np.float64), own)
            means[4] += area_means(np.square(real, out=values, dtype=np.float64), own)
            means[5] += area_means(np.multiply(ours, real, out=values, dtype=np.float64), own)
    return means


def anomaly_correlation(product: Array, squared_forecast: Array, squared_truth: Array) -> Array:
    """Return the uncentred anomaly correlation.

    It is ``<f t> / sqrt(<f^2> <t^2>)`` (Wilks 2011, Statistical Methods in the Atmospheric
    Sciences, equation 8.78). Means over an area give the correlation of a map, means over initial
    times as well give that of all maps together.

    Parameters
    ----------
    product, squared_forecast, squared_truth : ndarray
        Means of the product and the squares of anomalies; shapes that broadcast.

    Returns
    -------
    ndarray
        Dimensionless, from -1 to 1; 0 where forecast or truth have no anomalies, as a forecast of
        the climatology; NaN where a mean is NaN.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        # The product of the roots stays in the range of numbers, the root of the product may not.
        norm = np.sqrt(squared_forecast) * np.sqrt(squared_truth)
        safe = np.where(norm == 0, 1.0, norm)
        # Rounding must not lead out of the range of a correlation.
        return np.clip(np.where(norm == 0, 0.0, product / safe), -1.0, 1.0)
