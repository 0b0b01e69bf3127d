"""Lengths of time as an experiment file has them: fixed (``6h``, ``1d``) or in months (``3mo``)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic_core import core_schema

Array = NDArray[Any]

ONE_DAY = pd.Timedelta(days=1)
_EXAMPLES = "write for example 6h, 1d or, for monthly data, 3mo"
_MOST_MONTHS = 12 * 290  # about the range of times in nanoseconds
_MONTHS = re.compile(r"(\d+(?:\.\d+)?)\s*(?:mo|months?)")


def to_timedelta(value: Any) -> pd.Timedelta:
    """Parse a fixed length of time such as ``6h`` or ``1d``.

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
        raise ValueError(f"{value!r} is not a duration; {_EXAMPLES}") from None
    if pd.isna(duration) or duration <= pd.Timedelta(0):
        raise ValueError(f"{value!r} is not a positive duration; {_EXAMPLES}")
    return duration


def month_middles(months: Array) -> Array:
    """Return the middle of calendar months: datetime64[ns] of datetime64[M].

    It is halfway between the beginnings of the month and of the next: the 16th at 12:00 for months
    of 31 days.
    """
    first, last = (month.astype("datetime64[ns]") for month in (months, months + 1))
    return np.asarray(first + (last - first) // 2)


@total_ordering
@dataclass(frozen=True, eq=False)
class Duration:
    """A length of time: either fixed, or a whole number of calendar months.

    It is the step of a time axis, a lead or a horizon. All arithmetic of times and steps is here,
    so that nothing else depends on the kind. Times of monthly data are middles of months.

    Attributes
    ----------
    length : numpy.timedelta64
        Unit ns for a fixed length, M for calendar months.
    """

    length: np.timedelta64

    @classmethod
    def parse(cls, value: Any) -> Duration:
        """Parse ``6h``, ``1d`` or ``3mo``.

        Raises
        ------
        ValueError
            If it is no positive duration, or no whole number of months.
        """
        if isinstance(value, Duration):
            return value
        found = _MONTHS.fullmatch(value.strip()) if isinstance(value, str) else None
        if found is None:
            return cls(to_timedelta(value).to_timedelta64().astype("timedelta64[ns]"))
        months = float(found[1])
        if months != round(months) or not 1 <= months <= _MOST_MONTHS:
            raise ValueError(
                f"{value!r} is not a whole number of calendar months from 1 to {_MOST_MONTHS}; "
                f"{_EXAMPLES}"
            )
        return cls(np.timedelta64(round(months), "M"))

    @classmethod
    def __get_pydantic_core_schema__(cls, *_: Any) -> core_schema.CoreSchema:
        """Let sections of the experiment file parse and write durations."""
        return core_schema.no_info_plain_validator_function(
            cls.parse, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )

    @property
    def monthly(self) -> bool:
        """Whether it is a number of calendar months."""
        return np.datetime_data(self.length)[0] == "M"

    def __str__(self) -> str:
        """Write it as an experiment file has it: ``1d``, ``6h``, ``30min``, ``3mo``."""
        if self.monthly:
            return f"{self.length.astype(int)}mo"
        duration = pd.Timedelta(self.length)
        for unit, length in (("d", "1D"), ("h", "1h"), ("min", "1min"), ("s", "1s"), ("ms", "1ms")):
            if duration % pd.Timedelta(length) == pd.Timedelta(0):
                return f"{duration // pd.Timedelta(length)}{unit}"
        return f"{duration.value}ns"

    def __mul__(self, count: int) -> Duration:
        """Return a multiple of it."""
        return Duration(self.length * int(count))

    def __eq__(self, other: object) -> bool:
        """Compare with another; numpy cannot compare months with a fixed length."""
        return isinstance(other, Duration) and self._key == other._key

    def __hash__(self) -> int:
        """Return the same hash for equal durations."""
        return hash(self._key)

    @property
    def _key(self) -> tuple[bool, int]:
        unit = "M" if self.monthly else "ns"
        return self.monthly, int(self.length.astype(f"timedelta64[{unit}]").astype(int))

    def __lt__(self, other: Duration) -> bool:
        """Order by length; a month counts as the twelfth part of a mean Gregorian year."""
        return self._days < other._days

    @property
    def _days(self) -> float:
        if self.monthly:
            return float(self.length.astype(int) * 365.2425 / 12)
        return float(self.length / np.timedelta64(1, "D"))

    def after(self, time: Any, count: Any = 1) -> Any:
        """Return the times that are ``count`` durations after others, elementwise.

        Parameters
        ----------
        time : datetime64 or ndarray of datetime64
        count : int or ndarray of int
        """
        if self.monthly:
            return month_middles(np.asarray(time).astype("datetime64[M]") + self.length * count)
        return time + self.length * count

    def bounds(self, time: Array) -> Array:
        """Return beginning and end of the steps that begin at times: shape (..., 2).

        The time of a step of months is the middle of its first month.
        """
        begin = time.astype("datetime64[M]") if self.monthly else time
        ends = np.stack([begin, begin + self.length], axis=-1)
        return np.asarray(ends.astype("datetime64[ns]"))

    def count(self, first: Any, time: Any) -> Any:
        """Return the whole durations from one time to others, rounded down: ndarray of int."""
        if self.monthly:
            first, time = (np.asarray(each).astype("datetime64[M]") for each in (first, time))
        return (time - first) // self.length

    def differences(self, time: Array) -> Array:
        """Return the differences of successive times, in the unit of ``length``."""
        return np.diff(time.astype("datetime64[M]") if self.monthly else time)

    def ratio(self, other: Duration) -> float | None:
        """Return how many of another it contains; None if only one is in calendar months."""
        if self.monthly != other.monthly:
            return None
        return float(self.length / other.length)
