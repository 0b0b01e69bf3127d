"""Dask's own report of what its workers did, kept as a page."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distributed import Client, performance_report
from distributed.diagnostics.task_stream import TaskStreamPlugin

# Tasks that the report draws, at most: the last of them. Of more, scheduler and browser suffer.
_TASKS = 20_000

# Seconds that writing it may take.
_PATIENCE = 30.0


@contextmanager
def performance_kept(client: Client, path: Path, warn: Callable[[str], None]) -> Iterator[None]:
    """Write the report of a block that computes, also when it fails; nothing of one that does not.

    Parameters
    ----------
    client : distributed.Client
    path : Path
        An HTML file, replaced. It needs no network to be looked at.
    warn : callable
        Told a sentence where there can be no report.
    """
    report = performance_report(filename=str(path), mode="inline")
    begun = time.time()
    try:
        client.run_on_scheduler(_limit)
        client.sync(report.__aenter__, callback_timeout=_PATIENCE)
    except Exception as error:  # whatever the scheduler's Python lacks
        warn(f"no Dask performance report: {type(error).__name__}: {error}")
        yield
        return
    try:
        yield
    finally:
        try:
            if path.parent.exists() and client.get_task_stream(start=begun, count=1):
                client.sync(report.__aexit__, None, None, None, code="", callback_timeout=_PATIENCE)
        except Exception as error:  # the scheduler may be gone, and why is told by what raised
            warn(f"no Dask performance report: {type(error).__name__}: {error}")


def _limit(dask_scheduler: Any) -> None:
    """Record less than Dask would by itself."""
    if TaskStreamPlugin.name not in dask_scheduler.plugins:
        dask_scheduler.add_plugin(TaskStreamPlugin(dask_scheduler, maxlen=_TASKS))
