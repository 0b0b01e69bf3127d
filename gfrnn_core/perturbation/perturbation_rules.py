"""Weight, node and activity-based node perturbation of recurrent networks.

A clean pass and several noisy passes are run together. The change of the loss from the clean to a
noisy pass gives a direction for the weights without any derivative. With ``dL_t`` the noisy loss
minus the clean one and the credit ``c_t = dL_t + ... + dL_t+k-1`` of the noise at step t:

- weight perturbation (WP), noise ``sigma Xi`` on the weights: ``dW = (dL / sigma) Xi``;
- node perturbation (NP), noise ``sigma xi_t`` on the pre-activations:
  ``dR = sum_t (c_t / sigma) xi_t x^_t-1^T``;
- activity-based node perturbation (ANP) takes the whole change of the pre-activations in place of
  the noise: ``dR = sqrt(N) sum_t c_t (z~_t - z_t) x^_t-1^T / |z~_t - z_t|^2``.

Source: arXiv 2405.08967, where the credit of a step is its own loss alone (k = 1). Longer credit
includes later effects of the noise, as backpropagation through time does, but has more variance;
with all later steps, NP and WP estimate the gradient without bias. The factor sqrt(N) of ANP is
that of the paper; with the factor N, a single random direction estimates the gradient without bias.
The length is that of a layer, a step and a sequence of the batch. With one output, the readout of
ANP learns by the exact delta rule, whatever the factor.

Several draws are averaged, or with ANP solved at once, see
:mod:`gfrnn_core.perturbation.least_squares_slopes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from gfrnn_core.perturbation.gradient_estimate import GradientEstimate, Window, slopes_of
from gfrnn_core.perturbation.least_squares_slopes import solved_slopes
from gfrnn_core.perturbation.losses import step_losses
from gfrnn_core.perturbation.weights import Weights
from gfrnn_core.value_checks import check_count

Array = NDArray[Any]
Kind = Literal["wp", "np", "anp"]
Scaling = Literal["paper", "unbiased"]
Combination = Literal["mean", "solve"]

# Largest memory of noisy weights at a time, in bytes.
_DRAWN = 2**24


@dataclass(frozen=True)
class Perturbation:
    """A rule that estimates the gradient from the losses of noisy passes.

    Parameters
    ----------
    kind : {"wp", "np", "anp"}
    sigma : float
        Standard deviation of the noise.
    draws : int
        Number of noisy passes.
    credit : int or None
        Number of steps whose loss is credited to the noise of a step, its own included; None means
        all later steps. WP always uses the whole window, since its noise is the same in all of it,
        and so does ``solve``.
    scaling : {"paper", "unbiased"}
        Factor of ANP: the square root of the number of units, or the number itself; ``solve`` needs
        none.
    combine : {"mean", "solve"}
        Combination of the draws: their mean, whose variance falls as 1 / draws, or (ANP only) the
        least-squares solution of all draws. The latter is the gradient itself if there are more
        draws than units, best by half: with about as many draws as units it is ill determined.

    Raises
    ------
    ValueError
        If kind, scaling or combination do not exist, ``solve`` is used with another rule than ANP,
        or the noise or a number of draws or steps is not positive.
    """

    kind: Kind = "anp"
    sigma: float = 1e-3
    draws: int = 1
    credit: int | None = 1
    scaling: Scaling = "paper"
    combine: Combination = "mean"

    def __post_init__(self) -> None:
        choices = {"kind": Kind, "scaling": Scaling, "combine": Combination}
        for name, allowed in choices.items():
            if getattr(self, name) not in get_args(allowed):
                found, options = getattr(self, name), ", ".join(get_args(allowed))
                raise ValueError(f"{name}: {found!r} is not one of {options}")
        if self.combine == "solve" and self.kind != "anp":
            raise ValueError(
                f"combine: 'solve' is for kind 'anp' only, not {self.kind!r}; take 'mean'"
            )
        if not 0 < self.sigma < np.inf:
            raise ValueError(
                f"sigma: {self.sigma} is not positive; without noise nothing is learnt"
            )
        check_count("draws", self.draws)
        if self.credit is not None:
            check_count("credit", self.credit)

    def estimate(
        self, weights: Weights, window: Window, state: Array, rng: np.random.Generator
    ) -> GradientEstimate:
        """Return the loss and the estimated gradient of one window.

        All passes start from the same state, so that losses differ only by the noise of the window.

        Parameters
        ----------
        weights : Weights
        window : Window
        state : ndarray, shape (batch, units)
            x before the first step.
        rng : numpy.random.Generator

        Returns
        -------
        GradientEstimate

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
    ) -> GradientEstimate:
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
        if self.kind == "np":
            by_noise = worse_credit(worse, self.credit), worse
            hidden, readout = (
                _mean(change, factors / dtype.type(self.sigma**2))
                for change, factors in zip((noise, output_noise), by_noise, strict=True)
            )
        else:
            changes = force[:, 1:] - force[:, :1], out[:, 1:] - out[:, :1]
            if self.combine == "solve":
                hidden, readout = solved_slopes(changes[0], noise, changes[1], output_noise, worse)
            else:
                hidden = self._along(changes[0], worse_credit(worse, self.credit))
                readout = self._along(changes[1], worse)
        share = dtype.type(1.0 / (window.counted.sum() * batch))
        hidden, readout = ((share * part).reshape(steps * batch, -1) for part in (hidden, readout))
        slopes = slopes_of(hidden, readout, window.inputs, done.decorrelated)
        clean = done.states.reshape(steps, passes, batch, units)[:, 0]
        loss = float(losses[window.counted, 0].mean(dtype=np.float64))
        after = done.decorrelated[1:].reshape(-1, units)
        return GradientEstimate(loss, slopes, clean.reshape(-1, units), after, clean[-1].copy())

    def _weight_perturbation(
        self, weights: Weights, window: Window, state: Array, rng: np.random.Generator
    ) -> GradientEstimate:
        batch, units, dtype = window.inputs.shape[1], weights.units, weights.dtype
        clean = weights.propagate(weights.driven(window.inputs), state, kept=batch)
        trained = tuple(weights.trained())
        # Sum the clean loss in the order of the noisy ones: rounding cancels in differences.
        alone = [one[None] for one in trained]
        loss = _mean_losses(_outputs(alone, weights.decorrelation, window, state), window)
        slopes = tuple(np.zeros_like(matrix) for matrix in trained)
        together = max(1, _DRAWN // sum(one.nbytes for one in trained))
        for first in range(0, self.draws, together):
            count = min(together, self.draws - first)
            noise = [self._noise(rng, (count, *one.shape), dtype) for one in trained]
            moved = [one + xi for one, xi in zip(trained, noise, strict=True)]
            worse = _mean_losses(_outputs(moved, weights.decorrelation, window, state), window)
            worse = (worse - loss).astype(dtype) / dtype.type(self.sigma**2 * self.draws)
            for total, xi in zip(slopes, noise, strict=True):
                total += np.tensordot(worse, xi, axes=1)
        decorrelated = clean.decorrelated[1:].reshape(-1, units)
        states = clean.states.reshape(-1, units)
        return GradientEstimate(
            float(loss[0]), slopes, states, decorrelated, clean.states[-1].copy()
        )

    def _along(self, change: Array, credit: Array) -> Array:
        """Return ANP's slopes as the mean over draws, scaled by its factor."""
        return _mean(change, self._factor(change.shape[-1]) * credit / _squares(change))

    def _noise(
        self, rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> Array:
        noise = np.asarray(rng.standard_normal(shape, dtype=dtype))
        noise *= dtype.type(self.sigma)
        return noise

    def _factor(self, units: int) -> float:
        return float(units) if self.scaling == "unbiased" else float(np.sqrt(units))


def worse_credit(worse: Array, credit: int | None) -> Array:
    """Return sums of loss changes over ``credit`` steps, from each step on.

    Parameters
    ----------
    worse : ndarray, shape (steps, ...)
    credit : int or None
        Number of steps; None means all later steps.
    """
    if credit == 1:
        return worse
    to_come = np.cumsum(worse[::-1], axis=0)[::-1]
    if credit is not None and credit < len(worse):
        to_come[:-credit] -= to_come[credit:].copy()
    return np.asarray(to_come)


def _squares(change: Array) -> Array:
    """Return the squared length of each change, never zero: shape (..., n) to (...)."""
    square = np.einsum("...i,...i->...", change, change)
    return np.asarray(np.maximum(square, np.finfo(change.dtype).tiny))


def _mean(change: Array, factors: Array) -> Array:
    """Return the mean over draws: shapes (steps, draws, batch, n) and (steps, draws, batch)."""
    summed = np.einsum("tdbi,tdb->tbi", change, factors)
    return np.asarray(summed / summed.dtype.type(change.shape[1]))


def _outputs(moved: list[Array], decorrelation: Array, window: Window, state: Array) -> Array:
    """Return outputs with the W0, R and W1 of each draw: (draws, steps, batch, outputs)."""
    inputs, recurrent, readout = (one.transpose(0, 2, 1) for one in moved)
    steps, batch, width = window.inputs.shape
    force = window.inputs.reshape(steps * batch, width) @ inputs
    force = force.reshape(len(recurrent), steps, batch, -1)
    now = np.broadcast_to(state @ decorrelation.T, (len(recurrent), *state.shape))
    outputs = np.empty((*force.shape[:3], readout.shape[2]), force.dtype)
    for t in range(steps):
        now = np.tanh(force[:, t] + now @ recurrent) @ decorrelation.T
        outputs[:, t] = now @ readout
    return outputs


def _mean_losses(outputs: Array, window: Window) -> Array:
    """Return the mean loss of each draw: (draws, steps, batch, outputs) to (draws,)."""
    losses = step_losses(outputs, window.targets, window.loss)
    return np.asarray(losses[:, window.counted].mean(axis=(1, 2), dtype=np.float64))
