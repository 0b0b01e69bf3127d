"""Van der Pol's free oscillator from its full state, on and off the limit cycle."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.workflows.cases.shared.method_comparison import ComparedSystem, comparison_case
from gfrnn.workflows.cases.shared.trajectories import along
from gfrnn_core.systems import VAN_DER_POL


def first_states(number: int, rng: np.random.Generator) -> NDArray[Any]:
    """Every second one on the limit cycle, the others anywhere within 3 of the origin."""
    first = rng.uniform(-3, 3, size=(number, 2))
    first[::2] = along(VAN_DER_POL, first[::2], 50.0, 1, tolerance=1e-10)[:, -1]
    return first


CASE = comparison_case(
    "van-der-pol",
    "Van der Pol: the free oscillator from its full state, against an echo state network",
    ComparedSystem(
        VAN_DER_POL,
        2,
        first_states,
        "Van der Pol's oscillator",
        (
            "The free oscillator with mu = 1 from position and velocity. Its limit cycle has the "
            "period 6.66. Half of the training series and of the test starts lie on the cycle, "
            "half anywhere in a square of side 6 about the origin.",
        ),
    ),
)
