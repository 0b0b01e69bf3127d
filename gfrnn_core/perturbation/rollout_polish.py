"""Improve the rollouts of a solved network by perturbing the output of each step.

Least squares finds the best outer weights for one step. This module improves them for rollouts over
several steps, from forward passes alone: :mod:`gfrnn_core.perturbation.rollout_gradient` estimates
the gradient by node perturbation (arXiv 2405.08967). Features are nearly collinear, so the gradient
is preconditioned by the triangle that the weights were solved from: ``(F'F / N)^-1`` with a ridge,
the step that least squares would take.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn_core.perturbation.rollout_gradient import (
    Evaluate,
    RolloutNoise,
    RolloutStarts,
    RolloutSums,
    evaluate_here,
    lead_weights,
    scaled_starts,
)
from gfrnn_core.regression import RidgePath
from gfrnn_core.sampled_rnn import SampledRNN
from gfrnn_core.triangles.rfactor import RFactor
from gfrnn_core.value_checks import check_count

Array = NDArray[Any]


@dataclass(frozen=True)
class Iteration:
    """Record of one trial step.

    Attributes
    ----------
    rate : float
        Rate of the trial; 0 for the given network.
    loss, held : float
        Losses of the trial network on the training and the held-out starts; ``held`` is NaN if the
        trial was rejected or there are no held-out starts.
    accepted : bool
    lost : int
        Number of training starts whose rollout diverged.
    """

    rate: float
    loss: float
    held: float
    accepted: bool
    lost: int


@dataclass(frozen=True)
class Polished:
    """A polished network and the record of its iterations.

    Attributes
    ----------
    network : SampledRNN
        With held-out starts, the iterate of least loss on them, or the given network if none is
        better; without them, the last iterate.
    iterations : sequence of Iteration
        Trial steps; the first entry is the given network.
    """

    network: SampledRNN
    iterations: Sequence[Iteration]

    @property
    def best(self) -> Iteration:
        """Iteration that resulted in the network."""
        accepted = [one for one in self.iterations if one.accepted]
        if np.isnan(accepted[0].held):
            return accepted[-1]
        return min(accepted, key=lambda one: one.held)


@dataclass(frozen=True)
class Polish:
    """Descent with backtracking on the loss of a rollout over several steps.

    Parameters
    ----------
    noise : float
        Standard deviation of the perturbation, in the network's scaled units.
    draws : int
        Number of antithetic pairs per start and iteration.
    rate : float
        Rate of the first step; 1 would solve the least-squares problem of a single step.
    ridge : float
        Ridge of the preconditioner, relative to the largest singular value of the features.
        Weights hardly change along directions of smaller singular values.
    iterations : int
        Largest number of trial steps.
    growth : float
        Factor on the rate after an accepted step.
    memory : float
        Share of earlier directions in the next one, which averages out the noise of estimates.
    least : float
        Stop when the rate has fallen below this share of the first.
    seed : int
        The same seed, network and starts give the same result.

    Raises
    ------
    ValueError
        If a number is not allowed, for example zero noise.
    """

    noise: float = 1e-2
    draws: int = 6
    rate: float = 0.02
    ridge: float = 1e-3
    iterations: int = 30
    growth: float = 1.2
    memory: float = 0.8
    least: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        RolloutNoise(self.noise, self.draws, (self.seed,))
        check_count("iterations", self.iterations)
        if not 0 <= self.memory < 1:
            raise ValueError(f"memory: {self.memory} is not within [0, 1)")
        for name, low in (("rate", 0.0), ("ridge", 0.0), ("growth", 1.0), ("least", 0.0)):
            value = getattr(self, name)
            if not (low <= value < np.inf and (value > 0)):
                above = "1 or above" if low else "positive"
                raise ValueError(f"{name}: {value} is not finite and {above}")

    def run(
        self,
        network: SampledRNN,
        training: RolloutStarts,
        held: RolloutStarts | None = None,
        *,
        factor: RFactor | None = None,
        evaluate: Evaluate = evaluate_here,
        progress: Callable[[Iteration], None] | None = None,
    ) -> Polished:
        """Polish the outer weights of a solved network.

        A step is accepted only if the loss over the training starts falls; otherwise it is tried
        again at half the rate, in a direction to which one more estimate was added.

        Parameters
        ----------
        network : SampledRNN
            A solved network with lead 1 alone, targets that are states or increments, and no
            patches.
        training : RolloutStarts
        held : RolloutStarts, optional
            Held-out starts, which only select among the steps. They must not be part of the fit
            either: the error on data of the fit is too small, and no later iterate would be
            selected. Without them all accepted steps are kept.
        factor : RFactor, optional
            R factor of the network's rows; by default the one in the network.
        evaluate : callable
            Maps (network without its factor, starts, noise or None) to :class:`RolloutSums`. On a
            cluster, map :func:`evaluate_chunk` over chunks and add the results.
        progress : callable, optional
            Called with each iteration.

        Raises
        ------
        ValueError
            If starts do not fit the network, it cannot be polished, or there is no triangle.
        """
        weights = lead_weights(network)
        given = network.factor if factor is None else factor
        if given is None:
            raise ValueError("factor: the network has no R factor, and none was given; pass one")
        precondition = _preconditioner(given, weights, self.ridge)
        for starts in (training, held):
            if starts is not None:
                scaled_starts(network, starts.part(0, 1))

        def evaluated(
            outer: Array, starts: RolloutStarts, noise: RolloutNoise | None
        ) -> RolloutSums:
            return evaluate(_with(network, outer), starts, noise)

        def score(outer: Array) -> float:
            return np.nan if held is None else evaluated(outer, held, None).loss

        current, best = weights, weights
        loss = evaluated(current, training, None)
        records = [Iteration(0.0, loss.loss, score(current), True, loss.lost)]
        least, rate, direction = records[0].held, self.rate, np.zeros_like(weights)
        if progress:
            progress(records[-1])
        for number in range(1, self.iterations + 1):
            if rate < self.least * self.rate:
                break
            noise = RolloutNoise(self.noise, self.draws, (self.seed, number))
            slope = precondition(evaluated(current, training, noise))
            direction = self.memory * direction + (1 - self.memory) * slope
            # Correct the bias of the first estimates, as Adam does.
            trial = current - rate / (1 - self.memory**number) * direction
            found = evaluated(trial, training, None)
            accepted = found.loss < loss.loss
            mark = score(trial) if accepted else np.nan
            records.append(Iteration(rate, found.loss, mark, accepted, found.lost))
            if progress:
                progress(records[-1])
            rate = rate * self.growth if accepted else rate / 2
            if not accepted:
                continue
            current, loss = trial, found
            if held is None or mark < least:
                best, least = trial, mark
        return Polished(replace(network, outer=best[None]), records)


def _preconditioner(
    factor: RFactor, weights: Array, ridge: float
) -> Callable[[RolloutSums], Array]:
    """Return the map from a gradient to the step that least squares would take, with a ridge.

    The mean squared error over coordinates of one step has the Hessian ``2 F'F / (N d)``.
    """
    features, size = weights.shape
    if factor.columns < features + size:
        raise ValueError(
            f"factor: {factor.columns} columns, but the network has {features} features and "
            f"{size} targets; it comes from another network"
        )
    path = RidgePath.from_factor(factor, features, size)
    strength = path.singular_values**2 + (ridge * path.singular_values[0]) ** 2
    scale = factor.rows * size / 2

    def precondition(sums: RolloutSums) -> Array:
        if sums.gradient is None:
            raise ValueError("evaluate: gave no gradient, although there was noise")
        turned = path.right @ (sums.gradient / sums.starts)
        return np.asarray(scale * (path.right.T @ (turned / strength[:, None])))

    return precondition


def _with(network: SampledRNN, outer: Array) -> SampledRNN:
    """Return the network with other weights, and without its triangle, to send less data."""
    return replace(network, outer=outer[None], factor=None)
