"""OAR: options of its jobs, and the command that queries its queue."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gfrnn.cluster.batch.systems.base import BatchSystem
from gfrnn.cluster.walltime import format_clock

if TYPE_CHECKING:
    from gfrnn.cluster.batch.job_resources import JobResources
    from gfrnn.cluster.config import ClusterConfig


class OarSystem(BatchSystem):
    """OAR: oarsub, oarstat, oardel. A job cannot learn its time limit."""

    kind = "oar"
    title = "OAR"
    jobqueue_class = "OARCluster"
    job_line = r"^(?P<job>\d+): (?P<state>\w+)"
    waiting = "Waiting|Hold|toAckReservation|toLaunch"
    over = "Terminated|Error|toError"
    hopeless = "Hold"

    def job_options(
        self, config: ClusterConfig, resources: JobResources, folder: Path
    ) -> dict[str, Any]:
        """Return queue, project, walltime as HH:MM:SS and the logs, which dask-jobqueue leaves out.

        Memory is a property that sites name, so it is among the user's directives.
        """
        logs = [f"-{way} {folder}/gfrnn-%jobid%.{end}" for way, end in (("O", "out"), ("E", "err"))]
        return {
            "queue": config.queue,
            "project": config.account,
            "walltime": format_clock(resources.walltime),
            "memory_per_core_property_name": "not_applicable",
            "job_extra_directives": [*logs, *config.directives],
        }

    def queue_command(self, jobs: Sequence[str]) -> list[str]:
        """Return the command that prints a line with the state of each job."""
        return ["oarstat", "-s", *(word for job in jobs for word in ("-j", job))]
