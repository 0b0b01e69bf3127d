"""Open the cluster that the configuration names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from distributed import Client

from cluster.config import ClusterConfig
from cluster.existing import open_existing
from cluster.local import open_local

# One short file a family; kinds for batch systems join here.
_KINDS: dict[str, Callable[[ClusterConfig], AbstractContextManager[Client]]] = {
    "local": open_local,
    "existing": open_existing,
}


@dataclass(frozen=True)
class Cluster:
    """A cluster in use.

    Attributes
    ----------
    client : distributed.Client
        The current client as long as the cluster is open.
    dashboard : str
        Address of the dashboard.
    kind : str
    """

    client: Client
    dashboard: str
    kind: str

    def describe(self) -> dict[str, Any]:
        """Kind, workers, threads and memory, in plain values."""
        workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
        return {
            "kind": self.kind,
            "workers": len(workers),
            "threads": sum(worker["nthreads"] for worker in workers),
            "memory_gib": round(sum(worker["memory_limit"] for worker in workers) / 2**30, 2),
        }


@contextmanager
def open_cluster(config: ClusterConfig | None = None) -> Iterator[Cluster]:
    """Start or join a cluster; its client is the current one until the block ends.

    Parameters
    ----------
    config : ClusterConfig, optional
        By default one process a core of this machine.

    Raises
    ------
    ClusterError
        If it does not start or answer in time.

    Examples
    --------
    >>> with open_cluster(ClusterConfig(workers=2)) as cluster:  # doctest: +SKIP
    ...     print(cluster.dashboard)
    """
    config = config or ClusterConfig()
    with _KINDS[config.kind](config) as client:
        yield Cluster(client, client.dashboard_link, config.kind)
