"""Launchers of processes, such as srun and mpirun, by the environment that they set."""

from __future__ import annotations

import os
from collections.abc import Mapping

# Variables with the rank and the number of processes: Slurm's, Open MPI's, and those of MPICH,
# Intel MPI and others that follow the process management interface.
_LAUNCHERS = (
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
)


def is_one_of_several(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether a launcher has started this process and others with it."""
    return any(
        environment.get(rank, "").isdigit()
        and environment.get(size, "").isdigit()
        and int(environment[size]) > 1
        for rank, size in _LAUNCHERS
    )
