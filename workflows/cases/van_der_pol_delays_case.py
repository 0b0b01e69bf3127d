"""Free Van der Pol oscillator from its position alone; delays replace the velocity."""

from __future__ import annotations

from gfrnn.workflows.cases.shared.compared_methods import ComparedSystem
from gfrnn.workflows.cases.shared.method_comparison import comparison_case
from gfrnn.workflows.cases.van_der_pol_case import initial_states
from gfrnn_core.systems import VAN_DER_POL

CASE = comparison_case(
    "van-der-pol-delays",
    "Van der Pol from the first coordinate and its delays, against an echo state network",
    ComparedSystem(
        VAN_DER_POL,
        1,
        initial_states,
        "Van der Pol's oscillator from its position",
        (
            "The free oscillator with mu = 1, of which only the position is observed. The sampled "
            "network infers the velocity from delays, the echo state network from its memory. Half "
            "of the initial states of training and test are on the limit cycle, the others are "
            "uniform in a square of side 6 about the origin.",
        ),
    ),
)
