"""Figure of the station case: two weeks of forecasts, and errors against lead."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.dates as mdates
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gfrnn.workflows.cases.station.station_files import ARCHIVES, TEMPERATURE
from gfrnn.workflows.cases.station.station_methods import (
    CLIMATOLOGY,
    NETWORK_MEAN,
    PERSISTENCE,
    RIDGE,
    RIDGE_CALENDAR,
    StationForecasts,
)
from gfrnn.workflows.reproduce.case_result import Entry
from gfrnn.workflows.reproduce.figure_style import STYLES, TRUTH

_METHODS = (NETWORK_MEAN, RIDGE_CALENDAR, RIDGE, CLIMATOLOGY, PERSISTENCE)
_HOURS = 14 * 24  # hours of the test period that are drawn


def draw(forecasts: StationForecasts, entries: Sequence[Entry], figure: Figure) -> None:
    """Draw forecasts of one station against time, and errors against lead.

    Parameters
    ----------
    forecasts : StationForecasts
    entries : sequence of Entry
        Scores of all methods.
    figure : Figure
        Empty figure.
    """
    series, growth = figure.subplots(1, 2, width_ratios=[3, 2])
    _draw_series(forecasts, series)
    title, leads = ARCHIVES[forecasts.name].title, forecasts.station.leads
    shown = [entry for entry in entries if entry.name in _METHODS]
    for entry, style in zip(shown, STYLES, strict=True):
        medians = [np.median(entry.values(f"{forecasts.name}-{lead}")) for lead in leads.named]
        growth.plot(leads.hours, medians, marker="o", markersize=3, label=entry.name, **style)
    growth.set(xscale="log", yscale="log", xlabel="lead (h)", ylabel="normalised error")
    growth.set_xticks(leads.hours, [str(lead) for lead in leads.hours])
    growth.minorticks_off()
    growth.set_title(f"{title}, error by lead")
    # The legend needs space above the curves.
    growth.set_ylim(top=10 * growth.get_ylim()[1])
    growth.legend(loc="upper left")


def _draw_series(forecasts: StationForecasts, axes: Axes) -> None:
    hours, rows = forecasts.hours, forecasts.rows
    column = min(1, len(rows.leads) - 1)
    lead = rows.leads[column]
    place = np.flatnonzero(hours.test)[:_HOURS]
    temperature = hours.table[TEMPERATURE].to_numpy()
    axes.plot(hours.time[place], temperature[place], label="truth", **TRUTH)
    for method, style in ((RIDGE_CALENDAR, STYLES[1]), (NETWORK_MEAN, STYLES[0])):
        found = forecasts.trials[method][0].changes
        ahead = place[lead:]
        values = temperature[ahead - lead] + found[ahead - lead, column] * rows.deviation
        axes.plot(hours.time[ahead], values, label=method, **(style | {"linewidth": 1.4}))
    axes.xaxis.set_major_formatter(mdates.ConciseDateFormatter(axes.xaxis.get_major_locator()))
    axes.set(ylabel=f"temperature ({ARCHIVES[forecasts.name].unit})")
    axes.set_title(f"{ARCHIVES[forecasts.name].title}, {lead} h ahead")
    axes.legend()


def caption(forecasts: StationForecasts) -> str:
    """Describe the figure of :func:`draw`."""
    title = ARCHIVES[forecasts.name].title
    return (
        f"Left: temperature at {title} in the first two weeks of the test period, and forecasts "
        "one day ahead by the mean of several networks and by ridge on 24 lags and the calendar. "
        f"Right: normalised error at {title} against lead, median over seeds; both axes are "
        "logarithmic."
    )
