"""The side of the program that leads a run: it opens the page and tells it how things stand."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from distributed import Client

from gfrnn.cluster.dashboard.messages import Shown
from gfrnn.cluster.dashboard.plugin import ROUTE, PagePlugin

# Seconds between two messages to the scheduler, however much goes on.
_INTERVAL = 0.5

# Seconds that opening and closing may take; the run goes on without a page.
_PATIENCE, _GOODBYE = 10.0, 3.0

FINISHED, EARLY = "finished", "ended early; the program says why"


class DashboardPage:
    """A page on the scheduler that can be told things.

    Parameters
    ----------
    client : distributed.Client
    dashboard : str
        Address of a page of the dashboard.
    shown : callable
        Gives what is to be shown. It is called in the client's thread.
    """

    def __init__(self, client: Client, dashboard: str, shown: Callable[[], Shown]) -> None:
        self.client: Any = client
        self.address = f"{dashboard.rsplit('/', 1)[0]}/{ROUTE}"
        self.shown = shown
        self._due = self._closed = False
        self._next = 0.0

    def changed(self) -> None:
        """There is something to tell: soon, and with what comes until then."""
        if not (self._due or self._closed):
            self._due = True
            self.client.loop.add_callback(self._tell_soon)

    async def _tell_soon(self) -> None:
        await asyncio.sleep(self._next - time.monotonic())
        self._next, self._due = time.monotonic() + _INTERVAL, False
        if not self._closed:
            # Whatever befalls the page, the run goes on; if the scheduler is lost, that is said.
            with contextlib.suppress(Exception):
                await self.tell()

    async def tell(self) -> None:
        """Say how things stand."""
        await self.client.scheduler.gfrnn_show(run=self.client.id, values=self.shown().plain())

    async def close(self, sentence: str) -> None:
        """Say how things stand at the end, and that it is the end."""
        self._closed = True
        with contextlib.suppress(Exception):
            await asyncio.wait_for(self._close(sentence), _GOODBYE)

    async def _close(self, sentence: str) -> None:
        await self.tell()
        await self.client.scheduler.gfrnn_end(run=self.client.id, sentence=sentence)


@contextmanager
def open_page(
    client: Client, dashboard: str, shown: Callable[[], Shown], warn: Callable[[str], None]
) -> Iterator[DashboardPage | None]:
    """A page in the dashboard of the client's scheduler, until the block ends.

    Parameters
    ----------
    client : distributed.Client
    dashboard : str
        Address of a page of the dashboard.
    shown : callable
        Gives what is to be shown.
    warn : callable
        Told a sentence where there can be no page; the block gets None then.
    """
    page = DashboardPage(client, dashboard, shown)
    try:
        _quietly(client.register_plugin, PagePlugin())
        client.sync(page.tell, callback_timeout=_PATIENCE)
    except Exception as error:  # whatever another machine's Python may say
        warn(f"no page of this run on the dashboard: {_reason(error)}")
        yield None
        return
    sentence = EARLY
    try:
        yield page
        sentence = FINISHED
    finally:
        # Nothing here hides what the block raised; the scheduler may be gone.
        with contextlib.suppress(OSError, RuntimeError):
            client.sync(page.close, sentence)


def _reason(error: Exception) -> str:
    if isinstance(error, ImportError):
        return f"the scheduler's Python lacks a package ({error})"
    return f"{type(error).__name__}: {error}"


def _quietly(call: Callable[..., Any], *arguments: Any) -> None:
    """Without what the library logs of an error that is told in one line."""
    logger = logging.getLogger("distributed.protocol.pickle")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        call(*arguments)
    finally:
        logger.setLevel(level)
