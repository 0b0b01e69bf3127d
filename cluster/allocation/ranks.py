"""Which process of one allocation this is, as the launcher of them all says."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from distributed.system import MEMORY_LIMIT

from gfrnn.cluster.errors import ClusterError

SCHEDULER, DRIVER = 0, 1
"""Ranks that have a part of their own; all others are workers."""

_LEAST = 3

_MIB = 2**20


@dataclass(frozen=True)
class Ranks:
    """The processes that one launcher has started together.

    Attributes
    ----------
    name : str
        Of this start, the same for all of them; no other start has it.
    rank : int
        Of this process.
    size : int
        Processes in all.
    memory : int
        Bytes that this process may have: an equal share of what the node has for all of them.
    """

    name: str
    rank: int
    size: int
    memory: int


def of_srun() -> Ranks:
    """The tasks of a job step of Slurm.

    Raises
    ------
    ClusterError
        If this process is none.
    """
    given = os.environ
    try:
        job, step = given["SLURM_JOB_ID"], given["SLURM_STEP_ID"]
        rank, size = int(given["SLURM_PROCID"]), int(given["SLURM_STEP_NUM_TASKS"])
        here = _tasks_on_node(given["SLURM_STEP_TASKS_PER_NODE"], int(given["SLURM_NODEID"]))
    except KeyError as missing:
        raise ClusterError(
            f"cluster.kind: srun: this is no task of a job step ({missing} is not in the "
            "environment); start it in an allocation, with srun --ntasks=4 gfrnn run ..."
        ) from None
    name = f"srun-{job}.{step}-{given.get('SLURM_RESTART_COUNT', 0)}"
    return Ranks(name, rank, size, min(MEMORY_LIMIT, _memory_of_job()) // here)


def _tasks_on_node(counts: str, node: int) -> int:
    """From Slurm's short form, such as ``2(x3),1``."""
    every: list[int] = []
    for count, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", counts):
        every += [int(count)] * int(times or 1)
    return every[node]


def _memory_of_job() -> int:
    """Bytes that the job may have on this node; Slurm counts in MiB, and 0 is all there are."""
    of_node = int(os.environ.get("SLURM_MEM_PER_NODE", 0))
    of_cores = int(os.environ.get("SLURM_MEM_PER_CPU", 0))
    cores = int(os.environ.get("SLURM_CPUS_ON_NODE", 1))
    return (of_node or of_cores * cores) * _MIB or MEMORY_LIMIT


def of_mpi() -> Ranks:
    """The processes of ``mpirun``, or of what else starts programs of MPI.

    Raises
    ------
    ClusterError
        If there is no MPI.
    """
    try:
        from mpi4py import MPI
    except ImportError:
        raise ClusterError(
            "cluster.kind: mpi needs the package mpi4py; pip install 'gfrnn[mpi]'"
        ) from None
    except RuntimeError as error:
        raise ClusterError(
            f"cluster.kind: mpi: mpi4py finds no MPI library ({error}); load the module of the "
            "one whose mpirun you use"
        ) from None
    world = MPI.COMM_WORLD
    name = world.bcast(f"mpi-{secrets.token_hex(8)}")
    here = world.Split_type(MPI.COMM_TYPE_SHARED).Get_size()
    found = Ranks(name, world.Get_rank(), world.Get_size(), MEMORY_LIMIT // here)
    # It was for this word alone. From here on processes may fork, and come and go.
    MPI.Finalize()
    return found


_LAUNCHERS: dict[str, tuple[Callable[[], Ranks], str]] = {
    "srun": (of_srun, "srun --ntasks=4"),
    "mpi": (of_mpi, "mpirun -np 4"),
}


def find_ranks(kind: str) -> Ranks:
    """The processes that were started together with this one.

    Raises
    ------
    ClusterError
        If there is no launcher, or it has started too few.
    """
    find, command = _LAUNCHERS[kind]
    found = find()
    if found.size < _LEAST:
        raise ClusterError(
            f"cluster.kind: {kind}: {found.size} processes are too few for a scheduler, a driver "
            f"and a worker; start {_LEAST} or more, e.g. {command} gfrnn run ..."
        )
    return found
