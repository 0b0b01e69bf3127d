"""Decorrelation of the units' activity: ``D <- D - eps C D``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn_core.perturbation.low_rank_products import LowRankProduct, add
from gfrnn_core.perturbation.weights import Weights

Array = NDArray[Any]


def decorrelate(weights: Weights, decorrelated: Array, rate: float) -> None:
    """Take one step of ``D <- D - rate C D``, in place.

    Activity of fewer dimensions than units cannot be uncorrelated in all units: units become
    silent one by one, and x^ loses power. D diverges at rates near ``2 / (units mean(x^2))`` and
    above.

    Parameters
    ----------
    weights : Weights
    decorrelated : ndarray, shape (rows, units)
        x^; C is the mean of ``x^ x^T`` without its diagonal.
    rate : float
    """
    D, rows = weights.decorrelation, len(decorrelated)
    share = rate / rows
    if rows >= weights.units:
        correlation = decorrelated.T @ decorrelated
        np.fill_diagonal(correlation, 0)
        D -= D.dtype.type(share) * (correlation @ D)
        return
    # With fewer rows than units it is cheaper to compute C D from the rows, without forming C.
    change = LowRankProduct(decorrelated, decorrelated @ D)
    D *= 1 + D.dtype.type(share) * np.einsum("ti,ti->i", decorrelated, decorrelated)[:, None]
    add(D, -share, change)
