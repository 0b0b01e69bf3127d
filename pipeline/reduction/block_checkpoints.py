"""Checkpoints of a fold: blocks of its tree while it is being computed, then its summary."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.reduction.checkpoints import Arrays, Checkpoints
from gfrnn.pipeline.reduction.tree import Block, Stretch


@dataclass(frozen=True)
class FoldCheckpoints:
    """The checkpoints of one fold: its summary, or the blocks from which a run resumes.

    Attributes
    ----------
    checkpoints : Checkpoints
    name : str
        Name of the summary.
    key : str
        Key of everything that determines the summary of the fold.
    """

    checkpoints: Checkpoints
    name: str
    key: str

    def load(self) -> Arrays | None:
        """Return the summary of the fold, or None where it is missing or incomplete."""
        kept = self.checkpoints.load(self.name, self.key)
        if kept is not None:  # a run killed during `save` may have left blocks
            self.checkpoints.remove(self._blocks)
        return kept

    def save(self, arrays: Arrays) -> None:
        """Save the summary of the fold and remove its blocks, which are not needed any more."""
        self.checkpoints.save(self.name, self.key, arrays)
        self.checkpoints.remove(self._blocks)

    def load_block(self, block: Block) -> Arrays:
        """Return a block that was complete when it was found.

        Raises
        ------
        RunError
            If it is missing or damaged by now.
        """
        kept = self.checkpoints.load(self._blocks, _spell(block))
        if kept is None:
            raise RunError(
                f"{self.checkpoints.path}: a checkpoint of {self.name} is missing or damaged "
                "since it was written; check that all workers can read this folder, then run the "
                "same command again to resume from the remaining checkpoints"
            )
        return kept

    def save_block(self, block: Block, arrays: Arrays) -> None:
        """Save a block; the blocks under it stay until :meth:`prune`."""
        self.checkpoints.save(self._blocks, _spell(block), arrays)

    def prune(self, block: Block, needed: set[Block]) -> None:
        """Remove the blocks under one that is saved, except those that are needed."""
        for other in self._kept():
            if block.contains(other) and other not in needed:
                self.checkpoints.remove(self._blocks, _spell(other))

    def whole(self) -> Iterator[tuple[Block, Arrays]]:
        """Yield the largest complete blocks in order, with one at a time in memory."""
        stop = 0
        for block in sorted(self._kept(), key=lambda block: (block.first, -block.level)):
            if block.first < stop:
                continue
            arrays = self.checkpoints.load(self._blocks, _spell(block))
            if arrays is not None:
                stop = block.first + block.size
                yield block, arrays

    def _kept(self) -> list[Block]:
        found = (re.fullmatch(r"(\d+)-(\d+)", key) for key in self.checkpoints.keys(self._blocks))
        return [Block(int(match[1]), int(match[2])) for match in found if match]

    @property
    def _blocks(self) -> str:
        return f"{self.name}/{self.key}.blocks"


def _spell(block: Block) -> str:
    return f"{block.level}-{block.first}"


@dataclass
class FoldBlocks:
    """A fold to reduce: its stretches, and its checkpoints, or None where none are saved."""

    name: str
    key: str
    stretches: Sequence[Stretch]
    shelf: FoldCheckpoints | None

    def under(self, block: Block | None) -> Sequence[Stretch]:
        """Return the stretches of a block, or those of the whole fold for None."""
        return self.stretches[block.first : block.first + block.size] if block else self.stretches

    def pieces(self) -> Iterator[tuple[Block, Arrays | None]]:
        """Yield the nodes to push to the tree: saved blocks, and between them leaves (None)."""
        first = 0
        for block, arrays in self.shelf.whole() if self.shelf else ():
            yield from ((Block(0, leaf), None) for leaf in range(first, block.first))
            yield block, arrays
            first = block.first + block.size
        yield from ((Block(0, leaf), None) for leaf in range(first, len(self.stretches)))


@dataclass
class Pace:
    """Decide which blocks are saved: those that take a period to compute, at the latest rate.

    Attributes
    ----------
    period : float
        Seconds of work that a saved block has to be worth.
    clock : callable
        Returns the time in seconds.
    leaves : int or None
        Leaves computed in the last whole period; None in the first, in which nothing is saved.
    """

    period: float
    clock: Callable[[], float] = time.monotonic
    leaves: int | None = None
    _count: int = 0
    _begun: float = field(init=False)

    def __post_init__(self) -> None:
        self._begun = self.clock()

    def arrive(self) -> None:
        """Count a leaf that was computed."""
        self._count += 1
        now = self.clock()
        if now - self._begun >= self.period:
            self.leaves, self._count, self._begun = self._count, 0, now

    def worth(self, block: Block) -> bool:
        # A right half is never saved: it merges at once into a block that covers more.
        return self.leaves is not None and block.waits and block.size >= self.leaves
