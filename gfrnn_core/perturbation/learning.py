"""Epochs over a task: windows, updates, decorrelation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn_core.perturbation.backpropagation import Backpropagation
from gfrnn_core.perturbation.estimate import Estimate, Window
from gfrnn_core.perturbation.losses import step_losses
from gfrnn_core.perturbation.optimisers import OptimiserName, optimiser
from gfrnn_core.perturbation.rules import Perturbation
from gfrnn_core.perturbation.weights import Weights
from gfrnn_core.sampling import check_seed

Array = NDArray[Any]


class DivergedError(ArithmeticError):
    """Learning ran away.

    Attributes
    ----------
    epoch : int
        Counted from 1.
    last : float or None
        The last finite training loss of an epoch; None if there was none.
    """

    def __init__(self, epoch: int, last: float | None, rate: float, decorrelation: float) -> None:
        self.epoch, self.last = epoch, last
        before = "no epoch ended before" if last is None else f"the last finite loss was {last:.4g}"
        super().__init__(
            f"epoch {epoch}: the loss is no longer finite; {before}. Take a smaller learning rate "
            f"(now {rate:g}) or decorrelation rate (now {decorrelation:g})"
        )


@dataclass(frozen=True)
class Learning:
    """How a network learns.

    Parameters
    ----------
    rule : Perturbation or Backpropagation
    rate : float
        Learning rate.
    optimiser : {"sgd", "adam"}
    decorrelation : float
        Rate of ``D <- D - eps C D``, C the off-diagonal of the mean of ``x^ x^T``; 0 leaves D the
        identity.
    window : int or None
        Steps between updates: 1 is online, None all of a sequence.
    epochs : int
    seed : int
        Of the noise.

    Raises
    ------
    ValueError
        For a number out of its range.
    """

    rule: Perturbation | Backpropagation
    rate: float
    optimiser: OptimiserName = "sgd"
    decorrelation: float = 0.0
    window: int | None = None
    epochs: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        optimiser(self.optimiser, self.rate)
        check_seed(self.seed)
        if not 0 <= self.decorrelation < np.inf:
            raise ValueError(f"decorrelation: {self.decorrelation} is negative or not finite")
        for name in ("window", "epochs"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: {value} is not a positive integer")

    def losses(self, weights: Weights, train: Sequence[Window]) -> Iterator[float]:
        """Learn, yielding after every epoch; the weights are changed in place.

        Parameters
        ----------
        weights : Weights
        train : sequence of Window
            Sequences of a batch each; every one begins with the state zero.

        Yields
        ------
        float
            Mean loss of the epoch's clean passes, as they were during learning.

        Raises
        ------
        ValueError
            If shapes do not fit.
        DivergedError
            When the loss or a weight is no longer finite.
        """
        sequences = [window.checked(weights) for window in train]
        rng = np.random.default_rng(self.seed)
        steps = optimiser(self.optimiser, self.rate)
        matrices = tuple(weights.trained())
        last: float | None = None
        for epoch in range(1, self.epochs + 1):
            total = count = 0.0
            # A loss that runs away overflows first; it is reported below.
            with np.errstate(over="ignore", invalid="ignore"):
                for sequence in sequences:
                    for estimate, counted in self._windows(weights, sequence, rng):
                        steps.step(matrices, estimate.gradient)
                        if self.decorrelation:
                            decorrelate(weights, estimate.decorrelated, self.decorrelation)
                        total += estimate.loss * counted
                        count += counted
                finite = np.isfinite(total) and np.isfinite(weights.onward().sum())
            if not finite:
                raise DivergedError(epoch, last, self.rate, self.decorrelation)
            last = total / count
            yield last

    def _windows(
        self, weights: Weights, sequence: Window, rng: np.random.Generator
    ) -> Iterator[tuple[Estimate, int]]:
        steps, batch, _ = sequence.inputs.shape
        length = self.window or steps
        state = np.zeros((batch, weights.units), weights.dtype)
        for start in range(0, steps, length):
            part = slice(start, start + length)
            window = replace(
                sequence,
                inputs=sequence.inputs[part],
                targets=sequence.targets[part],
                counted=sequence.counted[part],
            )
            if not window.counted.any():  # nothing to learn from, but the state goes on
                state = weights.run(window.inputs, state)[1][-1].copy()
                continue
            estimate = self.rule.estimate(weights, window, state, rng)
            state = estimate.state
            yield estimate, int(window.counted.sum()) * batch


def decorrelate(weights: Weights, decorrelated: Array, rate: float) -> None:
    """One step of ``D <- D - rate C D``, in place.

    Parameters
    ----------
    weights : Weights
    decorrelated : ndarray, shape (rows, units)
        x^, whose mean product without its diagonal is C.
    rate : float
    """
    correlation = decorrelated.T @ decorrelated
    correlation *= correlation.dtype.type(rate / len(decorrelated))
    np.fill_diagonal(correlation, 0)
    weights.decorrelation -= correlation @ weights.decorrelation


def mean_loss(weights: Weights, windows: Sequence[Window]) -> float:
    """Mean loss over the counted steps of all windows, each from the state zero."""
    total = count = 0.0
    for window in windows:
        outputs, _ = weights.run(window.inputs)
        losses = step_losses(outputs, window.targets, window.loss)[window.counted]
        total += float(losses.sum(dtype=np.float64))
        count += losses.size
    return total / count
