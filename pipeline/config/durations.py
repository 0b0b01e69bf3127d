"""Durations as an experiment file has them: ``6h``, ``1d``."""

from __future__ import annotations

from typing import Annotated, Any

import pandas as pd
from pydantic import BeforeValidator, PlainSerializer

ONE_DAY = pd.Timedelta(days=1)


def to_duration(value: Any) -> pd.Timedelta:
    """Parse a duration such as ``6h`` or ``1d``.

    Raises
    ------
    ValueError
        If it is a number without a unit, is not a duration, or is not positive.
    """
    try:
        if isinstance(value, (int, float)):
            raise ValueError  # pandas takes a number without a unit for nanoseconds
        # pandas deprecates the lower-case d for days.
        duration = pd.Timedelta(value.replace("d", "D") if isinstance(value, str) else value)
    except ValueError:
        raise ValueError(f"{value!r} is not a duration; write for example 6h or 1d") from None
    if pd.isna(duration) or duration <= pd.Timedelta(0):
        raise ValueError(f"{value!r} is not a positive duration; write for example 6h or 1d")
    return duration


def format_duration(duration: pd.Timedelta) -> str:
    """Write a duration as an experiment file has it: ``1d``, ``6h``, ``30min``."""
    for unit, length in (("d", ONE_DAY), ("h", pd.Timedelta("1h")), ("min", pd.Timedelta("1min"))):
        if duration % length == pd.Timedelta(0):
            return f"{duration // length}{unit}"
    return f"{duration.total_seconds():g}s"


Duration = Annotated[pd.Timedelta, BeforeValidator(to_duration), PlainSerializer(format_duration)]
