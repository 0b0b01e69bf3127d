"""Dask tasks of one piece of work, with a callback for each."""

from __future__ import annotations

import math
import time
import uuid
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

import dask
from distributed import Client, Future

from gfrnn.pipeline.errors import GfrnnError, ResourceError

# Seconds after which the number of the workers' threads is queried again.
_THREADS_REFRESH = 5.0


@dataclass
class TaskGroup:
    """Tasks of one piece of work, and the callbacks to call when they are finished.

    When the work fails, the remaining futures are released. Otherwise they would stay on the
    cluster until the client closes: it holds the error, whose traceback refers to their frames.

    Attributes
    ----------
    client : distributed.Client
    name : str
        Name of the work, the first part of the tasks' keys.
    pending : int
        Number of callbacks that have not been called.
    """

    client: Client
    name: str
    pending: int = 0
    # Makes keys unique: Dask would otherwise return an earlier failure under the same key.
    _token: str = field(default_factory=lambda: uuid.uuid4().hex)
    _futures: weakref.WeakSet[Future] = field(default_factory=weakref.WeakSet)
    # A queue is used because waiting at it is free; `as_completed` polls ten times a second.
    _finished: SimpleQueue[tuple[Any, Callable[[Any], None]]] = field(default_factory=SimpleQueue)
    _threads: int = 0
    _threads_queried: float = -math.inf

    @property
    def threads(self) -> int:
        """Number of threads of all workers, which may join or leave meanwhile."""
        now = time.monotonic()
        if now - self._threads_queried > _THREADS_REFRESH:
            self._threads = max(1, sum(self.client.nthreads().values()))
            self._threads_queried = now
        return self._threads

    def submit(
        self, key: str, function: Callable[..., Any], *arguments: Any, **options: Any
    ) -> Future:
        """Submit a task under a key that is recognisable on the dashboard."""
        # Triangles are large arguments. They are sent on purpose: the scheduler keeps them, so that
        # the death of a worker loses none, and Dask's advice against it would only alarm.
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"}):
            future = self.client.submit(
                function, *arguments, key=f"{self.name}-{key}-{self._token}", pure=False, **options
            )
        self._futures.add(future)
        return future

    def add_callback(self, future: Any, callback: Callable[[Any], None]) -> None:
        """Have :meth:`wait_for_next` call a function with a future of Dask or a thread."""
        self.pending += 1
        future.add_done_callback(lambda future: self._finished.put((future, callback)))

    def wait_for_next(self, timeout: float | None = None) -> None:
        """Wait until the next future with a callback is done, and call it.

        Raises
        ------
        Exception
            The error that the task raised.
        ResourceError
            If workers died while running it, or it was cancelled.
        queue.Empty
            If no future is done within ``timeout`` seconds.
        """
        future, callback = self._finished.get(timeout=timeout)
        self.pending -= 1
        # A future whose worker has died since is no failure: it is recomputed if it is needed.
        if isinstance(future, Future) and future.status in ("error", "cancelled"):
            _raise_failure(future, self.name)
        callback(future)

    def result(self, future: Future) -> Any:
        """Return the result of a task; raise the errors that :meth:`wait_for_next` raises."""
        try:
            return future.result()
        except Exception:
            if future.status in ("error", "cancelled"):
                _raise_failure(future, self.name)
            raise

    def __enter__(self) -> TaskGroup:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            for future in list(self._futures):
                future.release()


def _raise_failure(future: Future, name: str) -> None:
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
