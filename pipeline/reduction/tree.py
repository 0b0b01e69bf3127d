"""The tree in which the stretches of a fold merge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from gfrnn.pipeline.reduction.checkpoints import Arrays
from gfrnn.pipeline.reduction.flops import Work


@dataclass(frozen=True)
class Stretch:
    """Times ``start`` to ``stop - 1`` of the time axis, all in one fold and without a gap."""

    fold: str
    start: int
    stop: int


class Summary(Protocol):
    """What the reducer runs. It is pickled once and sent to each worker once."""

    @property
    def name(self) -> str:
        """What people read in progress and on the dashboard."""

    @property
    def remedy(self) -> str:
        """Which key of the experiment makes it smaller."""

    def leaf(self, stretch: Stretch) -> Arrays:
        """The summary of one stretch."""

    def merge(self, left: Arrays, right: Arrays) -> Arrays:
        """The summary of two stretches, ``left`` before ``right``."""

    def leaf_bytes(self, stretch: Stretch) -> int:
        """Peak working memory of a leaf, its result included."""

    def merge_bytes(self) -> int:
        """Peak working memory of a merge, both sides and the result included."""


@runtime_checkable
class Costed(Summary, Protocol):
    """A summary that knows before it runs what it will take."""

    def result_bytes(self, times: int) -> int:
        """What the summary of so many times takes, at most."""

    def leaf_rows(self, times: int) -> float:
        """Rows that a leaf of so many times goes through; times where there are no rows."""

    def leaf_work(self, times: int) -> Work:
        """Operations of a leaf of so many times."""

    def merge_work(self, times: int) -> Work:
        """Operations of merging two summaries of so many times each."""


@dataclass(frozen=True, order=True)
class Block:
    """The ``2**level`` leaves of a fold from leaf ``first`` on: a node of every tree that has them.

    ``first`` is a multiple of the size.
    """

    level: int
    first: int

    @property
    def size(self) -> int:
        return 1 << self.level

    @property
    def waits(self) -> bool:
        """Whether it is the left half of a larger block, so that its other half comes later."""
        return self.first >> self.level & 1 == 0

    def contains(self, other: Block) -> bool:
        """Whether the other lies under it in the tree."""
        return self.level > other.level and self.first == other.first >> self.level << self.level


@dataclass
class Tree:
    """Leaves pushed in order merge like the carries of a binary counter.

    So the tree is a function of the number of leaves alone, and at most log2 of it is waiting.

    Attributes
    ----------
    merge : callable
        Makes a node of its left and its right side. It is told which block that is, or None for
        what is left over at the end.
    waiting : list
        Nodes without a right side, from the largest to the smallest.
    """

    merge: Callable[[Block | None, Any, Any], Any]
    waiting: list[tuple[Block, Any]] = field(default_factory=list)

    def push(self, block: Block, node: Any) -> None:
        """Add the next leaf, or the next block whose node is there already."""
        while self.waiting and self.waiting[-1][0].level == block.level:
            left, other = self.waiting.pop()
            block = Block(left.level + 1, left.first)
            node = self.merge(block, other, node)
        self.waiting.append((block, node))

    def swap(self, block: Block, make: Callable[[], Any]) -> bool:
        """Let an equal node stand in for one that waits; False if it waits no longer."""
        for place, (other, _) in enumerate(self.waiting):
            if other == block:
                self.waiting[place] = (block, make())
                return True
        return False

    def root(self) -> Any:
        """Merge what is waiting; the tree is empty then."""
        node = self.waiting.pop()[1]
        while self.waiting:
            node = self.merge(None, self.waiting.pop()[1], node)
        return node
