"""The summary of rollouts from initial times of the validation period: products with the truth."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.reduction.checkpoints import Arrays
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.training.calibration.lead_regression import LeadSums
from gfrnn.pipeline.training.calibration.mixture import RolloutSums
from gfrnn.pipeline.training.calibration.network_rollouts import NetworkRollouts
from gfrnn.pipeline.training.rows import States
from gfrnn_core import UnstableRollout

Array = NDArray[Any]


@dataclass(frozen=True)
class RolloutSummary:
    """Sums over initial times of squares and products of rollouts and truth.

    The sums of the networks that are averaged are kept for each, and for each two of them, so that
    the errors of any average follow.

    A stretch is a range of initial times, between which the data have no gap. Rollouts that
    diverged are left out from then on.

    Attributes
    ----------
    rollouts : NetworkRollouts
    states : States
        Source of the states of all times.
    time : ndarray of datetime64, shape (times,)
        Time axis of the states.
    starts : ndarray of int, shape (starts,)
        Positions of the initial times on the time axis.
    ends : ndarray of int, shape (starts,)
        Position after the last time whose truth is used, for each initial time.
    leads : int
        Number of leads.
    block : int
        Number of leads whose truth is read at once.
    """

    rollouts: NetworkRollouts
    states: States
    time: Array
    starts: Array
    ends: Array
    leads: int
    block: int
    name: str = "rollouts"
    remedy: str = "data.chunk, model.width or fit.calibration"

    @property
    def systems(self) -> tuple[str, ...]:
        """Rollouts that are summed: those of the averaged networks, and reference networks."""
        names = [f"network {index}" for index in range(len(self.rollouts.networks))]
        return *names, *self.rollouts.references

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Each two of the networks that are averaged."""
        return list(combinations(range(len(self.rollouts.networks)), 2))

    @cached_property
    def groups(self) -> Array:
        """Index of the group of each value of a state: int, shape (size,)."""
        return self.rollouts.layout.regression_groups

    def leaf(self, stretch: Stretch) -> Arrays:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnstableRollout)  # the sums leave these out
            return self._leaf(stretch)

    def _leaf(self, stretch: Stretch) -> Arrays:
        starts = self.starts[stretch.start : stretch.stop]
        end = int(self.ends[stretch.start])
        delays, initial = self.rollouts.delays, self.time[starts]
        first, last = int(starts[0]), int(starts[-1])
        before = self.states.read(first - delays + 1, last + 1)
        history = before[starts[:, None] - first + np.arange(delays)]
        del before
        leads = min(self.leads, end - 1 - first)
        walks = (
            *self.rollouts.network_walks(history, initial, leads),
            *(
                self.rollouts.reference_walk(name, history, initial, leads)
                for name in self.rollouts.references
            ),
        )
        found = self._zeros()
        for lead in range(1, leads + 1):
            if (lead - 1) % self.block == 0:
                begin = first + lead
                read = self.states.read(begin, min(last + lead + self.block, end))
            known = starts + lead < end
            truth = read[starts[known] + lead - begin]
            forecasts = []
            for system, walk in zip(self.systems, walks, strict=True):
                forecast = next(walk)[0][known]
                forecasts.append(self._add(found, system, lead, forecast, truth))
            for one, other in self.pairs:
                self._add_products(found[_pair(one, other)], lead, forecasts[one], forecasts[other])
        return found

    def _add(self, found: Arrays, system: str, lead: int, forecast: Array, truth: Array) -> Array:
        """Add the products of one lead to the sums; return forecasts, 0 where they diverged."""
        finite: Array = np.isfinite(forecast).all(axis=1)
        forecast = np.where(finite[:, None], forecast, 0.0)
        truth = truth[finite]
        self._add_products(found[f"{system}/forecast"], lead, forecast, forecast)
        self._add_products(found[f"{system}/product"], lead, forecast[finite], truth)
        self._add_products(found[f"{system}/truth"], lead, truth, truth)
        found[f"{system}/counts"][lead - 1] += finite.sum()
        return forecast

    def _add_products(self, sums: Array, lead: int, one: Array, other: Array) -> None:
        row = sums[lead - 1]
        row += np.bincount(self.groups, np.einsum("ns,ns->s", one, other), minlength=len(row))

    def _zeros(self) -> Arrays:
        shape = self.leads, int(self.groups.max()) + 1
        found: Arrays = {}
        for system in self.systems:
            for name in ("forecast", "product", "truth"):
                found[f"{system}/{name}"] = np.zeros(shape)
            found[f"{system}/counts"] = np.zeros(self.leads, dtype=int)
        return found | {_pair(*pair): np.zeros(shape) for pair in self.pairs}

    def merge(self, left: Arrays, right: Arrays) -> Arrays:
        return {name: left[name] + right[name] for name in left}

    def finish(self, root: Arrays) -> RolloutSums:
        """Return the sums of all systems."""
        every = [
            LeadSums(
                **{
                    name: root[f"{system}/{name}"]
                    for name in ("forecast", "product", "truth", "counts")
                }
            )
            for system in self.systems
        ]
        count = len(self.rollouts.networks)
        references = dict(zip(self.rollouts.references, every[count:], strict=True))
        products = {pair: root[_pair(*pair)] for pair in self.pairs}
        return RolloutSums(every[:count], products, references)

    def reach(self, stretch: Stretch) -> tuple[int, int]:
        """Return the first time that a leaf reads, and the time after the last."""
        first = int(self.starts[stretch.start]) - self.rollouts.delays + 1
        last = int(self.starts[stretch.stop - 1]) + self.leads + 1
        return first, min(last, int(self.ends[stretch.start]))

    def leaf_bytes(self, stretch: Stretch) -> int:
        count, size = stretch.stop - stretch.start, self.rollouts.layout.size
        span = int(self.starts[stretch.stop - 1] - self.starts[stretch.start])
        delays = self.rollouts.delays
        held, stepping = self.rollouts.walk_bytes(count)
        held += 8 * count * delays * size
        # The truth, and that of a lead, forecasts and their finite ones for the sums.
        kept = len(self.systems) + 6
        truth = 8 * (span + self.block + kept * count) * size
        reading = self.states.read_bytes(span + max(delays, self.block))
        return held + max(reading, stepping + truth) + self.result_bytes(0)

    def merge_bytes(self) -> int:
        return 3 * self.result_bytes(0)

    def result_bytes(self, times: int) -> int:
        return sum(values.nbytes for values in self._zeros().values())

    def leaf_rows(self, times: int) -> float:
        return float(times * self.leads)


def _pair(one: int, other: int) -> str:
    return f"network {one} x network {other}"
