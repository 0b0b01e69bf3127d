"""When the batch job that this process runs in will be ended."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

# Seconds for a batch system to answer.
_PATIENCE = 20.0


@dataclass(frozen=True)
class _System:
    """A batch system that tells what is left of a job.

    Attributes
    ----------
    name : str
    job : str
        The variable of the environment that holds the job's number.
    command : callable
        What to ask, of the environment.
    read : callable
        Seconds left from its answer, or None where the job has no limit.
    """

    name: str
    job: str
    command: Callable[[Mapping[str, str]], list[str]]
    read: Callable[[str], float | None]


def _clock(text: str, unit: float = 1.0) -> float | None:
    """Seconds of ``[D-][[H:]M:]S``, where the last part counts ``unit`` seconds."""
    if not (match := re.fullmatch(r"(?:(\d+)-)?(\d+(?::\d+){0,3})", text.strip())):
        return None
    parts = [int(part) for part in match[2].split(":")]
    seconds = unit * sum(part * 60**place for place, part in enumerate(reversed(parts)))
    return int(match[1] or 0) * 86400.0 + seconds


def _slurm(answer: str) -> float | None:
    return _clock(answer)


def _pbs(answer: str) -> float | None:
    """What the job may use less what it has used, which is not there at its beginning."""
    limit, used = (
        re.search(rf"^\s*{name}\.walltime = (\S+)$", answer, re.MULTILINE)
        for name in ("Resource_List", "resources_used")
    )
    total = _clock(limit[1]) if limit else None
    return None if total is None else total - ((_clock(used[1]) if used else None) or 0.0)


def _lsf(answer: str) -> float | None:
    """Hours and minutes, and whether that is a limit (L) or an estimate."""
    match = re.fullmatch(r"(\d+:\d+)(?: L)?", answer.strip())
    return _clock(match[1], 60.0) if match else None


def _slurm_job(environment: Mapping[str, str]) -> str:
    # The number of an array's last job is that of the array too.
    parts = "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"
    found = [environment[part] for part in parts if part in environment]
    return "_".join(found) or environment["SLURM_JOB_ID"]


def _lsf_job(environment: Mapping[str, str]) -> str:
    job, index = environment["LSB_JOBID"], environment.get("LSB_JOBINDEX", "0")
    return job if index == "0" else f"{job}[{index}]"


# Grid Engine, OAR and HTCondor tell a job nothing of its end: they send a warning signal.
_SYSTEMS = (
    _System(
        "Slurm",
        "SLURM_JOB_ID",
        lambda found: ["squeue", "-h", "-j", _slurm_job(found), "-o", "%L"],
        _slurm,
    ),
    _System("PBS", "PBS_JOBID", lambda found: ["qstat", "-f", found["PBS_JOBID"]], _pbs),
    _System(
        "LSF",
        "LSB_JOBID",
        lambda found: ["bjobs", "-noheader", "-o", "time_left", _lsf_job(found)],
        _lsf,
    ),
)


@dataclass(frozen=True)
class JobLimit:
    """What is left of a job.

    Attributes
    ----------
    job : str
        E.g. ``Slurm job 123``.
    seconds : float
    """

    job: str
    seconds: float


def job_limit(environment: Mapping[str, str] = os.environ) -> JobLimit | None:
    """What is left of the batch job that the environment names.

    None outside of a job, and where its batch system knows no limit or does not tell it.
    """
    for system in _SYSTEMS:
        if system.job not in environment:
            continue
        job = f"{system.name} job {environment[system.job]}"
        if end := environment.get("SLURM_JOB_END_TIME", "") if system.name == "Slurm" else "":
            return JobLimit(job, max(0.0, float(end) - time.time()))
        seconds = system.read(_answer(system.command(environment)))
        return None if seconds is None else JobLimit(job, max(0.0, seconds))
    return None


def _answer(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=_PATIENCE
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout
