"""Progress of a run: rates, elapsed times and estimates for its dashboard page."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from gfrnn.cluster.dashboard import Metric, ResultTable, RunSnapshot, StageSnapshot
from gfrnn.pipeline.reduction.progress import Progress, ProgressUpdate
from gfrnn.workflows.session.matmul_rate import MatmulRate

# Seconds over which rates are averaged, and samples that are kept whatever their age.
_WINDOW, _FEWEST = 20.0, 4

# Least seconds between two samples.
_SPACING = 0.2

Clock = Callable[[], float]


class ProgressSample(NamedTuple):
    """Tasks, rows and operations of a stage that were done at some time."""

    time: float
    done: float
    rows: float
    work: float


_START = ProgressSample(0.0, 0, 0.0, 0.0)


@dataclass
class StageProgress:
    """Progress of one stage. A stage with several parts, one per candidate, counts as one.

    Attributes
    ----------
    name : str
    total : int
        Tasks of all parts that are known.
    seconds : float
        Time that finished parts took.
    started : float or None
        Time when the current part started; None between parts.
    saved : int
        Checkpoints written.
    samples : deque of ProgressSample
        The latest ones, at most those of the averaging window.
    """

    name: str
    total: int = 0
    seconds: float = 0.0
    started: float | None = None
    saved: int = 0
    samples: deque[ProgressSample] = field(default_factory=deque)
    _part: ProgressUpdate | None = None
    _before: ProgressSample = _START
    _saved_before: int = 0

    @property
    def done(self) -> int:
        """Number of finished tasks in all parts."""
        return int(self.samples[-1].done) if self.samples else 0

    @property
    def finished(self) -> bool:
        """Whether all known parts are finished."""
        return bool(self.samples) and self.started is None and self.done >= self.total

    def update(self, update: ProgressUpdate, now: float) -> None:
        """Add a report of progress."""
        last = self._part
        if last is None or (last.done >= last.total and update.done == 0):
            self._start_part(now)
        known = 0 if self._part is None else self._part.found
        self._part = update
        before = self._before
        if update.found > known:  # which took no time, so that rates begin here
            self.samples.clear()
        self.saved = self._saved_before + update.saved
        self.total = max(self.total, int(before.done) + update.total)
        self._append(
            ProgressSample(
                now,
                before.done + update.done,
                before.rows + update.rows,
                before.work + update.work,
            )
        )
        # Reports of the last merges and checkpoints of a part follow after its leaves are done.
        if update.done >= update.total and self.started is not None:
            self.seconds += now - self.started
            self.started = None

    def _start_part(self, now: float) -> None:
        self.started, self._saved_before, self._part = now, self.saved, None
        if self.samples:
            self._before = self.samples[-1]

    def _append(self, sample: ProgressSample) -> None:
        if len(self.samples) > 1 and sample.time - self.samples[-2].time < _SPACING:
            self.samples[-1] = sample
        else:
            self.samples.append(sample)
        while len(self.samples) > _FEWEST and sample.time - self.samples[1].time > _WINDOW:
            self.samples.popleft()

    def rate(self, quantity: str) -> float | None:
        """Return the recent rate of ``done``, ``rows`` or ``work`` per second; None if unknown."""
        if len(self.samples) < 2:
            return None
        first, last = self.samples[0], self.samples[-1]
        elapsed = last.time - first.time
        gained = getattr(last, quantity) - getattr(first, quantity)
        return gained / elapsed if elapsed > 0 and gained > 0 else None

    def snapshot(self, now: float) -> StageSnapshot:
        """Return a snapshot of the stage for the dashboard page."""
        if not self.samples:
            return StageSnapshot(self.name, 0, self.total)
        running = 0.0 if self.started is None else now - self.started
        left = 0.0 if self.finished else None
        if not self.finished and (rate := self.rate("done")):
            left = (self.total - self.done) / rate - (now - self.samples[-1].time)
            left = left if left > 0 else None  # it takes longer than it should
        return StageSnapshot(self.name, self.done, self.total, self.seconds + running, left)


class RunProgress:
    """Collect the reports of progress of a run and derive the state of its dashboard page.

    An instance is a callback of progress, and is safe to share between threads.

    Parameters
    ----------
    title, destination : str
        Name of the run and folder of its results.
    later : sequence of str
        Stages that follow those which the pipeline announces itself.
    display : callable, optional
        Another callback that receives each report.
    clock : callable
        Returns the time in seconds.

    Attributes
    ----------
    changed : callable
        Called after every change of the state.
    peak : MatmulRate or None
        Reference for the rate of operations, measured once numerical work starts.
    """

    def __init__(
        self,
        title: str,
        destination: str,
        later: Sequence[str] = (),
        display: Progress | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self.title, self.destination, self.display = title, destination, display
        self.changed: Callable[[], None] = lambda: None
        self.peak: MatmulRate | None = None
        self._table: ResultTable | None = None
        self._measured = False
        self._clock, self._lock = clock, threading.Lock()
        self._stages: dict[str, StageProgress] = {}
        self._later = list(later)
        self._latest: StageProgress | None = None
        self._needed = self._merging = 0
        self._saved_at: float | None = None

    def __call__(self, update: ProgressUpdate) -> None:
        with self._lock:
            self._update(update)
        if self.peak and update.work and not self._measured:
            self._measured = True
            self.peak.measure()
        self.changed()
        if self.display:
            self.display(update)

    def show_table(self, table: ResultTable) -> None:
        """Show a table of results on the page from now on."""
        self._table = table
        self.changed()

    def skip(self, name: str) -> None:
        """Remove a stage that was finished by an earlier command from the expected ones."""
        with self._lock:
            self._later = [later for later in self._later if later != name]
        self.changed()

    def snapshot(self) -> RunSnapshot:
        """Return a snapshot of the run for the dashboard page."""
        with self._lock:
            return self._snapshot(self._clock())

    def _update(self, update: ProgressUpdate) -> None:
        stage = self._stages.setdefault(update.name, StageProgress(update.name))
        self._later = [name for name in self._later if name != update.name]
        if update.announced:
            stage.total += update.total
            return
        now, saved = self._clock(), stage.saved
        stage.update(update, now)
        self._latest, self._needed = stage, update.task_bytes
        self._merging = update.pending_merges
        if stage.saved > saved:
            self._saved_at = now

    def _snapshot(self, now: float) -> RunSnapshot:
        stages = tuple(stage.snapshot(now) for stage in self._stages.values())
        stages += tuple(StageSnapshot(name, 0, 0) for name in self._later)
        latest, peak = self._latest, self.peak
        rows = latest.rate("rows") if latest else None
        work = latest.rate("work") if latest and peak and peak.rate else None
        product = "sgemm" if peak and peak.precision == "float32" else "dgemm"
        share = Metric(
            f"of the machine's {product} rate", work, "%", of_thread=peak.rate if peak else None
        )
        saved = sum(stage.saved for stage in self._stages.values())
        age = None if self._saved_at is None else now - self._saved_at
        left = latest.snapshot(now).left if latest else None
        whole = self._left(stages)
        return RunSnapshot(
            title=self.title,
            place=self.destination,
            stages=stages,
            metrics=(
                Metric("rows a second", rows),
                share,
                Metric("left of this stage", left, "s", ticks=-1),
                *([] if whole is None else [Metric("left of all", whole, "s", ticks=-1)]),
                Metric("merges waiting", self._merging),
                Metric("checkpoints written", saved),
                Metric("since the last checkpoint", age, "s", ticks=1),
            ),
            lines=(Metric("rows a second", rows), share),
            needed=self._needed,
            table=self._table,
        )

    def _left(self, stages: Sequence[StageSnapshot]) -> float | None:
        """Return the seconds until all stages are done; None until the last one has started."""
        left = [stage.left for stage in stages]
        known = [seconds for seconds in left if seconds is not None]
        return sum(known) if len(known) == len(left) else None
