"""Progress of a loop over steps of equal weight."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from gfrnn.pipeline.reduction.progress import Progress, ProgressUpdate


def step_progress(progress: Progress, name: str, total: int) -> Callable[[], None]:
    """Report that work begins, and return a function to be called after each step.

    Parameters
    ----------
    progress : callable
    name : str
        Name of the work.
    total : int
        Number of steps.
    """
    done = count(1)
    progress(ProgressUpdate(name, 0, total))
    return lambda: progress(ProgressUpdate(name, next(done), total))


def no_progress(_: ProgressUpdate) -> None:
    """Ignore progress."""
