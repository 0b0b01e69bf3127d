"""Maps of a forecast at one lead, beside the truth and the difference where it is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from gfrnn.pipeline.data.grid import Channel
from gfrnn.pipeline.errors import ConfigError
from gfrnn.workflows.plots.plotted_run import PlottedRun
from gfrnn.workflows.report.labels import lead_label, time_label
from gfrnn.workflows.report.maps import MapField, map_figure


def plot_maps(plotted: PlottedRun, start: int, lead: int, channels: Sequence[Channel]) -> Figure:
    """Draw maps of channels of one forecast; of an ensemble, of its mean.

    Parameters
    ----------
    plotted : PlottedRun
    start, lead : int
        Indices of the initial time and of the lead.
    channels : sequence of Channel

    Raises
    ------
    ConfigError
        If the grid is a single line, or a forecast whose truth is not known has diverged.
    """
    grid, valid = plotted.grid, plotted.valid[start, lead : lead + 1]
    if min(grid.shape[1:]) < 2:
        raise ConfigError(
            f"{plotted.run.folder}: its grid of {grid.shape[1]} latitudes and {grid.shape[2]} "
            "longitudes has no maps; give a place with --place NAME=LAT,LON"
        )
    (truth,), (mean,) = plotted.truth_at(valid), plotted.climatology_at(valid)
    fields = []
    for channel in channels:
        own, (units, factor) = grid.channels.index(channel), plotted.unit(channel)
        forecast = plotted.member_fields(channel, start, lead).mean("number", skipna=False).values
        fields.append(MapField(channel, units, forecast, factor * truth[own], factor * mean[own]))
    step = plotted.step
    which = f"{time_label(plotted.initial[start], step)} {lead_label(plotted.leads[lead])}"
    if not any(np.isfinite([each.forecast, each.truth]).any() for each in fields):
        raise ConfigError(
            f"{plotted.run.folder}: the forecast from {which} has diverged, and its truth is not "
            "known; choose a shorter --lead or another --time"
        )
    title = f"{which}, valid {time_label(valid[0], step)}; colours: anomaly from the climatology"
    return map_figure(fields, grid.latitude, grid.longitude, coast=plotted.earth, title=title)
