"""Figures of a report, embedded in the page as images."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gfrnn.workflows.report.labels import lead_label

Array = NDArray[Any]

WIDTH = 10.5
"""Width of figures in inches: 1008 pixels, at which their text is as large as that of the page."""

STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.edgecolor": "0.45",
    "axes.labelcolor": "0.25",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.6,
    "xtick.color": "0.35",
    "ytick.color": "0.35",
    "legend.frameon": False,
    "lines.linewidth": 1.5,
}

# Colours are distinct with red-green colour blindness, dashes in black and white. The linear model
# is drawn above the broader line of the forecast, to which it is often close.
SYSTEMS: dict[str, dict[str, Any]] = {
    "forecast": {"color": "#0b4f8a", "linewidth": 2.6, "marker": "o", "markersize": 4, "zorder": 5},
    "linear": {"color": "#d55e00", "linestyle": (0, (5, 1.5)), "zorder": 6},
    "quadratic": {"color": "#5e3c99", "linestyle": (0, (2.5, 1))},
    "linear inverse": {"color": "#cc9a00", "linestyle": (0, (5, 1, 1, 1, 1, 1))},
    "damped persistence": {"color": "#009e73"},
    "persistence": {"color": "#b35c8f", "linestyle": (0, (1, 1.2))},
    "climatology": {"color": "0.5", "linestyle": (0, (5, 2, 1, 2))},
}
_MOST_LEADS = 10  # panels of the ridge path

# Lines of the widths that were not chosen, from one to the next; distinct from the chosen width and
# the linear model.
_WIDTHS = ("#009e73", "#cc9a00", "#b35c8f", "#56b4e9", "0.55", "#5e3c99")
_DASHES = ("-", (0, (4, 1)), (0, (1, 1)))


@dataclass(frozen=True)
class Picture:
    """An image to embed in a page.

    Attributes
    ----------
    uri : str
        ``data:`` URI with the image. In an image of its own, names in an SVG cannot conflict with
        those of the page or of another figure.
    alt : str
        Description of the image for screen readers.
    width : int
        Width in pixels at which texts are as large as those of the page.
    """

    uri: str
    alt: str
    width: int


@matplotlib.rc_context(STYLE)
def ridge_picture(
    selection: Mapping[str, Array], leads: Sequence[np.timedelta64], width: int
) -> Picture:
    """Plot validation error against ridge: a panel for each lead, a curve for each width.

    Parameters
    ----------
    selection : mapping of ndarray
        The selection of a model (:class:`ForecastModel`).
    leads : sequence of timedelta64
        Leads with outer weights of their own.
    width : int
        The chosen number of hidden features.
    """
    ridges = selection["ridges"]
    paths = selection["errors"].reshape(-1, len(ridges), len(leads))
    linear = selection["linear_errors"].reshape(-1, len(ridges), len(leads))[0]
    widths = selection["widths"].reshape(-1)
    shown = range(min(len(leads), _MOST_LEADS))
    columns = min(5, len(shown))
    lines = -(-len(shown) // columns)
    figure = Figure(figsize=(WIDTH, 0.5 + 2.5 * lines))
    panels = figure.subplots(lines, columns, sharex=True, squeeze=False)
    set_margins(figure, left=0.9, bottom=0.5, top=0.5)
    figure.subplots_adjust(wspace=0.28, hspace=0.16)
    own, reference = SYSTEMS["forecast"]["color"], SYSTEMS["linear"]["color"]
    for index, panel in zip(shown, panels.flat, strict=False):
        for number, (path, features) in enumerate(zip(paths[:, :, index], widths, strict=True)):
            chosen = features == width
            style: dict[str, Any] = {"color": own, "linewidth": 2.2}
            if not chosen:
                dashes = _DASHES[number // len(_WIDTHS) % len(_DASHES)]
                color = _WIDTHS[number % len(_WIDTHS)]
                style = {"color": color, "linewidth": 1.3, "linestyle": dashes}
            label = f"{features} features" + (", chosen" if chosen and len(widths) > 1 else "")
            panel.plot(ridges, path, label=label, **style)
            if chosen:
                best = int(path.argmin())
                panel.plot(
                    ridges[best], path[best], "o", markersize=8, color=own, zorder=6,
                    markeredgecolor="white", markeredgewidth=1.5, label="chosen ridge",
                )  # fmt: skip
        panel.plot(
            ridges, linear[:, index], color=reference, linestyle=(0, (5, 1.5)), label="linear model"
        )
        # At 1, a model is no better than the climatology.
        panel.axhline(1, color="0.45", linewidth=0.8, linestyle=":")
        # Steep parts of the curves may leave the panel; their minima are what matters.
        low = min(paths[:, :, index].min(), linear[:, index].min())
        high = max(paths[:, :, index].max(), linear[:, index].max())
        worst = 1.1 * max(paths[:, :, index].min(axis=1).max(), linear[:, index].min())
        span = max(0.05 * low, min(high, max(worst, min(2 * low, 1.04))) - low)
        panel.set(xscale="log", title=lead_label(leads[index]))
        panel.set_ylim(low - 0.08 * span, low + 1.02 * span)
    for panel in panels.flat[len(shown) :]:
        panel.set_axis_off()
    figure.supxlabel("ridge / largest singular value", size=9, color="0.25")
    # At the edge: tick labels have up to six characters.
    figure.supylabel("error / that of the climatology", x=0.004, size=9, color="0.25")
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper right", borderaxespad=0.1, ncols=min(6, len(labels)))
    return embed(
        figure,
        "Mean squared error that ridges are chosen by, against ridge, one panel for each of the "
        f"leads {', '.join(lead_label(leads[i]) for i in shown)}; the model with {width} features "
        "as a solid line with its best ridge marked, the linear model dashed.",
    )


@matplotlib.rc_context(STYLE)
def wavenumber_picture(selection: Mapping[str, Array]) -> Picture:
    """Plot the error of a step against zonal wavenumber: a curve for each stage.

    Parameters
    ----------
    selection : mapping of ndarray
        The selection of a zonal model (:class:`ForecastModel`).
    """
    changes = selection["wavenumber_changes"]
    # A wavenumber that does not change has no error to show.
    known = changes > 1e-12 * changes.max()
    numbers = np.flatnonzero(known)

    def relative(squares: Array) -> Array:
        return np.sqrt(squares[known] / changes[known])

    figure = Figure(figsize=(WIDTH, 3.1))
    panel = figure.subplots()
    set_margins(figure)
    own, reference = SYSTEMS["forecast"]["color"], SYSTEMS["linear"]["color"]
    panel.plot(
        numbers, relative(selection["linear_wavenumber_errors"]), color=reference,
        linestyle=(0, (5, 1.5)), label="linear model",
    )  # fmt: skip
    stages = selection["wavenumber_errors"]
    for stage, errors in enumerate(stages, 1):
        fade = to_rgba(own, 1.0 if stage == len(stages) else 0.45)
        label = "forecast" if len(stages) == 1 else f"stage {stage}"
        panel.plot(numbers, relative(errors), color=fade, linewidth=2.2, label=label)
    panel.axhline(1, color="0.45", linewidth=0.8, linestyle=":")
    panel.set(yscale="log", xlabel="zonal wavenumber", ylabel="error / change in a step")
    panel.margins(x=0.02)
    panel.legend()
    total = [float(np.sqrt(errors.sum() / changes.sum())) for errors in stages]
    return embed(
        figure,
        "Root mean square error of a step on the validation period against zonal wavenumber, "
        "relative to the change in a step; over all wavenumbers "
        + ", ".join(f"{error:.3g} after stage {stage}" for stage, error in enumerate(total, 1))
        + ".",
    )


@matplotlib.rc_context(STYLE)
def spectrum_picture(selection: Mapping[str, Array], leads: Sequence[np.timedelta64]) -> Picture:
    """Plot singular values of R_ff with the chosen ridges, and the variance of the EOFs, if any."""
    figure = Figure(figsize=(WIDTH, 3.1))
    count = 2 if "eof_variance" in selection else 1
    left, *rest = figure.subplots(1, count, squeeze=False)[0]
    set_margins(figure, top=0.3)
    figure.subplots_adjust(wspace=0.16)
    spectrum = selection["spectrum"] / selection["spectrum"][0]
    own = SYSTEMS["forecast"]["color"]
    left.plot(np.arange(1, len(spectrum) + 1), spectrum, color=own, linewidth=2.2)
    strengths: dict[float, list[str]] = {}  # leads often share a ridge: one line, one label
    for lead, ridge in zip(leads, selection["ridge"], strict=False):
        strengths.setdefault(float(ridge), []).append(lead_label(lead))
    slots: list[int] = []
    for ridge, shared in sorted(strengths.items()):
        left.axhline(ridge, color="0.45", linewidth=0.8, linestyle=":", zorder=1)
        label = ", ".join(shared if len(shared) < 4 else (shared[0], "...", shared[-1]))
        # Far from the curve, and beside the labels of neighbouring ridges, which are closer than
        # the height of the text. The box hides the dotted line, not the curve.
        slots.append(_slot(spectrum, ridge, slots[-3:]))
        left.annotate(
            label, (0.98 - 0.24 * slots[-1], ridge), va="center", ha="right",
            xycoords=left.get_yaxis_transform(), size=8, color="0.2", zorder=1.5,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )  # fmt: skip
    left.set(
        yscale="log", xlabel="index", ylabel="singular value / largest",
        title="Singular values of $R_{ff}$ (dotted: the chosen ridges, by lead)",
    )  # fmt: skip
    left.margins(x=0)
    description = (
        f"the {len(spectrum)} singular values of the feature triangle fall from 1 to "
        f"{spectrum[-1]:.1e} of the largest; the chosen ridges are lines across."
    )
    if not rest:
        return embed(figure, f"T{description[1:]}")
    (right,), kept = rest, 100 * np.cumsum(selection["eof_variance"])
    right.plot(np.arange(1, len(kept) + 1), kept, color=own, linewidth=2.2)
    right.set(
        xlabel="number of EOFs",
        ylabel="explained variance (%)",
        title="Variance explained by the EOFs",
    )
    right.set_ylim(0, 101)
    right.margins(x=0.02)
    right.annotate(
        f"{len(kept)} EOFs: {kept[-1]:.1f} %", (0.98, 0.05), xycoords="axes fraction",
        ha="right", color=own, weight="bold",
    )  # fmt: skip
    return embed(
        figure,
        f"Left: {description} Right: cumulative variance of the EOFs, {kept[-1]:.1f} % with "
        f"{len(kept)}.",
    )


def _slot(spectrum: Array, ridge: float, taken: Sequence[int]) -> int:
    """Return which quarter of a panel, from the right, has a free place far from the curve."""
    quarters = np.array_split(np.log(np.maximum(spectrum, 1e-300) / ridge), 4)[::-1]
    distances = [np.abs(part).min(initial=np.inf) for part in quarters]
    free = [slot for slot in range(4) if slot not in taken]
    return max(free, key=lambda slot: float(distances[slot]))


def set_margins(
    figure: Figure, left: float = 0.7, right: float = 0.08, bottom: float = 0.45, top: float = 0.08
) -> None:
    """Set the margins around the panels in inches.

    To measure the texts, as layouts of Matplotlib do, takes as long as to draw them.
    """
    width, height = figure.get_size_inches()
    figure.subplots_adjust(
        left=left / width, right=1 - right / width, bottom=bottom / height, top=1 - top / height
    )


def embed(figure: Figure, alt: str, *, raster: bool = False) -> Picture:
    """Render a figure as SVG, or as PNG where an SVG would be large.

    This works without pyplot, so that no Matplotlib backend is selected.
    """
    buffer = io.BytesIO()
    form, kind = ("png", "image/png") if raster else ("svg", "image/svg+xml")
    figure.savefig(buffer, format=form, dpi=150)
    data = base64.b64encode(buffer.getvalue()).decode()
    return Picture(f"data:{kind};base64,{data}", alt, round(96 * figure.get_figwidth()))
