"""Small pictures of scores: curves against lead, and panels of equal size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from gfrnn.workflows.report.figures import STYLE, SYSTEMS, Picture, embed, set_margins
from gfrnn.workflows.report.labels import lead_label, signed
from gfrnn.workflows.report.score_figures.score_change import ScoreChange

Array = NDArray[Any]

BAND: dict[str, Any] = {"alpha": 0.22, "linewidth": 0}
"""Style of the band of an interval."""

LEADS: tuple[dict[str, Any], ...] = (
    {"color": "#0b4f8a", "linewidth": 2.0},
    {"color": "#009e73", "linestyle": (0, (5, 1.5))},
    {"color": "#d55e00", "linestyle": (0, (1, 1.2)), "linewidth": 2.0},
)
"""Styles of the lines of a few leads, which differ in black and white too."""

PARTS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Ticks of axes from 0 to 1."""

_SIZE = (2.7, 2.45)  # inches; the page sets four abreast, or one below the other on a phone
_UNKNOWN = {"color": "0.3"}
_MOST_MARKERS = 20


def line_legend(systems: Sequence[str] | Array) -> list[dict[str, Any]]:
    """Return the legend of the lines of systems, see :func:`legend_of`."""
    return legend_of((str(name), line_style(str(name))) for name in systems)


def lead_legend(leads: Array, shown: Sequence[int]) -> list[dict[str, Any]]:
    """Return the legend of the lines of a few leads, see :func:`legend_of`."""
    return legend_of((lead_label(leads[place]), LEADS[n]) for n, place in enumerate(shown))


def legend_of(lines: Iterable[tuple[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Return name, colour, width and dashes of each line, for a legend in SVG.

    Parameters
    ----------
    lines : iterable of tuple
        Name and style of each line.
    """
    return [
        {
            "name": name,
            "color": to_hex(style["color"]),
            "width": style.get("linewidth", STYLE["lines.linewidth"]),
            "dashes": " ".join(str(2 * part) for part in style.get("linestyle", (0, ()))[1]),
        }
        for name, style in lines
    ]


def line_style(system: str, points: int = 0) -> Mapping[str, Any]:
    """Return the style of a line; markers of many points would hide it."""
    style = SYSTEMS.get(system, _UNKNOWN)
    return style if points <= _MOST_MARKERS else {**style, "marker": None}


@matplotlib.rc_context(STYLE)
def curves(
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
    figure, panel, times = lead_panel(leads, title)
    for system in map(str, score["system"].values):
        if system == "climatology" and "orrelation" in title:
            continue  # it has no anomaly to correlate
        panel.plot(times, score.sel(system=system).values, **line_style(system, len(leads)))
    panel.set_ylim(bottom=bottom, top=top)
    if line is not None:
        line_across(panel, line)
    return embed(figure, described(title, name, score.sel(system="forecast").values, leads))


@matplotlib.rc_context(STYLE)
def change_picture(found: ScoreChange, leads: Array, score: str, name: str) -> Picture:
    """Plot the change of a score against the linear model, with its interval as a band."""
    figure, panel, times = lead_panel(leads, f"{score} against linear (%)")
    style = {**line_style("forecast", len(leads)), "markersize": 3, "linewidth": 1.8}
    panel.fill_between(times, found.low, found.high, color=style["color"], **BAND)
    panel.plot(times, found.change, **style)
    if not found.shown.any():  # an axis of rounding errors would be read as one of changes
        panel.set_ylim(-1, 1)
    reference = line_style("linear")
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
        f"Change of the {score} of {name} against that of the linear model, against lead: "
        f"{changes}.",
    )


def described(title: str, name: str, values: Array, leads: Array) -> str:
    """Describe the curve of the forecast for screen readers."""
    return (
        f"{title} of {name} against lead. Forecast: {values[0]:.3g} at {lead_label(leads[0])}, "
        f"{values[-1]:.3g} at {lead_label(leads[-1])}."
    )


def line_across(panel: Axes, value: float) -> None:
    """Draw a line at a value that scores are compared with; that of 0 is solid."""
    panel.axhline(value, color="0.45", linewidth=0.8, linestyle=":" if value else "-")


def blank_panel(title: str, **labels: Any) -> tuple[Figure, Axes]:
    """Return a figure with one empty panel.

    Parameters
    ----------
    title : str
    **labels
        Properties of the axes, such as ``xlabel``.
    """
    figure = Figure(figsize=_SIZE)
    panel = figure.subplots()
    # The same positions in every picture, so that those of a page are aligned.
    set_margins(figure, left=0.62, right=0.2, bottom=0.42, top=0.26)  # for six digits
    panel.set_title(title, loc="left")
    panel.set_axisbelow(True)
    panel.set(**labels)
    return figure, panel


def lead_panel(leads: Array, title: str) -> tuple[Figure, Axes, Array]:
    """Return a figure with one empty panel, and the leads as numbers on its axis."""
    figure, panel = blank_panel(title)
    panel.yaxis.set_major_locator(MaxNLocator(6))
    return figure, panel, set_lead_axis(panel, leads)


def set_lead_axis(panel: Axes, leads: Array) -> Array:
    """Set label and ticks of the axis of the leads, and return them as numbers on it."""
    times, label, steps = _lead_axis(leads)
    panel.set_xlabel(label)
    panel.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=steps))
    return times


def _lead_axis(leads: Array) -> tuple[Array, str, list[float]]:
    """Return leads as numbers, the label of their axis, and allowed steps of its ticks."""
    if leads.dtype.kind == "i":
        return leads, "lead (months)", [1, 2, 3, 6, 10]
    if leads[-1] >= np.timedelta64(2, "D"):
        return leads / np.timedelta64(1, "D"), "lead (days)", [1, 2, 5, 10]
    return leads / np.timedelta64(1, "h"), "lead (hours)", [1, 1.2, 2.4, 3, 6, 10]
