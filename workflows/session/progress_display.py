"""Display of progress: bars in a terminal, plain lines in a log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

from gfrnn.cluster.human_units import human_duration
from gfrnn.pipeline.reduction.progress import Progress, ProgressUpdate

# Seconds between two plain lines of one stage, which keeps the log of a batch job short.
_INTERVAL = 5.0


@contextmanager
def show_progress(console: Console) -> Iterator[Progress]:
    """Yield a callback that displays the progress of stages."""
    if not console.is_terminal:
        yield _plain_lines(console)
        return
    columns = (
        TextColumn("{task.description:<14}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[rate]}"),
    )
    with Bars(*columns, console=console) as bars:
        open_bars: dict[str, TaskID] = {}
        found: dict[str, int] = {}
        rows_before: dict[str, float] = {}  # of the time in which parts were found last

        def show(update: ProgressUpdate) -> None:
            name, done, total = update.name, update.done, update.total
            if _outside_stage(update, open_bars):
                return
            if name not in open_bars:
                open_bars[name] = bars.add_task(_label(update), total=total, rate="")
            bar = open_bars[name]
            if update.found != found.get(name, 0):  # which took no time, and tells of none
                found[name] = update.found
                bars.reset(bar, completed=done)
                rows_before[name] = update.rows
            elapsed = bars.tasks[bar].elapsed
            rate = _rate(update.rows - rows_before.get(name, 0.0), elapsed)
            label = _label(update)
            bars.update(bar, completed=done, total=total, rate=rate, description=label)
            if done >= total:  # the same stage may start again, for the next candidate
                del open_bars[name]
                found.pop(name, None), rows_before.pop(name, None)

        yield show


def _outside_stage(update: ProgressUpdate, active: dict[str, TaskID] | dict[str, float]) -> bool:
    """Check for a report of a stage that has not started, or is done but for its last merges."""
    done = update.done >= update.total > 0 and update.name not in active
    return update.announced or done


def _label(update: ProgressUpdate) -> str:
    """Name the work: ``rows``, or ``rows, candidate 2 of 4``."""
    return f"{update.name}, {update.part}" if update.part else update.name


def _rate(rows: float, seconds: float | None) -> str:
    """Write a rate as ``1,234 rows/s``, or below 10 as ``0.25 rows/s``; empty if it is unknown."""
    if not (rows and seconds):
        return ""
    rate = rows / seconds
    return f"{rate:,.0f} rows/s" if rate >= 10 else f"{rate:.2g} rows/s"


def _plain_lines(console: Console) -> Progress:
    printed: dict[str, float] = {}
    started: dict[str, float] = {}

    def show(update: ProgressUpdate) -> None:
        name, done, total = update.name, update.done, update.total
        if _outside_stage(update, started):
            return
        now = time.monotonic()
        started.setdefault(name, now)
        if done == 0 or (done < total and now - printed.get(name, started[name]) < _INTERVAL):
            return
        printed[name] = now
        elapsed = now - started[name]
        parts = [f"{_label(update)}: {done} of {total}", human_duration(elapsed)]
        if update.found < done < total:  # what was found has taken no time
            each = elapsed / (done - update.found)
            parts.append(f"{human_duration(each * (total - done))} left")
        if rate := _rate(update.rows, elapsed):
            parts.append(rate)
        console.print(", ".join(parts), highlight=False)
        if done >= total:
            printed.pop(name)
            started.pop(name)

    return show
