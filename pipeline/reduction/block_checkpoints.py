"""Checkpoints of a fold: blocks of its tree while it is being computed, then its summary."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.reduction.checkpoints import Arrays, Checkpoints, content_key
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
    blocks_key : str
        The same without the data; by default the key.
    data : tuple of str
        Digest of the data of each leaf, by which blocks of changed leaves are not used again; empty
        where the key contains the data.
    """

    checkpoints: Checkpoints
    name: str
    key: str
    blocks_key: str = ""
    data: tuple[str, ...] = ()

    def load(self) -> Arrays | None:
        """Return the summary of the fold, or None where it is missing or incomplete."""
        arrays = self.checkpoints.load(self.name, self.key)
        if arrays is not None:  # a run killed during `save` may have left blocks
            self.checkpoints.remove(self._blocks_name)
        return arrays

    def save(self, arrays: Arrays) -> None:
        """Save the summary of the fold and remove its blocks, which are not needed any more."""
        self.checkpoints.save(self.name, self.key, arrays)
        self.checkpoints.remove(self._blocks_name)

    def load_block(self, block: Block) -> Arrays:
        """Return a block that was complete when it was found.

        Raises
        ------
        RunError
            If it is missing or damaged by now.
        """
        arrays = self.checkpoints.load(self._blocks_name, self._key_of(block))
        if arrays is None:
            raise RunError(
                f"{self.checkpoints.path}: a checkpoint of {self.name} is missing or damaged "
                "since it was written; check that all workers can read this folder, then run the "
                "same command again to resume from the remaining checkpoints"
            )
        return arrays

    def save_block(self, block: Block, arrays: Arrays) -> None:
        """Save a block; the blocks under it stay until :meth:`remove_under`."""
        self.checkpoints.save(self._blocks_name, self._key_of(block), arrays)

    def remove_under(self, block: Block, needed: set[Block]) -> None:
        """Remove the blocks under one that is saved, except those that are needed."""
        for other in self._saved_blocks():
            if block.contains(other) and other not in needed:
                self.checkpoints.remove(self._blocks_name, self._key_of(other))

    def complete_blocks(self) -> Iterator[tuple[Block, Arrays]]:
        """Yield the largest complete blocks in order, with one at a time in memory."""
        stop = 0
        for block in sorted(self._saved_blocks(), key=lambda block: (block.first, -block.level)):
            if block.first < stop:
                continue
            arrays = self.checkpoints.load(self._blocks_name, self._key_of(block))
            if arrays is not None:
                stop = block.first + block.size
                yield block, arrays

    def _saved_blocks(self) -> list[Block]:
        saved = self.checkpoints.keys(self._blocks_name)
        found = (re.match(r"(\d+)-(\d+)", key) for key in saved)
        blocks = [(Block(int(match[1]), int(match[2])), match.string) for match in found if match]
        # Those of other data have another key.
        return [block for block, key in blocks if key == self._key_of(block)]

    @property
    def _blocks_name(self) -> str:
        return f"{self.name}/{self.blocks_key or self.key}.blocks"

    def _key_of(self, block: Block) -> str:
        place = f"{block.level}-{block.first}"
        own = self.data[block.first : block.first + block.size]
        return f"{place}-{content_key(own)}" if any(own) else place


@dataclass
class Fold:
    """A fold to reduce.

    Attributes
    ----------
    name : str
    key : str
        Key of everything that determines its summary.
    stretches : sequence of Stretch
        Leaves in order.
    checkpoints : FoldCheckpoints or None
        None where no checkpoints are saved.
    """

    name: str
    key: str
    stretches: Sequence[Stretch]
    checkpoints: FoldCheckpoints | None

    def nodes(self) -> Iterator[tuple[Block, Arrays | None]]:
        """Yield the nodes to push to the tree: saved blocks, and between them leaves (None)."""
        first = 0
        for block, arrays in self.checkpoints.complete_blocks() if self.checkpoints else ():
            yield from ((Block(0, leaf), None) for leaf in range(first, block.first))
            yield block, arrays
            first = block.first + block.size
        yield from ((Block(0, leaf), None) for leaf in range(first, len(self.stretches)))


@dataclass
class BlockSavePolicy:
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

    def count_leaf(self) -> None:
        """Count a leaf that was computed."""
        self._count += 1
        now = self.clock()
        if now - self._begun >= self.period:
            self.leaves, self._count, self._begun = self._count, 0, now

    def should_save(self, block: Block) -> bool:
        """Return whether a block took long enough to compute."""
        # A right half is never saved: it merges at once into a block that covers more.
        return self.leaves is not None and block.is_left_half and block.size >= self.leaves
