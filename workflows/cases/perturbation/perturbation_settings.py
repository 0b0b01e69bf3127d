"""Settings of the case of perturbation learning: tasks, networks and rules."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from gfrnn.pipeline.config.section import Section
from gfrnn_core.perturbation import Backpropagation, Perturbation

TaskName = Literal["mackey-glass", "copying", "weather"]
RuleName = Literal["wp", "dwp", "np", "dnp", "anp", "danp", "bptt", "dbptt"]

REFERENCE: RuleName = "bptt"
"""The rule that others are measured by."""


class LearningRule(Section):
    """How a network learns; the rule itself is told by its name, decorrelated with a ``d``."""

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
        """Settings of the rule that estimates the gradient."""
        if "bptt" in name:
            return Backpropagation()
        kind: Literal["wp", "np", "anp"]
        kind = "anp" if "anp" in name else "np" if "np" in name else "wp"
        return Perturbation(kind, self.sigma, self.draws, self.credit, self.scaling, self.combine)


class PerturbationNetwork(Section):
    """Settings that all rules share: the network and its inputs."""

    units: PositiveInt
    epochs: PositiveInt
    window: PositiveInt | None
    """Steps between updates; null is all of a sequence."""
    streams: PositiveInt = 1
    """Pieces that the training series is cut into, learnt from side by side as one batch."""


class MackeyGlassData(Section):
    """Steps of one unit of time."""

    steps: PositiveInt
    ahead: PositiveInt
    test: PositiveInt
    validation: PositiveInt


class CopyingData(Section):
    """Sequences of symbols; validation takes the last of those to learn from."""

    symbols: PositiveInt
    alphabet: PositiveInt
    delay: PositiveInt
    sequences: PositiveInt
    batch: PositiveInt
    validation: PositiveInt


class WeatherData(Section):
    """Hourly rows of a station's file; those after ``train`` are the test."""

    path: str
    train: PositiveInt
    validation: PositiveInt
    ahead: Annotated[list[PositiveInt], Field(min_length=1)]


class ScalingSettings(Section):
    """Runs of other sizes: few epochs of few draws, one seed."""

    units: list[PositiveInt]
    epochs: PositiveInt
    draws: PositiveInt
    streams: PositiveInt
    """Of large networks a product with several sequences costs little more than with one."""
    rules: list[RuleName]


class TaskSettings(Section):
    """Settings that every task has."""

    network: PerturbationNetwork
    rules: dict[RuleName, LearningRule]
    scaling: ScalingSettings


class MackeyGlassSettings(TaskSettings):
    """The task Mackey-Glass."""

    data: MackeyGlassData


class CopyingSettings(TaskSettings):
    """The task copying memory."""

    data: CopyingData


class WeatherSettings(TaskSettings):
    """The task weather."""

    data: WeatherData


class PerturbationTasks(Section):
    """Everything that belongs to one task alone."""

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
        """The part of the task."""
        found: MackeyGlassSettings | CopyingSettings | WeatherSettings = getattr(
            self.tasks, self.task.replace("-", "_")
        )
        return found

    @property
    def named(self) -> list[RuleName]:
        """The rules, each once."""
        return list(dict.fromkeys(self.rules))
