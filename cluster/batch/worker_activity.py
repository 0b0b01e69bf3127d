"""A scheduler plugin that counts what workers finish and which tasks they leave unfinished."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from distributed import Scheduler
from distributed.diagnostics.plugin import SchedulerPlugin


class WorkerActivity(SchedulerPlugin):
    """Counts starts of workers, finished tasks and interrupted tasks.

    All of it happens in the thread of the scheduler's event loop.

    Parameters
    ----------
    scheduler : distributed.Scheduler
    long_task : float
        Seconds after which a task counts as interrupted when its worker leaves: no other worker
        has much more time for it.
    clock : callable
        Returns the time in seconds.
    """

    name = "gfrnn-worker-activity"

    def __init__(
        self, scheduler: Scheduler, long_task: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.scheduler, self.long_task, self.clock = scheduler, long_task, clock
        self.present: dict[str, str] = {}
        """Name of each worker that is connected, by address."""
        self.starts: Counter[str] = Counter()
        """Number of starts since the last finished task, by name of the worker."""
        self.finished: Counter[str] = Counter()
        """Number of finished tasks, by name of the worker."""
        self.interrupted: Counter[Any] = Counter()
        """Number of workers that left in the middle of a task after a long time, by key."""
        self.never_finished: set[Any] = set()
        """Interrupted keys of whose kind no task was ever finished."""
        self._processing: dict[Any, tuple[str, float]] = {}
        self._last_finish: dict[str, float] = {}

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        """Count the start; called by the scheduler."""
        name = str(scheduler.workers[worker].name)
        self.present[worker] = name
        self.starts[name] += 1

    def remove_worker(
        self, scheduler: Scheduler, worker: str, *, stimulus_id: str, **_: Any
    ) -> None:
        """Forget the worker's address; called by the scheduler."""
        self.present.pop(worker, None)
        self._last_finish.pop(worker, None)

    def transition(
        self, key: Any, start: str, finish: str, *_: Any, stimulus_id: str, **__: Any
    ) -> None:
        """Count the end of a task; called by the scheduler."""
        now = self.clock()
        if finish == "processing":
            worker_state = self.scheduler.tasks[key].processing_on
            assert worker_state is not None
            self._processing[key] = worker_state.address, now
        elif start == "processing" and key in self._processing:
            worker, begun = self._processing.pop(key)
            if worker not in self.scheduler.workers:  # it has left
                if now - max(begun, self._last_finish.get(worker, begun)) >= self.long_task:
                    self._count_interrupted(key)
            elif finish in ("memory", "erred"):
                self._count_finished(key, worker, now)

    def _count_interrupted(self, key: Any) -> None:
        self.interrupted[key] += 1
        if self.scheduler.tasks[key].prefix.duration_average < 0:
            self.never_finished.add(key)

    def _count_finished(self, key: Any, worker: str, now: float) -> None:
        name = self.present.get(worker, "")
        self._last_finish[worker] = now
        self.finished[name] += 1
        self.starts.pop(name, None)
        self.interrupted.pop(key, None)
