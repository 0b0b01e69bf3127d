"""Times as batch systems and people write them."""

from __future__ import annotations

import re

import pandas as pd

_CLOCK = re.compile(r"(?:(?P<days>\d+)-)?(?P<hours>\d+):(?P<minutes>[0-5]\d):(?P<seconds>[0-5]\d)")


def seconds_of(value: str | int) -> int:
    """Seconds of ``2h``, ``90 min``, ``02:00:00`` or ``1-12:00:00``.

    Raises
    ------
    ValueError
        If it is nothing of that, or may be read in two ways.
    """
    if isinstance(value, int):
        # YAML reads an unquoted 12:00:00 as a number of seconds, and so 12:00 as 720: twelve
        # hours for some batch systems, twelve minutes for others.
        if value < 3600:
            raise ValueError(f"{value} may mean several times; write for example 12min or 12h")
        return value
    if match := _CLOCK.fullmatch(value.strip()):
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    try:
        if value.strip()[-1:].isdigit():  # no unit
            raise ValueError
        return round(pd.Timedelta(value).total_seconds())
    except ValueError:
        raise ValueError(
            f"{value!r} is not a time; write for example 2h, 90min or 02:00:00"
        ) from None


def clock(seconds: int) -> str:
    """``HH:MM:SS``, as most batch systems take it."""
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def spoken(seconds: float) -> str:
    """As a sentence has it: ``40 s``, ``30 min`` or ``1.5 h``."""
    for unit, one in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * one or seconds == one:
            return f"{seconds / one:.3g} {unit}"
    return f"{seconds:.3g} s"
