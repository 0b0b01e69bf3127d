"""Compute the statistics of a range of initial times: of the forecasts and of the references."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.config.verification_config import VerificationConfig
from gfrnn.pipeline.data.area_index import index_weights
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.forecasting.forecast import load_model
from gfrnn.pipeline.forecasting.forecast_store import open_forecasts
from gfrnn.pipeline.training.model import DAMPING_BYTES, ForecastModel
from gfrnn.pipeline.training.zonal.zonal_features import walk_bytes
from gfrnn.pipeline.verification.references import Pairs, Reference, references_of
from gfrnn.pipeline.verification.statistics.pair_statistics import (
    STATISTICS,
    climatology_statistics,
    pair_statistics,
)
from gfrnn.pipeline.verification.statistics.region_means import RegionMeans
from gfrnn.pipeline.verification.statistics_store import write_statistics
from gfrnn.pipeline.verification.stored_fields import StoredForecasts
from gfrnn.pipeline.verification.weighted_truth import WeightedTruth, evenly_spaced
from gfrnn_core import UnstableRollout
from gfrnn_core.zonal import ZonalNetwork

Array = NDArray[Any]

FORECAST = "forecast"
"""Name of the scored system that is not a reference."""

DIMENSIONS = {
    **dict.fromkeys(STATISTICS, ("system", "region", "channel", "time", "prediction_timedelta")),
    "squared_truth": ("region", "channel", "time", "prediction_timedelta"),
    "known": ("time", "prediction_timedelta"),
}
"""Statistics of fields and their dimensions. ``known`` is 1 for pairs that have a truth."""

INDEX_DIMENSIONS = {
    "index_forecast": ("system", "index", "time", "prediction_timedelta"),
    "index_truth": ("index", "time", "prediction_timedelta"),
}
"""Anomalies of the indices and their dimensions."""

# Fields (float64) of the pairs that are scored at once, in bytes: those of a few systems stay in a
# processor core's own cache.
_PAIR_BYTES = 2**21


@dataclass(frozen=True)
class PairScoring:
    """The forecasts, the references and the truth that are compared. Cheap to pickle.

    Attributes
    ----------
    fields : Fields
        The truth.
    model, forecasts : Path
        Stores of the model and of the forecasts.
    config : VerificationConfig
    """

    fields: Fields
    model: Path
    forecasts: Path
    config: VerificationConfig

    @cached_property
    def store(self) -> xr.Dataset:
        return open_forecasts(self.forecasts)

    @cached_property
    def stored(self) -> StoredForecasts:
        return StoredForecasts(self.forecasts, self.fields.grid)

    @cached_property
    def starts(self) -> Array:
        """Indices of the initial times on the data's time axis."""
        return np.searchsorted(self.fields.time, self.store["time"].values)

    @cached_property
    def means(self) -> RegionMeans:
        return RegionMeans.on_grid(self.fields.grid, self.config.regions)

    @cached_property
    def index_weights(self) -> Array:
        """Weights of weighted anomalies in each index: shape (indices, grid.size)."""
        weights = index_weights(self.config.indices, self.fields.grid)
        roots = self.means.roots.reshape(-1)
        return np.divide(weights, roots, out=np.zeros_like(weights), where=roots > 0)

    def references(self) -> tuple[Reference, ...]:
        return references_of(load_model(str(self.model)))

    def systems(self) -> tuple[str, ...]:
        """Return the names of the scored systems: the forecasts and the references."""
        return (FORECAST, *(reference.name for reference in self.references()))

    def write(self, path: Path, first: int, stop: int) -> None:
        """Write the statistics of a range of initial times to a store of statistics."""
        write_statistics(path, first, self.statistics(first, stop))

    def statistics(self, first: int, stop: int) -> dict[str, Array]:
        """Return the statistics of a range of initial times by name.

        Their dimensions are those of DIMENSIONS and, with indices, INDEX_DIMENSIONS; NaN where
        there is no truth.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnstableRollout)  # statistics are NaN instead
            return self._statistics(first, stop)

    def _statistics(self, first: int, stop: int) -> dict[str, Array]:
        model, references = load_model(str(self.model)), self.references()
        starts, horizon = self.starts[first:stop], self.stored.leads
        targets, known = self._targets(model, starts, horizon)
        truth = WeightedTruth.read(self.fields, model, starts, targets[known], self.means)
        found = _Statistics(
            (1 + len(references), horizon, len(starts)),
            len(self.means.names),
            len(self.means.roots),
            len(self.config.indices),
        )
        initial = self.fields.time[starts]
        walks = [each.states(truth.history, initial, horizon) for each in references]
        together = self.stored.leads_together(len(starts))
        block: list[Array] = []
        for lead in range(horizon):
            place = lead % together
            if place == 0:
                block = self.stored.read(slice(first, stop), slice(lead, lead + together))
            states = [next(walk) for walk in walks]
            existing = np.flatnonzero(known[lead])
            for begin in range(0, len(existing), self._pairs_together):
                part = existing[begin : begin + self._pairs_together]
                pairs = Pairs(
                    lead + 1,
                    truth,
                    truth.places(starts[part]),
                    truth.places(targets[lead, part]),
                )
                found.truth[lead, part] = truth.squares[pairs.now]
                found.index_truth[lead, part] = self._index_values(pairs.real, len(part))
                forecast = truth.subtract_climatology(
                    self._weighted_fields(block, place, part), pairs.now
                )
                scored: list[tuple[Array | None, Array | None]] = [(forecast, forecast)]
                for reference, own in zip(references, states, strict=True):
                    anomalies = reference.anomalies(
                        pairs, self.means.roots, None if own is None else own[part]
                    )
                    scored.append((anomalies, reference.index_anomalies(pairs, anomalies)))
                for system, (anomalies, seen) in enumerate(scored):
                    where = system, lead, part
                    found.fields[where] = self._statistics_of(pairs, anomalies)
                    found.index_forecast[where] = self._index_values(seen, len(part))
        return found.arrays(known)

    @property
    def dimensions(self) -> dict[str, tuple[str, ...]]:
        """Dimensions of each statistic."""
        return DIMENSIONS | (INDEX_DIMENSIONS if self.config.indices else {})

    def _statistics_of(self, pairs: Pairs, anomalies: Array | None) -> Array:
        """Return the statistics of weighted anomalies, None where all are zero.

        Returns
        -------
        ndarray, shape (pairs, len(STATISTICS), regions, channels)
        """
        truth, now = pairs.truth, pairs.now
        if anomalies is None:
            return climatology_statistics(truth.squares[now], truth.first[now], truth.absolute[now])
        return pair_statistics(anomalies, pairs.real, truth.squares[now], self.means)

    def _index_values(self, anomalies: Array | None, pairs: int) -> Array:
        """Return the indices of weighted anomalies: shape (pairs, indices)."""
        if anomalies is None:
            return np.zeros((pairs, len(self.config.indices)))
        return np.asarray(anomalies.reshape(pairs, -1) @ self.index_weights.T)

    def _targets(self, model: ForecastModel, starts: Array, horizon: int) -> tuple[Array, Array]:
        """Return the index in time of each target, and whether it exists: (leads, starts) each.

        Only times in the data at the exact distance of the lead are used: data may have gaps.
        """
        time, leads = self.fields.time, np.arange(1, horizon + 1)[:, None]
        valid = model.step.after(time[starts], leads)
        targets = np.searchsorted(time, valid)
        known = targets < len(time)
        known[known] = time[targets[known]] == valid[known]
        return targets, known

    @property
    def _pairs_together(self) -> int:
        """Number of pairs that are scored at once."""
        return max(1, _PAIR_BYTES // (8 * self.fields.grid.size))

    def _weighted_fields(self, block: list[Array], place: int, part: Array) -> Array:
        """Return forecasts of one lead times the roots of the weights, 0 in the mask.

        Parameters
        ----------
        block : list of ndarray
            From :meth:`StoredForecasts.read`.
        place : int
            Position of the lead in the block.
        part : ndarray of int
            Positions of the initial times to return.
        """
        roots = self.means.roots
        fields = np.empty((len(part), *roots.shape))
        chosen = evenly_spaced(part)
        for channel, values in enumerate(block):
            np.multiply(values[chosen, place], roots[channel], out=fields[:, channel])
        mask = self.fields.grid.mask
        if mask is not None:
            fields[:, mask.reshape(roots.shape)] = 0.0
        return fields

    def statistics_bytes(self, first: int, stop: int) -> int:
        """Return the peak memory in bytes of :meth:`statistics`."""
        horizon, size = self.stored.leads, self.fields.grid.size
        starts = self.starts[first:stop]
        model = load_model(str(self.model))
        linear = model.linear
        times = int(starts[-1] - starts[0]) + horizon + model.delays
        # The first states and their scaled copies, the states that the linear model still needs,
        # the latest stacked, and the predicted ones.
        walked = linear.state_size * (max(linear.leads) + 4 * linear.delays + 2)
        zonal = 0
        if isinstance(linear, ZonalNetwork):
            zonal = walk_bytes(linear, 1, len(starts))
        terms = len(model.layout.scaling.climatology.coefficients)
        history = model.delays * model.layout.size * len(starts)
        # The truth, the weighted climatology, the weights, and seven fields of a pair.
        held = size * (times + terms + 2 + len(self.config.indices)) + history
        held += min(DAMPING_BYTES // 8, horizon * size)
        regions = len(self.means.names)
        held += regions * size // len(self.means.roots)
        scoring = size * 7 * min(self._pairs_together, len(starts)) + walked * len(starts)
        systems = 1 + len(self.references())
        values = len(STATISTICS) * systems * regions * len(self.means.roots)
        values += (systems + 1) * len(self.config.indices)
        # The history is encoded beside the truth.
        reading = self.fields.read_bytes(times) + 8 * (2 * model.delays * size * len(starts))
        stored = self.stored.read_bytes(len(starts))
        # The statistics are copied once while they are written.
        kept = 2 * 8 * values * horizon * len(starts)
        return max(reading, 8 * (held + scoring) + stored + zonal + kept)


class _Statistics:
    """Arrays that are filled in pair by pair, NaN elsewhere.

    Parameters
    ----------
    shape : tuple of int
        Systems, leads and initial times.
    regions, channels, indices : int

    Attributes
    ----------
    fields : ndarray, shape (systems, leads, starts, len(STATISTICS), regions, channels)
    truth : ndarray, shape (leads, starts, regions, channels)
        Mean squared anomaly of the truth.
    index_forecast : ndarray, shape (systems, leads, starts, indices)
    index_truth : ndarray, shape (leads, starts, indices)
    """

    def __init__(
        self, shape: tuple[int, int, int], regions: int, channels: int, indices: int
    ) -> None:
        self.fields = np.full((*shape, len(STATISTICS), regions, channels), np.nan)
        self.truth = np.full((*shape[1:], regions, channels), np.nan)
        self.index_forecast = np.full((*shape, indices), np.nan)
        self.index_truth = np.full((*shape[1:], indices), np.nan)

    def arrays(self, known: Array) -> dict[str, Array]:
        """Return the statistics by name, with their dimensions; ``known``: (leads, starts)."""
        by_name = np.transpose(self.fields, (3, 0, 4, 5, 2, 1))
        found = dict(zip(STATISTICS, by_name, strict=True))
        found["squared_truth"] = np.transpose(self.truth, (2, 3, 1, 0))
        found["known"] = known.T.astype(float)
        if self.index_truth.size:
            found["index_forecast"] = np.transpose(self.index_forecast, (0, 3, 2, 1))
            found["index_truth"] = np.transpose(self.index_truth, (2, 1, 0))
        return found
