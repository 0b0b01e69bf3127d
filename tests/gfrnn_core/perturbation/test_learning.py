"""Test epochs of learning: windows, the state, seeds, and learning that diverges."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfrnn_core.perturbation import (
    Backpropagation,
    DivergedError,
    Learning,
    Perturbation,
    Weights,
    Window,
    mean_loss,
)
from gfrnn_core.perturbation.sequence_tasks import sine
from gfrnn_testing.perturbation_toys import network, plain_loss, window

STILL = 1e-300  # a rate at which nothing moves


def sequences():
    counted = [0, 0, 0, 1, 1, 0, 1]
    return [window(7, counted=counted), window(7, 3, counted=counted, seed=1), window(4, seed=2)]


def plain_mean(weights, parts):
    """Return the loss with equal weight for each counted step of sequences that begin with zero."""
    total = count = 0
    for part in parts:
        batch = part.inputs.shape[1]
        loss = plain_loss(weights, part, np.zeros((batch, weights.units)))
        total += loss * part.counted.sum() * batch
        count += part.counted.sum() * batch
    return total / count


def test_mean_loss_against_a_plain_loop():
    weights = network()
    assert mean_loss(weights, sequences()) == pytest.approx(plain_mean(weights, sequences()))


@settings(max_examples=20)
@given(
    length=st.sampled_from([None, 1, 2, 3, 5, 7, 50]),
    rule=st.sampled_from([Backpropagation(), *(Perturbation(one) for one in ("wp", "np", "anp"))]),
)
def test_windows_carry_the_state_and_sequences_begin_with_zero(length, rule):
    weights = network()
    found = next(Learning(rule, STILL, window=length).losses(weights, sequences()))
    assert found == pytest.approx(plain_mean(network(), sequences()), rel=1e-12)


def test_one_epoch_of_descent_is_a_step_a_window():
    weights, part = network(), window(6)
    next(Learning(Backpropagation(), 0.05, window=4, decorrelation=0.01).losses(weights, [part]))
    expected, state = network(), np.zeros((2, 5))
    for span in (slice(0, 4), slice(4, 6)):
        piece = Window(part.inputs[span], part.targets[span], part.counted[span], part.loss)
        found = Backpropagation().estimate(expected, piece, state)
        for matrix, slope in zip(expected.trained(), found.gradient, strict=True):
            matrix -= 0.05 * slope
        C = found.decorrelated.T @ found.decorrelated / len(found.decorrelated)
        np.fill_diagonal(C, 0)
        expected.decorrelation -= 0.01 * C @ expected.decorrelation
        state = found.state
    for name, matrix in vars(expected).items():
        np.testing.assert_allclose(getattr(weights, name), matrix, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("kind", ["wp", "np", "anp"])
def test_same_seed_same_bits(kind):
    def learn(seed):
        weights = network(dtype=np.float32)
        rates = {"rate": 1e-3, "decorrelation": 1e-3, "window": 3, "epochs": 3}
        losses = list(Learning(Perturbation(kind), seed=seed, **rates).losses(weights, sequences()))
        return losses, np.concatenate([one.ravel() for one in vars(weights).values()])

    (losses, one), (again, same), (_, other) = learn(1), learn(1), learn(2)
    assert losses == again
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_no_decorrelation_leaves_d_alone():
    weights = network()
    before = weights.decorrelation.copy()
    list(Learning(Perturbation("anp"), 1e-3, epochs=2).losses(weights, sequences()))
    np.testing.assert_array_equal(weights.decorrelation, before)


def runaway(rule, rate, decorrelation=0.0):
    weights, losses = Weights.initial(1, 20, 1), []
    learning = Learning(rule, rate, window=50, epochs=60, decorrelation=decorrelation)
    with pytest.raises(DivergedError, match="smaller learning rate") as caught:
        losses.extend(learning.losses(weights, sine(200).train))
    return caught.value, losses


@pytest.mark.parametrize(
    ("rule", "rate"),
    [(Backpropagation(), 3.0), (Perturbation("np"), 3.0), (Perturbation("anp"), 1.0)],
)
def test_diverged_learning_reports_the_epoch_and_the_last_finite_loss(rule, rate):
    # Rules that perturb stay at a huge finite loss, since rounding hides what noise does there.
    error, losses = runaway(rule, rate)
    assert error.epoch == len(losses) + 1
    assert error.last == losses[-1]
    assert f"epoch {error.epoch}: the loss diverged" in str(error)
    assert f"the last finite loss was {losses[-1]:.4g}" in str(error)
    assert f"(now {rate:g})" in str(error)


@pytest.mark.parametrize("kind", ["wp", "np", "anp"])
def test_learning_that_diverges_at_once_is_reported(kind):
    error, losses = runaway(Perturbation(kind), 1e30)
    assert (error.epoch, error.last, losses) == (1, None, [])
    assert "no epoch ended before" in str(error)


def test_diverged_decorrelation_is_reported():
    error, _ = runaway(Backpropagation(), 1e-6, decorrelation=1e3)
    assert "decorrelation rate (now 1000)" in str(error)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rate": 0.0}, "rate: 0.0 is not a positive learning rate"),
        ({"rate": np.nan}, "rate: nan is not a positive learning rate"),
        ({"optimiser": "rmsprop"}, "optimiser: 'rmsprop' is not one of sgd, adam"),
        ({"decorrelation": -0.1}, "decorrelation: -0.1 is negative or not finite"),
        ({"decorrelation": np.inf}, "decorrelation: inf is negative or not finite"),
        ({"window": 0}, "window: 0 is not a positive integer"),
        ({"epochs": 0}, "epochs: 0 is not a positive integer"),
        ({"epochs": 1.5}, "epochs: 1.5 is not a positive integer"),
        ({"seed": -1}, "seed: -1 is not an integer from 0 on"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Learning(**({"rule": Perturbation(), "rate": 0.1} | settings))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": np.zeros((6, 2, 3))}, r"inputs: shape \(6, 2, 3\) is not \(steps, batch, 2\)"),
        ({"targets": np.zeros((6, 1, 3))}, r"targets: shape \(6, 1, 3\) is not \(6, 2, 3\)"),
        ({"targets": np.zeros((5, 2, 3))}, r"targets: shape \(5, 2, 3\) is not \(6, 2, 3\)"),
        ({"targets": np.zeros((6, 2, 1))}, r"targets: shape \(6, 2, 1\) is not \(6, 2, 3\)"),
        ({"counted": np.ones(5, bool)}, r"counted: shape \(5,\) is not \(6,\)"),
        ({"counted": np.zeros(6, bool)}, "with a step that counts"),
        ({"inputs": np.full((6, 2, 2), np.nan)}, "inputs: hold NaN or infinity"),
        ({"targets": np.full((6, 2, 3), np.inf)}, "targets: hold NaN or infinity"),
    ],
)
@pytest.mark.parametrize(
    "use", [lambda *both: next(Learning(Perturbation(), 0.1).losses(*both)), mean_loss]
)
def test_sequences_that_do_not_fit_are_refused(changes, message, use):
    part = replace(window(), **changes)
    with pytest.raises(ValueError, match=message):
        use(network(), [window(), part])


def test_no_sequence_at_all_is_refused():
    with pytest.raises(ValueError, match="windows: there are none"):
        next(Learning(Perturbation(), 0.1).losses(network(), []))


def test_an_error_of_diverged_learning_comes_back_from_another_process():
    error = DivergedError(3, 0.5, 0.1, 0.0)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.epoch, again.last) == (str(error), 3, 0.5)
