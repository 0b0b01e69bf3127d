"""Settings of a station, and networks trained on it: on all training hours, or on folds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from gfrnn.pipeline.config.section import Period, Section
from gfrnn.pipeline.errors import ConfigError
from gfrnn.workflows.cases.station.station_files import read_station
from gfrnn.workflows.cases.station.station_model import (
    StationPredictors,
    StationRows,
    balanced_path,
    build_rows,
    factorise,
    forecast,
    hidden_layer,
    solve,
)
from gfrnn_core import RFactor, RidgePath
from gfrnn_core.sampling import HiddenWeights

Array = NDArray[Any]

RIDGES = 10.0 ** np.arange(-6, 0.01, 0.25)
"""Tried for the linear model, which takes the best of each lead on the validation periods."""

DAY = 24


class StationData(Section):
    """The file of a station, and which hours are for what."""

    path: str
    train: Period
    validation: tuple[Period, ...] = Field(min_length=1)
    test: Period


class StationNetwork(Section):
    """Settings of the inputs and of the hidden layer, see :class:`View`."""

    width: PositiveInt
    scale: PositiveFloat
    lags: tuple[NonNegativeInt, ...] = Field(min_length=1)
    means: tuple[PositiveInt, ...]
    decay: NonNegativeFloat
    mean_weight: NonNegativeFloat
    calendar_weight: NonNegativeFloat
    annual: NonNegativeInt
    diurnal: NonNegativeInt

    @property
    def predictors(self) -> StationPredictors:
        """All but the hidden layer."""
        return StationPredictors(**self.model_dump(exclude={"width", "scale"}))

    @property
    def linear_predictors(self) -> StationPredictors:
        """The last 24 hours and the same calendar: what the linear model sees."""
        return StationPredictors(tuple(range(DAY)), (), annual=self.annual, diurnal=self.diurnal)


class LeadSettings(Section):
    """A lead in hours, and how its outer weights are held back.

    Attributes
    ----------
    ridge : float
        Relative to the largest singular value.
    balance : float
        What hidden features are multiplied by before the ridge weighs all features alike.
    """

    hours: PositiveInt
    ridge: PositiveFloat
    balance: PositiveFloat


class StationLeads(Section):
    """The leads there are; one that is left out is not forecast."""

    hour: LeadSettings | None = None
    day: LeadSettings | None = None
    two_days: LeadSettings | None = None
    week: LeadSettings | None = None

    @property
    def named(self) -> dict[str, LeadSettings]:
        """Settings of the leads that are forecast, by name."""
        every = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: lead for name, lead in every.items() if lead is not None}

    @property
    def hours(self) -> tuple[int, ...]:
        """Leads that are forecast, in hours."""
        return tuple(lead.hours for lead in self.named.values())

    @property
    def ridges(self) -> list[float]:
        """One a lead."""
        return [lead.ridge for lead in self.named.values()]

    @property
    def balances(self) -> list[float]:
        """One a lead."""
        return [lead.balance for lead in self.named.values()]


class StationSettings(Section):
    """A station: its data, its network, its leads."""

    data: StationData
    network: StationNetwork
    leads: StationLeads


@dataclass(frozen=True)
class StationHours:
    """The table of a station, and which of its hours are for what.

    Attributes
    ----------
    table : DataFrame
        Hourly values.
    train, test : ndarray of bool, shape (hours,)
    """

    table: pd.DataFrame
    train: Array
    test: Array

    @property
    def time(self) -> pd.DatetimeIndex:
        """Times of the rows of the table."""
        return pd.DatetimeIndex(self.table.index)


@lru_cache(maxsize=4)
def read_hours(name: str, data: StationData) -> StationHours:
    """Read a station's file.

    Raises
    ------
    DataError
        If the file is not there or cannot be used.
    ConfigError
        If a period holds no hour of the file, or the test period begins before training ends.
    """
    table = read_station(name, data.path, f"{name}.data.path")
    time = pd.DatetimeIndex(table.index)
    periods = {"train": data.train, "test": data.test}
    periods |= {f"validation.{i}": period for i, period in enumerate(data.validation)}
    for key, period in periods.items():
        if not within(time, period).any():
            raise ConfigError(
                f"{name}.data.{key}: no hour from {period.start} to {period.end}; the file "
                f"holds {time[0]} to {time[-1]}"
            )
    if data.test.start <= data.train.end:
        raise ConfigError(
            f"{name}.data.test: begins at {data.test.start}, but training ends at "
            f"{data.train.end}; test hours must come after it"
        )
    return StationHours(table, within(time, data.train), within(time, data.test))


def within(time: pd.DatetimeIndex, period: Period) -> Array:
    """Which times are in a period."""
    return np.asarray((time >= period.start) & (time <= period.end))


def starting(inside: Array, lead: int) -> Array:
    """Which hours are inside together with the hour ``lead`` later."""
    later = np.zeros_like(inside)
    later[:-lead] = inside[lead:]
    return np.asarray(inside & later)


def held_out(
    rows: StationRows, train: Array, periods: Sequence[Period], history: int
) -> Iterator[tuple[Array, Array]]:
    """For each validation period the hours to fit on, and its own hours.

    A row is left out of the fit where its history or one of its targets touches the period.
    """
    fit = starting(train, max(rows.leads))
    before, after = pd.Timedelta(hours=max(rows.leads)), pd.Timedelta(hours=history)
    for period in periods:
        near = (rows.time >= period.start - before) & (rows.time <= period.end + after)
        yield fit & ~np.asarray(near), within(rows.time, period) & train


def lead_error(rows: StationRows, inside: Array, changes: Array, column: int) -> float:
    """Normalised mean squared error at one lead, start and target both inside.

    Parameters
    ----------
    rows : Rows
    inside : ndarray of bool, shape (hours,)
    changes : ndarray, shape (hours,)
        Forecast change of the temperature; NaN where there is none.
    column : int
        Of the lead.
    """
    errors = (changes - rows.targets[:, column])[starting(inside, rows.leads[column])]
    known = np.isfinite(errors)
    return rows.normalised(errors[known]) if known.any() else float("nan")


def changes(rows: StationRows, hidden: HiddenWeights, outer: Array, inside: Array) -> Array:
    """Forecasts from the usable hours inside, NaN elsewhere: shape (hours, leads)."""
    found = np.full(rows.targets.shape, np.nan)
    places = np.flatnonzero(inside & rows.usable)
    found[places] = forecast(rows, hidden, outer, places)
    return found


def train_network(
    rows: StationRows, train: Array, station: StationSettings, seed: int
) -> tuple[HiddenWeights, Array]:
    """Hidden and outer weights from all training hours."""
    network = station.network
    hidden = hidden_layer(rows, network.width, network.scale, seed)
    factor = factorise(rows, hidden, starting(train, max(rows.leads)))
    outer = solve(factor, network.width, station.leads.ridges, station.leads.balances)
    return hidden, outer


def train_linear(
    rows: StationRows, train: Array, periods: Sequence[Period], history: int
) -> tuple[HiddenWeights, Array]:
    """The network of width 0, each lead with its best ridge on the validation periods."""
    hidden = hidden_layer(rows, 0, 1.0, 0)
    leads = len(rows.leads)
    errors = np.zeros((len(RIDGES), leads))
    for fit, fold in held_out(rows, train, periods, history):
        path = balanced_path(factorise(rows, hidden, fit), 0, leads, 1.0)
        for place, ridge in enumerate(RIDGES):
            found = changes(rows, hidden, path.weights(np.full(leads, ridge)), fold)
            errors[place] += [lead_error(rows, fold, found[:, k], k) for k in range(leads)]
    best = RIDGES[errors.argmin(axis=0)]
    factor = factorise(rows, hidden, starting(train, max(rows.leads)))
    return hidden, solve(factor, 0, list(best), [1.0] * leads)


@dataclass(frozen=True)
class StationFold:
    """The triangle of the rows that do not touch a validation period, and that period's hours."""

    rows: StationRows
    hidden: HiddenWeights
    factor: RFactor
    inside: Array


@lru_cache(maxsize=2)
def _folds(
    name: str, data: StationData, network: StationNetwork, leads: tuple[int, ...], seed: int
) -> list[StationFold]:
    hours = read_hours(name, data)
    rows = build_rows(hours.table, hours.train, network.predictors, leads)
    hidden = hidden_layer(rows, network.width, network.scale, seed)
    return [
        StationFold(rows, hidden, factorise(rows, hidden, fit), fold)
        for fit, fold in held_out(rows, hours.train, data.validation, network.predictors.history)
    ]


@lru_cache(maxsize=2)
def _paths(
    name: str,
    data: StationData,
    network: StationNetwork,
    leads: tuple[int, ...],
    seed: int,
    balance: float,
) -> list[RidgePath]:
    folds = _folds(name, data, network, leads, seed)
    return [balanced_path(fold.factor, network.width, len(leads), balance) for fold in folds]


def validation_error(name: str, station: StationSettings, lead: str, seed: int) -> float:
    """Normalised mean squared error of one network at one lead, mean over validation periods.

    Triangles and their decompositions are kept, so that other ridges of the same network cost
    little.
    """
    wanted = station.leads.named[lead]
    column = list(station.leads.named).index(lead)
    where = (name, station.data, station.network, station.leads.hours, seed)
    errors = []
    for fold, path in zip(_folds(*where), _paths(*where, wanted.balance), strict=True):
        outer = path.weights(np.full(len(fold.rows.leads), wanted.ridge))
        outer[len(outer) - station.network.width :] *= wanted.balance
        found = changes(fold.rows, fold.hidden, outer, fold.inside)
        errors.append(lead_error(fold.rows, fold.inside, found[:, column], column))
    return float(np.mean(errors))
