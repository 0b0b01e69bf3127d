"""LSF: options of its jobs, and the commands that query its queue and the time left."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gfrnn.cluster.batch.systems.base import BatchSystem
from gfrnn.cluster.walltime import format_clock, parse_clock

if TYPE_CHECKING:
    from gfrnn.cluster.batch.job_resources import JobResources
    from gfrnn.cluster.config import ClusterConfig


class LsfSystem(BatchSystem):
    """LSF: bsub, bjobs, bkill."""

    kind = "lsf"
    title = "LSF"
    jobqueue_class = "LSFCluster"
    # bsub takes scripts from its standard input. dask-jobqueue can do that too, but throws the
    # error messages of bsub away.
    submit_command = "sh -c 'bsub < \"$0\"'"
    submit_host_variable = "LSB_SUB_HOST"
    job_id_variable = "LSB_JOBID"
    job_line = r"^ *(?P<job>\d+) +(?P<state>[A-Z]+) *$"
    waiting = "PEND|PSUSP"
    over = "DONE|EXIT|ZOMBI"
    hopeless = "PSUSP"

    def job_options(
        self, config: ClusterConfig, resources: JobResources, folder: Path
    ) -> dict[str, Any]:
        """Return queue, project, walltime as HH:MM, rounded up, and memory in bytes, which
        dask-jobqueue writes in the site's unit."""
        return {
            "queue": config.queue,
            "project": config.account,
            "walltime": format_clock(60 * math.ceil(resources.walltime / 60))[:-3],
            "mem": resources.memory,
            "use_stdin": False,
        }

    def queue_command(self, jobs: Sequence[str]) -> list[str]:
        """Return the command for number and state of these jobs."""
        return ["bjobs", "-noheader", "-o", "jobid stat", *jobs]

    def time_left_command(self, environment: Mapping[str, str]) -> list[str]:
        """Return the command that shows the time left; elements of arrays have an index."""
        job, index = environment["LSB_JOBID"], environment.get("LSB_JOBINDEX", "0")
        job = job if index == "0" else f"{job}[{index}]"
        return ["bjobs", "-noheader", "-o", "time_left", job]

    def read_time_left(self, answer: str) -> float | None:
        """Return the seconds of ``HH:MM L``, a limit; an estimate (``E``) is None."""
        match = re.fullmatch(r"(\d+:\d+)(?: L)?", answer.strip())
        return parse_clock(f"{match[1]}:00") if match else None
