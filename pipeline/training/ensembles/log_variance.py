"""Regression of the logarithm of a variance on terms such as the seasons."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Most iterations, the largest step of a coefficient, and the step at which they end.
_ITERATIONS, _LARGEST_STEP, _SMALLEST_STEP = 100, 1.0, 1e-10


def log_variance_regression(design: Array, squares: Array) -> Array:
    """Fit ``log E[squares] = design @ coefficients`` by quasi-likelihood.

    The quasi-likelihood is that of gamma distributions with a logarithmic link, whose iteratively
    reweighted least squares have weights of 1 (McCullagh and Nelder 1989, Generalized Linear
    Models, chapter 8). With a constant alone, the fitted variance is the mean of the squares.

    Parameters
    ----------
    design : ndarray, shape (n, terms)
        The first term is the constant.
    squares : ndarray, shape (n, ...)
        Squared errors, 0 or more.

    Returns
    -------
    ndarray, shape (terms, ...)
    """
    shape = squares.shape[1:]
    squares = squares.reshape(len(squares), -1)
    mean = squares.mean(axis=0)
    # Errors of zero have no logarithm; their size does not matter then.
    scaled = squares / np.where(mean > 0, mean, 1.0)
    inverse = np.linalg.pinv(design)
    found = np.zeros((design.shape[1], squares.shape[1]))
    for _ in range(_ITERATIONS):
        expected = np.exp(design @ found)
        step = inverse @ (scaled / expected - 1.0)
        found += np.clip(step, -_LARGEST_STEP, _LARGEST_STEP)
        if np.abs(step).max(initial=0.0) < _SMALLEST_STEP:
            break
    found[0] += np.log(np.where(mean > 0, mean, np.finfo(float).tiny))
    return found.reshape(-1, *shape)
