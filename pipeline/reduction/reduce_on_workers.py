"""Compute the trees of folds on the workers of a Dask cluster."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future as ThreadFuture
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

from distributed import Client, Future

from gfrnn.pipeline.errors import DataError, Stopped
from gfrnn.pipeline.reduction.blas_threads import one_blas_thread
from gfrnn.pipeline.reduction.block_checkpoints import Fold, FoldCheckpoints
from gfrnn.pipeline.reduction.checkpoints import Arrays
from gfrnn.pipeline.reduction.running_reduction import RunningReduction, c_ordered
from gfrnn.pipeline.reduction.task_group import TaskGroup
from gfrnn.pipeline.reduction.tree import Block, Stretch, Summary, Tree

# Submitted leaves and merges per thread: enough to keep it busy while messages travel, few enough
# that results do not accumulate even if merges are slow.
_TASKS_PER_THREAD = 4

# Seconds for saving finished results after a failure.
_SAVE_SECONDS = 30.0

# Seconds to wait for running tasks after a request to stop, which leaves little time.
_STOP_SECONDS = 10.0


def reduce_on_workers(run: RunningReduction, folds: Iterable[Fold], client: Client) -> None:
    """Compute folds on the workers of a client, which may join or leave meanwhile."""
    with ThreadPoolExecutor(1) as thread, TaskGroup(client, run.summary.name) as tasks:
        scheduling = _FoldScheduling(run, tasks, thread)
        try:
            for fold in folds:
                scheduling.submit(fold)
            while tasks.pending:
                tasks.wait_for_next()
        except (Stopped, DataError):  # data can be mended, and the work taken up
            scheduling.stop()
            raise
        finally:
            # Finished results are saved even if something else has failed.
            wait(scheduling.saving, timeout=_SAVE_SECONDS)


@dataclass
class _SubmittedFold:
    """A fold whose tree is being computed on the cluster."""

    fold: Fold
    tree: Tree
    # Blocks that tasks read from checkpoints, and read again when a worker dies.
    read: set[Block] = field(default_factory=set)

    # Nodes of the tree that are being computed or have not been merged yet.
    nodes: WeakValueDictionary[Block, Future] = field(default_factory=WeakValueDictionary)

    def unsaved(self) -> Iterator[tuple[Block, Future]]:
        """Yield the largest finished blocks that have no checkpoint."""
        there = {block: node for block, node in self.nodes.items() if node.status == "finished"}
        for block, node in there.items():
            if block not in self.read and not any(other.contains(block) for other in there):
                yield block, node


class _FoldScheduling:
    """Submit as many leaves and merges as keep the workers busy, and save finished results.

    Results are fetched and saved one at a time in a thread, so that submitting continues.
    """

    def __init__(self, run: RunningReduction, tasks: TaskGroup, thread: ThreadPoolExecutor) -> None:
        self.run, self.tasks, self.thread = run, tasks, thread
        self.saving: set[ThreadFuture[Any]] = set()
        self.merges = itertools.count()
        self.submitted: list[_SubmittedFold] = []
        # The summary (with the opened data in it) is a task of its own, so that it is sent to each
        # worker once and recomputed if every worker that holds it dies.
        self.summary = tasks.submit("summary", _identity, run.summary)

    def submit(self, fold: Fold) -> None:
        """Submit a whole fold, waiting whenever enough tasks are submitted."""
        submitted = _SubmittedFold(fold, Tree(lambda *sides: self.merge(submitted, *sides)))
        self.submitted.append(submitted)
        for block, saved in fold.nodes():
            while self.tasks.pending >= _TASKS_PER_THREAD * self.tasks.threads:
                self.tasks.wait_for_next()
            if saved is None:
                submitted.tree.push(block, self.leaf(submitted, block))
            else:
                submitted.tree.push(block, self.read(submitted, block))
                self.run.counts.add_found(block.size)
        self.tasks.add_callback(submitted.tree.root(), partial(self.finish, fold))

    def stop(self) -> None:
        """Wait some seconds for running tasks, then save all results without a checkpoint."""
        end = time.monotonic() + _STOP_SECONDS
        with suppress(Exception):  # time is up, or the workers are gone already
            while self.tasks.pending:
                self.tasks.wait_for_next(max(0.0, end - time.monotonic()))
        for submitted in self.submitted:
            if checkpoints := submitted.fold.checkpoints:
                for block, node in submitted.unsaved():
                    self.save(node, partial(checkpoints.save_block, block), _nothing)

    def leaf(self, submitted: _SubmittedFold, block: Block) -> Future:
        """Submit a leaf."""
        fold = submitted.fold
        stretch = fold.stretches[block.first]
        future = self.tasks.submit(f"leaf-{fold.key}-{stretch.start}", _leaf, self.summary, stretch)
        submitted.nodes[block] = future

        def finished(future: Future) -> None:
            self.run.counts.add_leaf(stretch)
            self.run.counts.add_done(1)
            self.run.save_policy.count_leaf()
            self.save_if_due(submitted, block, future)

        self.tasks.add_callback(future, finished)
        return future

    def merge(
        self, submitted: _SubmittedFold, block: Block | None, left: Future, right: Future
    ) -> Future:
        """Submit a merge."""
        future = self.tasks.submit(
            f"merge-{submitted.fold.key}-{next(self.merges)}",
            _merge,
            self.summary,
            left,
            right,
            priority=10,  # merges first: they free two results and leave one
        )
        if block:
            submitted.nodes[block] = future
        sides = [left, right]

        def finished(future: Future) -> None:
            sides.clear()  # until now they could be saved in place of the merged block
            self.run.counts.pending_merges -= 1
            self.run.counts.add_merge()
            self.save_if_due(submitted, block, future)

        self.run.counts.pending_merges += 1
        self.tasks.add_callback(future, finished)
        return future

    def read(self, submitted: _SubmittedFold, block: Block) -> Future:
        """Submit a task that reads a saved block, and reads it again if its worker dies."""
        submitted.read.add(block)
        future = self.tasks.submit(
            f"saved-{submitted.fold.key}-{block.level}-{block.first}",
            FoldCheckpoints.load_block,
            submitted.fold.checkpoints,
            block,
        )
        self.tasks.add_callback(future, _nothing)
        return future

    def save_if_due(self, submitted: _SubmittedFold, block: Block | None, future: Future) -> None:
        """Save a finished block if it is worth it and nothing else is being saved."""
        fold = submitted.fold
        checkpoints = fold.checkpoints
        if block is None or checkpoints is None or self.saving:
            return
        if not self.run.should_save(fold, block):
            return

        def saved(_: Arrays) -> None:
            # From now on the block is read instead of being computed again, and the scheduler can
            # release the tasks that it was computed from.
            swapped = submitted.tree.swap(block, lambda: self.read(submitted, block))
            checkpoints.remove_under(block, needed=set() if swapped else submitted.read)
            self.run.counts.add_checkpoint()

        self.save(future, partial(checkpoints.save_block, block), saved)

    def finish(self, fold: Fold, root: Future) -> None:
        """Fetch and save the summary of a fold."""

        def saved(arrays: Arrays) -> None:
            self.run.results[fold.name] = arrays
            if fold.checkpoints:
                self.run.counts.add_checkpoint()

        self.save(root, fold.checkpoints.save if fold.checkpoints else _nothing, saved)

    def save(
        self, future: Future, write: Callable[[Arrays], None], callback: Callable[[Arrays], None]
    ) -> None:
        """Fetch and save a result in the thread, then call ``callback`` in the main thread."""

        def fetch() -> Arrays:
            arrays: Arrays = self.tasks.result(future)
            write(arrays)
            return arrays

        def finished(job: ThreadFuture[Arrays]) -> None:
            self.saving.discard(job)
            callback(job.result())

        job = self.thread.submit(fetch)
        self.saving.add(job)
        self.tasks.add_callback(job, finished)


def _identity(value: Any) -> Any:
    return value


def _nothing(_: Any) -> None:
    pass


def _leaf(summary: Summary, stretch: Stretch) -> Arrays:
    with one_blas_thread():
        return c_ordered(summary.leaf(stretch))


def _merge(summary: Summary, left: Arrays, right: Arrays) -> Arrays:
    with one_blas_thread():
        return c_ordered(summary.merge(left, right))
