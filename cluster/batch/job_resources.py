"""Resources that one job requests from its batch system."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gfrnn.cluster.config import ClusterConfig
from gfrnn.cluster.walltime import parse_walltime
from gfrnn.cluster.worker_memory import requested_memory

_MIB = 2**20


@dataclass(frozen=True)
class JobResources:
    """Resources of one job.

    Attributes
    ----------
    workers : int
        Worker processes.
    cores : int
    memory : int
        Bytes.
    walltime : int
        Seconds.
    """

    workers: int
    cores: int
    memory: int
    walltime: int

    @classmethod
    def from_config(cls, config: ClusterConfig) -> JobResources:
        """Return the sum over a job's workers, whose sizes the keys give."""
        return cls(
            workers=config.per_job,
            cores=config.per_job * config.threads,
            memory=requested_memory(config.per_job * config.memory_bytes),
            walltime=parse_walltime(config.walltime),
        )

    @property
    def mebibytes(self) -> int:
        """Memory in MiB, rounded up: the unit M, MB or mb of most batch systems."""
        return math.ceil(self.memory / _MIB)

    @property
    def stagger(self) -> int:
        """Seconds by which a worker's lifetime is varied, so that not all leave at once."""
        return round(min(300, max(10, 0.05 * self.walltime)))

    @property
    def lifetime(self) -> int:
        """Mean seconds after which workers leave; the last one leaves before the walltime."""
        return self.walltime - 2 * self.stagger

    @property
    def least_lifetime(self) -> float:
        """Seconds that every worker has at least, less some for its start."""
        return 0.9 * (self.lifetime - self.stagger)
