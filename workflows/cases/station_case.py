"""Temperature of one station from an hour to a week ahead, from past values."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from pydantic import PositiveInt

from gfrnn.pipeline.config.section import Section
from gfrnn.pipeline.reduction.progress import Progress
from gfrnn.workflows.cases.shared.step_progress import step_progress
from gfrnn.workflows.cases.station.station_figure import caption, draw
from gfrnn.workflows.cases.station.station_files import ARCHIVES
from gfrnn.workflows.cases.station.station_fit import read_hours, validation_error
from gfrnn.workflows.cases.station.station_methods import (
    CLIMATOLOGY,
    LEAST_SQUARES,
    NETWORK_MEAN,
    ONE_NETWORK,
    PERSISTENCE,
    RIDGE,
    RIDGE_CALENDAR,
    StationForecasts,
    forecast_station,
)
from gfrnn.workflows.cases.station.station_settings import StationSettings
from gfrnn.workflows.reproduce.case import Case, Validation
from gfrnn.workflows.reproduce.case_result import Bar, CaseResult, Entry, Kind, Score

LEAD_LABELS = {"hour": "1 h", "day": "24 h", "two_days": "48 h", "week": "168 h"}

BARS = {"hour": 3.99e-4, "day": 2.56e-3, "two_days": 4.9e-3}
_NETWORK_SOURCE = "Measured for this project on the same hours: one network of 1,500 features."
_RIDGE_SOURCE = (
    "Below ridge on 24 lags of 9 variables, measured for this project on the same hours: 5.28e-3."
)

_TRAINED = (NETWORK_MEAN, ONE_NETWORK, RIDGE_CALENDAR, RIDGE, LEAST_SQUARES, CLIMATOLOGY)


class StationCaseSettings(Section):
    """Settings of the case: number of networks whose mean is taken, and the stations."""

    networks: PositiveInt
    wth: StationSettings
    jena: StationSettings | None

    @property
    def stations(self) -> dict[str, StationSettings]:
        """Settings of the stations that are not null, by name."""
        return {"wth": self.wth} | ({} if self.jena is None else {"jena": self.jena})


def run(settings: StationCaseSettings, seeds: Sequence[int], progress: Progress) -> CaseResult:
    """Train and score all methods on the test hours of each station."""
    # Missing files are found before the work starts.
    hours = {name: read_hours(name, station.data) for name, station in settings.stations.items()}
    step = step_progress(progress, "networks", len(hours) * len(seeds) * settings.networks)
    forecasts = [
        forecast_station(name, station, hours[name], settings.networks, seeds, step)
        for name, station in settings.stations.items()
    ]
    entries = []
    for method in (*_TRAINED, PERSISTENCE):
        scores = {key: found for each in forecasts for key, found in each.errors(method).items()}
        seconds = np.sum([[one.seconds for one in each.trials[method]] for each in forecasts], 0)
        training = list(map(float, seconds)) if method in _TRAINED else None
        kind: Kind = "ours" if method in (NETWORK_MEAN, ONE_NETWORK) else "reference"
        entries.append(Entry(method, kind, scores, training))
    return CaseResult(
        title="Temperature of one station, from past values",
        description=_description(settings, forecasts),
        scores=[
            Score(f"{each.name}-{lead}", f"{ARCHIVES[each.name].title}, {LEAD_LABELS[lead]}")
            for each in forecasts
            for lead in each.station.leads.named
        ],
        entries=entries,
        draw=partial(draw, forecasts[0], entries),
        caption=caption(forecasts[0]),
        bars=[
            Bar(
                f"wth-{lead}",
                NETWORK_MEAN,
                value=BARS[lead],
                strict=True,
                text=_RIDGE_SOURCE if lead == "two_days" else _NETWORK_SOURCE,
            )
            for lead in settings.wth.leads.named
            if lead in BARS
        ],
        notes=_notes(settings, forecasts),
    )


def _description(
    settings: StationCaseSettings, forecasts: Sequence[StationForecasts]
) -> tuple[str, ...]:
    network = settings.wth.network
    periods = "; ".join(
        f"{ARCHIVES[each.name].title}: training {each.station.data.train.start:%Y-%m-%d} to "
        f"{each.station.data.train.end:%Y-%m-%d} ({each.hours.train.sum()} hours), test "
        f"{each.station.data.test.start:%Y-%m-%d} to {each.station.data.test.end:%Y-%m-%d}"
        for each in forecasts
    )
    return (
        f"Hourly observations. {periods}. WTH is a station in the United States; Jena is one in "
        "Germany with ten-minute values, of which those at full hours are used.",
        "The error is the mean squared error of the temperature, scaled to 0..1 by the minimum and "
        "maximum of the training hours, over all test hours whose target is also a test hour.",
        f"The network gets {len(network.lags)} hours of the last {max(network.lags) + 1}, running "
        f"means of up to {max(network.means, default=0)} hours, and harmonics of the day and the "
        "year. Each lead has its own outer weights and is forecast directly. The scale of hidden "
        "weights differs between lags, running means and harmonics. Ridge and balance of hidden "
        "and linear features differ by lead. All of these settings were chosen on validation "
        "periods within the training hours, with fits that do not use them.",
    )


def _notes(settings: StationCaseSettings, forecasts: Sequence[StationForecasts]) -> tuple[str, ...]:
    notes = [
        f"{NETWORK_MEAN.capitalize()}: {settings.networks} networks. Its training time is that of "
        "all of them; training times are sums over the stations.",
        f"{RIDGE_CALENDAR.capitalize()}: the network of width 0 with all of the last 24 hours; "
        "each lead has the best ridge on the validation periods.",
        f"{CLIMATOLOGY.capitalize()}: products of annual and diurnal harmonics.",
    ]
    if settings.jena is not None:
        notes.append(
            "The file of Jena covers one year, so the season of its test is not in the training "
            "hours; its climatology extrapolates the harmonics of the months before."
        )
    missing = {
        ARCHIVES[each.name].title: int((~each.rows.usable & each.hours.test).sum())
        for each in forecasts
    }
    notes += [
        f"{title}: {count} test hours have no forecast because predictors are missing."
        for title, count in missing.items()
        if count
    ]
    return tuple(notes)


def _lead_validation(name: str, lead: str) -> Validation[StationCaseSettings]:
    """Return the validation of the settings of one lead of a station."""

    def measure(settings: StationCaseSettings, seed: int) -> float:
        station = settings.stations.get(name)
        if station is None or lead not in station.leads.named:
            return float("nan")
        return validation_error(name, station, lead, seed)

    title = f"{ARCHIVES[name].title}, {LEAD_LABELS[lead]}"
    return Validation(Score("error", f"normalised error, {title}"), measure)


def _network_validation(name: str) -> Validation[StationCaseSettings]:
    """Return the validation of settings that all leads of a station share.

    Its score is the geometric mean over leads, which weights relative changes alike.
    """

    def measure(settings: StationCaseSettings, seed: int) -> float:
        station = settings.stations.get(name)
        if station is None:
            return float("nan")
        found = [validation_error(name, station, lead, seed) for lead in station.leads.named]
        return float(np.exp(np.mean(np.log(found))))

    title = f"{ARCHIVES[name].title}, geometric mean over leads"
    return Validation(Score("error", f"normalised error, {title}"), measure)


CASE = Case(
    name="station",
    summary="Temperature of one station from an hour to a week ahead, from past values",
    settings=StationCaseSettings,
    run=run,
    validations={f"{name}-network": _network_validation(name) for name in ARCHIVES}
    | {f"{name}-{lead}": _lead_validation(name, lead) for name in ARCHIVES for lead in LEAD_LABELS},
)
