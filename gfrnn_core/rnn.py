"""The sampled recurrent network: sample, factorise, solve, roll out.

Source: Bolager et al., 'Gradient-free training of recurrent neural networks', arXiv 2410.23467.
The hidden layer is sampled; the outer weights are one linear least-squares problem (extended
dynamic mode decomposition), solved from the R factor of the lifted rows. A rollout lifts again at
every step.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gfrnn_core.lifting import Columns, delayed, lift, row_blocks
from gfrnn_core.regression import RidgePath
from gfrnn_core.rfactor import RFactor
from gfrnn_core.sampling import Activation, HiddenWeights, Sampling, sample_weights

Array = NDArray[Any]
Target = Literal["state", "increment"]


@dataclass(frozen=True)
class SampledRNN:
    """A recurrent network whose hidden weights are sampled and whose outer weights are solved for.

    Parameters
    ----------
    width : int
        Number of hidden features; 0 is the linear model.
    activation : {"tanh", "relu"}
    sampling : {"pairs", "uniform_pairs", "normal"}
        How hidden weights are drawn, see :func:`gfrnn_core.sample_weights`.
    scale : float
        Standard deviation of normal weights, for standardised states.
    delays : int
        Number of successive states that the features see, the present one included.
    leads : tuple of int
        Leads, in steps, that have outer weights of their own, ascending from 1; a rollout builds
        every other lead from these.
    target : {"state", "increment"}
        What the outer weights predict. Increments suit small steps of smooth systems.
    ridge : float
        Relative to the largest singular value of the features.
    standardise : bool
        Whether ``fit`` shifts and scales each coordinate to mean 0 and standard deviation 1.
    seed : int

    Attributes
    ----------
    shift, spread : ndarray, shape (d,), or None
        Mean and standard deviation taken off each coordinate; None means not at all.
    hidden : HiddenWeights or None
        Set by :meth:`sample`.
    outer : ndarray, shape (leads, features, d), or None
        Set by :meth:`solve`.
    """

    width: int = 1000
    activation: Activation = "tanh"
    sampling: Sampling = "pairs"
    scale: float = 0.5
    delays: int = 1
    leads: tuple[int, ...] = (1,)
    target: Target = "increment"
    ridge: float = 1e-15
    standardise: bool = True
    seed: int = 0
    shift: Array | None = field(default=None, repr=False)
    spread: Array | None = field(default=None, repr=False)
    hidden: HiddenWeights | None = field(default=None, repr=False)
    outer: Array | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.delays < 1:
            raise ValueError(f"delays: {self.delays} is not a positive integer")
        if tuple(self.leads[:1]) != (1,) or list(self.leads) != sorted(set(self.leads)):
            raise ValueError(f"leads: {self.leads} is not an ascending series of steps from 1 on")
        if self.target not in ("state", "increment"):
            raise ValueError(f"target: {self.target!r} is not 'state' or 'increment'")

    # Training

    def fit(self, states: Array, inputs: Array | None = None) -> SampledRNN:
        """Standardise, sample, factorise and solve, from one gapless series in memory.

        Parameters
        ----------
        states : ndarray, shape (times, d)
        inputs : ndarray, shape (times, p), optional

        Returns
        -------
        SampledRNN
            A new network, ready to roll out.

        Raises
        ------
        ValueError
            On shapes that do not fit, values that are not finite, a constant coordinate, or fewer
            rows than feature columns.
        """
        states = _check_series(states, inputs)
        network = self
        if self.standardise:
            # The standard deviation of equal numbers may be above zero by rounding: compare them.
            varies = states.max(axis=0) > states.min(axis=0)
            if not varies.all():
                constant = int(np.flatnonzero(~varies)[0])
                raise ValueError(f"states: coordinate {constant} is constant; leave it out")
            network = replace(self, shift=states.mean(axis=0), spread=states.std(axis=0))
        scaled = network.scaled(states)
        last = len(scaled) - 1
        if last < self.delays:
            raise ValueError(f"states: {len(scaled)} times are too few for {self.delays} delays")
        pool = delayed(scaled, self.delays, self.delays - 1, last)
        network = network.sample(pool, scaled[self.delays :])
        return network.solve(network.factorise(scaled, inputs), self.ridge)

    def sample(
        self, pool: Array, following: Array | None = None, seen: Array | None = None
    ) -> SampledRNN:
        """Draw the hidden weights.

        Parameters
        ----------
        pool : ndarray, shape (states, delays * d)
            Scaled, delayed states.
        following : ndarray, shape (states, d), optional
            The scaled state one step after each; needed by sampling ``pairs``.
        seen : ndarray of bool, shape (delays * d,), optional
            The entries that hidden features see; the linear terms always see all.
        """
        seen = np.ones(pool.shape[1], dtype=bool) if seen is None else seen
        hidden = sample_weights(
            pool[:, seen],
            self.width,
            sampling=self.sampling,
            activation=self.activation,
            scale=self.scale,
            following=following,
            seed=self.seed,
        )
        weights = np.zeros((len(seen), self.width))
        weights[seen] = hidden.weights
        return replace(self, hidden=replace(hidden, weights=weights), outer=None)

    def factorise(self, states: Array, inputs: Array | None = None) -> RFactor:
        """The R factor of the rows of one gapless series of scaled states.

        Parameters
        ----------
        states : ndarray, shape (times, d)
        inputs : ndarray, shape (times, p), optional
        """
        columns = self.columns(states.shape[1], 0 if inputs is None else inputs.shape[1])
        blocks = row_blocks(
            states,
            inputs,
            self._sampled(),
            delays=self.delays,
            leads=self.leads,
            increment=self.target == "increment",
        )
        return RFactor.from_blocks(blocks, columns.total)

    def columns(self, size: int, inputs: int = 0) -> Columns:
        """The columns of a row, for states of this size and this many inputs."""
        return Columns(self.delays * size, inputs, self._sampled().width, len(self.leads) * size)

    def solve(self, factor: RFactor, ridge: ArrayLike) -> SampledRNN:
        """Outer weights from an R factor.

        Parameters
        ----------
        factor : RFactor
        ridge : float, or array of shape (leads,)
            Relative to the largest singular value; one for all leads or one a lead.
        """
        size = self._sampled().inputs // self.delays
        features = factor.columns - len(self.leads) * size
        path = RidgePath.from_factor(factor, features, len(self.leads) * size)
        return self.with_weights(path, ridge)

    def with_weights(self, path: RidgePath, ridge: ArrayLike) -> SampledRNN:
        """Outer weights from a decomposed R factor, at one ridge or one a lead.

        A path of fewer features gives the narrower network.
        """
        features, targets = path.projected.shape
        size = targets // len(self.leads)
        strengths = np.broadcast_to(np.asarray(ridge, dtype=float), (len(self.leads),))
        weights = path.weights(np.repeat(strengths, size))
        outer = weights.reshape(features, len(self.leads), size).transpose(1, 0, 2)
        return replace(self, outer=np.ascontiguousarray(outer))

    def narrowed(self, width: int) -> SampledRNN:
        """The network of the first ``width`` hidden features, still to be solved."""
        if not 0 <= width <= self._sampled().width:
            raise ValueError(f"width: {width} is not within 0..{self._sampled().width}")
        return replace(self, width=width, hidden=self._sampled().narrowed(width), outer=None)

    # Use

    def scaled(self, states: Array) -> Array:
        """States as the network works on them."""
        if self.shift is None or self.spread is None:
            return np.asarray(states, dtype=float)
        return np.asarray((states - self.shift) / self.spread)

    def unscaled(self, states: Array) -> Array:
        """States in their own units."""
        if self.shift is None or self.spread is None:
            return states
        return np.asarray(states * self.spread + self.shift)

    def rollout(self, history: Array, steps: int, inputs: Array | None = None) -> Array:
        """Forecast a batch of starts.

        Every step lifts anew. The state at lead L comes from the largest of ``leads`` that is not
        above L, applied to the states that lead back: few steps, so little error piles up.

        Parameters
        ----------
        history : ndarray, shape (starts, delays, d)
            The latest states, oldest first, in their own units.
        steps : int
        inputs : ndarray, shape (starts, steps, p), optional
            Inputs at steps 1 to ``steps`` after the start.

        Returns
        -------
        ndarray, shape (starts, steps, d)

        Raises
        ------
        ValueError
            If shapes do not fit, or the network has not been solved for yet.
        """
        if self.outer is None:
            raise ValueError("the network has no outer weights yet; call fit or solve first")
        history = np.asarray(history, dtype=float)
        size = self.outer.shape[2]
        if history.ndim != 3 or history.shape[1:] != (self.delays, size):
            raise ValueError(
                f"history: shape {history.shape} is not (starts, {self.delays}, {size})"
            )
        known = self.outer.shape[1] - self.columns(size).features
        if (0 if inputs is None else np.shape(inputs)[-1]) != known or (
            inputs is not None and inputs.shape != (len(history), steps, known)
        ):
            found = "none" if inputs is None else f"shape {inputs.shape}"
            raise ValueError(f"inputs: {found}, expected ({len(history)}, {steps}, {known})")
        trajectory = np.empty((self.delays + steps, len(history), size))
        trajectory[: self.delays] = self.scaled(history).transpose(1, 0, 2)
        present = self.delays - 1
        for lead in range(1, steps + 1):
            index = max(i for i, known in enumerate(self.leads) if known <= lead)
            base = present + lead - self.leads[index]
            window = trajectory[base - self.delays + 1 : base + 1]
            seen = np.concatenate(window[::-1], axis=1)
            forcing = None if inputs is None else inputs[:, base - present]
            predicted = lift(seen, forcing, self._sampled()) @ self.outer[index]
            if self.target == "increment":
                predicted += trajectory[base]
            trajectory[present + lead] = predicted
        return self.unscaled(trajectory[self.delays :].transpose(1, 0, 2))

    def _sampled(self) -> HiddenWeights:
        if self.hidden is None:
            raise ValueError("the network has no hidden weights yet; call sample or fit first")
        return self.hidden


def _check_series(states: Array, inputs: Array | None) -> Array:
    states = np.asarray(states, dtype=float)
    if states.ndim != 2:
        raise ValueError(f"states: shape {states.shape} is not (times, coordinates)")
    if not np.isfinite(states).all():
        time, coordinate = np.argwhere(~np.isfinite(states))[0]
        raise ValueError(f"states: time {time}, coordinate {coordinate} is not finite")
    if inputs is not None and (np.ndim(inputs) != 2 or len(inputs) != len(states)):
        raise ValueError(f"inputs: shape {np.shape(inputs)} is not ({len(states)}, inputs)")
    return states
