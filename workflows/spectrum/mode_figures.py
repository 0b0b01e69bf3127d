"""Figures of the eigenvalues of a run's linear dynamics, and maps of its modes."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from gfrnn.pipeline.data.grid import Channel, contiguous_longitudes
from gfrnn.pipeline.runs.spectrum.mode_spectrum import ModeSpectrum
from gfrnn.workflows.report.display_units import DisplayUnit
from gfrnn.workflows.report.figures import STYLE, SYSTEMS, WIDTH, Picture, embed
from gfrnn.workflows.report.labels import channel_label, heading, unit_label
from gfrnn.workflows.report.maps import (
    MAP_STYLE,
    coastlines_of,
    frame_map,
    map_aspect,
)
from gfrnn.workflows.spectrum.mode_table import time_label

Array = NDArray[np.floating]

_MOST_CHANNELS = 4
_CONFIRMED, _OTHER = SYSTEMS["forecast"]["color"], "0.6"
_NUMBERED = 8
_WIDE = 0.6  # ratio of height and width of a map below which its domain is wide


@matplotlib.rc_context(STYLE)
def eigenvalue_picture(spectrum: ModeSpectrum) -> Picture:
    """Plot the eigenvalues in the unit circle, and e-folding time against period of all modes."""
    figure = Figure(figsize=(WIDTH, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
    _draw_circle(left, spectrum)
    _draw_times(right, spectrum)
    figure.legend(*right.get_legend_handles_labels(), loc="outside upper right", ncols=2)
    confirmed = np.flatnonzero(spectrum.confirmed)
    leading = (
        "none is confirmed"
        if not confirmed.size
        else "the leading confirmed one has a period of "
        f"{time_label(spectrum.periods[confirmed[0]], spectrum.step.monthly)}"
    )
    return embed(
        figure,
        f"Left: {len(spectrum.eigenvalues)} eigenvalues in the upper half of the unit circle. "
        f"Right: e-folding time against period. {confirmed.size} modes are confirmed; {leading}.",
    )


def _draw_circle(panel: Axes, spectrum: ModeSpectrum) -> None:
    angle = np.linspace(0, np.pi, 200)
    panel.plot(np.cos(angle), np.sin(angle), color="0.45", linewidth=0.8)
    values = spectrum.eigenvalues
    _scatter(panel, spectrum, values.real, values.imag)
    panel.set(
        aspect="equal", xlim=(-1.12, 1.12), ylim=(-0.06, 1.16), xlabel="real part",
        ylabel="imaginary part", title="Eigenvalues of a step",
    )  # fmt: skip


def _draw_times(panel: Axes, spectrum: ModeSpectrum) -> None:
    """Draw e-folding time against period; modes that do not oscillate stand at the right edge."""
    period, decay = spectrum.periods.copy(), spectrum.e_folding_times
    finite = np.isfinite(period)
    last = period[finite].max(initial=2 * spectrum.step_length)
    period[~finite] = 2.5 * last
    known = np.isfinite(decay) & (decay > 0)
    period = np.where(known, period, np.nan)
    _scatter(panel, spectrum, period, np.where(known, decay, np.nan))
    unit = "months" if spectrum.step.monthly else "days"
    panel.set(
        xscale="log", yscale="log", xlabel=f"period ({unit})", ylabel=f"e-folding time ({unit})",
        title="Damping against period",
    )  # fmt: skip
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    if not finite.all():
        panel.axvline(1.6 * last, color="0.45", linewidth=0.8, linestyle=":")
        panel.annotate(
            "no oscillation", (1, 1.01), xycoords="axes fraction", ha="right", va="bottom",
            size=8, color="0.35",
        )  # fmt: skip
    for index in range(min(_NUMBERED, len(decay))):
        if known[index]:
            panel.annotate(
                str(index + 1), (period[index], decay[index]), xytext=(6, 5),
                textcoords="offset points", size=8, color="0.15", zorder=5,
            )  # fmt: skip


def _scatter(panel: Axes, spectrum: ModeSpectrum, x: Array, y: Array) -> None:
    """Draw a mark for each mode, whose area grows with its contribution."""
    areas = 14 + 300 * np.clip(spectrum.contributions, 0, 0.6)
    for chosen, colour, label in (
        (~spectrum.confirmed, _OTHER, "not confirmed"),
        (spectrum.confirmed, _CONFIRMED, "confirmed on the validation period"),
    ):
        panel.scatter(
            x[chosen], y[chosen], areas[chosen], color=colour, alpha=0.75, linewidth=0,
            label=label, zorder=3 if label == "not confirmed" else 4,
        )  # fmt: skip


@dataclass(frozen=True)
class ModeMaps:
    """The maps of a mode.

    Attributes
    ----------
    picture : Picture
    share : float
        Width of the picture, of the width of a page.
    """

    picture: Picture
    share: float


@matplotlib.rc_context(MAP_STYLE)
def mode_maps(
    spectrum: ModeSpectrum, mode: int, maps: Array, units: Mapping[Channel, DisplayUnit]
) -> ModeMaps:
    """Draw the maps of a mode: the real part and, if it oscillates, a quarter of a period later.

    The channels are one below the other for a wide domain, else side by side.

    Parameters
    ----------
    spectrum : ModeSpectrum
    mode : int
        Index of the mode.
    maps : ndarray, shape (2, channels, latitudes, longitudes)
        Real and imaginary part.
    units : mapping of Channel to DisplayUnit
        Units in which the channels are shown.
    """
    grid = spectrum.layout.scaling.grid
    order, degrees = contiguous_longitudes(grid.longitude)
    shown = grid.channels[:_MOST_CHANNELS]
    titles = ["Real part"]
    if spectrum.eigenvalues[mode].imag:
        titles.append("A quarter of a period later")
    coast = coastlines_of(grid.latitude, degrees)
    shape = map_aspect(grid.latitude) * np.ptp(grid.latitude) / np.ptp(degrees)
    wide = shape < _WIDE
    rows, columns = (len(shown), len(titles)) if wide else (len(titles), len(shown))
    width = (0.42 if wide else 0.21) * WIDTH
    height = float(np.clip(width * shape, 0.8, 4.0))
    share = min(1.0, (0.1 if wide else 0.08) + columns * (0.45 if wide else 0.23))
    size = share * WIDTH, 0.4 + (height + 0.3) * rows + (0.0 if wide else 0.5)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    own = panels if wide else panels.T  # each row holds the maps of a channel
    for index, (channel, line) in enumerate(zip(shown, own, strict=True)):
        # The real part of z pattern is minus its imaginary part where z is i.
        units_shown, factor = units[channel]
        parts = [factor * maps[0, index], -factor * maps[1, index]][: len(titles)]
        bound = float(np.nanmax(np.abs(parts))) or 1.0
        shades = MaxNLocator(20, symmetric=True).tick_values(-bound, bound)
        for panel, values in zip(line, parts, strict=True):
            filled = panel.contourf(
                degrees, grid.latitude, values[:, order], shades, cmap="RdBu_r", extend="both"
            )
            panel.plot(*coast.T, color="0.3", linewidth=0.55, zorder=3)
            frame_map(panel, grid.latitude, degrees)
        _add_colour_bar(line, filled, shades, units_shown, "right" if wide else "bottom")
        name = heading(channel)
        if wide:
            line[0].set_ylabel(name, color="0.1")
        else:
            line[0].set_title(textwrap.fill(name, 26), weight="bold")
    for panel, title in zip(own[0], titles, strict=True):
        if wide:
            panel.set_title(title, weight="bold")
        else:
            panel.set_ylabel(title, weight="bold", color="0.1")
    names = ", ".join(map(channel_label, shown))
    return ModeMaps(embed(figure, f"Maps of mode {mode + 1}: {names}.", raster=True), share)


def _add_colour_bar(
    panels: Sequence[Axes], filled: ContourSet, shades: Sequence[float], units: str, side: str
) -> None:
    """Add the colour bar of maps that are filled between ``shades``."""
    bar = panels[0].figure.colorbar(
        filled,
        ax=list(panels),
        location=side,
        pad=0.01,
        shrink=0.9,
        extendfrac=0.03,
        aspect=22 if side == "right" else 40,
    )
    bar.set_label(unit_label(units), color="0.25")
    bar.set_ticks(shades[(len(shades) // 2) % 4 :: 4])  # every fourth, zero among them
    bar.outline.set_visible(False)
