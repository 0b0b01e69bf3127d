"""Correlation and RMSE of area indices, computed from sums over pairs of forecast and truth.

The correlation is that of Pearson over all pairs at a lead, of the anomalies from the climatology,
which publications on El Nino report.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

MOMENTS = ("forecast", "truth", "forecast_squared", "truth_squared", "product", "squared_error")
"""Statistics of a pair of forecast and truth of an index."""

# A variance below this part of the mean square is rounding: the values are constant.
_ROUNDING = 1e-12


def index_moments(forecast: Array, truth: Array) -> Array:
    """Return sums over pairs of the statistics MOMENTS.

    Parameters
    ----------
    forecast, truth : ndarray, shape (pairs, indices)
        Anomalies of the indices.

    Returns
    -------
    ndarray, shape (len(MOMENTS), indices)
    """
    return np.stack(
        [
            values.sum(axis=0)
            for values in (
                forecast,
                truth,
                forecast**2,
                truth**2,
                forecast * truth,
                (forecast - truth) ** 2,
            )
        ]
    )


def index_correlation(sums: Array, counts: Array) -> Array:
    """Return the Pearson correlation of forecast and truth over all pairs.

    Parameters
    ----------
    sums : ndarray, shape (systems, len(MOMENTS), indices, leads)
    counts : ndarray of int, shape (leads,)
        Number of pairs.

    Returns
    -------
    ndarray, shape (systems, indices, leads)
        0 where the forecast or the truth is constant, as the climatology is; NaN with fewer than
        two pairs, or where a forecast is NaN.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        x, y, xx, yy, xy, _ = np.moveaxis(sums / counts, 1, 0)
        variances = [
            np.where(square - mean**2 <= _ROUNDING * square, 0.0, square - mean**2)
            for mean, square in ((x, xx), (y, yy))
        ]
        norm = np.sqrt(variances[0] * variances[1])
        correlation = np.where(norm == 0, 0.0, (xy - x * y) / norm)
    # Rounding must not lead out of the range of a correlation.
    return np.where(counts > 1, np.clip(correlation, -1.0, 1.0), np.nan)


def index_rmse(sums: Array, counts: Array) -> Array:
    """Return the RMSE over all pairs; parameters and shape are those of the correlation."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.sqrt(sums[:, MOMENTS.index("squared_error")] / counts))
