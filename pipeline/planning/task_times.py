"""Time real tasks of the passes of a fit on synthetic data, and scale them to the sizes of a fit.

A leaf of as few times as give its usual speed is timed, then longer ones while this is quick; the
seconds of a leaf grow linearly with its times. Two of its results are merged, and results of
merges, until they have their full size.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.planning.machine_rates import least_seconds
from gfrnn.pipeline.planning.synthetic_states import (
    NoiseStates,
    synthetic_fields,
    synthetic_states,
)
from gfrnn.pipeline.planning.timed_solves import ridge_solve_seconds, zonal_solve_seconds
from gfrnn.pipeline.reduction.blas_threads import single_threaded
from gfrnn.pipeline.reduction.checkpoints import Arrays
from gfrnn.pipeline.reduction.tree import CostedSummary, Stretch
from gfrnn.pipeline.training.calibration.rollout_summary import RolloutSummary
from gfrnn.pipeline.training.pass_costs import PassCost, PrecisionRows, RidgeSolve, StateCall
from gfrnn.pipeline.training.rows import RowSummary, SharedRows
from gfrnn.pipeline.training.zonal.zonal_rows import ZonalRowSummary
from gfrnn.pipeline.training.zonal.zonal_solve import ZonalSolve

Array = NDArray[Any]

# Seconds that the longest timed leaf of a pass should take, and those of a leaf up to which one of
# twice as many times is timed, so that a fixed cost is told apart from that of a time.
_LEAF_SECONDS, _DOUBLED_SECONDS = 2.0, 5.0

# Memory of a leaf up to which longer ones are timed: in bytes, and relative to the shortest.
_LEAF_BYTES, _LEAF_GROWTH = 2**30, 1.5

# Rows of a timed leaf for each column, if the leaves of the fit have as many: from then on rows
# are folded in the fastest way.
_ROWS_PER_COLUMN = 8

# Numbers of columns of which rows are timed; those of other candidates are interpolated.
_TIMED_COLUMNS = 4

# Times whose results have their full size, and rows of a leaf at its usual speed.
_MANY_TIMES, _MANY_ROWS = 10**6, 1e5

# Operations of the rollouts that are timed, of two leads or more.
_WALK_OPERATIONS = 3e10

# Least growth of a result in a merge, relative, for which one more merge is timed, and the most.
_GROWTH, _MERGES = 1.05, 4

# Times whose states are read to time the reading.
_READ_TIMES = 4


@dataclass(frozen=True)
class TaskTimes:
    """Seconds of the tasks of a pass on one thread, without the decoding of chunks.

    Attributes
    ----------
    leaves : tuple of (float, float)
        Sizes of leaves, increasing, and their seconds; those of other sizes lie on the lines
        through these points and the origin.
    merges : tuple of float
        Seconds of a merge by level of the tree; the last holds for all higher levels.
    """

    leaves: tuple[tuple[float, float], ...] = ()
    merges: tuple[float, ...] = ()

    def leaf(self, size: float) -> float:
        """Return the seconds of a leaf."""
        if not self.leaves:
            return 0.0
        points = ((0.0, 0.0), *self.leaves)
        (first, less), (last, more) = points[-2:]
        if size > last:
            return more + max(0.0, more - less) / (last - first) * (size - last)
        sizes, seconds = np.array(points).T
        return float(np.interp(size, sizes, seconds))

    def merge(self, level: int) -> float:
        """Return the seconds of a merge at a level of the tree, counted from 0 at the leaves."""
        return self.merges[min(level, len(self.merges) - 1)] if self.merges else 0.0


@dataclass
class TaskTimer:
    """Times the tasks of passes with one thread; tasks of equal sizes are timed once.

    Attributes
    ----------
    found : dict
        Times by the key of a task.
    """

    found: dict[tuple[Any, ...], TaskTimes] = field(default_factory=dict)

    def times(self, costs: Sequence[PassCost]) -> list[TaskTimes]:
        """Return the seconds of the tasks of some passes."""
        rows = [pair for cost in costs for pair in _rows_of(cost)]
        self._time_rows(rows)
        return [self._of(cost) for cost in costs]

    def _of(self, cost: PassCost) -> TaskTimes:
        subject = cost.subject
        if isinstance(subject, SharedRows) and cost.sample:
            parts = [self._reduction(part, cost.sample) for part in subject.parts]
            reading = self._reading(subject.parts[0], cost.sample)
            # States are read once for all candidates.
            return _combined(parts, reading)
        if isinstance(subject, PrecisionRows):
            rows = self._reduction(subject.rows, subject.leaf)
            times = subject.leaf.stop - subject.leaf.start
            solving = self._once(subject.solve, 0).leaf(subject.solves)
            return _one(subject.often * rows.leaf(times) + solving)
        if cost.sample:
            return self._reduction(subject, cost.sample)
        return self._once(subject, cost.plan.leaf_bytes)

    def _reduction(self, summary: CostedSummary, sample: Stretch) -> TaskTimes:
        key = _key(summary, sample)
        if key not in self.found:
            self.found[key] = single_threaded(time_reduction, summary, sample)
        return self.found[key]

    def _reading(self, rows: RowSummary, sample: Stretch) -> TaskTimes:
        key = "reading", rows.states.size
        if key not in self.found:
            self.found[key] = single_threaded(_time_reading, rows, sample)
        return self.found[key]

    def _once(self, subject: Any, needed: int) -> TaskTimes:
        """Return the times of calls; ``needed``, their memory, tells apart calls of a function."""
        key: tuple[Any, ...]
        seconds: Callable[[Any], float]
        match subject:
            case RidgeSolve():
                key = "solve", subject.rows.columns, subject.targets, subject.folds
                seconds = ridge_solve_seconds
            case ZonalSolve():
                key = "zonal", subject.columns.max(), len(subject.features), subject.folds
                seconds = zonal_solve_seconds
            case StateCall():
                key, seconds = (subject.function, needed), _call_seconds
            case _:  # tasks that only read
                return TaskTimes()
        if key not in self.found:
            self.found[key] = _one(single_threaded(seconds, subject))
        return self.found[key]

    def _time_rows(self, rows: Sequence[tuple[RowSummary, Stretch]]) -> None:
        """Time rows of some numbers of columns, and interpolate those of others."""
        kinds: dict[tuple[Any, ...], tuple[RowSummary, Stretch]] = {}
        for pair in rows:  # the first has the leaves of a pass, not of a sample
            kinds.setdefault(_key(*pair), pair)
        ordered = sorted(kinds.values(), key=lambda pair: pair[0].columns)
        if len(ordered) <= _TIMED_COLUMNS:
            return
        picks = np.linspace(0, len(ordered) - 1, _TIMED_COLUMNS).round().astype(int)
        timed = [ordered[pick] for pick in picks]
        known = [self._reduction(*pair) for pair in timed]
        squares = [pair[0].columns ** 2 for pair in timed]
        rates = [
            (times.leaf(_MANY_ROWS / pair[0].leaf_rows(1)), times.merge(0), times.merge(_MERGES))
            for times, pair in zip(known, timed, strict=True)
        ]
        for key, (part, _) in kinds.items():
            leaf, first, last = (
                float(np.interp(part.columns**2, squares, values))
                for values in zip(*rates, strict=True)
            )
            times = TaskTimes(((_MANY_ROWS / part.leaf_rows(1), leaf),), (first, last))
            self.found.setdefault(key, times)


def _rows_of(cost: PassCost) -> Iterable[tuple[RowSummary, Stretch]]:
    subject = cost.subject
    if isinstance(subject, PrecisionRows):
        yield subject.rows, subject.leaf
    elif cost.sample and isinstance(subject, RowSummary | SharedRows):
        for part in subject.parts if isinstance(subject, SharedRows) else (subject,):
            yield part, cost.sample


def _key(summary: CostedSummary, sample: Stretch) -> tuple[Any, ...]:
    """Return what tells apart the summaries of one class that take different times."""
    one = replace(sample, stop=sample.start + 1)
    sizes = summary.leaf_bytes(one), summary.merge_bytes(), summary.result_bytes(_MANY_TIMES)
    network = getattr(summary, "network", None)
    kind = getattr(network, "precision", ""), getattr(network, "activation", "")
    return type(summary), *sizes, summary.leaf_rows(1), kind


def _one(seconds: float) -> TaskTimes:
    """Return the times of tasks of which those of size 1 take some seconds."""
    return TaskTimes(((1.0, seconds),))


def _combined(parts: Sequence[TaskTimes], reading: TaskTimes) -> TaskTimes:
    """Return the times of tasks that do the work of several, but read only once."""
    sizes = sorted({size for part in parts for size, _ in part.leaves})
    leaves = (
        (size, sum(part.leaf(size) for part in parts) - (len(parts) - 1) * reading.leaf(size))
        for size in sizes
    )
    levels = max((len(part.merges) for part in parts), default=0)
    merges = (sum(part.merge(level) for part in parts) for level in range(levels))
    return TaskTimes(tuple(leaves), tuple(merges))


def time_reduction(summary: CostedSummary, sample: Stretch) -> TaskTimes:
    """Time leaves and merges of a summary.

    Parameters
    ----------
    summary : CostedSummary
    sample : Stretch
        The longest leaf; shorter ones begin where it does.
    """
    longest = sample.stop - sample.start
    synthetic = synthetic_summary(summary, longest)
    result: Arrays = {}

    def leaf(times: int, summary: Any = synthetic) -> float:
        def run() -> None:
            result.clear()
            result.update(summary.leaf(replace(sample, stop=sample.start + times)))

        return least_seconds(run)

    least = min(longest, max(1, int(np.ceil(_least_rows(summary) / summary.leaf_rows(1)))))
    most = _most_times(summary, sample, least)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if isinstance(summary, RolloutSummary) and synthetic.leads < summary.leads:
            one = replace(synthetic, leads=1, block=1)
            leaf(least, one)  # computes what is kept for later leaves
            timed = _lengthened(leaf, least, most)
            times, seconds = timed[-1]
            begun = leaf(times, one)
            each = max(0.0, seconds - begun) / (synthetic.leads - 1)
            whole = (begun + each * (summary.leads - 1)) / seconds
        else:
            timed, whole = _lengthened(leaf, least, most), 1.0
        merges = _merge_seconds(synthetic, result)
    return TaskTimes(tuple((times, whole * seconds) for times, seconds in timed), merges)


def synthetic_summary(summary: Any, longest: int) -> Any:
    """Return a summary that works on noise; rollouts that take long have fewer leads.

    Parameters
    ----------
    summary : CostedSummary
    longest : int
        Times of the longest leaf.
    """
    if isinstance(summary, RolloutSummary):
        step = summary.rollouts.walk_flops(summary.leads) / summary.leads
        affordable = _WALK_OPERATIONS / (longest * step)
        leads = min(summary.leads, max(2, int(affordable)))
        source = synthetic_states(summary.states)
        return replace(summary, states=source, leads=leads, block=min(summary.block, leads))
    if isinstance(summary, ZonalRowSummary):
        return replace(summary, states=NoiseStates(summary.network.state_size))
    if isinstance(summary, RowSummary):
        return replace(summary, states=synthetic_states(summary.states))
    if hasattr(summary, "fields"):
        return replace(summary, fields=synthetic_fields(summary.fields))
    return summary


def _least_rows(summary: CostedSummary) -> float:
    """Return the number of rows from which on a leaf has its usual speed."""
    if isinstance(summary, RowSummary):
        return float(_ROWS_PER_COLUMN * summary.groups * summary.columns)
    if isinstance(summary, ZonalRowSummary):
        return float(2 * summary.columns.sum())
    return 0.0


def _most_times(summary: CostedSummary, sample: Stretch, least: int) -> int:
    """Return the largest number of times of a leaf that needs no more than the usual memory."""

    def needed(times: int) -> int:
        return summary.leaf_bytes(replace(sample, stop=sample.start + times))

    allowed = max(_LEAF_BYTES, _LEAF_GROWTH * needed(least))
    most = sample.stop - sample.start
    while least < most:
        middle = (least + most + 1) // 2
        least, most = (middle, most) if needed(middle) <= allowed else (least, middle - 1)
    return least


def _lengthened(leaf: Callable[[int], float], least: int, most: int) -> list[tuple[int, float]]:
    """Time leaves of more and more times; return numbers of times and seconds."""
    timed = [(least, leaf(least))]
    while (times := timed[-1][0]) < most:
        seconds = timed[-1][1]
        longer = int(times * min(8.0, _LEAF_SECONDS / seconds))
        if len(timed) == 1 and seconds < _DOUBLED_SECONDS:
            longer = max(longer, 2 * times)
        if longer < 2 * times:
            break
        timed.append((min(most, longer), leaf(min(most, longer))))
    return timed


def _merge_seconds(summary: CostedSummary, result: Arrays) -> tuple[float, ...]:
    """Return the seconds of merges by level, up to that from which results grow no further."""
    seconds: list[float] = []
    left, grown = dict(result), True
    while grown and len(seconds) < _MERGES:
        right, merged = {name: values.copy() for name, values in left.items()}, Arrays()

        def run(left: Arrays = left, right: Arrays = right, merged: Arrays = merged) -> None:
            merged.update(summary.merge(left, right))

        seconds.append(least_seconds(run))
        grown = _size(merged) > _GROWTH * _size(left)
        left = merged
    return tuple(seconds)


def _size(arrays: Arrays) -> int:
    return sum(values.nbytes for values in arrays.values())


def _time_reading(rows: RowSummary, sample: Stretch) -> TaskTimes:
    """Time the reading of the states of a leaf, which is part of each leaf of rows."""
    first, last = rows.reach(sample)
    last = min(last, first + _READ_TIMES)
    states = synthetic_states(rows.states)
    seconds = least_seconds(lambda: states.read(first, last)) / (last - first)
    return _one(seconds)


def _call_seconds(call: StateCall) -> float:
    states = synthetic_states(call.states)
    return least_seconds(lambda: call.function(states, *call.arguments))
