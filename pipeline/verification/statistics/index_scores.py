"""Correlation and RMSE of area indices, over pairs of forecast and truth.

The correlation is that of Pearson over all pairs at a lead, of the anomalies from the climatology,
which publications on El Nino report.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# A variance below this part of the mean square is rounding: the values are constant.
_ROUNDING = 1e-12


def index_correlation(forecast: Array, truth: Array, chosen: Array) -> Array:
    """Return the Pearson correlation of forecast and truth over pairs.

    Parameters
    ----------
    forecast : ndarray, shape (systems, indices, times, leads)
        Anomalies of the indices.
    truth : ndarray, shape (indices, times, leads)
    chosen : ndarray of bool, shape (times, leads)
        Pairs to use.

    Returns
    -------
    ndarray, shape (systems, indices, leads)
        0 where the forecast or the truth is constant, as the climatology is; NaN with fewer than
        two pairs, or where a forecast is NaN.
    """
    ours, real = np.where(chosen, forecast, 0.0), np.where(chosen, truth, 0.0)
    count = chosen.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        x, y, xx, yy, xy = (
            values.sum(axis=-2) / count for values in (ours, real, ours**2, real**2, ours * real)
        )
        variances = [
            np.where(square - mean**2 <= _ROUNDING * square, 0.0, square - mean**2)
            for mean, square in ((x, xx), (y, yy))
        ]
        norm = np.sqrt(variances[0] * variances[1])
        correlation = np.where(norm == 0, 0.0, (xy - x * y) / norm)
    # Rounding must not lead out of the range of a correlation.
    return np.where(count > 1, np.clip(correlation, -1.0, 1.0), np.nan)


def index_rmse(forecast: Array, truth: Array, chosen: Array) -> Array:
    """Return the RMSE over pairs; parameters and shape are those of the correlation."""
    squares = np.where(chosen, (forecast - truth) ** 2, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.sqrt(squares.sum(axis=-2) / chosen.sum(axis=0)))
