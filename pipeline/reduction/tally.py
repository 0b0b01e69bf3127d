"""What a reduction has done so far, counted and said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

from gfrnn.pipeline.reduction.tasks import Advance, Progress
from gfrnn.pipeline.reduction.tree import Costed, Stretch, Summary


@dataclass
class Tally:
    """Leaves, rows, operations, merges under way and checkpoints of one reduction.

    Attributes
    ----------
    summary : Summary
    total : int
        Leaves in all.
    needed : int
        Peak bytes of a task.
    progress : callable or None
        Who is told.
    """

    summary: Summary
    total: int
    needed: int
    progress: Progress | None
    done: int = 0
    rows: float = 0.0
    work: float = 0.0
    merging: int = 0
    saved: int = 0

    def say(self) -> None:
        """Say how far it has come."""
        if self.progress:
            self.progress(
                Advance(
                    self.summary.name,
                    self.done,
                    self.total,
                    rows=self.rows,
                    work=self.work,
                    needed=self.needed,
                    merging=self.merging,
                    saved=self.saved,
                )
            )

    def advance(self, leaves: int) -> None:
        """Leaves are done, or were found done; say so."""
        self.done += leaves
        self.say()

    def leaf(self, stretch: Stretch) -> None:
        """A leaf was computed."""
        rows, work = self._leaf_cost(stretch.stop - stretch.start)
        self.rows += rows
        self.work += work

    def merge(self, stretches: Sequence[Stretch]) -> None:
        """A merge was computed, of these stretches from two sides of about the same length."""
        times = sum(part.stop - part.start for part in stretches)
        self.work += self._merge_cost(times // 2)
        self._say_at_end()

    def save(self) -> None:
        """A checkpoint was written."""
        self.saved += 1
        self._say_at_end()

    def _say_at_end(self) -> None:
        if self.done == self.total:  # otherwise the next leaf will say it
            self.say()

    # Those of one length take the same, and it is asked for each task.

    @cached_property
    def _leaf_cost(self) -> Callable[[int], tuple[float, float]]:
        summary = self.summary
        if not isinstance(summary, Costed):
            return lambda times: (float(times), 0.0)
        return cache(
            lambda times: (summary.leaf_rows(times), sum(summary.leaf_work(times).values()))
        )

    @cached_property
    def _merge_cost(self) -> Callable[[int], float]:
        summary = self.summary
        if not isinstance(summary, Costed):
            return lambda times: 0.0
        return cache(lambda times: sum(summary.merge_work(times).values()))
