"""Forecasts that are computed while they are scored, lead by lead, and not kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.config.experiment import Experiment
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.data.time_axis import step_of
from gfrnn.pipeline.data.transforms import ChannelTransforms
from gfrnn.pipeline.forecasting.divergence import DecodedLead
from gfrnn.pipeline.forecasting.ensemble_members import EnsembleMembers, members_bytes
from gfrnn.pipeline.forecasting.forecast import (
    decoded_forecasts,
    initial_times,
    load_model,
    members_of,
    most_delays,
    rollout_bytes,
)
from gfrnn.pipeline.forecasting.initial_states import history_bytes
from gfrnn.pipeline.training.ensembles.error_archive import error_cache_bytes
from gfrnn.pipeline.training.stretches import steps

Array = NDArray[Any]


@dataclass
class _Batch:
    """Forecasts of initial times that are computed together.

    Attributes
    ----------
    leads : iterator
        From :func:`gfrnn.pipeline.forecasting.forecast.decoded_forecasts`.
    members : EnsembleMembers or None
    transforms : ChannelTransforms
        Transforms of the channels, which are undone, and their bounds.
    """

    leads: Iterator[DecodedLead]
    members: EnsembleMembers | None
    transforms: ChannelTransforms

    def next_lead(self, lead: int, channels: int) -> tuple[Array, Array, Array]:
        """Return the fields of the next lead, the limited shares, and the places of divergence.

        Returns
        -------
        ndarray of float32, shape (starts, members, channels, cells)
            Members are those that a forecast store would have; one for single forecasts.
        ndarray, shape (starts,)
        ndarray of int, shape (starts,)
        """
        values, limited, departed = next(self.leads)
        fields = values.astype(np.float32).reshape(len(values), 1, channels, -1)
        if self.members is None:
            return self.transforms.forecasts(fields, 2), limited, departed
        found = np.empty((len(fields), self.members.count, *fields.shape[2:]), dtype=np.float32)
        for own, made in zip(found, self.members.fields(fields, lead, slice(None)), strict=True):
            own[:] = made[:, 0]
        return self.transforms.forecasts(found, 2), limited, departed


@dataclass
class ComputedForecasts:
    """Forecasts of the test period, the values that a forecast store would have.

    The attributes of :class:`gfrnn.pipeline.verification.stored_fields.Forecasts` come in addition.
    Leads are read in their order, each once; a copy by :meth:`begin` starts again.

    Attributes
    ----------
    experiment : Experiment
    fields : Fields
        Data, which have the initial states.
    model : Path
        Store of the model.
    batch : int
        Number of initial times that are computed together.
    limited, departed : list of ndarray, shape (starts,)
        For each lead that was read: the share of values that the bound of rollouts has limited, and
        the place of divergence, see :class:`gfrnn.pipeline.forecasting.divergence.DecodedLead`.
    """

    experiment: Experiment
    fields: Fields
    model: Path
    batch: int
    limited: list[Array] = field(default_factory=list)
    departed: list[Array] = field(default_factory=list)
    _batches: list[_Batch] = field(default_factory=list)

    def begin(self) -> ComputedForecasts:
        """Return a copy of which no lead has been read; it is cheap to pickle."""
        return replace(self, limited=[], departed=[], _batches=[])

    @cached_property
    def starts(self) -> Array:
        """Indices of the initial times on the time axis: shape (starts,)."""
        return initial_times(self.experiment, self.fields.time)

    @cached_property
    def horizon(self) -> int:
        """Number of leads."""
        return steps("forecast.horizon", self.experiment.forecast.horizon, self._step)

    @property
    def _step(self) -> Any:
        return step_of(self.fields.time)

    @property
    def initial(self) -> Array:
        return np.asarray(self.fields.time[self.starts])

    @cached_property
    def valid(self) -> Array:
        numbers = np.arange(1, self.horizon + 1)
        return np.asarray(self._step.after(self.initial[:, None], numbers))

    @property
    def leads(self) -> Array:
        return np.asarray(self._step.length * np.arange(1, self.horizon + 1))

    @property
    def members(self) -> int | None:
        return self.experiment.forecast.members

    def leads_together(self, starts: int) -> int:
        return 1

    def read_bytes(self, starts: int) -> int:
        grid, delays = self.fields.grid, most_delays(self.experiment)
        walks = rollout_bytes(self.experiment, self.fields, starts)
        # States of the last batch are read while the others have made their first lead.
        begun = max(0, starts - self.batch)
        history = history_bytes(self.fields, self.starts, self.batch, delays)
        history += rollout_bytes(self.experiment, self.fields, begun) if begun else 0
        # One lead of all initial times, as it is made and as it is returned.
        block = 2 * 4 * (self.members or 1) * starts * grid.size
        if self.members is not None:
            block += members_bytes(self.members, grid.size) + error_cache_bytes(
                self.horizon, grid.size
            )
        return max(walks, history) + block

    def read(self, starts: slice, leads: slice) -> list[Array]:
        """Compute one more lead of some initial times, the same ones in each call."""
        lead = len(self.limited)
        if (leads.start, leads.stop) != (lead, lead + 1):
            raise ValueError(f"lead {lead} is the next one, but {leads} was asked for")
        if not lead:
            self._batches = list(self._begin(starts))
        channels = len(self.fields.grid.channels)
        parts = [batch.next_lead(lead, channels) for batch in self._batches]
        fields, shares, places = (np.concatenate(own) for own in zip(*parts, strict=True))
        self.limited.append(shares)
        self.departed.append(places)
        return [fields[:, :, None, channel] for channel in range(channels)]

    def _begin(self, starts: slice) -> Iterator[_Batch]:
        trained = load_model(str(self.model))
        for first in range(starts.start, starts.stop, self.batch):
            own = self.starts[first : min(first + self.batch, starts.stop)]
            initial = self.fields.time[own]
            yield _Batch(
                decoded_forecasts(trained, self.fields, own, self.horizon),
                members_of(trained, initial, self.horizon, self.experiment.forecast),
                self.fields.transforms,
            )
