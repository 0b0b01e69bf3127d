"""Run function calls on the current Dask client, or in this process where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from distributed import Future

from gfrnn.pipeline.reduction.blas_threads import single_threaded
from gfrnn.pipeline.reduction.dask_client import current_client
from gfrnn.pipeline.reduction.progress import Progress, ProgressUpdate
from gfrnn.pipeline.reduction.task_group import TaskGroup


def run_tasks(
    name: str,
    function: Callable[..., Any],
    arguments: Iterable[tuple[Any, ...]],
    progress: Progress | None = None,
) -> list[Any]:
    """Call a function for each tuple of arguments, on the current client or in this process.

    This serves work without a merge: solving, writing forecasts. Results are in the order of the
    arguments; no more calls are submitted at a time than keep the workers busy.
    """
    calls = list(arguments)
    client = current_client()
    results: list[Any] = [None] * len(calls)
    done = 0

    def finish(index: int, result: Any) -> None:
        nonlocal done
        results[index] = result
        done += 1
        if progress:
            progress(ProgressUpdate(name, done, len(calls)))

    if progress:
        progress(ProgressUpdate(name, 0, len(calls)))
    if client is None:
        for index, call in enumerate(calls):
            finish(index, single_threaded(function, *call))
        return results
    with TaskGroup(client, name) as tasks:

        def fetch(index: int, future: Future) -> None:
            finish(index, tasks.result(future))

        for index, call in enumerate(calls):
            while tasks.pending >= 2 * tasks.threads:
                tasks.wait_for_next()
            future = tasks.submit(str(index), single_threaded, function, *call)
            tasks.add_callback(future, partial(fetch, index))
        while tasks.pending:
            tasks.wait_for_next()
    return results
