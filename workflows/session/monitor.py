"""What feeds the page of a run: progress that is told becomes rates, times and what is left."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from gfrnn.cluster.dashboard import Reading, Shown, Stage, Table
from gfrnn.pipeline.reduction.tasks import Advance, Progress
from gfrnn.workflows.session.matmul_rate import MatmulRate

# Seconds over which rates are means, and points that are kept however old they are.
_WINDOW, _FEWEST = 20.0, 4

# Seconds between two points that are kept, at least.
_SPACING = 0.2

Clock = Callable[[], float]


class Moment(NamedTuple):
    """How far a stage was at a time."""

    time: float
    done: float
    rows: float
    work: float


_NOTHING = Moment(0.0, 0, 0.0, 0.0)


@dataclass
class Course:
    """One stage as it goes. It may come in parts, one for each candidate, and is shown as one.

    Attributes
    ----------
    name : str
    total : int
        Of the parts that are known.
    seconds : float
        That finished parts took.
    begun : float or None
        When the part under way began, by the clock; None between parts.
    saved : int
        Checkpoints that were written.
    moments : deque of Moment
        The latest.
    """

    name: str
    total: int = 0
    seconds: float = 0.0
    begun: float | None = None
    saved: int = 0
    moments: deque[Moment] = field(default_factory=deque)
    _part: Advance | None = None
    _before: Moment = _NOTHING
    _saved_before: int = 0

    @property
    def done(self) -> int:
        """Of all parts."""
        return int(self.moments[-1].done) if self.moments else 0

    @property
    def over(self) -> bool:
        """Whether all parts that are known are done."""
        return bool(self.moments) and self.begun is None and self.done >= self.total

    def follow(self, advance: Advance, now: float) -> None:
        """Take what is told."""
        last = self._part
        if last is None or (last.done >= last.total and advance.done == 0):
            self._begin(now)
        self._part = advance
        before = self._before
        self.saved = self._saved_before + advance.saved
        moment = Moment(
            now,
            before.done + advance.done,
            before.rows + advance.rows,
            before.work + advance.work,
        )
        self.total = max(self.total, int(before.done) + advance.total)
        self._remember(moment)
        # The last merges and checkpoints of a part come when its leaves are done.
        if advance.done >= advance.total and self.begun is not None:
            self.seconds += now - self.begun
            self.begun = None

    def _begin(self, now: float) -> None:
        """The next part."""
        self.begun, self._saved_before = now, self.saved
        if self.moments:
            self._before = self.moments[-1]

    def _remember(self, moment: Moment) -> None:
        if len(self.moments) > 1 and moment.time - self.moments[-2].time < _SPACING:
            self.moments[-1] = moment
        else:
            self.moments.append(moment)
        while len(self.moments) > _FEWEST and moment.time - self.moments[1].time > _WINDOW:
            self.moments.popleft()

    def rate(self, what: str) -> float | None:
        """Parts done, rows or work a second, of late; None where nothing is known yet."""
        if len(self.moments) < 2:
            return None
        first, last = self.moments[0], self.moments[-1]
        passed = last.time - first.time
        gained = getattr(last, what) - getattr(first, what)
        return gained / passed if passed > 0 and gained > 0 else None

    def stage(self, now: float) -> Stage:
        """For the page."""
        if not self.moments:
            return Stage(self.name, 0, self.total)
        running = 0.0 if self.begun is None else now - self.begun
        left = 0.0 if self.over else None
        if not self.over and (rate := self.rate("done")):
            left = max(0.0, (self.total - self.done) / rate - (now - self.moments[-1].time))
        return Stage(self.name, self.done, self.total, self.seconds + running, left)


class RunMonitor:
    """Takes the progress of a run, and says what a page shows of it. Threads may share it.

    Parameters
    ----------
    title, place : str
        What runs, and where its results go.
    later : sequence of str
        Stages that follow what the pipeline announces by itself.
    screen : callable, optional
        Who else is told of the progress.
    clock : callable

    Attributes
    ----------
    changed : callable
        Called whenever there is something to show.
    peak : MatmulRate or None
        What the rate is compared with; measured once real work begins.
    """

    def __init__(
        self,
        title: str,
        place: str,
        later: Sequence[str] = (),
        screen: Progress | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self.title, self.place, self.screen = title, place, screen
        self.changed: Callable[[], None] = lambda: None
        self.peak: MatmulRate | None = None
        self._table: Table | None = None
        self._measured = False
        self._clock, self._lock = clock, threading.Lock()
        self._courses: dict[str, Course] = {}
        self._later = list(later)
        self._latest: Course | None = None
        self._needed = self._merging = 0
        self._saved_at: float | None = None

    def __call__(self, advance: Advance) -> None:
        with self._lock:
            self._take(advance)
        if self.peak and advance.work and not self._measured:
            self._measured = True
            self.peak.measure()
        self.changed()
        if self.screen:
            self.screen(advance)

    def show_table(self, table: Table) -> None:
        """Show results from now on."""
        self._table = table
        self.changed()

    def skip(self, name: str) -> None:
        """A stage that was to follow was done before."""
        with self._lock:
            self._later = [later for later in self._later if later != name]
        self.changed()

    def shown(self) -> Shown:
        """All of it, for the page."""
        with self._lock:
            return self._shown(self._clock())

    def _take(self, advance: Advance) -> None:
        course = self._courses.setdefault(advance.name, Course(advance.name))
        self._later = [name for name in self._later if name != advance.name]
        if advance.coming:
            course.total += advance.total
            return
        now, saved = self._clock(), course.saved
        course.follow(advance, now)
        self._latest, self._needed = course, advance.needed
        self._merging = advance.merging
        if course.saved > saved:
            self._saved_at = now

    def _shown(self, now: float) -> Shown:
        stages = tuple(course.stage(now) for course in self._courses.values())
        stages += tuple(Stage(name, 0, 0) for name in self._later)
        course, peak = self._latest, self.peak
        rows = course.rate("rows") if course else None
        work = course.rate("work") if course and peak and peak.rate else None
        product = "sgemm" if peak and peak.precision == "float32" else "dgemm"
        share = Reading(
            f"of the machine's {product} rate", work, "%", of_thread=peak.rate if peak else None
        )
        saved = sum(course.saved for course in self._courses.values())
        age = None if self._saved_at is None else now - self._saved_at
        left = course.stage(now).left if course else None
        whole = self._left(stages)
        return Shown(
            title=self.title,
            place=self.place,
            stages=stages,
            readings=(
                Reading("rows a second", rows),
                share,
                Reading("left of this stage", left, "s", ticks=-1),
                *([] if whole is None else [Reading("left of all", whole, "s", ticks=-1)]),
                Reading("merges waiting", self._merging),
                Reading("checkpoints written", saved),
                Reading("since the last checkpoint", age, "s", ticks=1),
            ),
            lines=(Reading("rows a second", rows), share),
            needed=self._needed,
            table=self._table,
        )

    def _left(self, stages: Sequence[Stage]) -> float | None:
        """Seconds until all is done: known once the last stage is under way."""
        left = [stage.left for stage in stages]
        known = [seconds for seconds in left if seconds is not None]
        return sum(known) if len(known) == len(left) else None
