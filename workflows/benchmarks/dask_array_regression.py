"""Regression of the training pass with dask.array alone, as in the documentation of Dask."""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.reduction.dask_client import current_client
from gfrnn.workflows.benchmarks.training_pass import TrainingPass
from gfrnn_core.sampling import HiddenWeights

Array = NDArray[np.float64]

CHUNK_BYTES = 100 * 2**20
"""Size of a chunk of features in bytes, as Dask recommends."""


def features_and_targets(training_pass: TrainingPass) -> tuple[da.Array, da.Array]:
    """Return features and targets as lazy arrays with the same chunks of rows."""
    size = training_pass.size
    rows = min(size.rows, CHUNK_BYTES // (8 * size.features))
    states = da.from_zarr(str(training_pass.path))
    now = states[:-1].rechunk((rows, -1))
    later = states[1:].rechunk((rows, -1))
    hidden, client = training_pass.network().hidden, current_client()
    if client is not None:  # sent once to each worker instead of with each chunk
        # A key of its own: the release of an equal value scattered before may still be under way.
        hidden = client.scatter(hidden, broadcast=True, hash=False)
    features = now.map_blocks(
        _lift, hidden, dtype=now.dtype, chunks=(now.chunks[0], (size.features,))
    )
    return features, later


def _lift(states: Array, hidden: HiddenWeights) -> Array:
    ones = np.ones((len(states), 1))
    return np.hstack([states, ones, np.tanh(states @ hidden.weights + hidden.biases)])


def least_squares(training_pass: TrainingPass) -> Array:
    """Return the outer weights by ``da.linalg.lstsq``."""
    features, targets = features_and_targets(training_pass)
    weights, *_ = da.linalg.lstsq(features, targets)
    return np.asarray(weights.compute())


def normal_equations(training_pass: TrainingPass) -> Array:
    """Return the outer weights from the Gram matrix."""
    features, targets = features_and_targets(training_pass)
    gram, projected = dask.compute(features.T @ features, features.T @ targets)
    return np.linalg.solve(gram, projected)
