"""Kuramoto-Sivashinsky equation, forecast by one network for all places of the line."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from gfrnn.pipeline.reduction.progress import Progress
from gfrnn.workflows.cases.shared.field_comparison import field_case
from gfrnn.workflows.cases.shared.field_system import FieldSystem
from gfrnn.workflows.cases.shared.trajectories import Truth, long_trajectory
from gfrnn_core.systems import KURAMOTO_SIVASHINSKY_LYAPUNOV_EXPONENT, KuramotoSivashinsky

Array = NDArray[Any]

FINE, COARSE = 32, 16
"""Numbers of time steps in a sampling interval: of the truth, and of its comparison."""

_SPINUP = 800  # samples
_PIECE = 500  # samples between two reports of progress

_ROUGH, _COARSE, _FINE = (KuramotoSivashinsky(substeps=number) for number in (1, COARSE, FINE))


def training_series(seed: int, times: int, progress: Progress, piece: int = _PIECE) -> Array:
    """Return one trajectory on the attractor, shape (times, 512)."""
    first = initial_states(1, seed)[0]
    return long_trajectory(first, times, piece, _FINE.trajectory, progress)


def initial_states(number: int, seed: int) -> Array:
    """Return independent states on the attractor, shape (number, 512)."""
    return _ROUGH.trajectory(_ROUGH.initial(seed, (number,)), 0, _SPINUP)[:, 0]


def follow(starts: Array, steps: int, scale: float) -> Truth:
    """Compute the truth with two time steps; it is trusted until the results differ."""
    coarse, fine = (system.trajectory(starts, steps) for system in (_COARSE, _FINE))
    return Truth.compare(starts, coarse, fine, _FINE.dt, scale)


def long_runs(number: int, seed: int, steps: int) -> Array:
    """Return long trajectories for statistics, which need less accuracy than the truth."""
    return KuramotoSivashinsky(substeps=4).trajectory(initial_states(number, seed), steps)


CASE = field_case(
    "kuramoto-sivashinsky",
    "Kuramoto-Sivashinsky equation on a long line: one network for all places",
    FieldSystem(
        title="Kuramoto-Sivashinsky, L = 200",
        description=(
            "u_t = -u u_x - u_xx - u_xxxx on a periodic line of length "
            f"{_FINE.length:g} with {_FINE.points} points and samples every {_FINE.dt:g}: chaos in "
            "space and time.",
        ),
        cells=_FINE.points,
        dt=_FINE.dt,
        exponent=KURAMOTO_SIVASHINSKY_LYAPUNOV_EXPONENT,
        pair_distance=4,
        training_series=training_series,
        initial_states=initial_states,
        follow=follow,
        long_runs=long_runs,
        published_method="DeepRFM, 2 x 15,000 features (quoted)",
        published_time=5.04,
        bar=6.0,
        truth_note=(
            f"Truth and training series are computed with {FINE} time steps in a sampling "
            f"interval; the truth is compared with an integration with {COARSE}."
        ),
    ),
)
