"""The current Dask client, and the memory of its workers."""

from __future__ import annotations

from typing import Any

from distributed import Client, get_client


def current_client() -> Client | None:
    """Return the current Dask client, or None where there is none."""
    try:
        return get_client()
    except ValueError:
        return None


def workers_of(client: Client) -> dict[str, dict[str, Any]]:
    """Return what the scheduler knows of each worker, by its address.

    The client's own ``scheduler_info`` may be without workers: a refresh in the background replaces
    it by a short form at any time.
    """
    scheduler: Any = client.scheduler
    workers: dict[str, dict[str, Any]] = client.sync(scheduler.identity)["workers"]
    return workers


def thread_memory() -> int | None:
    """Return the least memory in bytes that a thread of the current client's workers has.

    None where there is no limit.
    """
    return _memory_of_a_thread(current_client())


def _memory_of_a_thread(client: Client | None) -> int | None:
    if client is None:
        return None
    workers = workers_of(client).values()
    shares = [w["memory_limit"] // w["nthreads"] for w in workers if w.get("memory_limit")]
    return min(shares, default=None)
