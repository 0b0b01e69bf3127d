"""Compare backpropagation through time with finite differences."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfrnn_core.perturbation import Backpropagation, Window
from gfrnn_testing.perturbation_toys import (
    network,
    numerical_gradient,
    plain_loss,
    plain_run,
    start,
    window,
)


@pytest.mark.parametrize("loss", ["squared", "cross_entropy"])
@pytest.mark.parametrize(
    ("units", "counted"), [(5, [1, 1, 1, 1, 1, 1]), (5, [0, 1, 0, 0, 1, 0]), (30, [0, 1, 1, 1])]
)
def test_gradient_against_finite_differences(loss, units, counted):
    # 30 units in 4 steps take the path that never forms R D.
    weights = network(units=units)
    weights.decorrelation /= units / 5
    part = window(len(counted), loss=loss, counted=counted).checked(weights)
    state = start(weights)
    found = Backpropagation().estimate(weights, part, state)
    assert found.loss == pytest.approx(plain_loss(weights, part, state), rel=1e-12)
    expected = numerical_gradient(weights, lambda: plain_loss(weights, part, state))
    for slope, reference in zip(found.gradient, expected, strict=True):
        np.testing.assert_allclose(slope, reference, atol=2e-8)


def test_the_state_it_leaves_is_that_of_the_pass():
    weights, part = network(), window()
    state = start(weights)
    found = Backpropagation().estimate(weights, part, state)
    expected = plain_run(weights, part.inputs, state)
    np.testing.assert_allclose(found.state, expected["x"][-1], atol=1e-12)
    np.testing.assert_allclose(found.states, expected["x"].reshape(12, 5), atol=1e-12)
    np.testing.assert_allclose(found.decorrelated, expected["hat"].reshape(12, 5), atol=1e-12)


def windows(part, length):
    for begin in range(0, len(part.inputs), length):
        span = slice(begin, begin + length)
        yield Window(part.inputs[span], part.targets[span], part.counted[span], part.loss)


@settings(max_examples=12)
@given(length=st.integers(1, 7))
def test_windows_truncate_the_gradient_at_their_borders(length):
    # Summed over windows it is the derivative of the whole loss with the state at each border held.
    weights, part = network(units=3), window(6)
    borders = plain_run(weights, part.inputs, start(weights))["x"][length - 1 :: length]
    states = [start(weights), *borders]
    pieces = list(windows(part, length))
    found = [np.zeros_like(matrix) for matrix in weights.trained()]
    for piece, state in zip(pieces, states, strict=False):
        gradient = Backpropagation().estimate(weights, piece, state).gradient
        for total, slope in zip(found, gradient, strict=True):
            total += slope * len(piece.inputs) / 6

    def held():
        losses = [plain_loss(weights, *both) for both in zip(pieces, states, strict=False)]
        return np.average(losses, weights=[len(piece.inputs) for piece in pieces])

    for slope, reference in zip(found, numerical_gradient(weights, held), strict=True):
        np.testing.assert_allclose(slope, reference, atol=1e-8)
    whole = Backpropagation().estimate(weights, part, states[0]).gradient
    assert np.allclose(found[1], whole[1]) is (length >= 6)
