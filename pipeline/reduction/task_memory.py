"""Plan the memory of tasks, and refuse those that exceed the memory of a worker's thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gfrnn.pipeline.errors import ResourceError
from gfrnn.pipeline.reduction.dask_client import thread_memory
from gfrnn.pipeline.reduction.tree import Stretch, Summary

USABLE_SHARE = 0.7
"""Share of a worker's memory that a task may use before Dask starts to spill and pause."""


def check_memory(needed: int, limit: int | None, task: str, remedy: str) -> None:
    """Refuse a task that needs more than the usable share of the memory of a worker's thread.

    Parameters
    ----------
    needed : int
        Peak memory of the task in bytes.
    limit : int or None
        Memory of a worker's thread in bytes; None where there is no limit.
    task : str
        Description of the task, the subject of the message.
    remedy : str
        Clause that says what to do, other than giving the workers more memory.

    Raises
    ------
    ResourceError
    """
    if limit is None or needed <= USABLE_SHARE * limit:
        return
    raise ResourceError(
        f"{task} needs {needed / 2**20:.0f} MiB, but a worker's thread has "
        f"{USABLE_SHARE * limit / 2**20:.0f} MiB for it ({USABLE_SHARE:.0%} of its memory "
        f"limit); give the workers more (cluster.memory) or {remedy}"
    )


@dataclass(frozen=True)
class TaskPlan:
    """The tasks of a piece of work and their peak memory, known before it starts.

    Attributes
    ----------
    name : str
    leaves, merges : int
        Number of tasks of each kind.
    leaf_bytes, merge_bytes : int
        Peak memory of a leaf and of a merge in bytes.
    remedy : str
        Keys of the experiment that reduce the memory if lowered.
    """

    name: str
    leaves: int
    merges: int
    leaf_bytes: int
    merge_bytes: int
    remedy: str

    @property
    def task_bytes(self) -> int:
        """Peak memory of any task in bytes."""
        return max(self.leaf_bytes, self.merge_bytes)

    def check(self, limit: int | None) -> None:
        """Refuse work that exceeds the memory of a worker's thread.

        Raises
        ------
        ResourceError
            If a leaf or a merge needs more than the usable share of the limit.
        """
        for part, needed in (("leaf", self.leaf_bytes), ("merge", self.merge_bytes)):
            check_memory(needed, limit, f"{self.name}: a {part}", f"lower {self.remedy}")


def plan_reduction(summary: Summary, stretches: Sequence[Stretch]) -> TaskPlan:
    """Count the tasks of a reduction and estimate their memory."""
    folds = len({stretch.fold for stretch in stretches})
    # Stretches of one length need the same memory.
    lengths = {stretch.stop - stretch.start: stretch for stretch in stretches}
    return TaskPlan(
        name=summary.name,
        leaves=len(stretches),
        merges=len(stretches) - folds,
        leaf_bytes=max((summary.leaf_bytes(part) for part in lengths.values()), default=0),
        merge_bytes=summary.merge_bytes(),
        remedy=summary.remedy,
    )


def plan_calls(name: str, calls: int, needed: int, remedy: str) -> TaskPlan:
    """Return the plan of calls that need ``needed`` bytes each."""
    return TaskPlan(name, leaves=calls, merges=0, leaf_bytes=needed, merge_bytes=0, remedy=remedy)


def check_call(name: str, needed: int, remedy: str) -> None:
    """Refuse calls on the current client's workers that need more bytes each than a thread has.

    Raises
    ------
    ResourceError
        If ``needed`` exceeds the usable share of the memory of a thread.
    """
    plan_calls(name, 1, needed, remedy).check(thread_memory())
