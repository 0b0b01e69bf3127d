"""Kuramoto-Sivashinsky equation: one network for all places of the line."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.reduction.progress import Progress, ProgressUpdate
from gfrnn.workflows.cases.shared.field_comparison import FieldSystem, field_case
from gfrnn.workflows.cases.shared.trajectories import Truth
from gfrnn_core.systems import KURAMOTO_SIVASHINSKY_LYAPUNOV_EXPONENT, KuramotoSivashinsky
from gfrnn_core.systems.integration import trusted_time

Array = NDArray[Any]

FINE, COARSE = 32, 16
"""Time steps in a sampling interval: of all that is computed, and of what it is compared with."""

_SPINUP = 800  # samples
# Samples integrated at a time, between two signs of progress.
_PIECE = 500

_ROUGH, _COARSE, _FINE = (KuramotoSivashinsky(substeps=number) for number in (1, COARSE, FINE))


def series(seed: int, times: int, progress: Progress) -> Array:
    """One trajectory on the attractor, shape (times, 512)."""
    pieces = [states(1, seed)]
    progress(ProgressUpdate("training series", 0, times))
    while (done := sum(map(len, pieces))) < times:
        steps = min(_PIECE, times - done)
        pieces.append(_FINE.trajectory(pieces[-1][-1], steps)[1:])
        progress(ProgressUpdate("training series", done + steps, times))
    return np.concatenate(pieces)


def states(number: int, seed: int) -> Array:
    """States on the attractor that know nothing of each other: shape (number, 512)."""
    return _ROUGH.trajectory(_ROUGH.initial(seed, (number,)), 0, _SPINUP)[:, 0]


def follow(starts: Array, steps: int, scale: float) -> Truth:
    """The truth after some starts; computed with two numbers of time steps."""
    coarse, fine = (system.trajectory(starts, steps) for system in (_COARSE, _FINE))
    paths = {COARSE: coarse, FINE: fine}
    trusted = trusted_time(paths.__getitem__, COARSE, FINE, _FINE.dt, 0.03, scale)
    return Truth(starts, fine[:, 1:], trusted)


def free(number: int, seed: int, steps: int) -> Array:
    """Long trajectories, whose statistics count and not their paths."""
    return KuramotoSivashinsky(substeps=4).trajectory(states(number, seed), steps)


CASE = field_case(
    "kuramoto-sivashinsky",
    "Kuramoto-Sivashinsky equation on a long line: one network for all places",
    FieldSystem(
        title="Kuramoto-Sivashinsky, L = 200",
        about=(
            "u_t = -u u_x - u_xx - u_xxxx on a periodic line of length "
            f"{_FINE.length:g} with {_FINE.points} points and samples every {_FINE.dt:g}: chaos in "
            "space and time.",
        ),
        cells=_FINE.points,
        dt=_FINE.dt,
        exponent=KURAMOTO_SIVASHINSKY_LYAPUNOV_EXPONENT,
        apart=4,
        series=series,
        scattered=states,
        follow=follow,
        free=free,
        rival="DeepRFM, 2 x 15,000 features (quoted)",
        rival_valid=5.04,
        bar=6.0,
        truth=(
            f"Truth and training series are computed with {FINE} steps in a sampling interval; "
            f"the truth is compared with one of {COARSE}."
        ),
    ),
)
