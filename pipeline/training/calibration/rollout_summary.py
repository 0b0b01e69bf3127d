"""The summary of rollouts from initial times of the validation period: products with the truth."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.reduction.checkpoints import Arrays
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.training.calibration.lead_regression import LeadSums
from gfrnn.pipeline.training.calibration.network_rollouts import NetworkRollouts
from gfrnn.pipeline.training.rows import States
from gfrnn_core import UnstableRollout

Array = NDArray[Any]


@dataclass(frozen=True)
class RolloutSummary:
    """Sums over initial times of squares and products of rollouts and truth.

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
        """Systems whose rollouts are summed: the mean of the networks, and reference networks."""
        return "forecast", *self.rollouts.references

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
            self.rollouts.walk(history, initial, leads),
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
            for system, walk in zip(self.systems, walks, strict=True):
                forecast = next(walk)[0][known]
                self._add(found, system, lead, forecast, truth)
        return found

    def _add(self, found: Arrays, system: str, lead: int, forecast: Array, truth: Array) -> None:
        """Add the products of one lead to the sums."""
        finite = np.isfinite(forecast).all(axis=1)
        forecast, truth = forecast[finite], truth[finite]
        pairs = {"forecast": (forecast,) * 2, "product": (forecast, truth), "truth": (truth,) * 2}
        for name, (one, other) in pairs.items():
            sums = np.einsum("ns,ns->s", one, other)
            row = found[f"{system}/{name}"][lead - 1]
            row += np.bincount(self.groups, sums, minlength=len(row))
        found[f"{system}/counts"][lead - 1] += len(forecast)

    def _zeros(self) -> Arrays:
        shape = self.leads, int(self.groups.max()) + 1
        found: Arrays = {}
        for system in self.systems:
            for name in ("forecast", "product", "truth"):
                found[f"{system}/{name}"] = np.zeros(shape)
            found[f"{system}/counts"] = np.zeros(self.leads, dtype=int)
        return found

    def merge(self, left: Arrays, right: Arrays) -> Arrays:
        return {name: left[name] + right[name] for name in left}

    def finish(self, root: Arrays) -> dict[str, LeadSums]:
        """Return the sums of each system."""
        return {
            system: LeadSums(
                **{
                    name: root[f"{system}/{name}"]
                    for name in ("forecast", "product", "truth", "counts")
                }
            )
            for system in self.systems
        }

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
        truth = 8 * (span + self.block + 6 * count) * size
        reading = self.states.read_bytes(span + max(delays, self.block))
        return held + max(reading, stepping + truth) + self.result_bytes(0)

    def merge_bytes(self) -> int:
        return 3 * self.result_bytes(0)

    def result_bytes(self, times: int) -> int:
        return sum(values.nbytes for values in self._zeros().values())

    def leaf_rows(self, times: int) -> float:
        return float(times * self.leads)
