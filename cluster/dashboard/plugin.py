"""The page on the scheduler: it comes with the first run that tells something, goes with the last.

This part is sent to the scheduler, which needs this package and bokeh.
"""

from __future__ import annotations

from typing import Any

from distributed.diagnostics.plugin import SchedulerPlugin

from gfrnn.cluster.dashboard.messages import Shown
from gfrnn.cluster.dashboard.page_state import PageState

ROUTE = "gfrnn"
"""Where the page is on the dashboard; also its name in the menu."""

LOST = "The program that led this run is gone; what it had finished is on disk."
"""The end of a run that did not say goodbye."""


class PagePlugin(SchedulerPlugin):
    """Takes what runs tell, and shows it.

    It stays on the scheduler when its page goes, and serves the next run.
    """

    name = "gfrnn-page"
    idempotent = True

    async def start(self, scheduler: Any) -> None:
        """Raises ImportError where there is no bokeh, and so no dashboard."""
        from distributed.dashboard import core  # noqa: F401

        self.scheduler = scheduler
        self.runs: dict[str, PageState] = {}
        self.page: Any = None
        scheduler.handlers |= {"gfrnn_show": self.show, "gfrnn_end": self.end}

    def show(self, run: str, values: dict[str, Any]) -> None:
        """Take what a run tells; ``run`` is the id of its client."""
        if run not in self.scheduler.clients:
            return  # a last word of one that is gone
        shown, threads = Shown.of(values), self.scheduler.total_nthreads
        if run in self.runs:
            self.runs[run].tell(shown, threads)
        else:
            self.runs[run] = PageState(shown, threads)
        if self.page is None:
            self._open()

    def end(self, run: str, sentence: str) -> None:
        """A run is over."""
        story = self.runs.pop(run, None)
        if story is None:
            return
        story.end = sentence
        self.page.refresh()
        if not self.runs:
            self._close()

    def remove_client(self, scheduler: Any, client: str) -> None:
        """A program has left, or died."""
        self.end(client, LOST)

    def _open(self) -> None:
        from gfrnn.cluster.dashboard.served_page import ServedPage

        self.page = ServedPage(self.scheduler, self.runs)
        self.page.open()

    def _close(self) -> None:
        self.page.close()
        self.page = None
