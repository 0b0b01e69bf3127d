"""Compute the tree of a fold in this process."""

from __future__ import annotations

from gfrnn.pipeline.errors import DataError, Stopped
from gfrnn.pipeline.reduction.blas_threads import one_blas_thread
from gfrnn.pipeline.reduction.block_checkpoints import Fold
from gfrnn.pipeline.reduction.checkpoints import Arrays
from gfrnn.pipeline.reduction.running_reduction import RunningReduction, c_ordered
from gfrnn.pipeline.reduction.tree import Block, Tree


def reduce_in_process(run: RunningReduction, fold: Fold) -> Arrays:
    """Return the summary of a fold, computed in this process."""
    checkpoints, counts = fold.checkpoints, run.counts

    def save_if_due(block: Block, arrays: Arrays) -> None:
        if checkpoints and run.should_save(fold, block):
            checkpoints.save_block(block, arrays)
            checkpoints.remove_under(block, needed=set())
            counts.add_checkpoint()

    def merge(block: Block | None, left: Arrays, right: Arrays) -> Arrays:
        arrays = c_ordered(run.summary.merge(left, right))
        counts.add_merge()
        if block:
            save_if_due(block, arrays)
        return arrays

    tree = Tree(merge)
    with one_blas_thread():  # rounding is then that of the workers
        try:
            for block, arrays in fold.nodes():
                count = counts.add_found
                if arrays is None:
                    count = counts.add_done
                    stretch = fold.stretches[block.first]
                    arrays = c_ordered(run.summary.leaf(stretch))
                    counts.add_leaf(stretch)
                    run.save_policy.count_leaf()
                    save_if_due(block, arrays)
                tree.push(block, arrays)
                count(block.size)
        except (Stopped, DataError):  # data can be mended, and the work taken up
            if checkpoints:
                for block, arrays in tree.waiting:
                    checkpoints.save_block(block, arrays)
            raise
        root: Arrays = tree.root()
    if checkpoints:
        checkpoints.save(root)
        counts.add_checkpoint()
    return root
