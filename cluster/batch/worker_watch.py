"""What a scheduler sees of workers that come and go."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from distributed import Scheduler
from distributed.diagnostics.plugin import SchedulerPlugin


class WorkerWatch(SchedulerPlugin):
    """Counts what workers finish, and the tasks that they never get done.

    It is told, and asked, in the thread of the scheduler's event loop.

    Parameters
    ----------
    scheduler : distributed.Scheduler
    long : float
        Seconds: a worker that leaves in the middle of a task that has taken this long had little
        else to do, and other workers have no more time for it.
    clock : callable
    """

    name = "gfrnn-watch"

    def __init__(
        self, scheduler: Scheduler, long: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.scheduler, self.long, self.clock = scheduler, long, clock
        self.present: dict[str, str] = {}
        """Address: name, of the workers that are here."""
        self.starts: Counter[str] = Counter()
        """Name: how often a worker came since one of that name finished a task."""
        self.finished: Counter[str] = Counter()
        """Name: tasks that were finished."""
        self.lost: Counter[Any] = Counter()
        """Key: how many workers left in the middle of it, after a long time."""
        self.unheard: set[Any] = set()
        """Those keys of which no other of their kind was ever finished."""
        self._held: dict[Any, tuple[str, float]] = {}
        self._latest: dict[str, float] = {}

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        """Called by the scheduler."""
        name = str(scheduler.workers[worker].name)
        self.present[worker] = name
        self.starts[name] += 1

    def remove_worker(
        self, scheduler: Scheduler, worker: str, *, stimulus_id: str, **_: Any
    ) -> None:
        """Called by the scheduler."""
        self.present.pop(worker, None)
        self._latest.pop(worker, None)

    def transition(
        self, key: Any, start: str, finish: str, *_: Any, stimulus_id: str, **__: Any
    ) -> None:
        """Called by the scheduler."""
        now = self.clock()
        if finish == "processing":
            worker_state = self.scheduler.tasks[key].processing_on
            assert worker_state is not None
            self._held[key] = worker_state.address, now
        elif start == "processing" and key in self._held:
            worker, begun = self._held.pop(key)
            if worker not in self.scheduler.workers:  # it has left
                if now - max(begun, self._latest.get(worker, begun)) >= self.long:
                    self._lose(key)
            elif finish in ("memory", "erred"):
                self._finish(key, worker, now)

    def _lose(self, key: Any) -> None:
        self.lost[key] += 1
        if self.scheduler.tasks[key].prefix.duration_average < 0:
            self.unheard.add(key)

    def _finish(self, key: Any, worker: str, now: float) -> None:
        name = self.present.get(worker, "")
        self._latest[worker] = now
        self.finished[name] += 1
        self.starts.pop(name, None)
        self.lost.pop(key, None)
