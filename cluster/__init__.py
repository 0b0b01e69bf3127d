"""Where a run is computed. Nothing here knows what is computed."""

from cluster.config import ClusterConfig
from cluster.errors import ClusterError
from cluster.opening import Cluster, open_cluster

__all__ = ["Cluster", "ClusterConfig", "ClusterError", "open_cluster"]
