"""Memory of the tasks that compute statistics of forecasts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gfrnn.pipeline.states.eof_states import EofLayout
from gfrnn.pipeline.training.ensembles.error_archive import error_cache_bytes
from gfrnn.pipeline.training.model import DAMPING_BYTES, ForecastModel
from gfrnn.pipeline.training.zonal.zonal_features import zonal_walk_bytes
from gfrnn.pipeline.verification.pair_scoring import PairScoring
from gfrnn.pipeline.verification.statistics.pair_statistics import STATISTICS
from gfrnn_core.zonal import ZonalNetwork


def truth_bytes(scoring: PairScoring, first: int, stop: int) -> int:
    """Return the bytes of the truth, its anomalies and a lead of the members (float32).

    Parameters
    ----------
    scoring : PairScoring
    first, stop : int
        Range of initial times.
    """
    one = _copies(scoring) * scoring.fields.dtype.itemsize * _truth_times(scoring, first, stop)
    members = 4 * (scoring.forecasts.members or 0) * (stop - first)
    return scoring.fields.grid.size * (one + members)


def statistics_bytes(scoring: PairScoring, first: int, stop: int) -> int:
    """Return the peak memory in bytes of :meth:`PairScoring.statistics`.

    Parameters
    ----------
    scoring : PairScoring
    first, stop : int
        Range of initial times.
    """
    horizon, size = len(scoring.forecasts.leads), scoring.fields.grid.size
    starts, members = min(stop, len(scoring.starts)) - first, scoring.forecasts.members
    model = scoring.loaded_model()
    delays = 1 if model is None else model.delays
    times = _truth_times(scoring, first, stop)
    word = scoring.fields.dtype.itemsize
    indices = len(scoring.config.indices)
    # The truth and its anomalies, the patterns of states, weights and autocorrelations.
    fields = _copies(scoring) * times + 3 + indices
    history = 0
    if model is not None:
        history = model.delays * model.layout.size * starts
        if isinstance(model.layout, EofLayout):
            fields += model.layout.size
    held = word * size * fields + 8 * history
    held += 8 * size * (2 + indices) + min(DAMPING_BYTES, 8 * horizon * size)
    regions, channels = len(scoring.means.names), len(scoring.means.roots)
    held += 8 * regions * size // channels
    # Copies of the truth at unevenly spaced times, or, where there are whole fields, these and
    # the members, which are float32.
    pairs = min(scoring.pairs_together, starts)
    whole = 8 * (7 + (members or 1) // 2)
    work = size * (4 * word if scoring.in_blocks else whole) * pairs
    systems = 1 + len(scoring.references)
    values = len(STATISTICS) * systems * regions * channels + (systems + 1) * indices
    errors = 0
    if members is not None:
        values += (members + 6) * regions * channels
        if model is not None and model.errors is not None:
            errors = 2 * error_cache_bytes(horizon, size)  # of the linear model and the climatology
            # Members of one of them, as they are made and as they are scored.
            work += 8 * size * members * pairs
    held += _quantiles_bytes(scoring)
    walks = 0 if model is None else _walks_bytes(model, starts)
    # The history is encoded beside the truth.
    reading = scoring.fields.read_bytes(times, scoring.fields.dtype)
    reading += 8 * (2 * delays * size * starts)
    stored = scoring.forecasts.read_bytes(starts)
    # The statistics are copied once while they are written.
    kept = 2 * 8 * values * horizon * starts
    return max(reading, held + work + stored + walks + kept + errors)


def _quantiles_bytes(scoring: PairScoring) -> int:
    """Return the bytes of the quantiles of events."""
    cells = scoring.fields.grid.size // len(scoring.fields.grid.channels)
    return 4 * 12 * cells * len(scoring.events) if scoring.has_quantiles else 0


def _walks_bytes(model: ForecastModel, starts: int) -> int:
    """Return the bytes of forecasts of a model's references."""
    linear = model.linear
    # The first states and their scaled copies, the latest stacked, the sums of the linear model's
    # predictions by lead, and those that it makes at once.
    states = 4 * linear.delays + max(linear.leads) + len(linear.leads) + 2
    found = 8 * linear.state_size * states * starts
    if isinstance(linear, ZonalNetwork):
        found += zonal_walk_bytes(linear, 1, starts)
    if model.quadratic is not None:
        # Its walk, and the lifted rows of a step.
        own = replace(model.rollouts, networks=(), linear=model.quadratic, quadratic=None)
        found += sum(own.walk_bytes(starts))
    return found


def _truth_times(scoring: PairScoring, first: int, stop: int) -> int:
    """Return the number of times of the truth that a range of initial times needs."""
    model = scoring.loaded_model()
    targets, known = scoring.targets(first, stop)
    delays = 1 if model is None else model.delays
    windows = scoring.starts[first:stop, None] + np.arange(1 - delays, 1)
    return len(np.unique(np.concatenate([windows.reshape(-1), targets[known]])))


def _copies(scoring: PairScoring) -> int:
    """Return the number of forms of the truth: fields, anomalies, physical and as modelled."""
    return 4 if scoring.fields.transforms else 2
