"""Solve for the outer weights of one stage from the R factors of its rows, by wavenumber."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gfrnn_core.regression import RidgePath
from gfrnn_core.triangles.folding import Folding
from gfrnn_core.triangles.rfactor import RFactor
from gfrnn_core.zonal.zonal_network import Stage

Array = NDArray[Any]

# Columns whose root mean square, relative to the largest of their unit at any wavenumber, is below
# this are rounding errors, for example of a coefficient that a conservation law keeps at zero.
_ROUNDING = 1e-6


def row_factors(
    blocks: Iterable[tuple[Array, Array]], used: Array, used_targets: Array, rows: int
) -> list[RFactor]:
    """Return the R factor of rows and targets of each wavenumber, of the columns in use.

    Parameters
    ----------
    blocks : iterable of (rows, targets), both ndarrays of complex64 or complex128
        Blocks of rows, shapes (wavenumbers, n, columns) and (wavenumbers, n, width). Reflections
        have their precision, so that complex64 is for a few rows a column only.
    used, used_targets : ndarray of bool, shapes (wavenumbers, columns) and (wavenumbers, width)
        Columns that are not always zero: :meth:`ZonalNetwork.used_columns` and
        :attr:`ZonalBasis.used`.
    rows : int
        Number of rows that are folded together; a fold is the faster the more there are.
    """
    features, targets = used.sum(axis=1), used_targets.sum(axis=1)
    columns, memory = features + targets, dict[str, Array]()
    folding = [Folding(memory=memory) for _ in columns]
    buffers: list[Array] = []
    filled = total = 0

    def fold() -> None:
        for each, buffer in zip(folding, buffers, strict=True):
            each.fold(np.asfortranarray(buffer[:filled]))

    for own, later in blocks:
        if not buffers:
            buffers += [np.empty((rows, count), own.dtype, order="F") for count in columns]
        done = 0
        while done < own.shape[1]:
            count = min(rows - filled, own.shape[1] - done)
            now, there = slice(done, done + count), slice(filled, filled + count)
            for number, buffer in enumerate(buffers):
                buffer[there, : features[number]] = own[number, now][:, used[number]]
                buffer[there, features[number] :] = later[number, now][:, used_targets[number]]
            done, filled = done + count, filled + count
            if filled == rows:
                fold()
                filled, total = 0, total + filled
    if filled:
        fold()
    total += filled
    if not total:
        return [RFactor.empty(int(count)) for count in columns]
    return [RFactor.from_trapezoid(each.finish(), total) for each in folding]


def column_sizes(squares: Array, units: Array) -> Array:
    """Return the root mean square of each feature column, 0 where it is rounding error.

    Parameters
    ----------
    squares : ndarray, shape (wavenumbers, columns)
        Mean squares of the columns: the sums over an R factor's column, divided by its rows.
    units : ndarray of int, shape (columns,)
        Number of the unit of each feature column, see :meth:`ZonalNetwork.units`.

    Returns
    -------
    ndarray, shape (wavenumbers, columns)
    """
    sizes = np.sqrt(squares)
    largest = np.array([sizes[:, units == unit].max() for unit in range(units.max() + 1)])
    return np.where(sizes > _ROUNDING * largest[units], sizes, 0.0)


def column_squares(factors: Sequence[RFactor], used: Array) -> Array:
    """Return the sum of squares of each feature column: shape (wavenumbers, columns).

    Parameters
    ----------
    factors : sequence of RFactor, one for each wavenumber
        R factors of the columns in use: [features | ... | targets].
    used : ndarray of bool, shape (wavenumbers, columns)
    """
    squares = np.zeros(used.shape)
    for own, factor, chosen in zip(squares, factors, used, strict=True):
        own[chosen] = np.square(np.abs(factor.triangle[:, : chosen.sum()])).sum(axis=0)
    return squares


def solve_wavenumber(
    train: RFactor, validation: RFactor, sizes: Array, width: int, ridges: ArrayLike
) -> tuple[Array, Array]:
    """Solve for the outer weights of one wavenumber, with the best ridge of each coefficient.

    Columns are divided by their root mean square first, so that the ridge acts on all alike: states
    and features have different units.

    Parameters
    ----------
    train, validation : RFactor
        R factors of the columns [features | ... | targets]; validation rows should have no noise.
    sizes : ndarray, shape (columns,)
        Root mean squares of the leading columns, which are used as features; 0 excludes a column.
    width : int
        Number of trailing columns that are targets.
    ridges : array, shape (ridges,)
        Ridges to try, relative to the largest singular value.

    Returns
    -------
    outer : ndarray of complex, shape (columns, width)
    errors : ndarray, shape (width,)
        Mean squared error of each coefficient on the validation rows.
    """
    strengths = np.atleast_1d(np.asarray(ridges, dtype=float))
    scales = np.divide(1.0, sizes, out=np.zeros_like(sizes), where=sizes > 0)
    factors = np.ones(train.columns)
    factors[: len(scales)] = scales
    scaled, held_out = (RFactor(each.triangle * factors, each.rows) for each in (train, validation))
    path = RidgePath.from_factor(scaled, len(scales), width)
    squares = path.errors(held_out, strengths)
    best = strengths[squares.argmin(axis=0)]
    outer = path.weights(best) * scales[:, None]
    return outer, np.asarray(squares.min(axis=0) / validation.rows)


def solve_stage(
    train: Sequence[RFactor],
    validation: Sequence[RFactor],
    used: Array,
    used_targets: Array,
    units: Array,
    ridges: ArrayLike,
) -> tuple[Stage, Array]:
    """Solve for a stage: each wavenumber by :func:`solve_wavenumber`.

    Parameters
    ----------
    train, validation : sequence of RFactor, one for each wavenumber
    used, used_targets : ndarray of bool, shapes (wavenumbers, columns) and (wavenumbers, width)
        Columns that are not always zero, see :func:`row_factors`.
    units : ndarray of int, shape (columns,)
        Number of the unit of each feature column, see :meth:`ZonalNetwork.units`.
    ridges : array, shape (ridges,)

    Returns
    -------
    stage : Stage
    errors : ndarray, shape (wavenumbers, width)
        Mean squared error of each coefficient on the validation rows.
    """
    sizes = column_sizes(column_squares(train, used) / train[0].rows, units)
    solved = [
        solve_wavenumber(factor, fold, own[columns], int(width.sum()), ridges)
        for factor, fold, own, columns, width in zip(
            train, validation, sizes, used, used_targets, strict=True
        )
    ]
    return assemble_stage(solved, sizes, used, used_targets)


def assemble_stage(
    solved: Sequence[tuple[Array, Array]], sizes: Array, used: Array, used_targets: Array
) -> tuple[Stage, Array]:
    """Return the stage of the solutions of all wavenumbers, and its errors.

    Parameters
    ----------
    solved : sequence of (outer, errors), one for each wavenumber
        Results of :func:`solve_wavenumber`.
    sizes : ndarray, shape (wavenumbers, columns)
        Root mean squares of the columns.
    used, used_targets
        Parameters of :func:`solve_stage`, as are the results.
    """
    outer = np.zeros((*used.shape, used_targets.shape[1]), dtype=complex)
    errors = np.zeros(used_targets.shape)
    for number, (own, squares) in enumerate(solved):
        outer[number][np.ix_(used[number], used_targets[number])] = own
        errors[number, used_targets[number]] = squares
    return Stage(outer, sizes), errors
