"""Maps of a forecast, the verifying analysis and their difference."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from gfrnn.pipeline.data.grid import Channel, contiguous_longitudes
from gfrnn.workflows.report.coastlines import coastlines
from gfrnn.workflows.report.figures import STYLE, WIDTH, Picture, embed, set_margins
from gfrnn.workflows.report.labels import channel_label, heading, unit_label

Array = NDArray[Any]

_GAP = 0.16  # inches between maps

# A map has a frame, and no grid lines on its colours.
MAP_STYLE = {**STYLE, "axes.grid": False, "axes.spines.top": True, "axes.spines.right": True}


@dataclass(frozen=True)
class MapField:
    """One channel of a forecast and of the verifying truth.

    Attributes
    ----------
    channel : Channel
    units : str
    forecast, truth, climatology : ndarray, shape (latitudes, longitudes)
        NaN where the field has no values; a truth that is not known yet is NaN everywhere.
    """

    channel: Channel
    units: str
    forecast: Array
    truth: Array
    climatology: Array

    @property
    def has_truth(self) -> bool:
        """Whether the truth is known."""
        return bool(np.isfinite(self.truth).any())

    @property
    def panels(self) -> dict[str, tuple[Array, Array | None]]:
        """Anomalies and full fields of each map, by its title; differences have no full field."""
        forecast = self.forecast - self.climatology, self.forecast
        if not self.has_truth:
            return {"Forecast": forecast}
        return {
            "Forecast": forecast,
            "Truth": (self.truth - self.climatology, self.truth),
            "Difference": (self.forecast - self.truth, None),
        }


def map_pictures(
    fields: Sequence[MapField],
    latitude: Array,
    longitude: Array,
    valid: np.datetime64,
    *,
    coast: bool = True,
) -> list[Picture]:
    """Draw forecast, truth and difference: anomalies in colours, full fields as contours.

    The three maps of a field are side by side; for a wide domain they are one below the other, with
    two fields per picture. Coastlines of the earth are drawn unless `coast` is False.
    """
    _, degrees = contiguous_longitudes(longitude)
    size = 2 if is_wide(latitude, degrees) else len(fields)
    return [
        _picture(fields[first : first + size], latitude, longitude, valid, coast)
        for first in range(0, len(fields), size)
    ]


def is_wide(latitude: Array, degrees: Array) -> bool:
    """Check whether maps of a domain are much wider than high."""
    return bool(map_aspect(latitude) * np.ptp(latitude) < 0.6 * np.ptp(degrees))


def coastlines_of(latitude: Array, degrees: Array) -> Array:
    """Return the coastlines on maps of a grid, see :func:`coastlines`."""
    return coastlines(degrees[0], degrees[-1], latitude.min(), latitude.max())


def map_aspect(latitude: Array) -> float:
    """Return the length of a degree of latitude in degrees of longitude at the map's centre.

    Limited to 2, to keep polar maps from becoming too narrow.
    """
    return 1 / max(0.5, float(np.cos(np.deg2rad(np.mean(latitude)))))


def _picture(
    fields: Sequence[MapField],
    latitude: Array,
    longitude: Array,
    valid: np.datetime64,
    coast: bool,
) -> Picture:
    names = ", ".join(channel_label(field.channel) for field in fields)
    when = f"{pd.Timestamp(valid):%Y-%m-%d %H:%M} UTC"
    alt = f"Maps for {when}: forecast, truth and difference of {names}."
    with matplotlib.rc_context(MAP_STYLE):
        return embed(map_figure(fields, latitude, longitude, coast=coast), alt, raster=True)


@matplotlib.rc_context(MAP_STYLE)
def map_figure(
    fields: Sequence[MapField],
    latitude: Array,
    longitude: Array,
    *,
    coast: bool = True,
    title: str = "",
) -> Figure:
    """Draw the maps of fields, see :func:`map_pictures`, in one figure, with a title above them.

    Either all fields have a truth, or none.
    """
    order, degrees = contiguous_longitudes(longitude)
    wide = is_wide(latitude, degrees)
    lines_of_coast = coastlines_of(latitude, degrees) if coast else np.empty((0, 2))
    titles = list(fields[0].panels)
    shape = map_aspect(latitude) * np.ptp(latitude) / np.ptp(degrees)
    width = 0.46 * WIDTH if wide else 0.27 * WIDTH
    height = float(np.clip(width * shape, 0.8, 4.5))
    lines, columns = (len(titles), len(fields)) if wide else (len(fields), len(titles))
    # In inches. The map of a wide domain has the same width with one field as with two.
    left, right, bottom, top = (0.7, 0.1, 0.85, 0.32) if wide else (0.75, 0.9, 0.32, 0.27)
    top += 0.3 * bool(title)
    tall = bottom + height * lines + _GAP * (lines - 1) + top
    figure = Figure(figsize=(left + width * columns + _GAP * (columns - 1) + right, tall))
    if title:
        figure.suptitle(title, x=0.02, y=1 - 0.08 / tall, ha="left", va="top", size=10.5)
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    set_margins(figure, left, right, bottom, top)
    figure.subplots_adjust(wspace=_GAP / width, hspace=_GAP / height)
    own = panels.T if wide else panels  # each row holds the maps of a field
    for line, field in zip(own, fields, strict=True):
        filled, shades = _draw(line, field, latitude, degrees, order, lines_of_coast)
        _draw_color_bar(figure, line[-1], filled, shades, unit_label(field.units), wide)
        name = textwrap.fill(heading(field.channel), 40 if wide else 24)
        if wide:
            line[0].set_title(name, weight="bold", size=10.5)
        else:
            line[0].set_ylabel(name, weight="bold", color="0.1")
    for panel, name in zip(own[0], titles, strict=True):
        if wide:
            panel.set_ylabel(name, weight="bold", color="0.1")
        else:
            panel.set_title(name, weight="bold")
    return figure


def _draw(
    panels: Sequence[Axes],
    field: MapField,
    latitude: Array,
    degrees: Array,
    order: Array,
    coast: Array,
) -> tuple[ContourSet, Sequence[float]]:
    """Draw the maps of a field; return one set of colours and their levels."""
    own = list(field.panels.values())
    # One scale for all maps, so that an error looks as large as it is.
    bound = float(np.nanpercentile(np.abs([values for values, _ in own]), 99))
    shades = MaxNLocator(20, symmetric=True).tick_values(-bound, bound)
    scale = field.truth if field.has_truth else field.forecast
    contours = MaxNLocator(9).tick_values(np.nanmin(scale), np.nanmax(scale))
    for panel, (values, full) in zip(panels, own, strict=True):
        there = np.isfinite(values).any()  # a forecast may have diverged
        if there:
            filled = panel.contourf(
                degrees, latitude, values[:, order], shades, cmap="RdBu_r", extend="both"
            )
        if there and full is not None:
            inside = contours[(contours > np.nanmin(full)) & (contours < np.nanmax(full))]
            lines = panel.contour(
                degrees, latitude, full[:, order], inside, colors="0.15", linewidths=0.7
            )
            panel.clabel(lines, np.intersect1d(inside, contours[1::2]), fontsize=6.5, fmt="%g")
        panel.plot(*coast.T, color="0.3", linewidth=0.55, zorder=3)
        frame_map(panel, latitude, degrees)
    return filled, shades


def frame_map(panel: Axes, latitude: Array, degrees: Array) -> None:
    """Set the extent of a map, its aspect, the labels of its axes and the colour of no values."""
    panel.set_facecolor("0.82")  # missing values differ from an anomaly of zero
    panel.set(xlim=degrees[[0, -1]], ylim=latitude[[0, -1]], aspect=map_aspect(latitude))
    panel.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 3, 6, 10]))
    panel.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 3, 6, 10]))
    panel.xaxis.set_major_formatter(FuncFormatter(east_label))
    panel.yaxis.set_major_formatter(FuncFormatter(north_label))


def _draw_color_bar(
    figure: Figure, last: Axes, filled: ContourSet, shades: Sequence[float], unit: str, wide: bool
) -> None:
    """Draw a colour bar below the last map of a field, or on its right."""
    end, (width, height) = last.get_position(), figure.get_size_inches()
    frame = (
        (end.x0 + 0.05 * end.width, end.y0 - 0.42 / height, 0.9 * end.width, 0.12 / height)
        if wide
        else (end.x1 + 0.1 / width, end.y0 + 0.05 * end.height, 0.12 / width, 0.9 * end.height)
    )
    bar = figure.colorbar(
        filled,
        cax=figure.add_axes(frame),
        orientation="horizontal" if wide else "vertical",
        extendfrac=0.03,
    )
    bar.set_label(unit, color="0.25")
    bar.set_ticks(shades[(len(shades) // 2) % 4 :: 4])  # every fourth, zero among them
    bar.outline.set_visible(False)


def east_label(degrees: float, _: object = None) -> str:
    """Write a longitude as ``3.5°W``; the second argument is that of formatters of ticks."""
    west = (degrees + 180) % 360 - 180
    return f"{abs(west):g}°" + ("W" if -180 < west < 0 else "E" if 0 < west < 180 else "")


def north_label(degrees: float, _: object = None) -> str:
    """Write a latitude as ``40°N``, see :func:`east_label`."""
    return f"{abs(degrees):g}°" + ("S" if degrees < 0 else "N" if degrees > 0 else "")
