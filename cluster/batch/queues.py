"""What a batch system says of jobs."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

Phase = Literal["waiting", "running", "over", "unknown"]

_PATIENCE = 30.0
"""Seconds for an answer."""


@dataclass(frozen=True)
class State:
    """Of one job.

    Attributes
    ----------
    phase : str
        ``unknown`` where the batch system does not know the job (any more).
    text : str
        As the batch system says it, with its reason.
    hopeless : bool
        It waits for what will not come.
    """

    phase: Phase
    text: str
    hopeless: bool = False


SUBMITTED = State("waiting", "submitted")

_UNKNOWN = State("unknown", "not in the queue")


@dataclass(frozen=True)
class _Queue:
    """How to ask, and to read the answer: a line for each job, with what its state means.

    Attributes
    ----------
    command : callable
        From the numbers of jobs.
    line : str
        Pattern with the groups ``job`` and ``state``, maybe ``reason``.
    waiting, over : str
        Patterns of states; all others are of jobs that run, or do soon.
    hopeless : str
        Pattern of reasons.
    """

    command: Callable[[Sequence[str]], list[str]]
    line: str
    waiting: str
    over: str
    hopeless: str = r"(?!)"

    def read(self, answer: str) -> dict[str, State]:
        found = {}
        for match in re.finditer(self.line, answer, re.M):
            groups = match.groupdict()
            state, reason = groups["state"], groups.get("reason") or "None"
            phase: Phase = "running"
            if re.fullmatch(self.waiting, state):
                phase = "waiting"
            elif re.fullmatch(self.over, state):
                phase = "over"
            text = state if reason == "None" else f"{state} ({reason})"
            hopeless = phase == "waiting" and bool(re.search(self.hopeless, text))
            found[groups["job"]] = State(phase, text, hopeless)
        return found


_QUEUES = {
    "slurm": _Queue(
        lambda jobs: ["squeue", "-h", "--states=all", "-o", "%A %T %r", f"--jobs={','.join(jobs)}"],
        line=r"^(?P<job>\d+) (?P<state>\S+) (?P<reason>.+)$",
        waiting="PENDING|CONFIGURING|REQUEUED|REQUEUE_HOLD|SPECIAL_EXIT|SUSPENDED",
        over="BOOT_FAIL|CANCELLED|COMPLETED|DEADLINE|FAILED|NODE_FAIL|OUT_OF_MEMORY|PREEMPTED"
        "|REVOKED|TIMEOUT",
        hopeless="BadConstraints|Held|held|Invalid|PartitionTimeLimit|PartitionNodeLimit"
        "|MaxWallDurationPerJob|MaxCpuPerJob|MaxMemPerJob|AccountNotAllowed|QOSNotAllowed",
    ),
    "pbs": _Queue(
        lambda jobs: ["qstat", *jobs],
        line=r"^(?P<job>\d+)\S* .* (?P<state>[A-Z]) +\S+ *$",
        waiting="[QHWT]",
        over="[CFX]",
        hopeless="H",
    ),
    "lsf": _Queue(
        lambda jobs: ["bjobs", "-noheader", "-o", "jobid stat", *jobs],
        line=r"^ *(?P<job>\d+) +(?P<state>[A-Z]+) *$",
        waiting="PEND|PSUSP",
        over="DONE|EXIT|ZOMBI",
        hopeless="PSUSP",
    ),
    "sge": _Queue(
        lambda _: ["qstat"],  # all jobs of the user that are not over
        line=r"^ *(?P<job>\d+) +\S+ +\S+ +\S+ +(?P<state>[a-zA-Z]+) ",
        waiting=".*w",
        over="(?!)",
        hopeless="E|h",
    ),
    "oar": _Queue(
        lambda jobs: ["oarstat", "-s", *(word for job in jobs for word in ("-j", job))],
        line=r"^(?P<job>\d+): (?P<state>\w+)",
        waiting="Waiting|Hold|toAckReservation|toLaunch",
        over="Terminated|Error|toError",
        hopeless="Hold",
    ),
    "htcondor": _Queue(
        lambda jobs: ["condor_q", *jobs, "-af:j", "JobStatus", "HoldReason"],
        line=r"^(?P<job>\d+\.\d+) (?P<state>\d)(?: (?!undefined)(?P<reason>.+))?",
        waiting="[15]",  # idle, held
        over="[34]",
        hopeless="^5",
    ),
}

_GONE = re.compile(r"invalid job id|unknown job|not found|has finished|do not exist", re.I)


async def ask_queue(kind: str, jobs: Sequence[str]) -> dict[str, State] | None:
    """The states of jobs; None where the batch system does not answer.

    Parameters
    ----------
    kind : str
        Of the batch system.
    jobs : sequence of str
        Their numbers.
    """
    queue = _QUEUES[kind]
    try:
        asked = await asyncio.create_subprocess_exec(
            *queue.command(jobs),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError:
        return None
    try:
        answer, complaint = await asyncio.wait_for(asked.communicate(), _PATIENCE)
    except TimeoutError:
        asked.kill()
        await asked.wait()
        return None
    if asked.returncode and not _GONE.search(complaint.decode(errors="replace")):
        return None
    found = queue.read(answer.decode(errors="replace"))
    return {job: found.get(job, _UNKNOWN) for job in jobs}
