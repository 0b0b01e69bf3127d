"""Forecasts of a station's temperature by networks, linear models and simple references."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.workflows.cases.station.station_files import TEMPERATURE
from gfrnn.workflows.cases.station.station_fit import (
    StationHours,
    forecast_changes,
    lead_error,
    train_linear,
    train_network,
)
from gfrnn.workflows.cases.station.station_model import StationRows, build_rows, climatology
from gfrnn.workflows.cases.station.station_settings import StationSettings
from gfrnn.workflows.reproduce.timing import timed

Array = NDArray[Any]

NETWORK_MEAN = "sampled network, mean of several"
ONE_NETWORK = "sampled network"
RIDGE_CALENDAR = "ridge on 24 lags and the calendar"
RIDGE = "ridge on 24 lags"
LEAST_SQUARES = "least squares on the present"
CLIMATOLOGY = "climatology"
PERSISTENCE = "persistence"

# Harmonics of the year and of the day. From a single year a second annual one is not determined.
_CLIMATOLOGY_HARMONICS = {"wth": (2, 4), "jena": (1, 4)}


@dataclass(frozen=True)
class MethodForecast:
    """Forecasts of one method at the test hours of a station.

    Attributes
    ----------
    changes : ndarray, shape (hours, leads)
        Forecast changes of the temperature, in standard deviations.
    seconds : float
        Training time.
    """

    changes: Array
    seconds: float


@dataclass(frozen=True)
class StationForecasts:
    """Forecasts of all methods for one station.

    Attributes
    ----------
    name : str
        Key of ``ARCHIVES``.
    station : StationSettings
    hours : StationHours
    rows : StationRows
    trials : dict of str to list of MethodForecast
        One forecast for each seed, by name of the method.
    """

    name: str
    station: StationSettings
    hours: StationHours
    rows: StationRows
    trials: dict[str, list[MethodForecast]]

    def errors(self, method: str) -> dict[str, list[float]]:
        """Return the normalised errors of a method by key of the score."""
        return {
            f"{self.name}-{lead}": [
                lead_error(self.rows, self.hours.test, trial.changes[:, column], column)
                for trial in self.trials[method]
            ]
            for column, lead in enumerate(self.station.leads.named)
        }


def forecast_station(
    name: str,
    station: StationSettings,
    hours: StationHours,
    networks: int,
    seeds: Sequence[int],
    step: Callable[[], None],
) -> StationForecasts:
    """Train all methods and forecast from the test hours.

    Parameters
    ----------
    name : str
        Key of ``ARCHIVES``.
    station : StationSettings
    hours : StationHours
    networks : int
        Number of networks whose mean is taken; each seed has its own.
    seeds : sequence of int
    step : callable
        Called after each network.
    """
    predictors, leads = station.network.predictors, station.leads.hours
    rows, building = timed(partial(build_rows, hours.table, hours.train, predictors, leads))
    several, single = [], []
    for seed in seeds:
        parts: list[MethodForecast] = []
        for member in range(networks):
            own_seed = seed * networks + member
            train = partial(train_network, rows, hours.train, station, own_seed)
            (hidden, outer), seconds = timed(train)
            found = forecast_changes(rows, hidden, outer, hours.test)
            parts.append(MethodForecast(found, seconds))
            step()
        mean = np.mean([part.changes for part in parts], axis=0)
        several.append(MethodForecast(mean, building + sum(part.seconds for part in parts)))
        single.append(MethodForecast(parts[0].changes, building + parts[0].seconds))
    trials = {
        NETWORK_MEAN: several,
        ONE_NETWORK: single,
        RIDGE_CALENDAR: [_ridge(station, hours, calendar=True)],
        RIDGE: [_ridge(station, hours, calendar=False)],
        LEAST_SQUARES: [_least_squares(rows, hours)],
        CLIMATOLOGY: [_climatology(name, rows, hours)],
        PERSISTENCE: [MethodForecast(np.zeros_like(rows.targets), 0.0)],
    }
    return StationForecasts(name, station, hours, rows, trials)


def _ridge(station: StationSettings, hours: StationHours, *, calendar: bool) -> MethodForecast:
    predictors = station.network.linear_predictors
    predictors = predictors if calendar else replace(predictors, annual=0, diurnal=0)

    def train() -> tuple[StationRows, Any, Array]:
        rows = build_rows(hours.table, hours.train, predictors, station.leads.hours)
        fitted = train_linear(rows, hours.train, station.data.validation, predictors.history)
        return (rows, *fitted)

    (rows, hidden, outer), seconds = timed(train)
    return MethodForecast(forecast_changes(rows, hidden, outer, hours.test), seconds)


def _least_squares(rows: StationRows, hours: StationHours) -> MethodForecast:
    """Forecast by least squares on the present values of all variables, without the calendar."""
    size = hours.table.shape[1]
    design = np.concatenate([rows.states[:, :size], np.ones((len(rows.states), 1))], axis=1)

    def train() -> Array:
        found: list[Array] = []
        for targets in rows.targets.T:
            known = hours.train & np.isfinite(targets) & np.isfinite(design).all(axis=1)
            # Targets of training must not be in the test period.
            lead = rows.leads[len(found)]
            known &= np.append(hours.train[lead:], np.zeros(lead, dtype=bool))
            found.append(np.linalg.lstsq(design[known], targets[known], rcond=None)[0])
        return np.stack(found, axis=1)

    weights, seconds = timed(train)
    return MethodForecast(design @ weights, seconds)


def _climatology(name: str, rows: StationRows, hours: StationHours) -> MethodForecast:
    """Forecast the climatology of the target's time, as a change from the present."""
    temperature = hours.table[TEMPERATURE].to_numpy()
    train = partial(climatology, rows, temperature, hours.train, *_CLIMATOLOGY_HARMONICS[name])
    normal, seconds = timed(train)
    found = np.full(rows.targets.shape, np.nan)
    for column, lead in enumerate(rows.leads):
        found[:-lead, column] = (normal[lead:] - temperature[:-lead]) / rows.deviation
    return MethodForecast(found, seconds)
