"""Roles of the processes that one launcher has started, by their rank."""

from __future__ import annotations

import os
from collections.abc import Mapping

SCHEDULER, DRIVER = 0, 1
"""Ranks of scheduler and driver; all other ranks are workers."""

# Variables with the rank and the number of processes: Slurm's, Open MPI's, and those of MPICH,
# Intel MPI and others that follow the process management interface.
_RANKS = (
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
)


def is_beside_driver(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether a launcher has started this process beside others, one of which is the driver.

    The answer is no for a process that runs alone, and where no launcher is known.
    """
    for rank, size in _RANKS:
        found = environment.get(rank, ""), environment.get(size, "")
        if all(each.isdigit() for each in found) and int(found[1]) > 1:
            return int(found[0]) != DRIVER
    return False
