"""Backpropagation through time: the true gradient, as the reference of the perturbation rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn_core.perturbation.gradient_estimate import GradientEstimate, Window, slopes_of
from gfrnn_core.perturbation.losses import output_gradient, step_losses
from gfrnn_core.perturbation.weights import Weights

Array = NDArray[Any]


@dataclass(frozen=True)
class Backpropagation:
    """Rule that computes the exact gradient of a window's mean loss.

    The gradient goes through all steps of the window: windows as long as the sequences give full
    backpropagation through time, shorter ones truncate it at their borders (Williams and Peng 1990,
    Neural Computation 2, 490-501). D is not trained, but the gradient passes through D.
    """

    def estimate(
        self, weights: Weights, window: Window, state: Array, rng: np.random.Generator | None = None
    ) -> GradientEstimate:
        """Return loss and gradient of a window, see `Perturbation.estimate`; `rng` is not used."""
        steps, batch, _ = window.inputs.shape
        units = weights.units
        state = weights.checked_state(state, batch)
        passes = weights.propagate(weights.driven(window.inputs), state, kept=batch)
        losses = step_losses(passes.outputs, window.targets, window.loss)[window.counted]
        share = weights.dtype.type(1.0 / (window.counted.sum() * batch))
        by_output = output_gradient(passes.outputs, window.targets, window.loss) * share
        by_output[~window.counted] = 0
        flat = by_output.reshape(steps * batch, -1)
        by_state = (flat @ (weights.readout @ weights.decorrelation)).reshape(steps, batch, units)
        by_activation = np.subtract(1, np.square(passes.states))
        later = np.zeros_like(state)
        for t in range(steps - 1, -1, -1):
            if passes.onward is not None:
                later = later @ passes.onward
            else:
                later = (later @ weights.recurrent) @ weights.decorrelation
            later += by_state[t]
            by_activation[t] *= later
            later = by_activation[t]
        rows = by_activation.reshape(steps * batch, units)
        slopes = slopes_of(rows, flat, window.inputs, passes.decorrelated)
        return GradientEstimate(
            float(losses.mean(dtype=np.float64)),
            slopes,
            passes.states.reshape(steps * batch, units),
            passes.decorrelated[1:].reshape(steps * batch, units),
            passes.states[-1].copy(),
        )
