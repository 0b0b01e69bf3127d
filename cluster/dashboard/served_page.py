"""The page as part of the scheduler's web server; imported on the scheduler only, with bokeh."""

from __future__ import annotations

import weakref
from functools import partial
from typing import Any

from bokeh.document import Document
from distributed.dashboard.components.scheduler import BOKEH_THEME, env
from distributed.dashboard.core import BokehApplication
from distributed.dashboard.scheduler import template_variables
from tornado.ioloop import IOLoop

from gfrnn.cluster.dashboard.bokeh_page import BokehPage
from gfrnn.cluster.dashboard.closed_pages import silence_closed_pages
from gfrnn.cluster.dashboard.page_state import PageState
from gfrnn.cluster.dashboard.scheduler_plugin import ROUTE
from gfrnn.cluster.dashboard.snapshot import WorkerMemory

# Milliseconds between two updates of a page that is open in a browser.
_INTERVAL = 500


class ServedPage:
    """The page and its entry in the menu of the dashboard.

    Parameters
    ----------
    scheduler : distributed.Scheduler
    runs : dict of PageState
        Runs that have not ended, the latest last; the caller adds and removes them.
    """

    def __init__(self, scheduler: Any, runs: dict[str, PageState]) -> None:
        self.scheduler, self.runs = scheduler, runs
        self.views: weakref.WeakSet[_View] = weakref.WeakSet()
        prefixes = (getattr(each, "prefix", "") for each in scheduler.http_application.applications)
        self.application = BokehApplication(
            {f"/{ROUTE}": self._build},
            scheduler,
            prefix=next(prefixes, ""),
            template_variables=template_variables(scheduler),
        )

    def open(self) -> None:
        """Serve the page from now on."""
        silence_closed_pages()
        self.scheduler.http_application.add_application(self.application)
        self.application.initialize(IOLoop.current())
        self.application.start()
        template_variables(self.scheduler)["pages"].append(ROUTE)

    def close(self) -> None:
        """Serve the page no longer; browsers that have it open keep its last state."""
        self.scheduler.http_application.applications.remove(self.application)
        self.application.stop()
        template_variables(self.scheduler)["pages"].remove(ROUTE)

    def refresh(self) -> None:
        """Update all open views at once."""
        for view in list(self.views):
            if not view.context.destroyed:  # the browser is still connected
                view.document.add_next_tick_callback(view.update)

    def _build(self, scheduler: Any, extra: dict[str, Any], document: Document) -> None:
        """Fill the document of a browser that has opened the page."""
        context: Any = document.session_context
        requested = context.request.arguments.get("run", [b""])[0].decode()
        run = requested if requested in self.runs else next(reversed(self.runs))
        others = {key: state.snapshot.title for key, state in self.runs.items() if key != run}
        page = BokehPage(self.runs[run], partial(_memory_of_workers, scheduler), others)
        view = _View(document, page)
        self.views.add(view)
        document.add_root(page.root)
        document.js_on_event("connection_lost", page.on_connection_lost)
        if hasattr(document, "config"):  # not in old versions of bokeh
            # The head of the page says that the connection is lost. Bokeh's own box, which counts
            # the seconds to the next attempt, would cover it.
            document.config.notify_connection_status = False
        document.title = f"gfrnn: {self.runs[run].snapshot.title}"
        document.template = env.get_template("simple.html")
        document.template_variables.update(extra)
        document.theme = BOKEH_THEME
        view.start()


class _View:
    """The page in one browser."""

    def __init__(self, document: Document, page: BokehPage) -> None:
        self.document, self.page = document, page
        self.context: Any = document.session_context
        self.callback: Any = None

    def start(self) -> None:
        self.page.update()
        self.callback = self.document.add_periodic_callback(self.update, _INTERVAL)

    def update(self) -> None:
        self.page.update()
        if self.page.state.end and self.callback is not None:
            self.document.remove_periodic_callback(self.callback)
            self.callback = None


def _memory_of_workers(scheduler: Any) -> list[WorkerMemory]:
    """Return the memory that workers reported last."""
    return [
        WorkerMemory(
            name=str(state.name),
            threads=state.nthreads,
            used=int(state.metrics.get("memory") or 0),
            limit=int(state.memory_limit or 0),
        )
        for state in scheduler.workers.values()
    ]
