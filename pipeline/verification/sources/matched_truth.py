"""Truth of forecasts that come from files: the channels that both have, on one grid."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from gfrnn.pipeline.config.data_config import DataConfig
from gfrnn.pipeline.data.dataset import open_source
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.data.grid import Channel, format_extent, same_coordinates
from gfrnn.pipeline.data.time_axis import format_minute, in_months, step_of
from gfrnn.pipeline.data.variables.file_variables import (
    FileVariable,
    file_variables,
    source_variables,
)
from gfrnn.pipeline.data.variables.names import QUANTITIES
from gfrnn.pipeline.errors import DataError, MissingTimesError
from gfrnn.pipeline.verification.sources.forecast_source import ForecastSource

_REMEDY = "score other channels (--channel), or verify forecasts of other times"
_TRIED = 64  # times at either end of which one must have values
_SHOWN = 8  # names or leads listed in a message


@dataclass(frozen=True)
class MatchedTruth:
    """Truth and forecasts of the same channels.

    Attributes
    ----------
    fields : Fields
        Truth, with its mask.
    forecasts : ForecastSource
        Forecasts of the channels of the truth.
    known : ndarray of bool, shape (starts, leads)
        Pairs that have a truth.
    notes : tuple of str
        What was left out, and how many pairs have no truth.
    """

    fields: Fields
    forecasts: ForecastSource
    known: np.ndarray
    notes: tuple[str, ...]

    @property
    def verified(self) -> np.ndarray:
        """Times of the pairs that have a truth, ascending: datetime64, shape (times,)."""
        return np.unique(self.forecasts.valid[self.known])

    @classmethod
    def match(
        cls,
        data: DataConfig,
        forecasts: ForecastSource,
        channels: Sequence[str] = (),
        without: Collection[np.datetime64] = (),
    ) -> MatchedTruth:
        """Open the truth of the channels that both have.

        Parameters
        ----------
        data : DataConfig
            Sources of the truth.
        forecasts : ForecastSource
        channels : sequence of str
            Names of the channels to score, such as ``geopotential_500``; default: all.
        without : collection of datetime64
            Times of the truth that count as gaps.

        Raises
        ------
        DataError
            If they have no channel or no time in common, differ in their grid or step, or a
            channel that both have cannot be used.
        """
        there = forecasts.files[0].channels
        truth = _truth_channels(data)
        wanted = _wanted(channels, there, truth)
        common = [channel for channel in there if channel in truth and channel in wanted]
        if not common:
            raise DataError(
                f"no channel in common: the forecasts have {_listed(there)}, the truth "
                f"{_listed(truth)}; name channels of the forecasts with --rename NAME=ERA5_NAME"
            )
        notes = [
            f"not scored, only in the {where}: {_listed(rest)}"
            for where, own, other in (("forecasts", there, truth), ("truth", truth, there))
            if (rest := [each for each in own if each not in other and each in wanted])
        ]
        problems = [
            problem
            for channel in common
            for problem in _problems(channel, there[channel][0], truth[channel])
        ]
        if problems:
            raise DataError("\n".join(dict.fromkeys(problems)))
        variables: dict[str, list[float] | None] = {}
        for channel in common:
            levels = variables.setdefault(channel.variable, None if channel.level is None else [])
            if levels is not None and channel.level is not None:
                levels.append(channel.level)
        used = {"variables": variables, "transform": {}}
        ds = open_source(data.model_copy(update=used), without)
        fields = Fields(ds, period="verified period", remedy=_REMEDY)
        _check_grid(fields, forecasts)
        known = _known(fields, forecasts)
        places = np.searchsorted(fields.time, forecasts.valid[known])
        fields = _with_mask(fields, np.unique(places))
        own = forecasts.of_channels(fields.grid.channels)
        notes += _times_without_truth(fields, own, known)
        losses = (f"truth: {loss}" for loss in ds.attrs.get("losses", []))
        return cls(fields, own, known, (*map(_advice, own.notes), *losses, *notes))


def _truth_channels(data: DataConfig) -> dict[Channel, FileVariable]:
    """Return a variable of the files of the truth for each channel."""
    read = partial(file_variables, anomalies=data.anomalies)
    found: dict[Channel, FileVariable] = {}
    for variables in source_variables(data.sources, "truth", read).values():
        for variable in variables:
            chosen = data.variables is None or variable.variable in data.variables
            kept = (data.variables or {}).get(variable.variable)
            for level in variable.levels or (None,) if chosen else ():
                if level is None or kept is None or level in kept:
                    found.setdefault(Channel(variable.variable, level), variable)
    return found


def _wanted(
    names: Sequence[str], there: Mapping[Channel, Any], truth: Mapping[Channel, Any]
) -> set[Channel]:
    """Return the channels with these names; all without names.

    Raises
    ------
    DataError
        If the forecasts or the truth lack one.
    """
    if not names:
        return {*there, *truth}
    both = {channel.name: channel for channel in there if channel in truth}
    for name in names:
        if name not in both:
            raise DataError(
                f"--channel: {name} is not in both forecasts and truth; allowed: "
                f"{', '.join(both) or 'none'}"
            )
    return {both[name] for name in names}


def _problems(channel: Channel, ours: FileVariable, theirs: FileVariable) -> list[str]:
    """Describe why a channel cannot be used, or how forecasts and truth of it differ."""
    found = [
        f"{side}: {_advice(variable.problem)}"
        for side, variable in (("forecasts", ours), ("truth", theirs))
        if variable.problem
    ]
    kinds = [variable.attrs.get("anomalies") for variable in (ours, theirs)]
    units = [variable.attrs["units"] for variable in (ours, theirs)]
    if kinds[0] != kinds[1]:
        found.append(
            f"{channel.name}: one of forecasts and truth holds anomalies, the other full values; "
            "convert one, or name other channels with --channel"
        )
    if channel.variable not in QUANTITIES and units[0] != units[1]:
        found.append(
            f"{channel.name}: the unit is {units[0]!r} in the forecasts and {units[1]!r} in the "
            "truth; convert one, or name other channels with --channel"
        )
    return found


def _advice(problem: str) -> str:
    """Return a problem of a file or a note with the command's options in place of keys."""
    for key, option in (
        (r"set forecast\.units: \{(\w+): \.\.\.\}", r"give --units \1=UNIT (or --units era5)"),
        (r"forecast\.rename: \{(\w+): \.\.\.\}", r"--rename \1=ERA5_NAME"),
        (r"set forecast\.fill: value", "write the forecasts again with NaN as the fill value"),
        (
            r"set forecast\.select: \{(\w+): \.\.\.\} to the entry that shall be read",
            r"select one entry of \1 and write the forecasts again",
        ),
        (r"by naming others in data\.variables", "by naming others with --channel"),
    ):
        problem = re.sub(key, option, problem)
    return problem


def _check_grid(fields: Fields, forecasts: ForecastSource) -> None:
    for name in ("latitude", "longitude"):
        ours, theirs = getattr(forecasts, name), getattr(fields.grid, name)
        if not same_coordinates(ours, theirs):
            raise DataError(
                f"forecasts and truth have different {name}s: {format_extent(ours)} and "
                f"{format_extent(theirs)}; interpolate one to the grid of the other, for example "
                "with cdo remapbil, or select the same region (data.region of an experiment file "
                "given as TRUTH)"
            )


def _known(fields: Fields, forecasts: ForecastSource) -> np.ndarray:
    """Return which pairs have a truth: bool, shape (starts, leads).

    Raises
    ------
    DataError
        If none has, or only one of both has monthly times.
    """
    monthly = in_months(fields.time)
    if monthly != (forecasts.leads.dtype.kind == "i"):
        kinds = "monthly", "not monthly"
        ours, theirs = kinds if not monthly else kinds[::-1]
        raise DataError(
            f"the forecasts are {ours} (unit of their leads), but the truth is {theirs}; give "
            "monthly means of both, with leads in months, or of neither"
        )
    known = np.isin(forecasts.valid, fields.time)
    if not known.any():
        step = f", step {step_of(fields.time)}" if len(fields.time) > 1 else ""
        raise DataError(
            f"no forecast is valid at a time of the truth: forecasts for "
            f"{format_minute(forecasts.valid.min())} to {format_minute(forecasts.valid.max())}, "
            f"truth from {format_minute(fields.time[0])} to {format_minute(fields.time[-1])}{step};"
            " give the truth of these times"
        )
    return np.asarray(known)


def _with_mask(fields: Fields, places: np.ndarray) -> Fields:
    """Return the fields with the mask at the ends of the verified times.

    Where an end has no value at all of a channel, the next time inwards that has takes its place.

    Parameters
    ----------
    fields : Fields
    places : ndarray of int
        Ascending positions of the verified times.
    """
    try:
        return fields.with_mask(int(places[0]), int(places[-1]))
    except MissingTimesError:
        ends = []
        for order in (places, places[::-1]):
            tried = (int(place) for place in order[:_TRIED])
            known = (place for place in tried if not fields.absent(place, place + 1).any())
            ends.append(next(known, None))
        first, last = ends
        if first is None or last is None:
            raise
        return fields.with_mask(first, last)


def _times_without_truth(fields: Fields, forecasts: ForecastSource, known: np.ndarray) -> list[str]:
    """Describe the pairs without truth, and initial times without an analysis."""
    missing = pairs_without_truth(known, forecasts.leads)
    notes = [missing] if missing else []
    absent = ~np.isin(forecasts.initial, fields.time)
    if absent.any():
        notes.append(
            f"no persistence: {absent.sum()} of {absent.size} initial times are not in the truth"
        )
    return notes


def pairs_without_truth(known: np.ndarray, leads: np.ndarray) -> str:
    """Describe the pairs of forecast and truth that are not scored.

    Parameters
    ----------
    known : ndarray of bool, shape (starts, leads)
        Whether each pair has a truth.
    leads : ndarray, shape (leads,)
        timedelta64, or numbers of months.

    Returns
    -------
    str
        Sentence without a full stop, empty if all pairs have a truth.
    """
    if known.all():
        return ""
    lost = [_lead(lead) for lead in leads[~known.any(axis=0)]]
    none = f"; none at {len(lost)} leads: {_shortened(lost)}" if lost else ""
    return f"{(~known).sum()} of {known.size} pairs have no truth and are not scored{none}"


def _lead(lead: np.timedelta64 | np.integer) -> str:
    if not isinstance(lead, np.timedelta64):
        return f"{lead} mo"
    return f"{lead / np.timedelta64(1, 'h'):g} h"


def _listed(channels: Iterable[Channel]) -> str:
    return _shortened([channel.name for channel in channels])


def _shortened(words: list[str]) -> str:
    rest = len(words) - _SHOWN
    return ", ".join(words[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
