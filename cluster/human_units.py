"""Durations and sizes in bytes as people read them."""

from __future__ import annotations

from dask.utils import format_bytes, format_time

_MINUTE = 60


def human_duration(seconds: float | None, decimals: int = 1) -> str:
    """Format seconds, e.g. ``41.6 s``, ``33m 48s`` or ``3hr 20m``; ``?`` where they are unknown.

    Parameters
    ----------
    seconds : float or None
    decimals : int
        Digits after the point below a minute; longer durations have none.
    """
    if seconds is None:
        return "?"
    if round(seconds, decimals) < _MINUTE:
        return f"{seconds:.{decimals}f} s"
    if seconds <= 10 * _MINUTE:  # for which Dask has seconds with two decimals
        return "{}m {}s".format(*divmod(round(seconds), _MINUTE))
    return format_time(seconds)


def human_bytes(count: float) -> str:
    """Format a number of bytes, e.g. ``1.50 GiB``; empty for zero."""
    return format_bytes(int(count)) if count else ""
