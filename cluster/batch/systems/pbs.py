"""PBS (OpenPBS, PBS Professional): options of its jobs, queue and time left.

Torque is not supported, as it has no ``select``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gfrnn.cluster.batch.systems.base import BatchSystem
from gfrnn.cluster.walltime import format_clock, parse_clock

if TYPE_CHECKING:
    from gfrnn.cluster.batch.job_resources import JobResources
    from gfrnn.cluster.config import ClusterConfig


class PbsSystem(BatchSystem):
    """PBS: qsub, qstat, qdel."""

    kind = "pbs"
    title = "PBS"
    jobqueue_class = "PBSCluster"
    submit_host_variable = "PBS_O_HOST"
    job_id_variable = "PBS_JOBID"
    job_line = r"^(?P<job>\d+)\S* .* (?P<state>[A-Z]) +\S+ *$"
    waiting = "[QHWT]"
    over = "[CFX]"
    hopeless = "H"

    def job_options(
        self, config: ClusterConfig, resources: JobResources, folder: Path
    ) -> dict[str, Any]:
        """Return queue, account, walltime as HH:MM:SS, and cores and memory in MiB of one chunk."""
        return {
            "queue": config.queue,
            "account": config.account,
            "walltime": format_clock(resources.walltime),
            "resource_spec": f"select=1:ncpus={resources.cores}:mem={resources.mebibytes}mb",
        }

    def queue_command(self, jobs: Sequence[str]) -> list[str]:
        """Return the command that prints the table of these jobs."""
        return ["qstat", *jobs]

    def time_left_command(self, environment: Mapping[str, str]) -> list[str]:
        """Return the command that prints all attributes of the current job."""
        return ["qstat", "-f", environment["PBS_JOBID"]]

    def read_time_left(self, answer: str) -> float | None:
        """Return the walltime requested less the one used, which a young job does not have."""
        limit, used = (
            re.search(rf"^\s*{name}\.walltime = (\S+)$", answer, re.MULTILINE)
            for name in ("Resource_List", "resources_used")
        )
        total = parse_clock(limit[1]) if limit else None
        return None if total is None else total - ((parse_clock(used[1]) if used else None) or 0)
