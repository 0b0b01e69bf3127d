"""Memory that worker processes need beyond the limit that Dask sets for them."""

from __future__ import annotations

_REQUEST = 112
"""Requested memory in per cent of the workers' memory limits. The rest is for nannies, buffers, and
growth between two of the nannies' checks of memory, ten of which happen in a second."""

LEAST_MEMORY = 256 * 2**20
"""Least memory limit of a worker in bytes. Its process takes about 150 MiB before any task, and
Dask pauses it at 80 % of the limit, without an error and for as long as it stays there."""


def check_worker_memory(limit: int, given: str) -> None:
    """Check that the process of a worker leaves some of a memory limit to its tasks.

    Parameters
    ----------
    limit : int
        Memory limit in bytes.
    given : str
        The limit as it was written, for the message.

    Raises
    ------
    ValueError
        If it does not.
    """
    if limit < LEAST_MEMORY:
        raise ValueError(
            f"memory: {given} is too little: the process of a worker takes most of it before any "
            f"task; give {LEAST_MEMORY // 2**20}MiB or more"
        )


def requested_memory(limit: int) -> int:
    """Return the bytes to request for workers whose memory limits add up to `limit` bytes."""
    return -(-_REQUEST * limit // 100)


def memory_limit(available: int) -> int:
    """Return the largest memory limit in bytes of a worker that has `available` bytes."""
    return available * 100 // _REQUEST
