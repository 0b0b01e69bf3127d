"""Progress of a piece of work: the update that a callback receives, and the counts behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

from gfrnn.pipeline.reduction.tree import CostedSummary, Stretch, Summary


@dataclass(frozen=True)
class ProgressUpdate:
    """The progress of a piece of work.

    Attributes
    ----------
    name : str
        Name of the work, for display.
    done, total : int
        Number of finished parts, and of all parts.
    announced : bool
        Whether the work is only announced and has not begun.
    rows : float
        Rows computed so far, or times where there are no rows.
    work : float
        Operations so far.
    task_bytes : int
        Planned peak memory of a task in bytes; 0 where it was not planned.
    pending_merges : int
        Merges that are running or waiting for a worker.
    saved : int
        Checkpoints written so far.
    """

    name: str
    done: int
    total: int
    announced: bool = False
    rows: float = 0.0
    work: float = 0.0
    task_bytes: int = 0
    pending_merges: int = 0
    saved: int = 0


Progress = Callable[[ProgressUpdate], None]
"""Callback that receives the progress at the start of work, often during it, and at its end."""


@dataclass
class ProgressCounts:
    """Counts of leaves, rows, operations, unfinished merges and checkpoints of a reduction.

    Attributes
    ----------
    summary : Summary
    total : int
        Number of leaves.
    task_bytes : int
        Peak memory of a task in bytes.
    progress : callable or None
        Called with each update.
    """

    summary: Summary
    total: int
    task_bytes: int
    progress: Progress | None
    done: int = 0
    rows: float = 0.0
    work: float = 0.0
    pending_merges: int = 0
    saved: int = 0

    def report(self) -> None:
        """Call the callback with the present counts."""
        if self.progress:
            self.progress(
                ProgressUpdate(
                    self.summary.name,
                    self.done,
                    self.total,
                    rows=self.rows,
                    work=self.work,
                    task_bytes=self.task_bytes,
                    pending_merges=self.pending_merges,
                    saved=self.saved,
                )
            )

    def add_done(self, leaves: int) -> None:
        """Count leaves as done, computed now or found on disk, and report the progress."""
        self.done += leaves
        self.report()

    def add_leaf(self, stretch: Stretch) -> None:
        """Count rows and operations of a computed leaf."""
        rows, work = self._leaf_cost(stretch.stop - stretch.start)
        self.rows += rows
        self.work += work

    def add_merge(self, stretches: Sequence[Stretch]) -> None:
        """Count a computed merge of some stretches, whose two sides are about equally long."""
        times = sum(part.stop - part.start for part in stretches)
        self.work += self._merge_cost(times // 2)
        self._report_at_end()

    def add_checkpoint(self) -> None:
        """Count a written checkpoint."""
        self.saved += 1
        self._report_at_end()

    def _report_at_end(self) -> None:
        if self.done == self.total:  # otherwise the next leaf reports it
            self.report()

    # Costs depend on the length alone and are needed for each task, hence the caches.

    @cached_property
    def _leaf_cost(self) -> Callable[[int], tuple[float, float]]:
        summary = self.summary
        if not isinstance(summary, CostedSummary):
            return lambda times: (float(times), 0.0)
        return cache(
            lambda times: (summary.leaf_rows(times), sum(summary.leaf_work(times).values()))
        )

    @cached_property
    def _merge_cost(self) -> Callable[[int], float]:
        summary = self.summary
        if not isinstance(summary, CostedSummary):
            return lambda times: 0.0
        return cache(lambda times: sum(summary.merge_work(times).values()))
