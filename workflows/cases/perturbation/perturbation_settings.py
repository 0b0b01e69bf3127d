"""Settings of perturbation learning: tasks, networks and rules."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from gfrnn.pipeline.config.section import Section
from gfrnn_core.perturbation import Backpropagation, Perturbation

TaskName = Literal["mackey-glass", "copying", "weather"]
RuleName = Literal["wp", "dwp", "np", "dnp", "anp", "danp", "bptt", "dbptt"]

REFERENCE: RuleName = "bptt"
"""Rule that the others are compared with."""


class LearningRule(Section):
    """Settings of a rule; its name gives the method, with a leading ``d`` for decorrelation."""

    rate: PositiveFloat
    optimiser: Literal["sgd", "adam"] = "sgd"
    schedule: Literal["constant", "cosine"] = "constant"
    decorrelation: NonNegativeFloat = 0.0
    sigma: PositiveFloat = 1e-3
    draws: PositiveInt = 1
    credit: PositiveInt | None = 1
    scaling: Literal["paper", "unbiased"] = "paper"
    combine: Literal["mean", "solve"] = "mean"

    def method(self, name: RuleName) -> Perturbation | Backpropagation:
        """Return the method that estimates the gradient."""
        if "bptt" in name:
            return Backpropagation()
        kind: Literal["wp", "np", "anp"]
        kind = "anp" if "anp" in name else "np" if "np" in name else "wp"
        return Perturbation(kind, self.sigma, self.draws, self.credit, self.scaling, self.combine)


class PerturbationNetwork(Section):
    """Settings of the network and its training that all rules share."""

    units: PositiveInt
    epochs: PositiveInt
    window: PositiveInt | None
    """Steps between updates; null stands for all steps of a sequence."""
    streams: PositiveInt = 1
    """Number of pieces of the training series that form one batch."""


class MackeyGlassData(Section):
    """Numbers of steps of one unit of time."""

    steps: PositiveInt
    ahead: PositiveInt
    test: PositiveInt
    validation: PositiveInt


class CopyingData(Section):
    """Numbers of symbols and sequences; validation uses the last training sequences."""

    symbols: PositiveInt
    alphabet: PositiveInt
    delay: PositiveInt
    sequences: PositiveInt
    batch: PositiveInt
    validation: PositiveInt


class WeatherData(Section):
    """File of a station, and numbers of its hourly rows; those after ``train`` are the test."""

    path: str
    train: PositiveInt
    validation: PositiveInt
    ahead: Annotated[list[PositiveInt], Field(min_length=1)]


class ScalingSettings(Section):
    """Settings of the runs with other numbers of hidden units, with one seed."""

    units: list[PositiveInt]
    epochs: PositiveInt
    draws: PositiveInt
    streams: PositiveInt
    """In large networks, several sequences take little more time than one."""
    rules: list[RuleName]


class TaskSettings(Section):
    """Settings that all tasks have."""

    network: PerturbationNetwork
    rules: dict[RuleName, LearningRule]
    scaling: ScalingSettings


class MackeyGlassSettings(TaskSettings):
    """Settings of the Mackey-Glass task."""

    data: MackeyGlassData


class CopyingSettings(TaskSettings):
    """Settings of the copying memory task."""

    data: CopyingData


class WeatherSettings(TaskSettings):
    """Settings of the weather task."""

    data: WeatherData


class PerturbationTasks(Section):
    """Settings of each task."""

    mackey_glass: MackeyGlassSettings
    copying: CopyingSettings
    weather: WeatherSettings


class PerturbationSettings(Section):
    """Settings of the case."""

    task: TaskName
    rules: Annotated[list[RuleName], Field(min_length=1)]
    tasks: PerturbationTasks

    @property
    def task_settings(self) -> MackeyGlassSettings | CopyingSettings | WeatherSettings:
        """Settings of the chosen task."""
        found: MackeyGlassSettings | CopyingSettings | WeatherSettings = getattr(
            self.tasks, self.task.replace("-", "_")
        )
        return found

    @property
    def distinct_rules(self) -> list[RuleName]:
        """Names of the rules without repetitions."""
        return list(dict.fromkeys(self.rules))
