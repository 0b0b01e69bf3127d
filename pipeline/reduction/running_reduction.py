"""The state of a reduction while its folds are computed, in this process or on workers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from gfrnn.pipeline.reduction.block_checkpoints import BlockSavePolicy, Fold
from gfrnn.pipeline.reduction.checkpoints import Arrays
from gfrnn.pipeline.reduction.progress import ProgressCounts
from gfrnn.pipeline.reduction.tree import Block, Summary


@dataclass
class RunningReduction:
    """A reduction that has begun.

    Attributes
    ----------
    summary : Summary
    save_policy : BlockSavePolicy
    counts : ProgressCounts
    results : dict
        Summaries of finished folds by name.
    """

    summary: Summary
    save_policy: BlockSavePolicy
    counts: ProgressCounts
    results: dict[str, Arrays] = field(default_factory=dict)

    def should_save(self, fold: Fold, block: Block) -> bool:
        """Return whether to save a block; the block of a whole fold is saved as its summary."""
        return (
            fold.checkpoints is not None
            and block.size < len(fold.stretches)
            and self.save_policy.should_save(block)
        )


def c_ordered(arrays: Arrays) -> Arrays:
    """Return arrays in the memory order of those read from disk.

    The memory order may change how a sum is rounded.
    """
    return {name: np.asarray(values, order="C") for name, values in arrays.items()}
