"""Where a run is computed. Nothing here knows what is computed."""

from cluster.config import ClusterConfig
from cluster.errors import ClusterError
from cluster.local import local_size
from cluster.opening import Cluster, open_cluster

__all__ = ["Cluster", "ClusterConfig", "ClusterError", "local_size", "open_cluster"]
