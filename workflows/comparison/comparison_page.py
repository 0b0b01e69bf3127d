"""Page of a comparison: a self-contained file of HTML with a table and a figure a channel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from gfrnn.pipeline.data.grid import Channel
from gfrnn.pipeline.storage import write_text
from gfrnn.workflows.comparison.score_tables import LABELS, cells, compared_scores
from gfrnn.workflows.report.figures import STYLE, WIDTH, Picture, embed
from gfrnn.workflows.report.labels import heading, lead_label, unit_label
from gfrnn.workflows.report.page_template import render_page
from gfrnn.workflows.report.skill_table import usual_leads

# Distinct with red-green colour blindness.
_COLOURS = ("#0b4f8a", "#d55e00", "#009e73", "#cc9a00", "#b35c8f", "0.45")
_DASHES = ("--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 3)))  # of references
_DAYS = (0.25, 0.5, 1, 2, 3, 4, 5, 7, 10, 15)
_MONTHS = (1, 2, 3, 4, 5, 6, 8, 9, 10, 12)
_MOST_LEADS = 10
_MOST_CHANNELS = 12  # with figures
_SIDES = {-1: "better", 0: "", 1: "worse"}


def write_page(compared: xr.Dataset, path: Path) -> None:
    """Write the page of a comparison.

    Parameters
    ----------
    compared : xarray.Dataset
        From :func:`gfrnn.pipeline.verification.compare.compare`.
    path : Path
    """
    page = render_page(__file__, "comparison.html.j2", **_content(compared))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, page)


def _content(compared: xr.Dataset) -> dict[str, Any]:
    """Return the variables of the template."""
    axis = compared["prediction_timedelta"].values
    leads = usual_leads(axis, _DAYS, _MONTHS, _MOST_LEADS)
    shown = compared.isel(prediction_timedelta=leads)
    systems = [str(name) for name in compared["run"].values]
    runs = [str(name) for name in compared["run"].values[~compared["reference"].values]]
    groups = []
    for place in range(compared.sizes["channel"]):
        own = shown.isel(channel=place)
        for score in compared_scores(compared):
            groups.append(
                {
                    "label": f"{heading(_channel(own))}, {LABELS[score]}",
                    "unit": unit_label(str(own["units"].item())),
                    "rows": [
                        (
                            name,
                            [(cell, _SIDES[cell.sign]) for cell in cells(own.sel(run=name), score)],
                        )
                        for name in systems
                    ],
                }
            )
    return {
        "runs": runs,
        "notes": compared.attrs["notes"],
        "first": compared.attrs["first"][:16],
        "last": compared.attrs["last"][:16],
        "leads": [lead_label(lead) for lead in shown["prediction_timedelta"].values],
        "pairs": shown["pairs"].values.tolist(),
        "groups": groups,
        "pictures": [
            _picture(compared.isel(channel=place), score)
            for place in range(min(compared.sizes["channel"], _MOST_CHANNELS))
            for score in compared_scores(compared)
        ],
        "written": f"{pd.Timestamp.now('UTC'):%Y-%m-%d %H:%M} UTC",
    }


def _channel(own: xr.Dataset) -> Channel:
    level = float(own["level"])
    return Channel(str(own["variable"].item()), level if np.isfinite(level) else None)


@matplotlib.rc_context(STYLE)
def _picture(own: xr.Dataset, score: str) -> Picture:
    """Plot a score of one channel against lead: a line a run, and broken ones of references."""
    leads = own["prediction_timedelta"].values
    months = leads.dtype.kind == "i"
    times = leads if months else leads / np.timedelta64(1, "D")
    figure = Figure(figsize=(WIDTH / 2, 3.0))
    panel = figure.subplots()
    figure.subplots_adjust(left=0.13, right=0.99, bottom=0.155, top=0.87)
    names = list(map(str, own["run"].values))
    for number, (name, reference) in enumerate(zip(names, own["reference"].values, strict=True)):
        values = own[score].sel(run=name).values
        if reference:
            style = _DASHES[number % len(_DASHES)]
            panel.plot(times, values, label=name, color="0.55", linewidth=1.0, linestyle=style)
            continue
        colour = _COLOURS[number % len(_COLOURS)]
        panel.plot(times, values, label=name, color=colour, marker="o", markersize=3)
    panel.set(xlabel=f"lead ({'months' if months else 'days'})")
    panel.set(ylabel=f"{LABELS[score]} ({unit_label(str(own['units'].item()))})")
    panel.set_ylim(bottom=0)
    panel.legend()
    title = heading(_channel(own))
    figure.text(0.016, 0.98, title, va="top", size=11, weight="bold")
    return embed(figure, f"{title}: {LABELS[score]} against lead for {', '.join(names)}.")
