"""Slurm: options of its jobs, and the commands that query its queue and the time left."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gfrnn.cluster.batch.systems.base import BatchSystem
from gfrnn.cluster.walltime import format_clock, parse_clock

if TYPE_CHECKING:
    from gfrnn.cluster.batch.job_resources import JobResources
    from gfrnn.cluster.config import ClusterConfig


class SlurmSystem(BatchSystem):
    """Slurm: sbatch, squeue, scancel."""

    kind = "slurm"
    title = "Slurm"
    jobqueue_class = "SLURMCluster"
    submit_host_variable = "SLURM_SUBMIT_HOST"
    job_id_variable = "SLURM_JOB_ID"
    job_line = r"^(?P<job>\d+) (?P<state>\S+) (?P<reason>.+)$"
    waiting = "PENDING|CONFIGURING|REQUEUED|REQUEUE_HOLD|SPECIAL_EXIT|SUSPENDED"
    over = (
        "BOOT_FAIL|CANCELLED|COMPLETED|DEADLINE|FAILED|NODE_FAIL|OUT_OF_MEMORY|PREEMPTED"
        "|REVOKED|TIMEOUT"
    )
    hopeless = (
        "BadConstraints|Held|held|Invalid|PartitionTimeLimit|PartitionNodeLimit"
        "|MaxWallDurationPerJob|MaxCpuPerJob|MaxMemPerJob|AccountNotAllowed|QOSNotAllowed"
    )

    def job_options(
        self, config: ClusterConfig, resources: JobResources, folder: Path
    ) -> dict[str, Any]:
        """Return queue, account, walltime as HH:MM:SS and memory in MiB."""
        return {
            "queue": config.queue,
            "account": config.account,
            "walltime": format_clock(resources.walltime),
            "job_mem": f"{resources.mebibytes}M",
        }

    def queue_command(self, jobs: Sequence[str]) -> list[str]:
        """Return the command for job number, state and reason, also of jobs that are over."""
        return ["squeue", "-h", "--states=all", "-o", "%A %T %r", f"--jobs={','.join(jobs)}"]

    def job_end(self, environment: Mapping[str, str]) -> float | None:
        """Return the end that recent versions put into the environment, if it is a time."""
        try:
            end = float(environment.get("SLURM_JOB_END_TIME", ""))
        except ValueError:
            return None
        return end if math.isfinite(end) else None

    def time_left_command(self, environment: Mapping[str, str]) -> list[str]:
        """Return the command that shows the time left as ``D-HH:MM:SS``."""
        return ["squeue", "-h", "-j", _current_job(environment), "-o", "%L"]

    def read_time_left(self, answer: str) -> float | None:
        """Return the seconds; ``UNLIMITED`` and ``INVALID`` are None."""
        return parse_clock(answer)


def _current_job(environment: Mapping[str, str]) -> str:
    # The number of an array's last job is that of the array too.
    parts = "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"
    found = [environment[part] for part in parts if part in environment]
    return "_".join(found) or environment["SLURM_JOB_ID"]
