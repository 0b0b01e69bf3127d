"""Fold blocks of rows into a triangle, by Householder reflections and by Cholesky factors.

The first rows are folded by Householder reflections: LAPACK's ``geqrt`` factors a few columns of a
block, and matrix products apply the result to the other columns. Once the triangle R holds 1.5
times as many rows as columns, later blocks B only add ``W^T W``, W = B R^-1, to a matrix G. The
triangle of all rows is then ``chol(I + G) R``, because its Gram matrix is ``R^T R`` plus the sum of
``B^T B``.
This is Cholesky QR with a preconditioner: B itself may have any condition number, as only that of
I + G matters, which is small if later rows resemble the first ones. Blocks that do not are folded
by reflections. (Yamamoto, Nakatsukasa, Yanagisawa and Fukaya, 'Roundoff error analysis of the
CholeskyQR2 algorithm', ETNA 44, 2015, for the errors without a preconditioner.)
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn_core.triangles.array_order import copy_rows, upper_triangle
from gfrnn_core.triangles.gathering import GramUnderTriangle
from gfrnn_core.triangles.routines import routines

Array = NDArray[Any]

# Columns whose reflectors are applied together: enough for products at full speed, and few enough
# that the slower factorisation of these columns is negligible.
_PANEL = 96

# Columns of a triangle whose reflectors are applied together in a merge.
_MERGED = 32

# Least number of float64 rows of a block.
_BLOCK = 1024

# Rows of a triangle, in multiples of its columns, before rows are gathered under it. With fewer,
# its smallest singular values are much smaller than those of later blocks of as many rows.
_FIRST = 1.5

# Rows, in multiples of the columns, from which on gathering saves more than its Cholesky factor
# costs. If as many are expected, gathering begins early, otherwise when they have come.
_WORTHWHILE = 8

# Largest number of rows gathered under a triangle, in multiples of the rows it holds.
_GATHERED = 16

# BLAS's option for the conjugate transpose, which is the transpose of a real matrix.
_ADJOINT = 2


def block_rows(columns: int, precision: Any = np.float64) -> int:
    """Return the number of rows of a block with this number of columns.

    It is large enough to make the work on the triangle negligible, and small enough for a block to
    stay in the processor's cache while it is folded.
    """
    return max(columns, _BLOCK) * (8 // int(np.dtype(precision).itemsize))


class Folding:
    """The triangle of the rows folded so far, and memory that folding reuses.

    Workers of a cluster return freed memory to the system at once, and allocating it again takes a
    tenth of the time of a fold.

    Parameters
    ----------
    standing : ndarray, shape (at most columns, columns), optional
        Upper trapezoid to begin with; :meth:`merge` keeps it, other methods may overwrite it.
    expected : float
        Number of rows that will be folded, as far as known; it only decides how they are.
    memory : dict, optional
        Memory that is shared with other instances, of which one is used at a time.
    """

    def __init__(
        self,
        standing: Array | None = None,
        expected: float = 0,
        memory: dict[str, Array] | None = None,
    ) -> None:
        self._standing = np.zeros((0, 0)) if standing is None else standing
        self._gathered: GramUnderTriangle | None = None
        self._rows = len(self._standing)  # of the triangle, without those gathered
        self._expected = expected
        self._least = 0.0  # rows of a triangle under which rows may be gathered
        self._memory = {} if memory is None else memory

    @property
    def rows(self) -> int:
        """Number of rows folded, those of the triangle to begin with included."""
        return self._rows + (self._gathered.rows if self._gathered else 0)

    def finish(self) -> Array:
        """Return the triangle; values below the diagonal are undefined. Folding may go on."""
        self._complete()
        return self._standing

    def fold(self, block: Array) -> None:
        """Fold rows, which are overwritten if they are Fortran-ordered.

        Parameters
        ----------
        block : ndarray, shape (rows, columns)
            All blocks are float32, or all float64, or all complex128. The triangle of float32 rows
            is float32 for the first ones, at most eight times as many as columns or one block, and
            then float64, so that rounding errors do not grow with the number of rows.

        Raises
        ------
        ValueError
            If a value is NaN or infinite, which would make all later results NaN without a trace of
            their origin; it names the row and the column.
        """
        columns, dtype = block.shape[1], block.dtype
        if dtype.kind == "c":
            require_finite_rows(block, self.rows)
            self.reflect(block)
            return
        early = self._expected >= _WORTHWHILE * columns
        self._least = max(self._least, (_FIRST if early else _WORTHWHILE) * columns)
        together, first = block_rows(columns, dtype), 0
        while first < len(block):
            missing = math.ceil(self._least) - self._rows
            part = block[first : first + (min(together, missing) if missing > 0 else together)]
            if missing > 0 or not self._gather(part):  # only finite rows are gathered
                require_finite_rows(part, self.rows)
                self.reflect(part)
            first += len(part)

    def reflect(self, block: Array) -> None:
        """Fold a block by reflections alone; it is overwritten if it is Fortran-ordered.

        As long as there are fewer rows than columns, the two are stacked and factored again.
        Folding under a triangle padded with zero rows would spread the rows over the whole triangle
        if a column depends exactly on those before it.
        """
        self._complete()
        columns = block.shape[1]
        self._rows += len(block)
        if len(self._standing) == columns:
            wide = np.asfortranarray(block, dtype=np.result_type(block, self._standing))
            self._standing = self._standing.astype(wide.dtype, order="C", copy=False)
            self._reflect_under(self._standing, wide)
            return
        stacked = np.vstack([np.triu(self._standing), block]) if len(self._standing) else block
        geqrt = routines(block.dtype.char).geqrt
        panel = min(_PANEL, *stacked.shape)
        folded, _, _ = geqrt(panel, np.asfortranarray(stacked), overwrite_a=True)
        self._standing = np.empty((min(folded.shape), columns), folded.dtype)
        copy_rows(folded[:columns], self._standing)  # as the block is reused

    def merge(self, trapezoid: Array) -> None:
        """Fold the rows of another upper trapezoid; neither side's array is changed."""
        if len(self._standing) < trapezoid.shape[1]:
            self.reflect(np.array(trapezoid, order="F"))
            return
        self._complete()
        self._rows += len(trapezoid)
        dtype = np.result_type(self._standing, trapezoid)
        upper, lower = (upper_triangle(each, dtype, "F") for each in (self._standing, trapezoid))
        panel, tpqrt = min(_MERGED, len(upper)), routines(dtype.char).tpqrt
        merged = tpqrt(len(lower), panel, upper, lower, overwrite_a=True, overwrite_b=True)
        self._standing = merged[0]

    def _gather(self, block: Array) -> bool:
        """Gather the rows of a block under the triangle if that is accurate; return whether."""
        if self._gathered is None:
            self._gathered = GramUnderTriangle.under(self._standing, block.dtype)
        if self._gathered is None or not self._gathered.add(block, self._scratch):
            self._complete()
            # Waiting for a triangle of twice as many rows bounds the time of failures.
            self._least = 2 * self._rows
            return False
        if self._gathered.rows >= _GATHERED * self._rows:
            self._complete()
        return True

    def _complete(self) -> None:
        """Take the gathered rows into the triangle, which is float64 from then on."""
        if self._gathered is not None:
            self._standing = self._gathered.triangle()
            self._rows += self._gathered.rows
            self._gathered = None

    def _reflect_under(self, standing: Array, block: Array) -> None:
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
        folded, factor, _ = routines(panel.dtype.char).geqrt(k, stacked, overwrite_a=True)
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
        gemm, trmm = routines(below.dtype.char).gemm, routines(below.dtype.char).trmm
        # The product in this order, columns by k, is faster than its adjoint.
        across = self._scratch("across", above.shape[::-1], below.dtype)
        np.conjugate(above.T, out=across)
        across = gemm(1, below, reflectors, trans_a=_ADJOINT, beta=1, c=across, overwrite_c=True)
        across = trmm(1, factor, across, side=1, overwrite_b=True)
        above -= (across.conj() if np.iscomplexobj(across) else across).T
        gemm(-1, reflectors, across, beta=1, c=below, trans_b=_ADJOINT, overwrite_c=True)

    def _scratch(self, name: str, shape: tuple[int, int], dtype: Any) -> Array:
        """Return Fortran-ordered memory of a shape, of any values; a name gets the same again."""
        size = shape[0] * shape[1]
        memory = self._memory.get(name)
        if memory is None or len(memory) < size or memory.dtype != dtype:
            self._memory[name] = memory = np.zeros(size, dtype)
        return memory[:size].reshape(shape, order="F")


def require_finite_rows(block: Array, before: int) -> None:
    """Refuse NaN and infinity in a block of rows that follows ``before`` others.

    Raises
    ------
    ValueError
        Naming the first such row and column.
    """
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
