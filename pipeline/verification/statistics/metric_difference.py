"""The difference of a metric of two systems, for any weights of the initial times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Metric = Callable[..., Array]


@dataclass(frozen=True)
class MetricDifference:
    """A metric of two systems that have statistics at the same initial times.

    Attributes
    ----------
    present : ndarray of bool, shape (starts, tests)
        Whether there is a pair of forecast and truth.
    systems : list of list of ndarray, shape (starts, tests, *extra)
        Statistics of each of both systems, 0 where there is no pair.
    metric : callable
        Function of the means of the statistics, see :func:`paired_bootstrap`.
    relative : bool
        Whether the difference is divided by the metric of the second system.
    """

    present: Array
    systems: list[list[Array]]
    metric: Metric
    relative: bool

    @classmethod
    def where(
        cls, present: Array, systems: list[list[Array]], metric: Metric, relative: bool
    ) -> MetricDifference:
        """Return the difference for statistics that may have any values without a pair."""
        filled = [
            [np.where(_like(present, each), each, 0.0) for each in system] for system in systems
        ]
        return cls(present, filled, metric, relative)

    def __getitem__(self, tests: Array) -> MetricDifference:
        """Return the difference of some tests."""
        systems = [[each[:, tests] for each in system] for system in self.systems]
        return MetricDifference(self.present[:, tests], systems, self.metric, self.relative)

    def metrics(self, sums: list[list[Array]], counts: Array) -> tuple[Array, Array, Array]:
        """Return the metric of both systems, and the difference: shape (n, tests) each."""
        ours, other = (
            self.metric(*(each / _like(counts, each) for each in system)) for system in sums
        )
        change = ours - other
        return ours, other, change / other if self.relative else change

    def observed(self) -> tuple[Array, Array, Array]:
        """Return the metric of both systems, and the difference: shape (1, tests) each."""
        sums = [[each.sum(axis=0, keepdims=True) for each in system] for system in self.systems]
        return self.metrics(sums, self.present.sum(axis=0, keepdims=True))

    def influence(self) -> Array:
        """Return the effect of each start on the difference: shape (starts, tests).

        It is the difference minus that without the start, times the number of pairs less one, which
        for a mean is the departure from it; NaN without a pair.
        """
        number = self.present.sum(axis=0)
        without = [[each.sum(axis=0) - each for each in system] for system in self.systems]
        change = self.observed()[2] - self.metrics(without, number - self.present)[2]
        return np.where(self.present, (number - 1) * change, np.nan)

    def resampled(self, weights: Array) -> Array:
        """Return the differences of resamples, whose weights are (n, starts): (n, tests)."""
        sums = [[np.tensordot(weights, each, axes=1) for each in system] for system in self.systems]
        return self.metrics(sums, weights @ self.present.astype(np.float64))[2]


def _like(values: Array, other: Array) -> Array:
    """Append axes of length 1, so that values broadcast to another array."""
    return values.reshape(*values.shape, *[1] * (other.ndim - values.ndim))
