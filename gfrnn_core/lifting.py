"""Features of states, and the order of the columns of a row.

A row is ``[ h | 1 | psi(x) | m(x) h | phi(h) | y ]``: the linear terms (delays stacked), a
constant, the inputs, products of inputs with the present state, the hidden features, the targets.
The terms that are always in come first and the hidden features in the order in which they were
drawn, so that every narrower model, down to the linear one, is a leading block of columns and its
R factor a leading block of the same triangle. Features that are computed on the grid are the first
of the hidden ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn_core.sampling import HiddenWeights
from gfrnn_core.triangles.array_order import copy_rows

Array = NDArray[Any]


@dataclass(frozen=True)
class Columns:
    """Numbers of columns of a row, by kind.

    Attributes
    ----------
    linear, inputs, hidden, targets : int
    products : int
        Number of products of the present state with inputs, which follow the inputs.
    """

    linear: int
    inputs: int
    hidden: int
    targets: int
    products: int = 0

    @property
    def linear_features(self) -> int:
        """Number of features that are not hidden: linear terms, constant, inputs and products."""
        return self.linear + 1 + self.inputs + self.products

    @property
    def features(self) -> int:
        """Number of feature columns."""
        return self.linear_features + self.hidden

    @property
    def total(self) -> int:
        """Number of columns of a row."""
        return self.features + self.targets


def activate(values: Array, activation: str) -> None:
    """Apply the activation in place."""
    if activation == "tanh":
        np.tanh(values, out=values)
    elif activation == "square":
        np.square(values, out=values)
    else:
        np.maximum(values, 0.0, out=values)


def lift_into(block: Array, states: Array, inputs: Array | None, hidden: HiddenWeights) -> None:
    """Write the features of states into the leading columns of a block of rows.

    Parameters
    ----------
    block : ndarray, shape (rows, at least the feature columns), Fortran order
        Its transpose is C-ordered, so the product of weights and states lands in it without a
        copy.
    states : ndarray, shape (rows, linear)
        Delayed states.
    inputs : ndarray, shape (rows, inputs), or None
    hidden : HiddenWeights
    """
    linear = states.shape[1]
    extra = 0 if inputs is None else inputs.shape[1]
    copy_rows(states, block[:, :linear])
    block[:, linear] = 1.0
    if inputs is not None:
        block[:, linear + 1 : linear + 1 + extra] = inputs
    lift_hidden(block, linear, linear + 1 + extra, hidden)


def lift_hidden(block: Array, linear: int, start: int, hidden: HiddenWeights) -> None:
    """Write the hidden features of the linear terms that a block of rows contains.

    The working memory for Gaussian features is a copy of the values that they see.

    Parameters
    ----------
    block : ndarray, shape (rows, columns), Fortran order
    linear : int
        Number of leading columns, which hold the linear terms.
    start : int
        First column of the hidden features.
    hidden : HiddenWeights
    """
    features = block[:, start : start + hidden.width].T
    hidden, states = hidden.astype(block.dtype), block[:, :linear].T
    np.dot(hidden.weights.T, states, out=features)
    features += hidden.biases[:, None]
    if hidden.metric is None:
        activate(features, hidden.activation)
    else:
        seen = hidden.metric.T @ states
        features -= np.einsum("ij,ij->j", seen, seen)
        np.exp(features, out=features)


def lift(states: Array, inputs: Array | None, hidden: HiddenWeights) -> Array:
    """Return the features of a batch of delayed states: shape (rows, features)."""
    extra = 0 if inputs is None else inputs.shape[1]
    width = states.shape[1] + 1 + extra + hidden.width
    block = np.empty((len(states), width), order="F")
    lift_into(block, states, inputs, hidden)
    return block
