"""Convert networks to plain values and arrays, and back."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from gfrnn_core import HiddenWeights, Patches, SampledRNN
from gfrnn_core.local_features import GridFeatures, Lattice, LatticeFeatures
from gfrnn_core.sampling import Activation, Sampling, hidden_activation
from gfrnn_core.zonal import Stage, ZonalBasis, ZonalNetwork

Array = NDArray[Any]

_PLAIN = (
    "width",
    "activation",
    "sampling",
    "scale",
    "delays",
    "target",
    "joint",
    "share",
    "precision",
    "inputs",
    "seed",
)

_ON_GRID = ("scales", "jacobians", "winds", "products")


def network_options(network: SampledRNN) -> dict[str, Any]:
    """Return the options of a sampled network as plain values for JSON."""
    assert network.hidden is not None, "hidden weights decide how many values features see"
    low, high, features = network.low, network.high, network.lattice_features
    return {
        **{name: getattr(network, name) for name in _PLAIN},
        "noise": None if np.ndim(network.noise) else network.noise,
        "leads": list(network.leads),
        "combine_leads": network.combine_leads,
        "modulators": list(network.modulators),
        "patches": None if network.patches is None else asdict(network.patches),
        "linear": network.hidden.inputs,
        "geometry": None if features is None else features.lattice.geometry,
        "range": None if low is None or high is None else [float(low), float(high)],
    }


def network_arrays(network: SampledRNN) -> dict[str, Array]:
    """Return hidden weights (none in a linear model) and all optional arrays by name."""
    arrays: dict[str, Array] = {}
    if network.hidden is not None and network.hidden.width:
        arrays |= {"weights": network.hidden.weights, "biases": network.hidden.biases}
        if network.hidden.metric is not None:
            arrays["metric"] = network.hidden.metric
    if np.ndim(network.noise):
        arrays["noise"] = np.asarray(network.noise)
    optional = {"groups": network.groups, "mask": network.mask, "limit": network.limit}
    if (found := network.lattice_features) is not None:
        optional |= {
            "grid_latitude": found.lattice.latitude,
            "grid_longitude": found.lattice.longitude,
            "grid_background": found.background,
            **{f"grid_{name}": getattr(found.features, name) for name in _ON_GRID},
        }
    there = {name: values for name, values in optional.items() if values is not None}
    return arrays | {name: values for name, values in there.items() if values.size}


def rebuild_network(options: dict[str, Any], arrays: dict[str, Array]) -> SampledRNN:
    """Rebuild an unsolved network from :func:`network_options` and :func:`network_arrays`."""
    _check_name("activation", options["activation"], Activation)
    _check_name("sampling", options["sampling"], Sampling)
    plain = SampledRNN(
        **{name: options[name] for name in _PLAIN},
        noise=arrays["noise"] if options["noise"] is None else options["noise"],
        leads=tuple(options["leads"]),
        combine_leads=options.get("combine_leads", "longest"),  # older models do not say
        modulators=tuple(options["modulators"]),
        patches=None if options["patches"] is None else Patches(**_tuples(options["patches"])),
        low=None if options["range"] is None else np.array(options["range"][0]),
        high=None if options["range"] is None else np.array(options["range"][1]),
        standardise=False,
        groups=arrays.get("groups"),
        mask=arrays.get("mask"),
        limit=arrays.get("limit"),
    )
    weights = arrays.get("weights", np.zeros((options["linear"], 0)))
    biases = arrays.get("biases", np.zeros(0))
    activation = hidden_activation(plain.sampling, plain.activation)
    hidden = HiddenWeights(weights, biases, activation, arrays.get("metric"))
    features = _lattice_features(options, arrays, plain)
    return replace(plain, hidden=hidden, lattice_features=features)


def _lattice_features(
    options: dict[str, Any], arrays: dict[str, Array], network: SampledRNN
) -> LatticeFeatures | None:
    """Rebuild the features on the grid of a network without them; None if it has none."""
    if options["geometry"] is None:
        return None
    assert network.patches is not None
    none = GridFeatures.none(arrays["grid_scales"])
    given = {name: arrays.get(f"grid_{name}", getattr(none, name)) for name in _ON_GRID}
    lattice = Lattice(
        arrays["grid_latitude"],
        arrays["grid_longitude"],
        network.patches,
        network.mask,
        options["geometry"],
    )
    return LatticeFeatures(replace(none, **given), lattice, arrays.get("grid_background"))


_ZONAL_PLAIN = ("delays", "feature_delays", "inputs", "bound", "seed", "precision")

_FEATURES = (*_ON_GRID, "weights", "biases")


def zonal_options(network: ZonalNetwork) -> dict[str, Any]:
    """Return the options of a zonal network as plain values for JSON."""
    return {
        **{name: getattr(network, name) for name in _ZONAL_PLAIN},
        "activation": network.features.activation,
        "stages": len(network.stages),
    }


def zonal_arrays(network: ZonalNetwork) -> dict[str, Array]:
    """Return the features, the background and the weights of all stages by name."""
    arrays = {name: getattr(network.features, name) for name in _FEATURES}
    arrays["background"] = network.background
    for number, stage in enumerate(network.stages):
        arrays |= {f"outer{number}": stage.outer, f"magnitude{number}": stage.magnitude}
    return {name: values for name, values in arrays.items() if values.size}


def rebuild_zonal_network(
    options: dict[str, Any], arrays: dict[str, Array], basis: ZonalBasis
) -> ZonalNetwork:
    """Rebuild a network from :func:`zonal_options`, :func:`zonal_arrays` and its states' basis."""
    _check_name("activation", options["activation"], Activation)
    empty = GridFeatures.none(arrays["scales"])
    given = {name: arrays.get(name, getattr(empty, name)) for name in _FEATURES}
    features = GridFeatures(**given, activation=options["activation"])
    stages = range(options["stages"])
    return ZonalNetwork(
        basis,
        features,
        replace(basis, channels=features.count),
        arrays["background"],
        **{name: options[name] for name in _ZONAL_PLAIN},
        stages=tuple(Stage(arrays[f"outer{n}"], arrays[f"magnitude{n}"]) for n in stages),
    )


def solved_options(network: SampledRNN | ZonalNetwork) -> dict[str, Any]:
    """Return the options of a network of either kind as plain values for JSON."""
    if isinstance(network, ZonalNetwork):
        return zonal_options(network)
    return network_options(network)


def solved_arrays(network: SampledRNN | ZonalNetwork) -> dict[str, Array]:
    """Return the arrays of a solved network of either kind by name."""
    if isinstance(network, ZonalNetwork):
        return zonal_arrays(network)
    return {"outer": np.asarray(network.outer), **network_arrays(network)}


def _check_name(option: str, name: Any, kind: Any) -> None:
    if name not in get_args(kind):
        raise ValueError(f"{option}: {name!r} is not one of {', '.join(get_args(kind))}")


def _tuples(value: Any) -> Any:
    """Convert the lists of JSON to tuples, at any depth."""
    if isinstance(value, dict):
        return {name: _tuples(inner) for name, inner in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
