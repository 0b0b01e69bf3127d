"""Windows of steps, and the estimate of loss and gradient that every rule returns for one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn_core.perturbation.losses import Loss, check_loss
from gfrnn_core.perturbation.low_rank_products import LowRankProduct, dense
from gfrnn_core.perturbation.weights import Weights

Array = NDArray[Any]


@dataclass(frozen=True)
class Window:
    """Successive steps of a batch of sequences.

    Attributes
    ----------
    inputs : ndarray, shape (steps, batch, inputs)
    targets : ndarray, shape (steps, batch, outputs)
    counted : ndarray of bool, shape (steps,)
        Steps whose loss counts.
    loss : {"squared", "cross_entropy"}
    """

    inputs: Array
    targets: Array
    counted: Array
    loss: Loss

    def checked(self, weights: Weights) -> Window:
        """Check the window and return it in the weights' precision.

        Raises
        ------
        ValueError
            If shapes do not fit each other or the network, a number is not finite, no step counts
            or the loss does not exist.
        """
        check_loss(self.loss)
        inputs = weights.checked(self.inputs)
        targets = np.asarray(self.targets, weights.dtype)
        expected = (*inputs.shape[:2], weights.readout.shape[0])
        if targets.shape != expected:
            raise ValueError(f"targets: shape {targets.shape} is not {expected}")
        for name, series in (("inputs", inputs), ("targets", targets)):
            if not np.isfinite(series).all():
                raise ValueError(f"{name}: hold NaN or infinity; every number must be finite")
        counted = np.asarray(self.counted, dtype=bool)
        if counted.shape != inputs.shape[:1] or not counted.any():
            raise ValueError(
                f"counted: shape {counted.shape} is not ({len(inputs)},) with a step that counts"
            )
        return Window(inputs, targets, counted, self.loss)


@dataclass(frozen=True)
class GradientEstimate:
    """An estimate of the gradient of the mean loss over counted steps and batch.

    Attributes
    ----------
    loss : float
        Loss of the clean pass, which is the pass without noise.
    slopes : tuple of ndarray or LowRankProduct
        Gradients for W0, R and W1, in the order of :meth:`Weights.trained`.
    states, decorrelated : ndarray, shape (steps * batch, units)
        x and x^ of the clean pass.
    state : ndarray, shape (batch, units)
        x after the last step.
    """

    loss: float
    slopes: tuple[Array | LowRankProduct, ...]
    states: Array
    decorrelated: Array
    state: Array

    @property
    def gradient(self) -> tuple[Array, ...]:
        """The slopes as matrices."""
        return tuple(dense(slope) for slope in self.slopes)


def slopes_of(
    hidden: Array, readout: Array, inputs: Array, decorrelated: Array
) -> tuple[LowRankProduct, LowRankProduct, LowRankProduct]:
    """Return the slopes for W0, R and W1, as products that are not formed yet.

    Parameters
    ----------
    hidden : ndarray, shape (steps * batch, units)
        Slopes of the loss with respect to the pre-activations.
    readout : ndarray, shape (steps * batch, outputs)
        Slopes of the loss with respect to the outputs.
    inputs : ndarray, shape (steps, batch, inputs)
    decorrelated : ndarray, shape (steps + 1, batch, units)
        x^ before the first step and after each.
    """
    rows = len(hidden)
    before, after = (part.reshape(rows, -1) for part in (decorrelated[:-1], decorrelated[1:]))
    return (
        LowRankProduct(hidden, inputs.reshape(rows, -1)),
        LowRankProduct(hidden, before),
        LowRankProduct(readout, after),
    )
