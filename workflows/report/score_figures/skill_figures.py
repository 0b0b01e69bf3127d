"""Figures of skill against lead: one small picture for each score of a channel or index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from gfrnn.pipeline.data.grid import Channel
from gfrnn.workflows.report.figures import STYLE, SYSTEMS, Picture, embed, set_margins
from gfrnn.workflows.report.labels import channel_label, lead_label, signed, unit_label
from gfrnn.workflows.report.score_figures.score_change import score_change

Array = NDArray[Any]

USEFUL = 0.6
"""Anomaly correlation above which a forecast counts as useful."""

_SIZE = (2.7, 2.45)  # inches; the page sets four abreast, or one below the other on a phone
_UNKNOWN = {"color": "0.3"}
_MOST_MARKERS = 20


def skill_pictures(scores: xr.Dataset, channel: Channel) -> list[Picture]:
    """Plot scores of one channel against lead.

    Returns
    -------
    list of Picture
        RMSE, RMSE against that of the linear model with its interval, anomaly correlation, bias.
    """
    own = scores.sel(channel=channel.name)
    leads = own["prediction_timedelta"].values
    unit, name = unit_label(str(own["units"].item())), channel_label(channel)
    return [
        _curves(own["rmse"], leads, f"RMSE ({unit})", name, bottom=0.0),
        _change_picture(own, leads, name),
        _curves(own["acc"], leads, "Anomaly correlation", name, top=1.0, line=USEFUL),
        _curves(own["bias"], leads, f"Bias ({unit})", name, line=0.0),
    ]


def index_pictures(scores: xr.Dataset, name: str) -> list[Picture]:
    """Plot correlation and RMSE of an index against lead."""
    own = scores.sel(index=name)
    leads = own["prediction_timedelta"].values
    unit = unit_label(str(own["index_units"].item()))
    return [
        _curves(own["index_correlation"], leads, "Correlation", f"index {name}", top=1.0, line=0.0),
        _curves(own["index_rmse"], leads, f"RMSE ({unit})", f"index {name}", bottom=0.0),
    ]


def line_legend(systems: Array) -> list[dict[str, Any]]:
    """Return name, colour, width and dashes of the line of each system, for a legend in SVG."""
    return [
        {
            "name": name,
            "color": to_hex(style["color"]),
            "width": style.get("linewidth", STYLE["lines.linewidth"]),
            "dashes": " ".join(str(2 * part) for part in style.get("linestyle", (0, ()))[1]),
        }
        for name, style in ((str(name), _style(str(name))) for name in systems)
    ]


def _style(system: str, points: int = 0) -> Mapping[str, Any]:
    """Return the style of a line; markers of many points would hide it."""
    style = SYSTEMS.get(system, _UNKNOWN)
    return style if points <= _MOST_MARKERS else {**style, "marker": None}


@matplotlib.rc_context(STYLE)
def _curves(
    score: xr.DataArray,
    leads: Array,
    title: str,
    name: str,
    *,
    bottom: float | None = None,
    top: float | None = None,
    line: float | None = None,
) -> Picture:
    """Plot a score of all systems, with a limit of its axis or a line across."""
    figure, panel, times = _panel(leads, title)
    for system in map(str, score["system"].values):
        if system == "climatology" and "orrelation" in title:
            continue  # it has no anomaly to correlate
        panel.plot(times, score.sel(system=system).values, **_style(system, len(leads)))
    panel.set_ylim(bottom=bottom, top=top)
    if line is not None:
        panel.axhline(line, color="0.45", linewidth=0.8, linestyle=":" if line else "-")
    ours = score.sel(system="forecast").values
    return embed(
        figure,
        f"{title} of {name} against lead. Forecast: {ours[0]:.3g} at {lead_label(leads[0])}, "
        f"{ours[-1]:.3g} at {lead_label(leads[-1])}.",
    )


@matplotlib.rc_context(STYLE)
def _change_picture(scores: xr.Dataset, leads: Array, name: str) -> Picture:
    """Plot the change of RMSE against the linear model, with its interval as a band."""
    found = score_change(scores, "linear")
    figure, panel, times = _panel(leads, "RMSE against linear (%)")
    style = {**_style("forecast", len(leads)), "markersize": 3, "linewidth": 1.8}
    panel.fill_between(times, found.low, found.high, color=style["color"], alpha=0.22, linewidth=0)
    panel.plot(times, found.change, **style)
    reference = _style("linear")
    panel.axhline(0, color=reference["color"], linestyle=reference["linestyle"])
    changes = ", ".join(
        f"{signed(found.change[place])} % at {lead_label(leads[place])}"
        + (
            f" (95 % interval {signed(found.low[place])} to {signed(found.high[place])} %)"
            if np.isfinite(found.low[place])
            else ""
        )
        for place in sorted({0, len(leads) - 1})
    )
    return embed(
        figure,
        f"Change of the RMSE of {name} against that of the linear model, against lead: {changes}.",
    )


def _panel(leads: Array, title: str) -> tuple[Figure, Axes, Array]:
    """Return a figure with one empty panel, and the leads as numbers on its axis."""
    times, label, steps = _lead_axis(leads)
    figure = Figure(figsize=_SIZE)
    panel = figure.subplots()
    # The same positions in every picture, so that those of a page are aligned.
    set_margins(figure, left=0.5, right=0.06, bottom=0.42, top=0.26)
    panel.set_title(title, loc="left")
    panel.set(xlabel=label)
    panel.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=steps))
    panel.yaxis.set_major_locator(MaxNLocator(6))
    return figure, panel, times


def _lead_axis(leads: Array) -> tuple[Array, str, list[float]]:
    """Return leads as numbers, the label of their axis, and allowed steps of its ticks."""
    if leads.dtype.kind == "i":
        return leads, "lead (months)", [1, 2, 3, 6, 10]
    if leads[-1] >= np.timedelta64(2, "D"):
        return leads / np.timedelta64(1, "D"), "lead (days)", [1, 2, 5, 10]
    return leads / np.timedelta64(1, "h"), "lead (hours)", [1, 1.2, 2.4, 3, 6, 10]
