"""Time limits of batch jobs, as people and batch systems write them."""

from __future__ import annotations

import re

_CLOCK = re.compile(r"(?:(?:(?:(\d+)[-:])?(\d+):)?(\d+):)?(\d+)")
# Versions of pandas from 4 on know days as D alone.
_DAYS = re.compile(r"(?<![a-z])d(?![a-z])")
_WHOLE_CLOCK = re.compile(r"(?:\d+-)?\d+:[0-5]\d:[0-5]\d")


def parse_walltime(value: str | int) -> int:
    """Return the seconds of ``2h``, ``90 min``, ``02:00:00`` or ``1-12:00:00``.

    Raises
    ------
    ValueError
        If the value is not a duration, or is ambiguous, as every number without a unit is.
    """
    if isinstance(value, int):
        # For 12:00 YAML gives 720 and for 72:00 4320, which batch systems take for minutes or for
        # hours; what was written is not known any more.
        raise ValueError(
            f"{value} is ambiguous without a unit, and may be what YAML makes of a time without "
            "quotes, such as 72:00; write for example 12min, 72h or '72:00:00' in quotes"
        )
    import pandas as pd  # 35 MiB, which the program that starts a job's workers does not need

    text = value.strip()
    if _WHOLE_CLOCK.fullmatch(text) and (seconds := parse_clock(text)) is not None:
        return seconds
    try:
        if text[-1:].isdigit():  # no unit
            raise ValueError
        return round(pd.Timedelta(_DAYS.sub("D", text)).total_seconds())
    except ValueError:
        raise ValueError(
            f"{value!r} is not a duration; write for example 2h, 90min or 02:00:00"
        ) from None


def parse_clock(text: str) -> int | None:
    """Return the seconds of ``[[[D-]H:]M:]S``, with ``-`` or ``:`` after days; None for others."""
    if not (match := _CLOCK.fullmatch(text.strip())):
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def format_clock(seconds: int) -> str:
    """Return ``HH:MM:SS``, as most batch systems take a walltime."""
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
