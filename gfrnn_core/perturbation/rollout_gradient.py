"""Estimate loss and gradient of rollouts over several steps by perturbation, in chunks of starts.

The method is node perturbation (arXiv 2405.08967) at the output of every step of a
:class:`gfrnn_core.SampledRNN`. A start is rolled out with noise on the state after every step, and
with the opposite noise. Half the difference of the two losses at later steps, divided by the size
of the noise and multiplied by the noise, is in the mean over draws the slope of the loss with
respect to the output of that step, up to terms of the square of the noise's size; the features of
the unperturbed rollout turn it into the gradient with respect to the weights. Starts are
independent, so sums over chunks add up to the sums over all starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn_core.lifting import lift_into
from gfrnn_core.rollout import RolloutLoop
from gfrnn_core.sampled_rnn import SampledRNN
from gfrnn_core.value_checks import check_count, check_seed

Array = NDArray[Any]

# Bytes of features that a chunk of starts lifts at a time: about the size of a core's caches.
_BUFFER = 2**22


@dataclass(frozen=True)
class RolloutStarts:
    """Initial states of rollouts and the true states that follow, in their own units.

    Attributes
    ----------
    history : ndarray, shape (starts, at least delays, d)
        Latest states, oldest first.
    truth : ndarray, shape (starts, steps, d)
    inputs : ndarray, shape (starts, steps, p), optional
        Inputs at steps 1 to ``steps`` after the start.
    first : int
        Index of the first of these starts among all starts, which determines the noise.

    Raises
    ------
    ValueError
        If an array has another number of axes or of starts.
    """

    history: Array
    truth: Array
    inputs: Array | None = None
    first: int = 0

    def __post_init__(self) -> None:
        for name in ("history", "truth", "inputs"):
            values = getattr(self, name)
            if name == "inputs" and values is None:
                continue
            if np.ndim(values) != 3 or len(values) != len(self.history):
                raise ValueError(
                    f"{name}: shape {np.shape(values)} is not ({len(self.history)} starts, "
                    "steps or delays, values)"
                )

    @classmethod
    def cut(
        cls, states: Array, delays: int, steps: int, inputs: Array | None = None
    ) -> RolloutStarts:
        """Cut a gapless series at every start whose whole past and future lie in it.

        Parameters
        ----------
        states : ndarray, shape (times, d)
        delays, steps : int
        inputs : ndarray, shape (times, p), optional

        Raises
        ------
        ValueError
            If the series is too short, or the inputs are not as long as the states.
        """
        check_count("delays", delays)
        check_count("steps", steps)
        states = np.asarray(states, dtype=float)
        if states.ndim != 2 or len(states) < delays + steps:
            raise ValueError(
                f"states: shape {states.shape} is not (times, coordinates) with the "
                f"{delays + steps} times that {delays} delays and {steps} steps need"
            )
        if inputs is not None and (np.ndim(inputs) != 2 or len(inputs) != len(states)):
            raise ValueError(f"inputs: shape {np.shape(inputs)} is not ({len(states)}, inputs)")

        # Views of the series: windows overlap, and are never all in memory.
        def windows(values: Array) -> Array:
            return np.lib.stride_tricks.sliding_window_view(
                values, delays + steps, axis=0
            ).swapaxes(1, 2)

        seen = windows(states)
        forcing = None if inputs is None else windows(np.asarray(inputs, dtype=float))[:, delays:]
        return cls(seen[:, :delays], seen[:, delays:], forcing)

    def __len__(self) -> int:
        return len(self.history)

    def part(self, begin: int, stop: int) -> RolloutStarts:
        """Return the starts from ``begin`` to ``stop``; each keeps its noise."""
        forcing = None if self.inputs is None else self.inputs[begin:stop]
        return RolloutStarts(
            self.history[begin:stop], self.truth[begin:stop], forcing, self.first + begin
        )

    def chunks(self, size: int) -> list[RolloutStarts]:
        """Split into parts of at most ``size`` starts."""
        check_count("size", size)
        return [self.part(begin, begin + size) for begin in range(0, len(self), size)]


@dataclass(frozen=True)
class RolloutNoise:
    """Perturbation of one evaluation.

    Parameters
    ----------
    size : float
        Standard deviation, in the network's scaled units.
    draws : int
        Number of antithetic pairs of perturbed rollouts per start, which are averaged.
    seed : tuple of int
        Seed of the whole evaluation; each start adds its own index.

    Raises
    ------
    ValueError
        If the size is not positive and finite, there is no draw, or a seed is negative.
    """

    size: float
    draws: int = 1
    seed: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        if not 0 < self.size < np.inf:
            raise ValueError(
                f"noise: {self.size} is not positive and finite; without noise nothing is learnt"
            )
        check_count("draws", self.draws)
        for seed in self.seed:
            check_seed(seed)

    def drawn(self, first: int, starts: int, steps: int, size: int) -> Array:
        """Return perturbations of variance 1; those of a start do not depend on its chunk.

        The draws of a start are orthogonal to each other as far as possible: as many draws as one
        has numbers (steps times coordinates) make the estimate exact up to terms of the square of
        the noise's size.

        Returns
        -------
        ndarray, shape (draws, steps, starts, size)
        """
        room = steps * size
        numbers = np.empty((starts, self.draws, room))
        for index in range(starts):
            rng = np.random.default_rng([*self.seed, first + index])
            rng.standard_normal(out=numbers[index])
        if self.draws > 1:
            for begin in range(0, self.draws, room):
                several = numbers[:, begin : begin + room].swapaxes(1, 2)
                # QR of Gaussian columns gives a rotation without a preferred direction.
                rotation = np.linalg.qr(several).Q
                numbers[:, begin : begin + room] = np.sqrt(room) * rotation.swapaxes(1, 2)
        return np.moveaxis(numbers.reshape(starts, self.draws, steps, size), 0, 2)


@dataclass(frozen=True)
class RolloutSums:
    """Sums over starts of an evaluation; the sums of two chunks add to those of both.

    Attributes
    ----------
    starts : int
    errors : ndarray, shape (steps,)
        Squared error, in the network's scaled units, mean over coordinates.
    lost : int
        Starts whose unperturbed rollout left the range of the training data.
    gradient : ndarray, shape (features, d), or None
        Estimate of the gradient of ``errors.mean()`` in lead 1's weights; None without noise.
    """

    starts: int
    errors: Array
    lost: int
    gradient: Array | None

    @property
    def loss(self) -> float:
        """Mean loss over starts, steps and coordinates."""
        return float(self.errors.mean()) / self.starts

    def merge(self, other: RolloutSums) -> RolloutSums:
        """Return the sums over the starts of both chunks."""
        both = self.gradient is not None and other.gradient is not None
        return RolloutSums(
            self.starts + other.starts,
            self.errors + other.errors,
            self.lost + other.lost,
            np.add(self.gradient, other.gradient) if both else None,  # type: ignore[arg-type]
        )


Evaluate = Callable[[SampledRNN, RolloutStarts, RolloutNoise | None], RolloutSums]


def evaluate_chunk(
    network: SampledRNN, starts: RolloutStarts, noise: RolloutNoise | None
) -> RolloutSums:
    """Return loss and estimated gradient of one chunk of starts; the arguments do not change.

    A rollout that leaves the range of the training data by more than its extent continues from the
    border of that range, so its error is large but finite. From the step at which a perturbed
    rollout does so, its start does not contribute to the gradient.

    Parameters
    ----------
    network : SampledRNN
        A solved network.
    starts : RolloutStarts
    noise : RolloutNoise or None
        Perturbation; None gives the loss alone, by one rollout instead of ``1 + 2 draws``.

    Raises
    ------
    ValueError
        If shapes do not fit the network, a number is not finite, there is no start, or the network
        cannot be polished.
    """
    outer = lead_weights(network)
    history, truth, forcing = scaled_starts(network, starts)
    loop, low, high = network._loop(outer[None]), *_range(network)
    history, truth = history.astype(network.precision), truth.astype(network.precision)
    forcing = None if forcing is None else forcing.astype(network.precision)
    slopes = None
    if noise is not None:
        slopes = _slopes(loop, history, truth, forcing, noise, starts.first, (low, high))
    steps, count, _ = truth.shape
    features = outer.shape[0]
    memory = np.empty(count * features, dtype=history.dtype)
    block = memory.reshape((count, features), order="F")
    gradient = None if slopes is None else np.zeros(outer.shape)
    errors = np.empty(steps)
    gone = np.zeros(count, dtype=bool)
    window = history
    for step in range(steps):
        given = None if forcing is None else forcing[:, step]
        lift_into(block, np.concatenate(window[::-1], axis=1), given, loop.hidden)
        if gradient is not None and slopes is not None:
            gradient += block.T @ slopes[step]
        with np.errstate(over="ignore", invalid="ignore"):
            state = block @ loop.outer[0]
            state = state + window[-1] if loop.increment else state
        state, left = _clipped(state, low, high)
        gone |= left
        errors[step] = np.square(state - truth[step], dtype=float).mean(axis=1).sum()
        window = np.concatenate([window[1:], state[None]])
    return RolloutSums(count, errors, int(gone.sum()), gradient)


def evaluate_here(
    network: SampledRNN, starts: RolloutStarts, noise: RolloutNoise | None
) -> RolloutSums:
    """Evaluate all starts in this process, in chunks of bounded memory."""
    return merged(evaluate_chunk(network, part, noise) for part in starts.chunks(rows(network)))


def merged(sums: Iterable[RolloutSums]) -> RolloutSums:
    """Add up the sums of chunks, from left to right, so that the same chunks give the same bits."""
    total: RolloutSums | None = None
    for one in sums:
        total = one if total is None else total.merge(one)
    if total is None:
        raise ValueError("starts: there is none")
    return total


def rows(network: SampledRNN) -> int:
    """Return the number of starts whose features fit into a core's caches."""
    features = lead_weights(network).shape[0]
    return max(64, _BUFFER // (int(features) * np.dtype(network.precision).itemsize))


def lead_weights(network: SampledRNN) -> Array:
    """Return the outer weights of a network, if it can be polished: shape (features, d)."""
    if network.outer is None:
        raise ValueError("network: has no outer weights yet; call fit or solve first")
    if network.leads != (1,):
        raise ValueError(
            f"network: leads {network.leads}, but only a network with lead 1 alone can be polished;"
            " longer leads have weights of their own, which are best for them already"
        )
    unknown = {
        "patches": network.patches is not None,
        "lifted targets": network.target == "lifted",
        "joint inputs": network.joint and bool(network.inputs),
        "modulators": bool(network.modulators),
        "a limit": network.limit is not None,
        "a mask": network.mask is not None,
    }
    for what in (name for name, found in unknown.items() if found):
        raise ValueError(f"network: has {what}, which cannot be polished; take a network without")
    return np.asarray(network.outer[0])


def scaled_starts(network: SampledRNN, starts: RolloutStarts) -> tuple[Array, Array, Array | None]:
    """Check and scale history (delays, starts, d), truth (steps, starts, d) and inputs."""
    history = network._history(starts.history)[:, -network.delays :]
    truth = np.asarray(starts.truth, dtype=float)
    count, size = len(history), history.shape[2]
    if truth.shape[2] != size:
        raise ValueError(f"truth: shape {truth.shape} is not ({count}, steps, {size})")
    if 0 in truth.shape:
        raise ValueError(f"truth: shape {truth.shape} has no start or no step")
    forcing = network._given(starts.inputs, truth.shape[:2], network._trained_with())
    for name, values in (("history", history), ("truth", truth), ("inputs", forcing)):
        if values is not None and not np.isfinite(values).all():
            place = starts.first + int(np.argwhere(~np.isfinite(values))[0][0])
            raise ValueError(f"{name}: start {place} holds NaN or infinity; leave that start out")
    order = (1, 0, 2)
    return (
        network.scaled(history).transpose(order),
        network.scaled(truth).transpose(order),
        network._driven(forcing),
    )


def _range(network: SampledRNN) -> tuple[Array, Array]:
    if network.low is None or network.high is None:
        raise ValueError("network: low and high, the range of its training data, are not known")
    extent = network.high - network.low
    # A coordinate that was constant still needs a finite range.
    extent = np.where(extent > 0, extent, max(1.0, float(extent.max())))
    return network.low - extent, network.high + extent


def _clipped(state: Array, low: Array, high: Array) -> tuple[Array, Array]:
    """Move states back to the border of the range; return also which of them had left it."""
    left = np.asarray(~((state >= low) & (state <= high)).all(axis=1))
    if left.any():
        state = np.where(np.isnan(state), low, np.clip(state, low, high)).astype(state.dtype)
    return state, left


def _slopes(
    loop: RolloutLoop,
    history: Array,
    truth: Array,
    forcing: Array | None,
    noise: RolloutNoise,
    first: int,
    ends: tuple[Array, Array],
) -> Array:
    """Estimate the slope of each start's mean loss by the output of each step, shaped as truth."""
    steps, starts, size = truth.shape
    slopes = np.zeros(truth.shape, dtype=truth.dtype)
    for drawn in noise.drawn(first, starts, steps, size).astype(truth.dtype):
        losses = np.empty((2, steps, starts))
        alive = np.ones((steps, starts), dtype=bool)
        for sign, row in ((1, 0), (-1, 1)):
            window = history
            standing = np.ones(starts, dtype=bool)
            for step in range(steps):
                given = None if forcing is None else forcing[:, step]
                state = loop.step(window, given) + (sign * noise.size) * drawn[step]
                state, left = _clipped(state.astype(truth.dtype, copy=False), *ends)
                standing &= ~left
                alive[step] &= standing
                losses[row, step] = np.square(state - truth[step], dtype=float).mean(axis=1)
                window = np.concatenate([window[1:], state[None]])
        difference = np.where(alive, (losses[0] - losses[1]) / (2 * noise.size), 0.0)
        credit = difference[::-1].cumsum(axis=0)[::-1] / (steps * noise.draws)
        slopes += (credit[:, :, None] * drawn).astype(truth.dtype)
    return slopes
