"""Scheduler plugin that receives the snapshots of runs and serves their page.

The plugin is sent to the scheduler, whose Python needs this package and bokeh.
"""

from __future__ import annotations

from typing import Any

from distributed.diagnostics.plugin import SchedulerPlugin

from gfrnn.cluster.dashboard.page_state import PageState
from gfrnn.cluster.dashboard.snapshot import RunSnapshot

ROUTE = "gfrnn"
"""Path of the page on the dashboard, and its name in the menu."""

LOST = "the program that led this run is gone; finished work is on disk"
"""Displayed when a client leaves without ending its run."""


class PagePlugin(SchedulerPlugin):
    """Keep the state of all runs, and serve the page while there is one.

    The plugin stays on the scheduler when the page is closed, and serves the next run.
    """

    name = "gfrnn-page"
    idempotent = True

    async def start(self, scheduler: Any) -> None:
        """Register the handlers of messages.

        Raises
        ------
        ImportError
            If bokeh is missing, so that there is no dashboard.
        """
        from distributed.dashboard import core  # noqa: F401

        self.scheduler = scheduler
        self.runs: dict[str, PageState] = {}
        self.page: Any = None
        scheduler.handlers |= {"gfrnn_update_page": self.update, "gfrnn_end_page": self.end}

    def update(self, run: str, values: dict[str, Any]) -> None:
        """Receive a snapshot.

        Parameters
        ----------
        run : str
            Id of the client that sends it.
        values : dict
            From :meth:`RunSnapshot.to_dict`.
        """
        if run not in self.scheduler.clients:
            return  # sent before the client left, received after
        snapshot, threads = RunSnapshot.from_dict(values), self.scheduler.total_nthreads
        if run in self.runs:
            self.runs[run].update(snapshot, threads)
        else:
            self.runs[run] = PageState(snapshot, threads)
        if self.page is None:
            self._open()

    def end(self, run: str, sentence: str) -> None:
        """End a run; the sentence is displayed to those who have the page open."""
        state = self.runs.pop(run, None)
        if state is None:
            return
        state.end = sentence
        self.page.refresh()
        if not self.runs:
            self._close()

    def remove_client(self, scheduler: Any, client: str) -> None:
        """End the run of a client that has left or died; the scheduler calls this."""
        self.end(client, LOST)

    def _open(self) -> None:
        from gfrnn.cluster.dashboard.served_page import ServedPage

        self.page = ServedPage(self.scheduler, self.runs)
        self.page.open()

    def _close(self) -> None:
        self.page.close()
        self.page = None
