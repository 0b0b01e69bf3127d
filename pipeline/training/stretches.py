"""Divide periods into folds, leaves of passes over fields, and leaves of the training pass."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.config.durations import Duration
from gfrnn.pipeline.config.experiment import Experiment
from gfrnn.pipeline.config.section import Period
from gfrnn.pipeline.data.time_axis import (
    covered,
    format_minute,
    in_months,
    segments,
    step_of,
)
from gfrnn.pipeline.errors import ConfigError
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.states.harmonics import AnnualCycle, supported_harmonics

Array = NDArray[Any]

# Bytes of fields in a leaf, as float64: small enough for any worker, large enough that the overhead
# of a task is negligible.
_LEAF_BYTES = 64 * 2**20

# Factor by which a leaf may be larger where it is shorter than a chunk of the store, because the
# chunk is decoded again for each of its leaves.
_CHUNK_FACTOR = 4


def check_periods(time: Array, periods: Iterable[tuple[str, Period]]) -> None:
    """Check that the data cover the periods.

    Raises
    ------
    ConfigError
        Naming the period and the extent of the data, if a period is not inside or holds no time.
    """
    begin, end = covered(time)
    extent = " to ".join(
        str(stamp.astype("datetime64[M]")) if in_months(time) else format_minute(stamp)
        for stamp in time[[0, -1]]
    )
    for name, period in periods:
        # Daily data may start after midnight of the first day and end before the last day does;
        # the times of monthly data are the middles of the months.
        if period.start < begin or period.end > end:
            raise ConfigError(
                f"periods.{name}: {period} is not within the data, which go from {extent}; "
                "choose dates within them"
            )
        if not period.mask(time).any():
            raise ConfigError(
                f"periods.{name}: {period} contains no time of the data, which go from {extent}; "
                "choose a longer period"
            )


def stated_times(ds: xr.Dataset) -> Array:
    """Return the times of a canonical Dataset with those that were left out: shape (times,)."""
    left_out = np.array(ds.attrs.get("left_out", []), dtype="datetime64[ns]")
    return np.union1d(ds["time"].values, left_out)


def steps(name: str, duration: Duration, step: Duration) -> int:
    """Return a duration as a number of time steps of the data.

    Raises
    ------
    ConfigError
        If it is not a whole number of steps; ``name`` is the key.
    """
    count = duration.ratio(step)
    if count is None:
        kinds = ["is in calendar months", "has a fixed length"]
        of_step, of_duration = kinds if step.monthly else kinds[::-1]
        raise ConfigError(
            f"{name}: {duration} {of_duration}, but the step of the data, {step}, {of_step}; give "
            f"a multiple of the step, for example {step * 3}"
        )
    if count != round(count):
        raise ConfigError(
            f"{name}: {duration} is not a multiple of the data's step, {step}; choose a multiple"
        )
    return round(count)


def folds(time: Array, period: Period, name: str) -> list[Stretch]:
    """Cut a period at gaps and calendar years, with one fold for each year.

    A fold can be left out of a later solve, and has a checkpoint of its own.
    """
    years = pd.DatetimeIndex(time).year.to_numpy()
    inside = period.mask(time)
    pieces = []
    for segment in segments(time):
        index = np.arange(segment.start, segment.stop)[inside[segment]]
        for year in np.unique(years[index]):
            chosen = index[years[index] == year]
            pieces.append(Stretch(f"{name}/{year}", int(chosen[0]), int(chosen[-1]) + 1))
    return pieces


def split(stretch: Stretch, length: int, grain: int = 1, phase: int = 0) -> list[Stretch]:
    """Cut a stretch where ``(time - phase) % grain == 0``, at most ``length`` times apart.

    The pieces are as few as possible, and about equally long, so that workers finish together.
    """
    length = max(1, length // grain * grain)
    border = stretch.start - (stretch.start - phase) % grain
    grains = max(1, -(-(stretch.stop - border) // grain))
    pieces = -(-grains * grain // length)
    length = -(-grains // pieces) * grain
    first = border + length
    cuts = [stretch.start, *range(first, stretch.stop, length), stretch.stop]
    return [Stretch(stretch.fold, a, b) for a, b in itertools.pairwise(cuts) if a < b]


def leaf_length(columns: int, chunk: int | None, grain: int = 1) -> int:
    """Return the times that a leaf reads: ``data.chunk``, or as many as fit a fixed budget.

    The budget is larger where a chunk of the store, of ``grain`` times, exceeds it.
    """
    usual = max(1, _LEAF_BYTES // (8 * columns))
    return chunk or max(usual, min(grain, _CHUNK_FACTOR * usual))


def read_stretches(
    time: Array,
    period: Period,
    name: str,
    *,
    columns: int,
    chunk: int | None,
    grain: int,
    phase: int,
) -> list[Stretch]:
    """Return the leaves of a pass that reads fields.

    Parameters
    ----------
    columns : int
        Number of values of one time.
    chunk : int or None
        Times that a leaf reads; by default as many as fit a fixed budget, so that the tree does
        not depend on the machine.
    grain, phase : int
        Times in one chunk of the store, and the first time at which one begins: leaves begin at
        chunk boundaries where possible, so that no chunk is decoded twice.
    """
    length = leaf_length(columns, chunk, grain)
    grain = grain if grain <= length else 1
    pieces = [
        part for fold in folds(time, period, name) for part in split(fold, length, grain, phase)
    ]
    return sorted(pieces, key=lambda part: (part.fold, part.start))


def known_times(time: Array, *periods: Period) -> Array:
    """Return which times lie in one of the periods and so have a state: bool, shape (times,)."""
    mask = np.zeros(len(time), dtype=bool)
    for period in periods:
        mask |= period.mask(time)
    return mask


def climatology_cycles(experiment: Experiment, time: Array) -> tuple[AnnualCycle, int]:
    """Return the annual cycle and the number of harmonics of the day in the climatology.

    The default number of harmonics of the year is what the training period determines at all times
    of the periods.
    """
    periods = experiment.periods
    used = known_times(time, *(period for _, period in periods))
    supported = supported_harmonics(time[periods.train.mask(time)], time[used])
    return experiment.climatology.cycles(step_of(time), supported)


def row_stretches(
    time: Array,
    period: Period,
    name: str,
    known: Array,
    *,
    delays: int,
    reach: int,
    length: int,
    grain: int = 1,
    phase: int = 0,
    within_years: bool = False,
) -> list[Stretch]:
    """Return the leaves of the training pass: stretches of present times with complete rows.

    A row belongs to a period if all its targets lie in it; its delayed states may lie earlier, as
    they do in a forecast. A row never crosses a gap.

    Parameters
    ----------
    known : ndarray of bool, shape (times,)
        Which times have a state.
    delays, reach : int
        Number of states that a row needs up to the present time (included), and after it.
    length : int
        Largest number of present times of one leaf.
    grain, phase : int
        Chunks as in :func:`read_stretches`, where rows are made from fields during reading.
    within_years : bool
        Whether rows with targets in two years are left out, so that no two folds share a target.
        By default such a row belongs to the year of its first target.
    """
    inside = period.mask(time)
    pieces = []
    for segment in segments(time):
        present = np.arange(segment.start + delays - 1, segment.stop - reach)
        if not len(present):
            continue
        complete = np.logical_and.reduce(
            [known[present - delay] for delay in range(delays)]
            + [inside[present + lead] for lead in range(1, reach + 1)]
        )
        for run in _runs(present[complete]):
            years, last = (
                pd.DatetimeIndex(time[run + lead]).year.to_numpy() for lead in (1, reach)
            )
            if within_years:
                run, years = run[years == last], years[years == last]
            for year in np.unique(years):
                chosen = run[years == year]
                fold = Stretch(f"{name}/{year}", int(chosen[0]), int(chosen[-1]) + 1)
                pieces += split(fold, length, grain, phase)
    return sorted(pieces, key=lambda part: (part.fold, part.start))


def _runs(index: Array) -> list[Array]:
    """Return the maximal runs of successive numbers."""
    if not len(index):
        return []
    return np.split(index, np.flatnonzero(np.diff(index) != 1) + 1)
