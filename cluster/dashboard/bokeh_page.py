"""The page as bokeh draws it; imported on the scheduler only."""

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

from gfrnn.cluster.dashboard import html as markup
from gfrnn.cluster.dashboard.messages import Reading, Worker
from gfrnn.cluster.dashboard.page_state import PageState

# What the axis of time shows at least, in milliseconds.
_SHORTEST = 10_000

_CLOCK = {
    "seconds": "%H:%M:%S",
    "minsec": "%H:%M:%S",
    "minutes": "%H:%M",
    "hourmin": "%H:%M",
    "hours": "%H:%M",
    "days": "%d %b",
}


class Drawing:
    """All figures of one run, and what brings them up to date.

    Parameters
    ----------
    story : PageState
    workers : callable
        Gives the workers as they are now.
    others : mapping of str
        Other runs on this scheduler: their id and title.
    """

    def __init__(
        self, story: PageState, workers: Callable[[], list[Worker]], others: Mapping[str, str]
    ) -> None:
        self.story, self.workers, self.others = story, workers, others
        wide: dict[str, Any] = {"sizing_mode": "stretch_width", "stylesheets": [markup.STYLE]}
        self.head, self.tiles, self.stages, self.table, self.memory = (
            Div(**wide) for _ in range(5)
        )
        self.points = ColumnDataSource()
        self.times = Range1d()
        self.lines = [
            _line(self.points, str(place), reading, self.times)
            for place, reading in enumerate(story.shown.lines)
        ]
        self.root = column(
            self.head,
            self.tiles,
            row(
                column(self.stages, self.table, sizing_mode="stretch_width"),
                column(*self.lines, self.memory, sizing_mode="stretch_width"),
                sizing_mode="stretch_width",
                spacing=32,
            ),
            sizing_mode="stretch_width",
            margin=(8, 20, 8, 20),
        )
        self.farewell = CustomJS(
            args={"head": self.head, "before": markup.GOES_ON, "after": markup.NOBODY},
            code="head.text = head.text.replace(before, after)",
        )

    def update(self) -> None:
        """Show how things stand; what has not changed is not sent."""
        story, workers = self.story, self.workers()
        _say(self.head, markup.head(story, len(workers), self.others))
        _say(self.tiles, markup.tiles(story))
        _say(self.stages, markup.stages(story.shown.stages, story.silence))
        _say(self.table, markup.table(story.shown.table))
        _say(self.memory, markup.memory(workers, story.shown.needed))
        times = [_local(moment) for moment in story.times]
        if list(self.points.data.get("time", ())) != times:
            lines = {str(place): list(line) for place, line in enumerate(story.lines)}
            self.points.data = {"time": times, **lines}
            self.times.update(start=times[0], end=max(times[-1], times[0] + _SHORTEST))
            for picture, line in zip(self.lines, story.lines, strict=True):
                picture.y_range.end = _top(line)


def _line(points: Any, name: str, reading: Reading, times: Any) -> Any:
    unit = f" ({reading.unit})" if reading.unit else ""
    picture = figure(
        title=f"{reading.label}{unit}",
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
            tooltips=[("time", "@time{%H:%M:%S}"), (reading.label, f"@{{{name}}}{{0,0.[0]}}")],
            formatters={"@time": "datetime"},
            mode="vline",
        )
    )
    return picture


def _top(line: Sequence[float]) -> float:
    """A little above the highest point; 1 where there is none."""
    return 1.1 * max((value for value in line if math.isfinite(value)), default=0.0) or 1.0


def _say(div: Any, text: str) -> None:
    if div.text != text:
        div.text = text


def _local(moment: float) -> float:
    """Milliseconds as bokeh draws them, which knows no time zones: by the scheduler's clock."""
    return (datetime.fromtimestamp(moment) - datetime(1970, 1, 1)).total_seconds() * 1000
