"""Cross-validate width and ridge over contiguous blocks of rows, from R factors alone.

The R factors of all blocks but one merge into the R factor of the rows without that block, so
every refit of a cross-validation costs a merge and an SVD, and no row is read again.

Blocks are contiguous in time. Rows next to each other in time are nearly equal: if they were
shuffled into folds, the neighbours of each left-out row would be among the rows of the fit, and the
error would be that of interpolation, not of forecasting (Roberts et al.,
'Cross-validation strategies for data with temporal, spatial, hierarchical, or phylogenetic
structure', Ecography 40, 2017). Only rows at the borders of a block have such neighbours: blocks
should be much longer than the time over which errors are correlated.

Every block is left out once here. Selection on one fixed validation period needs no merges: fit on
the R factor of the training period, and call :meth:`gfrnn_core.RidgePath.errors` with that of the
validation period.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gfrnn_core.regression import RidgePath
from gfrnn_core.triangles.rfactor import RFactor, merge_all

Array = NDArray[Any]


@dataclass(frozen=True)
class FoldErrors:
    """Squared errors on every fold of the models fitted without it.

    Attributes
    ----------
    squares : ndarray, shape (folds, widths, ridges, targets)
        Sums over the rows of the fold, in the squared unit of the targets.
    rows : ndarray of int, shape (folds,)
    features : ndarray of int, shape (widths,)
        Numbers of leading feature columns.
    ridges : ndarray, shape (ridges,)
        Ridges relative to the largest singular value of each fit.
    """

    squares: Array
    rows: Array
    features: Array
    ridges: Array

    def mean(self, weights: ArrayLike | None = None) -> Array:
        """Return the mean squared error over all rows.

        Parameters
        ----------
        weights : array, shape (targets,) or (targets, groups), optional
            Weight of the squared error of each target; by default 1 / targets. The unit matrix
            gives the error of every target; zeros leave targets out, such as those of other leads.

        Returns
        -------
        ndarray, shape (widths, ridges) or (widths, ridges, groups)
        """
        return np.asarray(self._weighted(weights).sum(axis=0) / self.rows.sum())

    def standard_error(self, weights: ArrayLike | None = None) -> Array:
        """Return the standard error of :meth:`mean` from the scatter over folds, in its shape.

        The mean is a ratio of two sums over folds, errors and rows, and its standard error is that
        of a ratio estimator (Cochran, 'Sampling Techniques', 1977, chapter 6). With folds of equal
        length it is the standard deviation of the folds' mean errors divided by the root of their
        number. The fits of the folds share rows, so it is only approximate.
        """
        sums = self._weighted(weights)
        lengths = self.rows.reshape(-1, *[1] * (sums.ndim - 1))
        departures = sums - lengths * (sums.sum(axis=0) / lengths.sum())
        count = len(self.rows)
        error_of_sum = np.sqrt(count / (count - 1) * np.square(departures).sum(axis=0))
        return np.asarray(error_of_sum / self.rows.sum())

    def best(
        self, weights: ArrayLike | None = None, *, one_standard_error: bool = False
    ) -> tuple[int, float]:
        """Return the number of features and the ridge of the least mean error.

        Parameters
        ----------
        weights : array, shape (targets,), optional
            Weights of the targets, see :meth:`mean`.
        one_standard_error : bool
            Whether to select the simplest model (the narrowest, and of that width the one with the
            largest ridge) with a mean error within one standard error of the least (Breiman,
            Friedman, Olshen, Stone, 'Classification and Regression Trees', 1984, section 3.4.3;
            Hastie, Tibshirani, Friedman, 'The Elements of Statistical Learning', section 7.10).

        Raises
        ------
        ValueError
            If there is not one weight per target.
        """
        if weights is not None and np.ndim(weights) != 1:
            raise ValueError(
                f"weights: {np.ndim(weights)} dimensions; a choice needs one weight a target, "
                "so call once for each group of targets"
            )
        mean = self.mean(weights)
        width, ridge = np.unravel_index(mean.argmin(), mean.shape)
        if one_standard_error:
            limit = mean[width, ridge] + self.standard_error(weights)[width, ridge]
            near = np.argwhere(mean <= limit)
            width, ridge = min(near, key=lambda at: (self.features[at[0]], -self.ridges[at[1]]))
        return int(self.features[width]), float(self.ridges[ridge])

    def _weighted(self, weights: ArrayLike | None) -> Array:
        targets = self.squares.shape[-1]
        shares = np.full(targets, 1 / targets) if weights is None else np.asarray(weights, float)
        if shares.ndim not in (1, 2) or len(shares) != targets:
            raise ValueError(
                f"weights: shape {shares.shape}; give ({targets},) or ({targets}, groups) "
                f"for {targets} targets"
            )
        if not (np.isfinite(shares).all() and (shares >= 0).all()):
            raise ValueError("weights: every weight must be finite and not negative")
        return np.asarray(self.squares @ shares)


def contiguous_folds(blocks: Sequence[RFactor], count: int) -> tuple[RFactor, ...]:
    """Group finer blocks into contiguous folds of nearly equal numbers of rows.

    Parameters
    ----------
    blocks : sequence of RFactor
        Blocks in the order of time; blocks without rows are skipped.
    count : int
        Number of folds, K.

    Raises
    ------
    ValueError
        If there are fewer than two folds, or fewer blocks with rows than folds.
    """
    filled = [block for block in blocks if block.rows]
    if not 2 <= count <= len(filled):
        raise ValueError(
            f"count: {count} folds of {len(filled)} blocks with rows; "
            "give 2 or more folds, and no more than there are blocks"
        )
    rows = np.array([block.rows for block in filled])
    # Twice the middle row of each block: integers, so that ties are resolved equally everywhere.
    middles = 2 * np.cumsum(rows) - rows
    edges = np.searchsorted(middles * count, 2 * rows.sum() * np.arange(count + 1))
    for fold in range(1, count):  # a block longer than a fold must leave no other fold empty
        edges[fold] = min(max(edges[fold], edges[fold - 1] + 1), len(filled) - count + fold)
    return tuple(merge_all(filled[start:stop]) for start, stop in pairwise(edges))


def complements(folds: Sequence[RFactor]) -> Iterator[RFactor]:
    """Yield the R factor of all other rows, for each fold.

    Merges from the left and from the right meet at the left-out fold: there are three merges per
    fold, and as many additional triangles in memory as folds.

    Raises
    ------
    ValueError
        If there are fewer than two folds, or one has no rows or other columns than the first.
    """
    _require_folds(folds)
    suffixes = [RFactor.empty(folds[0].columns)]
    for fold in reversed(folds[1:]):
        suffixes.append(fold.merge(suffixes[-1]))
    prefix = RFactor.empty(folds[0].columns)
    for fold in folds:
        yield prefix.merge(suffixes.pop())
        prefix = prefix.merge(fold)


def left_out_weights(
    folds: Sequence[RFactor], features: int, targets: int, ridge: ArrayLike
) -> Iterator[Array]:
    """Yield the outer weights fitted without each fold: shape (features, targets).

    Parameters
    ----------
    folds : sequence of RFactor
        R factors of rows [features | ... | targets].
    features, targets : int
        Numbers of columns, see :meth:`RidgePath.from_factor`.
    ridge : float, or array of shape (targets,)

    Raises
    ------
    ValueError
        See :func:`fold_errors`.
    """
    _require_folds(folds)
    _require_widths(folds, np.array([features]), targets)
    _require_ridges(np.atleast_1d(np.asarray(ridge, dtype=float)))
    for others in complements(folds):
        yield RidgePath.from_factor(others, features, targets).weights(ridge)


def fold_errors(
    folds: Sequence[RFactor],
    targets: int,
    features: Sequence[int] | None = None,
    ridges: ArrayLike = 0.0,
) -> FoldErrors:
    """Leave out each fold in turn, fit on the others, and compute the exact errors on the fold.

    Parameters
    ----------
    folds : sequence of RFactor
        R factors of rows [features | targets]; :func:`contiguous_folds` groups blocks into folds.
    targets : int
        Number of trailing columns that are targets.
    features : sequence of int, optional
        Widths to try: numbers of leading feature columns. By default all of them.
    ridges : array, shape (ridges,)
        Ridges relative to the largest singular value of each fit; zero is the pseudo-inverse.

    Raises
    ------
    ValueError
        If there are fewer than two folds, one has no rows or other columns than the rest, widths
        do not fit into the columns or into the rows that are left, or a ridge is negative or not
        finite.
    """
    _require_folds(folds)
    columns = folds[0].columns
    widths = np.atleast_1d(np.array([columns - targets] if features is None else features))
    strengths = np.atleast_1d(np.asarray(ridges, dtype=float))
    _require_widths(folds, widths, targets)
    _require_ridges(strengths)
    squares = np.empty((len(folds), len(widths), len(strengths), targets))
    for fold, others, out in zip(folds, complements(folds), squares, strict=True):
        for index, width in enumerate(widths):
            path = RidgePath.from_factor(others, int(width), targets)
            out[index] = path.errors(fold, strengths)
    return FoldErrors(squares, np.array([fold.rows for fold in folds]), widths, strengths)


def _require_folds(folds: Sequence[RFactor]) -> None:
    if len(folds) < 2:
        raise ValueError(f"folds: {len(folds)} given; leaving one out needs 2 or more")
    for index, fold in enumerate(folds):
        if fold.columns != folds[0].columns:
            raise ValueError(
                f"folds: number {index} has {fold.columns} columns, the first has "
                f"{folds[0].columns}; they come from different models"
            )
        if fold.rows == 0:
            raise ValueError(f"folds: number {index} has no rows; leave it out")


def _require_widths(folds: Sequence[RFactor], widths: Array, targets: int) -> None:
    columns, rows = folds[0].columns, [fold.rows for fold in folds]
    if not 0 < targets < columns:
        raise ValueError(f"targets: {targets} of {columns} columns; give 1 to {columns - 1}")
    if widths.ndim != 1 or len(widths) == 0 or not np.issubdtype(widths.dtype, np.integer):
        raise ValueError(f"features: {widths.tolist()}; give one or more integers")
    longest = int(np.argmax(rows))
    left = sum(rows) - rows[longest]
    for width in widths.tolist():
        if not 0 < width <= columns - targets:
            raise ValueError(
                f"features: {width} of {columns} columns, {targets} of them targets; "
                f"give 1 to {columns - targets}"
            )
        if width > left:
            raise ValueError(
                f"features: {width} feature columns, but only {left} rows are left without fold "
                f"{longest}; take a smaller width, shorter folds or more data"
            )


def _require_ridges(ridges: Array) -> None:
    if ridges.ndim != 1 or len(ridges) == 0:
        raise ValueError(f"ridge: shape {ridges.shape}; give one or more numbers")
    wrong = ridges[~(np.isfinite(ridges) & (ridges >= 0))]
    if len(wrong):
        raise ValueError(f"ridge: {wrong[0]} is not a finite number of zero or more")
