"""Clusters on which runs are computed; this package is independent of what is computed."""

from gfrnn.cluster.config import ClusterConfig
from gfrnn.cluster.errors import ClusterError
from gfrnn.cluster.open_cluster import Cluster, open_cluster, planned_cluster_size

__all__ = ["Cluster", "ClusterConfig", "ClusterError", "open_cluster", "planned_cluster_size"]
