"""Temperature of one station a day and a week ahead, from delays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import matplotlib.dates as mdates
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pydantic import PositiveInt

from gfrnn.pipeline.config.section import Section
from gfrnn.pipeline.reduction.progress import Progress, ProgressUpdate
from gfrnn.workflows.cases.station.station_files import ARCHIVES, TEMPERATURE
from gfrnn.workflows.cases.station.station_fit import (
    StationHours,
    StationSettings,
    changes,
    lead_error,
    read_hours,
    train_linear,
    train_network,
    validation_error,
)
from gfrnn.workflows.cases.station.station_model import StationRows, build_rows, climatology
from gfrnn.workflows.reproduce.case import Bar, Case, CaseResult, Entry, Score, Validation
from gfrnn.workflows.reproduce.figure_style import STYLES, TRUTH
from gfrnn.workflows.reproduce.timing import timed

Array = NDArray[Any]

OURS = "sampled network, mean of several"
SINGLE = "sampled network"
RIDGE = "ridge on 24 lags and the calendar"
PLAIN = "ridge on 24 lags"
PRESENT = "least squares on the present"
CLIMATOLOGY = "climatology"
PERSISTENCE = "persistence"

SPANS = {"hour": "1 h", "day": "24 h", "two_days": "48 h", "week": "168 h"}

BARS = {"hour": 3.99e-4, "day": 2.56e-3, "two_days": 4.9e-3}
_SOURCE = "measured for this project on the same hours: a single network of 1,500 features"
_GOAL = "below ridge on 24 lags of 9 variables, measured for this project: 5.28e-3"

# Harmonics of the climatology's year and day. A single year shows no second harmonic of itself.
_CLIMATOLOGY = {"wth": (2, 4), "jena": (1, 4)}
_CURVES = (OURS, RIDGE, PLAIN, CLIMATOLOGY, PERSISTENCE)
_SHOWN = 14 * 24  # hours of the test period in the figure


class StationCaseSettings(Section):
    """Settings of the case: how many networks are averaged, and one section a station."""

    networks: PositiveInt
    wth: StationSettings
    jena: StationSettings | None

    @property
    def stations(self) -> dict[str, StationSettings]:
        """Return the stations that are requested."""
        return {"wth": self.wth} | ({} if self.jena is None else {"jena": self.jena})


@dataclass(frozen=True)
class MethodForecast:
    """Forecasts of one method over the test hours of a station.

    Attributes
    ----------
    changes : ndarray, shape (hours, leads)
    seconds : float
        Of training.
    """

    changes: Array
    seconds: float


@dataclass(frozen=True)
class StationForecasts:
    """Forecasts of all methods for one station: by entry, one trial a seed."""

    name: str
    station: StationSettings
    hours: StationHours
    rows: StationRows
    trials: dict[str, list[MethodForecast]]

    def errors(self, entry: str) -> dict[str, list[float]]:
        """Normalised errors of an entry by the keys of the scores."""
        return {
            f"{self.name}-{lead}": [
                lead_error(self.rows, self.hours.test, trial.changes[:, column], column)
                for trial in self.trials[entry]
            ]
            for column, lead in enumerate(self.station.leads.named)
        }


def run(settings: StationCaseSettings, seeds: Sequence[int], progress: Progress) -> CaseResult:
    """Errors of every method on the test hours of each station."""
    # All files are found before work starts.
    hours = {name: read_hours(name, station.data) for name, station in settings.stations.items()}
    total = len(hours) * len(seeds) * settings.networks
    done = 0
    progress(ProgressUpdate("networks", done, total))
    outcomes = []
    for name, station in settings.stations.items():

        def step() -> None:
            nonlocal done
            done += 1
            progress(ProgressUpdate("networks", done, total))

        outcomes.append(_outcome(name, station, hours[name], settings.networks, seeds, step))
    kinds = {OURS: "ours", SINGLE: "ours"}
    trained = (OURS, SINGLE, RIDGE, PLAIN, PRESENT, CLIMATOLOGY)
    entries = []
    for entry in (*trained, PERSISTENCE):
        scores = {key: found for each in outcomes for key, found in each.errors(entry).items()}
        seconds = np.sum([[t.seconds for t in each.trials[entry]] for each in outcomes], axis=0)
        training = [float(each) for each in seconds] if entry in trained else None
        kind: Any = kinds.get(entry, "reference")
        entries.append(Entry(entry, kind, scores, training))
    return CaseResult(
        title="Temperature of one station, from delays",
        about=_about(settings, outcomes),
        scores=[
            Score(f"{each.name}-{lead}", f"{ARCHIVES[each.name].title}, {SPANS[lead]}")
            for each in outcomes
            for lead in each.station.leads.named
        ],
        entries=entries,
        draw=partial(_draw, outcomes, entries),
        caption=_caption(outcomes[0]),
        bars=[
            Bar(
                f"wth-{lead}",
                OURS,
                value=BARS[lead],
                strict=True,
                text=_GOAL if lead == "two_days" else _SOURCE,
            )
            for lead in settings.wth.leads.named
            if lead in BARS
        ],
        notes=_notes(settings, outcomes),
    )


def _outcome(
    name: str,
    station: StationSettings,
    hours: StationHours,
    networks: int,
    seeds: Sequence[int],
    step: Any,
) -> StationForecasts:
    predictors, leads = station.network.predictors, station.leads.hours
    rows, building = timed(partial(build_rows, hours.table, hours.train, predictors, leads))
    several, single = [], []
    for seed in seeds:
        parts: list[MethodForecast] = []
        for member in range(networks):
            # Every seed has networks of its own.
            drawn = seed * networks + member
            train = partial(train_network, rows, hours.train, station, drawn)
            (hidden, outer), seconds = timed(train)
            parts.append(MethodForecast(changes(rows, hidden, outer, hours.test), seconds))
            step()
        mean = np.mean([part.changes for part in parts], axis=0)
        several.append(MethodForecast(mean, building + sum(part.seconds for part in parts)))
        single.append(MethodForecast(parts[0].changes, building + parts[0].seconds))
    trials = {
        OURS: several,
        SINGLE: single,
        RIDGE: [_ridge(station, hours, calendar=True)],
        PLAIN: [_ridge(station, hours, calendar=False)],
        PRESENT: [_present(rows, hours)],
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
    return MethodForecast(changes(rows, hidden, outer, hours.test), seconds)


def _present(rows: StationRows, hours: StationHours) -> MethodForecast:
    """Least squares on the present values of all variables, without the calendar."""
    size = hours.table.shape[1]
    design = np.concatenate([rows.states[:, :size], np.ones((len(rows.states), 1))], axis=1)

    def train() -> Array:
        found: list[Array] = []
        for targets in rows.targets.T:
            known = hours.train & np.isfinite(targets) & np.isfinite(design).all(axis=1)
            # A training target may not lie in the test period.
            lead = rows.leads[len(found)]
            known &= np.append(hours.train[lead:], np.zeros(lead, dtype=bool))
            found.append(np.linalg.lstsq(design[known], targets[known], rcond=None)[0])
        return np.stack(found, axis=1)

    weights, seconds = timed(train)
    return MethodForecast(design @ weights, seconds)


def _climatology(name: str, rows: StationRows, hours: StationHours) -> MethodForecast:
    """The climatology of the target's time, as a change from the present."""
    temperature = hours.table[TEMPERATURE].to_numpy()
    train = partial(climatology, rows, temperature, hours.train, *_CLIMATOLOGY[name])
    usual, seconds = timed(train)
    found = np.full(rows.targets.shape, np.nan)
    for column, lead in enumerate(rows.leads):
        found[:-lead, column] = (usual[lead:] - temperature[:-lead]) / rows.spread
    return MethodForecast(found, seconds)


def _about(settings: StationCaseSettings, outcomes: Sequence[StationForecasts]) -> tuple[str, ...]:
    network = settings.wth.network
    periods = "; ".join(
        f"{ARCHIVES[each.name].title}: training {each.station.data.train.start:%Y-%m-%d} to "
        f"{each.station.data.train.end:%Y-%m-%d} ({each.hours.train.sum()} hours), test "
        f"{each.station.data.test.start:%Y-%m-%d} to {each.station.data.test.end:%Y-%m-%d}"
        for each in outcomes
    )
    return (
        f"Hourly observations. {periods}. WTH is a station in the United States, Jena one in "
        "Germany, of whose ten-minute values the full hours are taken.",
        "The mean squared error of the temperature, scaled to 0..1 by the least and greatest of "
        "the training hours, over all test hours whose target is a test hour too.",
        f"The network sees {len(network.lags)} hours of the last {max(network.lags) + 1}, running "
        f"means up to {max(network.means, default=0)} hours, the hour and the day of the year; "
        "each lead has outer weights of its own and is forecast directly. Older hours, running "
        "means and the calendar have hidden weights of other sizes. Ridge and the weight of "
        "hidden against linear features differ by lead. All of this was chosen on validation "
        "periods within the training hours, fitted without them.",
    )


def _notes(settings: StationCaseSettings, outcomes: Sequence[StationForecasts]) -> tuple[str, ...]:
    notes = [
        f"The mean of several is that of {settings.networks} networks, and its training time is "
        "theirs together; training times are those of all stations.",
        "Ridge: the network of width 0 on all of the last 24 hours, every lead with the best ridge "
        "on the validation periods. Least squares on the present: no calendar.",
        f"{CLIMATOLOGY.capitalize()}: harmonics of the year times harmonics of the day.",
    ]
    if settings.jena is not None:
        notes.append(
            "Jena has a single year, so the season of its test is in no training hour; the "
            "climatology goes on with the harmonics of the months before."
        )
    holes = {
        ARCHIVES[each.name].title: int((~each.rows.usable & each.hours.test).sum())
        for each in outcomes
    }
    notes += [
        f"{title}: {count} test hours are not forecast, as values they need are missing."
        for title, count in holes.items()
        if count
    ]
    return tuple(notes)


def _caption(outcome: StationForecasts) -> str:
    title = ARCHIVES[outcome.name].title
    return (
        f"Left: temperature at {title} in the first two weeks of the test period, and its "
        "forecasts of a day before by the mean of several networks and by ridge on 24 lags and the "
        f"calendar. Right: normalised error at {title} against lead, median over seeds; both axes "
        "are logarithmic."
    )


def _draw(outcomes: Sequence[StationForecasts], entries: Sequence[Entry], figure: Figure) -> None:
    course, growth = figure.subplots(1, 2, width_ratios=[3, 2])
    first = outcomes[0]
    _draw_course(first, course)
    leads = first.station.leads
    shown = [entry for entry in entries if entry.name in _CURVES]
    for entry, style in zip(shown, STYLES, strict=True):
        medians = [np.median(entry.values(f"{first.name}-{lead}")) for lead in leads.named]
        growth.plot(leads.hours, medians, marker="o", markersize=3, label=entry.name, **style)
    growth.set(xscale="log", yscale="log", xlabel="lead (h)", ylabel="normalised error")
    growth.set_xticks(leads.hours, [str(lead) for lead in leads.hours])
    growth.minorticks_off()
    growth.set_title(f"{ARCHIVES[first.name].title}, error by lead")
    # Room for the legend above the curves.
    growth.set_ylim(top=10 * growth.get_ylim()[1])
    growth.legend(loc="upper left")


def _draw_course(outcome: StationForecasts, axes: Any) -> None:
    hours, rows = outcome.hours, outcome.rows
    column = min(1, len(rows.leads) - 1)
    lead = rows.leads[column]
    place = np.flatnonzero(hours.test)[:_SHOWN]
    temperature = hours.table[TEMPERATURE].to_numpy()
    axes.plot(hours.time[place], temperature[place], label="truth", **TRUTH)
    for entry, style in ((RIDGE, STYLES[1]), (OURS, STYLES[0])):
        found = outcome.trials[entry][0].changes
        ahead = place[lead:]
        values = temperature[ahead - lead] + found[ahead - lead, column] * rows.spread
        axes.plot(hours.time[ahead], values, label=entry, **(style | {"linewidth": 1.4}))
    axes.xaxis.set_major_formatter(mdates.ConciseDateFormatter(axes.xaxis.get_major_locator()))
    axes.set(ylabel=f"temperature ({ARCHIVES[outcome.name].unit})")
    axes.set_title(f"{ARCHIVES[outcome.name].title}, {lead} h ahead")
    axes.legend()


def _validation(name: str, lead: str) -> Validation[StationCaseSettings]:
    def measure(settings: StationCaseSettings, seed: int) -> float:
        station = settings.stations.get(name)
        if station is None or lead not in station.leads.named:
            return float("nan")
        return validation_error(name, station, lead, seed)

    title = f"{ARCHIVES[name].title}, {SPANS[lead]}"
    return Validation(Score("error", f"normalised error, {title}"), measure)


def _together(name: str) -> Validation[StationCaseSettings]:
    """The geometric mean over leads, so that each counts by its relative change."""

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
    summary="Temperature of one station a day and a week ahead, from delays",
    settings=StationCaseSettings,
    run=run,
    validations={f"{name}-network": _together(name) for name in ARCHIVES}
    | {f"{name}-{lead}": _validation(name, lead) for name in ARCHIVES for lead in SPANS},
)
