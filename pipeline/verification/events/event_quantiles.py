"""Thresholds of events that are quantiles of the climatology: of each cell, by time of the year.

A threshold is the climatology at the time plus a quantile of the anomalies in the climatology's
period, of the same calendar month, the one before and the one after. At about one in ten times, a
value is at least the quantile q90, in winter as in summer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.config.section import Period
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.data.grid import Channel
from gfrnn.pipeline.errors import ConfigError
from gfrnn.pipeline.reduction.progress import Progress
from gfrnn.pipeline.reduction.run_tasks import run_tasks
from gfrnn.pipeline.states.climatology import Climatology
from gfrnn.pipeline.states.harmonics import calendar_months
from gfrnn.pipeline.verification.events.event_values import Event

Array = NDArray[Any]

MONTHS = 12

# Most times of a calendar month from which quantiles are estimated.
_MOST_TIMES = 250

# Most times from which a quantile is estimated: those of a month and the two beside it.
_MOST_TOGETHER = 3 * _MOST_TIMES

# Fewest values beyond a quantile: with fewer, chance decides where it is.
_LEAST_BEYOND = 5

# Bytes of the values (float32) of a task.
_TASK_BYTES = 2**26


@dataclass(frozen=True)
class QuantileTimes:
    """Times from which the quantiles of events are estimated.

    Attributes
    ----------
    chosen : ndarray of int
        Ascending indices on the time axis.
    month : ndarray of int, shape (len(chosen),)
        Calendar months, 1 to 12.
    wanted : ndarray of int
        Calendar months for which there are quantiles.
    """

    chosen: Array
    month: Array
    wanted: Array

    @classmethod
    def choose(
        cls, time: Array, periods: Sequence[Period], valid: Array, events: Sequence[Event]
    ) -> QuantileTimes:
        """Choose at most 250 times of each calendar month, at random but always the same.

        Parameters
        ----------
        time : ndarray of datetime64
            Times of the data.
        periods : sequence of Period
            Periods of the climatology.
        valid : ndarray of datetime64
            Times that forecasts are for.
        events : sequence of Event

        Raises
        ------
        ConfigError
            If the periods have too few times for a quantile.
        """
        own = [(event, event.quantile) for event in events if event.quantile is not None]
        inside = np.zeros(len(time), dtype=bool)
        for period in periods:
            inside |= period.mask(time)
        months, wanted = calendar_months(time), np.unique(calendar_months(valid.reshape(-1)))
        if not own:
            wanted = wanted[:0]
        rng = np.random.default_rng(0)
        parts = []
        for month in np.unique([near for one in wanted for near in _near(one)]):
            there = np.flatnonzero(inside & (months == month))
            if len(there) > _MOST_TIMES:
                there = rng.choice(there, _MOST_TIMES, replace=False)
            parts.append(there)
        chosen = np.sort(np.concatenate(parts)) if parts else np.zeros(0, dtype=int)
        found = cls(chosen, months[chosen], wanted)
        for month in wanted:
            count = len(found.near(month))
            for event, level in own:
                beyond = count * min(level, 1 - level)
                if beyond < _LEAST_BEYOND - 1e-9:  # 1 - level is rounded
                    raise ConfigError(
                        f"verification.thresholds: {event.name} cannot be estimated, as the "
                        f"climatology's period ({', '.join(map(str, periods)) or 'none'}) has "
                        f"{count} times of the data in the months around month {month} "
                        f"(at most {_MOST_TOGETHER} are read), of which {_LEAST_BEYOND} or more "
                        f"must lie beyond it; choose {_possible(count, min(level, 1 - level))}"
                    )
        return found

    def near(self, month: int) -> Array:
        """Return the positions of the times in a calendar month, the one before and the next."""
        return np.flatnonzero(np.isin(self.month, _near(month)))


def _possible(count: int, share: float) -> str:
    """Return what can be chosen in place of a quantile with this share of few times beyond."""
    found = []
    if count >= 2 * _LEAST_BEYOND:
        lowest = math.ceil(1e4 * _LEAST_BEYOND / count - 1e-9) / 100
        found.append(f"a quantile from q{lowest:g} to q{round(100 - lowest, 2):g}")
    if share * _MOST_TOGETHER >= _LEAST_BEYOND - 1e-9:
        found.append("a longer period")
    return ", or ".join(found or ["a quantile nearer to q50 and a longer period"])


def _near(month: int) -> list[int]:
    return [(month + shift - 1) % MONTHS + 1 for shift in (-1, 0, 1)]


def event_quantiles(
    fields: Fields,
    climatology: Climatology,
    events: Sequence[Event],
    times: QuantileTimes,
    progress: Progress | None = None,
) -> Array:
    """Return the quantiles of anomalies of each cell: float32, shape (events, MONTHS, cells).

    They are NaN for events of fixed thresholds, and in months for which none are wanted. Each task
    has a channel and some latitudes.
    """
    _, rows, columns = fields.grid.shape
    found = np.full((len(events), MONTHS, rows * columns), np.nan, dtype=np.float32)
    together = max(1, _TASK_BYTES // (4 * columns * max(1, len(times.chosen))))
    terms = climatology.coefficients.reshape(-1, *fields.grid.shape)
    design = climatology.design_matrix(fields.time[times.chosen])
    calls, places = [], []
    for channel in sorted({event.channel for event in events if event.quantile is not None}):
        own, levels = [], []
        for number, event in enumerate(events):
            if event.channel == channel and event.quantile is not None:
                own.append(number)
                levels.append(event.quantile)
        for first in range(0, rows, together):
            part = slice(first, min(first + together, rows))
            calls.append((fields, terms[:, channel, part], design, channel, part, times, levels))
            places.append((own, slice(part.start * columns, part.stop * columns)))
    results = run_tasks("quantiles", _block_quantiles, calls, progress)
    for (own, cells), values in zip(places, results, strict=True):
        for number, each in zip(own, values, strict=True):
            found[number][times.wanted - 1, cells] = each
    return found


def _block_quantiles(
    fields: Fields,
    coefficients: Array,
    design: Array,
    channel: int,
    rows: slice,
    times: QuantileTimes,
    levels: Sequence[float],
) -> Array:
    """Return quantiles in some latitudes of a channel: shape (levels, wanted months, cells).

    Parameters
    ----------
    coefficients : ndarray, shape (terms, latitudes, longitudes)
        Climatology of the channel in these latitudes.
    design : ndarray, shape (times, terms)
    """
    grid = fields.grid
    mask = None if grid.mask is None else grid.mask.reshape(grid.shape)[channel, rows].reshape(-1)
    ds = _one_channel(fields.ds, grid.channels[channel], rows)
    own = Fields(ds.isel(time=times.chosen), mask)
    values = own.read(0, len(times.chosen), np.float32)
    for value, terms in zip(values, design, strict=True):
        value -= np.tensordot(terms, coefficients, 1).reshape(-1)
    found = [np.quantile(values[times.near(month)], levels, axis=0) for month in times.wanted]
    return np.stack(found, axis=1).astype(np.float32)


def _one_channel(ds: xr.Dataset, channel: Channel, rows: slice) -> xr.Dataset:
    """Return the dataset of a channel in some latitudes."""
    array = ds[channel.variable].isel(latitude=rows)
    levels = [] if channel.level is None else [channel.level]
    return ds[[]].assign({channel.variable: array.assign_attrs(levels=levels)})
