"""How a report writes names, leads and numbers."""

from __future__ import annotations

import re

import numpy as np

from gfrnn.pipeline.config.section import Period
from gfrnn.pipeline.data.grid import Channel

_NOTHING = "\N{EN DASH}"
_FIXED = "\N{NO-BREAK SPACE}"  # a number and its unit stay on one line


def channel_label(channel: Channel) -> str:
    """``geopotential 500 hPa``, ``mean sea level pressure``."""
    name = channel.variable.replace("_", " ")
    return name if channel.level is None else f"{name} {channel.level:g} hPa"


def heading(channel: Channel) -> str:
    """The label with a capital."""
    label = channel_label(channel)
    return label[:1].upper() + label[1:]


def unit_label(units: str) -> str:
    """``m² s⁻²`` for ``m2 s-2``."""
    raised = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    return re.sub(r"(?<=[A-Za-z])-?\d+\b", lambda power: power[0].translate(raised), units)


def lead_label(lead: np.timedelta64) -> str:
    """``+3 d``, ``+6 h``."""
    hours = lead / np.timedelta64(1, "h")
    return f"+{hours / 24:g}{_FIXED}d" if hours % 24 == 0 else f"+{hours:g}{_FIXED}h"


def number(value: float) -> str:
    """Three digits, and all of those before the point."""
    if not np.isfinite(value):
        return _NOTHING
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:#.3g}".rstrip(".")


def percent(ours: float, theirs: float) -> str:
    """``-4.3 %``: how much smaller or larger."""
    if not (np.isfinite(ours) and theirs > 0):
        return _NOTHING
    return f"{100 * (ours / theirs - 1):+.1f}{_FIXED}%".replace("-", "\N{MINUS SIGN}")


def relative(ours: float, theirs: float) -> str:
    """The same in words: ``4 % below``."""
    if not (np.isfinite(ours) and theirs > 0):
        return "not comparable with"
    change = 100 * (ours / theirs - 1)
    if abs(change) < 0.5:
        return f"within 0.5{_FIXED}% of"
    return f"{abs(change):.0f}{_FIXED}% {'below' if change < 0 else 'above'}"


def period_label(period: Period) -> str:
    """``2000-01-01 to 2007-12-31``."""
    return f"{period.start:%Y-%m-%d} to {period.end:%Y-%m-%d}"


def duration_label(seconds: float) -> str:
    """``41.6 s``, ``2 min 05 s``, ``3 h 20 min``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"
