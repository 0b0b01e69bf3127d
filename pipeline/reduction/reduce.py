"""The tree reduction: plan, check memory, schedule, checkpoint, resume.

A summary consists of a leaf function (a stretch of time -> a few small arrays) and a merge function
(two results -> one). The tree depends on the stretches alone, never on the workers, the order of
arrival or the checkpoints of an earlier run, so the result is always the same bit for bit.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import replace

from dask.utils import format_bytes

from gfrnn.pipeline.reduction.block_checkpoints import BlockSavePolicy, Fold, FoldCheckpoints
from gfrnn.pipeline.reduction.checkpoints import Arrays, Checkpoints, content_key
from gfrnn.pipeline.reduction.dask_client import current_client, thread_memory
from gfrnn.pipeline.reduction.progress import Progress, ProgressCounts
from gfrnn.pipeline.reduction.reduce_in_process import reduce_in_process
from gfrnn.pipeline.reduction.reduce_on_workers import reduce_on_workers
from gfrnn.pipeline.reduction.running_reduction import RunningReduction
from gfrnn.pipeline.reduction.task_memory import plan_reduction
from gfrnn.pipeline.reduction.tree import Stretch, Summary

_LOGGER = logging.getLogger(__name__)


def fold_keys(name: str, key: str, stretches: Sequence[Stretch]) -> dict[str, str]:
    """Return the checkpoint key of each fold's summary."""
    folds: dict[str, list[tuple[int | str, ...]]] = {}
    for part in stretches:
        known = (part.data,) if part.data else ()
        folds.setdefault(part.fold, []).append((part.start, part.stop, *known))
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
        Key of everything but the stretches that determines the result: experiment and data. Where
        stretches have a digest of their data, the key is that of the experiment.
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
    run = RunningReduction(
        summary,
        BlockSavePolicy(checkpoints.every if checkpoints else math.inf),
        ProgressCounts(summary, plan.leaves, plan.task_bytes, progress),
    )
    run.counts.report()
    folds = _folds(summary.name, key, stretches, checkpoints)
    missing = []
    for fold in folds:
        saved = fold.checkpoints.load() if fold.checkpoints else None
        if saved is None:
            missing.append(fold)
        else:
            run.results[fold.name] = saved
            run.counts.add_found(len(fold.stretches))
    _LOGGER.info(
        "%s: %d leaves, %d of them finished before, at most %s a task, %s",
        summary.name,
        plan.leaves,
        run.counts.done,
        format_bytes(plan.task_bytes),
        "in this process" if client is None else "on workers",
    )
    if client is None:
        for fold in missing:
            run.results[fold.name] = reduce_in_process(run, fold)
    elif missing:
        reduce_on_workers(run, missing, client)
    return {fold.name: run.results[fold.name] for fold in folds}


def _folds(
    name: str, key: str, stretches: Sequence[Stretch], checkpoints: Checkpoints | None
) -> list[Fold]:
    parts: dict[str, list[Stretch]] = {}
    for stretch in stretches:
        parts.setdefault(stretch.fold, []).append(stretch)
    keys = fold_keys(name, key, stretches)
    # Blocks are found again where the data of another part of the fold have changed.
    of_blocks = fold_keys(name, key, [replace(part, data="") for part in stretches])

    def saved(fold: str) -> FoldCheckpoints | None:
        if checkpoints is None:
            return None
        data = tuple(part.data for part in parts[fold])
        return FoldCheckpoints(checkpoints, name, keys[fold], of_blocks[fold], data)

    return [Fold(fold, keys[fold], own, saved(fold)) for fold, own in parts.items()]
