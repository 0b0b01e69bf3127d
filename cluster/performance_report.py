"""Dask's performance report of a computation, as an HTML file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distributed import Client, performance_report
from distributed.diagnostics.task_stream import TaskStreamPlugin

from gfrnn.cluster.quiet_log import quiet_log

# Latest tasks that the report draws, at most. More of them slow down scheduler and browser.
_TASKS = 20_000

# Seconds for starting and for writing the report, each.
_TIMEOUT = 30.0


@contextmanager
def write_performance_report(
    client: Client, path: Path, warn: Callable[[str], None]
) -> Iterator[None]:
    """Write the report of a block, also if the block fails, unless it computes nothing.

    Parameters
    ----------
    client : distributed.Client
    path : Path
        An HTML file, which is replaced. It can be viewed offline.
    warn : callable
        Called with a message if the report cannot be written.
    """
    report = performance_report(filename=str(path), mode="inline")
    begun = time.time()
    try:
        client.run_on_scheduler(_limit)
        client.sync(report.__aenter__, callback_timeout=_TIMEOUT)
    except Exception as error:  # such as a package that the scheduler's Python lacks
        warn(f"Dask's performance report is not written: {type(error).__name__}: {error}")
        yield
        return
    try:
        yield
    finally:
        try:
            if path.parent.exists() and client.get_task_stream(start=begun, count=1):
                with quiet_log("distributed.core"):  # of the scheduler, which writes a copy
                    client.sync(
                        report.__aexit__, None, None, None, code="", callback_timeout=_TIMEOUT
                    )
        except Exception as error:  # must not hide the error of the block
            warn(f"Dask's performance report is not written: {type(error).__name__}: {error}")


def _limit(dask_scheduler: Any) -> None:
    """Have the scheduler record fewer tasks than by default."""
    if TaskStreamPlugin.name not in dask_scheduler.plugins:
        dask_scheduler.add_plugin(TaskStreamPlugin(dask_scheduler, maxlen=_TASKS))
