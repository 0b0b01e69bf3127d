"""HTCondor: options of its jobs, and the command that queries its queue."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gfrnn.cluster.batch.systems.base import BatchSystem

if TYPE_CHECKING:
    from gfrnn.cluster.batch.job_resources import JobResources
    from gfrnn.cluster.config import ClusterConfig


class HTCondorSystem(BatchSystem):
    """HTCondor: condor_submit, condor_q, condor_rm. A job cannot learn its time limit."""

    kind = "htcondor"
    title = "HTCondor"
    jobqueue_class = "HTCondorCluster"
    has_queues = False
    job_line = r"^(?P<job>\d+\.\d+) (?P<state>\d)(?: (?!undefined)(?P<reason>.+))?"
    waiting = "[15]"  # idle, held
    over = "[34]"  # removed, completed
    hopeless = "^5"

    def check(self, config: ClusterConfig) -> None:
        """Check that directives are lines of a submit description."""
        for line in config.directives:
            if "=" not in line:
                raise ValueError(f"directives: {line!r} is not of the form name = value")

    def job_options(
        self, config: ClusterConfig, resources: JobResources, folder: Path
    ) -> dict[str, Any]:
        """Return group, walltime in seconds, disk to spill to, and directives as a dict."""
        charged = {"accounting_group": config.account} if config.account else {}
        given = dict(line.split("=", 1) for line in config.directives)
        return {
            "disk": resources.memory,
            "job_extra_directives": charged
            | {"allowed_job_duration": resources.walltime}
            | {name.strip(): value.strip() for name, value in given.items()},
        }

    def queue_command(self, jobs: Sequence[str]) -> list[str]:
        """Return the command for number, numeric status and reason of being held."""
        return ["condor_q", *jobs, "-af:j", "JobStatus", "HoldReason"]
