"""Rössler system from its full state: errors and valid times of forecasts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.workflows.cases.shared.compared_methods import ComparedSystem
from gfrnn.workflows.cases.shared.method_comparison import comparison_case
from gfrnn.workflows.cases.shared.trajectories import trajectories
from gfrnn_core.systems import ROESSLER


def initial_states(number: int, rng: np.random.Generator) -> NDArray[Any]:
    """Return states on the attractor at all phases, shape (number, 3).

    Each is taken after 100 to 120 units of time, at random.
    """
    centre = np.array(ROESSLER.initial)
    first = centre + rng.normal(scale=1.0, size=(number, len(centre)))
    path = trajectories(ROESSLER, first, 0.5, 240, tolerance=1e-10)
    return np.asarray(path[np.arange(number), rng.integers(200, 241, number)])


CASE = comparison_case(
    "rossler",
    "Rössler: chaos from the full state, against an echo state network",
    ComparedSystem(
        ROESSLER,
        3,
        initial_states,
        "Rössler's system",
        (
            "The chaotic system of Rössler (1976) with a = b = 0.2, c = 5.7, from its full state. "
            "One turn takes about 6 units of time, one Lyapunov time 14.",
            "The hidden layer of the sampled network has no memory. The echo state network has "
            "one, and is trained by the usual normal equations.",
        ),
    ),
)
