"""Progress of long work: bars in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from pipeline.tasks import Progress as Callback

# Seconds between two plain lines of one stage, so that a log of a batch job stays short.
_INTERVAL = 5.0


@contextmanager
def show_progress(console: Console) -> Iterator[Callback]:
    """A callback (stage, done, total) that shows how far work has come."""
    if not console.is_terminal:
        yield _plain(console)
        return
    columns = (
        TextColumn("{task.description:<14}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        open_bars: dict[str, TaskID] = {}

        def advance(stage: str, done: int, total: int) -> None:
            if stage not in open_bars:
                open_bars[stage] = bars.add_task(stage, total=total)
            bars.update(open_bars[stage], completed=done, total=total)
            if done >= total:  # the same stage may begin anew, for the next candidate
                del open_bars[stage]

        yield advance


def _plain(console: Console) -> Callback:
    said: dict[str, float] = {}
    begun: dict[str, float] = {}

    def advance(stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        begun.setdefault(stage, now)
        if done == 0 or (done < total and now - said.get(stage, begun[stage]) < _INTERVAL):
            return
        said[stage] = now
        elapsed = now - begun[stage]
        left = f", {elapsed / done * (total - done):.0f} s left" if 0 < done < total else ""
        console.print(f"{stage}: {done} of {total}, {elapsed:.0f} s{left}", highlight=False)
        if done >= total:
            said.pop(stage)
            begun.pop(stage)

    return advance
