"""Configuration of the cluster on which a run is computed."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from dask.utils import parse_bytes
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from gfrnn.cluster.batch.script_words import (
    check_interface,
    check_line,
    check_name,
    check_path,
)
from gfrnn.cluster.batch.systems import SYSTEMS
from gfrnn.cluster.walltime import parse_walltime
from gfrnn.cluster.worker_memory import check_worker_memory

BATCH_KINDS = tuple(SYSTEMS)
"""Kinds whose workers are jobs of a batch system."""

ALLOCATION_KINDS = ("srun", "mpi")
"""Kinds whose scheduler, driver and workers are started together, in one allocation."""

_KINDS_WITH_KEY: dict[str, tuple[str, ...]] = {
    "workers": ("local", *BATCH_KINDS),
    "memory": ("local", *BATCH_KINDS, *ALLOCATION_KINDS),
    "dashboard": ("local", *BATCH_KINDS, *ALLOCATION_KINDS),
    "address": ("existing",),
    "scheduler_file": ("existing",),
    "certificates": ("existing",),
    "queue": tuple(kind for kind, system in SYSTEMS.items() if system.has_queues),
    **dict.fromkeys(("threads", "interface", "spill", "folder"), (*BATCH_KINDS, *ALLOCATION_KINDS)),
} | dict.fromkeys(
    (
        "per_job",
        "walltime",
        "account",
        "scheduler_interface",
        "directives",
        "setup",
        "python",
        "queue_wait",
    ),
    BATCH_KINDS,
)
"""Kinds that allow a key; a key that is not listed is allowed with every kind."""

_MAX_PORT = 2**16 - 1

_MOST_BYTES = 2**50

_MIN_WALLTIME = 60
"""Shortest walltime in seconds."""


Name = Annotated[str, AfterValidator(check_name)]
Interface = Annotated[str, AfterValidator(check_interface)]
ScriptPath = Annotated[str, AfterValidator(check_path)]
Line = Annotated[str, AfterValidator(check_line)]


class ClusterConfig(BaseModel):
    """The ``cluster`` section of an experiment file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: Literal[
        "local", "existing", "slurm", "pbs", "lsf", "sge", "oar", "htcondor", "srun", "mpi"
    ] = "local"
    workers: int | None = Field(
        None, gt=0, le=100_000, description="processes; local: default one a core"
    )
    memory: str | None = Field(None, description="memory of a worker, e.g. 4GiB")
    dashboard: str | bool = Field(
        "127.0.0.1:8787", description="address of the dashboard; :0 any port; false for none"
    )
    timeout: float = Field(60.0, gt=0, le=1e6, description="seconds to wait for the workers")

    address: str | None = Field(None, description="of a scheduler, e.g. tcp://host:8786")
    scheduler_file: str | None = Field(None, description="scheduler file of an existing scheduler")
    certificates: str | None = Field(None, description="folder of an existing scheduler's TLS")

    threads: int = Field(1, gt=0, le=1024, description="threads of one worker; each runs one task")
    per_job: int = Field(1, gt=0, le=1024, description="workers in one job")
    walltime: str | int = Field("1h", description="time limit of one job, e.g. 2h or 02:00:00")
    queue: Name | None = Field(None, description="queue or partition of the jobs")
    account: Name | None = Field(None, description="account or project that is charged")
    interface: Interface | None = Field(None, description="network of the workers, e.g. ib0")
    scheduler_interface: Interface | None = Field(None, description="network of the scheduler")
    directives: tuple[Line, ...] = Field((), description="more options of the job, as in a script")
    setup: tuple[str, ...] = Field((), description="shell lines before the worker starts")
    python: ScriptPath | None = Field(None, description="Python on the nodes; default: this one")
    spill: ScriptPath | None = Field(None, description="folder of each node; default $TMPDIR")
    folder: str | None = Field(None, description="logs and certificates, for all nodes")
    queue_wait: str | int = Field("1h", description="longest wait for the first job to start")

    @field_validator("memory")
    @classmethod
    def _is_size(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                size = parse_bytes(value)
            except (ValueError, OverflowError):
                size = 0
            if not 0 < size < _MOST_BYTES:
                raise ValueError(f"{value!r} is not a size; write for example 4GiB")
        return value

    @field_validator("dashboard")
    @classmethod
    def _is_address(cls, value: str | bool) -> str | bool:
        if value is False:
            return value
        # Dask opens a dashboard whose host is left out on every interface of the machine.
        match = re.fullmatch(r"\S*:(\d{1,5})", str(value))
        if match is None or int(match[1]) > _MAX_PORT:
            raise ValueError(
                f"{value!r} is not an address; write HOST:PORT, or :PORT for this machine only, "
                "for example 127.0.0.1:8787, or false for no dashboard"
            )
        return value

    @field_validator("walltime", "queue_wait")
    @classmethod
    def _is_duration(cls, value: str | int) -> str | int:
        if parse_walltime(value) < 0:
            raise ValueError(f"{value!r} is negative; write for example 1h")
        return value

    @model_validator(mode="after")
    def _check_combination(self) -> ClusterConfig:
        for key in sorted(self.model_fields_set):
            kinds = _KINDS_WITH_KEY.get(key, (self.kind,))
            if self.kind not in kinds and getattr(self, key) is not None:
                raise ValueError(
                    f"{key} is allowed with kind {_listed(kinds)} only, but kind is {self.kind}; "
                    "leave it out"
                )
        if self.kind == "existing" and (self.address is None) == (self.scheduler_file is None):
            found = "both" if self.address else "none"
            raise ValueError(
                f"kind existing needs either address or scheduler_file, {found} given; give one"
            )
        if self.kind in BATCH_KINDS:
            self._check_job()
        if self.in_allocation and self.memory is not None:
            check_worker_memory(self.memory_bytes, self.memory)
        return self

    def _check_job(self) -> None:
        if self.workers is None or self.memory is None:
            raise ValueError(
                f"kind {self.kind} needs workers (their number) and memory (of one worker); write "
                "for example workers: 8 and memory: 4GiB"
            )
        check_worker_memory(self.memory_bytes, self.memory)
        if self.workers % self.per_job:
            raise ValueError(
                f"workers: {self.workers} is not a multiple of per_job, {self.per_job}; change one "
                "of them"
            )
        if parse_walltime(self.walltime) < _MIN_WALLTIME:
            raise ValueError(f"walltime: {self.walltime} is less than {_MIN_WALLTIME} s")
        SYSTEMS[self.kind].check(self)

    @property
    def trusts_its_author(self) -> bool:
        """Whether who writes the configuration can run programs as the user who opens the cluster.

        Job scripts hold lines of it, and a scheduler sends pickled objects to its clients.
        """
        return self.kind in (*BATCH_KINDS, "existing")

    @property
    def in_allocation(self) -> bool:
        """Whether scheduler, driver and workers are started together, by one launcher."""
        return self.kind in ALLOCATION_KINDS

    @property
    def memory_bytes(self) -> int:
        """Memory of one worker in bytes; GB are powers of ten, GiB of two."""
        if self.memory is None:
            raise ValueError("memory: not given; write for example memory: 4GiB")
        size: int = parse_bytes(self.memory)
        return size


def _listed(words: tuple[str, ...]) -> str:
    """Return ``a, b or c``."""
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last
