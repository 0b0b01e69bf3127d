"""Clusters on which runs are computed; this package is independent of what is computed.

A name is imported from its module when it is first used, so that a command which needs only the
configuration or the errors does not wait for Dask.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__all__ = ["Cluster", "ClusterConfig", "ClusterError", "open_cluster", "planned_cluster_size"]

if TYPE_CHECKING:
    from gfrnn.cluster.config import ClusterConfig
    from gfrnn.cluster.errors import ClusterError
    from gfrnn.cluster.opened_cluster import Cluster, open_cluster, planned_cluster_size
else:
    _MODULES = {
        "ClusterConfig": "config",
        "ClusterError": "errors",
        **dict.fromkeys(("Cluster", "open_cluster", "planned_cluster_size"), "opened_cluster"),
    }

    def __getattr__(name):
        """Import a public name from its module (PEP 562)."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
