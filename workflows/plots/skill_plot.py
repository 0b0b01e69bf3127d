"""The root mean square errors of a run and of its references against lead."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
from matplotlib.figure import Figure

from gfrnn.pipeline.data.grid import Channel
from gfrnn.pipeline.runs.run import Run
from gfrnn.workflows.report.figures import STYLE, set_margins
from gfrnn.workflows.report.labels import channel_label, unit_label
from gfrnn.workflows.report.score_figures.panels import line_style, set_lead_axis

_SIZE = (3.5, 3.4)  # inches of a panel


@matplotlib.rc_context(STYLE)
def plot_skill(run: Run, channels: Sequence[Channel]) -> Figure:
    """Draw the RMSE of all systems in the units of the scores, a panel for each channel.

    Parameters
    ----------
    run : Run
    channels : sequence of Channel

    Raises
    ------
    RunError
        If the run is not verified.
    """
    run.check_verified()
    scores = run.scores()
    leads = scores["prediction_timedelta"].values
    figure = Figure(figsize=(_SIZE[0] * len(channels), _SIZE[1]))
    panels = figure.subplots(1, len(channels), squeeze=False)[0]
    set_margins(figure, left=0.63, right=0.15, bottom=0.48, top=0.62)
    figure.subplots_adjust(wspace=0.28)
    for panel, channel in zip(panels, channels, strict=True):
        own = scores.sel(channel=channel.name)
        times = set_lead_axis(panel, leads)
        for system in map(str, own["system"].values):
            values = own["rmse"].sel(system=system).values
            panel.plot(times, values, label=system, **line_style(system, len(leads)))
        panel.set_title(channel_label(channel), loc="left", weight="bold")
        panel.set_ylabel(f"RMSE ({unit_label(str(own['units'].item()))})")
        panel.set_ylim(bottom=0)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper left", ncols=max(2, 3 * len(channels) - 2))
    return figure
