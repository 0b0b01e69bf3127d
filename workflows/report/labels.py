"""Labels of channels, units, leads, numbers and periods in reports."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

from gfrnn.pipeline.config.durations import Duration
from gfrnn.pipeline.config.section import Period
from gfrnn.pipeline.data.grid import Channel
from gfrnn.pipeline.data.time_axis import format_time

_MISSING = "\N{EN DASH}"
_MINUS = "\N{MINUS SIGN}"
_NO_BREAK = "\N{NO-BREAK SPACE}"  # keeps a number and its unit on one line


def channel_label(channel: Channel) -> str:
    """Name a channel: ``geopotential 500 hPa``, ``mean sea level pressure``."""
    name = channel.variable.replace("_", " ")
    return name if channel.level is None else f"{name} {channel.level:g} hPa"


def heading(channel: Channel) -> str:
    """Name a channel with a capital first letter."""
    label = channel_label(channel)
    return label[:1].upper() + label[1:]


def unit_label(units: str) -> str:
    """Write units with superscripts: ``m² s⁻²`` for ``m2 s-2``."""
    raised = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    return re.sub(r"(?<=[A-Za-z])-?\d+\b", lambda power: power[0].translate(raised), units)


def lead_label(lead: np.timedelta64 | np.integer[Any]) -> str:
    """Write a lead as ``+3 d``, ``+6 h`` or ``+3 mo``; leads in months are integers in stores."""
    if not isinstance(lead, np.timedelta64) or np.datetime_data(lead)[0] == "M":
        return f"+{lead.astype(int)}{_NO_BREAK}mo"
    hours = lead / np.timedelta64(1, "h")
    return f"+{hours / 24:g}{_NO_BREAK}d" if hours % 24 == 0 else f"+{hours:g}{_NO_BREAK}h"


def time_label(stamp: np.datetime64, step: Duration) -> str:
    """Write a time to the minute, or the month alone of monthly data."""
    if step.monthly:
        return format_time(stamp, step)
    return f"{pd.Timestamp(stamp):%Y-%m-%d %H:%M} UTC"


def number(value: float, digits: int = 3) -> str:
    """Write a number with as many significant digits, or more before the decimal point."""
    if not np.isfinite(value):
        return _MISSING
    whole = abs(value) >= 10 ** (digits - 1)
    text = f"{value:.0f}" if whole else f"{value:z#.{digits}g}".rstrip(".")
    return text.replace("-", _MINUS)


def table_number(value: float) -> str:
    """Write a number of a table on the terminal, with four significant digits: ``10.10``."""
    return number(value, 4)


def fixed(value: float, decimals: int) -> str:
    """Write a number with so many decimals, e.g. ``0.950``."""
    # A number that rounds to zero has no sign.
    return f"{value:z.{decimals}f}".replace("-", _MINUS) if np.isfinite(value) else _MISSING


def percent(ours: float, theirs: float) -> str:
    """Write the relative difference of `ours` from `theirs`, e.g. ``-4.3 %``."""
    if not (np.isfinite(ours) and theirs > 0):
        return _MISSING
    return f"{signed(100 * (ours / theirs - 1))}{_NO_BREAK}%"


def signed(value: float, decimals: int = 1) -> str:
    """Write a number with its sign, e.g. ``-4.3``; one that rounds to zero has no sign."""
    if not np.isfinite(value):
        return _MISSING
    text = f"{value:+.{decimals}f}"
    return text.replace("-", _MINUS) if float(text) else text[1:]


def difference(ours: float, theirs: float) -> str:
    """Write the difference of `ours` from `theirs`, e.g. ``+0.05``."""
    return signed(ours - theirs, 2)


def relative(ours: float, theirs: float) -> str:
    """Write the relative difference of `ours` from `theirs` in words, e.g. ``4 % below``."""
    if not (np.isfinite(ours) and theirs > 0):
        return "not comparable with"
    change = 100 * (ours / theirs - 1)
    if abs(change) < 0.5:
        return f"within 0.5{_NO_BREAK}% of"
    return f"{abs(change):.0f}{_NO_BREAK}% {'below' if change < 0 else 'above'}"


def period_label(period: Period) -> str:
    """Write a period as ``2000-01-01 to 2007-12-31``."""
    return f"{period.start:%Y-%m-%d} to {period.end:%Y-%m-%d}"
