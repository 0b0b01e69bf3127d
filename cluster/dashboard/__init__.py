"""The page of a run in the Dask dashboard, which displays snapshots that the run publishes."""

from gfrnn.cluster.dashboard.publisher import PagePublisher, open_page
from gfrnn.cluster.dashboard.snapshot import Metric, ResultTable, RunSnapshot, StageSnapshot

__all__ = ["Metric", "PagePublisher", "ResultTable", "RunSnapshot", "StageSnapshot", "open_page"]
