"""Sums of the statistics of forecasts and of reference forecasts, over initial times."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.config.verification_config import IndexConfig
from gfrnn.pipeline.data.area_index import index_weights
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.forecasting.forecast import load_model
from gfrnn.pipeline.forecasting.forecast_store import open_forecasts
from gfrnn.pipeline.reduction.checkpoints import Arrays
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.states.eof_states import EofLayout
from gfrnn.pipeline.states.harmonics import calendar_months
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.training.zonal.zonal_features import walk_bytes
from gfrnn.pipeline.verification.index_scores import MOMENTS, index_moments
from gfrnn.pipeline.verification.pair_statistics import (
    STATISTICS,
    climatology_statistics,
    pair_statistics,
    root_weights,
)
from gfrnn.pipeline.verification.stored_fields import StoredForecasts
from gfrnn.pipeline.verification.weighted_truth import WeightedTruth, evenly_spaced
from gfrnn_core import UnstableRollout
from gfrnn_core.zonal import ZonalNetwork

Array = NDArray[Any]

SYSTEMS = ("forecast", "linear", "damped persistence", "persistence", "climatology")
"""Scored systems: the forecasts and the references."""

INVERSE = "linear inverse"
"""System of monthly data: the linear inverse model, see :meth:`ForecastModel.inverse_walk`."""

# Fields (float64) of the pairs that are scored at once, in bytes: those of a few systems stay in a
# processor core's own cache.
_PAIR_BYTES = 2**21

# Bytes of damping factors that are kept for the next leaf.
_DAMPING_BYTES = 2**26


@dataclass(frozen=True)
class ScoreSummary:
    """Sums over initial times of the statistics of every system, channel, index and lead.

    A stretch is a range of initial times of the forecast store.
    """

    fields: Fields
    model: Path
    forecasts: Path
    indices: Mapping[str, IndexConfig] = field(default_factory=dict)
    name: str = "verify"
    remedy: str = "forecast.horizon"

    @cached_property
    def store(self) -> xr.Dataset:
        return open_forecasts(self.forecasts)

    @cached_property
    def stored(self) -> StoredForecasts:
        return StoredForecasts(self.forecasts, self.fields.grid)

    @cached_property
    def starts(self) -> Array:
        """Return the indices of the initial times on the data's time axis."""
        return np.searchsorted(self.fields.time, self.store["time"].values)

    @cached_property
    def roots(self) -> Array:
        """Return the roots of the weights of cells: shape (channels, cells)."""
        return root_weights(self.fields.grid)

    @cached_property
    def index_weights(self) -> Array:
        """Return the weights of weighted anomalies in each index: shape (indices, grid.size)."""
        weights, roots = index_weights(self.indices, self.fields.grid), self.roots.reshape(-1)
        return np.divide(weights, roots, out=np.zeros_like(weights), where=roots > 0)

    def leaf(self, stretch: Stretch) -> Arrays:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnstableRollout)  # scores are NaN instead
            return self._leaf(stretch)

    def _leaf(self, stretch: Stretch) -> Arrays:
        model = load_model(str(self.model))
        systems, months, horizon = scored_systems(model), _target_months(model), self.stored.leads
        starts = self.starts[stretch.start : stretch.stop]
        sums = np.zeros((months, len(systems), len(STATISTICS), len(self.roots), horizon))
        counts = np.zeros((months, horizon), dtype=int)
        moments = np.zeros((len(systems), len(MOMENTS), len(self.indices), horizon))
        targets, known = self._targets(model, starts, horizon)
        truth = WeightedTruth.read(self.fields, model, starts, targets[known], self.roots)
        walks = zip(
            model.linear_walk(truth.history, self.fields.time[starts], horizon),
            model.inverse_walk(truth.history, horizon) if INVERSE in systems else repeat(None),
            strict=False,
        )
        together = self.stored.leads_together(len(starts))
        block: list[Array] = []
        for lead, ((linear, _), inverse) in enumerate(walks, 1):
            place = (lead - 1) % together
            if place == 0:
                leads = slice(lead - 1, lead - 1 + together)
                block = self.stored.read(slice(stretch.start, stretch.stop), leads)
            walked = [linear, *([] if inverse is None else [inverse])]
            existing = np.flatnonzero(known[lead - 1])
            for first in range(0, len(existing), self._pairs_together):
                part = existing[first : first + self._pairs_together]
                later = targets[lead - 1, part]
                pairs = _Pairs(lead, truth, truth.places(starts[part]), truth.places(later))
                groups = _by_month(self.fields.time[later], months)
                for month, own in groups.items():
                    counts[month, lead - 1] += np.count_nonzero(own)
                forecast = self._weighted_fields(block, place, part)
                anomalies = self._anomalies(model, pairs, forecast, [each[part] for each in walked])
                for index, (system, given) in enumerate(zip(systems, anomalies, strict=True)):
                    statistics = pairs.statistics(given, self.roots)
                    for month, own in groups.items():
                        sums[month, index, :, :, lead - 1] += statistics[:, own].sum(axis=1)
                    if self.indices:
                        # Persistence of an index is that of its anomaly, not of the field.
                        seen = pairs.present if system == "persistence" else given
                        moments[index, :, :, lead - 1] += index_moments(
                            self._index_values(seen, len(part)),
                            self._index_values(pairs.real, len(part)),
                        )
        return {"sums": sums, "counts": counts, "moments": moments}

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

    def _anomalies(
        self, model: ForecastModel, pairs: _Pairs, forecast: Array, walked: list[Array]
    ) -> Iterator[Array | None]:
        """Yield the weighted anomalies of each scored system, None where all are zero.

        Parameters
        ----------
        forecast : ndarray, shape (pairs, channels, cells)
            Weighted forecasts, overwritten.
        walked : list of ndarray, shape (pairs, size)
            States of the linear model, and of the linear inverse model where it is scored.
        """
        truth = pairs.truth
        yield truth.subtract_climatology(forecast, pairs.now)
        for states in walked:
            anomalies = model.layout.anomalies(states).reshape(len(states), *self.roots.shape)
            anomalies *= self.roots
            yield anomalies
        yield pairs.present * self._damping(model, pairs.lead)
        yield truth.persistence(pairs.start, pairs.now)
        yield None

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
        fields = np.empty((len(part), *self.roots.shape))
        chosen = evenly_spaced(part)
        for channel, values in enumerate(block):
            np.multiply(values[chosen, place], self.roots[channel], out=fields[:, channel])
        mask = self.fields.grid.mask
        if mask is not None:
            fields[:, mask.reshape(self.roots.shape)] = 0.0
        return fields

    def _damping(self, model: ForecastModel, lead: int) -> Array:
        """Return the autocorrelation of each cell at a lead: shape (channels, cells)."""
        found = self._dampings.get(lead)
        if found is None:
            found = model.damping(lead).reshape(self.roots.shape)
            if found.nbytes * self.stored.leads <= _DAMPING_BYTES:
                self._dampings[lead] = found
        return found

    @cached_property
    def _dampings(self) -> dict[int, Array]:
        """Factors of leads that earlier leaves of this process have needed."""
        return {}

    def _index_values(self, anomalies: Array | None, pairs: int) -> Array:
        """Return the indices of weighted anomalies: shape (pairs, indices)."""
        if anomalies is None:
            return np.zeros((pairs, len(self.indices)))
        return np.asarray(anomalies.reshape(pairs, -1) @ self.index_weights.T)

    def merge(self, left: Arrays, right: Arrays) -> Arrays:
        return {name: left[name] + right[name] for name in left}

    def leaf_bytes(self, stretch: Stretch) -> int:
        horizon, size = self.stored.leads, self.fields.grid.size
        starts = self.starts[stretch.start : stretch.stop]
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
        # The truth, the weighted climatology, the weights, and six fields of a pair.
        held = size * (times + terms + 2 + len(self.indices)) + history
        held += min(_DAMPING_BYTES // 8, horizon * size)
        scoring = size * 6 * min(self._pairs_together, len(starts)) + walked * len(starts)
        # The history is encoded beside the truth.
        reading = self.fields.read_bytes(times) + 8 * (2 * model.delays * size * len(starts))
        stored = self.stored.read_bytes(len(starts))
        return max(reading, 8 * held + stored + 8 * scoring + zonal)

    def merge_bytes(self) -> int:
        model = load_model(str(self.model))
        statistics = _target_months(model) * len(STATISTICS) * len(self.fields.grid.channels)
        statistics += len(MOMENTS) * len(self.indices)
        return 3 * 8 * len(scored_systems(model)) * statistics * self.stored.leads


@dataclass(frozen=True)
class _Pairs:
    """Pairs of initial times and targets of one lead.

    Attributes
    ----------
    lead : int
    truth : WeightedTruth
    start, now : slice or ndarray of int
        Positions of the initial times and of the targets in the truth.
    """

    lead: int
    truth: WeightedTruth
    start: slice | Array
    now: slice | Array

    @cached_property
    def present(self) -> Array:
        """Weighted anomalies of the initial times: shape (pairs, channels, cells)."""
        return np.asarray(self.truth.anomalies[self.start])

    @cached_property
    def real(self) -> Array:
        """Weighted anomalies of the targets: shape (pairs, channels, cells)."""
        return np.asarray(self.truth.anomalies[self.now])

    def statistics(self, given: Array | None, roots: Array) -> Array:
        """Return the statistics of the anomalies of a system, see :func:`pair_statistics`."""
        squares = self.truth.squares[self.now]
        if given is None:
            return climatology_statistics(squares, self.truth.means[self.now])
        return pair_statistics(given, self.real, squares, roots)


def _by_month(time: Array, months: int) -> dict[int, Array]:
    """Return which targets are in each group of targets: bool, shape (pairs,)."""
    month = calendar_months(time) - 1 if months > 1 else np.zeros(len(time), dtype=int)
    return {int(number): month == number for number in np.unique(month)}


def scored_systems(model: ForecastModel) -> tuple[str, ...]:
    """Return the systems that are scored: SYSTEMS, with monthly data and EOFs also INVERSE."""
    if model.step.monthly and isinstance(model.layout, EofLayout):
        return (*SYSTEMS[:2], INVERSE, *SYSTEMS[2:])
    return SYSTEMS


def _target_months(model: ForecastModel) -> int:
    """Return the number of groups of targets: the calendar months of monthly data, else one."""
    return 12 if model.step.monthly else 1
