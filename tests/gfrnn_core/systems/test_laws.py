"""Test laws that a network must recover exactly, and some that need hidden features."""

from dataclasses import replace

import numpy as np
import pytest

from gfrnn_core import Patches, SampledRNN
from gfrnn_testing.core_toys import COUPLING, ROTATION, SHIFT, TURN, forced, rotating


@pytest.mark.parametrize("target", ["state", "increment"])
def test_a_linear_map_is_its_own_outer_weights(target):
    linear = SampledRNN(width=0, ridge=0.0, target=target, standardise=False)
    states = rotating(50)
    network = linear.fit(states)
    kept = np.eye(2) if target == "increment" else 0
    np.testing.assert_allclose(network.outer, [np.vstack([ROTATION.T - kept, SHIFT])], atol=1e-12)
    found = network.rollout(states[None, :1], 49)
    np.testing.assert_allclose(found, states[None, 1:], atol=1e-10)


@pytest.mark.parametrize("target", ["state", "increment"])
def test_a_linear_map_is_recovered_from_standardised_states(target):
    states = 1000 * rotating(80) + 5000
    network = SampledRNN(width=0, ridge=0.0, target=target).fit(states[:40])
    found = network.rollout(states[None, 39:40], 40)
    np.testing.assert_allclose(found, states[None, 40:], rtol=1e-9)


def test_a_linear_map_with_inputs():
    """The inputs of step t + 1 act from the state at t to that at t + 1."""
    states, inputs = forced(200)
    network = SampledRNN(width=0, ridge=0.0, target="state", standardise=False).fit(states, inputs)
    law = np.vstack([0.9 * ROTATION.T, SHIFT, COUPLING.T])
    np.testing.assert_allclose(network.outer, [law], atol=1e-12)
    found = network.rollout(states[[[0], [100]]], 99, np.stack([inputs[1:100], inputs[101:200]]))
    np.testing.assert_allclose(found, np.stack([states[1:100], states[101:200]]), atol=1e-9)


def test_a_partially_observed_system_needs_delays():
    """cos(a t) obeys x_t+1 = 2 cos(a) x_t - x_t-1 and no law of x_t alone."""
    states = np.cos(TURN * np.arange(100))[:, None]
    linear = SampledRNN(width=0, ridge=0.0, target="state", standardise=False)
    network = replace(linear, delays=2).fit(states)
    np.testing.assert_allclose(network.outer[0, :, 0], [2 * np.cos(TURN), -1, 0], atol=1e-10)
    found = network.rollout(states[None, :2], 50)
    np.testing.assert_allclose(found[0], states[2:52], atol=1e-9)
    blind = linear.fit(states).rollout(states[None, 1:2], 50)
    assert np.abs(blind[0] - states[2:52]).max() > 0.5


def test_each_lead_has_the_weights_of_its_own_power():
    states = rotating(60)
    network = SampledRNN(
        width=0, ridge=0.0, target="state", standardise=False, leads=(1, 2, 5)
    ).fit(states)
    assert network.outer.shape == (3, 3, 2)
    for weights, lead in zip(network.outer, (1, 2, 5), strict=True):
        power = np.linalg.matrix_power(ROTATION, lead)
        np.testing.assert_allclose(weights[:2], power.T, atol=1e-12)
    found = network.rollout(states[None, :1], 40)
    np.testing.assert_allclose(found[0], states[1:41], atol=1e-9)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_hidden_features_learn_what_a_linear_model_cannot(activation):
    """The law is the logistic map, forecast one step ahead."""
    states = np.empty((400, 1))
    states[0] = 0.3
    for t in range(1, 400):
        states[t] = 3.9 * states[t - 1] * (1 - states[t - 1])
    errors = []
    for width in (0, 60):
        network = SampledRNN(width=width, activation=activation, ridge=1e-10).fit(states[:300])
        found = network.rollout(states[300:399, None], 1)
        errors.append(np.abs(found[:, 0] - states[300 + 1 :]).max())
    assert errors[0] > 0.3
    assert errors[1] < 0.02


def ring(times, shape=(6,), seed=0):
    """Return x_i' = 0.3 x_i-1 - 0.8 x_i + 0.2 x_i+1 + 0.1 on a ring, perturbed at random times."""
    states = np.empty((times, *shape))
    states[0] = np.random.default_rng(seed).standard_normal(shape)
    for t in range(1, times):
        old = states[t - 1]
        states[t] = 0.3 * np.roll(old, 1) - 0.8 * old + 0.2 * np.roll(old, -1) + 0.1
    return states


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("target", ["state", "increment"])
def test_a_law_of_neighbours_is_recovered_from_few_times(target, size):
    """A halo wider than the law gets zero weights; twelve times are too few without patches."""
    states = ring(12)
    patches = Patches((6,), ((2, 1),), size=size)
    network = SampledRNN(width=0, ridge=0.0, target=target, standardise=False, patches=patches)
    network = network.fit(states)
    law = np.zeros((size + 4, size))
    for cell in range(size):
        law[cell + 1 : cell + 4, cell] = [0.3, -0.8 - (target == "increment"), 0.2]
    law[-1] = 0.1
    np.testing.assert_allclose(network.outer, [law], atol=1e-10)
    other = ring(30, seed=1)
    wide = replace(network, low=None, high=None)
    np.testing.assert_allclose(wide.rollout(other[None, :1], 29), other[None, 1:], atol=1e-9)


def test_a_law_that_ends_at_walls_needs_open_patches():
    """The law is x_i' = 0.5 x_i-1 + 0.4 x_i, where the first cell is its own neighbour."""
    states = np.empty((12, 5))
    states[0] = np.random.default_rng(2).standard_normal(5)
    for t in range(1, 12):
        states[t] = 0.5 * states[t - 1][[0, 0, 1, 2, 3]] + 0.4 * states[t - 1]
    for periodic, exact in ((False, True), (True, False)):
        patches = Patches((5,), ((1, 0),), periodic=periodic)
        network = SampledRNN(
            width=0, ridge=0.0, target="state", standardise=False, patches=patches
        ).fit(states)
        law = [[0.5], [0.4], [0.0]]
        assert np.allclose(network.outer[0], law, atol=1e-10) == exact
