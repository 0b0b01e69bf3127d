"""Hidden weights: from pairs of data, a plain distribution, around states, or for products.

Pairs of data follow SWIM (Bolager et al., arXiv 2306.16830): a neuron is put between two states,
steep where the next state changes much over a short distance. Features around states are Gaussian
radial basis functions (Broomhead and Lowe, Complex Systems 2, 321, 1988). Products of two values
are the features of next-generation reservoir computing (Gauthier et al., Nature Communications 12,
5564, 2021).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from gfrnn_core.value_checks import check_count, check_seed

Array = NDArray[Any]
Activation = Literal["tanh", "relu"]
HiddenActivation = Literal["tanh", "relu", "square"]
Sampling = Literal["pairs", "uniform_pairs", "normal", "centres", "quadratic"]

UNPOOLED: tuple[Sampling, ...] = ("normal", "quadratic")
"""Samplings for which only the length of the pooled states matters."""

# (s1, s2): tanh is -1/2 at the first state and +1/2 at the second; ReLU is 0 and 1.
_PAIR_CONSTANTS = {"tanh": (np.log(3.0), np.log(3.0) / 2.0), "relu": (1.0, 0.0)}

# Candidate pairs for each drawn pair: enough for the probabilities to matter.
_CANDIDATES = 16


@dataclass(frozen=True, eq=False)
class HiddenWeights:
    """Weights and biases of the hidden layer, in the order in which they were drawn.

    Attributes
    ----------
    weights : ndarray, shape (inputs, width)
    biases : ndarray, shape (width,)
    activation : {"tanh", "relu", "square"}
        Squares are those of sampling ``quadratic``.
    metric : ndarray, shape (inputs, values), or None
        M of Gaussian features ``exp(-|M^T (h - c)|^2)`` around centres c. They are computed as
        ``exp(w^T h + b - |M^T h|^2)`` with ``w = 2 M M^T c`` and ``b = -|M^T c|^2``, and have no
        other activation. None for features ``activation(w^T h + b)``.
    """

    weights: Array
    biases: Array
    activation: HiddenActivation
    metric: Array | None = None

    @property
    def width(self) -> int:
        """Number of hidden features."""
        return int(self.weights.shape[1])

    @property
    def inputs(self) -> int:
        """Length of the vector that the layer sees."""
        return int(self.weights.shape[0])

    def narrowed(self, width: int) -> HiddenWeights:
        """Return the layer of the first ``width`` features."""
        return replace(
            self,
            weights=self.weights[:, :width],
            biases=self.biases[:width],
            metric=self.metric if width else None,
        )

    def seen_from(self, seen: Array) -> HiddenWeights:
        """Return the layer of longer vectors of which this layer sees a part.

        Parameters
        ----------
        seen : ndarray of bool, shape (inputs,), or of float, shape (inputs, values)
            Entries that this layer sees, or weights of the linear combinations that it sees.
        """

        def of_longer(values: Array) -> Array:
            if seen.dtype != bool:
                return np.asarray(seen @ values)
            longer = np.zeros((len(seen), values.shape[1]))
            longer[seen] = values
            return longer

        metric = None if self.metric is None else of_longer(self.metric)
        return replace(self, weights=of_longer(self.weights), metric=metric)

    def astype(self, dtype: Any) -> HiddenWeights:
        """Return the layer with arrays of a floating-point type."""
        return replace(
            self,
            weights=self.weights.astype(dtype, copy=False),
            biases=self.biases.astype(dtype, copy=False),
            metric=None if self.metric is None else self.metric.astype(dtype, copy=False),
        )


def sample_weights(
    pool: Array,
    width: int,
    *,
    sampling: Sampling = "pairs",
    activation: Activation = "tanh",
    scale: float = 1.0,
    following: Array | None = None,
    seed: int = 0,
) -> HiddenWeights:
    """Draw the hidden layer.

    Parameters
    ----------
    pool : ndarray, shape (states, inputs)
        States as the hidden layer will see them (delays stacked). For ``normal`` and ``quadratic``
        only their length is used.
    width : int
        Number of features.
    sampling : {"pairs", "uniform_pairs", "normal", "centres", "quadratic"}
        ``pairs``: ``w = s1 (h2 - h1) / |h2 - h1|^2``, ``b = -<w, h1> - s2``, the pair drawn with
        probability proportional to ``|F(h2) - F(h1)|_inf / |h2 - h1|``; ``uniform_pairs``: the
        same weights, pairs drawn uniformly; ``normal``: weights N(0, scale^2), biases uniform in
        [-1, 1]; ``centres``: Gaussian features ``exp(-|h - c|^2 / (2 l^2))`` around pooled states
        c, drawn without repetition; ``quadratic``: squares ``s h_i^2`` and ``s (h_i + h_j)^2``
        with s the scale, which span the products of all pairs of the first entries of h. Those of
        entries 0 to m - 1 are the first ``m (m + 1) / 2`` features, so that entries should be in
        the order of their worth.
    activation : {"tanh", "relu"}
        Not used by ``centres`` and ``quadratic``.
    scale : float
        Standard deviation of normal weights, or factor of the squares of ``quadratic``. With
        ``centres``, l in units of the root mean square distance of pooled states from their mean.
        Weights of pairs are scaled by the data.
    following : ndarray, shape (states, outputs), optional
        F(h) of each pooled state, the state one step on; needed by ``pairs``.
    seed : int
        The same seed gives the same weights bit for bit; ``quadratic`` draws nothing.

    Raises
    ------
    ValueError
        If a name is unknown, the width is negative, the scale is not positive, the pool has fewer
        than two different states or fewer than there are centres, its states have fewer products
        than the width, a value is not finite, ``following`` is missing for ``pairs``, or the seed
        is not allowed.
    """
    if sampling not in get_args(Sampling):
        raise ValueError(f"sampling: {sampling!r} is not one of {', '.join(get_args(Sampling))}")
    if activation not in _PAIR_CONSTANTS:
        raise ValueError(f"activation: {activation!r} is not one of {', '.join(_PAIR_CONSTANTS)}")
    check_count("width", width, 0)
    check_seed(seed)
    pool = np.asarray(pool, dtype=float)
    if pool.ndim != 2:
        raise ValueError(f"pool: shape {pool.shape} is not (states, inputs)")
    rng = np.random.default_rng(seed)
    if sampling in ("normal", "centres", "quadratic") and not 0 < scale < np.inf:
        raise ValueError(f"scale: {scale} is not positive and finite")
    if sampling == "quadratic":
        return _squares(pool.shape[1], width, scale)
    if sampling == "normal":
        weights = rng.standard_normal((width, pool.shape[1])).T * scale
        return HiddenWeights(weights, rng.uniform(-1.0, 1.0, width), activation)
    if sampling == "pairs":
        if following is None:
            raise ValueError("following: sampling 'pairs' needs the next state of each state")
        following = np.asarray(following, dtype=float)
        if following.ndim != 2 or len(following) != len(pool):
            raise ValueError(
                f"following: shape {following.shape} is not (states, outputs) with the pool's "
                f"{len(pool)} states"
            )
        if not np.isfinite(following).all():
            raise ValueError("following: holds NaN or infinity; every state must be finite")
    if width == 0:
        return HiddenWeights(np.zeros((pool.shape[1], 0)), np.zeros(0), activation)
    if sampling == "centres":
        return _radial_features(pool, width, activation, scale, rng)
    first, second = _draw_pairs(pool, following if sampling == "pairs" else None, width, rng)
    s1, s2 = _PAIR_CONSTANTS[activation]
    difference = pool[second] - pool[first]
    weights = s1 * difference / np.square(difference).sum(axis=1, keepdims=True)
    biases = -np.einsum("ij,ij->i", weights, pool[first]) - s2
    return HiddenWeights(weights.T, biases, activation)


def hidden_activation(sampling: Sampling, activation: Activation) -> HiddenActivation:
    """Return the activation of the hidden weights that :func:`sample_weights` draws."""
    return "square" if sampling == "quadratic" else activation


def products_of(inputs: int) -> int:
    """Return the number of products of pairs of so many values, squares among them."""
    return inputs * (inputs + 1) // 2


def _squares(inputs: int, width: int, scale: float) -> HiddenWeights:
    """Return squares of values and of sums of two: 0, 1, 0 + 1, 2, 0 + 2, 1 + 2, 3, ...

    ``h_i h_j`` is half of ``(h_i + h_j)^2 - h_i^2 - h_j^2``, which are all among the features of
    the entries up to the larger of i and j.
    """
    if width > products_of(inputs):
        raise ValueError(
            f"width: {width} is more than the {products_of(inputs)} products of pairs of {inputs} "
            "values that the hidden features see; take a smaller width"
        )
    weights = np.zeros((inputs, width))
    pairs = ((later, earlier) for later in range(inputs) for earlier in (later, *range(later)))
    for feature, pair in enumerate(islice(pairs, width)):
        weights[pair, feature] = np.sqrt(scale)
    return HiddenWeights(weights, np.zeros(width), "square")


def _radial_features(
    pool: Array, width: int, activation: Activation, scale: float, rng: np.random.Generator
) -> HiddenWeights:
    """Return Gaussian features around randomly drawn states of a pool."""
    if width > len(pool):
        raise ValueError(
            f"width: {width} centres, but the pool has {len(pool)} states; take a smaller width or "
            "more states"
        )
    _require_finite(pool)
    spread = float(np.sqrt(np.square(pool - pool.mean(axis=0)).sum(axis=1).mean()))
    if not spread > 0:
        raise ValueError("pool: no two states differ; check the data")
    steepness = 1 / (np.sqrt(2.0) * scale * spread)
    centres = steepness * pool[rng.choice(len(pool), size=width, replace=False)]
    return HiddenWeights(
        weights=2 * steepness * centres.T,
        biases=-np.square(centres).sum(axis=1),
        activation=activation,
        metric=steepness * np.eye(pool.shape[1]),
    )


def _require_finite(pool: Array) -> None:
    if not np.isfinite(pool).all():
        raise ValueError("pool: holds NaN or infinity; every state must be finite")


def _draw_pairs(
    pool: Array, following: Array | None, width: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Draw the indices of the two states of each pair; pairs of equal states are never drawn."""
    states = len(pool)
    if states < 2:
        raise ValueError(f"pool: {states} states, at least 2 are needed to form a pair")
    _require_finite(pool)
    candidates = _CANDIDATES * width
    first = rng.integers(0, states, candidates)
    # An offset from 1 to states - 1, both included, reaches every other state equally often.
    second = (first + rng.integers(1, states, candidates)) % states
    distance = np.linalg.norm(pool[second] - pool[first], axis=1)
    if following is None:
        density = (distance > 0).astype(float)
    else:
        change = np.abs(following[second] - following[first]).max(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            density = np.where(distance > 0, change / distance, 0.0)
    total = density.sum()
    if not total > 0:
        raise ValueError(
            f"pool: none of {candidates} drawn pairs has different states with different next "
            "states; check whether the data are constant most of the time"
        )
    chosen = rng.choice(candidates, size=width, p=density / total)
    return first[chosen], second[chosen]
