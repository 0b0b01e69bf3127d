"""Time axes: decoding and formatting of times, regular step, segments without gap, subsampling."""

from __future__ import annotations

import itertools
import re
import warnings

import numpy as np
import pandas as pd
import xarray as xr

from gfrnn.pipeline.config.durations import Duration, month_middles
from gfrnn.pipeline.errors import DataError

Times = np.ndarray  # datetime64[ns], shape (n,)

_CALENDARS = {"standard", "gregorian", "proleptic_gregorian", ""}
# Usual steps, in seconds, the longest first.
_STEPS = (86400, 43200, 21600, 10800, 7200, 3600, 1800, 900, 600, 300, 60)
_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}  # first letters of units of time, in seconds


def decode_times(raw: xr.Variable, name: str, where: str) -> Times:
    """Decode the times of a file, rounded to whole seconds: shape (n,).

    Times in single precision are rounded to whole days, hours or minutes, the longest of which
    all of them are multiples within that precision.

    Raises
    ------
    DataError
        If the coordinate has no unit, a calendar without real dates, missing entries, or a
        precision in which different times are the same number.
    """
    if np.issubdtype(raw.dtype, np.datetime64):
        times = np.atleast_1d(raw.values).astype("datetime64[ns]")
    else:
        times = _from_numbers(raw, name, where)
    if np.isnat(times).any():
        raise DataError(
            f"{where}: {np.isnat(times).sum()} of {times.size} entries of the time coordinate "
            f"{name} are missing (NaT), first entry {int(np.argmax(np.isnat(times)))}; drop these "
            "times, for example with xarray's isel"
        )
    if raw.dtype == np.float32:
        return _without_rounding_errors(times, raw, name, where)
    # Dates stored as days in floating point have errors of some microseconds.
    return _rounded(times, 1)


def _from_numbers(raw: xr.Variable, name: str, where: str) -> Times:
    """Decode times that are numbers since a date, NaT where one is missing."""
    units, calendar = str(raw.attrs.get("units", "")), str(raw.attrs.get("calendar", "")).lower()
    units = re.sub(r"\bsince\b", "since", units, flags=re.IGNORECASE)
    if "since" not in units.split():
        raise DataError(
            f"{where}: time coordinate {name} has the unit {units!r}, which gives no dates; it "
            "needs units such as 'hours since 1996-01-05'; set them, for example with ncatted or "
            "xarray"
        )
    if calendar not in _CALENDARS:
        raise DataError(
            f"{where}: time coordinate {name} has the calendar {calendar!r}; allowed are "
            "calendars of real dates (standard, gregorian, proleptic_gregorian); convert it, for "
            "example with xarray's convert_calendar('standard')"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", xr.SerializationWarning)  # spellings such as year 1-1-1
            raw = raw.load().copy(deep=False)
            raw.attrs = {**raw.attrs, "units": units}
            decoded = xr.decode_cf(xr.Dataset({}, {name: raw}), decode_timedelta=False)[name]
        if not np.issubdtype(decoded.dtype, np.datetime64):
            raise ValueError(f"dates outside of the years 1678 to 2262 ({decoded.values.flat[0]})")
    except (ValueError, OverflowError) as error:
        raise DataError(
            f"{where}: time coordinate {name} ({units}) cannot be decoded: {error}; correct its "
            "values or units"
        ) from None
    return np.atleast_1d(decoded.values).astype("datetime64[ns]")


def _without_rounding_errors(times: Times, raw: xr.Variable, name: str, where: str) -> Times:
    """Round times that are stored as float32, in which hours are off by minutes or more."""
    unit = _UNITS.get(str(raw.attrs.get("units", "")).strip().lower()[:1], 1)
    apart = float(np.spacing(np.abs(raw.values).max(initial=0))) * unit  # s, of numbers
    distinct = np.unique(times)
    usual = np.median(np.diff(distinct)) if distinct.size > 1 else np.timedelta64(0, "ns")
    if distinct.size < times.size and usual / np.timedelta64(1, "s") <= 2 * apart:
        raise DataError(
            f"{where}: the time coordinate {name} is in single precision, of which numbers are "
            f"{apart / 60:.0f} minutes apart here, so that different times are the same number; "
            "write it in double precision or as integers"
        )
    error = np.timedelta64(int(0.51 * apart * 1e9) + 1, "ns")
    for step in (step for step in _STEPS if step > 2 * apart):
        rounded = _rounded(times, step)
        if np.abs(rounded - times).max(initial=np.timedelta64(0)) <= error:
            return rounded
    return _rounded(times, 1)


def _rounded(times: Times, seconds: int) -> Times:
    """Round times to multiples of some seconds since midnight."""
    step = np.timedelta64(seconds * 10**9, "ns").astype(np.int64)
    numbers = times.astype(np.int64)
    return ((numbers + step // 2) // step * step).astype("datetime64[ns]")


def format_minute(stamp: np.datetime64) -> str:
    """Return a time in ISO 8601 to the minute, such as ``2001-01-01T06:00``."""
    return str(np.datetime_as_string(stamp, "m"))


def format_time(stamp: np.datetime64, step: Duration) -> str:
    """Return a time as text: to the minute, or the month alone where the step is in months."""
    return str(np.datetime_as_string(stamp, "M")) if step.monthly else format_minute(stamp)


def in_months(time: Times) -> bool:
    """Check whether all times are middles of months, as those of monthly data are."""
    return bool(time.size) and np.array_equal(time, month_middles(time.astype("datetime64[M]")))


def covered(time: Times) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Return the beginning of the first day, or month, that times cover and the end of the last."""
    unit = "M" if in_months(time) else "D"
    first, last = (stamp.astype(f"datetime64[{unit}]") for stamp in time[[0, -1]])
    return pd.Timestamp(first), pd.Timestamp(last + 1)


def step_of(time: Times) -> Duration:
    """Return the regular step: the most common difference, the shortest of equally common ones.

    It is in calendar months if all times are middles of months.

    Raises
    ------
    DataError
        If there are fewer than two times.
    """
    if time.size < 2:
        raise DataError(
            f"the data have {time.size} time, which is too few to determine the time step; give at "
            "least two"
        )
    months = in_months(time)
    steps, counts = np.unique(
        np.diff(time.astype("datetime64[M]") if months else time), return_counts=True
    )
    return Duration(steps[np.argmax(counts)])


def segments(time: Times, step: Duration | None = None) -> list[slice]:
    """Split times into the longest segments without a gap or an irregular step.

    Parameters
    ----------
    time
        datetime64, shape (n,), increasing.
    step
        Regular step; by default ``step_of(time)``.
    """
    if time.size == 0:
        return []
    if time.size == 1:
        return [slice(0, 1)]
    step = step_of(time) if step is None else step
    edges = np.nonzero(step.differences(time) != step.length)[0] + 1
    bounds = [0, *edges.tolist(), time.size]
    return [slice(a, b) for a, b in itertools.pairwise(bounds)]


def origin_of_steps(first: np.datetime64, step: Duration) -> np.datetime64:
    """Return what multiples of a step are counted from: midnight UTC of a day, or January."""
    return first.astype(f"datetime64[{'Y' if step.monthly else 'D'}]")


def keep_step(time: Times, step: Duration, origin: np.datetime64 | None = None) -> np.ndarray:
    """Select times at multiples of the step: bool, shape (n,).

    Multiples of a fixed step are counted from midnight UTC, those of months from January. If no
    time is one (daily means at 12 UTC, times at half hours), they are counted from the first time.

    Parameters
    ----------
    time : ndarray of datetime64, shape (n,)
    step : Duration
    origin : datetime64, optional
        See :func:`origin_of_steps`; by default that of the first time.

    Raises
    ------
    DataError
        If the step is not a multiple of the step of the data.
    """
    if time.size < 2:
        return np.ones(time.size, bool)
    native = step_of(time)
    ratio = step.ratio(native)
    if ratio is None:
        raise DataError(_other_kind(step, native))
    if ratio != round(ratio):
        raise DataError(
            f"data.step: {step} is not a multiple of the step of the data, {native}; choose a "
            "multiple, or leave the key out"
        )
    if origin is None:
        origin = origin_of_steps(time[0], step)
    since = time.astype("datetime64[M]") if step.monthly else time
    keep = (since - origin) % step.length == np.timedelta64(0)
    return np.asarray(keep if keep.any() else (since - since[0]) % step.length == np.timedelta64(0))


def _other_kind(step: Duration, native: Duration) -> str:
    """Describe a step in months for data of a fixed step, or the reverse."""
    if native.monthly:
        return (
            f"data.step: {step} is a fixed length, but the step of the data is {native}, in "
            f"calendar months; give a multiple of {native}, or leave the key out"
        )
    return (
        f"data.step: {step} is in calendar months, but the step of the data is {native}; set "
        "data.aggregate: mean for means of the months, or leave the key out"
    )
