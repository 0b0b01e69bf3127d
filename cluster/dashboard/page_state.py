"""What a run has told so far, as the page remembers it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from gfrnn.cluster.dashboard.messages import Reading, Shown

# Points of a line, at most: what a screen can show. Beyond it every second one goes.
_POINTS = 1000


@dataclass
class PageState:
    """One run.

    Attributes
    ----------
    shown : Shown
        What was told last.
    threads : int
        Of all workers, when it was told.
    end : str or None
        How it ended, in a sentence; None while it goes on.
    times : list of float
        When the points of the lines were told, in seconds since 1970.
    lines : list of list of float
        Their values.
    clock, wall : callable
    """

    shown: Shown
    threads: int
    end: str | None = None
    times: list[float] = field(default_factory=list)
    lines: list[list[float]] = field(default_factory=list)
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    _told: float = 0.0

    def __post_init__(self) -> None:
        self.lines = [[] for _ in self.shown.lines]
        self.tell(self.shown, self.threads)

    def tell(self, shown: Shown, threads: int) -> None:
        """Take what a run says now."""
        self.shown, self.threads, self._told = shown, threads, self.clock()
        if len(self.times) >= _POINTS:
            self.times = self.times[::2]
            self.lines = [line[::2] for line in self.lines]
        self.times.append(self.wall())
        for line, reading in zip(self.lines, shown.lines, strict=True):
            value = self.now(reading)
            line.append(float("nan") if value is None else value)

    @property
    def silence(self) -> float:
        """Seconds since it told something; none pass once it has ended."""
        return 0.0 if self.end else self.clock() - self._told

    def now(self, reading: Reading) -> float | None:
        """The value of a reading at this moment, in per cent where it is a share."""
        if reading.value is None:
            return None
        if reading.of_thread is not None:
            whole = reading.of_thread * self.threads
            return 100.0 * reading.value / whole if whole else None
        return max(0.0, reading.value + reading.ticks * self.silence)
