"""Times of monthly data: find them in the files, and set them to the middle of the month."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from gfrnn.pipeline.config.durations import Duration, month_middles
from gfrnn.pipeline.data.combine import group_variables
from gfrnn.pipeline.data.time_axis import format_minute, step_of
from gfrnn.pipeline.data.variables.file_variables import FileVariable
from gfrnn.pipeline.errors import DataError

# Files stamp a month at its first or last day, or in the middle: the 14th of February at 12:00 to
# the 16th of January at 12:00, with or without the hour.
_MIDDLES = range(14, 18)
_LEAST = 3  # times that show by themselves whether a file is monthly


def with_middles_of_months(
    variables: Sequence[FileVariable], step: Duration | None
) -> list[FileVariable]:
    """Return the variables with times at the middle of their month, if the data are monthly.

    Data are monthly if each calendar month has at most one time, and the times are not evenly
    spaced or all of the same day of the month. A file of fewer than three times is judged together
    with the other files of the variable.

    Parameters
    ----------
    variables : sequence of FileVariable
    step : Duration or None
        ``data.step``; in months, it makes times monthly of which there are too few to tell.

    Raises
    ------
    DataError
        If some files are monthly and others not, or the times of a variable are not all at the
        first, the middle, the last or the same day of the month.
    """
    groups = list(group_variables(list(variables)).values())
    kinds: dict[bool, FileVariable] = {}
    for parts in groups:
        long = [part for part in parts if part.times.size >= _LEAST]
        for part in long:
            kinds.setdefault(_is_monthly(part.times), part)
        joined = _joined(parts)
        if not long and joined.size > 1:
            kinds.setdefault(_is_monthly(joined), parts[0])
    if len(kinds) == 2:
        raise DataError(
            f"{kinds[True].file.path} has monthly times, but {kinds[False].file.path} has not "
            f"({_spacing(kinds[False].times)}); give files of one step, for example monthly means "
            "of the latter"
        )
    assumed = not kinds and step is not None and step.monthly
    if True not in kinds and not assumed:
        return list(variables)
    for parts in groups:
        _check_convention(_joined(parts), parts[0])
    return [
        replace(part, times=month_middles(part.times.astype("datetime64[M]"))) for part in variables
    ]


def _joined(parts: Sequence[FileVariable]) -> np.ndarray:
    return np.unique(np.concatenate([part.times for part in parts]))


def _is_monthly(time: np.ndarray) -> bool:
    """Check whether increasing times (datetime64, at least two) are those of monthly data."""
    apart = np.diff(time.astype("datetime64[M]")).astype(int)
    if not (apart > 0).all():
        return False
    if len(set(pd.DatetimeIndex(time).day)) == 1:
        return True
    even = len(np.unique(np.diff(time))) == 1 and time.size > _LEAST
    counts = np.bincount(apart)
    return not even and int(counts.argmax()) == 1


def _check_convention(time: np.ndarray, part: FileVariable) -> None:
    """Check that all times are at one place of the month: the first, middle, last or same day."""
    stamps = pd.DatetimeIndex(time)
    if len(set(stamps.day)) == 1:
        return
    places = np.where(stamps.is_month_end, "the last day", "another day").astype(object)
    places[stamps.day == 1] = "the first day"
    places[np.isin(stamps.day, _MIDDLES)] = "the middle"
    names, counts = np.unique(places, return_counts=True)
    usual = names[counts.argmax()]
    other = np.flatnonzero(places != usual)
    if usual == "another day":
        other = np.flatnonzero(stamps.day != stamps.day[0])
    if len(other):
        first = int(other[0])
        raise DataError(
            f"{part.file.path}: {part.raw_name} has monthly times, most at {usual} of the month, "
            f"but {format_minute(time[first])} at {places[first]}; state all months at the first, "
            "the middle or the last day"
        )


def _spacing(time: np.ndarray) -> str:
    return f"step {step_of(time)}" if time.size > 1 else "one time"
