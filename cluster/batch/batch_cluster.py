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

from distributed import Client, SpecCluster
from distributed.security import Security

from gfrnn.cluster.batch.cancellation import cancellation_journal
from gfrnn.cluster.batch.job_script import job_class, make_job
from gfrnn.cluster.batch.job_supervisor import JobSupervisor
from gfrnn.cluster.certificates import temporary_certificates
from gfrnn.cluster.config import ClusterConfig
from gfrnn.cluster.errors import ClusterError
from gfrnn.cluster.guarded_servers import GuardedScheduler
from gfrnn.cluster.host_address import dashboard_options, interface_address


@contextmanager
def open_batch(
    config: ClusterConfig, folder: Path, report: Callable[[str], None]
) -> Iterator[Client]:
    """Open a client of a scheduler in this process; its workers are jobs that end with the block.

    Raises
    ------
    ClusterError
        If no worker connects; within the block, if jobs or workers fail repeatedly.
    """
    folder = _make_shared_folder(folder)
    if config.scheduler_interface:
        host = interface_address(config.scheduler_interface, "cluster.scheduler_interface")
    else:
        host = interface_address(config.interface)
    secret = folder / f"tls-{secrets.token_hex(8)}"
    with (
        cancellation_journal(job_class(config).cancel_command, secret) as journal,
        temporary_certificates(secret) as security,
        _scheduler(config, host, security) as cluster,
        Client(cluster, timeout=config.timeout) as client,
    ):
        assert isinstance(cluster.scheduler, GuardedScheduler)
        supervisor = JobSupervisor(
            config,
            make_job=lambda name: make_job(
                config, cluster.scheduler_address, name, folder, security
            ),
            scheduler=cluster.scheduler,
            journal=journal,
            folder=folder,
            report=report,
        )
        try:
            cluster.sync(supervisor.start)
            yield client
        except (Exception, CancelledError, FutureCancelledError) as error:
            # Clients learn that their tasks are cancelled, but not why.
            if supervisor.error and supervisor.error is not error:
                raise supervisor.error from error
            raise
        finally:
            cluster.sync(supervisor.stop)


@contextmanager
def _scheduler(config: ClusterConfig, host: str, security: Security) -> Iterator[SpecCluster]:
    options = {
        "protocol": "tls://",
        "host": host,
        "security": security,
        **dashboard_options(config.dashboard),
    }
    with warnings.catch_warnings():
        # Where the port is taken, another one is used, and its address is printed.
        warnings.filterwarnings("ignore", message="Port .* is already in use")
        cluster = SpecCluster(
            workers={},
            scheduler={"cls": GuardedScheduler, "options": options},
            security=security,
            silence_logs=logging.ERROR,
        )
    with cluster:
        yield cluster


def _make_shared_folder(folder: Path) -> Path:
    """Return the folder for logs and certificates, which is made where it is missing.

    Raises
    ------
    ClusterError
        If its name cannot be part of a job script, or it cannot be made or written to.
    """
    folder = folder.absolute()
    if shlex.quote(str(folder)) != str(folder):
        raise ClusterError(
            f"cluster.folder: {str(folder)!r} has characters that are not allowed in job scripts "
            "(blanks, quotes); choose another folder that all nodes can access"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ClusterError(
            f"cluster.folder: {folder} cannot be created ({error.strerror}); choose one that is "
            "writable here and on all nodes"
        ) from None
    if not os.access(folder, os.W_OK):
        raise ClusterError(
            f"cluster.folder: {folder} is not writable; choose one that is writable here and "
            "on all nodes"
        )
    return folder
