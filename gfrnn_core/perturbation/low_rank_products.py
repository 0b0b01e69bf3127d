"""Low-rank matrices as products of two thin ones, which can be added without being formed.

A window of few steps yields an update of low rank. One BLAS call adds it in place; forming it first
would write and read the whole matrix several times.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dgemm, dger, sgemm, sger

Array = NDArray[Any]


@dataclass(frozen=True)
class LowRankProduct:
    """The matrix ``left^T right``, not formed.

    Attributes
    ----------
    left : ndarray, shape (rows, n)
    right : ndarray, shape (rows, m)
    """

    left: Array
    right: Array

    def dense(self) -> Array:
        """Return the matrix, shape (n, m)."""
        return np.asarray(self.left.T @ self.right)


def dense(matrix: Array | LowRankProduct) -> Array:
    """Return a matrix; a low-rank product is formed."""
    return matrix.dense() if isinstance(matrix, LowRankProduct) else matrix


def add(matrix: Array, factor: float, term: Array | LowRankProduct) -> None:
    """Compute ``matrix += factor term`` in place.

    Parameters
    ----------
    matrix : ndarray, shape (n, m)
        float32 or float64.
    factor : float
    term : ndarray or LowRankProduct, shape (n, m)
        Term in the precision of the matrix.
    """
    in_blas = matrix.flags.c_contiguous and matrix.dtype in (np.float32, np.float64)
    if not isinstance(term, LowRankProduct) or not in_blas:
        matrix += matrix.dtype.type(factor) * dense(term)
        return
    # BLAS stores columns first, so it takes the matrix for its transpose, right^T left.
    single = matrix.dtype == np.float32
    if len(term.left) == 1:
        ger = sger if single else dger
        ger(factor, term.right[0], term.left[0], a=matrix.T, overwrite_a=True)
    else:
        gemm = sgemm if single else dgemm
        gemm(factor, term.right.T, term.left.T, 1.0, matrix.T, trans_b=True, overwrite_c=True)
