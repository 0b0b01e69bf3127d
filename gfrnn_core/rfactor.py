"""R factor of a tall matrix of rows: fold blocks, merge factors, select or scale columns.

The R factors of two stretches of rows merge into the R factor of both, in any grouping, so a tree
reduction over an archive needs to keep only R. LAPACK's ``geqrt`` factors a few columns of a block;
matrix products apply the result to the other columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import get_blas_funcs, get_lapack_funcs

Array = NDArray[Any]

# Columns whose reflectors are applied together: enough for products at full speed, and few enough
# that the slower factorisation of these columns is negligible.
_PANEL = 96

# Rows of a triangle that are folded together: lower rows have fewer columns.
_STRIP = 256

# BLAS's option for the conjugate transpose, which is the transpose of a real matrix.
_ADJOINT = 2


@dataclass(frozen=True)
class RFactor:
    """R of A = Q R, for the rows of A seen so far.

    Attributes
    ----------
    triangle : ndarray, shape (min(rows, columns), columns)
        Upper trapezoidal, float64 or complex128, diagonal real and not negative (which makes R
        unique where A has full column rank).
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
        """Size of the triangle in bytes."""
        return int(self.triangle.nbytes)

    @classmethod
    def empty(cls, columns: int) -> RFactor:
        """Return the R factor of no rows; merging it changes nothing."""
        return cls(np.zeros((0, columns)), 0)

    @classmethod
    def from_blocks(cls, blocks: Iterable[Array], columns: int) -> RFactor:
        """Fold blocks of rows one by one, so that A need not fit into memory.

        Parameters
        ----------
        blocks : iterable of ndarray, shape (rows of the block, columns)
            Blocks, all float32, all float64 or all complex128. Fortran-ordered blocks are
            **overwritten**, so that a caller may pass one buffer again and again without a copy.
        columns : int
            Number of columns of every block.

        Raises
        ------
        ValueError
            If a block has another number of columns, or contains NaN or infinity, which would make
            all later results NaN without a trace of their origin.
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
        """Return the R factor of a matrix that fits into memory; the matrix is not changed.

        Parameters
        ----------
        matrix : ndarray, shape (rows, columns)
        """
        kind = complex if np.iscomplexobj(matrix) else float
        return cls.from_blocks([np.array(matrix, dtype=kind, order="F")], matrix.shape[1])

    def merge(self, other: RFactor) -> RFactor:
        """Return the R factor of the rows of both.

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
        """Return the R factor of A with only these columns, in this order; no data are read."""
        chosen = np.array(self.triangle[:, columns], order="F")
        if not chosen.size:
            return self._tidy(chosen, self.rows)
        folding = _Folding()
        folding.fold(chosen)
        return self._tidy(folding.standing, self.rows)

    def scale(self, factor: float) -> RFactor:
        """Return the R factor of ``factor * A``; ``sqrt(gamma)`` weights the rows by gamma."""
        if not 0 < factor < np.inf:
            raise ValueError(f"factor: {factor} is not positive and finite")
        return RFactor(self.triangle * factor, self.rows)

    def scale_columns(self, factors: Array) -> RFactor:
        """Return the R factor of ``A diag(factors)``.

        Parameters
        ----------
        factors : ndarray, shape (columns,)

        Raises
        ------
        ValueError
            If there is not one factor a column, or one is not positive and finite.
        """
        if np.shape(factors) != (self.columns,):
            raise ValueError(f"factors: shape {np.shape(factors)}; give ({self.columns},)")
        if not ((factors > 0) & (factors < np.inf)).all():
            raise ValueError("factors: every factor must be positive and finite")
        return RFactor(self.triangle * factors, self.rows)

    @classmethod
    def _tidy(cls, standing: Array, rows: int) -> RFactor:
        # There are fewer rows only if a selection contains columns more than once.
        missing = min(rows, standing.shape[1]) - len(standing)
        kind = complex if np.iscomplexobj(standing) else float
        triangle = np.triu(standing).astype(kind, copy=False)
        # LAPACK's reflectors leave a real diagonal for complex rows too.
        triangle *= np.where(np.diag(triangle).real < 0, -1.0, 1.0)[:, None]
        if missing > 0:
            triangle = np.pad(triangle, ((0, missing), (0, 0)))
        return cls(triangle, rows)


def merge_all(factors: Iterable[RFactor]) -> RFactor:
    """Merge several R factors from left to right.

    Raises
    ------
    ValueError
        If there is no factor.
    """
    merged: RFactor | None = None
    for factor in _stacked(factors):
        merged = factor if merged is None else merged.merge(factor)
    if merged is None:
        raise ValueError("no R factors to merge")
    return merged


def _stacked(factors: Iterable[RFactor]) -> Iterator[RFactor]:
    """Yield R factors, of which successive ones of few rows are factored together.

    As long as there are fewer rows than columns, each merge factors all of them again.
    """
    waiting: list[RFactor] = []
    for factor in factors:
        waiting.append(factor)
        if sum(len(each.triangle) for each in waiting) >= factor.columns:
            yield _factored(waiting)
            waiting = []
    if waiting:
        yield _factored(waiting)


def _factored(factors: list[RFactor]) -> RFactor:
    """Return the R factor of the rows of all, by one factorisation."""
    first, *others = factors
    filled = [each for each in factors if each.rows]
    if not others or len(filled) < 2 or len({each.columns for each in factors}) > 1:
        for each in others:  # also refuses other numbers of columns
            first = first.merge(each)
        return first
    stacked = np.concatenate([each.triangle for each in filled])
    factor = RFactor.from_blocks([np.asfortranarray(stacked)], first.columns)
    return RFactor(factor.triangle, sum(each.rows for each in filled))


class _Folding:
    """R of the blocks folded so far, and memory that folding reuses.

    Workers of a cluster return freed memory to the system at once, and allocating it again takes a
    tenth of the time of a fold.

    Attributes
    ----------
    standing : ndarray, shape (at most columns, columns), C order
        Triangle; values below the diagonal are undefined.
    """

    def __init__(self, standing: Array | None = None) -> None:
        """Start from an upper trapezoid, which is overwritten."""
        self.standing = np.zeros((0, 0)) if standing is None else standing
        self._memory = {"panel": np.empty(0), "across": np.empty(0)}

    def fold(self, block: Array) -> None:
        """Fold a block of rows, which is overwritten if it is Fortran-ordered.

        As long as there are fewer rows than columns, the two are stacked and factored again.
        Folding under a triangle padded with zero rows would spread the rows over the whole triangle
        if a column depends exactly on those before it.
        """
        columns = block.shape[1]
        if len(self.standing) == columns:
            self._fold_under(self.standing, np.asfortranarray(block))
            return
        stacked = np.vstack([np.triu(self.standing), block]) if len(self.standing) else block
        geqrt = _routines(block.dtype.char).geqrt
        panel = min(_PANEL, *stacked.shape)
        folded, _, _ = geqrt(panel, np.asfortranarray(stacked), overwrite_a=True)
        self.standing = np.array(folded[:columns], order="C")  # a copy, as the block is reused

    def merge(self, trapezoid: Array) -> None:
        """Fold the rows of another upper trapezoid, which is not changed."""
        if len(self.standing) < trapezoid.shape[1]:
            self.fold(np.array(trapezoid, order="F"))
            return
        for first in range(0, len(trapezoid), _STRIP):
            strip = np.array(trapezoid[first : first + _STRIP, first:], order="F")
            self._fold_under(self.standing[first:, first:], strip)

    def _fold_under(self, standing: Array, block: Array) -> None:
        """Replace standing by the triangle of [standing; block], and the block by its reflectors.

        LAPACK's ``tpqrt`` does the same, but slower: it factors panels by matrix-vector products.

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
            Triangular T in the product ``I - V T V^H`` of the reflectors V = [I; panel]. Zero rows
            of the corner in a column stay exactly zero.
        """
        k = len(corner)
        stacked = self._scratch("panel", (k + len(panel), k), panel.dtype)
        stacked[:k] = np.triu(corner)
        stacked[k:] = panel
        factor: Array
        folded, factor, _ = _routines(panel.dtype.char).geqrt(k, stacked, overwrite_a=True)
        corner[...] = folded[:k]
        panel[...] = folded[k:]
        return factor

    def _apply(self, factor: Array, reflectors: Array, above: Array, below: Array) -> None:
        """Multiply [above; below] by the adjoint of ``I - V T V^H``, V = [I; reflectors].

        Parameters
        ----------
        factor : ndarray, shape (k, k)
            T.
        reflectors : ndarray, shape (rows, k), Fortran order
        above : ndarray, shape (k, columns), rows contiguous
        below : ndarray, shape (rows, columns), Fortran order
        """
        gemm, trmm = _routines(below.dtype.char).gemm, _routines(below.dtype.char).trmm
        # The product in this order, columns by k, is faster than its adjoint.
        across = self._scratch("across", above.shape[::-1], below.dtype)
        np.conjugate(above.T, out=across)
        across = gemm(1, below, reflectors, trans_a=_ADJOINT, beta=1, c=across, overwrite_c=True)
        across = trmm(1, factor, across, side=1, overwrite_b=True)
        above -= across.conj().T
        gemm(-1, reflectors, across, beta=1, c=below, trans_b=_ADJOINT, overwrite_c=True)

    def _scratch(self, name: str, shape: tuple[int, int], kind: Any) -> Array:
        """Return Fortran-ordered memory of a shape; a name always gets the same memory."""
        size = shape[0] * shape[1]
        if len(self._memory[name]) < size:
            self._memory[name] = np.empty(size, kind)
        return self._memory[name][:size].reshape(shape, order="F")


@dataclass(frozen=True)
class _Routines:
    """BLAS and LAPACK routines of one precision.

    ``geqrt`` factors a matrix in place into R and reflectors, and returns both in one array, then
    T, then LAPACK's info, which is 0: SciPy checks the arguments before the call.
    """

    gemm: Any
    trmm: Any
    geqrt: Any


@cache
def _routines(kind: str) -> _Routines:
    example = np.empty(0, dtype=kind)
    blas = get_blas_funcs(("gemm", "trmm"), (example,))
    return _Routines(*blas, *get_lapack_funcs(("geqrt",), (example,)))


def _require_finite(block: Array, before: int) -> None:
    # A sum is NaN or infinite if any term is; it needs no temporary as large as the block.
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
