"""Test that every rule learns to forecast a sine."""

import pytest

from gfrnn_core.perturbation import Backpropagation, Learning, Perturbation, Weights, mean_loss
from gfrnn_core.perturbation.sequence_tasks import sine


@pytest.mark.parametrize(
    ("rule", "rate", "optimiser", "decorrelation", "reached"),
    [
        (Backpropagation(), 3e-3, "adam", 0.0, 1e-4),
        (Perturbation("anp"), 0.1, "sgd", 0.0, 2e-3),
        (Perturbation("anp"), 0.1, "sgd", 1e-3, 2e-2),
        (Perturbation("np"), 3e-3, "sgd", 0.0, 1e-2),
        (Perturbation("wp"), 1e-3, "sgd", 0.0, 1e-2),
    ],
)
def test_a_sine_is_learnt_far_below_its_persistence(rule, rate, optimiser, decorrelation, reached):
    task, weights = sine(), Weights.initial(1, 30, 1)
    learning = Learning(rule, rate, optimiser, decorrelation, window=10, epochs=20)
    losses = list(learning.losses(weights, task.train))
    assert len(losses) == 20
    assert losses[-1] < 0.1 * losses[0]
    assert task.references["persistence"] > 0.6
    assert mean_loss(weights, task.test) < reached
