"""Which stretches of time go where: folds, leaves of a read, leaves of the training pass."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gfrnn.pipeline.config.durations import ONE_DAY, format_duration
from gfrnn.pipeline.config.section import Period
from gfrnn.pipeline.data.time_axis import segments
from gfrnn.pipeline.errors import ConfigError
from gfrnn.pipeline.reduction.reduce import Stretch

Array = NDArray[Any]

# Fields that one leaf holds at once, as float64. Small enough for any worker, large enough for
# the overhead of a task not to count.
_LEAF_BYTES = 64 * 2**20

# So many times more where a leaf is shorter than a chunk of the store, which is decoded again for
# each of its leaves.
_LONGER = 4


def check_periods(time: Array, periods: Iterable[tuple[str, Period]]) -> None:
    """Refuse periods that the data do not cover.

    Raises
    ------
    ConfigError
        Naming the period and the extent of the data.
    """
    extent = f"{pd.Timestamp(time[0])} to {pd.Timestamp(time[-1])}"
    for name, period in periods:
        # Data of one value a day need not start at midnight, nor end at its end.
        outside = (
            period.start < pd.Timestamp(time[0]).normalize()
            or period.end > pd.Timestamp(time[-1]).normalize() + ONE_DAY
        )
        if outside:
            raise ConfigError(
                f"periods.{name}: {period} is not within the data, which go from {extent}; "
                "choose dates inside"
            )
        if not period.mask(time).any():
            raise ConfigError(
                f"periods.{name}: {period} holds no time of the data, which go from {extent}"
            )


def steps(name: str, duration: pd.Timedelta, step: np.timedelta64) -> int:
    """A duration as a number of steps of the data.

    Raises
    ------
    ConfigError
        If it is not a whole number of steps; ``name`` is the key.
    """
    count = duration / pd.Timedelta(step)
    if count != round(count):
        raise ConfigError(
            f"{name}: {format_duration(duration)} is not a multiple of the data's step, "
            f"{format_duration(pd.Timedelta(step))}"
        )
    return round(count)


def folds(time: Array, period: Period, name: str) -> list[Stretch]:
    """The period cut at gaps and calendar years: one fold a year.

    A fold is what may be left out later, and where a checkpoint is kept.
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
    """Pieces of at most ``length`` times, cut where ``(time - phase) % grain == 0``."""
    length = max(1, length // grain * grain)
    first = stretch.start - (stretch.start - phase) % grain + length
    cuts = [stretch.start, *range(first, stretch.stop, length), stretch.stop]
    return [Stretch(stretch.fold, a, b) for a, b in itertools.pairwise(cuts) if a < b]


def leaf_length(columns: int, chunk: int | None, grain: int = 1) -> int:
    """Times that a leaf reads at once: ``data.chunk``, or what fits into a fixed budget.

    The budget is larger where chunks of the store, of ``grain`` times each, hold more than that.
    """
    usual = max(1, _LEAF_BYTES // (8 * columns))
    return chunk or max(usual, min(grain, _LONGER * usual))


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
    """Leaves of a pass that reads fields.

    Parameters
    ----------
    columns : int
        Numbers in one field.
    chunk : int or None
        Times a leaf reads at once; by default what fits into a fixed budget, so that the tree
        does not depend on the machine.
    grain, phase : int
        Times in one chunk of the store, and the first time that begins one: leaves begin at
        borders of chunks where they can, so that no chunk is decoded twice.
    """
    length = leaf_length(columns, chunk, grain)
    grain = grain if grain <= length else 1
    pieces = [
        part for fold in folds(time, period, name) for part in split(fold, length, grain, phase)
    ]
    return sorted(pieces, key=lambda part: (part.fold, part.start))


def known_times(time: Array, *periods: Period) -> Array:
    """Which times have a state, because a period holds them: bool, shape (times,)."""
    mask = np.zeros(len(time), dtype=bool)
    for period in periods:
        mask |= period.mask(time)
    return mask


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
) -> list[Stretch]:
    """Leaves of the training pass: stretches of present times whose whole row is there.

    A row belongs to a period if all its targets lie in it; the states that it starts from may lie
    before, as they do in a forecast. It never crosses a gap.

    Parameters
    ----------
    known : ndarray of bool, shape (times,)
        Times whose state is kept.
    delays, reach : int
        States before (the present one included) and after the present time that a row needs.
    length : int
        Present times of one leaf, at most.
    grain, phase : int
        As in :func:`read_stretches`, where rows are made of fields as they are read.
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
            years = pd.DatetimeIndex(time[run + 1]).year.to_numpy()
            for year in np.unique(years):
                chosen = run[years == year]
                fold = Stretch(f"{name}/{year}", int(chosen[0]), int(chosen[-1]) + 1)
                pieces += split(fold, length, grain, phase)
    return sorted(pieces, key=lambda part: (part.fold, part.start))


def _runs(index: Array) -> list[Array]:
    """Maximal runs of successive numbers."""
    if not len(index):
        return []
    return np.split(index, np.flatnonzero(np.diff(index) != 1) + 1)
