"""The job script of dask-jobqueue that starts a job's workers."""

from __future__ import annotations

import math
import signal
import sys
from pathlib import Path
from typing import Any

from distributed.security import Security

from gfrnn.cluster.batch.job_resources import JobResources
from gfrnn.cluster.batch.systems import SYSTEMS
from gfrnn.cluster.config import ClusterConfig
from gfrnn.cluster.errors import ClusterError
from gfrnn.cluster.guarded_servers import PortlessWorker
from gfrnn.cluster.worker_environment import export_line


def make_job(
    config: ClusterConfig, scheduler: str, name: str, folder: Path, security: Security
) -> Any:
    """Return a job of dask-jobqueue, which is submitted when it is awaited.

    Parameters
    ----------
    scheduler : str
        Address of the scheduler.
    name : str
        Name of the job's worker; where there are several, -0, -1, ... is appended.
    folder : Path
        Folder of its logs.
    """
    resources = JobResources.from_config(config)
    options: dict[str, Any] = {
        "cores": resources.cores,
        "processes": resources.workers,
        "memory": resources.memory,
        "protocol": "tls://",
        "security": security,
        "interface": config.interface,
        "death_timeout": math.ceil(config.timeout),
        "local_directory": config.spill or "${TMPDIR:-/tmp}",
        "worker_command": "gfrnn.cluster.batch.start_workers",
        "worker_extra_args": [
            *("--nanny", "--nworkers", str(resources.workers)),
            *("--lifetime", f"{resources.lifetime}s"),
            *("--lifetime-stagger", f"{resources.stagger}s"),
            *("--worker-class", f"{PortlessWorker.__module__}.{PortlessWorker.__name__}"),
            "--no-dashboard",
        ],
        # After the user's lines: a module may set other numbers of threads.
        "job_script_prologue": [*config.setup, export_line()],
        "job_extra_directives": list(config.directives),
        "job_directives_skip": [],
        "log_directory": str(folder),
        "python": config.python or sys.executable,
        "job_name": "gfrnn",
    }
    options |= SYSTEMS[config.kind].job_options(config, resources, folder)
    return job_class(config)(scheduler, name=name, **options)


def job_class(config: ClusterConfig) -> Any:
    """Return the class of jobs whose workers have exactly the memory that the configuration gives.

    Raises
    ------
    ClusterError
        If dask-jobqueue is missing.
    """
    system = SYSTEMS[config.kind]
    base: Any = getattr(_import_jobqueue(config.kind), system.jobqueue_class).job_cls

    class _WorkerJob(base):
        submit_command = system.submit_command or base.submit_command

        @property
        def worker_process_memory(self) -> str:
            return f"{config.memory_bytes}B"

    return _WorkerJob


def _import_jobqueue(kind: str) -> Any:
    before = signal.getsignal(signal.SIGINT)
    try:
        import dask_jobqueue
    except ImportError:
        raise ClusterError(
            f"cluster.kind: {kind} needs the package dask-jobqueue, which is not installed; "
            "install it with pip install dask-jobqueue, or GFRNN with its extra hpc"
        ) from None
    if signal.getsignal(signal.SIGINT) is not before:
        # Its import installs a handler with which the interrupt key ends the process with exit
        # code 0.
        signal.signal(signal.SIGINT, before)
    return dask_jobqueue
