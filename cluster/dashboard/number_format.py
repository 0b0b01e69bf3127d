"""Numbers and durations as the page displays them."""

from __future__ import annotations

UNKNOWN = "\N{EN DASH}"
"""Displayed where a number is not known."""


def duration(seconds: float | None) -> str:
    """Return a duration in whole seconds or coarser, which :func:`dask.utils.format_time` does not.

    Examples are ``42 s``, ``3 min 05 s``, ``2 h 10 min``, ``3 d 04 h``.
    """
    if seconds is None:
        return UNKNOWN
    whole = round(seconds)
    for unit, part, size in (("d", "h", 86400), ("h", "min", 3600), ("min", "s", 60)):
        if whole >= size:
            rest = whole % size // {"h": 3600, "min": 60, "s": 1}[part]
            return f"{whole // size} {unit} {rest:02d} {part}"
    return f"{whole} s"


def amount(value: float | None, unit: str = "") -> str:
    """Return a number with its unit, with a thin space as the separator of thousands."""
    if unit == "s":
        return duration(value)
    if value is None:
        return UNKNOWN
    digits = 0 if value >= 100 or value == int(value) else 1
    text = f"{value:,.{digits}f}".replace(",", "\N{THIN SPACE}")
    return f"{text} {unit}".rstrip()
