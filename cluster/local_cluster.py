"""Workers as processes of this machine, reachable from this machine only."""

from __future__ import annotations

import logging
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import dask
from dask.system import CPU_COUNT
from distributed import Client, LocalCluster
from distributed.worker_memory import parse_memory_limit

from gfrnn.cluster.config import ClusterConfig
from gfrnn.cluster.host_address import LOOPBACK, dashboard_at
from gfrnn.cluster.worker_environment import for_nannies

_LOGGER = logging.getLogger(__name__)

# Dask ends its workers by messages, and kills those that do not listen.
_FOR_THE_DRIVER = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
)


def local_size(config: ClusterConfig) -> tuple[int, int | None]:
    """Workers that :func:`open_local` starts, and bytes of memory that each will have."""
    workers = config.workers or len(os.sched_getaffinity(0))
    memory = config.memory or "auto"
    limit = parse_memory_limit(memory, nthreads=1, total_cores=CPU_COUNT, logger=_LOGGER)
    return workers, limit


@contextmanager
def open_local(config: ClusterConfig) -> Iterator[Client]:
    """A client of a fresh local cluster, which ends with the block."""
    workers, _ = local_size(config)
    with _deaf_children(), dask.config.set(for_nannies()), warnings.catch_warnings():
        # A taken port is no trouble: another one is used, and its address is printed.
        warnings.filterwarnings("ignore", message="Port .* is already in use")
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,  # parallelism comes from processes: see the reducer
            processes=True,
            memory_limit=config.memory or "auto",
            host=LOOPBACK,
            dashboard_address=dashboard_at(config.dashboard),
            silence_logs=logging.ERROR,
        )
    with cluster, Client(cluster, timeout=config.timeout) as client:
        yield client


@contextmanager
def _deaf_children() -> Iterator[None]:
    """Processes started meanwhile ignore the interrupt key and the signals of batch systems.

    A terminal or a batch system sends them to all processes at once, but they are for this one,
    which ends the workers in good order; each of them would fill the screen with a traceback of
    its own, or be gone before what it holds is kept.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {each: signal.signal(each, signal.SIG_IGN) for each in _FOR_THE_DRIVER}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
