"""What worker processes find in their environment."""

from __future__ import annotations

_KEPT = str(128 * 2**20)

# Dask has the C library give freed memory back at once, from 128 KiB on. Leaves take and free
# arrays of some MiB all the time, and to get these from the system again took half of the time that
# reading fields takes. So a worker keeps up to this much.
MEMORY = {
    f"distributed.nanny.pre-spawn-environ.{name}": _KEPT
    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")
}
"""As a setting of Dask."""
