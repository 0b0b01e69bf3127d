"""Scheduler, driver and workers that one launcher starts together, inside of one allocation.

All of them are started with the same command. Rank 0 becomes the scheduler, rank 1 the driver,
which alone goes on with the program, and the others become workers.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import dask
from distributed import Client, Nanny, Scheduler, Status
from distributed.diagnostics.plugin import SchedulerPlugin
from distributed.security import Security

from gfrnn.cluster.allocation.ranks import DRIVER, SCHEDULER, Ranks, find_ranks
from gfrnn.cluster.certificates import read_certificates, temporary_certificates
from gfrnn.cluster.config import ClusterConfig
from gfrnn.cluster.errors import ClusterError
from gfrnn.cluster.existing_scheduler import address_in
from gfrnn.cluster.host_address import address_of, dashboard_at
from gfrnn.cluster.worker_environment import nanny_settings, safe_import_path

_DRIVER_NAME = "driver"

# A worker has so much less than its share: Python and libraries need some that Dask does not count.
_HEADROOM = 1.12


@contextmanager
def open_allocation(
    config: ClusterConfig, folder: Path, say: Callable[[str], None]
) -> Iterator[Client]:
    """In the driver a client of the others; they serve here until it ends, and then exit.

    Raises
    ------
    ClusterError
        If they were not started together, or do not find each other in time; in the middle, if
        the scheduler or the driver is lost.
    SystemExit
        In all processes but the driver, when their part is over.
    """
    ranks = find_ranks(config.kind)
    meeting = _Meeting(config, ranks, folder.absolute() / ranks.name)
    if ranks.rank == DRIVER:
        with meeting.drive() as client:
            yield client
        return
    _leave_signals_to_the_driver()
    meeting.serve()
    sys.exit(0)


class _Meeting:
    """Where the processes find each other: a folder with certificates and the address.

    Parameters
    ----------
    config : ClusterConfig
    ranks : Ranks
    folder : Path
        Made by the scheduler, which removes it as soon as all are there.
    """

    def __init__(self, config: ClusterConfig, ranks: Ranks, folder: Path) -> None:
        self.config, self.ranks, self.folder = config, ranks, folder
        self.file = folder / "scheduler.json"

    @property
    def workers(self) -> int:
        """How many there will be."""
        return self.ranks.size - 2

    def late(self, what: str) -> ClusterError:
        """The error where something does not come in time."""
        return ClusterError(
            f"cluster.kind: {self.config.kind}: {what} after {self.config.timeout:g} s; look for "
            "what the other processes say, check that all nodes see the folder "
            f"{self.folder.parent} (cluster.folder) and reach each other (cluster.interface), or "
            "give cluster.timeout more seconds"
        )

    def find(self) -> tuple[str, Security]:
        """Address and certificates of the scheduler, once it is there."""
        try:
            address = address_in(self.file, self.config.timeout)
            return address, read_certificates(self.folder)
        except OSError:  # also that it was removed: then others have waited in vain
            raise self.late(f"rank {self.ranks.rank} has not found the scheduler") from None

    @contextmanager
    def drive(self) -> Iterator[Client]:
        """The driver's client; everything ends with the block."""
        # It would show each of its attempts to find a lost scheduler.
        logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
        address, security = self.find()
        timeout = self.config.timeout
        with Client(address, security=security, timeout=timeout, name=_DRIVER_NAME) as client:
            try:
                self._await_workers(client)
                yield client
            except (Exception, asyncio.CancelledError) as error:
                if client.status == "running":
                    raise
                raise ClusterError(
                    f"cluster.kind: {self.config.kind}: the scheduler, rank {SCHEDULER}, was lost; "
                    "look for what it says, and start again: the run goes on from what is finished"
                ) from error
            finally:
                if client.status == "running":
                    client.shutdown()

    def _await_workers(self, client: Client) -> None:
        try:
            client.wait_for_workers(self.workers, timeout=self.config.timeout)
        except TimeoutError:
            there = len(client.nthreads())
            raise self.late(f"{there} of {self.workers} workers are there") from None

    def serve(self) -> None:
        """Be the scheduler or a worker, until that is over."""
        scheduler = self.ranks.rank == SCHEDULER
        # Workers warn of memory that they are out of, a scheduler of results that nobody waits for.
        level = logging.ERROR if scheduler else logging.WARNING
        logging.getLogger("distributed").setLevel(level)
        # The process of a worker that ends with its scheduler takes that for a mishap of its own.
        os.environ["DASK_LOGGING__DISTRIBUTED"] = "critical"
        with safe_import_path():
            asyncio.run(self._schedule() if scheduler else self._work())

    async def _schedule(self) -> None:
        """Be the scheduler, until the driver ends it or is lost."""
        gathering = _Gathering(self)
        async with AsyncExitStack() as stack:
            with temporary_certificates(self.folder):
                scheduler = await stack.enter_async_context(self._scheduler(gathering))
                await gathering.complete(scheduler)
            await gathering.over(scheduler)

    def _scheduler(self, gathering: _Gathering) -> Scheduler:
        with warnings.catch_warnings():
            # A taken port is no trouble: another one is used, and its address is printed.
            warnings.filterwarnings("ignore", message="Port .* is already in use")
            return Scheduler(
                protocol="tls",
                host=address_of(self.config.interface),
                port=0,
                security=read_certificates(self.folder),
                dashboard_address=dashboard_at(self.config.dashboard),
                scheduler_file=str(self.file),
                plugins=[gathering],
            )

    async def _work(self) -> None:
        """Be a worker, until the scheduler ends it or is lost."""
        address, security = self.find()
        with dask.config.set(nanny_settings()):
            nanny = Nanny(
                address,
                protocol="tls",
                host=address_of(self.config.interface),
                security=security,
                nthreads=self.config.threads,
                memory_limit=self.config.memory or int(self.ranks.memory / _HEADROOM),
                local_directory=self._spill(),
                name=str(self.ranks.rank),
                death_timeout=self.config.timeout,
            )
        async with nanny:
            await nanny.finished()

    def _spill(self) -> str:
        return os.path.expandvars(self.config.spill or dask.config.get("temporary-directory"))


class _Gathering(SchedulerPlugin):
    """Who has come to the scheduler, and whether the driver has left without a word."""

    name = "gfrnn-gathering"

    def __init__(self, meeting: _Meeting) -> None:
        self.meeting = meeting
        self.driver, self.all, self.lost = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def add_client(self, scheduler: Scheduler, client: str) -> None:
        """Called by the scheduler."""
        if _is_driver(client):
            self.driver.set()
            self._count(scheduler)

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        """Called by the scheduler."""
        self._count(scheduler)

    def _count(self, scheduler: Scheduler) -> None:
        if self.driver.is_set() and len(scheduler.workers) >= self.meeting.workers:
            self.all.set()

    def remove_client(self, scheduler: Scheduler, client: str) -> None:
        """Called by the scheduler."""
        # A driver that ends in good order ends the scheduler first.
        if _is_driver(client) and scheduler.status == Status.running:
            self.lost.set()

    async def complete(self, scheduler: Scheduler) -> None:
        """Return when all are there, or the driver waits for them no longer.

        Raises
        ------
        ClusterError
            If the driver does not come in time.
        """
        try:
            await asyncio.wait_for(self.driver.wait(), self.meeting.config.timeout)
        except TimeoutError:
            raise self.meeting.late(f"the driver, rank {DRIVER}, has not come") from None
        await _first(self.all.wait(), self.lost.wait(), scheduler.finished())

    async def over(self, scheduler: Scheduler) -> None:
        """Return when the driver has ended the scheduler.

        Raises
        ------
        ClusterError
            If the driver is lost.
        """
        await _first(self.lost.wait(), scheduler.finished())
        if self.lost.is_set():
            kind = self.meeting.config.kind
            raise ClusterError(
                f"cluster.kind: {kind}: the driver, rank {DRIVER}, was lost; everything ends"
            )


def _is_driver(client: str) -> bool:
    return client.startswith(f"Client-{_DRIVER_NAME}-")


async def _first(*events: Coroutine[Any, Any, Any]) -> None:
    """Wait for one of them."""
    tasks = [asyncio.ensure_future(event) for event in events]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


def _leave_signals_to_the_driver() -> None:
    """A batch system sends its signals to all; the driver ends the others in good order."""
    signal.setitimer(signal.ITIMER_REAL, 0)  # nor may a clock end them
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    # Not one that processes inherit: a nanny ends its worker with it.
    signal.signal(signal.SIGTERM, lambda *_: None)
