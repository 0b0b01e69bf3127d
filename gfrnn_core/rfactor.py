"""The R factor of a tall matrix of rows: fold blocks in, merge, select columns, scale.

Two R factors of two stretches of rows merge into the R factor of both, in any grouping, so R is
what a tree reduction over an archive keeps of it. These are the only LAPACK calls of the project:
``geqrt`` factors a block, ``tpqrt`` folds a few columns of a block, or all of another triangle,
under a standing triangle.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import get_blas_funcs, get_lapack_funcs

Array = NDArray[Any]

# Columns whose reflectors are applied together: enough for the products to run at full speed, few
# enough that making their triangular factor does not count.
_PANEL = 128

# Columns that are folded by products of a matrix and a vector, which are slow.
_NARROW = 8

# The same for the merge of two triangles, which has fewer rows to gain from.
_MERGE_PANEL = 48


@dataclass(frozen=True)
class RFactor:
    """R of A = Q R, for the rows of A seen so far.

    Attributes
    ----------
    triangle : ndarray, shape (min(rows, columns), columns)
        Upper trapezoidal, float64, diagonal not negative (which makes R unique where A has full
        column rank).
    rows : int
        Number of rows of A.
    """

    triangle: Array
    rows: int

    @property
    def columns(self) -> int:
        """Number of columns of A."""
        return int(self.triangle.shape[1])

    @property
    def nbytes(self) -> int:
        """Bytes that the triangle takes."""
        return int(self.triangle.nbytes)

    @classmethod
    def empty(cls, columns: int) -> RFactor:
        """The R factor of no rows: merging it changes nothing."""
        return cls(np.zeros((0, columns)), 0)

    @classmethod
    def from_blocks(cls, blocks: Iterable[Array], columns: int) -> RFactor:
        """Fold blocks of rows one after the other, so that A itself need not exist.

        Parameters
        ----------
        blocks : iterable of ndarray, shape (rows of the block, columns)
            float32 or float64, all alike. **Overwritten** where they are Fortran-ordered, so that
            a lift may write into one buffer and hand it over again and again without a copy.
        columns : int
            Number of columns of every block.

        Raises
        ------
        ValueError
            If a block has another number of columns, or holds NaN or infinity: no silent NaN may
            reach a factor, since every later result would be NaN without a place to blame.
        """
        standing: Array | None = None
        rows = 0
        for block in blocks:
            if block.ndim != 2 or block.shape[1] != columns:
                raise ValueError(f"block has shape {block.shape}, expected (rows, {columns})")
            if len(block) == 0:
                continue
            _require_finite(block, rows)
            rows += len(block)
            standing = _fold(standing, block)
        return cls.empty(columns) if standing is None else cls._tidy(standing, rows)

    @classmethod
    def from_rows(cls, matrix: Array) -> RFactor:
        """The R factor of a matrix that fits into memory; the matrix is left as it is.

        Parameters
        ----------
        matrix : ndarray, shape (rows, columns)
        """
        return cls.from_blocks([np.array(matrix, dtype=float, order="F")], matrix.shape[1])

    def merge(self, other: RFactor) -> RFactor:
        """The R factor of the rows of both.

        Raises
        ------
        ValueError
            If the two have different numbers of columns.
        """
        if other.columns != self.columns:
            raise ValueError(
                f"R factors of {self.columns} and {other.columns} columns do not merge; "
                "they come from different models"
            )
        rows = self.rows + other.rows
        if min(self.rows, other.rows) == 0:
            return self if other.rows == 0 else other
        left = np.array(self.triangle, order="F")
        right = np.array(other.triangle, order="F")
        return self._tidy(_merged(left, right), rows)

    def select(self, columns: Sequence[int] | slice) -> RFactor:
        """The R factor of A with only these columns, in this order: small work, no data read."""
        chosen = np.array(self.triangle[:, columns], order="F")
        return self._tidy(_fold(None, chosen) if chosen.size else chosen, self.rows)

    def scale(self, factor: float) -> RFactor:
        """The R factor of ``factor * A``; ``sqrt(gamma)`` makes old rows count gamma times."""
        if not 0 < factor < np.inf:
            raise ValueError(f"factor: {factor} is not positive and finite")
        return RFactor(self.triangle * factor, self.rows)

    @classmethod
    def _tidy(cls, standing: Array, rows: int) -> RFactor:
        # Fewer rows come in only where a selection names columns more than once.
        missing = min(rows, standing.shape[1]) - len(standing)
        triangle = np.pad(np.triu(standing).astype(float, copy=False), ((0, missing), (0, 0)))
        triangle *= np.where(np.diag(triangle) < 0, -1.0, 1.0)[:, None]
        return cls(triangle, rows)


def merge_all(factors: Iterable[RFactor]) -> RFactor:
    """Merge several R factors from left to right.

    Raises
    ------
    ValueError
        If there is none.
    """
    merged: RFactor | None = None
    for factor in factors:
        merged = factor if merged is None else merged.merge(factor)
    if merged is None:
        raise ValueError("no R factors to merge")
    return merged


def _fold(standing: Array | None, block: Array) -> Array:
    """R of [standing; block], which are overwritten where Fortran-ordered.

    What stands below the diagonal means nothing. As long as there are fewer rows than columns the
    two are stacked and factored anew: folding under a square triangle padded with zero rows would
    spread the rows over all of it wherever a column depends exactly on those before it.
    """
    columns = block.shape[1]
    if standing is not None and len(standing) == columns:
        _fold_under(standing, np.asfortranarray(block))
        return standing
    stacked = block if standing is None else np.vstack([np.triu(standing), block])
    stacked = np.asfortranarray(stacked)
    folded, _, info = _routines(stacked.dtype.char).geqrt(
        min(_PANEL, *stacked.shape), stacked, overwrite_a=True
    )
    _check(info)
    return np.array(folded[:columns], order="F")  # a copy: the block is written anew


def _merged(left: Array, right: Array) -> Array:
    """R of two upper trapezoids, which are overwritten where Fortran-ordered."""
    columns = right.shape[1]
    if len(left) < columns:
        return _fold(left, right)
    folded, _, _, info = _routines(left.dtype.char).tpqrt(
        len(right), min(_MERGE_PANEL, columns), left, right, overwrite_a=True, overwrite_b=True
    )
    _check(info)
    return np.asarray(folded)


def _fold_under(standing: Array, block: Array) -> None:
    """The triangle of [standing; block] in place of standing; the block becomes its reflectors.

    LAPACK's ``tpqrt`` does the same with panels of one width. It factors them by products of a
    matrix and a vector, which wants them narrow, and applies them by products of matrices, which
    wants them wide. So here panels are halved until they are narrow.
    """
    columns = block.shape[1]
    for first in range(0, columns, _PANEL):
        last = min(first + _PANEL, columns)
        factor = _panel(standing, block, first, last)
        _apply(factor, block[:, first:last], standing[first:last, last:], block[:, last:])


def _panel(standing: Array, block: Array, first: int, last: int) -> Array:
    """Fold the columns ``first`` to ``last - 1``.

    Returns
    -------
    ndarray, shape (last - first, last - first)
        The triangular T of the product ``I - V T V^T`` of their reflectors V = [I; block].
    """
    width = last - first
    if width <= _NARROW:
        corner = standing[first:last, first:last]
        folded, _, factor, info = _routines(block.dtype.char).tpqrt(
            0, width, corner, block[:, first:last], overwrite_b=True
        )
        _check(info)
        corner[...] = folded
        return np.triu(factor)
    # Cut alike however many columns follow, so that these are folded alike.
    half = _NARROW << ((width - 1) // _NARROW).bit_length() - 1
    left, right = block[:, first : first + half], block[:, first + half : last]
    factor = np.zeros((width, width), block.dtype, order="F")
    factor[:half, :half] = _panel(standing, block, first, first + half)
    rows, columns = slice(first, first + half), slice(first + half, last)
    _apply(factor[:half, :half], left, standing[rows, columns], right)
    factor[half:, half:] = _panel(standing, block, first + half, last)
    product = _routines(block.dtype.char).gemm(1, left, right, trans_a=True)
    factor[:half, half:] = -factor[:half, :half] @ product @ factor[half:, half:]
    return factor


def _apply(factor: Array, reflectors: Array, above: Array, below: Array) -> None:
    """Multiply [above; below] by the transpose of ``I - V T V^T``, V = [I; reflectors], in place.

    Parameters
    ----------
    factor : ndarray, shape (k, k)
        T.
    reflectors : ndarray, shape (rows, k), Fortran order
    above : ndarray, shape (k, columns)
    below : ndarray, shape (rows, columns), Fortran order
    """
    if not below.size:
        return
    routines = _routines(below.dtype.char)
    # This way round, columns by k, the product is faster than its transpose.
    across = routines.gemm(1, below, reflectors, trans_a=True)
    across += above.T
    across = routines.trmm(1, factor, across, side=1, overwrite_b=True)
    above -= across.T
    routines.gemm(-1, reflectors, across, beta=1, c=below, trans_b=True, overwrite_c=True)


@dataclass(frozen=True)
class _Routines:
    """BLAS and LAPACK in one precision."""

    gemm: Any
    trmm: Any
    geqrt: Any
    tpqrt: Any


@cache
def _routines(kind: str) -> _Routines:
    example = np.empty(0, dtype=kind)
    blas = get_blas_funcs(("gemm", "trmm"), (example,))
    return _Routines(*blas, *get_lapack_funcs(("geqrt", "tpqrt"), (example,)))


def _check(info: int) -> None:
    if info != 0:
        raise RuntimeError(f"LAPACK refused its argument {-info}")


def _require_finite(block: Array, before: int) -> None:
    # A sum is NaN or infinite if any term is, and needs no temporary as large as the block.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(block.sum()):
            return
    bad = np.argwhere(~np.isfinite(block))
    if len(bad):
        row, column = bad[0]
        raise ValueError(
            f"row {before + row}, column {column} is {block[row, column]}; "
            "every value of a row must be finite"
        )
