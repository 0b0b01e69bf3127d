"""Weight, node and activity-based node perturbation, in time.

A clean and some noisy passes run side by side. How much worse a noisy one does tells, without any
derivative, how the weights should move. With ``dL_t`` the noisy loss minus the clean one and the
credit ``c_t = dL_t + ... + dL_t+k-1`` of the noise at step t:

- weight perturbation (WP), noise ``sigma Xi`` on the weights: ``dW = (dL / sigma) Xi``;
- node perturbation (NP), noise ``sigma xi_t`` on the pre-activations:
  ``dR = sum_t (c_t / sigma) xi_t x^_t-1^T``;
- activity-based node perturbation (ANP) takes the whole change of the pre-activations in place of
  the noise: ``dR = sqrt(N) sum_t c_t (z~_t - z_t) x^_t-1^T / |z~_t - z_t|^2``.

Source: arXiv 2405.08967, where the credit of a step is its own loss alone (k = 1). Longer credit
sees what the noise does later, as backpropagation through time does, at the price of more variance;
with all steps to come NP and WP estimate the gradient without bias. ANP's factor sqrt(N) is the
paper's; a single random direction among N estimates the gradient without bias with the factor N.
The length is that of a layer, a step and a sequence of the batch. With one output, ANP's readout
learns by the exact delta rule, whatever the factor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from gfrnn_core.perturbation.checks import check_count
from gfrnn_core.perturbation.estimate import Estimate, Window, slopes_of
from gfrnn_core.perturbation.losses import step_losses
from gfrnn_core.perturbation.weights import Weights

Array = NDArray[Any]
Kind = Literal["wp", "np", "anp"]
Scaling = Literal["paper", "unbiased"]


@dataclass(frozen=True)
class Perturbation:
    """A rule that learns from the loss of noisy passes.

    Parameters
    ----------
    kind : {"wp", "np", "anp"}
    sigma : float
        Standard deviation of the noise.
    draws : int
        Noisy passes that are averaged; their variance falls as 1 / draws.
    credit : int or None
        Steps whose loss noise is held to account for, its own included; None is all to come. WP
        always takes all of the window, since its noise stays for all of it.
    scaling : {"paper", "unbiased"}
        ANP's factor, the square root of the number of units or the number itself.

    Raises
    ------
    ValueError
        For a kind or scaling that does not exist, noise that is not positive, or a number of draws
        or steps that is not.
    """

    kind: Kind = "anp"
    sigma: float = 1e-3
    draws: int = 1
    credit: int | None = 1
    scaling: Scaling = "paper"

    def __post_init__(self) -> None:
        for name, allowed in (("kind", get_args(Kind)), ("scaling", get_args(Scaling))):
            if getattr(self, name) not in allowed:
                found, options = getattr(self, name), ", ".join(allowed)
                raise ValueError(f"{name}: {found!r} is not one of {options}")
        if not 0 < self.sigma < np.inf:
            raise ValueError(
                f"sigma: {self.sigma} is not positive; without noise nothing is learnt"
            )
        check_count("draws", self.draws)
        if self.credit is not None:
            check_count("credit", self.credit)

    def estimate(
        self, weights: Weights, window: Window, state: Array, rng: np.random.Generator
    ) -> Estimate:
        """Loss and update direction of one window.

        All passes start from the same state, so that noise answers for what it did in the window.

        Parameters
        ----------
        weights : Weights
        window : Window
        state : ndarray, shape (batch, units)
            x before the first step.
        rng : numpy.random.Generator

        Returns
        -------
        Estimate

        Raises
        ------
        ValueError
            If the state's shape does not fit.
        """
        state = weights.checked_state(state, window.inputs.shape[1])
        if self.kind == "wp":
            return self._weight_perturbation(weights, window, state, rng)
        return self._node_perturbation(weights, window, state, rng)

    def _node_perturbation(
        self, weights: Weights, window: Window, state: Array, rng: np.random.Generator
    ) -> Estimate:
        steps, batch, _ = window.inputs.shape
        units, outputs, dtype = weights.units, weights.readout.shape[0], weights.dtype
        noise = self._noise(rng, (steps, self.draws, batch, units), dtype)
        output_noise = self._noise(rng, (steps, self.draws, batch, outputs), dtype)
        # Row 0 of the passes is the clean one; all share one product a step.
        passes = 1 + self.draws
        force = np.empty((steps, passes, batch, units), dtype)
        force[:] = weights.driven(window.inputs)[:, None]
        force[:, 1:] += noise
        start = np.repeat(state[None], passes, axis=0).reshape(passes * batch, units)
        done = weights.propagate(force.reshape(steps, passes * batch, units), start, kept=batch)
        out = done.outputs.reshape(steps, passes, batch, outputs)
        out[:, 1:] += output_noise
        losses = step_losses(out, window.targets[:, None], window.loss)
        worse = (losses[:, 1:] - losses[:, :1]) * window.counted[:, None, None]
        credit = worse_credit(worse, self.credit)
        if self.kind == "anp":
            np.subtract(force[:, 1:], force[:, :1], out=noise)
            hidden = _weighted(noise, self._factor(units) * credit / _squares(noise))
            output_noise = out[:, 1:] - out[:, :1]
            by_output = self._factor(outputs) * worse / _squares(output_noise)
        else:
            hidden = _weighted(noise, credit / dtype.type(self.sigma**2))
            by_output = worse / dtype.type(self.sigma**2)
        readout = _weighted(output_noise, by_output)
        share = dtype.type(1.0 / (window.counted.sum() * batch * self.draws))
        hidden, readout = ((share * part).reshape(steps * batch, -1) for part in (hidden, readout))
        slopes = slopes_of(hidden, readout, window.inputs, done.decorrelated)
        clean = done.states.reshape(steps, passes, batch, units)[:, 0]
        loss = float(losses[window.counted, 0].mean(dtype=np.float64))
        after = done.decorrelated[1:].reshape(-1, units)
        return Estimate(loss, slopes, clean.reshape(-1, units), after, clean[-1].copy())

    def _weight_perturbation(
        self, weights: Weights, window: Window, state: Array, rng: np.random.Generator
    ) -> Estimate:
        batch, units, dtype = window.inputs.shape[1], weights.units, weights.dtype
        clean = weights.propagate(weights.driven(window.inputs), state, kept=batch)
        loss = _mean_loss(clean.outputs, window)
        trained = tuple(weights.trained())
        slopes = tuple(np.zeros_like(matrix) for matrix in trained)
        for _ in range(self.draws):
            noise = [self._noise(rng, one.shape, dtype) for one in trained]
            inputs, recurrent, readout = (w + xi for w, xi in zip(trained, noise, strict=True))
            moved = Weights(inputs, recurrent, readout, weights.decorrelation)
            worse = _mean_loss(moved.run(window.inputs, state)[0], window) - loss
            for total, xi in zip(slopes, noise, strict=True):
                xi *= dtype.type(worse / (self.sigma**2 * self.draws))
                total += xi
        decorrelated = clean.decorrelated[1:].reshape(-1, units)
        states = clean.states.reshape(-1, units)
        return Estimate(loss, slopes, states, decorrelated, clean.states[-1].copy())

    def _noise(
        self, rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> Array:
        noise = np.asarray(rng.standard_normal(shape, dtype=dtype))
        noise *= dtype.type(self.sigma)
        return noise

    def _factor(self, units: int) -> float:
        return float(units) if self.scaling == "unbiased" else float(np.sqrt(units))


def worse_credit(worse: Array, credit: int | None) -> Array:
    """Sum of each step's loss change and those of the steps after it, ``credit`` in all.

    Parameters
    ----------
    worse : ndarray, shape (steps, ...)
    credit : int or None
        None is all that follow.
    """
    if credit == 1:
        return worse
    to_come = np.cumsum(worse[::-1], axis=0)[::-1]
    if credit is not None and credit < len(worse):
        to_come[:-credit] -= to_come[credit:].copy()
    return np.asarray(to_come)


def _squares(change: Array) -> Array:
    """Squared length of each change, never zero: shape (..., n) to (...)."""
    square = np.einsum("...i,...i->...", change, change)
    return np.asarray(np.maximum(square, np.finfo(change.dtype).tiny))


def _weighted(change: Array, factors: Array) -> Array:
    """Sum over draws: shapes (steps, draws, batch, n) and (steps, draws, batch)."""
    return np.asarray(np.einsum("tdbi,tdb->tbi", change, factors))


def _mean_loss(outputs: Array, window: Window) -> float:
    losses = step_losses(outputs, window.targets, window.loss)
    return float(losses[window.counted].mean(dtype=np.float64))
