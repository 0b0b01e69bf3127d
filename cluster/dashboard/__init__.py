"""A page of a run in the Dask dashboard. It shows what it is told, in plain values."""

from cluster.dashboard.telling import Page, open_page
from cluster.dashboard.values import Reading, Shown, Stage, Table

__all__ = ["Page", "Reading", "Shown", "Stage", "Table", "open_page"]
