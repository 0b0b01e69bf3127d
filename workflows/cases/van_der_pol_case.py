"""Free Van der Pol oscillator from its full state, on and off the limit cycle."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.workflows.cases.shared.compared_methods import ComparedSystem
from gfrnn.workflows.cases.shared.method_comparison import comparison_case
from gfrnn.workflows.cases.shared.trajectories import trajectories
from gfrnn_core.systems import VAN_DER_POL


def initial_states(number: int, rng: np.random.Generator) -> NDArray[Any]:
    """Return states of which every second one is on the limit cycle, shape (number, 2).

    The others are uniform in a square of half width 3 about the origin.
    """
    first = rng.uniform(-3, 3, size=(number, 2))
    first[::2] = trajectories(VAN_DER_POL, first[::2], 50.0, 1, tolerance=1e-10)[:, -1]
    return first


CASE = comparison_case(
    "van-der-pol",
    "Van der Pol: the free oscillator from its full state, against an echo state network",
    ComparedSystem(
        VAN_DER_POL,
        2,
        initial_states,
        "Van der Pol's oscillator",
        (
            "The free oscillator with mu = 1 from position and velocity. The period of its "
            "limit cycle is 6.66. Half of the initial states of training and test are on the "
            "cycle, the others are uniform in a square of side 6 about the origin.",
        ),
    ),
)
