"""Networks in plain values: what they are made with, and their hidden weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn_core import HiddenWeights, SampledRNN

Array = NDArray[Any]


def network_options(network: SampledRNN) -> dict[str, Any]:
    """What a network is made with, as JSON holds it."""
    return {
        "width": network.width,
        "activation": network.activation,
        "sampling": network.sampling,
        "scale": network.scale,
        "delays": network.delays,
        "leads": list(network.leads),
        "target": network.target,
        "standardise": False,
    }


def hidden_arrays(network: SampledRNN) -> dict[str, Array]:
    """The hidden weights by name; a linear model has none."""
    if network.hidden is None or not network.width:
        return {}
    return {"weights": network.hidden.weights, "biases": network.hidden.biases}


def rebuild_network(options: dict[str, Any], hidden: dict[str, Array], size: int) -> SampledRNN:
    """The network of :func:`network_options` and :func:`hidden_arrays`, not solved.

    Parameters
    ----------
    size : int
        Length of a state.
    """
    plain = SampledRNN(**options | {"leads": tuple(options["leads"])})
    weights = hidden.get("weights", np.zeros((plain.delays * size, 0)))
    biases = hidden.get("biases", np.zeros(0))
    return replace(plain, hidden=HiddenWeights(weights, biases, plain.activation))
