"""Progress of a piece of work: the update that a callback receives, and the counts behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from gfrnn.pipeline.reduction.tree import CostedSummary, RegressionRows, Stretch, Summary


@dataclass(frozen=True)
class ProgressUpdate:
    """The progress of a piece of work.

    Attributes
    ----------
    name : str
        Name of the work, for display.
    done, total : int
        Number of finished parts, and of all parts.
    found : int
        Number of the finished parts that an earlier process had finished.
    announced : bool
        Whether the work is only announced and has not begun.
    rows : float
        Rows computed so far, or times where there are no rows.
    work : float
        Useful operations of these rows; 0 where they are not counted.
    task_bytes : int
        Planned peak memory of a task in bytes; 0 where it was not planned.
    pending_merges : int
        Merges that are running or waiting for a worker.
    saved : int
        Checkpoints written so far.
    part : str
        Which part this is where several pieces of work have the same name, such as ``candidate 2
        of 4``; else empty.
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
    part: str = ""
    found: int = 0


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
    found: int = 0
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
                    found=self.found,
                )
            )

    def add_done(self, leaves: int) -> None:
        """Count leaves as computed, and report the progress."""
        self.done += leaves
        self.report()

    def add_found(self, leaves: int) -> None:
        """Count leaves that were found on disk as done, and report the progress."""
        self.found += leaves
        self.add_done(leaves)

    def add_leaf(self, stretch: Stretch) -> None:
        """Count rows and operations of a computed leaf."""
        rows = self._leaf_rows(stretch.stop - stretch.start)
        self.rows += rows
        self.work += rows * self._row_flops

    def add_merge(self) -> None:
        """Report a computed merge once no leaf does any more."""
        self._report_at_end()

    def add_checkpoint(self) -> None:
        """Count a written checkpoint."""
        self.saved += 1
        self._report_at_end()

    def _report_at_end(self) -> None:
        if self.done == self.total:  # otherwise the next leaf reports it
            self.report()

    # Cached, as they are needed for each leaf.

    @cached_property
    def _leaf_rows(self) -> Callable[[int], float]:
        return self.summary.leaf_rows if isinstance(self.summary, CostedSummary) else float

    @cached_property
    def _row_flops(self) -> float:
        return self.summary.row_flops if isinstance(self.summary, RegressionRows) else 0.0
