"""Rank of this process among those that one launcher started, and their number."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from distributed.system import MEMORY_LIMIT

from gfrnn.cluster.errors import ClusterError

SCHEDULER, DRIVER = 0, 1
"""Ranks of scheduler and driver; all other ranks are workers."""

_LEAST = 3

_MIB = 2**20


@dataclass(frozen=True)
class Ranks:
    """The processes that one launcher has started together.

    Attributes
    ----------
    name : str
        Unique name of this start, the same for all processes.
    rank : int
        Rank of this process.
    size : int
        Number of processes.
    memory : int
        Memory of this process in bytes: an equal share of what the job may use on the node.
    """

    name: str
    rank: int
    size: int
    memory: int


def srun_ranks() -> Ranks:
    """Return the ranks of a job step of Slurm.

    Raises
    ------
    ClusterError
        If this process is not a task of a job step.
    """
    given = os.environ
    try:
        job, step = given["SLURM_JOB_ID"], given["SLURM_STEP_ID"]
        rank, size = int(given["SLURM_PROCID"]), int(given["SLURM_STEP_NUM_TASKS"])
        here = _tasks_on_node(given["SLURM_STEP_TASKS_PER_NODE"], int(given["SLURM_NODEID"]))
    except KeyError as missing:
        raise ClusterError(
            f"cluster.kind: srun: this process is not a task of a job step ({missing} is not in "
            "the environment); start it in an allocation, with srun --ntasks=4 gfrnn run ..."
        ) from None
    name = f"srun-{job}.{step}-{given.get('SLURM_RESTART_COUNT', 0)}"
    return Ranks(name, rank, size, min(MEMORY_LIMIT, _memory_of_job()) // here)


def _tasks_on_node(counts: str, node: int) -> int:
    """Return the number of tasks on a node from Slurm's short form, such as ``2(x3),1``."""
    every: list[int] = []
    for count, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", counts):
        every += [int(count)] * int(times or 1)
    return every[node]


def _memory_of_job() -> int:
    """Return the job's memory on this node in bytes.

    Slurm gives it in MiB; 0 is all memory of the node.
    """
    of_node = int(os.environ.get("SLURM_MEM_PER_NODE", 0))
    of_cores = int(os.environ.get("SLURM_MEM_PER_CPU", 0))
    cores = int(os.environ.get("SLURM_CPUS_ON_NODE", 1))
    return (of_node or of_cores * cores) * _MIB or MEMORY_LIMIT


def mpi_ranks() -> Ranks:
    """Return the ranks of the processes that ``mpirun`` or another MPI launcher started.

    Raises
    ------
    ClusterError
        If the package mpi4py or an MPI library is missing.
    """
    try:
        from mpi4py import MPI
    except ImportError:
        raise ClusterError(
            "cluster.kind: mpi needs the package mpi4py, which is not installed; install it "
            "with pip install mpi4py, or GFRNN with its extra mpi"
        ) from None
    except RuntimeError as error:
        raise ClusterError(
            f"cluster.kind: mpi: mpi4py finds no MPI library ({error}); load the module of the "
            "library that your mpirun belongs to"
        ) from None
    world = MPI.COMM_WORLD
    name = world.bcast(f"mpi-{secrets.token_hex(8)}")
    here = world.Split_type(MPI.COMM_TYPE_SHARED).Get_size()
    found = Ranks(name, world.Get_rank(), world.Get_size(), MEMORY_LIMIT // here)
    # MPI is not needed any more; without it processes may fork, start and end freely.
    MPI.Finalize()
    return found


_LAUNCHERS: dict[str, tuple[Callable[[], Ranks], str]] = {
    "srun": (srun_ranks, "srun --ntasks=4"),
    "mpi": (mpi_ranks, "mpirun -np 4"),
}


def find_ranks(kind: str) -> Ranks:
    """Return the ranks of the processes that were started together with this one.

    Raises
    ------
    ClusterError
        If there is no launcher, or it has started too few processes.
    """
    find, command = _LAUNCHERS[kind]
    found = find()
    if found.size < _LEAST:
        raise ClusterError(
            f"cluster.kind: {kind}: {found.size} processes are too few for a scheduler, a driver "
            f"and a worker; start {_LEAST} or more, e.g. {command} gfrnn run ..."
        )
    return found
