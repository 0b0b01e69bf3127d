"""Build the network of a zonal fit: its features, their scales and the background."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.config.experiment import Experiment
from gfrnn.pipeline.config.model_config import ModelConfig
from gfrnn.pipeline.data.grid import Grid
from gfrnn.pipeline.states.climatology import Climatology, Scaling
from gfrnn.pipeline.states.forcing import Forcing
from gfrnn.pipeline.states.sampled_features import sample_features
from gfrnn.pipeline.states.zonal_states import ZonalLayout, zonal_layout
from gfrnn_core.local_features import BASE_FIELDS, GridFeatures
from gfrnn_core.zonal import ZonalNetwork

Array = NDArray[Any]

# Fields on the grid that are held at a time while their scales are computed, in bytes.
_POOL_BYTES = 2**25


def _sampled_counts(model: ModelConfig) -> dict[str, int]:
    """Return the number of sampled features of each kind: the width, divided evenly."""
    kinds = [kind for kind in model.features if kind != "advection"]
    return {
        kind: model.width // len(kinds) + (index < model.width % len(kinds))
        for index, kind in enumerate(kinds)
    }


def zonal_network(
    experiment: Experiment, layout: ZonalLayout, scales: Array, background: Array
) -> ZonalNetwork:
    """Return the unsolved network of an experiment.

    Parameters
    ----------
    experiment : Experiment
    layout : ZonalLayout
    scales : ndarray, shape (channels, 6)
        Scales of the base fields.
    background : ndarray of complex, shape (terms, wavenumbers, width)
    """
    model, basis, grid = experiment.model, layout.basis, layout.scaling.grid
    features = sample_features(model, grid.channels, scales, _sampled_counts(model))
    return ZonalNetwork(
        basis,
        features,
        replace(basis, channels=features.count),
        background,
        delays=experiment.state.delays,
        feature_delays=model.hidden_delays or experiment.state.delays,
        inputs=Forcing.calendar(model.inputs).count,
        bound=model.bound,
        seed=model.seed,
        precision=model.precision,
    )


def placeholder_network(experiment: Experiment, layout: ZonalLayout) -> ZonalNetwork:
    """Return a network of the same size, for estimates.

    Raises
    ------
    ConfigError
        If the channels have no wind for the advection.
    """
    basis = layout.basis
    terms = len(layout.scaling.climatology.coefficients)
    scales = np.ones((basis.channels, BASE_FIELDS))
    background = np.zeros((terms, basis.wavenumbers, basis.width), dtype=complex)
    return zonal_network(experiment, layout, scales, background)


def scaled_network(
    experiment: Experiment, layout: ZonalLayout, states: Array, time: Array
) -> ZonalNetwork:
    """Return the unsolved network, its features scaled by those of typical states.

    Parameters
    ----------
    states : ndarray, shape (n, size)
    time : ndarray of datetime64, shape (n,)
        Times of the states.
    """
    basis, background = layout.basis, layout.background
    terms = layout.scaling.climatology.design_matrix(time)
    plane = BASE_FIELDS * basis.channels * basis.latitudes * basis.longitudes
    few = max(1, _POOL_BYTES // (8 * plane))
    parts = []
    for first in range(0, len(states), few):
        now = slice(first, first + few)
        added = np.tensordot(terms[now], background, axes=1).swapaxes(0, 1)
        base = basis.base_fields(basis.unpack(states[now]) + added)
        parts.append(np.square(GridFeatures.scales_of(base)) * len(base))
    scales = np.sqrt(sum(parts) / len(states))
    return zonal_network(experiment, layout, scales, background)


def unfitted_network(experiment: Experiment, grid: Grid) -> ZonalNetwork:
    """Return a network of the experiment's size for a grid, before anything is read.

    Raises
    ------
    ConfigError
        If the grid is not one of zonal waves, or the channels have no wind for the advection.
    """
    flat = Climatology.zero(0, 0, grid)
    layout = zonal_layout(experiment.state, Scaling(grid, flat, area_weighted=False))
    return placeholder_network(experiment, layout)


def zonal_walk_bytes(network: ZonalNetwork, stages: int, starts: int) -> int:
    """Return the peak memory in bytes of a rollout of a number of starts.

    Parameters
    ----------
    network : ZonalNetwork
    stages : int
        Number of its stages once it is solved.
    starts : int
    """
    basis = network.basis
    width, featured = basis.width, network.feature_basis.width
    # Delayed coefficients and features, rows twice while they are joined, and predictions.
    columns = 2 * network.columns(stages - 1) + width * (network.delays + 6)
    columns += featured * (network.feature_delays + 3)
    # Limits of the columns of all stages are real numbers.
    columns += sum(network.columns(stage) for stage in range(stages)) // 2
    value = network.complex_type.itemsize
    return starts * value * basis.wavenumbers * columns + grid_bytes(network, starts)


def grid_bytes(network: ZonalNetwork, times: int) -> int:
    """Return the peak memory in bytes of computing features of a number of times on the grid."""
    basis = network.basis
    fields = BASE_FIELDS * basis.channels + network.features.count
    plane = np.dtype(network.precision).itemsize * fields * basis.latitudes * basis.longitudes
    # Spectra, base fields and features, and the copies of transforms.
    return 4 * plane * min(times, network.block_times)


def feature_flops(network: ZonalNetwork) -> float:
    """Count the operations of computing the features of one state."""
    basis = network.basis
    plane = basis.latitudes * basis.longitudes
    spectra = 2.5 * plane * np.log2(basis.longitudes)
    profiles = 4 * basis.wavenumbers * basis.latitudes * basis.functions.values.shape[1]
    fields = BASE_FIELDS * basis.channels + network.features.count
    return float(fields * (spectra + profiles + 3 * plane))
