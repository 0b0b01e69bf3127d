"""The interface through which the rest of the project deals with a batch system."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:  # the configuration itself looks up its batch system
    from gfrnn.cluster.batch.job_resources import JobResources
    from gfrnn.cluster.config import ClusterConfig

Phase = Literal["waiting", "running", "over", "unknown"]

NEVER = r"(?!)"
"""Pattern that matches nothing."""


@dataclass(frozen=True)
class JobState:
    """The state of one job in its queue.

    Attributes
    ----------
    phase : str
        ``unknown`` where the batch system does not know the job (any more).
    text : str
        State as the batch system prints it, with its reason.
    hopeless : bool
        Whether the job waits and will never start.
    """

    phase: Phase
    text: str
    hopeless: bool = False


SUBMITTED = JobState("waiting", "submitted")
"""State of a job that was submitted and not queried yet."""

NOT_QUEUED = JobState("unknown", "not in the queue")
"""State of a job that the batch system does not know."""


class BatchSystem(ABC):
    """A batch system: how it takes jobs, lists them, and limits their time.

    Attributes
    ----------
    kind : str
        Value of ``cluster.kind``.
    title : str
        Name in messages.
    jobqueue_class : str
        Name of its cluster class in dask-jobqueue, which also has the command that cancels jobs.
    submit_command : str or None
        Command that submits a script, if it replaces that of dask-jobqueue.
    has_queues : bool
        Whether it has named queues, and so the key ``cluster.queue``.
    submit_host_variable : str or None
        Environment variable of a job: the host that it was submitted on.
    job_id_variable : str or None
        Environment variable of a job: its number. None where a job cannot learn its time limit;
        such systems can send a warning signal instead.
    job_line : str
        Pattern of one job in the answer of :meth:`queue_command`, with the groups ``job`` and
        ``state``, and maybe ``reason``.
    waiting, over : str
        Patterns of whole states; all other states are of jobs that run, or are about to.
    hopeless : str
        Pattern that is searched in the state and reason of waiting jobs: they will not start.
    gone : str
        Pattern that is searched, in any case of letters, in the error message of
        :meth:`queue_command`; where it matches, the only fault is that jobs have left the queue.
    """

    kind: ClassVar[str]
    title: ClassVar[str]
    jobqueue_class: ClassVar[str]
    submit_command: ClassVar[str | None] = None
    has_queues: ClassVar[bool] = True
    submit_host_variable: ClassVar[str | None] = None
    job_id_variable: ClassVar[str | None] = None
    job_line: ClassVar[str]
    waiting: ClassVar[str]
    over: ClassVar[str]
    hopeless: ClassVar[str] = NEVER
    # One pattern for all: wordings differ more between versions than between systems.
    gone: ClassVar[str] = r"invalid job id|unknown job|not found|has finished|do not exist"

    def check(self, config: ClusterConfig) -> None:  # noqa: B027 - most have nothing to check
        """Check the keys that depend on this batch system.

        Raises
        ------
        ValueError
            Naming the key.
        """

    @abstractmethod
    def job_options(
        self, config: ClusterConfig, resources: JobResources, folder: Path
    ) -> dict[str, Any]:
        """Return the arguments of dask-jobqueue that are special to this batch system.

        Parameters
        ----------
        config : ClusterConfig
        resources : JobResources
            What one job requests.
        folder : Path
            Where logs go.
        """

    @abstractmethod
    def queue_command(self, jobs: Sequence[str]) -> list[str]:
        """Return the command that lists the states of jobs, given their numbers."""

    def read_queue(self, answer: str) -> dict[str, JobState]:
        """Return the state of each job in the answer of :meth:`queue_command`."""
        found = {}
        for match in re.finditer(self.job_line, answer, re.M):
            groups = match.groupdict()
            state, reason = groups["state"], groups.get("reason") or "None"
            phase: Phase = "running"
            if re.fullmatch(self.waiting, state):
                phase = "waiting"
            elif re.fullmatch(self.over, state):
                phase = "over"
            text = state if reason == "None" else f"{state} ({reason})"
            hopeless = phase == "waiting" and bool(re.search(self.hopeless, text))
            found[groups["job"]] = JobState(phase, text, hopeless)
        return found

    def job_end(self, environment: Mapping[str, str]) -> float | None:
        """Return when the current job ends, in seconds since the epoch, or None where its
        environment does not hold that."""
        return None

    def time_left_command(self, environment: Mapping[str, str]) -> list[str] | None:
        """Return the command that shows the time left of the current job, or None if there is none.

        It is called only where ``job_id_variable`` is in the environment.
        """
        return None

    def read_time_left(self, answer: str) -> float | None:
        """Return the seconds in the answer of :meth:`time_left_command`, or None where the job has
        no limit or the answer does not show it."""
        return None
