"""The job of each batch system: what it asks for, and the worker that it starts."""

from __future__ import annotations

import math
import shlex
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distributed.security import Security

from gfrnn.cluster.config import ClusterConfig
from gfrnn.cluster.durations import clock, seconds_of
from gfrnn.cluster.errors import ClusterError
from gfrnn.cluster.worker_environment import export_line

HEADROOM = 112
"""Per cent of its workers' memory that a job asks for: there are their managers and buffers, and
what Dask's look at a worker's memory, ten times a second, misses."""

_MIB = 2**20


@dataclass(frozen=True)
class Shape:
    """What one job asks for."""

    workers: int
    cores: int
    memory: int
    walltime: int

    @classmethod
    def of(cls, config: ClusterConfig) -> Shape:
        """From the keys for one worker."""
        return cls(
            workers=config.per_job,
            cores=config.per_job * config.threads,
            memory=-(-HEADROOM * config.per_job * config.memory_bytes // 100),
            walltime=seconds_of(config.walltime),
        )

    @property
    def mebibytes(self) -> int:
        """Memory in MiB, rounded up: M, MB and mb of most batch systems."""
        return math.ceil(self.memory / _MIB)

    @property
    def stagger(self) -> int:
        """Seconds by which workers leave sooner or later, so that not all leave at once."""
        return round(min(300, max(10, 0.05 * self.walltime)))

    @property
    def lifetime(self) -> int:
        """Seconds after which a worker leaves in good order; the last ones a stagger before the
        walltime."""
        return self.walltime - 2 * self.stagger

    @property
    def least_life(self) -> float:
        """Seconds that every worker has, except a few for its start."""
        return 0.9 * (self.lifetime - self.stagger)


_CLUSTERS = {
    "slurm": "SLURMCluster",
    "pbs": "PBSCluster",
    "lsf": "LSFCluster",
    "sge": "SGECluster",
    "oar": "OARCluster",
    "htcondor": "HTCondorCluster",
}


def make_job(
    config: ClusterConfig, scheduler: str, name: str, folder: Path, security: Security
) -> Any:
    """A job of dask-jobqueue, which is submitted when it is awaited.

    Parameters
    ----------
    scheduler : str
        Its address.
    name : str
        Of the job's worker; where there are several, -0, -1, ... is added.
    folder : Path
        For its logs.
    """
    shape = Shape.of(config)
    options: dict[str, Any] = {
        "cores": shape.cores,
        "processes": shape.workers,
        "memory": shape.memory,
        "protocol": "tls://",
        "security": security,
        "interface": config.interface,
        "nanny": True,
        "death_timeout": math.ceil(config.timeout),
        "local_directory": config.spill or "${TMPDIR:-/tmp}",
        "worker_extra_args": [
            *("--lifetime", f"{shape.lifetime}s"),
            *("--lifetime-stagger", f"{shape.stagger}s"),
            *("--dashboard-address", "127.0.0.1:0"),  # else on every interface of the node
        ],
        # After the user's lines: a module may set other numbers of threads.
        "job_script_prologue": [*config.setup, export_line()],
        "job_extra_directives": list(config.directives),
        "job_directives_skip": [],
        "log_directory": str(folder),
        "python": config.python or sys.executable,
        "job_name": "gfrnn",
    }
    options |= _ASKED[config.kind](config, shape, folder)
    return job_class(config)(scheduler, name=name, **options)


def job_class(config: ClusterConfig) -> Any:
    """The class of jobs whose workers have exactly the memory that was asked for.

    Raises
    ------
    ClusterError
        If dask-jobqueue is missing.
    """
    base: Any = getattr(_jobqueue(config.kind), _CLUSTERS[config.kind]).job_cls

    class Job(base):
        @property
        def worker_process_memory(self) -> str:
            return f"{config.memory_bytes}B"

        async def _submit_job(self, script: str) -> str:
            if config.kind == "lsf":  # what bsub complains of would be thrown away
                command = f"{self.submit_command} < {shlex.quote(script)}"
                said: str = await self._call(["sh", "-c", command])
            else:
                said = await super()._submit_job(script)
            return said

    return Job


def _jobqueue(kind: str) -> Any:
    before = signal.getsignal(signal.SIGINT)
    try:
        import dask_jobqueue
    except ImportError:
        raise ClusterError(
            f"cluster.kind: {kind} needs the package dask-jobqueue; pip install 'gfrnn[hpc]'"
        ) from None
    if signal.getsignal(signal.SIGINT) is not before:
        # As it is imported, it makes the interrupt key end the process as if all were well.
        signal.signal(signal.SIGINT, before)
    return dask_jobqueue


def _slurm(config: ClusterConfig, shape: Shape, _: Path) -> dict[str, Any]:
    return {
        "queue": config.queue,
        "account": config.account,
        "walltime": clock(shape.walltime),
        "job_mem": f"{shape.mebibytes}M",
    }


def _pbs(config: ClusterConfig, shape: Shape, _: Path) -> dict[str, Any]:
    return {
        "queue": config.queue,
        "account": config.account,
        "walltime": clock(shape.walltime),
        "resource_spec": f"select=1:ncpus={shape.cores}:mem={shape.mebibytes}mb",
    }


def _lsf(config: ClusterConfig, shape: Shape, _: Path) -> dict[str, Any]:
    return {
        "queue": config.queue,
        "project": config.account,
        "walltime": clock(60 * math.ceil(shape.walltime / 60))[:-3],
        "mem": shape.memory,
        "use_stdin": True,
    }


def _sge(config: ClusterConfig, shape: Shape, _: Path) -> dict[str, Any]:
    return {
        "queue": config.queue,
        "project": config.account,
        "walltime": clock(shape.walltime),
        "resource_spec": f"mem_free={shape.mebibytes}M",
    }


def _oar(config: ClusterConfig, shape: Shape, folder: Path) -> dict[str, Any]:
    logs = [f"-{way} {folder}/gfrnn-%jobid%.{end}" for way, end in (("O", "out"), ("E", "err"))]
    return {
        "queue": config.queue,
        "project": config.account,
        "walltime": clock(shape.walltime),
        "memory_per_core_property_name": "not_applicable",
        "job_extra_directives": [*logs, *config.directives],
    }


def _htcondor(config: ClusterConfig, shape: Shape, _: Path) -> dict[str, Any]:
    given = dict(line.split("=", 1) for line in config.directives)
    charged = {"accounting_group": config.account} if config.account else {}
    limit = {"allowed_job_duration": shape.walltime}
    return {
        "disk": shape.memory,  # what a worker may spill
        "job_extra_directives": charged
        | limit
        | {name.strip(): value.strip() for name, value in given.items()},
    }


_ASKED: dict[str, Callable[[ClusterConfig, Shape, Path], dict[str, Any]]] = {
    "slurm": _slurm,
    "pbs": _pbs,
    "lsf": _lsf,
    "sge": _sge,
    "oar": _oar,
    "htcondor": _htcondor,
}
