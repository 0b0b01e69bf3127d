"""Maps of a forecast, the verifying analysis and their difference."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from gfrnn.pipeline.data.grid import Channel, contiguous_longitudes
from gfrnn.workflows.report.figures import STYLE, WIDTH, Picture, embed
from gfrnn.workflows.report.labels import channel_label, heading, unit_label

Array = NDArray[Any]

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
        NaN where the field has no values.
    """

    channel: Channel
    units: str
    forecast: Array
    truth: Array
    climatology: Array


def map_pictures(
    fields: Sequence[MapField], latitude: Array, longitude: Array, valid: np.datetime64
) -> list[Picture]:
    """Draw forecast, truth and difference: anomalies in colours, full fields as contours.

    The three maps of a field are side by side; for a wide domain they are one below the other, with
    two fields per picture.
    """
    order, degrees = contiguous_longitudes(longitude)
    wide = map_aspect(latitude) * np.ptp(latitude) < 0.6 * np.ptp(degrees)
    size = 2 if wide else len(fields)
    return [
        _picture(fields[first : first + size], latitude, degrees, order, valid, wide)
        for first in range(0, len(fields), size)
    ]


def map_aspect(latitude: Array) -> float:
    """Return the length of a degree of latitude in degrees of longitude at the map's centre.

    Limited to 2, to keep polar maps from becoming too narrow.
    """
    return 1 / max(0.5, float(np.cos(np.deg2rad(np.mean(latitude)))))


@matplotlib.rc_context(MAP_STYLE)
def _picture(
    fields: Sequence[MapField],
    latitude: Array,
    degrees: Array,
    order: Array,
    valid: np.datetime64,
    wide: bool,
) -> Picture:
    shape = map_aspect(latitude) * np.ptp(latitude) / np.ptp(degrees)
    width = 0.46 * WIDTH if wide else 0.27 * WIDTH
    height = float(np.clip(width * shape, 0.8, 4.5))
    # The map of a wide domain has the same width with one field as with two.
    total = (
        (0.05 * WIDTH + width * len(fields), 1.1 + 3 * (height + 0.25))
        if wide
        else (WIDTH, 0.5 + (height + 0.1) * len(fields))
    )
    figure = Figure(figsize=total, layout="constrained")
    lines, columns = (3, len(fields)) if wide else (len(fields), 3)
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    own = panels.T if wide else panels  # each row holds the three maps of a field
    for line, field in zip(own, fields, strict=True):
        _draw(line, field, latitude, degrees, order, "bottom" if wide else "right")
        name = textwrap.fill(heading(field.channel), 40 if wide else 24)
        if wide:
            line[0].set_title(name, weight="bold", size=10.5)
        else:
            line[0].set_ylabel(name, weight="bold", color="0.1")
    for panel, title in zip(own[0], ("Forecast", "Truth", "Difference"), strict=True):
        if wide:
            panel.set_ylabel(title, weight="bold", color="0.1")
        else:
            panel.set_title(title, weight="bold")
    names = ", ".join(channel_label(field.channel) for field in fields)
    when = f"{pd.Timestamp(valid):%Y-%m-%d %H:%M} UTC"
    alt = f"Maps for {when}: forecast, truth and difference of {names}."
    return embed(figure, alt, raster=True)


def _draw(
    panels: Sequence[Axes],
    field: MapField,
    latitude: Array,
    degrees: Array,
    order: Array,
    side: str,
) -> None:
    """Draw the three maps of a field and their colour bar."""
    anomalies = (
        field.forecast - field.climatology,
        field.truth - field.climatology,
        field.forecast - field.truth,
    )
    # One scale for all three, so that an error looks as large as it is.
    bound = float(np.nanpercentile(np.abs(anomalies), 99))
    shades = MaxNLocator(20, symmetric=True).tick_values(-bound, bound)
    contours = MaxNLocator(9).tick_values(np.nanmin(field.truth), np.nanmax(field.truth))
    for panel, values, full in zip(
        panels, anomalies, (field.forecast, field.truth, None), strict=True
    ):
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
        draw_coast(panel)
        frame_map(panel, latitude, degrees)
    add_colour_bar(panels, filled, shades, field.units, side)


def frame_map(panel: Axes, latitude: Array, degrees: Array) -> None:
    """Set the extent of a map, its aspect, the labels of its axes and the colour of no values."""
    panel.set_facecolor("0.82")  # missing values differ from an anomaly of zero
    panel.set(xlim=degrees[[0, -1]], ylim=latitude[[0, -1]], aspect=map_aspect(latitude))
    panel.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 3, 6, 10]))
    panel.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 3, 6, 10]))
    panel.xaxis.set_major_formatter(FuncFormatter(_east))
    panel.yaxis.set_major_formatter(FuncFormatter(_north))


def add_colour_bar(
    panels: Sequence[Axes], filled: Any, shades: Sequence[float], units: str, side: str
) -> None:
    """Add the colour bar of maps of anomalies, which are filled between ``shades``."""
    bar = panels[0].figure.colorbar(
        filled, ax=list(panels), location=side, pad=0.01, shrink=0.9, extendfrac=0.03,
        aspect=22 if side == "right" else 40,
    )  # fmt: skip
    bar.set_label(unit_label(units), color="0.25")
    bar.set_ticks(shades[(len(shades) // 2) % 4 :: 4])  # every fourth, zero among them
    bar.outline.set_visible(False)


def _east(degrees: float, _: object = None) -> str:
    west = (degrees + 180) % 360 - 180
    return f"{abs(west):g}°" + ("W" if -180 < west < 0 else "E" if 0 < west < 180 else "")


def _north(degrees: float, _: object = None) -> str:
    return f"{abs(degrees):g}°" + ("S" if degrees < 0 else "N" if degrees > 0 else "")


def draw_coast(panel: Axes) -> None:
    """Draw coastlines, where they are on this machine."""
    for line in _coastlines():
        for turn in (-360, 0, 360):  # for any range of longitudes
            panel.plot(line[:, 0] + turn, line[:, 1], color="0.3", linewidth=0.6, zorder=3)


@cache
def _coastlines() -> tuple[Array, ...]:
    """Read coastlines that cartopy has on this machine; nothing is downloaded."""
    try:
        import cartopy
        from cartopy.io import Downloader, shapereader
    except ImportError:
        return ()
    what = {"resolution": "110m", "category": "physical", "name": "coastline"}
    source = Downloader.from_config(("shapefiles", "natural_earth", *what.values()))
    what["config"] = cartopy.config
    for path in (source.pre_downloaded_path(what), source.target_path(what)):
        if path is not None and path.exists():
            shapes = shapereader.Reader(path).geometries()
            return tuple(
                np.asarray(part.coords)
                for shape in shapes
                for part in getattr(shape, "geoms", [shape])
            )
    return ()
