"""The time left of the batch job that this process runs in."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass

from gfrnn.cluster.batch.systems import SYSTEMS

_ANSWER_TIMEOUT = 20.0
"""Seconds for a batch system to answer."""


@dataclass(frozen=True)
class JobLimit:
    """The time left of a job.

    Attributes
    ----------
    job : str
        Name in messages, e.g. ``Slurm job 123``.
    seconds : float
    """

    job: str
    seconds: float


def job_limit(environment: Mapping[str, str] = os.environ) -> JobLimit | None:
    """Return the time left of the batch job that the environment names.

    None outside of a job, and where its batch system has no limit or does not show it.
    """
    for system in SYSTEMS.values():
        if system.job_id_variable is None or system.job_id_variable not in environment:
            continue
        if (end := system.job_end(environment)) is not None:
            seconds: float | None = end - time.time()
        else:
            command = system.time_left_command(environment)
            seconds = system.read_time_left(_output(command)) if command else None
        if seconds is None:
            return None
        return JobLimit(
            f"{system.title} job {environment[system.job_id_variable]}", max(0.0, seconds)
        )
    return None


def _output(command: list[str]) -> str:
    """Return the output of a command, or nothing where it fails."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=_ANSWER_TIMEOUT
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout
