"""The figures and texts of the page as bokeh models; imported on the scheduler only."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from bokeh.layouts import column, row
from bokeh.models import (
    BasicTicker,
    ColumnDataSource,
    CustomJS,
    DatetimeTickFormatter,
    Div,
    HoverTool,
    NumeralTickFormatter,
    Range1d,
)
from bokeh.plotting import figure

from gfrnn.cluster.dashboard import page_html
from gfrnn.cluster.dashboard.page_state import PageState
from gfrnn.cluster.dashboard.snapshot import Metric, WorkerMemory

# Shortest range of the axis of time, in milliseconds.
_SHORTEST = 10_000

_CLOCK = {
    "seconds": "%H:%M:%S",
    "minsec": "%H:%M:%S",
    "minutes": "%H:%M",
    "hourmin": "%H:%M",
    "hours": "%H:%M",
    "days": "%d %b",
}


class BokehPage:
    """Bokeh models of the page of one run.

    Parameters
    ----------
    state : PageState
    workers : callable
        Returns the present memory of the workers.
    others : mapping of str
        Ids and titles of the other runs on this scheduler.
    """

    def __init__(
        self, state: PageState, workers: Callable[[], list[WorkerMemory]], others: Mapping[str, str]
    ) -> None:
        self.state, self.workers, self.others = state, workers, others
        wide: dict[str, Any] = {"sizing_mode": "stretch_width", "stylesheets": [page_html.STYLE]}
        self.head, self.tiles, self.stages, self.table, self.memory = (
            Div(**wide) for _ in range(5)
        )
        self.points = ColumnDataSource()
        self.times = Range1d()
        self.lines = [
            _line_figure(self.points, str(place), metric, self.times)
            for place, metric in enumerate(state.snapshot.lines)
        ]
        half: dict[str, Any] = {"sizing_mode": "stretch_width", "stylesheets": [page_html.HALF]}
        self.root = column(
            self.head,
            self.tiles,
            row(
                column(self.stages, self.table, **half),
                column(*self.lines, self.memory, **half),
                sizing_mode="stretch_width",
                spacing=32,
                stylesheets=[page_html.HALVES],
            ),
            sizing_mode="stretch_width",
            margin=(8, 20, 8, 20),
        )
        self.on_connection_lost = CustomJS(
            args={"head": self.head, "before": page_html.RUNNING, "after": page_html.DISCONNECTED},
            code="head.text = head.text.replace(before, after)",
        )

    def update(self) -> None:
        """Update all models; bokeh sends those that have changed to the browser."""
        state, workers = self.state, self.workers()
        _set_text(self.head, page_html.head(state, len(workers), self.others))
        _set_text(self.tiles, page_html.tiles(state))
        _set_text(self.stages, page_html.stages(state.snapshot.stages, state.age))
        _set_text(self.table, page_html.table(state.snapshot.table))
        _set_text(self.memory, page_html.memory(workers, state.snapshot.needed))
        times = [_local(moment) for moment in state.times]
        if list(self.points.data.get("time", ())) != times:
            lines = {str(place): list(line) for place, line in enumerate(state.lines)}
            self.points.data = {"time": times, **lines}
            self.times.update(start=times[0], end=max(times[-1], times[0] + _SHORTEST))
            for picture, line in zip(self.lines, state.lines, strict=True):
                picture.y_range.end = _top(line)


def _line_figure(points: Any, name: str, metric: Metric, times: Any) -> Any:
    unit = f" ({metric.unit})" if metric.unit else ""
    picture = figure(
        title=f"{metric.label}{unit}",
        height=160,
        sizing_mode="stretch_width",
        x_axis_type="datetime",
        x_range=times,
        y_range=Range1d(0, 1),
        toolbar_location=None,
        tools="",
        outline_line_color=None,
    )
    drawn = picture.line("time", name, source=points, color="#2a6f97", line_width=2)
    picture.xaxis.formatter = DatetimeTickFormatter(**_CLOCK)
    picture.xgrid.visible = False
    picture.yaxis.formatter = NumeralTickFormatter(format="0.[0]a")
    picture.yaxis.ticker = BasicTicker(desired_num_ticks=4, num_minor_ticks=0)
    picture.add_tools(
        HoverTool(
            renderers=[drawn],
            tooltips=[("time", "@time{%H:%M:%S}"), (metric.label, f"@{{{name}}}{{0,0.[0]}}")],
            formatters={"@time": "datetime"},
            mode="vline",
        )
    )
    return picture


def _top(line: Sequence[float]) -> float:
    """Return an upper limit a little above the highest point; 1 where there is none."""
    return 1.1 * max((value for value in line if math.isfinite(value)), default=0.0) or 1.0


def _set_text(div: Any, text: str) -> None:
    if div.text != text:
        div.text = text


def _local(moment: float) -> float:
    """Return milliseconds in the scheduler's time zone, as bokeh knows no time zones."""
    return (datetime.fromtimestamp(moment) - datetime(1970, 1, 1)).total_seconds() * 1000
