"""Tables of scores by channel or index, system and lead: for a terminal, dashboard and report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from gfrnn.cluster import dashboard
from gfrnn.pipeline.data.grid import Channel
from gfrnn.workflows.report.labels import (
    difference,
    fixed,
    heading,
    lead_label,
    number,
    percent,
    table_number,
    unit_label,
)
from gfrnn.workflows.report.score_figures.score_change import SIGNIFICANT, ScoreChange, score_change

_TITLE = "RMSE, cos-latitude weighted"
_RATIO = "forecast / climatology"
_CHANGE = "forecast / linear, %"
_LEGEND = f"{_CHANGE}: change of RMSE; {SIGNIFICANT} the 95 % interval excludes 0"
_MOST_LEADS = 6

# Leads that publications usually give, in days and in months.
_USUAL_DAYS = (0.5, 1, 2, 3, 5, 10)
_USUAL_MONTHS = (1, 2, 3, 6, 9, 12)

Writer = Callable[[float], str]
"""Function that writes a number."""


class ChannelErrors(NamedTuple):
    """Errors of one channel at some leads.

    Attributes
    ----------
    channel, units : str
    rmse : dict of str to ndarray, shape (leads,)
        For each system: the forecasts and the references.
    change : ScoreChange
        Change against the linear model.
    """

    channel: str
    units: str
    rmse: dict[str, NDArray[Any]]
    change: ScoreChange

    @property
    def ratio(self) -> NDArray[Any]:
        """RMSE of the forecast relative to that of the climatology: shape (leads,)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(self.rmse["forecast"] / self.rmse["climatology"])


def channel_errors(scores: xr.Dataset, leads: Sequence[int]) -> Iterator[ChannelErrors]:
    """Yield the errors of each channel at the leads with these indices."""
    for channel in scores["channel"].values:
        own = scores.sel(channel=channel)
        rmse = own["rmse"].isel(prediction_timedelta=list(leads))
        systems = {str(name): rmse.sel(system=name).values for name in own["system"].values}
        change = score_change(own.isel(prediction_timedelta=list(leads)), "linear")
        yield ChannelErrors(str(channel), own["units"].item(), systems, change)


def terminal_table(scores: xr.Dataset, console: Console) -> Table:
    """Return a table of RMSE with a column for each of at most six leads, and as many as fit.

    Parameters
    ----------
    scores : xarray.Dataset
        Scores from :func:`gfrnn.pipeline.verify`.
    console : Console
        Terminal whose width the table must fit.
    """
    return fitting_table(partial(_rmse_table, scores), _shown_leads(scores), console)


def fitting_table(
    make: Callable[[Sequence[int]], Table], leads: Sequence[int], console: Console
) -> Table:
    """Return a table with a column for as many leads as a terminal shows whole, two at least.

    Parameters
    ----------
    make : callable
        Makes the table of the leads with some indices.
    leads : sequence of int
        Indices of all leads; the first and the last stay.
    console : Console
    """
    table = make(leads)
    while len(leads) > 2 and not _fits(table, console):
        leads = [leads[0], *leads[2:]]
        table = make(leads)
    return table


def _fits(table: Table, console: Console) -> bool:
    """Whether a terminal shows a table without cutting its cells."""
    unlimited = console.options.update(max_width=10_000)
    return Measurement.get(console, unlimited, table).maximum <= console.width


def _rmse_table(scores: xr.Dataset, leads: Sequence[int]) -> Table:
    table = Table(title=_TITLE, title_justify="left", caption=_LEGEND, caption_justify="left")
    table.add_column("system", no_wrap=True)
    for label in _labels(scores, leads):
        table.add_column(label, justify="right", no_wrap=True)
    for errors in channel_errors(scores, leads):
        table.add_row(Text.assemble((errors.channel, "bold"), f", {errors.units}"))
        best = np.fmin.reduce(list(errors.rmse.values()))  # NaN where no pair has a truth
        for system, values in errors.rmse.items():
            table.add_row(f"  {system}", *_cells(values, best, table_number))
        for name, cells in _comparisons(errors):
            table.add_row(f"  {name}", *cells)
        table.add_section()
    return table


def index_table(scores: xr.Dataset) -> Table | None:
    """Return a table of correlation and RMSE of the indices; None if there is no index.

    Columns are the first lead and quarters of the horizon: 1, 3, 6, 9 and 12 months of a year.
    """
    if "index" not in scores.coords:
        return None
    count = scores.sizes["prediction_timedelta"]
    leads = sorted({0, *(max(1, round(count * part / 4)) - 1 for part in range(1, 5))})
    table = Table(title="Indices", title_justify="left")
    table.add_column("system", no_wrap=True)
    for label in _labels(scores, leads):
        table.add_column(label, justify="right", no_wrap=True)
    for own in index_scores(scores, leads):
        table.add_row(Text.assemble((own.name, "bold"), f", {own.metric}"))
        write = partial(fixed, decimals=3) if own.metric == "correlation" else table_number
        for system, values in own.values.items():
            table.add_row(f"  {system}", *_cells(values, own.best, write))
        table.add_section()
    return table


class IndexScores(NamedTuple):
    """Scores of one index at some leads.

    Attributes
    ----------
    name : str
    metric : str
        ``correlation``, or ``RMSE`` with its unit.
    best : ndarray, shape (leads,)
        The best value at each lead.
    values : dict of str to ndarray, shape (leads,)
        For each system.
    """

    name: str
    metric: str
    best: NDArray[Any]
    values: dict[str, NDArray[Any]]


def index_scores(scores: xr.Dataset, leads: Sequence[int]) -> Iterator[IndexScores]:
    """Yield the correlation and the RMSE of each index at the leads with these indices."""
    for name in scores["index"].values:
        own = scores.sel(index=name).isel(prediction_timedelta=list(leads))
        metrics = (
            ("index_correlation", "correlation", np.fmax),
            ("index_rmse", f"RMSE, {own['index_units'].item()}", np.fmin),
        )
        for variable, metric, better in metrics:
            systems = {str(s): own[variable].sel(system=s).values for s in own["system"].values}
            if variable == "index_correlation":
                systems.pop("climatology")  # it has no anomaly to correlate
            yield IndexScores(str(name), metric, better.reduce(list(systems.values())), systems)


def _cells(values: NDArray[Any], best: NDArray[Any], write: Writer) -> list[Text]:
    """Write the values of a row, those that are the best in bold."""
    cells = [_marked(value, top, write) for value, top in zip(values, best, strict=True)]
    return [Text(text, "bold" if marked else "") for text, marked in cells]


def _marked(value: float, best: float, write: Writer) -> tuple[str, bool]:
    """Write a value, and return whether it is the best, or equal to it in the digits shown."""
    text = write(value)
    return text, bool(np.isfinite(value)) and text == write(best)


def _comparisons(errors: ChannelErrors) -> list[tuple[str, list[str]]]:
    """Return the rows that compare the forecasts with the linear model and the climatology."""
    return [
        (_CHANGE, errors.change.cells()),
        (_RATIO, [fixed(value, 3) for value in errors.ratio]),
    ]


def dashboard_table(scores: xr.Dataset) -> dashboard.ResultTable:
    """Return the content of :func:`terminal_table` for the dashboard page of a run."""
    leads = _shown_leads(scores)
    rows: list[tuple[str, ...]] = []
    for errors in channel_errors(scores, leads):
        rows.append((f"{errors.channel}, {errors.units}",))
        systems = errors.rmse.items()
        rows += [(name, *map(table_number, values)) for name, values in systems]
        rows += [(name, *cells) for name, cells in _comparisons(errors)]
    return dashboard.ResultTable(_TITLE, ("system", *_labels(scores, leads)), tuple(rows))


def report_table(
    scores: xr.Dataset, channels: Sequence[Channel], leads: Sequence[int]
) -> list[dict[str, Any]]:
    """Return the rows of the table on the report page.

    Parameters
    ----------
    scores : xarray.Dataset
    channels : sequence of Channel
        In the order of the table.
    leads : sequence of int
        Indices of the leads.

    Returns
    -------
    list of dict
        One per channel: ``label``, ``unit`` and ``rows``. A row has the lead, a pair (text, whether
        no text is smaller) for each system, and the change against the linear model.
    """
    labels = _labels(scores, leads)
    errors = {found.channel: found for found in channel_errors(scores, leads)}
    table = []
    for channel in channels:
        _, units, rmse, change = errors[channel.name]
        changes = change.percents()
        best = np.fmin.reduce(list(rmse.values()))
        rows = []
        for place, label in enumerate(labels):
            cells = [_marked(float(own[place]), best[place], number) for own in rmse.values()]
            rows.append((label, cells, changes[place]))
        table.append({"label": heading(channel), "unit": unit_label(units), "rows": rows})
    return table


def report_index_table(scores: xr.Dataset, leads: Sequence[int]) -> list[dict[str, Any]]:
    """Return the rows of the indices in the table on the report page, as :func:`report_table`.

    The change against the linear model is a difference for correlations.
    """
    if "index" not in scores.coords:
        return []
    table = []
    systems = [str(name) for name in scores["system"].values]
    for own in index_scores(scores, leads):
        correlates = own.metric == "correlation"
        write = partial(fixed, decimals=2) if correlates else number
        rows = []
        for place, label in enumerate(_labels(scores, leads)):
            values = {name: float(each[place]) for name, each in own.values.items()}
            cells = [_marked(values.get(name, np.nan), own.best[place], write) for name in systems]
            ours, linear = values["forecast"], values["linear"]
            change = difference(ours, linear) if correlates else percent(ours, linear)
            rows.append((label, cells, change))
        name, unit = own.metric.partition(", ")[::2]
        table.append({"label": f"{own.name}, {name}", "unit": unit_label(unit), "rows": rows})
    return table


def _labels(scores: xr.Dataset, leads: Sequence[int]) -> list[str]:
    axis = scores["prediction_timedelta"].values
    return [lead_label(axis[place]) for place in leads]


def _shown_leads(scores: xr.Dataset) -> list[int]:
    return table_leads(scores["prediction_timedelta"].values)


def table_leads(axis: NDArray[Any]) -> list[int]:
    """Return indices of at most six leads for a table on the terminal: see :func:`usual_leads`."""
    return usual_leads(axis, _USUAL_DAYS, _USUAL_MONTHS, _MOST_LEADS)


def usual_leads(
    axis: NDArray[Any], days: Sequence[float], months: Sequence[int], most: int
) -> list[int]:
    """Return indices of the usual leads and the last, or of leads that are spaced geometrically.

    A lead of 0 is left out, unless it is the only one.

    Parameters
    ----------
    axis : ndarray of timedelta64 or int
        All leads, as durations or in months.
    days, months : sequence
        Usual leads of each kind.
    most : int
        Largest number of indices.
    """
    if np.issubdtype(axis.dtype, np.timedelta64):
        usual = np.asarray(days) * np.timedelta64(86_400_000_000_000, "ns")
    else:
        usual = np.asarray(months)
    found = np.flatnonzero(np.isin(axis, usual.astype(axis.dtype)))
    if len(found) >= min(len(axis), most) / 2:
        return sorted({*map(int, found), len(axis) - 1})[-most:]
    first = int(len(axis) > 1 and axis[0] == np.zeros((), axis.dtype))
    places = np.unique(np.geomspace(1, len(axis) - first, most).round().astype(int)) - 1 + first
    return [int(place) for place in places]
