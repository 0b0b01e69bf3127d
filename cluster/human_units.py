"""Durations and sizes in bytes as people read them."""

from __future__ import annotations

from dask.utils import format_bytes, format_time


def human_duration(seconds: float | None, decimals: int = 1) -> str:
    """Format seconds, e.g. ``41.6 s``, ``33m 48s`` or ``3hr 20m``; ``?`` where they are unknown.

    Parameters
    ----------
    seconds : float or None
    decimals : int
        Digits after the point below ten minutes; longer durations have none.
    """
    if seconds is None:
        return "?"
    # Dask gives two decimals below ten minutes, and milliseconds below a second.
    return f"{seconds:.{decimals}f} s" if seconds < 600 else format_time(seconds)


def human_bytes(count: float) -> str:
    """Format a number of bytes, e.g. ``1.50 GiB``; empty for zero."""
    return format_bytes(int(count)) if count else ""
