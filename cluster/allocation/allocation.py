"""Scheduler, driver and workers that one launcher starts together, in one allocation.

All processes run the same command. Rank 0 becomes the scheduler, rank 1 the driver, which alone
continues with the program, and the others become workers.
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

# Ratio of a worker's share of memory to its limit: Dask does not count all that Python needs.
_HEADROOM = 1.12


@contextmanager
def open_allocation(
    config: ClusterConfig, folder: Path, say: Callable[[str], None]
) -> Iterator[Client]:
    """Yield a client in the driver; the other processes serve it until it ends, and then exit.

    Raises
    ------
    ClusterError
        If the processes were not started together or do not connect in time, or if the scheduler
        or the driver is lost later.
    SystemExit
        In all processes but the driver, when the driver has ended.
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
    """Folder with certificates and the scheduler's address, by which the processes connect.

    Parameters
    ----------
    config : ClusterConfig
    ranks : Ranks
    folder : Path
        The scheduler creates it, and removes it once all processes have connected.
    """

    def __init__(self, config: ClusterConfig, ranks: Ranks, folder: Path) -> None:
        self.config, self.ranks, self.folder = config, ranks, folder
        self.file = folder / "scheduler.json"

    @property
    def workers(self) -> int:
        """Number of workers that are expected."""
        return self.ranks.size - 2

    def late(self, what: str) -> ClusterError:
        """Return the error for a timeout."""
        return ClusterError(
            f"cluster.kind: {self.config.kind}: {what} after {self.config.timeout:g} s; look "
            "at the output of the other processes, check that all nodes can access the folder "
            f"{self.folder.parent} (cluster.folder) and reach each other (cluster.interface), or "
            "increase cluster.timeout"
        )

    def find(self) -> tuple[str, Security]:
        """Wait for the scheduler, and return its address and certificates."""
        try:
            address = address_in(self.file, self.config.timeout)
            return address, read_certificates(self.folder)
        except OSError:  # also if the folder was removed after the timeout of another process
            raise self.late(f"rank {self.ranks.rank} has not found the scheduler") from None

    @contextmanager
    def drive(self) -> Iterator[Client]:
        """Yield the driver's client; all other processes end with the block."""
        # The client would log each attempt to reconnect to a lost scheduler.
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
                    f"cluster.kind: {self.config.kind}: the connection to the scheduler, rank "
                    f"{SCHEDULER}, was lost; look at its output, and start again: the run resumes "
                    "from the finished work"
                ) from error
            finally:
                if client.status == "running":
                    client.shutdown()

    def _await_workers(self, client: Client) -> None:
        try:
            client.wait_for_workers(self.workers, timeout=self.config.timeout)
        except TimeoutError:
            there = len(client.nthreads())
            raise self.late(f"only {there} of {self.workers} workers have connected") from None

    def serve(self) -> None:
        """Run the scheduler or a worker until it ends."""
        scheduler = self.ranks.rank == SCHEDULER
        # Warnings of workers, as of memory, are useful; those of a scheduler are on unused results.
        level = logging.ERROR if scheduler else logging.WARNING
        logging.getLogger("distributed").setLevel(level)
        # The process of a worker would log the end of its scheduler as an error.
        os.environ["DASK_LOGGING__DISTRIBUTED"] = "critical"
        with safe_import_path():
            asyncio.run(self._schedule() if scheduler else self._work())

    async def _schedule(self) -> None:
        """Run the scheduler until the driver ends it or is lost."""
        gathering = _Gathering(self)
        async with AsyncExitStack() as stack:
            with temporary_certificates(self.folder):
                scheduler = await stack.enter_async_context(self._scheduler(gathering))
                await gathering.complete(scheduler)
            await gathering.over(scheduler)

    def _scheduler(self, gathering: _Gathering) -> Scheduler:
        with warnings.catch_warnings():
            # If the port is in use, Dask takes another one, whose address is printed.
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
        """Run a worker until the scheduler ends it or is lost."""
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
    """Plugin that detects when all processes have connected, and when the driver is lost."""

    name = "gfrnn-gathering"

    def __init__(self, meeting: _Meeting) -> None:
        self.meeting = meeting
        self.driver, self.all, self.lost = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def add_client(self, scheduler: Scheduler, client: str) -> None:
        """Note that the driver has connected."""
        if _is_driver(client):
            self.driver.set()
            self._count(scheduler)

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        """Count the workers that have connected."""
        self._count(scheduler)

    def _count(self, scheduler: Scheduler) -> None:
        if self.driver.is_set() and len(scheduler.workers) >= self.meeting.workers:
            self.all.set()

    def remove_client(self, scheduler: Scheduler, client: str) -> None:
        """Note that the driver is lost."""
        # A driver that ends regularly ends the scheduler first.
        if _is_driver(client) and scheduler.status == Status.running:
            self.lost.set()

    async def complete(self, scheduler: Scheduler) -> None:
        """Wait until all processes have connected, or the driver has stopped waiting for them.

        Raises
        ------
        ClusterError
            If the driver does not connect in time.
        """
        try:
            await asyncio.wait_for(self.driver.wait(), self.meeting.config.timeout)
        except TimeoutError:
            raise self.meeting.late(f"the driver, rank {DRIVER}, has not connected") from None
        await _first(self.all.wait(), self.lost.wait(), scheduler.finished())

    async def over(self, scheduler: Scheduler) -> None:
        """Wait until the driver has ended the scheduler.

        Raises
        ------
        ClusterError
            If the driver is lost.
        """
        await _first(self.lost.wait(), scheduler.finished())
        if self.lost.is_set():
            kind = self.meeting.config.kind
            raise ClusterError(
                f"cluster.kind: {kind}: the connection to the driver, rank {DRIVER}, was lost; all "
                "processes end; look at its output, and start again to resume"
            )


def _is_driver(client: str) -> bool:
    return client.startswith(f"Client-{_DRIVER_NAME}-")


async def _first(*events: Coroutine[Any, Any, Any]) -> None:
    """Wait until one of the coroutines returns, and cancel the others."""
    tasks = [asyncio.ensure_future(event) for event in events]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


def _leave_signals_to_the_driver() -> None:
    """Ignore the signals of a batch system, which sends them to all processes.

    The driver handles them, and ends the other processes in order.
    """
    signal.setitimer(signal.ITIMER_REAL, 0)  # no timer may end this process either
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    # A handler, as child processes would inherit SIG_IGN, and a nanny ends its worker by SIGTERM.
    signal.signal(signal.SIGTERM, lambda *_: None)
