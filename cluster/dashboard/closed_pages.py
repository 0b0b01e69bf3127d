"""Filter of the log for errors of the web server that come from pages closed in a browser."""

from __future__ import annotations

import logging
import re
import traceback

from bokeh.protocol.exceptions import ProtocolError
from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketClosedError

_CLOSED = (
    WebSocketClosedError,
    StreamClosedError,
    BrokenPipeError,
    ConnectionAbortedError,
    ConnectionResetError,
)

_OF_A_PAGE = re.compile(r"/ws(\?\S*)? \(")
"""Address of a websocket, which repeats the query of its page, in a message of tornado."""


def silence_closed_pages() -> None:
    """Leave out of the log, from now on, that the connection of a page was closed or is too old.

    Tornado logs each error of a websocket as an uncaught exception, also one that a browser causes
    when it closes a page. Other errors are logged as before.
    """
    logging.getLogger("tornado.application").addFilter(_is_fault)  # once, however often called


def _is_fault(record: logging.LogRecord) -> bool:
    """Whether a message is about anything else than a closed page."""
    error = record.exc_info[1] if record.exc_info else None
    # Arguments of tornado are a summary such as "GET /gfrnn/ws (127.0.0.1)", and the request.
    summary = str(record.args[0]) if isinstance(record.args, tuple) and record.args else ""
    if error is None or not _OF_A_PAGE.search(summary):
        return True
    if isinstance(error, _CLOSED):
        return False
    if isinstance(error, ProtocolError):  # a browser that resumes a page loaded minutes before
        return "expired" not in str(error)
    # When the connection ends, bokeh notifies the session, which it may have removed before.
    calls = {frame.name for frame in traceback.extract_tb(error.__traceback__)}
    return not (isinstance(error, AttributeError) and "on_close" in calls)
