"""Progress of long work: bars in a terminal, plain lines elsewhere."""

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

from gfrnn.pipeline.reduction.tasks import Advance, Progress

# Seconds between two plain lines of one stage, so that a log of a batch job stays short.
_INTERVAL = 5.0


@contextmanager
def show_progress(console: Console) -> Iterator[Progress]:
    """A callback that shows how far work has come."""
    if not console.is_terminal:
        yield _plain(console)
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

        def show(advance: Advance) -> None:
            name, done, total = advance.name, advance.done, advance.total
            if _of_no_bar(advance, open_bars):
                return
            if name not in open_bars:
                open_bars[name] = bars.add_task(name, total=total, rate="")
            bar = open_bars[name]
            elapsed = bars.tasks[bar].elapsed
            rate = f"{advance.rows / elapsed:,.0f} rows/s" if elapsed and advance.rows else ""
            bars.update(bar, completed=done, total=total, rate=rate)
            if done >= total:  # the same stage may begin anew, for the next candidate
                del open_bars[name]

        yield show


def _of_no_bar(advance: Advance, known: dict[str, TaskID] | dict[str, float]) -> bool:
    """Whether it tells of what has not begun, or is over: its last merges, say."""
    over = advance.done >= advance.total > 0 and advance.name not in known
    return advance.coming or over


def _plain(console: Console) -> Progress:
    said: dict[str, float] = {}
    begun: dict[str, float] = {}

    def show(advance: Advance) -> None:
        name, done, total = advance.name, advance.done, advance.total
        if _of_no_bar(advance, begun):
            return
        now = time.monotonic()
        begun.setdefault(name, now)
        if done == 0 or (done < total and now - said.get(name, begun[name]) < _INTERVAL):
            return
        said[name] = now
        elapsed = now - begun[name]
        left = f", {elapsed / done * (total - done):.0f} s left" if 0 < done < total else ""
        rate = f", {advance.rows / elapsed:,.0f} rows/s" if advance.rows and elapsed else ""
        console.print(f"{name}: {done} of {total}, {elapsed:.0f} s{left}{rate}", highlight=False)
        if done >= total:
            said.pop(name)
            begun.pop(name)

    return show
