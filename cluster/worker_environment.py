"""What worker processes find in their environment."""

from __future__ import annotations

# Parallelism comes from tasks.
_BLAS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

# Dask has the C library give freed memory back at once, from 128 KiB on. Leaves take and free
# arrays of some MiB all the time, and to get these from the system again took half of the time that
# reading fields takes. So what is smaller than this stays with a worker, up to half of it unused.
_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 * 2**20), "MALLOC_TRIM_THRESHOLD_": str(16 * 2**20)}


def for_nannies() -> dict[str, str]:
    """As settings of Dask, for workers that processes with these settings start."""
    key = "distributed.nanny.pre-spawn-environ"
    return {f"{key}.{name}": value for name, value in (_BLAS | _MEMORY).items()}


def exported() -> str:
    """As a line of a shell script. What is set there counts more than Dask's own settings."""
    return "export " + " ".join(f"{name}={value}" for name, value in (_BLAS | _MEMORY).items())
