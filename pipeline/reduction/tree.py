"""The binary tree in which the stretches of a fold are merged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from gfrnn.pipeline.reduction.checkpoints import Arrays


@dataclass(frozen=True)
class Stretch:
    """A period without a gap in one fold: times ``start`` to ``stop - 1`` of the time axis.

    ``data`` is a digest of the data of these times, where it is known.
    """

    fold: str
    start: int
    stop: int
    data: str = ""


class Summary(Protocol):
    """The functions that a tree reduction runs; pickled once and sent to each worker once."""

    @property
    def name(self) -> str:
        """Name to show in progress and on the dashboard."""

    @property
    def remedy(self) -> str:
        """Keys of the experiment that reduce the memory if lowered."""

    def leaf(self, stretch: Stretch) -> Arrays:
        """Return the summary of one stretch."""

    def merge(self, left: Arrays, right: Arrays) -> Arrays:
        """Return the summary of two sides, of which ``left`` comes before ``right``."""

    def leaf_bytes(self, stretch: Stretch) -> int:
        """Return the peak memory of a leaf in bytes, its result included."""

    def merge_bytes(self) -> int:
        """Return the peak memory of a merge in bytes, both sides and the result included."""


@runtime_checkable
class CostedSummary(Summary, Protocol):
    """A summary whose cost can be estimated before it runs."""

    def result_bytes(self, times: int) -> int:
        """Return the largest size in bytes of the summary of a number of times."""

    def leaf_rows(self, times: int) -> float:
        """Return the rows of a leaf of a number of times, or the times where there are no rows."""


@runtime_checkable
class RegressionRows(Protocol):
    """A summary of the rows of a regression, whose rate can be compared with matrix products."""

    @property
    def row_flops(self) -> float:
        """Useful operations of a row: its hidden features, and its part in the factorisation."""


@dataclass(frozen=True, order=True)
class Block:
    """The ``2**level`` leaves of a fold from leaf ``first`` on: a complete subtree.

    ``first`` is a multiple of the size; every tree with these leaves has this node.
    """

    level: int
    first: int

    @property
    def size(self) -> int:
        """Number of leaves."""
        return 1 << self.level

    @property
    def is_left_half(self) -> bool:
        """Whether this is the left half of a larger block, so that its other half comes later."""
        return self.first >> self.level & 1 == 0

    def contains(self, other: Block) -> bool:
        """Return whether another block lies under this one in the tree."""
        return self.level > other.level and self.first == other.first >> self.level << self.level


@dataclass
class Tree:
    """A tree whose leaves, pushed in order, merge like the carries of a binary counter.

    Its shape depends on the number n of leaves alone; at most log2(n) + 1 nodes wait at a time.

    Attributes
    ----------
    merge : callable
        Makes a node from a block and the block's left and right side; the block is None for the
        merges of the remaining nodes at the end.
    waiting : list
        Nodes without a right side, from the largest to the smallest.
    """

    merge: Callable[[Block | None, Any, Any], Any]
    waiting: list[tuple[Block, Any]] = field(default_factory=list)

    def push(self, block: Block, node: Any) -> None:
        """Add the next leaf, or the next block whose node is already computed."""
        while self.waiting and self.waiting[-1][0].level == block.level:
            left, other = self.waiting.pop()
            block = Block(left.level + 1, left.first)
            node = self.merge(block, other, node)
        self.waiting.append((block, node))

    def swap(self, block: Block, make: Callable[[], Any]) -> bool:
        """Replace a waiting node by an equal one; return False if it no longer waits."""
        for place, (other, _) in enumerate(self.waiting):
            if other == block:
                self.waiting[place] = (block, make())
                return True
        return False

    def root(self) -> Any:
        """Merge all waiting nodes and return the root; the tree is empty afterwards."""
        node = self.waiting.pop()[1]
        while self.waiting:
            node = self.merge(None, self.waiting.pop()[1], node)
        return node
