"""A cluster of worker processes on this machine, closed to its other users."""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing import resource_tracker
from typing import Any

import dask
from dask.utils import parse_timedelta
from distributed import Client, Nanny, SpecCluster
from distributed.security import Security
from distributed.system import MEMORY_LIMIT

from gfrnn.cluster.certificates import new_certificates
from gfrnn.cluster.config import ClusterConfig
from gfrnn.cluster.errors import ClusterError
from gfrnn.cluster.guarded_servers import GuardedScheduler, PortlessWorker
from gfrnn.cluster.host_address import LOOPBACK, dashboard_options
from gfrnn.cluster.quiet_log import quiet_log
from gfrnn.cluster.worker_environment import nanny_environment, nanny_settings
from gfrnn.cluster.worker_memory import check_worker_memory, memory_limit

# Dask ends its workers by messages, and kills those that do not answer.
_FOR_THE_DRIVER = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
)

_CONNECTION_TIMEOUT = 120.0
"""Least timeout of connections in seconds. Where machines are overloaded, processes wait longer
for a core than Dask's default of 30 s; one that has ended is noticed without a timeout."""


class QuietWorker(PortlessWorker):
    """Worker that prints nothing among the lines of the run.

    Errors of tasks reach the client, which reports them; what else Dask prints are lost connections
    while the cluster closes.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{**options, "silence_logs": logging.CRITICAL})


def local_size(config: ClusterConfig) -> tuple[int, int]:
    """Return the number of workers of a local cluster, and bytes of memory of each.

    By default there is a worker for each core, and all have equal shares of the machine's memory,
    of which a tenth is left to the driver.

    Raises
    ------
    ClusterError
        If a worker's own process takes the memory limit.
    """
    workers = config.workers or len(os.sched_getaffinity(0))
    limit = memory_limit(MEMORY_LIMIT) // workers
    given = f"{limit / 2**20:.0f} MiB, nine tenths of the machine's memory by {workers} workers,"
    if config.memory is not None:
        limit, given = config.memory_bytes, config.memory
    try:
        check_worker_memory(limit, given)
    except ValueError as error:
        fewer = "" if config.memory else ", with fewer workers (--workers)"
        raise ClusterError(f"cluster.{error}{fewer}") from None
    return workers, limit


@contextmanager
def open_local(config: ClusterConfig) -> Iterator[Client]:
    """Start a local cluster and yield its client; the cluster ends with the block.

    Every connection needs certificates that are made for this cluster and held in memory: without
    them, any user of the machine could connect on the loopback interface and run code. Dask writes
    them into a temporary folder of mode 0700 for the moment in which it sets up a connection.

    Raises
    ------
    ClusterError
        If a worker's own process takes the memory limit, certificates cannot be made, or a process
        cannot be started.
    """
    workers, limit = local_size(config)
    security = new_certificates()
    with nanny_environment(), dask.config.set(_connection_timeouts()), ExitStack() as stack:
        with _signals_held(), dask.config.set(nanny_settings()), warnings.catch_warnings():
            # Where the port is taken, Dask uses another one, whose address is printed.
            warnings.filterwarnings("ignore", message="Port .* is already in use")
            try:
                with quiet_log("distributed.nanny"):
                    # Entered here, so that it also ends if a signal was held back.
                    cluster = stack.enter_context(_start(config, workers, limit, security))
            # When a start fails, Dask closes what it has started and then asserts that all workers
            # are closed, which is not so while one of them is still starting.
            except (RuntimeError, OSError, TimeoutError, AssertionError) as error:
                raise ClusterError(
                    f"cluster: the local scheduler and its {workers} workers cannot be started "
                    f"({_first_cause(error)}); give fewer workers (--workers), raise the limits of "
                    "processes, open files and memory (ulimit -u, -n, -v), or free some space in "
                    f"{tempfile.gettempdir()}"
                ) from error
        with Client(cluster, timeout=config.timeout) as client:
            yield client


def _start(config: ClusterConfig, workers: int, limit: int, security: Security) -> SpecCluster:
    """Start scheduler and workers; a LocalCluster of Dask would not take another scheduler."""
    common = {"host": LOOPBACK, "protocol": "tls://", "security": security}
    worker = {
        "cls": Nanny,
        "options": {
            **common,
            "worker_class": QuietWorker,
            "dashboard": False,
            "nthreads": 1,  # parallelism comes from processes: see the reducer
            "memory_limit": limit,
            "silence_logs": logging.CRITICAL,  # in the worker's process, whose errors get here
        },
    }
    options = {**common, **dashboard_options(config.dashboard)}
    return SpecCluster(
        scheduler={"cls": GuardedScheduler, "options": options},
        workers=dict.fromkeys(range(workers), worker),
        security=security,
        silence_logs=logging.ERROR,
    )


def _first_cause(error: BaseException) -> str:
    """Return the message of the error that has caused all others."""
    while (before := error.__cause__ or error.__context__) is not None:
        error = before
    return str(error) or type(error).__name__


def _connection_timeouts() -> dict[str, float]:
    """Return settings of Dask for connections; larger values of the user's configuration stay."""
    keys = (f"distributed.comm.timeouts.{name}" for name in ("connect", "tcp"))
    return {key: max(_CONNECTION_TIMEOUT, parse_timedelta(dask.config.get(key))) for key in keys}


@contextmanager
def _signals_held() -> Iterator[None]:
    """Hold back the signals that end a run; this process gets them when the block ends.

    A terminal or a batch system sends them to all processes at once. This process handles them and
    ends the workers in order; workers that handled them as well would print a traceback each, or
    end before their results are moved. Threads that are started in the block, and the processes
    that these start, inherit the mask and never get the signals.
    """
    held: list[int] = []
    handlers: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():  # which alone has handlers
        # A thread that runs already, such as zarr's, takes what this one has blocked.
        for each in _FOR_THE_DRIVER:
            handlers[each] = signal.signal(each, lambda sent, _: held.append(sent))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _FOR_THE_DRIVER)
    try:
        # Python 3.11 unblocks two of them in the thread that starts this process, by default the
        # one that then starts the first worker.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, _FOR_THE_DRIVER)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for number, handler in handlers.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        for sent in held:
            signal.raise_signal(sent)
