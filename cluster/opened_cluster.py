"""Open the cluster that the configuration names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distributed import Client

from gfrnn.cluster.allocation.allocation import open_allocation
from gfrnn.cluster.batch.batch_cluster import open_batch
from gfrnn.cluster.config import ALLOCATION_KINDS, BATCH_KINDS, ClusterConfig
from gfrnn.cluster.existing_scheduler import open_existing
from gfrnn.cluster.guarded_servers import GuardedScheduler
from gfrnn.cluster.local_cluster import local_size, open_local
from gfrnn.cluster.private_folder import private_temporary_folder

_OPENERS: dict[str, Callable[..., AbstractContextManager[Client]]] = {
    "local": lambda config, *_: open_local(config),
    "existing": lambda config, *_: open_existing(config),
    **dict.fromkeys(BATCH_KINDS, open_batch),
    **dict.fromkeys(ALLOCATION_KINDS, open_allocation),
}


@dataclass(frozen=True)
class Cluster:
    """A cluster in use.

    Attributes
    ----------
    client : distributed.Client
        The current client as long as the cluster is open.
    config : ClusterConfig
    """

    client: Client
    config: ClusterConfig

    @property
    def kind(self) -> str:
        """Kind in the configuration."""
        return self.config.kind

    @property
    def dashboard(self) -> str | None:
        """Address of the dashboard with the token that it asks for; None if there is none.

        The dashboard of an existing scheduler has no token of ours.
        """
        if self.kind != "existing":
            page: str | None = self.client.run_on_scheduler(_dashboard_page)
            return page
        try:
            return self.client.dashboard_link or None
        except (KeyError, ValueError):
            return None  # Dask's configuration has a template with variables that are not set

    def describe(self) -> dict[str, Any]:
        """Return kind, workers, threads, memory and queue, in plain values.

        Workers of a batch system come and go, so their number is the one that is configured.
        """
        if self.kind in BATCH_KINDS:
            workers = self.config.workers or 0
            threads = self.config.threads * workers
            memory = self.config.memory_bytes * workers
        else:
            # The client's own scheduler_info may be without workers, as a refresh in the background
            # replaces it by a short form.
            scheduler: Any = self.client.scheduler
            there = self.client.sync(scheduler.identity)["workers"].values()
            workers = len(there)
            threads = sum(worker["nthreads"] for worker in there)
            memory = sum(worker["memory_limit"] for worker in there)
        found = {
            "kind": self.kind,
            "workers": workers,
            "threads": threads,
            "memory_gib": round(memory / 2**30, 2),
        }
        return found | ({"queue": self.config.queue} if self.config.queue else {})


@contextmanager
def open_cluster(
    config: ClusterConfig | None = None,
    *,
    folder: Path | None = None,
    report: Callable[[str], None] | None = None,
) -> Iterator[Cluster]:
    """Start or join a cluster; its client is the current one until the block ends.

    Parameters
    ----------
    config : ClusterConfig, optional
        By default one process a core of this machine.
    folder : Path, optional
        Folder of the run: logs and certificates are in its folder ``cluster``, unless
        ``config.folder`` names another place; default ``runs``.
    report : callable, optional
        Called with a line that describes what the cluster waits for; by default it is not shown.

    Raises
    ------
    ClusterError
        If it does not start or answer in time; within the block, if its workers fail repeatedly.

    Examples
    --------
    >>> with open_cluster(ClusterConfig(workers=2)) as cluster:  # doctest: +SKIP
    ...     print(cluster.dashboard)
    """
    config = config or ClusterConfig()
    place = Path(config.folder) if config.folder else (folder or Path("runs")) / "cluster"
    with (
        private_temporary_folder(),
        _OPENERS[config.kind](config, place, report or _nothing) as client,
    ):
        yield Cluster(client, config)


def planned_cluster_size(config: ClusterConfig) -> tuple[int, int] | None:
    """Return the number of threads that a cluster will have, and bytes of memory for each.

    The result is None for a running scheduler and in an allocation, whose sizes only the scheduler
    knows.
    """
    if config.kind == "local":
        return local_size(config)
    if config.kind in BATCH_KINDS:
        return config.threads * (config.workers or 0), config.memory_bytes // config.threads
    return None


def _dashboard_page(dask_scheduler: GuardedScheduler) -> str | None:
    return dask_scheduler.page


def _nothing(_: str) -> None:
    pass
