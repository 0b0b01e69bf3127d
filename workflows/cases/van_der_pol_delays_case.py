"""Van der Pol's free oscillator from its position alone: the velocity is in the delays."""

from __future__ import annotations

from gfrnn.workflows.cases.shared.method_comparison import ComparedSystem, comparison_case
from gfrnn.workflows.cases.van_der_pol_case import first_states
from gfrnn_core.systems import VAN_DER_POL

CASE = comparison_case(
    "van-der-pol-delays",
    "Van der Pol from the first coordinate and its delays, against an echo state network",
    ComparedSystem(
        VAN_DER_POL,
        1,
        first_states,
        "Van der Pol's oscillator from its position",
        (
            "The free oscillator with mu = 1, of which only the position is seen. The velocity is "
            "in the delays of our network and in the memory of the echo state network. Half of "
            "the training series and of the test starts lie on the limit cycle, half began "
            "anywhere in a square of side 6 about the origin.",
        ),
    ),
)
