"""Lorenz 96, forecast by one network for all places of the circle."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.reduction.progress import Progress
from gfrnn.workflows.cases.shared.field_comparison import field_case
from gfrnn.workflows.cases.shared.field_system import FieldSystem
from gfrnn.workflows.cases.shared.trajectories import (
    Truth,
    attractor_states,
    long_trajectory,
    trajectories,
)
from gfrnn_core.systems import LORENZ96

Array = NDArray[Any]

DT = 0.01
_SPINUP = 30.0  # units of time
_PIECE = 5000  # samples between two reports of progress


def training_series(seed: int, times: int, progress: Progress, piece: int = _PIECE) -> Array:
    """Return one trajectory on the attractor, shape (times, 40)."""

    def integrate_from(state: Array, steps: int) -> Array:
        return LORENZ96.trajectory(DT, steps, state)

    return long_trajectory(initial_states(1, seed)[0], times, piece, integrate_from, progress)


def initial_states(number: int, seed: int) -> Array:
    """Return independent states on the attractor, shape (number, 40)."""
    return attractor_states(LORENZ96, number, seed, _SPINUP)


def follow(starts: Array, steps: int, scale: float) -> Truth:
    """Compute the truth at two tolerances; it is trusted until the results differ."""
    return Truth.follow(LORENZ96, starts, DT, steps, np.full(LORENZ96.dimension, scale))


def long_runs(number: int, seed: int, steps: int) -> Array:
    """Return long trajectories for statistics, which need less accuracy than the truth."""
    return trajectories(LORENZ96, initial_states(number, seed), DT, steps, tolerance=1e-9)


CASE = field_case(
    "lorenz96",
    "Lorenz 96 with 40 variables: one network for all places",
    FieldSystem(
        title="Lorenz 96, F = 10",
        description=(
            "The model of Lorenz (1996), 40 variables on a circle with forcing 10 and samples "
            f"every {DT:g}: chaos that spreads from place to place.",
        ),
        cells=LORENZ96.dimension,
        dt=DT,
        exponent=LORENZ96.lyapunov_exponent,
        pair_distance=1,
        training_series=training_series,
        initial_states=initial_states,
        follow=follow,
        long_runs=long_runs,
        published_method="DeepRFM, 2 x 16,384 features (quoted)",
        published_time=7.31,
        bar=8.5,
        truth_note="The truth is integrated at tolerances of 3e-14 and, for comparison, 1e-13.",
    ),
)
