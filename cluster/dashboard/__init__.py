"""A page of a run in the Dask dashboard. It shows what it is told, in plain values."""

from gfrnn.cluster.dashboard.messages import Reading, Shown, Stage, Table
from gfrnn.cluster.dashboard.publisher import DashboardPage, open_page

__all__ = ["DashboardPage", "Reading", "Shown", "Stage", "Table", "open_page"]
