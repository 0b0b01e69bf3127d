"""Tables for the terminal: scores of forecasts from files, and comparisons of several forecasts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gfrnn.pipeline.verification.pair_scoring import FORECAST
from gfrnn.workflows.report.labels import lead_label, table_number, unit_label
from gfrnn.workflows.report.score_figures.score_change import SIGNIFICANT, ScoreChange
from gfrnn.workflows.report.skill_table import fitting_table, table_leads

Array = NDArray[Any]

LABELS = {"rmse": "RMSE", "crps": "CRPS"}
"""Names of the scores that are compared."""


def source_table(scores: xr.Dataset, console: Console) -> Table:
    """Return a table of the scores of the whole area: RMSE of all systems, and other scores.

    Parameters
    ----------
    scores : xarray.Dataset
        From :func:`gfrnn.pipeline.verification.scores.open_scores`.
    console : Console
        Terminal whose width the table must fit.
    """
    leads = table_leads(scores["prediction_timedelta"].values)
    return fitting_table(partial(_source_table, scores), leads, console)


def _source_table(scores: xr.Dataset, leads: Sequence[int]) -> Table:
    shown = scores.isel(prediction_timedelta=list(leads))
    table = _table("RMSE, cos-latitude weighted", shown)
    table.add_row("pairs", *(str(count) for count in shown["pairs"].values))
    table.add_section()
    for channel in shown["channel"].values:
        own = shown.sel(channel=channel)
        unit = unit_label(str(own["units"].item()))
        table.add_row(Text.assemble((channel, "bold"), f", {unit}"))
        for label, values in _rows(own):
            table.add_row(f"  {label}", *map(table_number, values))
        table.add_section()
    return table


def _rows(own: xr.Dataset) -> Iterator[tuple[str, Array]]:
    for system in map(str, own["system"].values):
        yield system, own["rmse"].sel(system=system).values
    if "fair_crps" in own:
        yield "fair CRPS", own["fair_crps"].sel(system=FORECAST).values
        yield "spread / error", own["spread_skill_ratio"].values
    if "acc" in own:
        yield "anomaly correlation", own["acc"].sel(system=FORECAST).values


def comparison_table(compared: xr.Dataset, console: Console) -> Table:
    """Return a table of the scores of runs and references, and of changes from the first run.

    Parameters
    ----------
    compared : xarray.Dataset
        From :func:`gfrnn.pipeline.verification.compare.compare`.
    console : Console
        Terminal whose width the table must fit.
    """
    leads = table_leads(compared["prediction_timedelta"].values)
    return fitting_table(partial(_comparison_table, compared), leads, console)


def _comparison_table(compared: xr.Dataset, leads: Sequence[int]) -> Table:
    shown = compared.isel(prediction_timedelta=list(leads))
    scores = compared_scores(compared)
    title = " and ".join(LABELS[score] for score in scores)
    table = _table(f"{title}, cos-latitude weighted", shown)
    table.caption = (
        f"change from {shown['run'].values[0]}; {SIGNIFICANT} its 95 % interval excludes 0"
    )
    table.add_row("pairs", *(str(count) for count in shown["pairs"].values))
    table.add_section()
    for channel in shown["channel"].values:
        own = shown.sel(channel=channel)
        for score in scores:
            unit = unit_label(str(own["units"].item()))
            name = f", {LABELS[score]}" if len(scores) > 1 else ""
            table.add_row(Text.assemble((channel, "bold"), f"{name}, {unit}"))
            for place, run in enumerate(map(str, own["run"].values)):
                found = list(cells(own.sel(run=run), score))
                table.add_row(f"  {run}", *(cell.value for cell in found))
                if place and not own["reference"][place]:
                    table.add_row("    change, %", *(cell.change for cell in found))
        table.add_section()
    return table


def compared_scores(compared: xr.Dataset) -> list[str]:
    """Return the names of the scores of a comparison."""
    return [score for score in LABELS if score in compared]


class ComparedCell(NamedTuple):
    """A score at one lead, and its change from that of the first run.

    Attributes
    ----------
    value, change : str
        The change is in %, with a star if it is significant; empty where there is none.
    sign : int
        Sign of a significant change, else 0.
    """

    value: str
    change: str
    sign: int


def cells(own: xr.Dataset, score: str) -> Iterator[ComparedCell]:
    """Yield a score and its change at each lead.

    Parameters
    ----------
    own : xarray.Dataset
        Comparison of one run and channel.
    score : str
    """
    ends = ("_change", "_change_low", "_change_high")
    changes = ScoreChange(*(100 * own[f"{score}{suffix}"].values for suffix in ends))
    signs = np.where(changes.significant, np.sign(changes.change), 0).astype(int)
    known = np.isfinite(changes.change)
    texts = np.where(known, changes.cells(), "").tolist()
    for value, text, sign in zip(own[score].values, texts, signs, strict=True):
        yield ComparedCell(table_number(value), text, int(sign))


def _table(title: str, shown: xr.Dataset) -> Table:
    table = Table(title=title, title_justify="left", caption_justify="left")
    table.add_column("", overflow="fold")  # a long name is folded, so that no number is cut
    for lead in shown["prediction_timedelta"].values:
        table.add_column(lead_label(lead), justify="right", no_wrap=True)
    return table
