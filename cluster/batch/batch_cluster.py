"""Workers as jobs of a batch system, for a scheduler in this process."""

from __future__ import annotations

import logging
import os
import secrets
import shlex
import warnings
from asyncio import CancelledError
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError as FutureCancelledError
from contextlib import contextmanager
from pathlib import Path

from distributed import Client, Scheduler, SpecCluster
from distributed.security import Security

from gfrnn.cluster.batch.cancellation import keep_journal
from gfrnn.cluster.batch.job_script import job_class, make_job
from gfrnn.cluster.batch.job_supervisor import JobSupervisor
from gfrnn.cluster.certificates import temporary_certificates
from gfrnn.cluster.config import ClusterConfig
from gfrnn.cluster.errors import ClusterError
from gfrnn.cluster.host_address import address_of, dashboard_at


@contextmanager
def open_batch(config: ClusterConfig, folder: Path, say: Callable[[str], None]) -> Iterator[Client]:
    """A client of a scheduler in this process, whose workers are jobs; they end with the block.

    Raises
    ------
    ClusterError
        If no worker comes; or in the middle, if it is in vain to wait for more.
    """
    folder = _shared(folder)
    if config.scheduler_interface:
        host = address_of(config.scheduler_interface, "cluster.scheduler_interface")
    else:
        host = address_of(config.interface)
    secret = folder / f"tls-{secrets.token_hex(8)}"
    with (
        keep_journal(job_class(config).cancel_command, secret) as journal,
        temporary_certificates(secret) as security,
        _scheduler(config, host, security) as cluster,
        Client(cluster, timeout=config.timeout) as client,
    ):
        assert isinstance(cluster.scheduler, Scheduler)
        keeper = JobSupervisor(
            config,
            make=lambda name: make_job(config, cluster.scheduler_address, name, folder, security),
            scheduler=cluster.scheduler,
            journal=journal,
            folder=folder,
            say=say,
        )
        try:
            cluster.sync(keeper.start)
            yield client
        except (Exception, CancelledError, FutureCancelledError) as error:
            # Whoever waited for a task knows only that it will not come, but not why.
            if keeper.error and keeper.error is not error:
                raise keeper.error from error
            raise
        finally:
            cluster.sync(keeper.stop)


@contextmanager
def _scheduler(config: ClusterConfig, host: str, security: Security) -> Iterator[SpecCluster]:
    options = {
        "protocol": "tls://",
        "host": host,
        "security": security,
        "dashboard_address": dashboard_at(config.dashboard),
    }
    with warnings.catch_warnings():
        # A taken port is no trouble: another one is used, and its address is printed.
        warnings.filterwarnings("ignore", message="Port .* is already in use")
        cluster = SpecCluster(
            workers={},
            scheduler={"cls": Scheduler, "options": options},
            security=security,
            silence_logs=logging.ERROR,
        )
    with cluster:
        yield cluster


def _shared(folder: Path) -> Path:
    """The folder that nodes find logs and certificates in, made where it is missing.

    Raises
    ------
    ClusterError
        If scripts cannot name it, or it cannot be made.
    """
    folder = folder.absolute()
    if shlex.quote(str(folder)) != str(folder):
        raise ClusterError(
            f"cluster.folder: {str(folder)!r} has characters that job scripts cannot have (blanks, "
            "quotes); choose another folder that all nodes see"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ClusterError(
            f"cluster.folder: {folder} cannot be made ({error.strerror}); choose one that is "
            "writable here and seen by all nodes"
        ) from None
    if not os.access(folder, os.W_OK):
        raise ClusterError(f"cluster.folder: {folder} is not writable; choose another one")
    return folder
