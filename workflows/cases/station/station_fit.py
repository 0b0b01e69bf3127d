"""Fit of networks to a station: on all training hours, or without validation periods."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gfrnn.pipeline.config.section import Period
from gfrnn.pipeline.errors import ConfigError
from gfrnn.workflows.cases.station.station_files import read_station
from gfrnn.workflows.cases.station.station_model import (
    StationRows,
    balanced_path,
    build_rows,
    factorise,
    forecast,
    hidden_layer,
    solve,
)
from gfrnn.workflows.cases.station.station_settings import (
    StationData,
    StationNetwork,
    StationSettings,
)
from gfrnn_core import RFactor, RidgePath
from gfrnn_core.sampling import HiddenWeights

Array = NDArray[Any]

RIDGES = 10.0 ** np.arange(-6, 0.01, 0.25)
"""Ridges that are tried for the linear model at each lead on the validation periods."""


@dataclass(frozen=True)
class StationHours:
    """Hourly values of a station, with masks of the training and test hours.

    Attributes
    ----------
    table : DataFrame
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
    """Read a station's file and find its training and test hours.

    Raises
    ------
    DataError
        If the file does not exist or cannot be used.
    ConfigError
        If the file has no hour of a period, or the test period begins before training ends.
    """
    table = read_station(name, data.path, f"{name}.data.path")
    time = pd.DatetimeIndex(table.index)
    periods = {"train": data.train, "test": data.test}
    periods |= {f"validation.{i}": period for i, period in enumerate(data.validation)}
    for key, period in periods.items():
        if not within(time, period).any():
            raise ConfigError(
                f"{name}.data.{key}: no hour from {period.start} to {period.end}; the file "
                f"holds {time[0]} to {time[-1]}, so choose a period of these"
            )
    if data.test.start <= data.train.end:
        raise ConfigError(
            f"{name}.data.test: begins at {data.test.start}, but training ends at "
            f"{data.train.end}; test hours must come after it"
        )
    return StationHours(table, within(time, data.train), within(time, data.test))


def within(time: pd.DatetimeIndex, period: Period) -> Array:
    """Return which times are in a period."""
    return np.asarray((time >= period.start) & (time <= period.end))


def starting(inside: Array, lead: int) -> Array:
    """Return which hours are inside together with the hour ``lead`` later."""
    later = np.zeros_like(inside)
    later[:-lead] = inside[lead:]
    return np.asarray(inside & later)


def held_out(
    rows: StationRows, train: Array, periods: Sequence[Period], history: int
) -> Iterator[tuple[Array, Array]]:
    """Yield the hours to fit on and the hours to validate on, for each validation period.

    A row is not used in the fit if its history or one of its targets is in the period.

    Parameters
    ----------
    rows : StationRows
    train : ndarray of bool, shape (hours,)
        Training hours.
    periods : sequence of Period
        Validation periods.
    history : int
        Number of hours before the present that a row needs.
    """
    fit = starting(train, max(rows.leads))
    before, after = pd.Timedelta(hours=max(rows.leads)), pd.Timedelta(hours=history)
    for period in periods:
        near = (rows.time >= period.start - before) & (rows.time <= period.end + after)
        yield fit & ~np.asarray(near), within(rows.time, period) & train


def lead_error(rows: StationRows, inside: Array, changes: Array, column: int) -> float:
    """Return the normalised mean squared error at one lead, with start and target both inside.

    Parameters
    ----------
    rows : StationRows
    inside : ndarray of bool, shape (hours,)
    changes : ndarray, shape (hours,)
        Forecast changes of the temperature; NaN where there is no forecast.
    column : int
        Column of the lead in the targets.
    """
    errors = (changes - rows.targets[:, column])[starting(inside, rows.leads[column])]
    known = np.isfinite(errors)
    return rows.normalised(errors[known]) if known.any() else float("nan")


def forecast_changes(
    rows: StationRows, hidden: HiddenWeights, outer: Array, inside: Array
) -> Array:
    """Forecast changes from the usable hours inside, NaN elsewhere, shape (hours, leads)."""
    found = np.full(rows.targets.shape, np.nan)
    places = np.flatnonzero(inside & rows.usable)
    found[places] = forecast(rows, hidden, outer, places)
    return found


def train_network(
    rows: StationRows, train: Array, station: StationSettings, seed: int
) -> tuple[HiddenWeights, Array]:
    """Train a network on all training hours; return hidden and outer weights."""
    network = station.network
    hidden = hidden_layer(rows, network.width, network.scale, seed)
    factor = factorise(rows, hidden, starting(train, max(rows.leads)))
    outer = solve(factor, network.width, station.leads.ridges, station.leads.balances)
    return hidden, outer


def train_linear(
    rows: StationRows, train: Array, periods: Sequence[Period], history: int
) -> tuple[HiddenWeights, Array]:
    """Train a network of width 0, with the best ridge of each lead on the validation periods."""
    hidden = hidden_layer(rows, 0, 1.0, 0)
    leads = len(rows.leads)
    errors = np.zeros((len(RIDGES), leads))
    for fit, fold in held_out(rows, train, periods, history):
        path = balanced_path(factorise(rows, hidden, fit), 0, leads, 1.0)
        for place, ridge in enumerate(RIDGES):
            found = forecast_changes(rows, hidden, path.weights(np.full(leads, ridge)), fold)
            errors[place] += [lead_error(rows, fold, found[:, k], k) for k in range(leads)]
    best = RIDGES[errors.argmin(axis=0)]
    factor = factorise(rows, hidden, starting(train, max(rows.leads)))
    return hidden, solve(factor, 0, list(best), [1.0] * leads)


@dataclass(frozen=True)
class StationFold:
    """Fit without a validation period, before the choice of ridges.

    Attributes
    ----------
    rows : StationRows
    hidden : HiddenWeights
    factor : RFactor
        Triangle of the rows that do not overlap with the period.
    inside : ndarray of bool, shape (hours,)
        Hours of the period.
    """

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
    """Return the normalised error of a network at one lead, mean over validation periods.

    Triangles and their decompositions are cached, so that further ridges of the same network cost
    little.
    """
    chosen = station.leads.named[lead]
    column = list(station.leads.named).index(lead)
    where = (name, station.data, station.network, station.leads.hours, seed)
    errors = []
    for fold, path in zip(_folds(*where), _paths(*where, chosen.balance), strict=True):
        outer = path.weights(np.full(len(fold.rows.leads), chosen.ridge))
        outer[len(outer) - station.network.width :] *= chosen.balance
        found = forecast_changes(fold.rows, fold.hidden, outer, fold.inside)
        errors.append(lead_error(fold.rows, fold.inside, found[:, column], column))
    return float(np.mean(errors))
