"""Solve for the next stage of zonal networks from the triangles of one pass over the states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.config.fit_config import FitConfig
from gfrnn.pipeline.reduction.checkpoints import Arrays
from gfrnn.pipeline.reduction.progress import Progress
from gfrnn.pipeline.reduction.run_tasks import run_tasks
from gfrnn.pipeline.training.triangles import Factors
from gfrnn_core import RFactor, merge_all
from gfrnn_core.zonal import (
    Stage,
    ZonalNetwork,
    assemble_stage,
    column_sizes,
    column_squares,
    solve_wavenumber,
)

Array = NDArray[Any]


@dataclass(frozen=True)
class SolvedStage:
    """A network with one more solved stage, and its errors on the validation rows.

    Attributes
    ----------
    network : ZonalNetwork
    errors : ndarray, shape (wavenumbers, width)
        Mean squared error of each coefficient.
    rows : int
        Number of rows of the training period.
    columns : int
        Largest number of columns of a wavenumber, features and targets.
    """

    network: ZonalNetwork
    errors: Array
    rows: int
    columns: int

    @property
    def error(self) -> float:
        """Mean squared error of a state."""
        return float(by_wavenumber(self.errors).sum())


@dataclass(frozen=True)
class ZonalSolve:
    """The numbers that decide how long the solves of a stage take.

    Attributes
    ----------
    features : ndarray of int, shape (networks, wavenumbers)
        Numbers of features in use.
    columns : ndarray of int, shape (wavenumbers,)
        Numbers of columns of the rows in use, features and targets.
    folds : int
        Number of triangles of a wavenumber, one for each year.
    ridges : sequence of float
    """

    features: Array
    columns: Array
    folds: int
    ridges: Sequence[float]

    @property
    def sizes(self) -> list[float]:
        """Size of the solve of each wavenumber: the cube of its columns."""
        return [float(columns) ** 3 for columns in self.columns]


def planned_stage(network: ZonalNetwork) -> SolvedStage:
    """Return a solved stage of the same shapes, for estimates."""
    shape = network.basis.wavenumbers, network.columns(len(network.stages)), network.basis.width
    # Zeros take no memory, as their pages are never written.
    stage = Stage(np.zeros(shape, dtype=complex), np.zeros(shape[:2]))
    return SolvedStage(network.extended(stage), np.zeros((shape[0], shape[2])), 0, 0)


def solve_stages(
    networks: Sequence[ZonalNetwork],
    folds: dict[str, Arrays],
    fit: FitConfig,
    progress: Progress | None,
) -> list[SolvedStage]:
    """Solve the wavenumbers one by one, as tasks, and return the networks with the stage.

    Parameters
    ----------
    networks : sequence of ZonalNetwork
        The network of the rows, and others whose columns are the leading ones of theirs.
    folds : dict
        Arrays of the triangles by fold.
    fit : FitConfig
        Settings, of which the ridges and the training years that are left out are used.
    progress : callable, optional
    """
    without = {f"train/{year}" for year in fit.without}
    loaded = {
        fold: Factors.from_arrays(arrays) for fold, arrays in folds.items() if fold not in without
    }
    train, validation = (
        [factors for fold, factors in loaded.items() if fold.startswith(f"{period}/")]
        for period in ("train", "validation")
    )
    basis, rows = networks[0].basis, sum(factors.parts[0].rows for factors in train)
    used, sizes = [], []
    for network in networks:
        stage = len(network.stages)
        used.append(network.used_columns(stage))
        squares = sum(column_squares(factors.parts, used[-1]) for factors in train)
        sizes.append(column_sizes(np.asarray(squares) / rows, network.units(stage)))
    solving = [
        (
            [factors.parts[number] for factors in train],
            [factors.parts[number] for factors in validation],
            [own[number][columns[number]] for own, columns in zip(sizes, used, strict=True)],
            int(basis.used[number].sum()),
            fit.ridge,
        )
        for number in range(basis.wavenumbers)
    ]
    solved = zip(*run_tasks("solve", solve_networks_of_wavenumber, solving, progress), strict=True)
    columns = max(part.columns for part in train[0].parts)
    found = []
    for network, own, size, chosen in zip(networks, solved, sizes, used, strict=True):
        stage_found, errors = assemble_stage(own, size, chosen, basis.used)
        found.append(SolvedStage(network.extended(stage_found), errors, rows, columns))
    return found


def solve_networks_of_wavenumber(
    train: Sequence[RFactor],
    validation: Sequence[RFactor],
    sizes: Sequence[Array],
    width: int,
    ridges: Sequence[float],
) -> list[tuple[Array, Array]]:
    """Run one task: merge the triangles of one wavenumber once, and solve each network."""
    merged, held_out = merge_all(train), merge_all(validation)
    return [solve_wavenumber(merged, held_out, own, width, ridges) for own in sizes]


def by_wavenumber(squares: Array) -> Array:
    """Return the sums over coefficients, of waves with both of their parts: (wavenumbers,)."""
    return np.asarray(squares.sum(axis=1) * np.where(np.arange(len(squares)) > 0, 2.0, 1.0))
