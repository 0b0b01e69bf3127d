"""The page as a part of the scheduler's web server; imported there only, where bokeh is."""

from __future__ import annotations

import weakref
from functools import partial
from typing import Any

from bokeh.document import Document
from distributed.dashboard.components.scheduler import BOKEH_THEME, env
from distributed.dashboard.core import BokehApplication
from distributed.dashboard.scheduler import template_variables
from tornado.ioloop import IOLoop

from gfrnn.cluster.dashboard.bokeh_page import Drawing
from gfrnn.cluster.dashboard.messages import Worker
from gfrnn.cluster.dashboard.page_state import PageState
from gfrnn.cluster.dashboard.plugin import ROUTE

# Milliseconds between two looks at what has changed, while somebody watches.
_INTERVAL = 500


class ServedPage:
    """The page, and an entry of it in the menu of the dashboard.

    Parameters
    ----------
    scheduler : distributed.Scheduler
    runs : dict of PageState
        Those that go on, the latest last; they come and go.
    """

    def __init__(self, scheduler: Any, runs: dict[str, PageState]) -> None:
        self.scheduler, self.runs = scheduler, runs
        self.watched: weakref.WeakSet[_Watched] = weakref.WeakSet()
        prefixes = (getattr(each, "prefix", "") for each in scheduler.http_application.applications)
        self.application = BokehApplication(
            {f"/{ROUTE}": self._document},
            scheduler,
            prefix=next(prefixes, ""),
            template_variables=template_variables(scheduler),
        )

    def open(self) -> None:
        """Serve it from now on."""
        self.scheduler.http_application.add_application(self.application)
        self.application.initialize(IOLoop.current())
        self.application.start()
        template_variables(self.scheduler)["pages"].append(ROUTE)

    def close(self) -> None:
        """Who asks for it now finds nothing; who has it open keeps what it showed last."""
        self.scheduler.http_application.applications.remove(self.application)
        self.application.stop()
        template_variables(self.scheduler)["pages"].remove(ROUTE)

    def refresh(self) -> None:
        """Show at once how things stand, to all who watch."""
        for watched in list(self.watched):
            if not watched.context.destroyed:  # whoever watched has not left
                watched.document.add_next_tick_callback(watched.update)

    def _document(self, scheduler: Any, extra: dict[str, Any], document: Document) -> None:
        context: Any = document.session_context
        asked = context.request.arguments.get("run", [b""])[0].decode()
        run = asked if asked in self.runs else next(reversed(self.runs))
        others = {key: story.shown.title for key, story in self.runs.items() if key != run}
        drawing = Drawing(self.runs[run], partial(_workers, scheduler), others)
        watched = _Watched(document, drawing)
        self.watched.add(watched)
        document.add_root(drawing.root)
        document.js_on_event("connection_lost", drawing.farewell)
        document.title = f"gfrnn: {self.runs[run].shown.title}"
        document.template = env.get_template("simple.html")
        document.template_variables.update(extra)
        document.theme = BOKEH_THEME
        watched.begin()


class _Watched:
    """A page that somebody has open."""

    def __init__(self, document: Document, drawing: Drawing) -> None:
        self.document, self.drawing = document, drawing
        self.context: Any = document.session_context
        self.callback: Any = None

    def begin(self) -> None:
        self.drawing.update()
        self.callback = self.document.add_periodic_callback(self.update, _INTERVAL)

    def update(self) -> None:
        self.drawing.update()
        if self.drawing.story.end and self.callback is not None:
            self.document.remove_periodic_callback(self.callback)
            self.callback = None


def _workers(scheduler: Any) -> list[Worker]:
    """What the workers say of their memory."""
    return [
        Worker(
            name=str(state.name),
            threads=state.nthreads,
            used=int(state.metrics.get("memory") or 0),
            limit=int(state.memory_limit or 0),
        )
        for state in scheduler.workers.values()
    ]
