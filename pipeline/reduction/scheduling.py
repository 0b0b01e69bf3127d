"""Compute the tree of each fold in this process or on the workers of a Dask cluster."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future as Job
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from distributed import Client, Future

from gfrnn.pipeline.errors import Stopped
from gfrnn.pipeline.reduction.block_checkpoints import FoldBlocks, FoldCheckpoints, Pace
from gfrnn.pipeline.reduction.checkpoints import Arrays
from gfrnn.pipeline.reduction.tally import Tally
from gfrnn.pipeline.reduction.tasks import Tasks, single_threaded
from gfrnn.pipeline.reduction.tree import Block, Stretch, Summary, Tree

# Submitted leaves and merges per thread: enough to keep it busy while messages travel, few enough
# that results do not accumulate even if merges are slow.
_AHEAD = 4

# Seconds for saving finished results after a failure.
_PATIENCE = 30.0

# Seconds to wait for running tasks after a request to stop, which leaves little time.
_FAREWELL = 10.0


@dataclass
class Reduction:
    """The state of a running reduction, in this process or on workers."""

    summary: Summary
    pace: Pace
    tally: Tally
    found: dict[str, Arrays] = field(default_factory=dict)

    def worth(self, fold: FoldBlocks, block: Block) -> bool:
        """Return whether to save a block; the block of a whole fold is saved as its summary."""
        return (
            fold.shelf is not None and block.size < len(fold.stretches) and self.pace.worth(block)
        )


def reduce_here(run: Reduction, folds: Iterable[FoldBlocks]) -> None:
    """Compute folds in this process."""
    for fold in folds:
        run.found[fold.name] = _fold_here(run, fold)


def _fold_here(run: Reduction, fold: FoldBlocks) -> Arrays:
    shelf = fold.shelf

    def keep(block: Block, arrays: Arrays) -> None:
        if shelf and run.worth(fold, block):
            shelf.save_block(block, arrays)
            shelf.prune(block, needed=set())
            run.tally.save()

    def merge(block: Block | None, left: Arrays, right: Arrays) -> Arrays:
        arrays = _merge(run.summary, left, right)
        run.tally.merge(fold.under(block))
        if block:
            keep(block, arrays)
        return arrays

    tree = Tree(merge)
    try:
        for block, arrays in fold.pieces():
            if arrays is None:
                arrays = _leaf(run.summary, fold.stretches[block.first])
                run.tally.leaf(fold.stretches[block.first])
                run.pace.arrive()
                keep(block, arrays)
            tree.push(block, arrays)
            run.tally.advance(block.size)
    except Stopped:
        if shelf:
            for block, arrays in tree.waiting:
                shelf.save_block(block, arrays)
        raise
    root: Arrays = tree.root()
    if shelf:
        shelf.save(root)
        run.tally.save()
    return root


def reduce_on_workers(run: Reduction, folds: Iterable[FoldBlocks], client: Client) -> None:
    """Compute folds on the workers of a client, which may join or leave meanwhile."""
    with ThreadPoolExecutor(1) as thread, Tasks(client, run.summary.name) as tasks:
        driver = _Driver(run, tasks, thread)
        try:
            for fold in folds:
                driver.submit(fold)
            while tasks.awaited:
                tasks.receive()
        except Stopped:
            driver.take_leave()
            raise
        finally:
            # Finished results are saved even if something else has failed.
            wait(driver.saving, timeout=_PATIENCE)


@dataclass
class _Growing:
    """A fold whose tree is being computed on the cluster."""

    fold: FoldBlocks
    tree: Tree
    # Blocks that tasks read from checkpoints, and read again when a worker dies.
    read: set[Block] = field(default_factory=set)

    # Nodes of the tree that are being computed or have not been merged yet.
    nodes: WeakValueDictionary[Block, Future] = field(default_factory=WeakValueDictionary)

    def unkept(self) -> Iterator[tuple[Block, Future]]:
        """Yield the largest finished blocks that have no checkpoint."""
        there = {block: node for block, node in self.nodes.items() if node.status == "finished"}
        for block, node in there.items():
            if block not in self.read and not any(other.contains(block) for other in there):
                yield block, node


class _Driver:
    """Submit as many leaves and merges as keep the workers busy, and save finished results.

    Results are fetched and saved one at a time in a thread, so that submitting continues.
    """

    def __init__(self, run: Reduction, tasks: Tasks, thread: ThreadPoolExecutor) -> None:
        self.run, self.tasks, self.thread = run, tasks, thread
        self.saving: set[Job[Any]] = set()
        self.merges = itertools.count()
        self.growing: list[_Growing] = []
        # The summary (with the opened data in it) is a task of its own, so that it is sent to each
        # worker once and recomputed if every worker that holds it dies.
        self.context = tasks.submit("summary", _identity, run.summary)

    def submit(self, fold: FoldBlocks) -> None:
        """Submit a whole fold, waiting whenever enough tasks are submitted."""
        growing = _Growing(fold, Tree(lambda *sides: self.merge(growing, *sides)))
        self.growing.append(growing)
        for block, kept in fold.pieces():
            while self.tasks.awaited >= _AHEAD * self.tasks.threads:
                self.tasks.receive()
            if kept is None:
                growing.tree.push(block, self.leaf(growing, block))
            else:
                growing.tree.push(block, self.read(growing, block))
                self.run.tally.advance(block.size)
        self.tasks.expect(growing.tree.root(), partial(self.finish, fold))

    def take_leave(self) -> None:
        """Wait some seconds for running tasks, then save all results without a checkpoint."""
        end = time.monotonic() + _FAREWELL
        with suppress(Exception):  # time is up, or the workers are gone already
            while self.tasks.awaited:
                self.tasks.receive(max(0.0, end - time.monotonic()))
        for growing in self.growing:
            if shelf := growing.fold.shelf:
                for block, node in growing.unkept():
                    self.save(node, partial(shelf.save_block, block), _nothing)

    def leaf(self, growing: _Growing, block: Block) -> Future:
        fold = growing.fold
        stretch = fold.stretches[block.first]
        future = self.tasks.submit(f"leaf-{fold.key}-{stretch.start}", _leaf, self.context, stretch)
        growing.nodes[block] = future

        def arrived(future: Future) -> None:
            self.run.tally.leaf(stretch)
            self.run.tally.advance(1)
            self.run.pace.arrive()
            self.consider(growing, block, future)

        self.tasks.expect(future, arrived)
        return future

    def merge(self, growing: _Growing, block: Block | None, left: Future, right: Future) -> Future:
        future = self.tasks.submit(
            f"merge-{growing.fold.key}-{next(self.merges)}",
            _merge,
            self.context,
            left,
            right,
            priority=10,  # merges first: they free two results and leave one
        )
        if block:
            growing.nodes[block] = future
        sides = [left, right]

        def arrived(future: Future) -> None:
            sides.clear()  # until now they could be saved in place of the merged block
            self.run.tally.merging -= 1
            self.run.tally.merge(growing.fold.under(block))
            self.consider(growing, block, future)

        self.run.tally.merging += 1
        self.tasks.expect(future, arrived)
        return future

    def read(self, growing: _Growing, block: Block) -> Future:
        """Submit a task that reads a saved block, and reads it again if its worker dies."""
        growing.read.add(block)
        key = f"kept-{growing.fold.key}-{block.level}-{block.first}"
        future = self.tasks.submit(key, FoldCheckpoints.load_block, growing.fold.shelf, block)
        self.tasks.expect(future, _nothing)
        return future

    def consider(self, growing: _Growing, block: Block | None, future: Future) -> None:
        """Save a finished block if it is worth it and nothing else is being saved."""
        shelf = growing.fold.shelf
        if block is None or shelf is None or self.saving or not self.run.worth(growing.fold, block):
            return

        def kept(_: Arrays) -> None:
            # From now on the block is read instead of being computed again, and the scheduler can
            # release the tasks that it was computed from.
            swapped = growing.tree.swap(block, lambda: self.read(growing, block))
            shelf.prune(block, needed=set() if swapped else growing.read)
            self.run.tally.save()

        self.save(future, partial(shelf.save_block, block), kept)

    def finish(self, fold: FoldBlocks, root: Future) -> None:
        """Fetch and save the summary of a fold."""

        def kept(arrays: Arrays) -> None:
            self.run.found[fold.name] = arrays
            if fold.shelf:
                self.run.tally.save()

        self.save(root, fold.shelf.save if fold.shelf else _nothing, kept)

    def save(
        self, future: Future, keep: Callable[[Arrays], None], then: Callable[[Arrays], None]
    ) -> None:
        """Fetch and save a result in the thread, then call ``then`` in the main thread."""

        def fetch() -> Arrays:
            arrays: Arrays = self.tasks.result(future)
            keep(arrays)
            return arrays

        def fetched(job: Job[Arrays]) -> None:
            self.saving.discard(job)
            then(job.result())

        job = self.thread.submit(fetch)
        self.saving.add(job)
        self.tasks.expect(job, fetched)


def _identity(value: Any) -> Any:
    return value


def _nothing(_: Any) -> None:
    pass


def _leaf(summary: Summary, stretch: Stretch) -> Arrays:
    return _ordered(single_threaded(summary.leaf, stretch))


def _merge(summary: Summary, left: Arrays, right: Arrays) -> Arrays:
    return _ordered(single_threaded(summary.merge, left, right))


def _ordered(arrays: Arrays) -> Arrays:
    # The memory order may change how a sum is rounded; arrays read from disk are C-ordered.
    return {name: np.asarray(values, order="C") for name, values in arrays.items()}
