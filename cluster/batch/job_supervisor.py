"""Supervision of jobs: those that end are replaced, repeated failure is an error."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distributed import Scheduler

from gfrnn.cluster.batch.cancellation import CancellationJournal
from gfrnn.cluster.batch.job_logs import error_output, log_contains, log_tails
from gfrnn.cluster.batch.job_resources import JobResources
from gfrnn.cluster.batch.queues import query_queue
from gfrnn.cluster.batch.systems import SYSTEMS
from gfrnn.cluster.batch.systems.base import SUBMITTED, JobState
from gfrnn.cluster.batch.worker_activity import WorkerActivity
from gfrnn.cluster.config import ClusterConfig
from gfrnn.cluster.errors import ClusterError
from gfrnn.cluster.human_units import human_duration
from gfrnn.cluster.walltime import parse_walltime

_MAX_FAILURES = 3
"""Failures that are taken for systematic: jobs in a row that end before their workers finish a
task, starts of a worker that finishes nothing, workers that leave in the middle of one task."""

_MIN_PAUSE, _MAX_PAUSE = 1.0, 30.0
"""Seconds between two queries of the queue: the pause grows while nothing changes, to spare the
batch system."""

_QUEUE_LAG = 10.0
"""Seconds after which a queue lists a job that was submitted."""


@dataclass
class _SubmittedJob:
    """A job that was submitted, and what is known about it.

    Attributes
    ----------
    job : dask_jobqueue.core.Job
    name : str
        Name of its worker.
    submitted, running_since, arrived, absent_since : float or None
        Times by the monotonic clock: of submission, since when it runs, of the first connection of
        its workers, and since when none of them is connected.
    state : JobState
    """

    job: Any
    name: str
    submitted: float
    state: JobState = SUBMITTED
    running_since: float | None = None
    arrived: float | None = None
    absent_since: float | None = None

    @property
    def number(self) -> str:
        """Number in the batch system."""
        return str(self.job.job_id)


@dataclass
class JobSupervisor:
    """Submits jobs and replaces those that end, in the scheduler's event loop.

    Attributes
    ----------
    config : ClusterConfig
    make_job : callable
        Returns a job for the name of its worker; it is submitted when awaited.
    scheduler : distributed.Scheduler
    journal : CancellationJournal
    folder : Path
        Folder of the jobs' logs.
    report : callable
        Called with the states of the jobs in one line, once they are submitted and, while none
        runs, whenever they change.
    error : ClusterError or None
        Error that ended supervision; from then on all tasks of the scheduler are cancelled.
    """

    config: ClusterConfig
    make_job: Callable[[str], Any]
    scheduler: Scheduler
    journal: CancellationJournal
    folder: Path
    report: Callable[[str], None]
    error: ClusterError | None = None
    _jobs: list[_SubmittedJob] = field(default_factory=list)
    _submissions: int = 0
    _failures: int = 0
    _outcome_known: asyncio.Event = field(default_factory=asyncio.Event)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _pause: float = _MIN_PAUSE
    _next_query: float = 0.0
    _last_report: str = ""
    _submission_fails_since: float | None = None
    _task: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self.resources = JobResources.from_config(self.config)
        self.activity = WorkerActivity(self.scheduler, self.resources.least_lifetime)

    async def start(self) -> None:
        """Submit the jobs, and return when the first worker has connected.

        Raises
        ------
        ClusterError
            If a job cannot be submitted, or no worker connects.
        """
        self.scheduler.add_plugin(self.activity)
        self._task = asyncio.create_task(self._supervise())
        await self._outcome_known.wait()
        if self.error:
            raise self.error

    async def stop(self) -> None:
        """End supervision; jobs are left as they are."""
        self._stopping.set()
        if self._task:
            await self._task  # not in the middle of a job's submission

    async def _submit(self) -> None:
        wanted = (self.config.workers or 0) // self.config.per_job
        while len(self._jobs) < wanted and not self._stopping.is_set():
            name = f"worker-{self._submissions}"
            submission = self.make_job(name)
            try:
                await submission
            except (RuntimeError, OSError, ValueError) as error:
                raise ClusterError(
                    f"cluster: no job can be submitted to {self.config.kind}: "
                    f"{error_output(error)}; check cluster.queue, cluster.account, "
                    "cluster.walltime and cluster.directives"
                ) from error
            self.journal.add(submission.job_id)
            self._submissions += 1
            self._jobs.append(_SubmittedJob(submission, name, time.monotonic()))
            self._pause = _MIN_PAUSE

    async def _supervise(self) -> None:
        try:
            await self._submit()
            self._report_waiting()
            while not self._stopping.is_set():
                await self._check_jobs()
                await self._sleep(_MIN_PAUSE)
        except ClusterError as error:
            self.error = error
        except Exception as error:  # supervision has ended, so the run must
            self.error = ClusterError(f"cluster: the supervision of jobs has failed: {error!r}")
            self.error.__cause__ = error
        self._outcome_known.set()
        while not self._stopping.is_set():  # so that no client waits for ever
            self._cancel_tasks()
            await self._sleep(_MIN_PAUSE)

    async def _sleep(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _check_jobs(self) -> None:
        now = time.monotonic()
        self._note_workers(now)
        self._check_workers()
        absent = [job for job in self._jobs if job.absent_since is not None]
        if absent and now >= self._next_query:
            await self._query_absent(absent)
            self._pause = min(_MAX_PAUSE, 1.5 * self._pause)
            self._next_query = time.monotonic() + self._pause
        for job in list(self._jobs):
            since = max(job.running_since or now, job.absent_since or now)
            if now - since > self.config.timeout:
                await self._handle_missing_worker(job, now)
        await self._submit_missing(now)

    async def _submit_missing(self, now: float) -> None:
        try:
            await self._submit()
        except ClusterError:
            # Batch systems fail for a while; as long as there are workers, the run goes on.
            self._submission_fails_since = self._submission_fails_since or now
            if (
                not self.activity.present
                and now - self._submission_fails_since > self.config.timeout
            ):
                raise
            await self._sleep(self._pause)
            self._pause = min(_MAX_PAUSE, 1.5 * self._pause)
        else:
            self._submission_fails_since = None

    def _note_workers(self, now: float) -> None:
        here = set(self.activity.present.values())
        for job in self._jobs:
            if job.name in here or any(name.startswith(f"{job.name}-") for name in here):
                job.arrived, job.absent_since = job.arrived or now, None
                self._outcome_known.set()
            elif job.absent_since is None:
                job.absent_since = now
                self._pause, self._next_query = _MIN_PAUSE, now

    def _check_workers(self) -> None:
        """Check that workers which connect finish tasks.

        Raises
        ------
        ClusterError
            If a task was interrupted or a worker restarted too often.
        """
        for task, count in list(self.activity.interrupted.items()):
            if count >= _MAX_FAILURES or task in self.activity.never_finished:
                lifetime = human_duration(self.resources.lifetime, 0)
                raise ClusterError(
                    f"cluster.walltime: {self.config.walltime} is too short: workers had to leave "
                    f"(they do after about {lifetime}) in the middle of a task that had run for "
                    f"all their time ({task}); give jobs more time, or make tasks smaller"
                )
        worker, starts = next(iter(self.activity.starts.most_common(1)), ("", 0))
        if starts > _MAX_FAILURES:
            raise ClusterError(
                f"cluster.memory: {self.config.memory} may be too little: the process of a worker "
                f"({worker}) was started {starts} times and completed no task; increase it"
                f"{self._details(self._jobs)}"
            )

    async def _query_absent(self, absent: list[_SubmittedJob]) -> None:
        states = await query_queue(SYSTEMS[self.config.kind], [job.number for job in absent])
        now = time.monotonic()
        if states is not None:  # else nothing new is known: a job that was not listed may run
            self._note_states(absent, states, now)
        self._check_start(now)

    def _note_states(
        self, jobs: list[_SubmittedJob], states: Mapping[str, JobState], now: float
    ) -> None:
        for job in jobs:
            job.state = state = states.get(job.number, job.state)
            if state.phase == "over" or (
                state.phase == "unknown" and now - job.submitted > _QUEUE_LAG
            ):
                self._record_end(job, now)
            else:  # one that waits again was put back into the queue
                job.running_since = (job.running_since or now) if state.phase == "running" else None

    def _record_end(self, job: _SubmittedJob, now: float) -> None:
        """Remove a job that is over or lost; count it as a failure if its workers have finished
        nothing.

        One that is not known to be over stays in the journal, and is cancelled at the end.
        """
        self._jobs.remove(job)
        if job.state.phase == "over":
            self.journal.remove(job.number)
        self._pause = _MIN_PAUSE
        lasted = now - job.arrived if job.arrived else 0
        if self._finished_tasks(job) or lasted > min(
            self.config.timeout, self.resources.least_lifetime
        ):
            self._failures = 0
            return
        self._failures += 1
        if self._failures >= _MAX_FAILURES:
            raise ClusterError(
                f"cluster: {self._failures} jobs in a row ended before a worker finished a task"
                f"{self._details([job])}"
            )

    async def _handle_missing_worker(self, job: _SubmittedJob, now: float) -> None:
        """Cancel a job that runs without a worker.

        Raises
        ------
        ClusterError
            If no worker of any job has connected yet, or the log shows too little memory.
        """
        details = self._details([job])
        if log_contains(self.folder, job.number, "memory budget"):  # the nanny's warning
            raise ClusterError(
                f"cluster.memory: {self.config.memory} is too little: a worker's process is ended "
                f"before it has connected to the scheduler{details}"
            )
        if not self._outcome_known.is_set():
            raise ClusterError(
                f"cluster: a job runs, but after {self.config.timeout:g} s its worker has "
                f"not connected to the scheduler at {self.scheduler.address}; check that the nodes "
                "can reach the network of cluster.interface and that cluster.setup is quick, or "
                f"increase cluster.timeout{details}"
            )
        await job.job.close()
        self._record_end(job, now)

    def _check_start(self, now: float) -> None:
        """Check that a job has started in time, or still may.

        Raises
        ------
        ClusterError
            If no job will start, or none has started in time.
        """
        if self.activity.present or any(job.running_since for job in self._jobs):
            return
        for job in self._jobs:
            if job.state.hopeless:
                raise ClusterError(
                    f"cluster: job {job.number} will not start: {job.state.text}; check "
                    "cluster.queue, cluster.account, cluster.walltime, cluster.memory and "
                    "cluster.directives"
                )
        waiting = min((job.submitted for job in self._jobs), default=now)
        if not self._outcome_known.is_set() and now - waiting > parse_walltime(
            self.config.queue_wait
        ):
            raise ClusterError(
                f"cluster.queue_wait: no job has started within {self.config.queue_wait}; increase "
                "it, or ask for less (cluster.walltime, cluster.memory, cluster.per_job)"
                f"{self._details(self._jobs)}"
            )
        self._report_waiting()

    def _report_waiting(self) -> None:
        """Report the states of the jobs if they have changed since the last report."""
        counts = Counter(job.state.text for job in self._jobs)
        states = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
        text = f"jobs of {self.config.kind}: {states}"
        if self._jobs and text != self._last_report:
            self._last_report = text
            self.report(text)

    def _finished_tasks(self, job: _SubmittedJob) -> int:
        counts = self.activity.finished
        return sum(
            count
            for name, count in counts.items()
            if name == job.name or name.startswith(f"{job.name}-")
        )

    def _details(self, jobs: list[_SubmittedJob]) -> str:
        """Return the states of jobs and the ends of their logs, as the last part of a message."""
        lines = [""]
        for job in jobs[:2]:
            lines += [f"job {job.number}: {job.state.text}", *log_tails(self.folder, job.number)]
        return "\n".join(lines)

    def _cancel_tasks(self) -> None:
        for client in list(self.scheduler.clients.values()):
            # Those that others depend on come later: with them, both would be cancelled twice.
            while keys := [task.key for task in client.wants_what if not task.dependents]:
                self.scheduler.stimulus_cancel(
                    keys, client.client_key, force=False, reason="gave up", msg=str(self.error)
                )
