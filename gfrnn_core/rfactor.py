"""The R factor of a tall matrix of rows: fold blocks in, merge, select columns, scale.

Two R factors of two stretches of rows merge into the R factor of both, in any grouping, so R is
what a tree reduction over an archive keeps of it. These are the only LAPACK calls of the project:
``geqrt`` factors a few columns of a block, products of matrices apply that to the others.
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
# enough that factoring them, which is slower, does not count.
_PANEL = 96

# Rows of a triangle that are folded together: those further down have fewer columns.
_STRIP = 256


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
        folding = _Folding()
        rows = 0
        for block in blocks:
            if block.ndim != 2 or block.shape[1] != columns:
                raise ValueError(f"block has shape {block.shape}, expected (rows, {columns})")
            if len(block) == 0:
                continue
            _require_finite(block, rows)
            rows += len(block)
            folding.fold(block)
        return cls.empty(columns) if rows == 0 else cls._tidy(folding.standing, rows)

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
        folding = _Folding(np.array(self.triangle, order="C"))
        folding.merge(other.triangle)
        return self._tidy(folding.standing, rows)

    def select(self, columns: Sequence[int] | slice) -> RFactor:
        """The R factor of A with only these columns, in this order: small work, no data read."""
        chosen = np.array(self.triangle[:, columns], order="F")
        if not chosen.size:
            return self._tidy(chosen, self.rows)
        folding = _Folding()
        folding.fold(chosen)
        return self._tidy(folding.standing, self.rows)

    def scale(self, factor: float) -> RFactor:
        """The R factor of ``factor * A``; ``sqrt(gamma)`` makes old rows count gamma times."""
        if not 0 < factor < np.inf:
            raise ValueError(f"factor: {factor} is not positive and finite")
        return RFactor(self.triangle * factor, self.rows)

    @classmethod
    def _tidy(cls, standing: Array, rows: int) -> RFactor:
        # Fewer rows come in only where a selection names columns more than once.
        missing = min(rows, standing.shape[1]) - len(standing)
        triangle = np.triu(standing).astype(float, copy=False)
        triangle *= np.where(np.diag(triangle) < 0, -1.0, 1.0)[:, None]
        if missing > 0:
            triangle = np.pad(triangle, ((0, missing), (0, 0)))
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


class _Folding:
    """R of the blocks folded so far, and memory that folding uses again and again.

    Workers of a cluster give freed memory back at once, and to get it again takes a tenth of the
    time of a fold.

    Attributes
    ----------
    standing : ndarray, shape (at most columns, columns), C order
        What stands below the diagonal means nothing.
    """

    def __init__(self, standing: Array | None = None) -> None:
        """Go on from an upper trapezoid, which is overwritten."""
        self.standing = np.zeros((0, 0)) if standing is None else standing
        self._memory = {"panel": np.empty(0), "across": np.empty(0)}

    def fold(self, block: Array) -> None:
        """Fold a block of rows, which is overwritten where it is Fortran-ordered.

        As long as there are fewer rows than columns the two are stacked and factored anew: folding
        under a square triangle padded with zero rows would spread the rows over all of it wherever
        a column depends exactly on those before it.
        """
        columns = block.shape[1]
        if len(self.standing) == columns:
            self._fold_under(self.standing, np.asfortranarray(block))
            return
        stacked = np.vstack([np.triu(self.standing), block]) if len(self.standing) else block
        folded, _ = _factored(np.asfortranarray(stacked), min(_PANEL, *stacked.shape))
        self.standing = np.array(folded[:columns], order="C")  # a copy: the block is written anew

    def merge(self, trapezoid: Array) -> None:
        """Fold the rows of another upper trapezoid, which is left as it is."""
        if len(self.standing) < trapezoid.shape[1]:
            self.fold(np.array(trapezoid, order="F"))
            return
        for first in range(0, len(trapezoid), _STRIP):
            strip = np.array(trapezoid[first : first + _STRIP, first:], order="F")
            self._fold_under(self.standing[first:, first:], strip)

    def _fold_under(self, standing: Array, block: Array) -> None:
        """The triangle of [standing; block] in place of standing; the block becomes its reflectors.

        LAPACK's ``tpqrt`` does the same, but factors panels by products of a matrix and a vector.

        Parameters
        ----------
        standing : ndarray, shape (columns, columns), rows contiguous
        block : ndarray, shape (rows, columns), Fortran order
        """
        columns = block.shape[1]
        for first in range(0, columns, _PANEL):
            last = min(first + _PANEL, columns)
            panel = block[:, first:last]
            factor = self._panel(standing[first:last, first:last], panel)
            if last < columns:
                self._apply(factor, panel, standing[first:last, last:], block[:, last:])

    def _panel(self, corner: Array, panel: Array) -> Array:
        """Fold a few columns under their triangle, both in place.

        Returns
        -------
        ndarray, shape (k, k)
            The triangular T of the product ``I - V T V^T`` of the reflectors V = [I; panel]: rows
            of the corner that are zero in a column stay so, exactly.
        """
        k = len(corner)
        stacked = self._scratch("panel", (k + len(panel), k), panel.dtype)
        stacked[:k] = np.triu(corner)
        stacked[k:] = panel
        folded, factor = _factored(stacked, k)
        corner[...] = folded[:k]
        panel[...] = folded[k:]
        return factor

    def _apply(self, factor: Array, reflectors: Array, above: Array, below: Array) -> None:
        """Multiply [above; below] by the transpose of ``I - V T V^T``, V = [I; reflectors].

        Parameters
        ----------
        factor : ndarray, shape (k, k)
            T.
        reflectors : ndarray, shape (rows, k), Fortran order
        above : ndarray, shape (k, columns), rows contiguous
        below : ndarray, shape (rows, columns), Fortran order
        """
        gemm, trmm = _routines(below.dtype.char).gemm, _routines(below.dtype.char).trmm
        # This way round, columns by k, the product is faster than its transpose.
        across = self._scratch("across", above.shape[::-1], below.dtype)
        across[...] = above.T
        across = gemm(1, below, reflectors, trans_a=True, beta=1, c=across, overwrite_c=True)
        across = trmm(1, factor, across, side=1, overwrite_b=True)
        above -= across.T
        gemm(-1, reflectors, across, beta=1, c=below, trans_b=True, overwrite_c=True)

    def _scratch(self, name: str, shape: tuple[int, int], kind: Any) -> Array:
        """Fortran-ordered memory of a shape, the same for the same name."""
        size = shape[0] * shape[1]
        if len(self._memory[name]) < size:
            self._memory[name] = np.empty(size, kind)
        return self._memory[name][:size].reshape(shape, order="F")


def _factored(matrix: Array, panel: int) -> tuple[Array, Array]:
    """R and, below it, the reflectors in place of a Fortran-ordered matrix; their T."""
    folded, factor, info = _routines(matrix.dtype.char).geqrt(panel, matrix, overwrite_a=True)
    if info != 0:
        raise RuntimeError(f"LAPACK refused its argument {-info}")
    return folded, factor


@dataclass(frozen=True)
class _Routines:
    """BLAS and LAPACK in one precision."""

    gemm: Any
    trmm: Any
    geqrt: Any


@cache
def _routines(kind: str) -> _Routines:
    example = np.empty(0, dtype=kind)
    blas = get_blas_funcs(("gemm", "trmm"), (example,))
    return _Routines(*blas, *get_lapack_funcs(("geqrt",), (example,)))


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
