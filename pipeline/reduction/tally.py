"""Count the finished work of a reduction and report its progress."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

from gfrnn.pipeline.reduction.tasks import Advance, Progress
from gfrnn.pipeline.reduction.tree import Costed, Stretch, Summary


@dataclass
class Tally:
    """Counts of leaves, rows, operations, unfinished merges and checkpoints of a reduction.

    Attributes
    ----------
    summary : Summary
    total : int
        Number of leaves.
    needed : int
        Peak memory of a task in bytes.
    progress : callable or None
        Called with each report.
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
        """Report the progress."""
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
        """Count leaves as done, computed now or found on disk, and report the progress."""
        self.done += leaves
        self.say()

    def leaf(self, stretch: Stretch) -> None:
        """Count a computed leaf."""
        rows, work = self._leaf_cost(stretch.stop - stretch.start)
        self.rows += rows
        self.work += work

    def merge(self, stretches: Sequence[Stretch]) -> None:
        """Count a computed merge of some stretches, whose two sides are about equally long."""
        times = sum(part.stop - part.start for part in stretches)
        self.work += self._merge_cost(times // 2)
        self._say_at_end()

    def save(self) -> None:
        """Count a written checkpoint."""
        self.saved += 1
        self._say_at_end()

    def _say_at_end(self) -> None:
        if self.done == self.total:  # otherwise the next leaf reports it
            self.say()

    # Costs depend on the length alone and are needed for each task, hence the caches.

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
