"""Memory that worker processes need beyond the limit that Dask sets for them."""

from __future__ import annotations

_REQUEST = 112
"""Requested memory in per cent of the workers' memory limits. The rest is for nannies, buffers, and
growth between two of the nannies' checks of memory, ten of which happen in a second."""


def requested_memory(limit: int) -> int:
    """Return the bytes to request for workers whose memory limits add up to `limit` bytes."""
    return -(-_REQUEST * limit // 100)


def memory_limit(available: int) -> int:
    """Return the largest memory limit in bytes of a worker that has `available` bytes."""
    return available * 100 // _REQUEST
