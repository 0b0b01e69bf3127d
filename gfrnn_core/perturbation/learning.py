"""Train a network by epochs over sequences: windows, updates, decorrelation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from gfrnn_core.perturbation.backpropagation import Backpropagation
from gfrnn_core.perturbation.decorrelation import decorrelate
from gfrnn_core.perturbation.gradient_estimate import GradientEstimate, Window
from gfrnn_core.perturbation.losses import step_losses
from gfrnn_core.perturbation.optimisers import OptimiserName, optimiser
from gfrnn_core.perturbation.perturbation_rules import Perturbation
from gfrnn_core.perturbation.weights import Weights
from gfrnn_core.value_checks import check_count, check_seed

Array = NDArray[Any]


Schedule = Literal["constant", "cosine"]

_RUNAWAY = 1e4
"""Multiple of the initial loss, or of the loss of zero outputs, above which learning has diverged.

Perturbation rules do not recover from such a loss: the effect of noise is lost in rounding, so the
loss stays constant and never becomes infinite.
"""


class DivergedError(ArithmeticError):
    """Learning diverged: the loss became too large, or a weight is not finite.

    Attributes
    ----------
    epoch : int
        Epoch, counted from 1.
    last : float or None
        Training loss of the epoch before; None in the first epoch.
    """

    def __init__(self, epoch: int, last: float | None, rate: float, decorrelation: float) -> None:
        self.epoch, self.last = epoch, last
        self._rates = rate, decorrelation
        before = "no epoch ended before" if last is None else f"the last finite loss was {last:.4g}"
        super().__init__(
            f"epoch {epoch}: the loss diverged; {before}. Take a smaller learning rate "
            f"(now {rate:g}) or decorrelation rate (now {decorrelation:g})"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions are pickled with their message, which is not what this one is made of.
        return type(self), (self.epoch, self.last, *self._rates)


@dataclass(frozen=True)
class Learning:
    """Settings of training: a rule, rates, windows and epochs.

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
    schedule : {"constant", "cosine"}
        Whether both rates are constant, or fall along half a cosine to 0 over all updates, so that
        noise in the updates averages out in the end (Loshchilov and Hutter 2017, arXiv 1608.03983,
        without restarts).
    seed : int
        Seed of the noise.

    Raises
    ------
    ValueError
        If a number is out of its range.
    """

    rule: Perturbation | Backpropagation
    rate: float
    optimiser: OptimiserName = "sgd"
    decorrelation: float = 0.0
    window: int | None = None
    epochs: int = 100
    schedule: Schedule = "constant"
    seed: int = 0

    def __post_init__(self) -> None:
        optimiser(self.optimiser, self.rate)
        check_seed(self.seed)
        if not 0 <= self.decorrelation < np.inf:
            raise ValueError(f"decorrelation: {self.decorrelation} is negative or not finite")
        if self.schedule not in get_args(Schedule):
            options = ", ".join(get_args(Schedule))
            raise ValueError(f"schedule: {self.schedule!r} is not one of {options}")
        check_count("epochs", self.epochs)
        if self.window is not None:
            check_count("window", self.window)

    def losses(self, weights: Weights, train: Sequence[Window]) -> Iterator[float]:
        """Train, yielding after every epoch; the weights are changed in place.

        Parameters
        ----------
        weights : Weights
        train : sequence of Window
            Batches of sequences; each begins with the state zero.

        Yields
        ------
        float
            Mean loss of the clean passes of the epoch, during learning.

        Raises
        ------
        ValueError
            If shapes do not fit.
        DivergedError
            If the loss becomes too large, or a weight is not finite.
        """
        sequences = _checked(weights, train)
        rng = np.random.default_rng(self.seed)
        steps = optimiser(self.optimiser, self.rate)
        matrices = tuple(weights.trained())
        last: float | None = None
        limit = _RUNAWAY * max(mean_loss(weights, sequences), _silent_loss(sequences))
        updates, done = self.epochs * sum(map(self._updates, sequences)), 0
        for epoch in range(1, self.epochs + 1):
            total = count = 0.0
            # A diverging loss overflows first; it is reported below.
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                for sequence in sequences:
                    for estimate, counted in self._windows(weights, sequence, rng):
                        if not estimate.loss <= limit:
                            raise DivergedError(epoch, last, self.rate, self.decorrelation)
                        share = self._share(done / updates)
                        steps.rate, done = self.rate * share, done + 1
                        steps.step(matrices, estimate.slopes)
                        if self.decorrelation:
                            eps = self.decorrelation * share
                            decorrelate(weights, estimate.decorrelated, eps)
                        total += estimate.loss * counted
                        count += counted
            if not all(np.isfinite(one).all() for one in (*matrices, weights.decorrelation)):
                raise DivergedError(epoch, last, self.rate, self.decorrelation)
            last = total / count
            yield last

    def _share(self, passed: float) -> float:
        """Return the factor on the rates after this share of all updates."""
        return 1.0 if self.schedule == "constant" else float(1 + np.cos(np.pi * passed)) / 2

    def _updates(self, sequence: Window) -> int:
        """Return the number of windows of a sequence that have a counted step."""
        length = self.window or len(sequence.inputs)
        starts = range(0, len(sequence.inputs), length)
        return sum(bool(sequence.counted[start : start + length].any()) for start in starts)

    def _windows(
        self, weights: Weights, sequence: Window, rng: np.random.Generator
    ) -> Iterator[tuple[GradientEstimate, int]]:
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
            if not window.counted.any():  # nothing to learn from, but the state must advance
                state = weights.run(window.inputs, state)[1][-1]
                continue
            estimate = self.rule.estimate(weights, window, state, rng)
            state = estimate.state
            yield estimate, int(window.counted.sum()) * batch


def mean_loss(weights: Weights, windows: Sequence[Window]) -> float:
    """Return the mean loss over the counted steps of all windows, each from the state zero.

    Raises
    ------
    ValueError
        If shapes do not fit, or there is no window.
    """
    windows = _checked(weights, windows)
    return _mean([weights.run(window.inputs)[0] for window in windows], windows)


def _silent_loss(windows: Sequence[Window]) -> float:
    return _mean([np.zeros_like(window.targets) for window in windows], windows)


def _mean(outputs: Sequence[Array], windows: Sequence[Window]) -> float:
    total = count = 0.0
    for output, window in zip(outputs, windows, strict=True):
        losses = step_losses(output, window.targets, window.loss)[window.counted]
        total += float(losses.sum(dtype=np.float64))
        count += losses.size
    return total / count


def _checked(weights: Weights, windows: Sequence[Window]) -> list[Window]:
    if not windows:
        raise ValueError("windows: there are none; at least one sequence is needed")
    return [window.checked(weights) for window in windows]
