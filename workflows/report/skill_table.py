"""Tables of errors by channel, system and lead: for a terminal, the dashboard and the report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from rich.table import Table

from gfrnn.cluster import dashboard
from gfrnn.pipeline.data.grid import Channel
from gfrnn.workflows.report.labels import heading, lead_label, number, percent, unit_label

_TITLE = "RMSE, cos-latitude weighted"
_MOST_LEADS = 5


class ChannelErrors(NamedTuple):
    """Errors of one channel at some leads.

    Attributes
    ----------
    channel, units : str
    rmse : dict of str to ndarray, shape (leads,)
        For each system: the forecasts and the references.
    """

    channel: str
    units: str
    rmse: dict[str, NDArray[Any]]


def channel_errors(scores: xr.Dataset, leads: Sequence[int]) -> Iterator[ChannelErrors]:
    """Yield the errors of each channel at the leads with these indices."""
    for channel in scores["channel"].values:
        own = scores.sel(channel=channel)
        rmse = own["rmse"].isel(prediction_timedelta=list(leads))
        systems = {str(name): rmse.sel(system=name).values for name in own["system"].values}
        yield ChannelErrors(str(channel), own["units"].item(), systems)


def terminal_table(scores: xr.Dataset) -> Table:
    """Return a table of RMSE with a column for each of at most five leads.

    Parameters
    ----------
    scores : xarray.Dataset
        Scores from :func:`gfrnn.pipeline.verify`.
    """
    leads = _spaced_leads(scores)
    table = Table(title=_TITLE, title_justify="left")
    table.add_column("system", no_wrap=True)
    for label in _labels(scores, leads):
        table.add_column(label, justify="right", no_wrap=True)
    for channel, units, rmse in channel_errors(scores, leads):
        table.add_row(f"[bold]{channel}[/bold], {units}")
        best = np.nanmin(list(rmse.values()), axis=0)
        for system, values in rmse.items():
            cells = [
                f"[bold]{value:.4g}[/bold]" if value <= least else f"{value:.4g}"
                for value, least in zip(values, best, strict=True)
            ]
            table.add_row(f"  {system}", *cells)
        table.add_section()
    return table


def dashboard_table(scores: xr.Dataset) -> dashboard.ResultTable:
    """Return the content of :func:`terminal_table` for the dashboard page of a run."""
    leads = _spaced_leads(scores)
    rows: list[tuple[str, ...]] = []
    for channel, units, rmse in channel_errors(scores, leads):
        rows.append((f"{channel}, {units}",))
        rows += [(name, *(f"{value:.4g}" for value in values)) for name, values in rmse.items()]
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
        it is the smallest) for each system, and the change against the linear model.
    """
    labels = _labels(scores, leads)
    errors = {found.channel: found for found in channel_errors(scores, leads)}
    table = []
    for channel in channels:
        _, units, rmse = errors[channel.name]
        rows = []
        for place, label in enumerate(labels):
            values = [float(own[place]) for own in rmse.values()]
            cells = [(number(value), value == min(values)) for value in values]
            change = percent(float(rmse["forecast"][place]), float(rmse["linear"][place]))
            rows.append((label, cells, change))
        table.append({"label": heading(channel), "unit": unit_label(units), "rows": rows})
    return table


def _labels(scores: xr.Dataset, leads: Sequence[int]) -> list[str]:
    axis = scores["prediction_timedelta"].values
    return [lead_label(axis[place]) for place in leads]


def _spaced_leads(scores: xr.Dataset) -> list[int]:
    """Return indices of the first lead, the last and some between, spaced geometrically."""
    count = scores.sizes["prediction_timedelta"]
    places = np.unique(np.geomspace(1, count, _MOST_LEADS).round().astype(int)) - 1
    return [int(place) for place in places]
