"""A cluster of worker processes on this machine, closed to its other users."""

from __future__ import annotations

import logging
import os
import signal
import stat
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dask
from dask.system import CPU_COUNT
from distributed import Client, LocalCluster
from distributed.worker_memory import parse_memory_limit

from gfrnn.cluster.certificates import new_certificates
from gfrnn.cluster.config import ClusterConfig
from gfrnn.cluster.errors import ClusterError
from gfrnn.cluster.host_address import LOOPBACK, dashboard_at
from gfrnn.cluster.worker_environment import nanny_settings, safe_import_path

_LOGGER = logging.getLogger(__name__)

# Dask ends its workers by messages, and kills those that do not answer.
_FOR_THE_DRIVER = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
)


def local_size(config: ClusterConfig) -> tuple[int, int | None]:
    """Return the number of workers of a local cluster, and bytes of memory of each."""
    workers = config.workers or len(os.sched_getaffinity(0))
    memory = config.memory or "auto"
    limit = parse_memory_limit(memory, nthreads=1, total_cores=CPU_COUNT, logger=_LOGGER)
    return workers, limit


@contextmanager
def open_local(config: ClusterConfig) -> Iterator[Client]:
    """Start a local cluster and yield its client; the cluster ends with the block.

    Every connection needs certificates that are made for this cluster and exist in memory only:
    without them, any user of the machine could connect on the loopback interface and run code.

    Raises
    ------
    ClusterError
        If there are no certificates, or no private folder to spill into.
    """
    workers, _ = local_size(config)
    security = new_certificates()
    with safe_import_path():
        with _signals_ignored(), dask.config.set(nanny_settings()), warnings.catch_warnings():
            # Where the port is taken, Dask uses another one, whose address is printed.
            warnings.filterwarnings("ignore", message="Port .* is already in use")
            cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,  # parallelism comes from processes: see the reducer
                processes=True,
                memory_limit=config.memory or "auto",
                local_directory=str(_private_folder()),
                host=LOOPBACK,
                protocol="tls://",
                security=security,
                dashboard_address=dashboard_at(config.dashboard),
                silence_logs=logging.ERROR,
            )
        with cluster, Client(cluster, timeout=config.timeout) as client:
            yield client


def _private_folder() -> Path:
    """Return this user's own folder for spilled data.

    Dask's default, ``dask-scratch-space`` in the temporary folder, may belong to another user, who
    could replace what workers load from it. Folders that killed workers left behind are removed
    by the next cluster, as they are in Dask's own.

    Raises
    ------
    ClusterError
        If others own the folder or may enter it.
    """
    parent = dask.config.get("temporary-directory") or tempfile.gettempdir()
    folder = Path(parent) / f"gfrnn-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ClusterError(
            f"cluster: {folder} is not a folder that belongs to you alone (mode 0700), so data "
            "would not be safe there; remove it, or set TMPDIR to a folder of your own"
        )
    return folder


@contextmanager
def _signals_ignored() -> Iterator[None]:
    """Have processes that are started in the block ignore the signals that end a run.

    A terminal or a batch system sends them to all processes at once. This process handles them and
    ends the workers in order; workers that handled them as well would print a traceback each, or
    end before their results are moved.
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
