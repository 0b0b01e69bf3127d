"""Convert networks to plain values and arrays, and back."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn_core import HiddenWeights, Patches, SampledRNN

Array = NDArray[Any]

_PLAIN = (
    "width",
    "activation",
    "sampling",
    "scale",
    "delays",
    "target",
    "joint",
    "noise",
    "share",
    "precision",
    "inputs",
    "seed",
)


def network_options(network: SampledRNN) -> dict[str, Any]:
    """Return the options of a sampled network as plain values for JSON."""
    assert network.hidden is not None, "hidden weights decide how many values features see"
    low, high = network.low, network.high
    return {
        **{name: getattr(network, name) for name in _PLAIN},
        "leads": list(network.leads),
        "modulators": list(network.modulators),
        "patches": None if network.patches is None else asdict(network.patches),
        "linear": network.hidden.inputs,
        "range": None if low is None or high is None else [float(low), float(high)],
    }


def network_arrays(network: SampledRNN) -> dict[str, Array]:
    """Return hidden weights (none in a linear model), groups of places and mask by name."""
    arrays: dict[str, Array] = {}
    if network.hidden is not None and network.width:
        arrays |= {"weights": network.hidden.weights, "biases": network.hidden.biases}
    if network.groups is not None:
        arrays["groups"] = network.groups
    if network.mask is not None:
        arrays["mask"] = network.mask
    return arrays


def rebuild_network(options: dict[str, Any], arrays: dict[str, Array]) -> SampledRNN:
    """Rebuild an unsolved network from :func:`network_options` and :func:`network_arrays`."""
    plain = SampledRNN(
        **{name: options[name] for name in _PLAIN},
        leads=tuple(options["leads"]),
        modulators=tuple(options["modulators"]),
        patches=None if options["patches"] is None else Patches(**_tuples(options["patches"])),
        low=None if options["range"] is None else np.array(options["range"][0]),
        high=None if options["range"] is None else np.array(options["range"][1]),
        standardise=False,
        groups=arrays.get("groups"),
        mask=arrays.get("mask"),
    )
    weights = arrays.get("weights", np.zeros((options["linear"], 0)))
    biases = arrays.get("biases", np.zeros(0))
    return replace(plain, hidden=HiddenWeights(weights, biases, plain.activation))


def _tuples(value: Any) -> Any:
    """Convert the lists of JSON to tuples, at any depth."""
    if isinstance(value, dict):
        return {name: _tuples(inner) for name, inner in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
