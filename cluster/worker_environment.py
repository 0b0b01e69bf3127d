"""Environment variables of worker processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

# One BLAS thread: parallelism comes from tasks.
_BLAS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

# Dask has the C library give freed memory back at once, from 128 KiB on. Leaves take and free
# arrays of some MiB all the time, and to get these from the system again took half of the time that
# reading fields takes. So what is smaller than this stays with a worker, up to half of it unused.
_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 * 2**20), "MALLOC_TRIM_THRESHOLD_": str(16 * 2**20)}

# Python puts the current folder first on the import path of `python -c` and `python -m`, by which
# Dask and multiprocessing start processes. Files there, such as a user's own types.py or random.py,
# would take the place of the standard library's.
_SAFE_PATH = {"PYTHONSAFEPATH": "1"}

# The process of a worker would log with a traceback that it cannot start, or that its scheduler has
# ended; its nanny and the driver know both.
_QUIET = {"DASK_LOGGING__DISTRIBUTED": "critical"}

_ALL = _BLAS | _MEMORY | _SAFE_PATH


def nanny_settings() -> dict[str, str]:
    """Return the environment as settings of Dask, for workers that nannies start."""
    key = "distributed.nanny.pre-spawn-environ"
    return {f"{key}.{name}": value for name, value in (_ALL | _QUIET).items()}


def export_line() -> str:
    """Return the environment as a line of a shell script.

    Variables that are set there take precedence over :func:`nanny_settings`.
    """
    return "export " + " ".join(f"{name}={value}" for name, value in _ALL.items())


@contextmanager
def nanny_environment() -> Iterator[None]:
    """Prepare this process for nannies, and restore its environment when the block ends.

    Nannies set the variables of :func:`nanny_settings` in the process that they run in, whose later
    child processes would have them too. The import path is safe from the beginning of the block, as
    multiprocessing starts its resource tracker before a nanny sets anything.
    """
    before = {name: os.environ.get(name) for name in _ALL | _QUIET}
    os.environ.update(_SAFE_PATH)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
