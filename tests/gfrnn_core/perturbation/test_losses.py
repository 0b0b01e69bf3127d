"""Compare losses with values by hand, and their gradients with differences."""

import numpy as np
import pytest

from gfrnn_core.perturbation.losses import output_gradient, step_losses
from gfrnn_testing.perturbation_toys import network, window


def test_losses_by_hand():
    outputs = np.array([[1.0, 3.0], [0.0, 0.0]])
    targets = np.array([[0.0, 1.0], [0.25, 0.75]])
    np.testing.assert_allclose(step_losses(outputs, targets, "squared"), [2.5, 0.3125])
    # A softmax of (1, 3) gives the second 1 / (1 + e^-2); one of (0, 0) gives both a half.
    np.testing.assert_allclose(
        step_losses(outputs, targets, "cross_entropy"), [np.log1p(np.exp(-2)), np.log(2)]
    )


def test_cross_entropy_stays_finite_for_large_outputs():
    outputs, targets = np.array([[1e4, 0.0]]), np.array([[0.0, 1.0]])
    np.testing.assert_allclose(step_losses(outputs, targets, "cross_entropy"), [1e4])
    np.testing.assert_allclose(output_gradient(outputs, targets, "cross_entropy"), [[1, -1]])


@pytest.mark.parametrize("loss", ["squared", "cross_entropy"])
def test_gradient_against_differences(loss):
    part = window(loss=loss)
    outputs = np.random.default_rng(2).standard_normal(part.targets.shape)
    slope = output_gradient(outputs, part.targets, loss)
    for place in np.ndindex(outputs.shape):
        step = np.zeros_like(outputs)
        step[place] = 1e-6
        above, below = (
            step_losses(outputs + sign * step, part.targets, loss).sum() for sign in (1, -1)
        )
        assert slope[place] == pytest.approx((above - below) / 2e-6, abs=1e-8)


def test_a_loss_that_does_not_exist_is_refused():
    part = window(loss="cross_entropy")
    object.__setattr__(part, "loss", "hinge")
    with pytest.raises(ValueError, match="loss: 'hinge' is not one of squared, cross_entropy"):
        part.checked(network())
