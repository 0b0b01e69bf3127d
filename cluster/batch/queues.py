"""Query the queue of a batch system."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

from gfrnn.cluster.batch.systems.base import NOT_QUEUED, BatchSystem, JobState

_ANSWER_TIMEOUT = 30.0
"""Seconds for a batch system to answer."""


async def query_queue(system: BatchSystem, jobs: Sequence[str]) -> dict[str, JobState] | None:
    """Return the states of jobs by number, or None where the batch system does not answer."""
    try:
        process = await asyncio.create_subprocess_exec(
            *system.queue_command(jobs),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError:
        return None
    try:
        answer, error = await asyncio.wait_for(process.communicate(), _ANSWER_TIMEOUT)
    except TimeoutError:
        process.kill()
        await process.wait()
        return None
    if process.returncode and not re.search(system.gone, error.decode(errors="replace"), re.I):
        return None
    found = system.read_queue(answer.decode(errors="replace"))
    return {job: found.get(job, NOT_QUEUED) for job in jobs}
