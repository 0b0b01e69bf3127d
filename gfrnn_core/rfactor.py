"""The R factor of a tall matrix of rows: fold blocks in, merge, select columns, scale.

Two R factors of two stretches of rows merge into the R factor of both, in any grouping, so R is
what a tree reduction over an archive keeps of it. These are the only LAPACK calls of the project:
``geqrt`` factors a block, ``tpqrt`` folds a block or another triangle under a standing triangle.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import get_lapack_funcs

Array = NDArray[Any]

# Columns that a blocked Householder reflector covers. 32 to 64 is where matrix-matrix products
# dominate and the triangular factors of the reflectors still stay in cache.
_PANEL = 48


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
        return self._tidy(_fold(left, right, trapezoidal=True), rows)

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
        triangle[np.diag(triangle) < 0] *= -1
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


def _fold(standing: Array | None, block: Array, trapezoidal: bool = False) -> Array:
    """Upper trapezoid of [standing; block], which are overwritten where Fortran-ordered.

    As long as there are fewer rows than columns the two are stacked and factored anew: folding
    under a square triangle padded with zero rows would spread the rows over all of it wherever a
    column depends exactly on those before it.
    """
    columns = block.shape[1]
    if standing is not None and standing.shape[0] == columns:
        tpqrt = get_lapack_funcs("tpqrt", (standing, block))
        # A trapezoid may have fewer rows than columns, never more.
        length = block.shape[0] if trapezoidal else 0
        panel = min(_PANEL, columns)
        folded, _, _, info = tpqrt(
            length, panel, standing, block, overwrite_a=True, overwrite_b=True
        )
    else:
        stacked = block if standing is None else np.asfortranarray(np.vstack([standing, block]))
        geqrt = get_lapack_funcs("geqrt", (stacked,))
        folded, _, info = geqrt(min(_PANEL, *stacked.shape), stacked, overwrite_a=True)
        folded = np.triu(folded[:columns])
    if info != 0:
        raise RuntimeError(f"LAPACK refused its argument {-info}")
    return np.asarray(folded, order="F")


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
