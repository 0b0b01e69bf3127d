"""Where a run is computed. Nothing here knows what is computed."""

from cluster.config import ClusterConfig
from cluster.errors import ClusterError
from cluster.opening import Cluster, foreseen_size, open_cluster

__all__ = ["Cluster", "ClusterConfig", "ClusterError", "foreseen_size", "open_cluster"]
