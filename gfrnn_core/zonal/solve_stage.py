"""Solve for the outer weights of one stage from the R factors of its rows, by wavenumber."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gfrnn_core.regression import RidgePath
from gfrnn_core.rfactor import RFactor
from gfrnn_core.zonal.zonal_network import Stage

Array = NDArray[Any]

# Columns whose root mean square, relative to the largest of their unit at any wavenumber, is below
# this are rounding errors, for example of a coefficient that a conservation law keeps at zero.
_ROUNDING = 1e-6


def row_factors(rows: Array, targets: Array) -> list[RFactor]:
    """Return the R factor of the rows and targets of each wavenumber.

    Parameters
    ----------
    rows, targets : ndarray of complex, shapes (wavenumbers, n, columns) and (wavenumbers, n, width)
    """
    columns = rows.shape[2] + targets.shape[2]
    blocks = (
        np.asfortranarray(np.concatenate([own, later], axis=1))
        for own, later in zip(rows, targets, strict=True)
    )
    return [RFactor.from_blocks([block], columns) for block in blocks]


def solve_stage(
    train: Sequence[RFactor], validation: Sequence[RFactor], units: Array, ridges: ArrayLike
) -> tuple[Stage, Array]:
    """Solve for a stage, with the ridge of each coefficient that is best on the validation rows.

    Columns are divided by their root mean square first, so that the ridge acts on all alike: states
    and features have different units.

    Parameters
    ----------
    train, validation : sequence of RFactor, one for each wavenumber
        R factors of the columns [features | targets]; validation rows should have no noise.
    units : ndarray of int, shape (columns,)
        Number of the unit of each feature column, see :meth:`ZonalNetwork.units`; the columns that
        follow are targets.
    ridges : array, shape (ridges,)
        Ridges to try, relative to the largest singular value.

    Returns
    -------
    stage : Stage
    errors : ndarray, shape (wavenumbers, width)
        Mean squared error of each coefficient on the validation rows.
    """
    strengths = np.atleast_1d(np.asarray(ridges, dtype=float))
    columns = len(units)
    width = train[0].columns - columns
    sizes = np.stack(
        [np.linalg.norm(each.triangle[:, :columns], axis=0) / np.sqrt(each.rows) for each in train]
    )
    largest = np.array([sizes[:, units == unit].max() for unit in range(units.max() + 1)])
    alive = sizes > _ROUNDING * largest[units]
    scales = np.divide(1.0, sizes, out=np.zeros_like(sizes), where=alive)
    outer = np.zeros((len(train), columns, width), dtype=complex)
    errors = np.zeros((len(train), width))
    for number, (factor, fold) in enumerate(zip(train, validation, strict=True)):
        factors = np.concatenate([scales[number], np.ones(width)])
        scaled, held_out = (RFactor(each.triangle * factors, each.rows) for each in (factor, fold))
        path = RidgePath.from_factor(scaled, columns, width)
        squares = path.errors(held_out, strengths)
        best = strengths[squares.argmin(axis=0)]
        outer[number] = path.weights(best) * scales[number][:, None]
        errors[number] = squares.min(axis=0) / fold.rows
    return Stage(outer, np.where(alive, sizes, 0.0)), errors
