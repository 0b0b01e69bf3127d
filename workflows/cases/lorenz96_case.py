"""Lorenz 96: one network for all places of the circle."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.reduction.progress import Progress, ProgressUpdate
from gfrnn.workflows.cases.shared.field_comparison import FieldSystem, field_case
from gfrnn.workflows.cases.shared.trajectories import Truth, along, scattered
from gfrnn_core.systems import LORENZ96

Array = NDArray[Any]

DT = 0.01
_SPINUP = 30.0  # units of time
# Samples integrated at a time, between two signs of progress.
_PIECE = 5000


def series(seed: int, times: int, progress: Progress) -> Array:
    """One trajectory on the attractor, shape (times, 40)."""
    first = scattered(LORENZ96, 1, seed, _SPINUP)[0]
    pieces = [first[None]]
    progress(ProgressUpdate("training series", 0, times))
    while (done := sum(map(len, pieces))) < times:
        steps = min(_PIECE, times - done)
        pieces.append(LORENZ96.trajectory(DT, steps, pieces[-1][-1])[1:])
        progress(ProgressUpdate("training series", done + steps, times))
    return np.concatenate(pieces)


def states(number: int, seed: int) -> Array:
    """States on the attractor that know nothing of each other: shape (number, 40)."""
    return scattered(LORENZ96, number, seed, _SPINUP)


def follow(starts: Array, steps: int, scale: float) -> Truth:
    """The truth after some starts; computed at two tolerances, it holds until the two part."""
    return Truth.follow(LORENZ96, starts, DT, steps, 0.03, np.full(LORENZ96.dimension, scale))


def free(number: int, seed: int, steps: int) -> Array:
    """Long trajectories, whose statistics count and not their paths."""
    return along(LORENZ96, states(number, seed), DT, steps, tolerance=1e-9)


CASE = field_case(
    "lorenz96",
    "Lorenz 96 with 40 variables: one network for all places",
    FieldSystem(
        title="Lorenz 96, F = 10",
        about=(
            "The model of Lorenz (1996), 40 variables on a circle with forcing 10 and samples "
            f"every {DT:g}: chaos that spreads from place to place.",
        ),
        cells=LORENZ96.dimension,
        dt=DT,
        exponent=LORENZ96.lyapunov_exponent,
        apart=1,
        series=series,
        scattered=states,
        follow=follow,
        free=free,
        rival="DeepRFM, 2 x 16,384 features (quoted)",
        rival_valid=7.31,
        bar=8.5,
        truth="The truth is integrated at tolerances of 3e-14 and, to compare, 1e-13.",
    ),
)
