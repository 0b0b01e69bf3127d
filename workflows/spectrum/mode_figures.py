"""Figures of the eigenvalues of a run's linear dynamics, and maps of its modes."""

from __future__ import annotations

from collections.abc import Callable

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from gfrnn.pipeline.data.grid import Channel, contiguous_longitudes
from gfrnn.pipeline.runs.mode_spectrum import ModeSpectrum
from gfrnn.workflows.report.figures import STYLE, SYSTEMS, WIDTH, Picture, embed
from gfrnn.workflows.report.labels import channel_label, heading
from gfrnn.workflows.report.maps import (
    MAP_STYLE,
    add_colour_bar,
    draw_coast,
    frame_map,
    map_aspect,
)
from gfrnn.workflows.spectrum.mode_table import time_label

Array = NDArray[np.floating]

HALF = 0.55
"""Width of the picture of a mode that does not oscillate, of the width of the others."""

_MOST_CHANNELS = 4
_CONFIRMED, _OTHER = SYSTEMS["forecast"]["color"], "0.6"
_NUMBERED = 8


@matplotlib.rc_context(STYLE)
def eigenvalue_picture(spectrum: ModeSpectrum) -> Picture:
    """Plot the eigenvalues in the unit circle, and e-folding time against period of all modes."""
    figure = Figure(figsize=(WIDTH, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
    _draw_circle(left, spectrum)
    _draw_times(right, spectrum)
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
        axis.set_major_formatter(lambda value, _: f"{value:g}")
    if not finite.all():
        panel.axvline(1.6 * last, color="0.45", linewidth=0.8, linestyle=":")
        panel.annotate(
            "no oscillation", (2.5 * last, 0.02), xycoords=panel.get_xaxis_transform(),
            rotation=90, ha="right", va="bottom", size=8, color="0.35",
        )  # fmt: skip
    panel.legend(loc="upper left")


def _scatter(panel: Axes, spectrum: ModeSpectrum, x: Array, y: Array) -> None:
    """Draw a mark for each mode, whose area grows with its contribution; number the first."""
    areas = 14 + 300 * np.clip(spectrum.contributions, 0, 0.6)
    for chosen, colour, label in (
        (~spectrum.confirmed, _OTHER, "not confirmed"),
        (spectrum.confirmed, _CONFIRMED, "confirmed on the validation period"),
    ):
        panel.scatter(
            x[chosen], y[chosen], areas[chosen], color=colour, alpha=0.75, linewidth=0,
            label=label, zorder=3 if label == "not confirmed" else 4,
        )  # fmt: skip
    for index in range(min(_NUMBERED, len(x))):
        if np.isfinite(x[index] + y[index]):
            panel.annotate(
                str(index + 1), (x[index], y[index]), xytext=(6, 5), textcoords="offset points",
                size=8, color="0.15", zorder=5,
            )  # fmt: skip


@matplotlib.rc_context(MAP_STYLE)
def mode_picture(
    spectrum: ModeSpectrum, mode: int, maps: Array, units: Callable[[Channel], str]
) -> Picture:
    """Draw the maps of a mode: the real part and, if it oscillates, a quarter of a period later.

    Parameters
    ----------
    spectrum : ModeSpectrum
    mode : int
        Index of the mode.
    maps : ndarray, shape (2, channels, latitudes, longitudes)
        Real and imaginary part.
    units : callable
        Function that returns the units of a channel.
    """
    grid, turning = spectrum.layout.scaling.grid, spectrum.eigenvalues[mode].imag != 0
    order, degrees = contiguous_longitudes(grid.longitude)
    shown = grid.channels[:_MOST_CHANNELS]
    width = 0.42 * WIDTH
    shape = map_aspect(grid.latitude) * np.ptp(grid.latitude) / np.ptp(degrees)
    height = float(np.clip(width * shape, 1.0, 3.4))
    columns = 2 if turning else 1
    size = WIDTH if turning else HALF * WIDTH, 0.4 + (height + 0.35) * len(shown)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(shown), columns, sharex=True, sharey=True, squeeze=False)
    for index, (channel, line) in enumerate(zip(shown, panels, strict=True)):
        # The real part of z pattern is minus its imaginary part where z is i.
        parts = [maps[0, index], -maps[1, index]][:columns]
        bound = float(np.nanmax(np.abs(parts))) or 1.0
        shades = MaxNLocator(20, symmetric=True).tick_values(-bound, bound)
        for panel, values in zip(line, parts, strict=True):
            filled = panel.contourf(
                degrees, grid.latitude, values[:, order], shades, cmap="RdBu_r", extend="both"
            )
            draw_coast(panel)
            frame_map(panel, grid.latitude, degrees)
        line[0].set_ylabel(heading(channel), color="0.1")
        add_colour_bar(line, filled, shades, units(channel), "right")
    for panel, title in zip(panels[0], ("Real part", "A quarter of a period later"), strict=False):
        panel.set_title(title, weight="bold")
    names = ", ".join(map(channel_label, shown))
    return embed(figure, f"Maps of mode {mode + 1}: {names}.", raster=True)
