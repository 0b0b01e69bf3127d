"""Run of one learning rule with one seed, as a job for any process."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.workflows.cases.perturbation.perturbation_settings import (
    LearningRule,
    PerturbationNetwork,
    RuleName,
)
from gfrnn.workflows.cases.perturbation.task_data import TaskData, make_task, streams
from gfrnn_core.perturbation import DivergedError, Learning, Weights, mean_loss

Array = NDArray[Any]


@dataclass(frozen=True)
class LearningRun:
    """Learning curves of one run, NaN after it diverged.

    Attributes
    ----------
    train : ndarray, shape (epochs,)
        Training losses, of the clean passes during each epoch.
    test : ndarray, shape (epochs,)
        Test losses after each epoch.
    seconds : ndarray, shape (epochs,)
        Wall time of learning since the start, without tests.
    diverged : str or None
        Reason if the run diverged.
    """

    train: Array
    test: Array
    seconds: Array
    diverged: str | None = None

    @property
    def final(self) -> float:
        """Test loss after the last epoch; infinite if the run diverged."""
        return float(self.test[-1]) if np.isfinite(self.test[-1]) else float("inf")

    @property
    def total(self) -> float:
        """Seconds of learning up to the last epoch that ended."""
        known = self.seconds[np.isfinite(self.seconds)]
        return float(known[-1]) if known.size else 0.0

    @property
    def epoch_seconds(self) -> float:
        """Mean seconds of the epochs that ended; NaN if none did."""
        known = int(np.isfinite(self.seconds).sum())
        return self.total / known if known else float("nan")


def learn(
    data: TaskData,
    ahead: int,
    network: PerturbationNetwork,
    name: RuleName,
    rule: LearningRule,
    seed: int,
    validation: bool = False,
) -> LearningRun:
    """Learn a task by one rule.

    Parameters
    ----------
    data : TaskData
    ahead : int
        Steps from the present to the target.
    network : PerturbationNetwork
    name : str
        Name of the rule.
    rule : LearningRule
        Settings of the rule.
    seed : int
        Seed of the weights and of the noise. All rules start from the same weights.
    validation : bool
        Whether to test on the end of the training part, and to learn from the rest of it.
    """
    task = make_task(data, ahead, validation=validation)
    inputs, outputs = task.sizes
    weights = Weights.initial(inputs, network.units, outputs, seed)
    learning = Learning(
        rule.method(name),
        rule.rate,
        optimiser=rule.optimiser,
        decorrelation=rule.decorrelation,
        window=network.window,
        epochs=network.epochs,
        seed=seed,
        schedule=rule.schedule,
    )
    train, test, seconds = np.full((3, network.epochs), np.nan)
    losses = learning.losses(weights, [streams(window, network.streams) for window in task.train])
    spent = 0.0
    try:
        for epoch in range(network.epochs):
            begun = time.perf_counter()
            train[epoch] = next(losses)
            spent += time.perf_counter() - begun
            seconds[epoch] = spent
            with np.errstate(over="ignore", invalid="ignore"):
                test[epoch] = mean_loss(weights, task.test)
    except DivergedError as error:
        return LearningRun(train, test, seconds, str(error))
    if not np.isfinite(test).all():
        return LearningRun(train, test, seconds, "the test loss is not finite")
    return LearningRun(train, test, seconds)


def validation_loss(
    data: TaskData,
    aheads: Sequence[int],
    network: PerturbationNetwork,
    name: RuleName,
    rule: LearningRule,
    seed: int,
) -> float:
    """Return the mean over horizons of log10 of the final validation loss."""
    finals = [learn(data, ahead, network, name, rule, seed, True).final for ahead in aheads]
    return float(np.mean(np.log10(finals)))
