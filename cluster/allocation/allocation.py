"""Scheduler, driver and workers that one launcher starts together, in one allocation.

All processes run the same command. Rank 0 becomes the scheduler, rank 1 the driver, which alone
continues with the program, and the others become workers.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
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
from gfrnn.cluster.batch.script_words import expand_path
from gfrnn.cluster.certificates import read_certificates, temporary_certificates
from gfrnn.cluster.config import ClusterConfig
from gfrnn.cluster.errors import ClusterError
from gfrnn.cluster.existing_scheduler import wait_for_address
from gfrnn.cluster.guarded_servers import GuardedScheduler, PortlessWorker
from gfrnn.cluster.host_address import dashboard_options, interface_address
from gfrnn.cluster.private_folder import make_private_folder
from gfrnn.cluster.worker_environment import nanny_environment, nanny_settings
from gfrnn.cluster.worker_memory import (
    LEAST_MEMORY,
    check_worker_memory,
    memory_limit,
    requested_memory,
)

_DRIVER_NAME = "driver"


@contextmanager
def open_allocation(
    config: ClusterConfig, folder: Path, report: Callable[[str], None]
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
    rendezvous = _Rendezvous(config, ranks, folder.absolute() / ranks.name)
    if ranks.rank == DRIVER:
        with rendezvous.run_driver() as client:
            yield client
        return
    _ignore_signals()
    rendezvous.serve()
    sys.exit(0)


class _Rendezvous:
    """Folder with certificates and the scheduler's address, through which the processes connect.

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

    def timeout_error(self, what: str) -> ClusterError:
        """Return the error for a timeout."""
        return ClusterError(
            f"cluster.kind: {self.config.kind}: {what} after {self.config.timeout:g} s; look "
            "at the output of the other processes, check that all nodes can access the folder "
            f"{self.folder.parent} (cluster.folder) and reach each other (cluster.interface), or "
            "increase cluster.timeout"
        )

    def connection_error(self, address: str, error: BaseException) -> ClusterError:
        """Return the error for a scheduler that this process cannot reach."""
        given = self.config.interface or "not given, so that of the outgoing network"
        return ClusterError(
            f"cluster.interface: {given}: rank {self.ranks.rank} on {socket.gethostname()} cannot "
            f"connect to the scheduler at {address} ({error}); set it to a network that connects "
            "all nodes (`ip -brief address` lists those of a node), or increase cluster.timeout"
        )

    def find_scheduler(self) -> tuple[str, Security]:
        """Wait for the scheduler, and return its address and certificates.

        Raises
        ------
        ClusterError
            If the scheduler does not start in time.
        """
        try:
            address = wait_for_address(self.file, self.config.timeout)
            return address, read_certificates(self.folder)
        except OSError:  # also if the folder was removed after the timeout of another process
            raise self.timeout_error(
                f"rank {self.ranks.rank} has not found the scheduler"
            ) from None

    @contextmanager
    def run_driver(self) -> Iterator[Client]:
        """Yield the driver's client; all other processes end with the block."""
        # The client would log each attempt to reconnect to a lost scheduler.
        logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
        address, security = self.find_scheduler()
        timeout = self.config.timeout
        try:
            opened = Client(address, security=security, timeout=timeout, name=_DRIVER_NAME)
        except (OSError, TimeoutError) as error:
            raise self.connection_error(address, error) from error
        with opened as client:
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
            raise self.timeout_error(f"{there} of {self.workers} workers are there") from None

    def serve(self) -> None:
        """Run the scheduler or a worker until it ends."""
        scheduler = self.ranks.rank == SCHEDULER
        # Warnings of workers, as of memory, are useful; those of a scheduler are on unused results.
        level = logging.ERROR if scheduler else logging.WARNING
        logging.getLogger("distributed").setLevel(level)
        with nanny_environment():
            asyncio.run(self._schedule() if scheduler else self._work())

    async def _schedule(self) -> None:
        """Run the scheduler until the driver ends it or is lost."""
        monitor = _ConnectionMonitor(self)
        async with AsyncExitStack() as stack:
            with temporary_certificates(self.folder):
                scheduler = await stack.enter_async_context(self._scheduler(monitor))
                await monitor.wait_for_all(scheduler)
            await monitor.wait_for_end(scheduler)

    def _scheduler(self, monitor: _ConnectionMonitor) -> Scheduler:
        with warnings.catch_warnings():
            # If the port is in use, Dask takes another one, whose address is printed.
            warnings.filterwarnings("ignore", message="Port .* is already in use")
            return GuardedScheduler(
                protocol="tls",
                host=interface_address(self.config.interface),
                port=0,
                security=read_certificates(self.folder),
                **dashboard_options(self.config.dashboard),
                scheduler_file=str(self.file),
                plugins=[monitor],
            )

    async def _work(self) -> None:
        """Run a worker until the scheduler ends it or is lost."""
        limit = memory_limit(self.ranks.memory)
        if self.config.memory is None:
            try:
                check_worker_memory(limit, f"{limit / 2**20:.0f} MiB of this process' share")
            except ValueError as error:
                least = requested_memory(LEAST_MEMORY) // 2**20 + 1
                raise ClusterError(
                    f"cluster.{error}, for which the options of the job must give each process "
                    f"{least}M"
                ) from None
        folder = self._temporary_folder()
        address, security = self.find_scheduler()
        with dask.config.set(nanny_settings()):
            nanny = Nanny(
                address,
                worker_class=PortlessWorker,
                dashboard=False,
                protocol="tls",
                host=interface_address(self.config.interface),
                security=security,
                nthreads=self.config.threads,
                memory_limit=self.config.memory or limit,
                local_directory=folder,
                name=str(self.ranks.rank),
                death_timeout=self.config.timeout,
            )
        try:
            await nanny
        except (OSError, TimeoutError, RuntimeError) as error:
            if not _is_of_connection(error):
                raise
            raise self.connection_error(address, error) from error
        async with nanny:
            await nanny.finished()

    def _temporary_folder(self) -> str:
        """Return the private folder of this node, in the spill folder where one is given.

        Raises
        ------
        ClusterError
            If the spill folder is no absolute path on this node, or cannot be used.
        """
        if self.config.spill:
            try:
                parent = expand_path(self.config.spill)
            except ValueError as error:
                raise ClusterError(f"cluster.spill: {error}") from None
            return make_private_folder(parent, "cluster.spill")
        default: str = dask.config.get("temporary-directory")
        return default


class _ConnectionMonitor(SchedulerPlugin):
    """Plugin that detects when all processes have connected, and when the driver is lost."""

    name = "gfrnn-monitor"

    def __init__(self, rendezvous: _Rendezvous) -> None:
        self.rendezvous = rendezvous
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
        if self.driver.is_set() and len(scheduler.workers) >= self.rendezvous.workers:
            self.all.set()

    def remove_client(self, scheduler: Scheduler, client: str) -> None:
        """Note that the driver is lost."""
        # A driver that ends regularly ends the scheduler first.
        if _is_driver(client) and scheduler.status == Status.running:
            self.lost.set()

    async def wait_for_all(self, scheduler: Scheduler) -> None:
        """Wait until all processes have connected, or the driver has stopped waiting for them.

        Raises
        ------
        ClusterError
            If the driver does not connect in time.
        """
        try:
            await asyncio.wait_for(self.driver.wait(), self.rendezvous.config.timeout)
        except TimeoutError:
            raise self.rendezvous.timeout_error(
                f"the driver, rank {DRIVER}, has not connected"
            ) from None
        await _first(self.all.wait(), self.lost.wait(), scheduler.finished())

    async def wait_for_end(self, scheduler: Scheduler) -> None:
        """Wait until the driver has ended the scheduler.

        Raises
        ------
        ClusterError
            If the driver is lost.
        """
        await _first(self.lost.wait(), scheduler.finished())
        if self.lost.is_set():
            kind = self.rendezvous.config.kind
            raise ClusterError(
                f"cluster.kind: {kind}: the connection to the driver, rank {DRIVER}, was lost; all "
                "processes end; look at its output, and start again to resume"
            )


def _is_driver(client: str) -> bool:
    return client.startswith(f"Client-{_DRIVER_NAME}-")


def _is_of_connection(error: BaseException | None) -> bool:
    """Whether an error, or the one that has caused it, is of the network; Dask wraps those."""
    while error is not None:
        # Dask raises an OSError without a number for a connection that it cannot make.
        unnumbered = isinstance(error, OSError) and error.errno is None
        if unnumbered or isinstance(error, (ConnectionError, TimeoutError)):
            return True
        error = error.__cause__
    return False


async def _first(*events: Coroutine[Any, Any, Any]) -> None:
    """Wait until one of the coroutines returns, and cancel the others."""
    tasks = [asyncio.ensure_future(event) for event in events]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


def _ignore_signals() -> None:
    """Ignore the signals of a batch system, which sends them to all processes.

    The driver handles them, and ends the other processes in order.
    """
    signal.setitimer(signal.ITIMER_REAL, 0)  # no timer may end this process either
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    # A handler, as child processes would inherit SIG_IGN, and a nanny ends its worker by SIGTERM.
    signal.signal(signal.SIGTERM, lambda *_: None)
