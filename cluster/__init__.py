"""Where a run is computed. Nothing here knows what is computed."""

from gfrnn.cluster.config import ClusterConfig
from gfrnn.cluster.errors import ClusterError
from gfrnn.cluster.open_cluster import Cluster, foreseen_size, open_cluster

__all__ = ["Cluster", "ClusterConfig", "ClusterError", "foreseen_size", "open_cluster"]
