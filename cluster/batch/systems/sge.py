"""Grid Engine (SGE and its successors): options of its jobs, and the queue command."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gfrnn.cluster.batch.systems.base import NEVER, BatchSystem
from gfrnn.cluster.walltime import format_clock

if TYPE_CHECKING:
    from gfrnn.cluster.batch.job_resources import JobResources
    from gfrnn.cluster.config import ClusterConfig


class SgeSystem(BatchSystem):
    """Grid Engine: qsub, qstat, qdel. A job cannot learn its time limit."""

    kind = "sge"
    title = "Grid Engine"
    jobqueue_class = "SGECluster"
    submit_host_variable = "SGE_O_HOST"
    job_line = r"^ *(?P<job>\d+) +\S+ +\S+ +\S+ +(?P<state>[a-zA-Z]+) "
    waiting = ".*w"
    over = NEVER  # such jobs are not listed
    hopeless = "E|h"

    def check(self, config: ClusterConfig) -> None:
        """Check that several cores come with a parallel environment, which sites name."""
        cores = config.threads * config.per_job
        if cores > 1 and not any(line.split()[:1] == ["-pe"] for line in config.directives):
            raise ValueError(
                f"directives: {cores} cores in a job of kind sge need the name of a parallel "
                "environment, e.g. directives: ['-pe smp 4']"
            )

    def job_options(
        self, config: ClusterConfig, resources: JobResources, folder: Path
    ) -> dict[str, Any]:
        """Return queue, project, walltime as HH:MM:SS and free memory in MiB."""
        return {
            "queue": config.queue,
            "project": config.account,
            "walltime": format_clock(resources.walltime),
            "resource_spec": f"mem_free={resources.mebibytes}M",
        }

    def queue_command(self, jobs: Sequence[str]) -> list[str]:
        """Return the command that lists all jobs of the user that are not over."""
        return ["qstat"]
