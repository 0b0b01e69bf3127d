"""Times of variables at the step of an experiment, and the stored times that make them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.config.data_config import Aggregate, DataConfig, Sampling
from gfrnn.pipeline.config.durations import Duration
from gfrnn.pipeline.data.combine import VariableGroups
from gfrnn.pipeline.data.in_time.accumulations import Sums, belongs_before, sums_of
from gfrnn.pipeline.data.in_time.windows import (
    CELL_METHODS,
    TimeWindows,
    complete_windows,
    has_predecessor,
)
from gfrnn.pipeline.data.joined_times import join_times
from gfrnn.pipeline.data.time_axis import format_minute, keep_step, origin_of_steps, step_of
from gfrnn.pipeline.data.variables.file_variables import FileVariable
from gfrnn.pipeline.errors import DataError

Array = NDArray[Any]

_SHOWN = 3  # steps in a note
_WORDS = {"mean": "mean", "sum": "sum", "max": "largest", "min": "smallest"}
_DAY = Duration.parse("1d")


@dataclass(frozen=True, eq=False)
class StepTimes:
    """Times of a variable and its levels in some files, at the step of the experiment.

    Attributes
    ----------
    times : ndarray of datetime64, shape (n,)
        Increasing.
    windows : TimeWindows or None
        Stored times of each; None where each time is a stored one.
    cell_methods : str
        How values are made of the stored ones (CF), empty where they are stored ones.
    notes, losses : list of str
        What was done, and what is not used.
    ends : ndarray of datetime64
        Times in which the data begin or end, and which are not complete.
    sums : tuple of Duration or None
        Of sums over time: the time after which the stored sum begins anew, and the stored step.
    """

    times: Array
    windows: TimeWindows | None = None
    cell_methods: str = ""
    notes: list[str] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)
    ends: Array = field(default_factory=lambda: np.empty(0, "M8[ns]"))
    sums: tuple[Duration, Duration] | None = None

    def without(self, ends: Array) -> StepTimes:
        """Return the times without some, in which any variable begins or ends."""
        kept = np.flatnonzero(~np.isin(self.times, ends))
        windows = self.windows and self.windows.at(kept)
        return replace(self, times=self.times[kept], windows=windows)

    def windows_at(self, time: Array) -> TimeWindows | None:
        """Return the windows of some of the times."""
        return self.windows and self.windows.at(np.searchsorted(self.times, time))


def step_times(groups: VariableGroups, data: DataConfig) -> dict[Any, StepTimes]:
    """Return the times of each group of files at the step of the experiment.

    Values of a step are those that ``data.aggregate`` names. Sums over time are summed by default,
    and sums that grow from stamp to stamp are first turned into those of their own steps.

    Raises
    ------
    DataError
        If the step is not a multiple of that of the files, a sum cannot be computed without
        a statement of the user, or no step is complete.
    """
    # Steps that do not divide a day begin at the same times for all variables: those of the one
    # that begins last.
    origin = None
    if data.step is not None:
        firsts = np.concatenate([join_times(parts)[0][:1] for parts in groups.values()])
        origin = origin_of_steps(firsts.max(), data.step) if firsts.size else None
    found = {key: _times_of(parts, data, origin) for key, parts in groups.items()}
    if data.step is not None and any(each.windows is not None for each in found.values()):
        for key, each in found.items():
            if each.windows is None:
                kept = keep_step(each.times, data.step, origin)
                found[key] = replace(each, times=each.times[kept])
    ends = np.concatenate([each.ends for each in found.values()])
    # The last day of the data lacks its last sum, which is no loss to be named.
    return {key: each.without(ends) for key, each in found.items()}


def _times_of(
    parts: Sequence[FileVariable], data: DataConfig, origin: np.datetime64 | None
) -> StepTimes:
    times, *_ = join_times(parts)
    if len(times) < 2:
        return StepTimes(times, sums=_sums_of_one(parts[0], times, data))
    first, native = parts[0], step_of(times)
    step = data.step or native
    sums = sums_of(parts, times, native)
    method, chosen = _method(first.variable, sums, data)
    fresh = None if sums is None else sums.fresh(times, native)
    stored = None if sums is None else (sums.period, native)
    notes = []
    if sums is not None and fresh is not None:
        notes.append(
            f"{first.variable}: values grow from stamp to stamp and begin anew every "
            f"{sums.period} from midnight UTC; they are turned into the sums of each {native}"
        )
    if step == native or method == "instant":
        kept = np.ones(len(times), bool) if step == native else keep_step(times, step, origin)
        if fresh is None:
            return StepTimes(times, losses=_growth_unknown(first, sums, native), sums=stored)
        there = has_predecessor(times, native, fresh)
        own = np.flatnonzero(kept & there).astype(np.int32)
        windows = TimeWindows("sum", own, own + 1, fresh)
        return StepTimes(times[own], windows, "", notes, ends=times[:1][~there[:1]], sums=stored)
    _check_multiple(times, native, step)
    if sums is not None and sums.doubt and not chosen:
        raise DataError(
            f"data.step: {step} is longer than the step of the data, {native}, and "
            f"{first.variable} ({first.file.path}) is a sum over time, but over which is not "
            f"certain: {sums.doubt}; set data.sources.accumulated: {{{first.raw_name}: {native}}} "
            f"if it is the sum over each {native}, or the time after which it begins anew, for "
            f"example 1d, or choose data.aggregate: {{{first.variable}: mean}}, or leave the "
            "variable out (data.variables)"
        )
    before = belongs_before(first, native)
    labels, windows, incomplete, ends = complete_windows(
        times, native, step, method, at_end=before, fresh=fresh, origin=origin
    )
    if not labels.size:
        raise DataError(
            f"data.step: no {step} has all values of {first.variable} ({first.file.path}), whose "
            f"step is {native} and which go from {format_minute(times[0])} to "
            f"{format_minute(times[-1])}; give more times, or a shorter step"
        )
    most = "up to " if step.monthly and not native.monthly else ""
    when = ", of the time after its beginning up to its end" if before else ""
    notes.append(
        f"{first.variable}: the {_WORDS[method]} of the {most}{windows.longest} values of each "
        f"{step}{when}; its time is the beginning (UTC)"
    )
    if before and ends.size and ends[-1] > labels[-1]:
        notes.append(
            f"{first.variable}: the last {step}, from {format_minute(ends[-1])}, is left out for "
            "all variables, as its last value, whose stamp is the beginning of the next, is not "
            "there; where the next file has it, give both files together"
        )
    losses = []
    if incomplete.size:
        shown = ", ".join(map(format_minute, incomplete[:_SHOWN]))
        more = f" and {len(incomplete) - _SHOWN} more" if len(incomplete) > _SHOWN else ""
        losses.append(
            f"{first.variable}: values are missing in {len(incomplete)} steps of {step}, from "
            f"{shown}{more}; they are left out, as gaps"
        )
    return StepTimes(labels, windows, _cell_methods(method, native), notes, losses, ends, stored)


def _sums_of_one(
    field: FileVariable, times: Array, data: DataConfig
) -> tuple[Duration, Duration] | None:
    """Return what a single stored time is known to be a sum over.

    Raises
    ------
    DataError
        If it is stated, and is not the step of the experiment; or if values of a step are made of
        the stored ones, as the step of a single time is not known.
    """
    period, step = field.accumulated, data.step
    if not isinstance(period, Duration):
        method, _ = _method(field.variable, None, data)
        if step is not None and method != "instant" and times.size:
            raise DataError(
                f"{field.variable} ({field.file.path}): has one time, {format_minute(times[0])}, "
                f"from which the {_WORDS[method]} of the values of a step (data.aggregate) of "
                f"{step} does not follow; give all times of the step, or two steps where each "
                "value is that of a step already"
            )
        return None
    if step is not None and period != step:
        raise DataError(
            f"{field.variable} ({field.file.path}): has one time, {format_minute(times[0])}, of a "
            f"sum that begins anew every {period} (data.sources.accumulated), from which the sum "
            f"over the step, {step}, does not follow; give all times of the step, and the one "
            "before"
        )
    return period, period


def _growth_unknown(field: FileVariable, sums: Sums | None, native: Duration) -> list[str]:
    """Return a warning where values are taken for sums of their steps, and may not be."""
    if sums is None or not sums.may_grow:
        return []
    return [
        f"{field.variable} ({field.file.path}): values are read as sums over each {native}, which "
        f"is not certain: {sums.doubt}; state it with data.sources.accumulated: "
        f"{{{field.raw_name}: {native}}}, or the time after which the sum begins anew, such as 1d"
    ]


def _method(variable: str, sums: Sums | None, data: DataConfig) -> tuple[Sampling, bool]:
    """Return how the value of a step is made, and whether the user chose it for the variable."""
    given = data.aggregate
    if isinstance(given, Mapping):
        if variable in given:
            return given[variable], True
        given = None
    if sums is not None and given != "instant":
        return "sum", False
    return given or "instant", given is not None


def _check_multiple(times: Array, native: Duration, step: Duration) -> None:
    """Check that steps consist of whole steps of the stored times."""
    if not step.monthly or native.monthly:
        keep_step(times, step)  # it raises the error
    elif native > _DAY or _DAY.length % native.length != np.timedelta64(0):
        raise DataError(
            f"data.step: {step} is in calendar months, of which a step of the data, {native}, may "
            "lie in two; give data of a step of a day, or one that divides it"
        )


def _cell_methods(method: Aggregate, native: Duration) -> str:
    """Return the attribute of CF for values of several times."""
    interval = (
        "" if native.monthly else f" (interval: {re.sub(r'(?<=[0-9])(?=[a-z])', ' ', str(native))})"
    )
    return f"time: {CELL_METHODS[method]}{interval}"
