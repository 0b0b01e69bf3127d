"""Gather rows under a triangle: add the products of rows that are divided by it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn_core.triangles.array_order import upper_triangle
from gfrnn_core.triangles.routines import Routines, routines

Array = NDArray[Any]

# Largest number of columns that BLAS's ``trsm`` divides by a triangle. With AVX-512 it is much
# slower than products, so that fewer columns are better; elsewhere they are as good.
_DIVIDED = 32

# Columns of a triangle that are multiplied together.
_STRIP = 192

# Largest factor by which gathering may amplify rounding errors of the squares of a column.
_AMPLIFIED = 100.0


class GramUnderTriangle:
    """The Gram matrix of rows divided by a triangle: the sum of ``W^T W``, W = B R^-1.

    Products and quotients have the precision of the rows, their sum is float64.

    Parameters
    ----------
    triangle : ndarray, shape (columns, columns), Fortran order
        R, with zeros below the diagonal; it is kept and changed.

    Attributes
    ----------
    rows : int
        Number of rows gathered.
    """

    def __init__(self, triangle: Array) -> None:
        columns = len(triangle)
        self.rows = 0
        rounding = np.finfo(triangle.dtype).eps
        # Dividing by a diagonal below rounding errors would only amplify those of later rows.
        least = rounding * np.maximum(triangle.max(axis=0), -triangle.min(axis=0))
        diagonal = triangle.diagonal()
        raised = np.where(np.abs(diagonal) < least, np.copysign(least, diagonal), diagonal)
        # A column without any value yet may be divided by anything as long as it has none.
        self._empty = np.flatnonzero(raised == 0)
        raised[self._empty] = 1.0
        triangle[np.diag_indices(columns)] = raised
        self._triangle = triangle
        self._gram = np.zeros((columns, columns), order="F")
        with np.errstate(over="ignore", under="ignore"):
            self._norms = self._squares = np.einsum("ij,ij->j", triangle, triangle)
        # Outside these bounds, squares have overflowed or lost digits.
        self._range = np.finfo(triangle.dtype).tiny / rounding, np.finfo(triangle.dtype).max
        # Rounding errors of I + G are relative to its largest entry. Up to the first bound its
        # Cholesky factorisation succeeds; up to the second, every direction of the triangle, whose
        # entry may be 1, keeps half of the digits.
        self._largest = min(1 / (4 * columns * rounding), 1 / np.sqrt(rounding))

    @classmethod
    def under(cls, triangle: Array, dtype: np.dtype[Any]) -> GramUnderTriangle | None:
        """Return an instance without rows; None if the triangle exceeds the range of a precision.

        Parameters
        ----------
        triangle : ndarray, shape (columns, columns)
            Values below the diagonal are ignored.
        dtype : dtype
            Precision of the rows.
        """
        with np.errstate(over="ignore"):
            rounded = upper_triangle(triangle, dtype, "F")
        return cls(rounded) if np.isfinite(rounded).all() else None

    def add(self, block: Array, scratch: Any) -> bool:
        """Add the rows of a block unless they could lose accuracy; return whether they were added.

        A rounding error of ``W^T W`` is proportional to its diagonal G_ii, and changes the squared
        norm of column j of all rows by up to ``sum_i G_ii R_ij^2`` times as much. It must not be
        much more than that norm. A NaN, after a division by nearly zero, is refused too.

        Parameters
        ----------
        block : ndarray, shape (rows, columns)
            Rows, which are not changed.
        scratch : callable
            Returns Fortran-ordered memory, given a name, a shape and a dtype.
        """
        triangle = self._triangle
        if block[:, self._empty].any():
            return False
        blas = routines(triangle.dtype.char)
        divided = scratch("divided", block.shape, triangle.dtype)
        divided[...] = block
        with np.errstate(all="ignore"):
            squares = self._squares + np.einsum("ij,ij->j", block, block)
            _divide(divided, triangle, blas)
            lengths = np.einsum("ij,ij->j", divided, divided)
            diagonal = (self._gram.diagonal() + lengths).astype(triangle.dtype)
            amplified = diagonal.max() * self._norms  # an upper bound that costs less
            if not (amplified <= _AMPLIFIED * squares).all():
                amplified = np.einsum("i,ij,ij->j", diagonal, triangle, triangle)
            small = (diagonal <= self._largest) & (amplified <= _AMPLIFIED * squares)
            small &= (squares >= self._range[0]) & (squares <= self._range[1])
        if not small.all():
            return False
        if triangle.dtype == self._gram.dtype:
            blas.syrk(1, divided, beta=1, c=self._gram, trans=1, overwrite_c=True)
        else:
            products = scratch("products", self._gram.shape, triangle.dtype)
            self._gram += blas.syrk(1, divided, c=products, trans=1, overwrite_c=True)
        self._squares = squares
        self.rows += len(block)
        return True

    def triangle(self) -> Array:
        """Return the triangle of all rows, float64; the instance cannot be used afterwards."""
        triangle = np.asarray(self._triangle, dtype=float, order="F")
        triangle[self._empty, self._empty] = 0.0
        if not self.rows:
            return triangle
        self._gram[np.diag_indices(len(triangle))] += 1.0
        potrf, trmm = routines("d").potrf, routines("d").trmm
        upper, failed = potrf(self._gram, lower=0, overwrite_a=True)
        if failed:  # which the bound on the diagonal excludes
            raise np.linalg.LinAlgError("I + G of the gathered rows is not positive definite")
        for first in range(0, len(triangle), _STRIP):
            last = min(first + _STRIP, len(triangle))
            above = upper[:last, :last]
            triangle[:last, first:last] = trmm(1, above, triangle[:last, first:last])
        return triangle


def _divide(rows: Array, triangle: Array, blas: Routines) -> None:
    """Multiply rows by the inverse of a triangle in place, halving its columns recursively.

    Most of the work is then a matrix product, which is faster than BLAS's ``trsm``.
    """
    columns = len(triangle)
    if columns <= _DIVIDED:
        blas.trsm(1, triangle, rows, side=1, overwrite_b=True)
        return
    half = columns // 2
    left, right = rows[:, :half], rows[:, half:]
    _divide(left, triangle[:half, :half], blas)
    blas.gemm(-1, left, triangle[:half, half:], beta=1, c=right, overwrite_c=True)
    _divide(right, triangle[half:, half:], blas)
