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
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from gfrnn_core.perturbation.estimate import Estimate, Window
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
        for name in ("draws", "credit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: {value} is not a positive integer")

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
        """
        if self.kind == "wp":
            return self._weight_perturbation(weights, window, state, rng)
        return self._node_perturbation(weights, window, state, rng)

    def _node_perturbation(
        self, weights: Weights, window: Window, state: Array, rng: np.random.Generator
    ) -> Estimate:
        steps, batch, _ = window.inputs.shape
        units, outputs, dtype = weights.units, weights.readout.shape[0], weights.dtype
        noise = rng.standard_normal((steps, self.draws, batch, units), dtype=dtype)
        noise *= dtype.type(self.sigma)
        output_noise = rng.standard_normal((steps, self.draws, batch, outputs), dtype=dtype)
        output_noise *= dtype.type(self.sigma)
        # Row 0 of the passes is the clean one; all share one product a step.
        passes = (1 + self.draws) * batch
        drive = window.inputs @ weights.inputs.T
        onward = weights.onward()
        active = np.empty((steps, passes, units), dtype)
        change = np.empty((steps, self.draws, batch, units), dtype) if self.kind == "anp" else noise
        now = np.repeat(state[None], 1 + self.draws, axis=0).reshape(passes, units)
        for t in range(steps):
            now = np.dot(now, onward, out=active[t])
            by_pass = now.reshape(1 + self.draws, batch, units)
            by_pass += drive[t]
            by_pass[1:] += noise[t]
            if self.kind == "anp":
                np.subtract(by_pass[1:], by_pass[0], out=change[t])
            np.tanh(now, out=now)
        out = active @ weights.outward()
        out = out.reshape(steps, 1 + self.draws, batch, outputs)
        out[:, 1:] += output_noise
        losses = step_losses(out, window.targets[:, None], window.loss)
        worse = (losses[:, 1:] - losses[:, :1]) * window.counted[:, None, None]
        if self.kind == "anp":
            hidden = _directions(change, worse_credit(worse, self.credit), self._factor(units))
            readout = _directions(out[:, 1:] - out[:, :1], worse, self._factor(outputs))
        else:
            square = dtype.type(self.sigma**2)
            hidden = noise * (worse_credit(worse, self.credit) / square)[..., None]
            readout = output_noise * (worse / square)[..., None]
        clean = active.reshape(steps, 1 + self.draws, batch, units)[:, 0]
        decorrelated = weights.decorrelated(clean)
        before = np.concatenate([weights.decorrelated(state)[None], decorrelated[:-1]])
        share = 1.0 / (window.counted.sum() * batch)
        hidden, readout = hidden.mean(axis=1), readout.mean(axis=1)
        gradient = (
            _product(hidden, window.inputs, share),
            _product(hidden, before, share),
            _product(readout, decorrelated, share),
        )
        loss = float(losses[window.counted, 0].mean())
        return Estimate(loss, gradient, decorrelated.reshape(-1, units), clean[-1].copy())

    def _weight_perturbation(
        self, weights: Weights, window: Window, state: Array, rng: np.random.Generator
    ) -> Estimate:
        clean, states = weights.run(window.inputs, state)
        loss = _mean_loss(clean, window)
        trained = tuple(weights.trained())
        gradient = tuple(np.zeros_like(matrix) for matrix in trained)
        for _ in range(self.draws):
            noise = [rng.standard_normal(one.shape, dtype=weights.dtype) for one in trained]
            sigma = weights.dtype.type(self.sigma)
            inputs, recurrent, readout = (
                w + sigma * xi for w, xi in zip(trained, noise, strict=True)
            )
            moved = Weights(inputs, recurrent, readout, weights.decorrelation)
            worse = _mean_loss(moved.run(window.inputs, state)[0], window) - loss
            for total, xi in zip(gradient, noise, strict=True):
                total += xi * weights.dtype.type(worse / (self.sigma * self.draws))
        decorrelated = weights.decorrelated(states.reshape(-1, weights.units))
        return Estimate(loss, gradient, decorrelated, states[-1].copy())

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


def _directions(change: Array, credit: Array, factor: float) -> Array:
    """``factor credit change / |change|^2``: shape (steps, draws, batch, units)."""
    square = np.einsum("...i,...i->...", change, change)
    tiny = np.finfo(change.dtype).tiny
    return np.asarray(change * (factor * credit / np.maximum(square, tiny))[..., None])


def _product(left: Array, right: Array, share: float) -> Array:
    """Sum over steps and batch of outer products, as one matrix product."""
    rows = left.reshape(-1, left.shape[-1])
    columns = right.reshape(-1, right.shape[-1])
    product = rows.T @ columns
    product *= product.dtype.type(share)
    return np.asarray(product)


def _mean_loss(outputs: Array, window: Window) -> float:
    losses = step_losses(outputs, window.targets, window.loss)
    return float(losses[window.counted].mean(dtype=np.float64))
