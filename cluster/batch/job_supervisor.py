"""Keeps as many jobs as were asked for: replaces those that end, gives up when it is in vain."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distributed import Scheduler

from gfrnn.cluster.batch.cancellation import CancellationJournal
from gfrnn.cluster.batch.job_logs import complaint, log_ends
from gfrnn.cluster.batch.job_script import Shape
from gfrnn.cluster.batch.queues import SUBMITTED, State, ask_queue
from gfrnn.cluster.batch.worker_watch import WorkerWatch
from gfrnn.cluster.config import ClusterConfig
from gfrnn.cluster.durations import seconds_of, spoken
from gfrnn.cluster.errors import ClusterError

_TRIES = 3
"""Jobs in a row that end in vain, starts of a worker that finishes nothing, workers that leave in
the middle of one task: so many are no accident."""

_SHORTLY, _RARELY = 1.0, 30.0
"""Seconds between two questions to the batch system: soon after a change, then less and less
often, since it has other users."""

_LAG = 10.0
"""Seconds after which a batch system knows the jobs that were submitted to it."""


@dataclass
class _Held:
    """A job that was submitted, and what is known of it."""

    job: Any
    name: str
    submitted: float
    state: State = SUBMITTED
    running: float | None = None
    arrived: float | None = None
    absent: float | None = None

    @property
    def number(self) -> str:
        return str(self.job.job_id)


@dataclass
class JobSupervisor:
    """Submits jobs and looks after them, in the scheduler's event loop.

    Attributes
    ----------
    config : ClusterConfig
    make : callable
        A job of a name, submitted when awaited.
    scheduler : distributed.Scheduler
    journal : CancellationJournal
    folder : Path
        Of the jobs' logs.
    say : callable
        Tells people what it waits for.
    error : ClusterError or None
        Why it gave up; from then on nothing that is submitted to the scheduler is computed.
    """

    config: ClusterConfig
    make: Callable[[str], Any]
    scheduler: Scheduler
    journal: CancellationJournal
    folder: Path
    say: Callable[[str], None]
    error: ClusterError | None = None
    _jobs: list[_Held] = field(default_factory=list)
    _count: int = 0
    _vain: int = 0
    _settled: asyncio.Event = field(default_factory=asyncio.Event)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _pause: float = _SHORTLY
    _look: float = 0.0
    _told: str = ""
    _failing: float | None = None
    _task: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self.shape = Shape.of(self.config)
        self.watch = WorkerWatch(self.scheduler, long=self.shape.least_life)

    async def start(self) -> None:
        """Submit the jobs, and return when the first worker is there.

        Raises
        ------
        ClusterError
            If a job cannot be submitted, or none brings its worker.
        """
        self.scheduler.add_plugin(self.watch)
        self._task = asyncio.create_task(self._keep())
        await self._settled.wait()
        if self.error:
            raise self.error

    async def stop(self) -> None:
        """Look after the jobs no longer; they are left as they are."""
        self._stopping.set()
        if self._task:
            await self._task  # not in the middle of a job's submission

    async def _submit(self) -> None:
        wanted = (self.config.workers or 0) // self.config.per_job
        while len(self._jobs) < wanted and not self._stopping.is_set():
            name = f"worker-{self._count}"
            job = self.make(name)
            try:
                await job
            except (RuntimeError, OSError, ValueError) as error:
                raise ClusterError(
                    f"cluster: no job can be submitted to {self.config.kind}: {complaint(error)}; "
                    "see cluster.queue, cluster.account, cluster.walltime and cluster.directives"
                ) from error
            self.journal.add(job.job_id)
            self._count += 1
            self._jobs.append(_Held(job, name, time.monotonic()))
            self._pause = _SHORTLY

    async def _keep(self) -> None:
        try:
            await self._submit()
            while not self._stopping.is_set():
                await self._attend()
                await self._sleep(_SHORTLY)
        except ClusterError as error:
            self.error = error
        except Exception as error:  # nobody would be left to notice anything
            self.error = ClusterError(f"cluster: jobs are not looked after any more: {error!r}")
            self.error.__cause__ = error
        self._settled.set()
        while not self._stopping.is_set():  # whoever waits for a task learns that it will not come
            self._cancel_tasks()
            await self._sleep(_SHORTLY)

    async def _sleep(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _attend(self) -> None:
        now = time.monotonic()
        self._note_workers(now)
        self._judge()
        absent = [held for held in self._jobs if held.absent is not None]
        if absent and now >= self._look:
            await self._look_after(absent)
            self._pause = min(_RARELY, 1.5 * self._pause)
            self._look = time.monotonic() + self._pause
        for held in list(self._jobs):
            since = max(held.running or now, held.absent or now)
            if now - since > self.config.timeout:
                await self._overdue(held, now)
        await self._replace(now)

    async def _replace(self, now: float) -> None:
        try:
            await self._submit()
        except ClusterError:
            # Batch systems have bad hours; as long as there are workers, the run goes on.
            self._failing = self._failing or now
            if not self.watch.present and now - self._failing > self.config.timeout:
                raise
            await self._sleep(self._pause)
            self._pause = min(_RARELY, 1.5 * self._pause)
        else:
            self._failing = None

    def _note_workers(self, now: float) -> None:
        here = set(self.watch.present.values())
        for held in self._jobs:
            if held.name in here or any(name.startswith(f"{held.name}-") for name in here):
                held.arrived, held.absent = held.arrived or now, None
                self._settled.set()
            elif held.absent is None:
                held.absent = now
                self._pause, self._look = _SHORTLY, now

    def _judge(self) -> None:
        """Give up where workers come and get nothing done."""
        for task, lost in list(self.watch.lost.items()):
            if lost >= _TRIES or task in self.watch.unheard:
                raise ClusterError(
                    f"cluster.walltime: {self.config.walltime} is too short: workers had to leave "
                    f"(they do after about {spoken(self.shape.lifetime)}) in the middle of a task "
                    f"that they had worked on for all their time ({task}); give jobs more time, or "
                    "make tasks smaller"
                )
        worker, starts = next(iter(self.watch.starts.most_common(1)), ("", 0))
        if starts > _TRIES:
            raise ClusterError(
                f"cluster.memory: {self.config.memory} may be too little: the process of a worker "
                f"({worker}) was started {starts} times and finished nothing"
                f"{self._last_words(self._jobs)}"
            )

    async def _look_after(self, absent: list[_Held]) -> None:
        states = await ask_queue(self.config.kind, [held.number for held in absent]) or {}
        now = time.monotonic()
        for held in absent:
            held.state = state = states.get(held.number, held.state)
            if state.phase == "over" or (state.phase == "unknown" and now - held.submitted > _LAG):
                self._end(held, now)
            else:  # one that waits again was put back into the queue
                held.running = (held.running or now) if state.phase == "running" else None
        self._check_start(now)

    def _end(self, held: _Held, now: float) -> None:
        """A job is over, and maybe no worker ever came of it, or none that got anything done."""
        self._jobs.remove(held)
        self.journal.remove(held.number)
        self._pause = _SHORTLY
        lasted = now - held.arrived if held.arrived else 0
        if self._finished(held) or lasted > min(self.config.timeout, self.shape.least_life):
            self._vain = 0
            return
        self._vain += 1
        if self._vain >= _TRIES:
            raise ClusterError(
                f"cluster: {self._vain} jobs in a row ended before a worker got anything done"
                f"{self._last_words([held])}"
            )

    async def _overdue(self, held: _Held, now: float) -> None:
        """A job runs, but its worker is not here."""
        words = self._last_words([held])
        if "memory budget" in words:  # its manager says so
            raise ClusterError(
                f"cluster.memory: {self.config.memory} is too little: a worker's process is ended "
                f"before it has reached the scheduler{words}"
            )
        if not self._settled.is_set():
            raise ClusterError(
                f"cluster: a job runs, but after {spoken(self.config.timeout)} its worker has not "
                f"reached the scheduler at {self.scheduler.address}; is cluster.interface one that "
                f"the nodes reach, and cluster.setup quick? Else give cluster.timeout more{words}"
            )
        await held.job.close()
        self._end(held, now)

    def _check_start(self, now: float) -> None:
        """Give up where no job will start."""
        if self.watch.present or any(held.running for held in self._jobs):
            return
        for held in self._jobs:
            if held.state.hopeless:
                raise ClusterError(
                    f"cluster: job {held.number} will not start: {held.state.text}; see "
                    "cluster.queue, cluster.account, cluster.walltime, cluster.memory and "
                    "cluster.directives"
                )
        waiting = min((held.submitted for held in self._jobs), default=now)
        if not self._settled.is_set() and now - waiting > seconds_of(self.config.queue_wait):
            raise ClusterError(
                f"cluster.queue_wait: no job has started within {self.config.queue_wait}"
                f"{self._last_words(self._jobs)}"
            )
        self._tell()

    def _tell(self) -> None:
        """Say what is waited for, when it has changed."""
        counts = Counter(held.state.text for held in self._jobs)
        states = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
        text = f"jobs of {self.config.kind}: {states}"
        if self._jobs and text != self._told:
            self._told = text
            self.say(text)

    def _finished(self, held: _Held) -> int:
        counts = self.watch.finished
        return sum(
            count
            for name, count in counts.items()
            if name == held.name or name.startswith(f"{held.name}-")
        )

    def _last_words(self, jobs: list[_Held]) -> str:
        """The states of jobs and the ends of their logs, as the last part of a message."""
        lines = [""]
        for held in jobs[:2]:
            lines += [f"job {held.number}: {held.state.text}", *log_ends(self.folder, held.number)]
        return "\n".join(lines)

    def _cancel_tasks(self) -> None:
        for client in list(self.scheduler.clients.values()):
            # Those that others depend on come later: with them, both would be cancelled twice.
            while keys := [task.key for task in client.wants_what if not task.dependents]:
                self.scheduler.stimulus_cancel(
                    keys, client.client_key, force=False, reason="gave up", msg=str(self.error)
                )
