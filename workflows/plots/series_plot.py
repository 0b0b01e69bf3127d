"""Series of a forecast over its leads: at places, or of an index; members, mean and truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import matplotlib.dates as mdates
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gfrnn.pipeline.data.area_index import index_channel, index_weights
from gfrnn.pipeline.data.grid import Channel
from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.verification.statistics_store import open_statistics
from gfrnn.workflows.plots.plotted_run import PlottedRun
from gfrnn.workflows.report.display_units import display_unit
from gfrnn.workflows.report.figures import STYLE, SYSTEMS, WIDTH, set_margins
from gfrnn.workflows.report.labels import heading, lead_label, time_label, unit_label
from gfrnn.workflows.report.maps import east_label, north_label
from gfrnn.workflows.report.place_card import BANDS, PlaceCell

Array = NDArray[Any]

_HEIGHT = 2.4  # inches of a panel
_FEW = 10  # members, of which each is a line and not a part of a band
_OWN = SYSTEMS["forecast"]["color"]


@dataclass(frozen=True)
class Series:
    """Values of one panel.

    Attributes
    ----------
    title, label : str
        Title of the panel, and label of its axis.
    times : ndarray of datetime64, shape (times,)
    members : ndarray, shape (members, times)
        One member for single forecasts.
    truth, climatology : ndarray, shape (times,)
        NaN where not known.
    """

    title: str
    label: str
    times: Array
    members: Array
    truth: Array
    climatology: Array


def plot_places(
    plotted: PlottedRun, start: int, channels: Sequence[Channel], cells: Sequence[PlaceCell]
) -> Figure:
    """Draw the forecast of channels at grid cells over all leads.

    Parameters
    ----------
    plotted : PlottedRun
    start : int
        Index of the initial time.
    channels : sequence of Channel
    cells : sequence of PlaceCell
    """
    grid, times = plotted.grid, plotted.valid[start]
    truth, mean = plotted.truth_at(times), plotted.climatology_at(times)
    panels = []
    for channel in channels:
        own, (units, factor) = grid.channels.index(channel), plotted.unit(channel)
        members = plotted.member_fields(channel, start, slice(None))
        for cell in cells:
            where = (
                f"{north_label(grid.latitude[cell.row])}, {east_label(grid.longitude[cell.column])}"
            )
            at = slice(None), own, cell.row, cell.column
            panels.append(
                Series(
                    f"{cell.name}, {where}: {heading(channel)}",
                    unit_label(units),
                    times,
                    members.isel(latitude=cell.row, longitude=cell.column).values,
                    factor * truth[at],
                    factor * mean[at],
                )
            )
    title = f"Forecast from {time_label(plotted.initial[start], plotted.step)}"
    return series_figure(title, panels)


def plot_index_forecast(plotted: PlottedRun, start: int, name: str) -> Figure:
    """Draw the anomaly of an index of one forecast over all leads.

    Parameters
    ----------
    plotted : PlottedRun
    start : int
        Index of the initial time.
    name : str
        Name of the index in the section ``verification.indices`` of the experiment.
    """
    indices = plotted.run.experiment.verification.indices
    grid, times = plotted.grid, plotted.valid[start]
    place = index_channel(name, indices[name], grid)
    channel, plane = grid.channels[place], grid.shape[1:]
    weights = index_weights({name: indices[name]}, grid).reshape(grid.shape)[place]
    units, factor = plotted.unit(channel)
    box = weights > 0

    def index(values: Array) -> Array:
        return values.reshape(*values.shape[:-2], -1)[..., box.ravel()] @ weights[box]

    mean = factor * index(plotted.climatology_at(times)[:, place])
    members = index(plotted.member_fields(channel, start, slice(None)).values.reshape(
        -1, len(times), *plane
    )) - mean  # fmt: skip
    truth = factor * index(plotted.truth_at(times)[:, place]) - mean
    title = f"Forecast from {time_label(plotted.initial[start], plotted.step)}"
    label = f"anomaly ({unit_label(units)})"
    panel = Series(f"Index {name}", label, times, members, truth, np.zeros(len(times)))
    return series_figure(title, [panel])


def plot_index_history(plotted: PlottedRun, lead: str | None, name: str) -> Figure:
    """Draw the anomaly of an index in all forecasts at one lead, and in the truth.

    The series are those that the scores were computed from; of an ensemble, that of its mean.

    Parameters
    ----------
    plotted : PlottedRun
    lead : str or None
        Lead such as ``6mo``.
    name : str
        Name of the index.

    Raises
    ------
    RunError
        If the forecasts have not been verified, or without this index.
    """
    plotted.run.check_verified()
    statistics = open_statistics(plotted.run.statistics)
    if name not in statistics.get("index", ()):
        raise RunError(
            f"{plotted.run.statistics}: has no index {name}, which was added to "
            "verification.indices later; run `gfrnn verify` first"
        )
    leads = statistics["prediction_timedelta"].values
    place = plotted.lead_of(lead, leads)
    own = statistics.sel(index=name).isel(prediction_timedelta=place)
    units, factor = display_unit(str(own["index_channel"].item()), str(own["index_units"].item()))
    known = own["known"].values == 1
    forecast = factor * own["index_forecast"].sel(system="forecast").values
    truth = np.where(known, factor * own["index_truth"].values, np.nan)
    panel = Series(
        f"Index {name} at {lead_label(leads[place])}",
        f"anomaly ({unit_label(units)})",
        own["valid_time"].values,
        np.where(known, forecast, np.nan)[None],
        truth,
        np.zeros(len(truth)),
    )
    first, last = (time_label(statistics["time"].values[end], plotted.step) for end in (0, -1))
    return series_figure(f"Forecasts from {first} to {last}", [panel], points=False)


@matplotlib.rc_context(STYLE)
def series_figure(title: str, panels: Sequence[Series], *, points: bool = True) -> Figure:
    """Draw panels of series below each other, with one legend.

    Parameters
    ----------
    title : str
    panels : sequence of Series
    points : bool
        Whether the truth is drawn as points, and not as a line.
    """
    tall = 0.85 + (_HEIGHT + 0.45) * len(panels)
    figure = Figure(figsize=(0.8 * WIDTH, tall))
    figure.suptitle(title, x=0.02, y=1 - 0.08 / tall, ha="left", va="top", size=10.5)
    axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    set_margins(figure, left=0.8, right=0.2, bottom=0.4, top=0.9)
    figure.subplots_adjust(hspace=0.45 / _HEIGHT)
    for panel, own in zip(axes, panels, strict=True):
        _draw(panel, own, points)
    handles, labels = axes[0].get_legend_handles_labels()
    place = 0.015, 1 - 0.3 / tall  # below the title
    figure.legend(handles, labels, loc="upper left", bbox_to_anchor=place, ncols=len(labels))
    return figure


def _draw(panel: Axes, own: Series, points: bool) -> None:
    mean = own.members.mean(axis=0)
    count = len(own.members)
    if 1 < count < _FEW:
        panel.plot(own.times, own.members.T, color=_OWN, alpha=0.3, linewidth=0.8)
    elif count >= _FEW:
        for low, high, alpha in BANDS:
            ends = np.quantile(own.members, (low, high), axis=0)
            label = f"{100 * (high - low):.0f} % of the members"
            panel.fill_between(own.times, *ends, color=_OWN, alpha=alpha, linewidth=0, label=label)
    panel.plot(
        own.times, mean, color=_OWN, linewidth=1.8, label="mean" if count > 1 else "forecast"
    )
    panel.plot(
        own.times, own.climatology, color="0.5", linewidth=1.0, label="climatology",
        linestyle=(0, (5, 2, 1, 2)),
    )  # fmt: skip
    if np.isfinite(own.truth).any():
        style: dict[str, Any] = (
            {"marker": "o", "linestyle": "", "markersize": 3.5} if points else {"linewidth": 1.0}
        )
        panel.plot(own.times, own.truth, color="0.1", label="truth", **style)
    panel.set_title(own.title, weight="bold")
    panel.set_ylabel(own.label)
    locator = mdates.AutoDateLocator(minticks=3, maxticks=9)
    panel.xaxis.set_major_locator(locator)
    panel.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator))
    panel.margins(x=0.01)
