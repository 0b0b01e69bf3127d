"""Run function calls on the current Dask client, or in this process where there is none."""

from __future__ import annotations

import math
import time
import uuid
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache, partial
from queue import SimpleQueue
from typing import Any

from distributed import Client, Future, get_client
from threadpoolctl import ThreadpoolController

from gfrnn.pipeline.errors import GfrnnError, ResourceError


@dataclass(frozen=True)
class Advance:
    """The progress of a piece of work.

    Attributes
    ----------
    name : str
        Name of the work, for display.
    done, total : int
        Number of finished parts, and of all parts.
    coming : bool
        Whether the work is only announced and has not begun.
    rows : float
        Rows computed so far, or times where there are no rows.
    work : float
        Operations so far.
    needed : int
        Planned peak memory of a task in bytes; 0 where it was not planned.
    merging : int
        Merges that are running or waiting for a worker.
    saved : int
        Checkpoints written so far.
    """

    name: str
    done: int
    total: int
    coming: bool = False
    rows: float = 0.0
    work: float = 0.0
    needed: int = 0
    merging: int = 0
    saved: int = 0


Progress = Callable[[Advance], None]
"""Callback that receives the progress at the start of work, often during it, and at its end."""

# Seconds after which the number of the workers' threads is queried again.
_ASK_AGAIN = 5.0


def current_client() -> Client | None:
    """Return the current Dask client, or None where there is none."""
    try:
        return get_client()
    except ValueError:
        return None


@dataclass
class Tasks:
    """Tasks of one piece of work, and the function to call when each is finished.

    When the work fails, the remaining futures are released. Otherwise they would stay on the
    cluster until the client closes: it holds the error, whose traceback refers to their frames.
    """

    client: Client
    name: str
    # Makes keys unique: Dask would otherwise return an earlier failure under the same key.
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    known: weakref.WeakSet[Future] = field(default_factory=weakref.WeakSet)
    # A queue is used because waiting at it is free; `as_completed` polls ten times a second.
    arrived: SimpleQueue[tuple[Any, Callable[[Any], None]]] = field(default_factory=SimpleQueue)
    awaited: int = 0
    _threads: int = 0
    _asked: float = -math.inf

    @property
    def threads(self) -> int:
        """Number of threads of all workers, which may join or leave meanwhile."""
        now = time.monotonic()
        if now - self._asked > _ASK_AGAIN:
            self._threads = max(1, sum(self.client.nthreads().values()))
            self._asked = now
        return self._threads

    def submit(
        self, key: str, function: Callable[..., Any], *arguments: Any, **options: Any
    ) -> Future:
        """Submit a task under a key that is recognisable on the dashboard."""
        future = self.client.submit(
            function, *arguments, key=f"{self.name}-{key}-{self.token}", pure=False, **options
        )
        self.known.add(future)
        return future

    def expect(self, future: Any, then: Callable[[Any], None]) -> None:
        """Have :meth:`receive` call ``then`` with a Dask or thread future once it is done."""
        self.awaited += 1
        future.add_done_callback(lambda future: self.arrived.put((future, then)))

    def receive(self, patience: float | None = None) -> None:
        """Wait for the next expected future and call its function.

        Raises
        ------
        Exception
            The error that the task raised.
        ResourceError
            If workers died while running it, or it was cancelled.
        queue.Empty
            If no future is done within ``patience`` seconds.
        """
        future, then = self.arrived.get(timeout=patience)
        self.awaited -= 1
        # A future whose worker has died since is no failure: it is recomputed if it is needed.
        if isinstance(future, Future) and future.status in ("error", "cancelled"):
            raise_failure(future, self.name)
        then(future)

    def result(self, future: Future) -> Any:
        """Return the result of a task; raise the errors that :meth:`receive` raises."""
        try:
            return future.result()
        except Exception:
            if future.status in ("error", "cancelled"):
                raise_failure(future, self.name)
            raise

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
            progress(Advance(name, done, len(calls)))

    if progress:
        progress(Advance(name, 0, len(calls)))
    if client is None:
        for index, call in enumerate(calls):
            finish(index, single_threaded(function, *call))
        return results
    with Tasks(client, name) as tasks:

        def arrived(index: int, future: Future) -> None:
            finish(index, tasks.result(future))

        for index, call in enumerate(calls):
            while tasks.awaited >= 2 * tasks.threads:
                tasks.receive()
            future = tasks.submit(str(index), single_threaded, function, *call)
            tasks.expect(future, partial(arrived, index))
        while tasks.awaited:
            tasks.receive()
    return results


def single_threaded(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function with one BLAS thread."""
    # Tasks run in parallel already. Environment variables would not reach workers without a nanny.
    with _thread_pools().limit(limits=1):
        return function(*arguments)


@cache
def _thread_pools() -> ThreadpoolController:
    # Cached, as finding them takes milliseconds; numpy and scipy have loaded theirs by now.
    return ThreadpoolController()


def raise_failure(future: Future, name: str) -> None:
    """Raise the failure of a task as an error that names the remedy."""
    error = future.exception()
    if isinstance(error, GfrnnError):
        raise error
    if type(error).__name__ == "KilledWorker":
        raise ResourceError(
            f"{name}: worker processes ended repeatedly while running one task, most "
            "likely for lack of memory; give the workers more (cluster.memory), and read their logs"
        ) from error
    if error is None:
        raise ResourceError(
            f"{name}: a task was cancelled ({future.status}); check that the scheduler and the "
            "workers are running, then run the same command again"
        )
    raise error
