"""Roessler's system from its full state: short forecasts, and how long they stay valid."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.workflows.cases.shared.method_comparison import ComparedSystem, comparison_case
from gfrnn.workflows.cases.shared.trajectories import along
from gfrnn_core.systems import ROESSLER


def _on_attractor(number: int, rng: np.random.Generator) -> NDArray[Any]:
    """After 100 units of time at least, some more for each so that all phases occur."""
    centre = np.array(ROESSLER.initial)
    first = centre + rng.normal(scale=1.0, size=(number, len(centre)))
    path = along(ROESSLER, first, 0.5, 240, tolerance=1e-10)
    return np.asarray(path[np.arange(number), rng.integers(200, 241, number)])


CASE = comparison_case(
    "rossler",
    "Rössler: chaos from the full state, against an echo state network",
    ComparedSystem(
        ROESSLER,
        3,
        _on_attractor,
        "Rössler's system",
        (
            "The chaotic system of Rössler (1976) with a = b = 0.2, c = 5.7, from its full state. "
            "It turns about once in 6 units of time; a Lyapunov time is 14 of them.",
            "Our network has a hidden layer that forgets at once; the echo state network "
            "remembers, and is trained by the usual normal equations.",
        ),
    ),
)
