"""The table of errors that a run ends with, for a terminal and for a page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from rich.table import Table

from gfrnn.cluster import dashboard
from gfrnn.pipeline.config.durations import format_duration

_TITLE = "RMSE, cos-latitude weighted"


def skill_table(scores: xr.Dataset, leads: int = 5) -> Table:
    """RMSE of the forecasts and the references, by channel and lead.

    Parameters
    ----------
    scores : xarray.Dataset
        As :func:`gfrnn.pipeline.verify` gives it.
    leads : int
        Columns at most: the first, the last and some between.
    """
    table = Table(title=_TITLE, title_justify="left")
    table.add_column("system", no_wrap=True)
    for lead in _leads(scores, leads):
        table.add_column(lead, justify="right", no_wrap=True)
    for channel, units, rows in _channels(scores, leads):
        table.add_row(f"[bold]{channel}[/bold], {units}")
        best = np.nanmin([values for _, values in rows], axis=0)
        for system, values in rows:
            cells = [
                f"[bold]{value:.4g}[/bold]" if value <= least else f"{value:.4g}"
                for value, least in zip(values, best, strict=True)
            ]
            table.add_row(f"  {system}", *cells)
        table.add_section()
    return table


def skill_on_page(scores: xr.Dataset, leads: int = 5) -> dashboard.Table:
    """The same for the page of a run."""
    rows: list[tuple[str, ...]] = []
    for channel, units, each in _channels(scores, leads):
        rows.append((f"{channel}, {units}",))
        rows += [(system, *(f"{value:.4g}" for value in values)) for system, values in each]
    return dashboard.Table(_TITLE, ("system", *_leads(scores, leads)), tuple(rows))


def _leads(scores: xr.Dataset, leads: int) -> list[str]:
    axis = pd.to_timedelta(scores["prediction_timedelta"].values)
    return [f"+{format_duration(axis[place])}" for place in _places(len(axis), leads)]


def _places(count: int, leads: int) -> NDArray[Any]:
    return np.unique(np.geomspace(1, count, leads).round().astype(int)) - 1


def _channels(
    scores: xr.Dataset, leads: int
) -> Iterator[tuple[str, str, list[tuple[str, NDArray[Any]]]]]:
    """Each channel with its units, and the errors of each system."""
    places = _places(scores.sizes["prediction_timedelta"], leads)
    for channel in scores["channel"].values:
        rmse = scores["rmse"].sel(channel=channel).isel(prediction_timedelta=places)
        rows = [(str(system), rmse.sel(system=system).values) for system in scores["system"].values]
        yield str(channel), scores["units"].sel(channel=channel).item(), rows
