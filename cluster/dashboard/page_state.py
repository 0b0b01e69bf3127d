"""State of the page of one run: its latest snapshot, and the history of the lines."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from gfrnn.cluster.dashboard.snapshot import Metric, RunSnapshot

# Points of a line, at most: what a screen can display. Beyond it, every second one is dropped.
_POINTS = 1000


@dataclass
class PageState:
    """Latest snapshot and history of one run.

    Attributes
    ----------
    snapshot : RunSnapshot
        The latest.
    threads : int
        Threads of all workers at that time.
    end : str or None
        A sentence on how the run ended; None while it runs.
    times : list of float
        Times of the points of the lines, in seconds since 1970.
    lines : list of list of float
        Values of the points, one list for each line.
    clock, wall : callable
        Clocks for intervals and for the time of day.
    """

    snapshot: RunSnapshot
    threads: int
    end: str | None = None
    times: list[float] = field(default_factory=list)
    lines: list[list[float]] = field(default_factory=list)
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    _updated: float = 0.0

    def __post_init__(self) -> None:
        self.lines = [[] for _ in self.snapshot.lines]
        self.update(self.snapshot, self.threads)

    def update(self, snapshot: RunSnapshot, threads: int) -> None:
        """Replace the snapshot, and add its values to the lines."""
        self.snapshot, self.threads, self._updated = snapshot, threads, self.clock()
        if len(self.times) >= _POINTS:
            self.times = self.times[::2]
            self.lines = [line[::2] for line in self.lines]
        self.times.append(self.wall())
        for line, metric in zip(self.lines, snapshot.lines, strict=True):
            value = self.current(metric)
            line.append(float("nan") if value is None else value)

    @property
    def age(self) -> float:
        """Seconds since the latest snapshot; 0 once the run has ended."""
        return 0.0 if self.end else self.clock() - self._updated

    def current(self, metric: Metric) -> float | None:
        """Return the value of a metric at this moment, as a percentage where it is a share."""
        if metric.value is None:
            return None
        if metric.of_thread is not None:
            whole = metric.of_thread * self.threads
            return 100.0 * metric.value / whole if whole else None
        return max(0.0, metric.value + metric.ticks * self.age)
