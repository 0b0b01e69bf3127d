"""Statistics of ensembles: CRPS, ensemble variance and the error of the ensemble mean."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.verification.statistics.area_means import cell_blocks, check_fields

Array = NDArray[Any]

ENSEMBLE_STATISTICS = ("crps", "fair_crps", "ensemble_variance", "squared_error_of_mean")
"""Statistics of a pair of ensemble and truth."""


def ensemble_statistics(members: Array, truth: Array, weights: Array) -> dict[str, Array]:
    """Return the statistics of pairs of ensemble and truth.

    The CRPS of M members x and the truth y is ``mean_i |x_i - y| - sum_ij |x_i - x_j| / (2 M^2)``
    (Gneiting and Raftery 2007, J. Amer. Stat. Assoc. 102, 359-378, equation 20). The fair CRPS has
    ``M (M - 1)`` in place of ``M^2``; its mean does not depend on M if the members are exchangeable
    (Ferro 2014, Q. J. R. Meteorol. Soc. 140, 1917-1923). The double sum follows from the sorted
    members: ``sum_ij |x_i - x_j| = 2 sum_i (2 i - M - 1) x_(i)``.

    Parameters
    ----------
    members : ndarray, shape (starts, members, channels, cells)
        Fields or anomalies, in the units of the channel; not changed. Their order has no effect.
    truth : ndarray, shape (starts, channels, cells)
    weights : ndarray, shape (regions, channels, cells)

    Returns
    -------
    dict of ndarray, shape (starts, regions, channels)
        By the names ENSEMBLE_STATISTICS. The CRPS have the units of the channel, the unbiased
        ``ensemble_variance`` and ``squared_error_of_mean`` their square. With one member, the CRPS
        is the absolute error; ``fair_crps`` and ``ensemble_variance`` are not defined and NaN.
        Without spread, both CRPS are the absolute error and the variance is 0.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    check_fields(members, truth, weights, members=True)
    starts, number, channels, _ = members.shape
    means = np.empty((4, starts, len(weights), channels))
    with np.errstate(invalid="ignore", over="ignore"):
        for start in range(starts):
            for channel in range(channels):
                means[:, start, :, channel] = _map_means(
                    members[start, :, channel], truth[start, channel], weights[:, channel]
                )
    absolute, differences, variance, squared_error = means
    with np.errstate(invalid="ignore"):
        crps = absolute - differences / number**2
        if number == 1:
            fair, unbiased = np.full_like(crps, np.nan), np.full_like(crps, np.nan)
        else:
            fair = absolute - differences / (number * (number - 1))
            unbiased = variance / (number - 1)
    return dict(zip(ENSEMBLE_STATISTICS, (crps, fair, unbiased, squared_error), strict=True))


def _map_means(members: Array, truth: Array, weights: Array) -> Array:
    """Return the area means of a map that the statistics derive from.

    Parameters
    ----------
    members : ndarray, shape (members, cells)
    truth : ndarray, shape (cells,)
    weights : ndarray, shape (regions, cells)

    Returns
    -------
    ndarray, shape (4, regions)
        Mean absolute error of the members, sum of differences of pairs of members, sum of squared
        departures from the ensemble mean, squared error of the ensemble mean.
    """
    number, cells = members.shape
    factors = np.empty((number, 2))
    factors[:, 0] = 1 / number
    factors[:, 1] = 2.0 * np.arange(1, number + 1) - number - 1
    blocks = list(cell_blocks(cells, 24 * number))
    longest = blocks[0].stop if blocks else 0
    # Memory that is used again stays in the cache.
    by_member = np.empty((number, longest))
    by_cell = np.empty((2, longest, number))
    values = np.empty((4, longest))
    means = np.zeros((4, len(weights)))
    for block in blocks:
        length = block.stop - block.start
        # The ranks sum to 0, so the departures from the truth have the differences of the members,
        # and large fields lose no digits.
        departures = by_member[:, :length]
        np.subtract(members[:, block], truth[block], out=departures, dtype=np.float64)
        ordered, other = by_cell[:, :length]
        ordered[...] = departures.T
        ordered.sort(axis=-1)
        absolute, differences, variance, squared_error = values[:, :length]
        error, differences[:] = (ordered @ factors).T
        np.matmul(np.abs(ordered, out=other), factors[:, 0], out=absolute)
        np.subtract(ordered, error[:, None], out=other)
        np.vecdot(other, other, out=variance)
        np.square(error, out=squared_error)
        means += values[:, :length] @ weights[:, block].T
    return means


def spread_skill_ratio(
    ensemble_variance: Array, squared_error_of_mean: Array, members: int
) -> Array:
    """Return the ratio of ensemble spread to the RMSE of the ensemble mean.

    It is ``sqrt((M + 1) / M * <variance> / <squared error of the mean>)``, which is 1 for members
    that are exchangeable with the truth, for any number M of them (Fortin et al. 2014,
    J. Hydrometeorol. 15, 1708-1713, equation 15).

    Parameters
    ----------
    ensemble_variance, squared_error_of_mean : ndarray
        Means over initial times.
    members : int

    Returns
    -------
    ndarray
        Dimensionless; infinite where only the error is 0, NaN where both are.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = ensemble_variance / squared_error_of_mean
        return np.asarray(np.sqrt((members + 1) / members * ratio))
