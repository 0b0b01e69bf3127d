"""Statistics of events, which are values of at least a threshold: probabilities, neighbourhoods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.config.verification_config import quantile_level
from gfrnn.pipeline.data.grid import Grid
from gfrnn.pipeline.data.transforms import ChannelTransforms
from gfrnn.pipeline.errors import ConfigError
from gfrnn.pipeline.states.climatology import Climatology
from gfrnn.pipeline.states.harmonics import calendar_months
from gfrnn.pipeline.states.sphere_patches import is_periodic
from gfrnn.pipeline.verification.statistics.event_table import event_table
from gfrnn.pipeline.verification.statistics.fraction_skill import (
    FRACTION_STATISTICS,
    fraction_statistics,
)

Array = NDArray[Any]

_PAIR = ("time", "prediction_timedelta")


@dataclass(frozen=True)
class Event:
    """A value of a channel of at least a threshold.

    Attributes
    ----------
    channel : int
        Position of the channel on the grid.
    name : str
        Such as ``2m_temperature >= 273.15`` and ``2m_temperature >= q90``.
    threshold : float
        In the unit of the channel; NaN for a quantile, which differs from cell to cell.
    quantile : float or None
        Level of the quantile of the climatology, from 0 to 1; None for a fixed threshold.
    """

    channel: int
    name: str
    threshold: float
    quantile: float | None = None


@dataclass(frozen=True)
class EventLimits:
    """Thresholds of events at the times that forecasts are for.

    Attributes
    ----------
    climatology : Climatology
    quantiles : ndarray, shape (events, 12, cells)
        Quantiles of anomalies by calendar month, see
        :func:`gfrnn.pipeline.verification.events.event_quantiles.event_quantiles`; any other array
        if all thresholds are fixed.
    transforms : ChannelTransforms
        Transforms of the channels, in which climatology and quantiles are.
    """

    climatology: Climatology
    quantiles: Array
    transforms: ChannelTransforms

    def of_times(self, number: int, event: Event, times: Array) -> Array:
        """Return the thresholds at some times: shape (1, times or 1, 1, cells or 1).

        Parameters
        ----------
        number : int
            Position of the event.
        event : Event
        times : ndarray of datetime64
        """
        if event.quantile is None:
            return np.full((1, 1, 1, 1), event.threshold)
        anomalies = self.quantiles[number]
        first = event.channel * anomalies.shape[1]
        terms = self.climatology.coefficients[:, first : first + anomalies.shape[1]]
        mean = self.climatology.design_matrix(times) @ terms
        limits: Array = mean + anomalies[calendar_months(times) - 1]
        if (transform := self.transforms.channels[event.channel]) is not None:
            limits = transform.inverse(limits)
        return limits[None, :, None]


def events_of(thresholds: Mapping[str, Sequence[float | str]], grid: Grid) -> tuple[Event, ...]:
    """Return the events of the thresholds of channels.

    Raises
    ------
    ConfigError
        If the grid does not have a channel.
    """
    names = [channel.name for channel in grid.channels]
    if unknown := [name for name in thresholds if name not in names]:
        raise ConfigError(
            f"verification.thresholds.{unknown[0]}: is not a channel of the data, {names}; name a "
            "variable and, where it has levels, its level in hPa, as in geopotential_500"
        )
    found = []
    for name, own in thresholds.items():
        for threshold in own:
            channel = names.index(name)
            if isinstance(threshold, str):
                level = quantile_level(threshold)
                found.append(Event(channel, f"{name} >= {threshold}", np.nan, level))
            else:
                found.append(Event(channel, f"{name} >= {threshold:g}", threshold))
    return tuple(found)


class EventValues:
    """Statistics of events of a range of initial times, NaN until they are filled in.

    Parameters
    ----------
    events : sequence of Event
    widths : sequence of int
        Widths of neighbourhoods in cells.
    grid : Grid
    weights : ndarray, shape (regions, channels, cells)
    shape : tuple of int
        Leads and initial times.
    members : int
        1 for single forecasts.
    limits : EventLimits
        Their thresholds.
    valid : ndarray of datetime64, shape (initial times, leads)
        Times that the forecasts are for.
    """

    def __init__(
        self,
        events: Sequence[Event],
        widths: Sequence[int],
        grid: Grid,
        weights: Array,
        shape: tuple[int, int],
        members: int,
        limits: EventLimits,
        valid: Array,
    ) -> None:
        self._limits, self._valid = limits, valid
        self._events, self._widths, self._grid, self._weights = events, widths, grid, weights
        regions = len(weights)
        self._table = np.full((*shape, len(events), regions, 2, members + 1), np.nan)
        sizes = *shape, len(events), regions, len(widths)
        self._fractions = {name: np.full(sizes, np.nan) for name in FRACTION_STATISTICS}

    @staticmethod
    def dimensions(widths: Sequence[int]) -> dict[str, tuple[str, ...]]:
        """Return the dimensions of each statistic."""
        found = {"event_table": ("event", "region", "observed", "members_with_event", *_PAIR)}
        own = ("event", "region", "neighbourhood", *_PAIR)
        return found | (dict.fromkeys(FRACTION_STATISTICS, own) if widths else {})

    def add(self, lead: int, part: Array, members: Array, truth: Array) -> None:
        """Fill in the statistics of some pairs.

        Parameters
        ----------
        lead : int
            Position of the lead.
        part : ndarray of int
            Positions of the pairs among the initial times.
        members : ndarray, shape (pairs, members, channels, cells)
            Fields, 0 in the mask.
        truth : ndarray, shape (pairs, channels, cells)
        """
        valid = self._grid.valid.reshape(len(self._grid.channels), -1)
        periodic = is_periodic(self._grid.longitude)
        for number, event in enumerate(self._events):
            own = slice(event.channel, event.channel + 1)
            limits = self._limits.of_times(number, event, self._valid[part, lead])
            given = members[:, :, own], truth[:, own], limits
            weights = self._weights[:, own]
            self._table[lead, part, number] = event_table(*given, weights)[:, :, 0, 0]
            if not self._widths:
                continue
            found = fraction_statistics(
                *given, self._widths, weights, self._grid.shape[1:], periodic, valid[own]
            )
            for name, values in found.items():
                self._fractions[name][lead, part, number] = values[:, :, 0, 0]

    def arrays(self) -> dict[str, Array]:
        """Return the statistics by name, with the dimensions of :meth:`dimensions`."""
        found = {"event_table": np.transpose(self._table, (2, 3, 4, 5, 1, 0))}
        if self._widths:
            found |= {
                name: np.transpose(values, (2, 3, 4, 1, 0))
                for name, values in self._fractions.items()
            }
        return found
