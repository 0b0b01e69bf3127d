"""Calls on the current Dask client, or in this process where there is none."""

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
    """How far a piece of work has come.

    Attributes
    ----------
    name : str
        Of the work, as people read it.
    done, total : int
        Parts of it that are done, and parts in all.
    coming : bool
        It has not begun; this only says that it will.
    rows : float
        Rows that were computed so far, or times where there are no rows.
    work : float
        Operations so far.
    needed : int
        Peak bytes of a task as planned; 0 where nothing was planned.
    merging : int
        Merges under way, or waiting for a worker.
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
"""Called often while work goes on, and at its begin (nothing done) and end."""

# Seconds between two looks at how many threads the workers have.
_ASK_AGAIN = 5.0


def current_client() -> Client | None:
    """The client that calls go to."""
    try:
        return get_client()
    except ValueError:
        return None


@dataclass
class Tasks:
    """Tasks of one piece of work, and what to do when each is there.

    When the work fails, those that are left leave the cluster too. The client keeps the error, its
    traceback the frames and these the futures: left alone, they would stay until the client closes.
    """

    client: Client
    name: str
    # A failed task would otherwise be remembered under its key.
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    known: weakref.WeakSet[Future] = field(default_factory=weakref.WeakSet)
    # Waiting at a queue costs nothing; `as_completed` looks again ten times a second.
    arrived: SimpleQueue[tuple[Any, Callable[[Any], None]]] = field(default_factory=SimpleQueue)
    awaited: int = 0
    _threads: int = 0
    _asked: float = -math.inf

    @property
    def threads(self) -> int:
        """Of all workers, which come and go."""
        now = time.monotonic()
        if now - self._asked > _ASK_AGAIN:
            self._threads = max(1, sum(self.client.nthreads().values()))
            self._asked = now
        return self._threads

    def submit(
        self, key: str, function: Callable[..., Any], *arguments: Any, **options: Any
    ) -> Future:
        """A task under a key that people recognise on the dashboard."""
        future = self.client.submit(
            function, *arguments, key=f"{self.name}-{key}-{self.token}", pure=False, **options
        )
        self.known.add(future)
        return future

    def expect(self, future: Any, then: Callable[[Any], None]) -> None:
        """Call ``then`` with the future, of Dask or of a thread, once it was received."""
        self.awaited += 1
        future.add_done_callback(lambda future: self.arrived.put((future, then)))

    def receive(self, patience: float | None = None) -> None:
        """Wait for the next of the expected, and do what belongs to it.

        Raises
        ------
        What a task raised; ResourceError if workers died of it or the cluster is gone; queue.Empty
        if nothing has come within so many seconds of patience.
        """
        future, then = self.arrived.get(timeout=patience)
        self.awaited -= 1
        # Not one whose worker has died since: it is computed again, unless nobody needs it.
        if isinstance(future, Future) and future.status in ("error", "cancelled"):
            raise_failure(future, self.name)
        then(future)

    def result(self, future: Future) -> Any:
        """What a task returned; raises as :meth:`receive` does."""
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

    For work that has no merge: solving, writing forecasts. Results come in the order of the
    arguments; no more calls are under way than keep the workers busy.
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
    """Call with one BLAS thread."""
    # Parallelism comes from tasks. Environment variables would miss workers without a nanny.
    with _thread_pools().limit(limits=1):
        return function(*arguments)


@cache
def _thread_pools() -> ThreadpoolController:
    # To look for them takes milliseconds. Those of numpy and scipy are loaded with this package.
    return ThreadpoolController()


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
