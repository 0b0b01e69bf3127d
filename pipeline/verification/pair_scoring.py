"""Compute the statistics of a range of initial times: of the forecasts and of the references."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.config.section import Period
from gfrnn.pipeline.config.verification_config import VerificationConfig
from gfrnn.pipeline.data.area_index import index_weights
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.data.grid import Grid
from gfrnn.pipeline.forecasting.forecast import load_model
from gfrnn.pipeline.reduction.progress import Progress
from gfrnn.pipeline.states.climatology import Climatology
from gfrnn.pipeline.states.eof_states import EofLayout
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.verification.events.event_quantiles import QuantileTimes, event_quantiles
from gfrnn.pipeline.verification.events.event_values import (
    Event,
    EventLimits,
    EventValues,
    events_of,
)
from gfrnn.pipeline.verification.pair_values import CRPS, ENSEMBLE_STATISTICS, PairValues
from gfrnn.pipeline.verification.spectrum_values import DIMENSIONS as SPECTRUM_DIMENSIONS
from gfrnn.pipeline.verification.spectrum_values import SpectrumValues
from gfrnn.pipeline.verification.statistics.pair_statistics import (
    STATISTICS,
    climatology_statistics,
    pair_statistics,
)
from gfrnn.pipeline.verification.statistics.region_means import RegionMeans
from gfrnn.pipeline.verification.statistics_store import read_quantiles, write_statistics
from gfrnn.pipeline.verification.stored_fields import Forecasts
from gfrnn.pipeline.verification.systems.blocks import ROWS
from gfrnn.pipeline.verification.systems.dressed_references import DressedReferences
from gfrnn.pipeline.verification.systems.pair_errors import (
    BlockErrors,
    error_means,
    forecast_errors,
)
from gfrnn.pipeline.verification.systems.physical_errors import (
    physical_errors,
    physical_members,
    unweighted,
)
from gfrnn.pipeline.verification.systems.references import (
    ClimatologyReference,
    Pairs,
    Persistence,
    Reference,
    references_of,
)
from gfrnn.pipeline.verification.systems.weighted_truth import WeightedTruth, evenly_spaced
from gfrnn_core import UnstableRollout

Array = NDArray[Any]

FORECAST = "forecast"
"""Name of the scored system that is not a reference."""

_PAIR = ("time", "prediction_timedelta")
_FIELD = ("region", "channel", *_PAIR)
DIMENSIONS = {
    **dict.fromkeys(STATISTICS, ("system", *_FIELD)),
    "squared_truth": _FIELD,
    "known": _PAIR,
}
"""Statistics of fields and their dimensions. ``known`` is 1 for pairs that have a truth."""

ENSEMBLE_DIMENSIONS = {
    **dict.fromkeys(ENSEMBLE_STATISTICS, _FIELD),
    **dict.fromkeys(CRPS, ("system", *_FIELD)),
    "rank_histogram": ("rank", *_FIELD),
}
"""Statistics of ensembles and their dimensions; those of STATISTICS are of the ensemble mean. The
CRPS of a single forecast, as the references are, is its absolute error."""

INDEX_DIMENSIONS = {
    "index_forecast": ("system", "index", *_PAIR),
    "index_truth": ("index", *_PAIR),
}
"""Anomalies of the indices and their dimensions."""

# Fields (float64) of the pairs that are scored at once, in bytes: those of a few systems stay in a
# processor core's own cache.
_PAIR_BYTES = 2**21


@dataclass(frozen=True)
class PairScoring:
    """The forecasts, the references and the truth that are compared.

    Attributes
    ----------
    fields : Fields
        The truth.
    forecasts : Forecasts
        Forecasts of the channels of the truth, on its grid.
    config : VerificationConfig
    model : Path or None
        Store of the model, for its climatology and its references; None does without.
    climatology : Climatology or None
        Climatology where there is no model. With neither, anomalies are not scored.
    seed : int
        Seed of the members of references.
    masks : dict of ndarray of bool
        Cells of the regions with a static field, see
        :func:`gfrnn.pipeline.verification.region_masks.region_masks`.
    periods : tuple of Period
        Periods of the climatology, from which quantiles of events are estimated.
    quantiles : ndarray, shape (events, 12, cells)
        Quantiles of anomalies of the events that have one; tasks read them from the statistics.
    """

    fields: Fields
    forecasts: Forecasts
    config: VerificationConfig
    model: Path | None = None
    climatology: Climatology | None = None
    seed: int = 0
    masks: dict[str, Array] = field(default_factory=dict)
    periods: tuple[Period, ...] = ()
    quantiles: Array = field(default_factory=lambda: np.zeros((0, 12, 0), dtype=np.float32))

    def without_caches(self) -> PairScoring:
        """Return a copy that is cheap to pickle."""
        return replace(self)

    @cached_property
    def starts(self) -> Array:
        """Indices of the initial times on the data's time axis; those of absent ones are wrong."""
        places = np.searchsorted(self.fields.time, self.forecasts.initial)
        return np.minimum(places, len(self.fields.time) - 1)

    @cached_property
    def _present(self) -> bool:
        """Whether all initial times are in the data."""
        return bool((self.fields.time[self.starts] == self.forecasts.initial).all())

    @cached_property
    def means(self) -> RegionMeans:
        return RegionMeans.on_grid(self.fields.grid, self.config.regions, self.masks)

    @cached_property
    def index_weights(self) -> Array:
        """Weights of weighted anomalies in each index: shape (indices, channels, cells)."""
        weights = index_weights(self.config.indices, self.fields.grid)
        weights = weights.reshape(-1, *self.means.roots.shape)
        return unweighted(weights, self.means.roots)

    def _index_weights_as(self, dtype: Any) -> Array:
        return self.index_weights.astype(dtype, copy=False)

    @cached_property
    def references(self) -> tuple[Reference, ...]:
        """The references; persistence needs the data of all initial times."""
        found = references_of(self.loaded_model())
        if self.model is None and self.climatology is None:
            found = tuple(each for each in found if not isinstance(each, ClimatologyReference))
        if not self._present:
            found = tuple(each for each in found if not isinstance(each, Persistence))
        return found

    def systems(self) -> tuple[str, ...]:
        """Return the names of the scored systems: the forecasts and the references."""
        return (FORECAST, *(reference.name for reference in self.references))

    def loaded_model(self) -> ForecastModel | None:
        """Return the model, from memory if it was loaded before; None without one."""
        return None if self.model is None else load_model(str(self.model))

    def write(self, path: Path, first: int, stop: int) -> None:
        """Write the statistics of a range of initial times to a store of statistics."""
        own = self
        if self.has_quantiles:
            own = replace(self, quantiles=read_quantiles(path))
        write_statistics(path, first, own.statistics(first, stop))

    def statistics(self, first: int, stop: int) -> dict[str, Array]:
        """Return the statistics of a range of initial times by name.

        Their dimensions are those of :attr:`dimensions`; NaN where there is no truth.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnstableRollout)  # statistics are NaN instead
            return self._statistics(first, stop)

    def _statistics(self, first: int, stop: int) -> dict[str, Array]:
        model, references = self.loaded_model(), self.references
        starts, horizon = self.starts[first:stop], len(self.forecasts.leads)
        targets, known = self.targets(first, stop)
        climatology, transforms = self.used_climatology(), self.fields.transforms
        truth = WeightedTruth.read(
            self.fields, climatology, starts, targets[known], self.means, model
        )
        valid = self.forecasts.valid[first:stop]
        indices = truth.indices(self._index_weights_as(truth.roots.dtype))
        found = PairValues(
            (1 + len(references), horizon, len(starts)),
            len(self.means.names),
            len(self.means.roots),
            len(self.config.indices),
            self.forecasts.members,
        )
        shape = horizon, len(starts)
        others: list[EventValues | SpectrumValues] = [
            *self._event_values(shape, EventLimits(climatology, self.quantiles, transforms), valid),
            *self._spectrum_values(shape),
        ]
        initial = self.forecasts.initial[first:stop]
        walks = [each.states(truth.history, initial, horizon) for each in references]
        dressed = DressedReferences.draw(
            model, references, initial, valid, self.forecasts.members, self.seed
        )
        together = self.forecasts.leads_together(len(starts))
        block: list[Array] = []
        for lead in range(horizon):
            place = lead % together
            if place == 0:
                block = self.forecasts.read(slice(first, stop), slice(lead, lead + together))
            states = [next(walk) for walk in walks]
            existing = np.flatnonzero(known[lead])
            for begin in range(0, len(existing), self.pairs_together):
                part = existing[begin : begin + self.pairs_together]
                pairs = Pairs(
                    lead + 1,
                    truth,
                    truth.places(starts[part]),
                    truth.places(targets[lead, part]),
                )
                own = [None if each is None else each[part] for each in states]
                systems = [
                    forecast_errors(block, place, evenly_spaced(part), pairs.real, truth.roots),
                    *self._reference_errors(references, own, pairs),
                ]
                self._add_errors(found, systems, pairs, part, indices)
                if not others and self.forecasts.members is None:
                    continue
                fields = _fields_of(block, place, part, self.fields.grid)
                for each in others:
                    each.add(lead, part, fields, pairs.real)
                if self.forecasts.members is not None:
                    weights = self.means.weights
                    found.add_ensemble(0, lead, part, fields, pairs.real, weights)
                    real = unweighted(pairs.scored, truth.roots)
                    for system, members in dressed.of_pairs(own, lead, part, truth.roots.shape):
                        members = physical_members(members, pairs, transforms)
                        found.add_ensemble(system, lead, part, members, real, weights)
        arrays = found.arrays(known)
        for values in others:
            arrays |= values.arrays()
        return arrays

    def _reference_errors(
        self, references: tuple[Reference, ...], states: list[Array | None], pairs: Pairs
    ) -> Iterator[BlockErrors | None]:
        """Yield the weighted errors of each reference in physical units."""
        for reference, state in zip(references, states, strict=True):
            errors = reference.errors(pairs, state)
            if not reference.persistent:
                errors = physical_errors(errors, pairs, self.fields.transforms)
            yield errors

    def _add_errors(
        self,
        found: PairValues,
        systems: list[BlockErrors | None],
        pairs: Pairs,
        part: Array,
        indices: Array,
    ) -> None:
        """Fill in the statistics of the errors of all systems.

        Parameters
        ----------
        found : PairValues
        systems : list of BlockErrors or None
            None for the climatology, whose errors are the anomalies of the truth.
        pairs : Pairs
        part : ndarray of int
            Positions of the pairs among the initial times.
        indices : ndarray, shape (times of the truth, indices)
        """
        truth, lead = pairs.truth, pairs.lead - 1
        means, index_errors = error_means(
            systems,
            pairs.scored,
            truth.roots,
            self.means,
            self._index_weights_as(truth.roots.dtype),
        )
        squares = truth.squares[pairs.now]
        found.truth[lead, part] = squares
        found.index_truth[lead, part] = indices[pairs.now]
        references = self.references
        for system, errors in enumerate(systems):
            where = system, lead, part
            if errors is None:
                found.fields[where] = climatology_statistics(
                    squares, truth.first[pairs.now], truth.absolute[pairs.now]
                )
                found.index_forecast[where] = 0.0
                continue
            found.fields[where] = pair_statistics(means[system], squares)
            persistent = system > 0 and references[system - 1].persistent
            found.index_forecast[where] = (
                indices[pairs.start] if persistent else indices[pairs.now] + index_errors[system]
            )

    @cached_property
    def events(self) -> tuple[Event, ...]:
        """Events of the thresholds."""
        return events_of(self.config.thresholds, self.fields.grid)

    @property
    def has_quantiles(self) -> bool:
        """Whether a threshold is a quantile of the climatology."""
        return any(event.quantile is not None for event in self.events)

    def event_quantiles(self, progress: Progress | None = None) -> Array:
        """Return the quantiles of events, see
        :func:`gfrnn.pipeline.verification.events.event_quantiles.event_quantiles`.

        Raises
        ------
        ConfigError
            If the data have too few times of the climatology's period.
        """
        valid = self.forecasts.valid
        times = QuantileTimes.choose(self.fields.time, self.periods, valid, self.events)
        climatology = self.used_climatology()
        return event_quantiles(self.fields, climatology, self.events, times, progress)

    def _event_values(
        self, shape: tuple[int, int], limits: EventLimits, valid: Array
    ) -> Iterator[EventValues]:
        if self.events:
            yield EventValues(
                self.events,
                self.config.neighbourhoods,
                self.fields.grid,
                self.means.weights,
                shape,
                self.forecasts.members or 1,
                limits,
                valid,
            )

    def _spectrum_values(self, shape: tuple[int, int]) -> Iterator[SpectrumValues]:
        if self.config.spectra:
            yield SpectrumValues(self.fields.grid, self.means.weights[0], shape)

    def used_climatology(self) -> Climatology:
        """Return the climatology of anomalies: that of the model, the given one, or zero."""
        model = self.loaded_model()
        if model is not None:
            return model.layout.scaling.climatology
        if self.climatology is not None:
            return self.climatology
        return Climatology.zero(0, 0, self.fields.grid)

    @property
    def dimensions(self) -> dict[str, tuple[str, ...]]:
        """Dimensions of each statistic."""
        ensemble = {} if self.forecasts.members is None else ENSEMBLE_DIMENSIONS
        found = DIMENSIONS | ensemble | (INDEX_DIMENSIONS if self.config.indices else {})
        if self.events:
            found |= EventValues.dimensions(self.config.neighbourhoods)
        return found | (SPECTRUM_DIMENSIONS if self.config.spectra else {})

    def targets(self, first: int, stop: int) -> tuple[Array, Array]:
        """Return the index in time of each target, and whether it exists: (leads, starts) each.

        Only times in the data at the exact distance of the lead are used: data may have gaps.
        """
        time, valid = self.fields.time, self.forecasts.valid[first:stop].T
        targets = np.searchsorted(time, valid)
        known = targets < len(time)
        known[known] = time[targets[known]] == valid[known]
        return targets, known

    @property
    def pairs_together(self) -> int:
        """Number of pairs that are scored at once."""
        members = self.forecasts.members or 1
        fitting = max(1, _PAIR_BYTES // (4 * (members + 1) * self.fields.grid.size))
        return max(ROWS, fitting) if self.in_blocks else fitting

    @property
    def in_blocks(self) -> bool:
        """Whether all is computed in blocks of cells, and no whole fields of a pair are held."""
        model = self.loaded_model()
        if self.forecasts.members is not None or self.events or self.config.spectra:
            return False
        return model is None or isinstance(model.layout, EofLayout)


def _fields_of(block: list[Array], place: int, part: Array, grid: Grid) -> Array:
    """Return forecasts of one lead, 0 in the mask: shape (pairs, members, channels, cells).

    Parameters
    ----------
    block : list of ndarray
        From :meth:`Forecasts.read`.
    place : int
        Position of the lead in the block.
    part : ndarray of int
        Positions of the initial times to return.
    grid : Grid
    """
    chosen = evenly_spaced(part)
    fields = np.stack([values[chosen, :, place] for values in block], axis=2)
    if grid.mask is not None:
        fields[:, :, grid.mask.reshape(len(block), -1)] = 0.0
    return fields
