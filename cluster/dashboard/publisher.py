"""Publish snapshots of a run from its client to the page on the scheduler."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from distributed import Client

from gfrnn.cluster.dashboard.scheduler_plugin import ROUTE, PagePlugin
from gfrnn.cluster.dashboard.snapshot import RunSnapshot
from gfrnn.cluster.quiet_log import quiet_log

# Seconds between two messages to the scheduler, at least.
_INTERVAL = 0.5

# Seconds that opening and closing may take; after these the run continues without a page.
_OPEN_TIMEOUT, _CLOSE_TIMEOUT = 10.0, 3.0

FINISHED, EARLY = "finished", "ended early; see the output of the program"


class PagePublisher:
    """Publisher of one run.

    Parameters
    ----------
    client : distributed.Client
    dashboard : str
        Address of a page of the dashboard.
    snapshot : callable
        Returns the present snapshot. It is called in the client's thread.
    """

    def __init__(self, client: Client, dashboard: str, snapshot: Callable[[], RunSnapshot]) -> None:
        self.client: Any = client
        self.address = _beside(dashboard)
        self.snapshot = snapshot
        self._due = self._closed = False
        self._next = 0.0

    def request_update(self) -> None:
        """Publish a snapshot soon; several requests within the interval result in one."""
        if not (self._due or self._closed):
            self._due = True
            self.client.loop.add_callback(self._publish_when_due)

    async def _publish_when_due(self) -> None:
        await asyncio.sleep(self._next - time.monotonic())
        self._next, self._due = time.monotonic() + _INTERVAL, False
        if not self._closed:
            # An error of the page must not end the run. A lost scheduler is reported elsewhere.
            with contextlib.suppress(Exception):
                await self.publish()

    async def publish(self) -> None:
        """Send a snapshot to the scheduler now."""
        values = self.snapshot().to_dict()
        await self.client.scheduler.gfrnn_update_page(run=self.client.id, values=values)

    async def close(self, sentence: str) -> None:
        """Publish a last snapshot, and end the page with a sentence."""
        self._closed = True
        with contextlib.suppress(Exception):
            await asyncio.wait_for(self._close(sentence), _CLOSE_TIMEOUT)

    async def _close(self, sentence: str) -> None:
        await self.publish()
        await self.client.scheduler.gfrnn_end_page(run=self.client.id, sentence=sentence)


@contextmanager
def open_page(
    client: Client,
    dashboard: str | None,
    snapshot: Callable[[], RunSnapshot],
    warn: Callable[[str], None],
) -> Iterator[PagePublisher | None]:
    """Open a page in the dashboard of the client's scheduler until the block ends.

    Parameters
    ----------
    client : distributed.Client
    dashboard : str or None
        Address of a page of the dashboard; None if there is no dashboard.
    snapshot : callable
        Returns the present snapshot.
    warn : callable
        Called with a message if the page cannot be opened; the block gets None then, and where
        there is no dashboard.
    """
    if dashboard is None:
        yield None
        return
    publisher = PagePublisher(client, dashboard, snapshot)
    try:
        with quiet_log("distributed.protocol.pickle"):  # the error is reported in one line
            client.register_plugin(PagePlugin())
        client.sync(publisher.publish, callback_timeout=_OPEN_TIMEOUT)
    except Exception as error:  # any error of another Python on the scheduler
        warn(f"the dashboard has no page of this run: {_reason(error)}")
        yield None
        return
    sentence = EARLY
    try:
        yield publisher
        sentence = FINISHED
    finally:
        # The scheduler may be lost; an error here must not hide the error of the block.
        with contextlib.suppress(OSError, RuntimeError):
            client.sync(publisher.close, sentence)


def _beside(dashboard: str) -> str:
    """Return the address of the page, with the arguments of another page of the dashboard."""
    place = urlsplit(dashboard)
    return urlunsplit(place._replace(path=f"{place.path.rpartition('/')[0]}/{ROUTE}"))


def _reason(error: Exception) -> str:
    if isinstance(error, ImportError):
        return f"the scheduler's Python lacks a package ({error})"
    return f"{type(error).__name__}: {error}"
