"""Test whether the scores of two systems differ, by a paired block bootstrap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.verification.statistics.circular_blocks import (
    LEAST_STARTS,
    optimal_block_length,
    resampling_weights,
)
from gfrnn.pipeline.verification.statistics.metric_difference import Metric, MetricDifference

Array = NDArray[Any]

# Bytes of the means of resamples that are held at once.
_MEANS_BYTES = 2**26


@dataclass(frozen=True)
class PairedDifference:
    """The difference of a metric of two systems, with its bootstrap interval.

    All arrays have the shape of the metric.

    Attributes
    ----------
    first, second : ndarray
        Metric of each system, in its units.
    difference : ndarray
        First minus second; divided by the second if it is relative.
    low, high : ndarray
        Ends of the percentile interval of the difference.
    p_value : ndarray
        Two-sided p-value: twice the smaller part of the resamples with a difference of at most 0
        and at least 0. The observed difference counts as one more resample, so it is never 0.
    significant : ndarray of bool
        Whether the interval excludes 0.
    block_length : ndarray
        Length of a block in starts, for each test.
    starts : ndarray of int
        Number of initial times with a pair.
    reason : ndarray of str
        Why there is no interval; empty where there is one. ``low``, ``high`` and ``p_value`` are
        then NaN, and ``significant`` is False.
    level : float
        Level of the interval.
    """

    first: Array
    second: Array
    difference: Array
    low: Array
    high: Array
    p_value: Array
    significant: Array
    block_length: Array
    starts: Array
    reason: Array
    level: float


def paired_bootstrap(
    first: Sequence[Array],
    second: Sequence[Array],
    metric: Metric,
    *,
    relative: bool = False,
    present: Array | None = None,
    length: int | None = None,
    samples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> PairedDifference:
    """Return the difference of a metric of two systems, with its significance.

    Both systems are resampled at the same initial times, in circular moving blocks, so that the
    test uses that their errors are alike and that successive errors are correlated (Künsch 1989,
    Ann. Stat. 17, 1217-1241; Hamill 1999, Wea. Forecasting 14, 155-167). Each test has a block
    length of its own, from :func:`optimal_block_length` of the jackknife influence of each start
    on the difference.

    Initial times are taken to be evenly spaced. Where they are not, as with a season of several
    years, blocks join the end of a part with the start of the next; use ``present`` with all
    initial times, absent ones included, where gaps are short.

    Parameters
    ----------
    first, second : sequence of ndarray, shape (starts, ..., *extra)
        Statistics of each system at each initial time, in the order of the arguments of the metric.
    metric : callable
        Function of the means of the statistics, such as ``numpy.sqrt`` of the squared error. It
        acts on arrays of shape (n, tests, *extra) and returns shape (n, tests).
    relative : bool
        Whether the difference is divided by the metric of the second system.
    present : ndarray of bool, shape (starts, ...), optional
        Whether there is a pair at an initial time; others are left out of all means. The default is
        all. A statistic that is NaN at a pair makes the result NaN.
    length : int, optional
        Block length in starts to use for all tests.
    samples : int
        Number of resamples.
    level : float
        Level of the intervals, between 0 and 1.
    seed : int
        Resamples are the same for the same seed, number of starts and block length.

    Returns
    -------
    PairedDifference
        There is no interval with fewer than LEAST_STARTS pairs, or fewer than two blocks of them.

    Raises
    ------
    ValueError
        If an argument is out of range, or the shapes differ.
    """
    _check(first, second, length, samples, level)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        shape = metric(*(each[:1] for each in first)).shape[1:]
    starts, dims = len(first[0]), 1 + len(shape)
    for each in first:
        if each.shape[1:dims] != shape:
            raise ValueError(f"metric: found shape {shape} of its result, of {each.shape[1:]}")
    if present is None:
        present = np.ones((starts, *shape), dtype=bool)
    elif present.shape != (starts, *shape):
        raise ValueError(f"present: found shape {present.shape}, allowed: {(starts, *shape)}")
    there = present.reshape(starts, -1)
    systems = [
        [each.reshape(*there.shape, *each.shape[dims:]) for each in system]
        for system in (first, second)
    ]
    values = 2 * sum(each[0].size for each in first) // there.shape[1]
    together = max(1, _MEANS_BYTES // (8 * max(starts, samples) * values))
    results = []
    for begin in range(0, there.shape[1], together):
        part = slice(begin, begin + together)
        chosen = [[each[:, part] for each in system] for system in systems]
        pairs = MetricDifference.where(there[:, part], chosen, metric, relative)
        results.append(_test(pairs, length, samples, level, seed))
    joined = {
        name: np.concatenate([each[name] for each in results]).reshape(shape) for name in results[0]
    }
    return PairedDifference(**joined, level=level)


def _test(
    pairs: MetricDifference, length: int | None, samples: int, level: float, seed: int
) -> dict[str, Array]:
    """Return the arrays of :class:`PairedDifference` by name: shape (tests,) each."""
    number = pairs.present.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        first, second, difference = (each[0] for each in pairs.observed())
        if length is None:
            lengths = optimal_block_length(pairs.influence())
        else:
            lengths = np.full(len(number), float(length))
    reason = np.select(
        [number < LEAST_STARTS, number < 2 * lengths, ~np.isfinite(difference)],
        [
            f"fewer than {LEAST_STARTS} pairs",
            "fewer pairs than two blocks",
            "the difference is not finite",
        ],
        "",
    )
    low, high, p_value = np.full((3, len(number)), np.nan)
    for own in np.unique(lengths[reason == ""]):
        tests = np.flatnonzero((reason == "") & (lengths == own))
        group, drawn = pairs[tests], resampling_weights(len(pairs.present), int(own), samples, seed)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            found = np.concatenate([group.resampled(weights) for weights in drawn])
            low[tests], high[tests] = np.quantile(found, [(1 - level) / 2, (1 + level) / 2], axis=0)
        tail = np.minimum((found <= 0).sum(axis=0), (found >= 0).sum(axis=0))
        p_value[tests] = np.minimum(1.0, 2 * (tail + 1) / (samples + 1))
    lost = (reason == "") & ~(np.isfinite(low) & np.isfinite(high))
    low[lost] = high[lost] = p_value[lost] = np.nan
    reason = np.where(lost, "the difference of a resample is not finite", reason)
    return {
        "first": first,
        "second": second,
        "difference": difference,
        "low": low,
        "high": high,
        "p_value": p_value,
        "significant": (low > 0) | (high < 0),
        "block_length": lengths,
        "starts": number,
        "reason": reason,
    }


def _check(
    first: Sequence[Array], second: Sequence[Array], length: int | None, samples: int, level: float
) -> None:
    shapes = [[each.shape for each in system] for system in (first, second)]
    if not first or shapes[0] != shapes[1] or len({shape[0] for shape in shapes[0]}) > 1:
        raise ValueError(
            f"first and second: found shapes {shapes[0]} and {shapes[1]}, allowed: equal ones, "
            "with the same number of starts"
        )
    if not all(each.size for each in first):
        raise ValueError(f"first and second: found shapes {shapes[0]}, allowed: not empty")
    if length is not None and length < 1:
        raise ValueError(f"length: found {length}, allowed: 1 or more")
    if samples < 1:
        raise ValueError(f"samples: found {samples}, allowed: 1 or more")
    if not 0 < level < 1:
        raise ValueError(f"level: found {level}, allowed: between 0 and 1")
