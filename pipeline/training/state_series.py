"""Sampling pools, lagged covariances and last states from the time series of states."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from gfrnn.pipeline.data.time_axis import segments
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn_core.regression_rows import delayed

Array = NDArray[Any]

# Largest chunk of stored states: a leaf decodes chunks at its ends for some of their times only.
_CHUNK_TIMES = 4096
_CHUNK_BYTES = 2**22


def draw_pool(
    states: Array,
    train: list[Stretch],
    delays: int,
    size: int,
    seed: int,
    inputs: Array | None = None,
) -> tuple[Array, Array]:
    """Return delayed states of randomly drawn training times, and the states one step later.

    Inputs, of shape (times, p), follow each delayed state; they are those one step later. States
    are drawn from the stored states, which costs no pass over the archive and far less memory
    than fields of the drawn times would.
    """
    present = times_of(train)
    if len(present) > size:
        drawn = np.random.default_rng(seed).choice(len(present), size, replace=False)
        present = present[np.sort(drawn)]
    pool = np.concatenate([delayed(states, delays, time, time + 1) for time in present])
    if inputs is not None:
        pool = np.concatenate([pool, inputs[present + 1]], axis=1)
    return pool, states[present + 1]


def lagged_covariance(states: Array, train: list[Stretch], horizon: int) -> Array:
    """Return the covariance of training states with those 0 to ``horizon`` steps later.

    Returns
    -------
    ndarray, shape (horizon + 1, modes, modes)
        Zero at lags for which the training period has no pair of states.
    """
    present = times_of(train)
    # Number the gapless runs: a pair across a gap is further apart than its positions suggest.
    run = np.cumsum(np.diff(present, prepend=present[0]) != 1)
    covariance = np.zeros((horizon + 1, states.shape[1], states.shape[1]))
    for lag in range(min(horizon + 1, len(present))):
        pairs = np.flatnonzero(run[lag:] == run[: len(run) - lag])
        if len(pairs):
            earlier, later = present[pairs], present[pairs + lag]
            covariance[lag] = states[earlier].T @ states[later] / len(pairs)
    return covariance


def last_states(states: Array, time: Array, last: int, count: int) -> Array:
    """Return the states of the ``count`` times up to index ``last``, or fewer where one is missing.

    Returns
    -------
    ndarray, shape (at most count, modes)
        Oldest first, without a gap.
    """
    (run,) = [part for part in segments(time) if part.start <= last < part.stop]
    tail = states[max(run.start, last - count + 1) : last + 1]
    missing = np.flatnonzero(np.isnan(tail).any(axis=1))
    return tail[missing[-1] + 1 :] if len(missing) else tail


def save_series(path: Path, states: Array) -> None:
    """Write the states of all times, (times, size), in chunks of successive times."""
    together = min(len(states), _CHUNK_TIMES, max(1, _CHUNK_BYTES // (8 * states.shape[1])))
    # The last digits are random, so that compression takes time and saves next to nothing.
    zarr.create_array(
        path, data=states, chunks=(together, states.shape[1]), compressors=None, overwrite=True
    )


def times_of(stretches: list[Stretch]) -> Array:
    """Return the time indices of stretches in order: shape (times,)."""
    return np.concatenate(
        [np.arange(part.start, part.stop) for part in stretches] or [np.zeros(0, dtype=int)]
    )


def joined_stretches(stretches: list[Stretch]) -> list[Stretch]:
    """Return the maximal runs of successive times of stretches, whatever their folds."""
    joined: list[Stretch] = []
    for part in sorted(stretches, key=lambda each: each.start):
        if joined and joined[-1].stop == part.start:
            joined[-1] = replace(joined[-1], stop=part.stop)
        else:
            joined.append(part)
    return joined
