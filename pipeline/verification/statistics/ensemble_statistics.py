"""Statistics of ensembles: CRPS, ensemble variance and the error of the ensemble mean."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.verification.statistics.area_means import area_means, cell_blocks, check_fields

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
    starts, number, channels, cells = members.shape
    means = np.zeros((4, starts, len(weights), channels))
    ranks = 2.0 * np.arange(1, number + 1) - number - 1
    equal = np.full(number, 1 / number)
    for block in cell_blocks(cells, 8 * starts * channels * number):
        own = weights[..., block]
        ordered = np.moveaxis(members[..., block], 1, -1).copy(order="C")
        ordered.sort(axis=-1)
        with np.errstate(invalid="ignore", over="ignore"):
            # The ranks sum to 0, so the departures from the truth have the differences of the
            # members; large fields lose no digits.
            departures = np.subtract(ordered, truth[..., block, None], dtype=np.float64)
            differences = departures @ ranks
            error = departures @ equal
            spread = departures - error[..., None]
            variance = np.vecdot(spread, spread)
            absolute = np.abs(departures, out=departures) @ equal
            for place, values in enumerate((absolute, differences, variance, error * error)):
                means[place] += area_means(values, own)
    absolute, differences, variance, squared_error = means
    with np.errstate(invalid="ignore"):
        crps = absolute - differences / number**2
        if number == 1:
            fair, unbiased = np.full_like(crps, np.nan), np.full_like(crps, np.nan)
        else:
            fair = absolute - differences / (number * (number - 1))
            unbiased = variance / (number - 1)
    return dict(zip(ENSEMBLE_STATISTICS, (crps, fair, unbiased, squared_error), strict=True))


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
