"""Frames of one forecast beside the truth, lead by lead, as one image for an animation."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image

from gfrnn.pipeline.data.grid import contiguous_longitudes
from gfrnn.workflows.report.figures import STYLE, Picture
from gfrnn.workflows.report.labels import number, unit_label
from gfrnn.workflows.report.maps import MapField, coastlines_of, is_wide, map_aspect

Array = NDArray[Any]

_WIDTH = 760  # pixels of a frame
_HEAD = 30  # pixels above a map, for its title
_GAP = 12
_TALLEST = 420  # pixels of a map
_MOST_POINTS = 180  # of a line of a field; more cannot be seen
_MAP = "RdBu_r"


@dataclass(frozen=True)
class Animation:
    """Frames below each other in one image; the page moves it past a window of one frame.

    Attributes
    ----------
    picture : Picture
        Frames of equal size.
    labels : list of str
        Lead of each frame.
    width, height : int
        Size of a frame in pixels.
    colors : list of str
        Colours of the scale, from the lowest anomaly to the highest.
    low, high : str
        Ends of the scale, with units.
    contour : str or None
        Distance of the contours, with units.
    """

    picture: Picture
    labels: list[str]
    width: int
    height: int
    colors: list[str]
    low: str
    high: str
    contour: str | None


@dataclass(frozen=True)
class _Placement:
    """Position of a map in the image; pixels are counted from the top left corner."""

    left: float
    top: float
    width: float
    height: float

    def longitude(self, degrees: Array, values: Array) -> Array:
        return self.left + (values - degrees[0]) / np.ptp(degrees) * self.width

    def latitude(self, latitude: Array, values: Array) -> Array:
        return self.top + (latitude.max() - values) / np.ptp(latitude) * self.height


@matplotlib.rc_context(STYLE)
def animate(
    fields: Sequence[MapField],
    labels: Sequence[str],
    times: Sequence[str],
    latitude: Array,
    longitude: Array,
    *,
    coast: bool = True,
) -> Animation:
    """Draw the frames of a forecast beside the truth.

    All maps are drawn in one set of axes, which takes a tenth of the time of axes of their own.

    Parameters
    ----------
    fields : sequence of MapField
        One channel at each lead.
    labels, times : sequence of str
        Lead of each field, and time that it is valid for.
    latitude, longitude : ndarray
    coast : bool
        Whether to draw the coastlines of the earth.
    """
    order, degrees = contiguous_longitudes(longitude)
    rows, columns = (slice(None, None, -(-n // _MOST_POINTS)) for n in (latitude.size, order.size))
    lines = coastlines_of(latitude, degrees) if coast else np.empty((0, 2))
    north, east, order = latitude[rows], degrees[columns], order[columns]
    places, height = _frame(latitude, degrees)
    figure = Figure(figsize=(_WIDTH / 100, height * len(fields) / 100), dpi=100)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(xlim=(0, _WIDTH), ylim=(height * len(fields), 0))
    axes.set_axis_off()
    axes.set_autoscale_on(False)
    shades, contours = _levels(fields)
    for index, (field, lead, time) in enumerate(zip(fields, labels, times, strict=True)):
        maps = (field.forecast, f"Forecast {lead}"), (field.truth, f"Truth {time}")
        for place, (full, title) in zip(places, maps, strict=True):
            own = _Placement(place.left, place.top + index * height, place.width, place.height)
            x, y = own.longitude(degrees, east), own.latitude(latitude, north)
            values = [each[rows][:, order] for each in (full, full - field.climatology)]
            _draw(axes, own, x, y, values, shades, contours)
            axes.plot(
                own.longitude(degrees, lines[:, 0]), own.latitude(latitude, lines[:, 1]),
                color="0.3", linewidth=0.7,
            )  # fmt: skip
            axes.text(own.left, own.top - 8, title, size=14, color="0.1")
    unit = unit_label(fields[0].units)
    step = f"{np.diff(contours)[0]:g} {unit}" if len(contours) > 1 else None
    alt = (
        f"Maps of forecast and truth at {len(fields)} leads, from {labels[0]} to {labels[-1]}, "
        f"below each other; one is shown at a time."
    )
    tints = colormaps[_MAP](np.linspace(0, 1, 9))
    return Animation(
        Picture(_image(figure), alt, _WIDTH),
        list(labels),
        _WIDTH,
        height,
        [to_hex(tint) for tint in tints],
        f"\N{MINUS SIGN}{number(-shades[0])} {unit}",
        f"+{number(shades[-1])} {unit}",
        step,
    )


def _frame(latitude: Array, degrees: Array) -> tuple[list[_Placement], int]:
    """Return the positions of both maps of a frame, and its height in pixels."""
    stacked = is_wide(latitude, degrees)
    width = float(_WIDTH if stacked else (_WIDTH - _GAP) // 2)
    shape = map_aspect(latitude) * np.ptp(latitude) / np.ptp(degrees)
    height = float(np.ceil(min(width * shape, _TALLEST)))
    width = min(width, height / shape)
    first = _Placement(0.0, _HEAD, width - 1, height)
    if stacked:
        second = _Placement(0.0, 2 * _HEAD + height, width - 1, height)
        return [first, second], int(2 * (_HEAD + height) + _GAP)
    second = _Placement((_WIDTH + _GAP) / 2, _HEAD, width - 1, height)
    return [first, second], int(_HEAD + height + _GAP)


def _levels(fields: Sequence[MapField]) -> tuple[Array, Array]:
    """Return levels of the anomalies and of the full fields that suit all frames."""
    truth = np.stack([field.truth for field in fields])
    anomalies = truth - np.stack([field.climatology for field in fields])
    bound = float(np.nanpercentile(np.abs(anomalies), 99)) or 1.0
    shades = MaxNLocator(14, symmetric=True).tick_values(-bound, bound)
    contours = MaxNLocator(8).tick_values(np.nanmin(truth), np.nanmax(truth))
    return np.asarray(shades), np.asarray(contours)


def _draw(
    axes: Axes,
    place: _Placement,
    x: Array,
    y: Array,
    values: Sequence[Array],
    shades: Array,
    contours: Array,
) -> None:
    """Draw one map: anomalies in colours, the full field as contours."""
    full, anomaly = values
    corner = place.left, place.top
    size: dict[str, Any] = {"width": place.width, "height": place.height}
    # Missing values are grey.
    axes.add_patch(Rectangle(corner, facecolor="0.82", edgecolor="none", **size))
    if np.isfinite(anomaly).any():  # a forecast may have diverged
        axes.contourf(x, y, anomaly, shades, cmap=_MAP, extend="both")
        inside = contours[(contours > np.nanmin(full)) & (contours < np.nanmax(full))]
        if inside.size:
            axes.contour(x, y, full, inside, colors="0.15", linewidths=0.9)
    axes.add_patch(Rectangle(corner, fill=False, edgecolor="0.45", linewidth=0.8, **size))


def _image(figure: Figure) -> str:
    """Render a figure as a PNG of 256 colours, which takes a third of the space.

    Maximum coverage keeps pale colours apart from grey, which the faster methods do not.
    """
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    buffer = io.BytesIO()
    image.quantize(256, method=Image.Quantize.MAXCOVERAGE).save(buffer, "png")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
