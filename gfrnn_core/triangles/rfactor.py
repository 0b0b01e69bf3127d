"""R factor of a tall matrix of rows: fold blocks, merge factors, select or scale columns.

The R factors of two stretches of rows merge into the R factor of both, in any grouping, so a tree
reduction over an archive needs to keep only R.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gfrnn_core.triangles.array_order import upper_triangle
from gfrnn_core.triangles.folding import Folding

Array = NDArray[Any]

_KINDS = ("float32", "float64", "complex128")


@dataclass(frozen=True, eq=False)
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
    def from_blocks(cls, blocks: Iterable[Array], columns: int, expected: float = 0) -> RFactor:
        """Fold blocks of rows one by one, so that A need not fit into memory.

        Parameters
        ----------
        blocks : iterable of ndarray, shape (rows of the block, columns)
            Blocks, all float32, all float64 or all complex128; the triangles of float32 blocks are
            merged in float64. Fortran-ordered blocks, which blocks of one column always are, are
            **overwritten**, so that a caller may pass one buffer again and again without a copy.
        columns : int
            Number of columns of every block.
        expected : float
            Number of all rows, as far as known; if it is large, they are folded faster.

        Raises
        ------
        ValueError
            If a block has another number of columns or another precision than the others, or
            contains NaN or infinity, which would make all later results NaN without a trace of
            their origin.
        """
        folding, dtype = Folding(expected=expected), ""
        for block in blocks:
            if block.ndim != 2 or block.shape[1] != columns:
                raise ValueError(f"block has shape {block.shape}, expected (rows, {columns})")
            if len(block) == 0:
                continue
            dtype = dtype or block.dtype.name
            if block.dtype.name != dtype or dtype not in _KINDS:
                raise ValueError(
                    f"block from row {folding.rows} on is {block.dtype.name}, the first is "
                    f"{dtype}; convert all to one of {', '.join(_KINDS)}"
                )
            folding.fold(block)
        rows = folding.rows
        return cls.empty(columns) if rows == 0 else cls.from_trapezoid(folding.finish(), rows)

    @classmethod
    def from_rows(cls, matrix: ArrayLike) -> RFactor:
        """Return the R factor of a matrix that fits into memory; the matrix is not changed.

        Parameters
        ----------
        matrix : array_like, shape (rows, columns)

        Raises
        ------
        ValueError
            If it is no matrix, or contains NaN or infinity.
        """
        dtype = complex if np.iscomplexobj(matrix) else float
        block = np.array(matrix, dtype=dtype, order="F")
        if block.ndim != 2:
            raise ValueError(f"matrix: shape {block.shape} is not (rows, columns)")
        return cls.from_blocks([block], block.shape[1], expected=len(block))

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
        folding = Folding(self.triangle)
        folding.merge(other.triangle)
        return self.from_trapezoid(folding.finish(), rows)

    def select(self, columns: Sequence[int] | slice) -> RFactor:
        """Return the R factor of A with only these columns, in this order; no data are read."""
        index = columns if isinstance(columns, slice) else np.asarray(columns)
        if isinstance(index, np.ndarray) and not index.size:
            index = index.astype(np.intp)
        chosen = np.array(self.triangle[:, index], order="F")
        if chosen.shape[1] == 0:
            return RFactor(np.zeros((0, 0)), self.rows)
        if not chosen.size:
            return self.from_trapezoid(chosen, self.rows)
        folding = Folding()
        folding.reflect(chosen)
        return self.from_trapezoid(folding.finish(), self.rows)

    def without_leading(self, count: int) -> RFactor:
        """Return the R factor of all other columns once their regression on the leading is removed.

        Regressions among these columns are then those that include the leading ones (Frisch, Waugh
        and Lovell). Each removed column takes a degree of freedom, which counts as a row.

        Raises
        ------
        ValueError
            If there are not so many columns.
        """
        if not 0 <= count <= self.columns:
            raise ValueError(f"count: {count} is not from 0 to the {self.columns} columns")
        rest = self.triangle[count:, count:]
        return self.from_trapezoid(rest, max(self.rows - count, 0))

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
    def from_trapezoid(cls, standing: Array, rows: int) -> RFactor:
        """Return the R factor of an upper trapezoid with a diagonal of any sign.

        Parameters
        ----------
        standing : ndarray, shape (at most columns, columns)
            Values below the diagonal are ignored.
        rows : int
            Number of rows of A.
        """
        # There are fewer rows only if a selection contains columns more than once.
        missing = min(rows, standing.shape[1]) - len(standing)
        dtype = complex if np.iscomplexobj(standing) else float
        triangle = upper_triangle(standing, dtype, "C")
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
