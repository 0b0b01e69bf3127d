"""Scheduler and workers whose web pages are closed to those who lack the token of the run.

Dask's web servers answer everyone who reaches their port, such as other users of the machine, with
names of tasks, logs, profiles and call stacks. Here, the scheduler's asks for a token, and workers
open no port for web pages.
"""

from __future__ import annotations

import hmac
import secrets
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode, urlunsplit

from distributed import Scheduler, Worker
from distributed.comm import get_address_host
from distributed.http.routing import RoutingApplication
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPMessageDelegate, HTTPServerRequest
from tornado.routing import Router
from tornado.web import Application, RequestHandler

from gfrnn.cluster.host_address import is_wildcard

_TOKEN = "token"
"""Argument of the address that holds the token."""


class GuardedScheduler(Scheduler):
    """Scheduler whose pages need a token, or that has none.

    Parameters
    ----------
    dashboard : bool, optional
        Whether there are web pages; without, no port is opened for them.
    **options
        Those of :class:`distributed.Scheduler`.
    """

    def __init__(self, *, dashboard: bool = True, **options: Any) -> None:
        # Scheduler.__init__ starts the server.
        self.token = secrets.token_urlsafe(16) if dashboard else None
        super().__init__(dashboard=dashboard, **options)

    def start_http_server(
        self, routes: Any, dashboard_address: Any, default_port: int = 0, ssl_options: Any = None
    ) -> None:
        """Open the port of the web pages, guarded from its first request on."""
        if self.token is None:
            _open_no_port(self, routes)
            return
        start: Any = super().start_http_server
        start(routes, dashboard_address, default_port, ssl_options)
        self.http_server.request_callback = _TokenRouter(self.http_application, self.token)

    @property
    def page(self) -> str | None:
        """Address of the dashboard with the token; None if there is none.

        One that listens on all interfaces is given at the host of the scheduler itself.
        """
        if self.token is None:
            return None
        server: Any = self.http_server
        host: str = server.address
        if is_wildcard(host):  # others reach the page at the address of the scheduler
            host = get_address_host(self.address)
        place = f"[{host}]" if ":" in host else host
        scheme = "https" if server.ssl_options else "http"
        query = urlencode({_TOKEN: self.token})
        return urlunsplit((scheme, f"{place}:{server.port}", "/status", query, ""))


class PortlessWorker(Worker):
    """Worker that opens no port for web pages; start it with ``dashboard=False``."""

    def start_http_server(
        self, routes: Any, dashboard_address: Any, default_port: int = 0, ssl_options: Any = None
    ) -> None:
        """Make what Dask expects, but open no port."""
        _open_no_port(self, routes)


def _open_no_port(node: Any, routes: Any) -> None:
    node.http_application = RoutingApplication(routes)
    node.http_server = HTTPServer(node.http_application)


class _TokenRouter(Router):
    """Passes requests with the token on to an application, those of websockets too.

    The token is an argument of the address, which then sets a cookie, or a header
    ``Authorization: Bearer TOKEN`` of programs.
    """

    def __init__(self, application: Application, token: str) -> None:
        self.application = application
        self.token = token.encode()
        # Browsers send cookies to all ports of a host, which may be those of several runs.
        self.cookie = f"gfrnn-{sha256(self.token).hexdigest()[:8]}"
        cookie = {"name": self.cookie, "value": token}
        # Requests of others are not logged, as they would be printed among the lines of the run.
        self.entrance = Application([(r".*", _Entrance, cookie)], log_function=_no_log)
        self.refusal = Application([(r".*", _Refusal)], log_function=_no_log)

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> HTTPMessageDelegate | None:
        """Return the handler of a request."""
        cookie = request.cookies.get(self.cookie)
        header = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self._is_token(cookie.value if cookie else "") or self._is_token(header):
            return self.application.find_handler(request, **kwargs)
        arguments = request.query_arguments.get(_TOKEN, [])
        known = any(hmac.compare_digest(each, self.token) for each in arguments)
        guard = self.entrance if known else self.refusal
        return guard.find_handler(request, **kwargs)

    def _is_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode(), self.token)


class _Entrance(RequestHandler):
    """Sets the cookie, and leads to the same address without the token."""

    def initialize(self, name: str, value: str) -> None:
        self.name, self.value = name, value

    def get(self) -> None:
        self.set_cookie(self.name, self.value, httponly=True, samesite="Lax")
        arguments = [
            (name, value)
            for name, values in self.request.query_arguments.items()
            for value in values
            if name != _TOKEN
        ]
        # Two slashes would lead to another host.
        path = "/" + self.request.path.lstrip("/")
        self.redirect(urlunsplit(("", "", path, urlencode(arguments), "")))


class _Refusal(RequestHandler):
    """Answers each request with 403."""

    def prepare(self) -> None:
        self.set_status(403)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish("Open the address that gfrnn has printed, with its token.\n")


def _no_log(_: RequestHandler) -> None:
    pass
