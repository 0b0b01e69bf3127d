"""Backpropagation through time: the true gradient, as the reference of the perturbation rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn_core.perturbation.estimate import Estimate, Window
from gfrnn_core.perturbation.losses import output_gradient, step_losses
from gfrnn_core.perturbation.weights import Weights

Array = NDArray[Any]


@dataclass(frozen=True)
class Backpropagation:
    """The gradient of a window's mean loss, exactly.

    Through all steps of the window: windows as long as the sequences give full backpropagation
    through time, shorter ones truncate it at their borders (Williams and Peng 1990, Neural
    Computation 2, 490-501). D is not trained by it, but the gradient passes through D.
    """

    def estimate(
        self, weights: Weights, window: Window, state: Array, rng: np.random.Generator | None = None
    ) -> Estimate:
        """Loss and gradient of one window, as :meth:`Perturbation.estimate`; nothing is drawn."""
        outputs, states = weights.run(window.inputs, state)
        losses = step_losses(outputs, window.targets, window.loss)[window.counted]
        share = weights.dtype.type(1.0 / (window.counted.sum() * window.inputs.shape[1]))
        by_output = output_gradient(outputs, window.targets, window.loss) * share
        by_output[~window.counted] = 0
        by_state = by_output @ weights.outward().T
        slope = 1 - np.square(states)
        back = np.ascontiguousarray(weights.onward().T)
        by_activation = np.empty_like(states)
        later = np.zeros_like(state)
        for t in range(len(states) - 1, -1, -1):
            later = np.multiply(by_state[t] + later @ back, slope[t], out=by_activation[t])
        decorrelated = weights.decorrelated(states)
        before = np.concatenate([weights.decorrelated(state)[None], decorrelated[:-1]])
        gradient = (
            _product(by_activation, window.inputs),
            _product(by_activation, before),
            _product(by_output, decorrelated),
        )
        flat = decorrelated.reshape(-1, weights.units)
        return Estimate(float(losses.mean(dtype=np.float64)), gradient, flat, states[-1].copy())


def _product(left: Array, right: Array) -> Array:
    return np.asarray(left.reshape(-1, left.shape[-1]).T @ right.reshape(-1, right.shape[-1]))
