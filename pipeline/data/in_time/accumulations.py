"""Recognise sums over the time before a stamp, and the time after which a sum begins anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.config.durations import Duration
from gfrnn.pipeline.data.in_time.growth import find_period, negative_share
from gfrnn.pipeline.data.variables.file_variables import FileVariable
from gfrnn.pipeline.data.variables.names import QUANTITIES
from gfrnn.pipeline.errors import DataError

Array = NDArray[Any]

# Amounts of ERA5 whose standard names do not say that they are sums.
_AMOUNTS = {
    "total_precipitation",
    "convective_precipitation",
    "large_scale_precipitation",
    "runoff",
}
_HOUR, _DAY = Duration.parse("1h"), Duration.parse("1d")
# Share of negative sums that condensation and rounding may cause.
_MOST_NEGATIVE = 0.01
# Values of GRIB over the time before a stamp; others are those of the stamp.
_BEFORE = {"accum", "avg", "max", "min"}


@dataclass(frozen=True)
class Sums:
    """Knowledge of values that are sums over time.

    Attributes
    ----------
    period : Duration
        Time after which the sum begins anew: the step of the stamps, or more for values that grow
        from stamp to stamp, counted from midnight UTC.
    doubt : str
        Reason why the period is not certain, empty if it is.
    may_grow : bool
        Whether the doubt is that values may grow from stamp to stamp.
    """

    period: Duration
    doubt: str = ""
    may_grow: bool = False

    def fresh(self, time: Array, native: Duration) -> Array | None:
        """Return which values are those of their own step alone; None if all are.

        Parameters
        ----------
        time : ndarray of datetime64, shape (stored times,)
        native : Duration
            Step of the stamps.
        """
        if self.period == native:
            return None
        before = (time - native.length).astype("datetime64[ns]")
        since = before - before.astype("datetime64[D]")
        return np.asarray(since % self.period.length == np.timedelta64(0))


def is_accumulated(field: FileVariable) -> bool:
    """Return whether values are sums over the time before their stamp.

    The key ``accumulated`` of the source decides, then attributes of the file (``cell_methods``,
    ``GRIB_stepType``), then the name.
    """
    if field.accumulated is not None:
        return field.accumulated is not False
    attrs = field.file.open()[field.raw_name].attrs
    if step_type := str(attrs.get("GRIB_stepType", "")):
        return step_type == "accum"
    if methods := str(attrs.get("cell_methods", "")):
        return "sum" in methods.split()
    quantity = QUANTITIES.get(field.variable)
    stated = str(quantity.standard_name or "") if quantity else ""
    return field.variable in _AMOUNTS or stated.startswith("integral_wrt_time")


def belongs_before(field: FileVariable, native: Duration) -> bool:
    """Return whether values belong to the time before their stamp.

    Sums and means of forecasts have the end of their time as a stamp. Those of whole days or months
    have a date, which is that of their time.
    """
    if native.monthly or native >= _DAY:
        return False
    step_type = str(field.file.open()[field.raw_name].attrs.get("GRIB_stepType", ""))
    return step_type in _BEFORE or is_accumulated(field)


def sums_of(parts: Sequence[FileVariable], time: Array, native: Duration) -> Sums | None:
    """Find out over which time the values of a variable are sums; None if they are none.

    What files do not state is found in the values of some days: values that grow from stamp to
    stamp fall at the times only at which the sum begins anew.

    Parameters
    ----------
    parts : sequence of FileVariable
        Files of the variable.
    time : ndarray of datetime64, shape (stored times,)
        Times of all files.
    native : Duration
        Step of these times.

    Raises
    ------
    DataError
        If the key ``accumulated`` has a time that does not fit the step, or values cannot be read.
    """
    first = parts[0]
    if not is_accumulated(first):
        return None
    if isinstance(first.accumulated, Duration):
        _check_period(first, first.accumulated, native)
        if native < first.accumulated:
            _check_growth(parts, time, native, first.accumulated)
        return Sums(first.accumulated)
    if native.monthly:
        return Sums(native, "a monthly value may be a sum, or the mean of the sums of its days")
    stated = "sum" in str(first.file.open()[first.raw_name].attrs.get("cell_methods", "")).split()
    if native >= _DAY:
        period, doubt = native, ""
    else:
        period, doubt = find_period(parts, time, native)
    may_grow = bool(doubt)
    if not doubt and period == native and native > _HOUR and not stated:
        doubt = f"a value may be the sum over the {native} before its stamp, or over one hour"
    return Sums(period, doubt, may_grow)


def _check_growth(
    parts: Sequence[FileVariable], time: Array, native: Duration, period: Duration
) -> None:
    """Check that values grow over the time of the key ``accumulated``."""
    share = negative_share(parts, time, native, period)
    if share > _MOST_NEGATIVE:
        field = parts[0]
        raise DataError(
            f"data.sources.accumulated: {period} for {field.raw_name} ({field.file.path}) makes "
            f"{100 * share:.1f} % of the sums of each {native} negative, as values fall before the "
            f"sum begins anew; give the time after which it does, {native} if each value is the "
            "sum of its own step, or leave the key out, so that the values decide"
        )


def _check_period(field: FileVariable, period: Duration, native: Duration) -> None:
    """Check the time of the key ``accumulated``: the step of the stamps, or a part of a day."""
    if period == native:
        return
    stated = f"data.sources.accumulated: {period} for {field.raw_name} ({field.file.path}) is not"
    ratio = period.ratio(native)
    if ratio is None or ratio != round(ratio):
        raise DataError(
            f"{stated} a multiple of the step of the file, {native}; a sum over less than the step "
            "leaves out the rest of it: give files of a shorter step, or leave the variable out "
            "(data.variables)"
        )
    days = _DAY.ratio(period)
    if days is None or days != round(days):
        raise DataError(
            f"{stated} the step of the file, {native}, nor a part of a day, such as 12h or 1d; "
            "sums that grow must begin anew at midnight UTC and at equal times after it: turn "
            "them into sums of their own steps before, or leave the variable out (data.variables)"
        )
