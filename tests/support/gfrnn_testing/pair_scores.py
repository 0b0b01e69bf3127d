"""Statistics of arrays of forecasts and truth, block by block as those of a run."""

from __future__ import annotations

import numpy as np

from gfrnn.pipeline.verification.statistics.pair_statistics import pair_statistics
from gfrnn.pipeline.verification.statistics.region_means import RegionMeans
from gfrnn.pipeline.verification.systems.pair_errors import error_means


def sums_of(error: np.ndarray, truth: np.ndarray, means: RegionMeans) -> np.ndarray:
    """Return means of error and truth: shape (SUMS, pairs, regions, channels).

    Parameters
    ----------
    error, truth : ndarray, shape (pairs, channels, cells)
        Fields times the roots of the weights of cells.
    """
    no_index = np.zeros((0, *means.roots.shape))
    found, _ = error_means(
        [lambda rows, channel, cells: error[rows, channel, cells].copy()],
        truth,
        means.roots,
        means,
        no_index,
    )
    return found[0]


def product_means(first: np.ndarray, second: np.ndarray, means: RegionMeans) -> np.ndarray:
    """Return the means of products of weighted fields: shape (pairs, regions, channels)."""
    return sums_of(first, second, means)[3]


def weighted_statistics(forecast: np.ndarray, truth: np.ndarray, means: RegionMeans) -> np.ndarray:
    """Return the statistics of weighted anomalies: (pairs, statistics, regions, channels)."""
    squares = product_means(truth, truth, means)
    return pair_statistics(sums_of(forecast - truth, truth, means), squares)
