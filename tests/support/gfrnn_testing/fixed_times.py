"""Task times and machine rates that are the same on every machine, for tests of plans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gfrnn.pipeline.planning.machine_rates import MachineRates
from gfrnn.pipeline.planning.task_times import TaskTimer, TaskTimes
from gfrnn.pipeline.training.pass_costs import PassCost


@dataclass
class FixedTimer(TaskTimer):
    """A timer without a clock.

    Attributes
    ----------
    unit : float
        Seconds of a leaf for each unit of its size.
    merge : float
        Seconds of a merge.
    """

    unit: float = 1e-9
    merge: float = 1e-9

    def times(self, costs: Sequence[PassCost]) -> list[TaskTimes]:
        return [TaskTimes(((1.0, self.unit),), (self.merge,)) for _ in costs]


def rates_of(reading: float | None = 1e6, keeping: float = 1e12) -> MachineRates:
    """Return rates of a machine."""
    return MachineRates({"float64": 1e9}, reading, keeping)
