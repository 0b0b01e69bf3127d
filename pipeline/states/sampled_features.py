"""Draw the nonlinear features that are computed on the grid, according to the ``model`` section."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.config.model_config import ModelConfig
from gfrnn.pipeline.data.grid import Channel, Grid, contiguous_longitudes
from gfrnn.pipeline.errors import ConfigError
from gfrnn.pipeline.states.advecting_winds import advection_terms
from gfrnn.pipeline.states.climatology import Climatology, Scaling
from gfrnn.pipeline.states.patch_states import LocalLayout
from gfrnn_core import Patches
from gfrnn_core.local_features import BASE_FIELDS, GridFeatures, Lattice, LatticeFeatures

Array = NDArray[Any]


def sample_features(
    model: ModelConfig, channels: tuple[Channel, ...], scales: Array, counts: Mapping[str, int]
) -> GridFeatures:
    """Return the features of an experiment, those of products and activations drawn at random.

    Each product has two different base fields; each activated feature is a normal combination of
    all base fields.

    Parameters
    ----------
    model : ModelConfig
    channels : tuple of Channel
    scales : ndarray, shape (channels, 6)
        Scales of the base fields.
    counts : mapping
        Number of features of each sampled kind, in the order in which they are drawn.

    Raises
    ------
    ConfigError
        If the channels have no wind for the advection.
    """
    features = GridFeatures.none(scales)
    if "advection" in model.features:
        jacobians, winds = advection_terms(channels, model.wind)
        features = replace(features, jacobians=jacobians, winds=winds)
    fields = BASE_FIELDS * len(channels)
    for index, (kind, count) in enumerate(counts.items()):
        rng = np.random.default_rng([model.seed, index])
        if kind == "products":
            pairs = np.stack(np.triu_indices(fields, 1), axis=1)
            drawn = rng.permutation(len(pairs))[:count]
            features = replace(features, products=pairs[np.sort(drawn)])
        else:
            features = replace(
                features,
                weights=model.hidden_scale * rng.standard_normal((fields, count)),
                biases=rng.uniform(-1, 1, count),
                activation="relu" if kind == "relu" else "tanh",
            )
    return features


def grid_lattice(grid: Grid, patches: Patches, mask: Array | None) -> Lattice:
    """Return the lattice of a local layout, whose longitudes are contiguous.

    Parameters
    ----------
    mask : ndarray of bool, shape (size,), or None
        Mask in the order of a state.

    Raises
    ------
    ConfigError
        If derivatives cannot be computed on the grid.
    """
    _, rows, columns = grid.shape
    if min(rows, columns) < 3:
        raise ConfigError(
            f"model.features: derivatives need at least 3 latitudes and 3 longitudes, but the grid "
            f"has {rows} and {columns}; leave the key out, or choose a larger data.region"
        )
    _, longitude = contiguous_longitudes(grid.longitude)
    return Lattice(grid.latitude, longitude, patches, mask)


def mean_state(layout: LocalLayout, patches: Patches) -> Array:
    """Return the mean of the climatology over the year, in units of a state: shape (size,).

    From all channels but the components of vectors, the mean over the area is subtracted: no
    derivative sees it, and it would hide the anomalies in products.
    """
    scaling = layout.scaling
    shape = len(scaling.grid.channels), -1
    mean = (scaling.climatology.mean * scaling.weights).reshape(shape)
    valid = scaling.grid.valid.reshape(shape)
    shift = (mean * valid).sum(axis=1) / valid.sum(axis=1)
    shift[list(patches.turned)] = 0.0
    return layout.project(((mean - shift[:, None]) * valid).reshape(1, -1))[0]


def patch_features(
    model: ModelConfig, layout: LocalLayout, patches: Patches, scales: Array | None = None
) -> LatticeFeatures:
    """Return the features on the grid of a local layout.

    Parameters
    ----------
    model : ModelConfig
    layout : LocalLayout
    patches : Patches
    scales : ndarray, shape (channels, 6), optional
        Scales of the base fields of states; by default 1.

    Raises
    ------
    ConfigError
        If the channels have no wind for the advection, or the grid is too small.
    """
    grid = layout.scaling.grid
    if scales is None:
        scales = np.ones((len(grid.channels), BASE_FIELDS))
    counts = {"products": model.products} if "products" in model.features else {}
    features = sample_features(model, grid.channels, scales, counts)
    lattice = grid_lattice(grid, patches, layout.mask)
    return LatticeFeatures(features, lattice, mean_state(layout, patches))


def unfitted_patch_features(
    model: ModelConfig, grid: Grid, patches: Patches
) -> LatticeFeatures | None:
    """Return the features of :func:`patch_features` before anything is read, None without any.

    Raises
    ------
    ConfigError
        If the channels have no wind for the advection, or the grid is too small.
    """
    if not model.features:
        return None
    flat = Climatology.zero(0, 0, grid)
    layout = LocalLayout(Scaling(grid, flat, area_weighted=False))
    return patch_features(model, layout, patches)
