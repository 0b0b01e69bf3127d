"""Numbers as people read them at a glance."""

from __future__ import annotations

UNKNOWN = "\N{EN DASH}"
"""Stands where a number is not known."""


def duration(seconds: float | None) -> str:
    """Such as ``42 s``, ``3 min 05 s``, ``2 h 10 min``, ``3 d 04 h``."""
    if seconds is None:
        return UNKNOWN
    whole = round(seconds)
    for unit, part, size in (("d", "h", 86400), ("h", "min", 3600), ("min", "s", 60)):
        if whole >= size:
            rest = whole % size // {"h": 3600, "min": 60, "s": 1}[part]
            return f"{whole // size} {unit} {rest:02d} {part}"
    return f"{whole} s"


def amount(value: float | None, unit: str = "") -> str:
    """A number with its unit; large ones with a thin space every three digits."""
    if unit == "s":
        return duration(value)
    if value is None:
        return UNKNOWN
    digits = 0 if value >= 100 or value == int(value) else 1
    text = f"{value:,.{digits}f}".replace(",", "\N{THIN SPACE}")
    return f"{text} {unit}".rstrip()


def gibibytes(count: float) -> str:
    """Such as ``1.25 GiB`` or ``310 MiB``."""
    if count >= 2**30:
        return f"{count / 2**30:.2f} GiB"
    return f"{count / 2**20:.0f} MiB"
