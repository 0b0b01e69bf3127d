"""Read the states from which forecasts start, each stored chunk as few times as memory allows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.training.model import ForecastModel

Array = NDArray[Any]

# Fields (float64) from the first to the last time of a read, in bytes.
_READ_BYTES = 2**26


def read_history(fields: Fields, model: ForecastModel, starts: Array) -> Array:
    """Return the states before each forecast: shape (starts, delays, size), oldest first.

    Parameters
    ----------
    fields : Fields
    model : ForecastModel
    starts : ndarray of int, shape (starts,)
        Ascending indices of the initial times on the time axis.
    """
    windows = starts[:, None] + np.arange(1 - model.delays, 1)
    times = np.unique(windows)
    states = [
        model.layout.encode(fields.at(part).read(0, len(part)), fields.time[part])
        for part in _reads(times, fields, model.delays)
    ]
    return np.asarray(np.concatenate(states)[np.searchsorted(times, windows)])


def history_bytes(fields: Fields, starts: Array, batch: int, delays: int) -> int:
    """Return the peak memory in bytes of reading the history of any batch of starts."""
    span = 1
    for first in range(0, len(starts), batch):
        times = np.unique(starts[first : first + batch, None] + np.arange(1 - delays, 1))
        parts = _reads(times, fields, delays)
        span = max(span, *(int(part[-1] - part[0]) + 1 for part in parts))
    return fields.read_bytes(span)


def _reads(times: Array, fields: Fields, delays: int) -> list[Array]:
    """Split ascending times into those that are read together."""
    most = max(delays, _READ_BYTES // (8 * fields.grid.size))
    cuts, begin = [], times[0]
    for place, time in enumerate(times):
        if time - begin >= most:
            cuts.append(place)
            begin = time
    return list(np.split(times, cuts))
