"""Make the figure that ``gfrnn plot`` is asked for, and write it to a file."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib.figure import Figure

from gfrnn.pipeline.data.variables.names import suggest_names
from gfrnn.pipeline.errors import ConfigError
from gfrnn.pipeline.runs.run import Run
from gfrnn.workflows.plots.map_plot import plot_maps
from gfrnn.workflows.plots.plotted_run import PlottedRun, file_stamp
from gfrnn.workflows.plots.series_plot import (
    plot_index_forecast,
    plot_index_history,
    plot_places,
)
from gfrnn.workflows.plots.skill_plot import plot_skill
from gfrnn.workflows.report.labels import lead_label
from gfrnn.workflows.report.place_card import cells_of

FORMATS = (".png", ".svg", ".pdf")
"""Endings of the files that can be written."""

_MOST_CHANNELS = 4  # by default
_DPI = 150


@dataclass(frozen=True)
class PlotRequest:
    """Request of a figure: without places and an index, of maps at one lead.

    Attributes
    ----------
    time : str or None
        Initial time.
    lead : str or None
    variables : list of str
    places : dict of str to (float, float)
        Latitude and longitude in degrees by name.
    index : str or None
    skill : bool
        Whether errors against lead are drawn, of all forecasts.
    """

    time: str | None = None
    lead: str | None = None
    variables: list[str] = field(default_factory=list)
    places: dict[str, tuple[float, float]] = field(default_factory=dict)
    index: str | None = None
    skill: bool = False

    def check(self) -> None:
        """Refuse options that exclude each other.

        Raises
        ------
        ConfigError
        """
        if self.skill:
            given = {
                "--time": self.time,
                "--lead": self.lead,
                "--place": self.places,
                "--index": self.index,
            }
            if other := next((name for name, value in given.items() if value), None):
                raise ConfigError(
                    f"--skill: has the errors of all forecasts at all leads; leave {other} out"
                )
        if self.index and (self.places or self.variables):
            other = "--place" if self.places else "--variable"
            raise ConfigError(f"--index: has a place and a variable of its own; leave {other} out")
        if self.places and self.lead:
            raise ConfigError("--lead: series at a place have all leads; leave it or --place out")
        if self.index and self.lead and self.time:
            raise ConfigError(
                "--index: give --time for one forecast at all leads, or --lead for all forecasts "
                "at one lead; leave the other out"
            )


def make_figure(run: Run, request: PlotRequest) -> tuple[Figure, str]:
    """Return a figure of the forecasts of a run, and a name for its file without an ending.

    Raises
    ------
    ConfigError
        If a time, a lead, a variable, a place or an index is not there; the message names the
        nearest ones.
    RunError
        If the run has no finished forecasts, or keeps no fields of them.
    """
    request.check()
    plotted = PlottedRun(run)
    if request.skill:
        return plot_skill(run, plotted.channels_of(request.variables, _MOST_CHANNELS)), "skill"
    if request.index is not None:
        indices = run.experiment.verification.indices
        if request.index not in indices:
            advice = (
                suggest_names(request.index, indices)
                if indices
                else "the experiment has none (verification.indices)"
            )
            raise ConfigError(f"--index: {request.index} is no index of {run.folder}; {advice}")
        if request.time is None:
            figure = plot_index_history(plotted, request.lead, request.index)
            return figure, f"{request.index}_{request.lead or 'usual_lead'}"
        start = plotted.start_of(request.time, 0)
        plotted.warn_without_truth(plotted.valid[start])
        name = f"{request.index}_{file_stamp(plotted.initial[start], plotted.step)}"
        return plot_index_forecast(plotted, start, request.index), name
    lead = plotted.lead_of(request.lead)
    start = plotted.start_of(request.time, lead)
    channels = plotted.channels_of(request.variables, _MOST_CHANNELS)
    stamp = file_stamp(plotted.initial[start], plotted.step)
    if request.places:
        cells = cells_of(request.places, plotted.grid)
        plotted.warn_without_truth(plotted.valid[start])
        return plot_places(plotted, start, channels, cells), f"places_{stamp}"
    plotted.warn_without_truth(plotted.valid[start, [lead]])
    when = "".join(lead_label(plotted.leads[lead]).removeprefix("+").split())
    return plot_maps(plotted, start, lead, channels), f"maps_{stamp}_{when}"


def file_of(output: Path | None, run: Run, name: str) -> Path:
    """Return the file of a figure: ``--output``, or one in the folder ``plots`` of the run.

    Raises
    ------
    ConfigError
        If the ending is none of the formats.
    """
    if output is None:
        return run.folder / "plots" / f"{name}.png"
    if output.suffix.lower() not in FORMATS:
        raise ConfigError(
            f"--output: {output} ends with {output.suffix or 'nothing'}; allowed: "
            f"{', '.join(FORMATS)}"
        )
    return output


def write_figure(figure: Figure, file: Path) -> None:
    """Write a figure; the file has its name only when it is complete."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.stem}.partial{file.suffix}")
    figure.savefig(partial, dpi=_DPI)
    os.replace(partial, file)
