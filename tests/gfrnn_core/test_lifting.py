"""Compare features of states with a loop that computes them one value at a time."""

import math

import numpy as np
import pytest

from gfrnn_core import HiddenWeights
from gfrnn_core.lifting import Columns, activate, lift, lift_into


def batch(rows=60, size=2, inputs=3, width=4, activation="tanh"):
    rng = np.random.default_rng(0)
    states = rng.standard_normal((rows, size))
    forcing = rng.standard_normal((rows, inputs)) if inputs else None
    weights, biases = rng.standard_normal((size, width)), rng.standard_normal(width)
    return states, forcing, HiddenWeights(weights, biases, activation)


def plain(state, forcing, hidden):
    """Return [ h | 1 | inputs | sigma(w h + b) ], computed value by value."""
    row = [*state, 1.0, *([] if forcing is None else forcing)]
    for k in range(hidden.width):
        total = sum(hidden.weights[i, k] * state[i] for i in range(len(state))) + hidden.biases[k]
        row.append(math.tanh(total) if hidden.activation == "tanh" else max(total, 0.0))
    return row


@pytest.mark.parametrize("inputs", [0, 3])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_lift_gives_the_feature_columns_of_a_row(inputs, activation):
    states, forcing, hidden = batch(inputs=inputs, activation=activation)
    given = [None] * len(states) if forcing is None else forcing
    expected = [plain(*pair, hidden) for pair in zip(states, given, strict=True)]
    np.testing.assert_allclose(lift(states, forcing, hidden), expected, atol=1e-13)


def test_lift_into_leaves_the_columns_behind_the_features_alone():
    states, inputs, hidden = batch()
    block = np.full((60, 15), 7.0, order="F")
    lift_into(block, states, inputs, hidden)
    np.testing.assert_array_equal(block[:, :10], lift(states, inputs, hidden))
    assert (block[:, 10:] == 7).all()


def test_activations_work_in_place():
    values = np.array([-2.0, 0.0, 0.5])
    activate(values, "relu")
    np.testing.assert_array_equal(values, [0, 0, 0.5])
    activate(values, "tanh")
    np.testing.assert_allclose(values, [0, 0, math.tanh(0.5)])


def test_columns_add_up():
    columns = Columns(linear=6, inputs=2, hidden=100, targets=9)
    assert (columns.linear_features, columns.features, columns.total) == (9, 109, 118)
