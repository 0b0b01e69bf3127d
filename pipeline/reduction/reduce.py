"""The tree reduction: plan, check memory, schedule, checkpoint, resume.

A summary consists of a leaf function (a stretch of time -> a few small arrays) and a merge function
(two results -> one). The tree depends on the stretches alone, never on the workers, the order of
arrival or the checkpoints of an earlier run, so the result is always the same bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from distributed import Client

from gfrnn.pipeline.errors import ResourceError
from gfrnn.pipeline.reduction.block_checkpoints import FoldBlocks, FoldCheckpoints, Pace
from gfrnn.pipeline.reduction.checkpoints import Arrays, Checkpoints, content_key
from gfrnn.pipeline.reduction.scheduling import Reduction, reduce_here, reduce_on_workers
from gfrnn.pipeline.reduction.tally import Tally
from gfrnn.pipeline.reduction.tasks import Progress, current_client
from gfrnn.pipeline.reduction.tree import Stretch, Summary

USABLE = 0.7
"""Share of a worker's memory that a task may use before Dask starts to spill and pause."""


@dataclass(frozen=True)
class Plan:
    """The tasks of a reduction and their peak memory, known before it starts."""

    name: str
    leaves: int
    merges: int
    leaf_bytes: int
    merge_bytes: int
    remedy: str

    def check(self, limit: int | None) -> None:
        """Refuse work that exceeds the memory of a worker's thread.

        Raises
        ------
        ResourceError
            If a leaf or a merge needs more than the usable share of the limit.
        """
        if limit is None:
            return
        for part, needed in (("leaf", self.leaf_bytes), ("merge", self.merge_bytes)):
            if needed > USABLE * limit:
                raise ResourceError(
                    f"{self.name}: a {part} needs {needed / 2**20:.0f} MiB, but a worker's thread "
                    f"has {USABLE * limit / 2**20:.0f} MiB for it ({USABLE:.0%} of its memory "
                    f"limit); give the workers more (cluster.memory) or lower {self.remedy}"
                )


def plan_reduction(summary: Summary, stretches: Sequence[Stretch]) -> Plan:
    """Count the tasks and estimate their memory."""
    folds = len({stretch.fold for stretch in stretches})
    # Stretches of one length need the same memory.
    lengths = {stretch.stop - stretch.start: stretch for stretch in stretches}
    return Plan(
        name=summary.name,
        leaves=len(stretches),
        merges=len(stretches) - folds,
        leaf_bytes=max((summary.leaf_bytes(part) for part in lengths.values()), default=0),
        merge_bytes=summary.merge_bytes(),
        remedy=summary.remedy,
    )


def check_call(name: str, needed: int, remedy: str) -> None:
    """Refuse calls of :func:`run_tasks` that need more bytes each than a thread has.

    Raises
    ------
    ResourceError
        If ``needed`` exceeds the usable share of the memory of a thread.
    """
    plan_calls(name, 1, needed, remedy).check(thread_memory())


def plan_calls(name: str, calls: int, needed: int, remedy: str) -> Plan:
    """Return the plan of calls that need ``needed`` bytes each."""
    return Plan(name, leaves=calls, merges=0, leaf_bytes=needed, merge_bytes=0, remedy=remedy)


def fold_keys(name: str, key: str, stretches: Sequence[Stretch]) -> dict[str, str]:
    """Return the checkpoint key of each fold's summary."""
    folds: dict[str, list[tuple[int, int]]] = {}
    for part in stretches:
        folds.setdefault(part.fold, []).append((part.start, part.stop))
    return {fold: content_key(name, key, parts) for fold, parts in folds.items()}


def reduce_stretches(
    summary: Summary,
    stretches: Sequence[Stretch],
    *,
    key: str,
    checkpoints: Checkpoints | None = None,
    progress: Progress | None = None,
) -> dict[str, Arrays]:
    """Summarise the stretches of each fold, on the current Dask client or else in this process.

    Parameters
    ----------
    summary : Summary
    stretches : sequence of Stretch
        Stretches in order, so that those of one fold follow each other.
    key : str
        Key of everything but the stretches that determines the result: experiment and data.
    checkpoints : Checkpoints, optional
        Folds found there are not computed again; every finished fold is saved, and blocks of it
        before it is finished.
    progress : callable, optional

    Returns
    -------
    dict
        Summaries by fold, in the order of the stretches.

    Raises
    ------
    ResourceError
        Before anything runs, if a leaf or a merge exceeds a worker's memory; later, if workers
        died repeatedly while they computed one task.
    """
    client = current_client()
    plan = plan_reduction(summary, stretches)
    plan.check(thread_memory())
    pace = Pace(checkpoints.every if checkpoints else math.inf)
    tally = Tally(summary, plan.leaves, max(plan.leaf_bytes, plan.merge_bytes), progress)
    run = Reduction(summary, pace, tally)
    tally.advance(0)
    folds = _folds(summary.name, key, stretches, checkpoints)
    missing = []
    for fold in folds:
        kept = fold.shelf.load() if fold.shelf else None
        if kept is None:
            missing.append(fold)
        else:
            run.found[fold.name] = kept
            tally.advance(len(fold.stretches))
    if client is None:
        reduce_here(run, missing)
    elif missing:
        reduce_on_workers(run, missing, client)
    return {fold.name: run.found[fold.name] for fold in folds}


def _folds(
    name: str, key: str, stretches: Sequence[Stretch], checkpoints: Checkpoints | None
) -> list[FoldBlocks]:
    parts: dict[str, list[Stretch]] = {}
    for stretch in stretches:
        parts.setdefault(stretch.fold, []).append(stretch)
    keys = fold_keys(name, key, stretches)
    return [
        FoldBlocks(
            fold,
            keys[fold],
            own,
            FoldCheckpoints(checkpoints, name, keys[fold]) if checkpoints else None,
        )
        for fold, own in parts.items()
    ]


def thread_memory() -> int | None:
    """Return the least memory that a thread of the current client's workers may use.

    None where there is no limit.
    """
    return _memory_of_a_thread(current_client())


def _memory_of_a_thread(client: Client | None) -> int | None:
    if client is None:
        return None
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    shares = [w["memory_limit"] // w["nthreads"] for w in workers if w.get("memory_limit")]
    return min(shares, default=None)
