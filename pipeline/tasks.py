"""Calls on the current Dask client, or in this process where there is none."""

from __future__ import annotations

import uuid
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from distributed import Client, Future, as_completed, get_client
from threadpoolctl import threadpool_limits

from pipeline.errors import GfrnnError, ResourceError

Progress = Callable[[str, int, int], None]
"""Called with the name of the work, the parts of it that are done, and the parts in all."""


def current_client() -> Client | None:
    """The client that calls go to."""
    try:
        return get_client()
    except ValueError:
        return None


@dataclass
class Tasks:
    """Tasks of one piece of work. When it fails, those that are left leave the cluster too.

    The client keeps the error, its traceback the frames and these the futures: left alone, they
    would stay until the client closes.
    """

    client: Client
    # A failed task would otherwise be remembered under its key.
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    known: weakref.WeakSet[Future] = field(default_factory=weakref.WeakSet)

    def submit(
        self, key: str, function: Callable[..., Any], *arguments: Any, **options: Any
    ) -> Future:
        """A task under a key that people recognise on the dashboard."""
        future = self.client.submit(
            function, *arguments, key=f"{key}-{self.token}", pure=False, **options
        )
        self.known.add(future)
        return future

    def __enter__(self) -> Tasks:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            for future in list(self.known):
                future.release()


def run_tasks(
    name: str,
    function: Callable[..., Any],
    arguments: Iterable[tuple[Any, ...]],
    progress: Progress | None = None,
) -> list[Any]:
    """Call a function for each tuple of arguments, on the current client or in this process.

    For work that has no merge: solving, writing forecasts. Results come in the order of the
    arguments; no more calls are under way than keep the workers busy.
    """
    calls = list(arguments)
    client = current_client()
    results: list[Any] = [None] * len(calls)
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        if progress:
            progress(name, done, len(calls))

    if progress:
        progress(name, 0, len(calls))
    if client is None:
        for index, call in enumerate(calls):
            results[index] = single_threaded(function, *call)
            advance()
        return results
    arrived = as_completed()
    places: dict[Future, int] = {}
    window = 2 * max(1, sum(client.nthreads().values()))
    waiting = iter(enumerate(calls))
    with Tasks(client) as tasks:
        while True:
            while len(places) < window and (entry := next(waiting, None)) is not None:
                index, call = entry
                future = tasks.submit(f"{name}-{index}", single_threaded, function, *call)
                places[future] = index
                arrived.add(future)
            if not places:
                return results
            future = next(arrived)
            if future.status != "finished":
                raise_failure(future, name)
            results[places.pop(future)] = future.result()
            advance()


def single_threaded(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call with one BLAS thread."""
    # Parallelism comes from tasks. Environment variables would miss workers without a nanny.
    with threadpool_limits(1):
        return function(*arguments)


def raise_failure(future: Future, name: str) -> None:
    """Turn the failure of a task into an error that says what to do."""
    error = future.exception()
    if isinstance(error, GfrnnError):
        raise error
    if type(error).__name__ == "KilledWorker":
        raise ResourceError(
            f"{name}: workers died again and again while running one task, most likely for lack "
            "of memory; give the workers more (cluster.memory), and look into the workers' logs"
        ) from error
    if error is None:
        raise ResourceError(f"{name}: a task was cancelled ({future.status}); is the cluster gone?")
    raise error
