"""Programs that forecast the temperature of a station a day ahead."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.states.harmonics import harmonics
from gfrnn.workflows.benchmarks.peers.gated_networks import GatedSettings, Windows, predict, train
from gfrnn.workflows.benchmarks.peers.program import (
    Program,
    Setting,
    best_setting,
    grid_of,
)
from gfrnn.workflows.cases.station.station_fit import (
    forecast_changes,
    lead_error,
    read_hours,
    starting,
    train_linear,
    train_network,
    validation_error,
    within,
)
from gfrnn.workflows.cases.station.station_model import StationRows, build_rows
from gfrnn.workflows.cases.station.station_settings import StationSettings
from gfrnn.workflows.cases.station_case import CASE
from gfrnn.workflows.reproduce.settings_file import load_settings

Array = NDArray[Any]

LEAD = "day"


class StationProgram(Program):
    """A method on the hours of a station; the option ``station`` names it.

    Forecasts are changes of the temperature in standard deviations, shape (hours,), NaN where there
    is none. All methods are scored on the test hours at which no predictor of the sampled network
    is missing.
    """

    def load(self) -> None:
        """Read the settings and the hours of the station."""
        name = self.options["station"]
        settings = load_settings(CASE, quick=self.quick).settings
        station = settings.stations[name]
        others = {each: None for each in type(station.leads).model_fields if each != LEAD}
        leads = station.leads.model_copy(update=others)
        self.station = station.model_copy(update={"leads": leads})
        self.networks = settings.networks
        self.hours = read_hours(name, station.data)
        self.rows = self.build()

    def build(self) -> StationRows:
        """Compute the predictors of the sampled network."""
        network, leads = self.station.network, self.station.leads
        return build_rows(self.hours.table, self.hours.train, network.predictors, leads.hours)

    @property
    def lead(self) -> int:
        """Lead in hours."""
        (lead,) = self.station.leads.hours
        return lead

    def score(self, forecast: Array) -> dict[str, float]:
        """Return the RMSE in the unit of the file, and the mean squared error scaled to 0..1.

        Raises
        ------
        ArithmeticError
            If a forecast is missing.
        """
        scored = self.hours.test & self.rows.usable
        if np.isnan(forecast[starting(scored, self.lead)]).any():
            raise ArithmeticError("a forecast of the test hours is missing")
        error = lead_error(self.rows, scored, forecast, 0)
        return {"nmse": 1e3 * error, "rmse": float(np.sqrt(error) * self.rows.extent)}


class OwnStation(StationProgram):
    """Mean of several sampled networks with the settings of the case, see ``gfrnn reproduce``."""

    def fit(self, setting: Setting, seed: int) -> Any:
        rows, count = self.build(), setting["networks"]
        return [
            train_network(rows, self.hours.train, self.station, seed * count + member)
            for member in range(count)
        ]

    def forecast(self, model: Any) -> Array:
        test = self.hours.test
        parts = [forecast_changes(self.rows, hidden, outer, test) for hidden, outer in model]
        return np.asarray(np.mean(parts, axis=0)[:, 0])


class NarrowStation(OwnStation):
    """One sampled network, as narrow as validation allows.

    The search takes the least of a few widths whose mean squared error on the validation periods,
    mean over seeds, is at most one percent above that of the width in the settings of the case.
    """

    def search(self) -> Setting:
        case = self.station.network.width
        tried = [case // 4, case // 2] if self.quick else [100, 150, 200, 300]

        def error(width: int) -> float:
            station = self._of_width(width)
            name, seeds = self.options["station"], range(1 if self.quick else 3)
            return float(np.mean([validation_error(name, station, LEAD, s) for s in seeds]))

        allowed = 1.01 * error(case)
        narrower = (width for width in tried if width < case)
        return {"width": next((width for width in narrower if error(width) <= allowed), case)}

    def fit(self, setting: Setting, seed: int) -> Any:
        rows = self.build()
        return [train_network(rows, self.hours.train, self._of_width(setting["width"]), seed)]

    def _of_width(self, width: int) -> StationSettings:
        network = self.station.network.model_copy(update={"width": width})
        return self.station.model_copy(update={"network": network})


class CalendarRidge(StationProgram):
    """Ridge regression on the last 24 hours and the calendar; its fit chooses the ridge."""

    def fit(self, setting: Setting, seed: int) -> Any:
        predictors = self.station.network.linear_predictors
        hours = self.hours
        rows = build_rows(hours.table, hours.train, predictors, self.station.leads.hours)
        periods = self.station.data.validation
        return rows, *train_linear(rows, hours.train, periods, predictors.history)

    def forecast(self, model: Any) -> Array:
        rows, hidden, outer = model
        return forecast_changes(rows, hidden, outer, self.hours.test)[:, 0]


class GatedStation(StationProgram):
    """A gated network on all variables and the calendar of the last hours.

    Options: ``cell``, "LSTM" or "GRU"; ``window``, number of hours that it sees.
    """

    def load(self) -> None:
        super().load()
        import torch

        torch.zeros(1).sum()  # the first operation loads kernels

    @cached_property
    def _series(self) -> Array:
        """Standardised variables and harmonics, shape (hours, inputs)."""
        table, train_hours = self.hours.table, self.hours.table[self.hours.train]
        scaled = (table - train_hours.mean()) / train_hours.std(ddof=0)
        waves = harmonics(self.rows.time.to_numpy(), 1, 2)[:, 1:]
        return np.concatenate([scaled.to_numpy(), waves], axis=1)

    @property
    def _window(self) -> int:
        return int(self.options["window"])

    @cached_property
    def _known(self) -> Array:
        """Whether no value is missing in the window of an hour, shape (hours,)."""
        missing = np.cumsum(np.concatenate([[0], np.isnan(self._series).any(axis=1)]))
        window = self._window
        known = np.zeros(len(self._series), dtype=bool)
        known[window - 1 :] = missing[window:] == missing[:-window]
        return known

    def _windows(self, places: Array) -> Windows:
        back = np.arange(self._window - 1, -1, -1)
        targets = self.rows.targets[places][:, :, None]
        later = np.zeros((len(places), 1, self._series.shape[1] - 1))
        return Windows(self._series[places[:, None] - back], targets, later)

    def _places(self, inside: Array) -> Array:
        """Return the hours inside with a whole window and a target inside."""
        known = self._known & np.isfinite(self.rows.targets[:, 0])
        return np.flatnonzero(starting(inside, self.lead) & known)

    def _network(self, setting: Setting) -> GatedSettings:
        network = GatedSettings(self.options["cell"], batch=256, patience=3, **setting)
        return replace(network, epochs=min(network.epochs, 2 if self.quick else 20))

    def search(self) -> Setting:
        held_out = np.zeros(len(self._series), dtype=bool)
        near = held_out.copy()
        for period in self.station.data.validation:
            inside = within(self.rows.time, period)
            held_out |= inside
            first, last = np.flatnonzero(inside)[[0, -1]]
            near[max(first - self.lead, 0) : last + 1 + self._window] = True
        validation = self._windows(self._places(held_out & self.hours.train))
        # Neighbouring hours are alike: every second one is enough to compare settings.
        windows = self._windows(self._places(self.hours.train & ~near)[::2])

        def trial(setting: Setting) -> dict[str, Any]:
            _, epochs, error = train(self._network(setting), windows, 0, validation)
            # With all hours, an epoch has twice as many steps.
            return {"error": error, "epochs": max(1, round(epochs / 2))}

        settings = grid_of(hidden=[32, 64, 96], dropout=[0.0, 0.3])
        return best_setting(settings[:2] if self.quick else settings, trial)

    def fit(self, setting: Setting, seed: int) -> Any:
        windows = self._windows(self._places(self.hours.train))
        return train(self._network(setting), windows, seed)[0]

    def forecast(self, model: Any) -> Array:
        places = np.flatnonzero(self.hours.test & self._known)
        found = np.full(len(self._series), np.nan)
        found[places] = predict(model, self._windows(places))[:, 0, 0]
        return found
