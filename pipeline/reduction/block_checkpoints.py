"""What is kept on disk of a fold: blocks of its tree while it is under way, then its summary."""

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
    """Where the summary of one fold is kept, and the blocks that a resumed run goes on from.

    Attributes
    ----------
    checkpoints : Checkpoints
    name, key : str
        Of the summary, and of all that decides the fold's.
    """

    checkpoints: Checkpoints
    name: str
    key: str

    def load(self) -> Arrays | None:
        """The fold's summary, or None where it is not whole."""
        kept = self.checkpoints.load(self.name, self.key)
        if kept is not None:  # a run killed between the two steps of `save` left blocks
            self.checkpoints.remove(self._blocks)
        return kept

    def save(self, arrays: Arrays) -> None:
        """Keep the fold's summary; its blocks have served."""
        self.checkpoints.save(self.name, self.key, arrays)
        self.checkpoints.remove(self._blocks)

    def load_block(self, block: Block) -> Arrays:
        """A block that was found whole before.

        Raises
        ------
        RunError
        """
        kept = self.checkpoints.load(self._blocks, _spell(block))
        if kept is None:
            raise RunError(
                f"{self.checkpoints.path}: a checkpoint of {self.name} is gone or damaged since it "
                "was written; do all workers see this folder? The same command goes on from what "
                "is whole"
            )
        return kept

    def save_block(self, block: Block, arrays: Arrays) -> None:
        """Keep a block; those under it stay until :meth:`prune`."""
        self.checkpoints.save(self._blocks, _spell(block), arrays)

    def prune(self, block: Block, needed: set[Block]) -> None:
        """Forget the blocks under one that is kept, except those that are needed."""
        for other in self._kept():
            if block.contains(other) and other not in needed:
                self.checkpoints.remove(self._blocks, _spell(other))

    def whole(self) -> Iterator[tuple[Block, Arrays]]:
        """The largest blocks that are kept whole, in their order, one at a time in memory."""
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
    """A fold to reduce."""

    name: str
    key: str
    stretches: Sequence[Stretch]
    shelf: FoldCheckpoints | None

    def under(self, block: Block | None) -> Sequence[Stretch]:
        """The stretches of a block; all of them where it is none, as at the root."""
        return self.stretches[block.first : block.first + block.size] if block else self.stretches

    def pieces(self) -> Iterator[tuple[Block, Arrays | None]]:
        """What its tree is pushed: blocks that are kept, and leaves (None) where there are none."""
        first = 0
        for block, arrays in self.shelf.whole() if self.shelf else ():
            yield from ((Block(0, leaf), None) for leaf in range(first, block.first))
            yield block, arrays
            first = block.first + block.size
        yield from ((Block(0, leaf), None) for leaf in range(first, len(self.stretches)))


@dataclass
class Pace:
    """Which blocks are worth keeping: those that take a period to compute, by the last of them.

    Attributes
    ----------
    period : float
        Seconds.
    clock : callable
    """

    period: float
    clock: Callable[[], float] = time.monotonic
    leaves: int | None = None  # of the last whole period; in the first nothing is worth keeping
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
        # A right half is never worth it: it merges at once, into a block that covers more.
        return self.leaves is not None and block.waits and block.size >= self.leaves
