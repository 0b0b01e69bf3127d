"""Test controlled networks: C_h sigma(W_h h + b_h) + C_x sigma(W_x x + b_x), also linear inputs."""

from dataclasses import replace

import numpy as np
import pytest

from gfrnn_core import Patches, SampledRNN
from gfrnn_testing.core_toys import ROTATION, forced, noisy


def pushed(times=600, seed=0):
    """Return x_t+1 = 0.8 Q x_t + tanh(3 u_t+1) (1, -1), which is nonlinear in its input."""
    inputs = np.random.default_rng(seed).uniform(-2, 2, (times, 1))
    states = np.zeros((times, 2))
    for t in range(1, times):
        states[t] = 0.8 * ROTATION @ states[t - 1] + np.tanh(3 * inputs[t]) * [1, -1]
    return states, inputs


@pytest.mark.parametrize("sampling", ["pairs", "uniform_pairs", "normal"])
@pytest.mark.parametrize("target", ["state", "increment", "lifted"])
def test_an_input_that_acts_through_a_bent_law_needs_hidden_features(target, sampling):
    states, inputs = pushed()
    errors = []
    for input_width in (0, 40):
        network = SampledRNN(
            width=0, input_width=input_width, target=target, sampling=sampling, scale=2.0
        ).fit(states[:500], inputs[:500])
        found = network.rollout(states[None, 500:501], 90, inputs[None, 501:591])
        errors.append(np.abs(found[0] - states[501:591]).max())
    assert errors[0] > 0.3
    assert errors[1] < 0.01
    if target == "lifted":
        linear = network.rollout(states[None, 500:501], 90, inputs[None, 501:591], linear=True)
        np.testing.assert_allclose(linear, found, atol=1e-6)


@pytest.mark.parametrize("sampling", ["pairs", "normal"])
def test_fit_is_least_squares_on_both_hidden_layers(sampling):
    states, inputs = forced(200)
    inputs = 30 * inputs + 100
    settings = {"width": 8, "input_width": 5, "delays": 2, "sampling": sampling}
    network = SampledRNN(ridge=1e-2, target="state", **settings).fit(states, inputs)
    scaled = network.scaled(states)
    seen = np.hstack([scaled[1:-1], scaled[:-2]])
    forcing, hidden = inputs[2:], network.input_hidden
    features = [seen, np.ones((198, 1)), forcing]
    features.append(np.tanh(forcing @ hidden.weights + hidden.biases))
    features.append(np.tanh(seen @ network.hidden.weights + network.hidden.biases))
    features = np.hstack(features)
    count = features.shape[1]
    strength = 1e-2 * np.linalg.norm(features, 2)
    pulled = np.vstack([features, strength * np.eye(count)])
    targets = np.vstack([scaled[2:], np.zeros((count, 2))])
    expected = np.linalg.lstsq(pulled, targets, rcond=None)[0]
    np.testing.assert_allclose(network.outer[0], expected, rtol=1e-6, atol=1e-9)
    # One step of a rollout holds the inputs of the step that it forecasts.
    found = network.rollout(states[None, 10:12], 1, inputs[None, 12:13])
    row = features[10] @ network.outer[0]
    np.testing.assert_allclose(found[0, 0], network.unscaled(row), rtol=1e-10)


@pytest.mark.parametrize("sampling", ["pairs", "normal"])
def test_hidden_features_of_inputs_do_not_depend_on_units(sampling):
    states, inputs = forced(100)
    network = SampledRNN(width=2, input_width=6, sampling=sampling)
    moved = inputs * [1e-3, 1e4, 1.0] + [5.0, -1e5, 0.0]
    first, second = network.fit(states, inputs), network.fit(states, moved)
    hidden, other = first.input_hidden, second.input_hidden
    expected = inputs @ hidden.weights + hidden.biases
    np.testing.assert_allclose(moved @ other.weights + other.biases, expected, atol=1e-8)
    if sampling == "pairs":
        features = np.tanh(expected)
        for value in (-0.5, 0.5):
            assert (np.abs(features - value).min(axis=0) < 1e-9).all()


def test_the_seed_decides_both_layers_and_they_differ():
    states = noisy(100, 3)
    first, again, other = (
        SampledRNN(width=6, input_width=6, sampling="normal", seed=seed).fit(states, states)
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.input_hidden.weights, again.input_hidden.weights)
    np.testing.assert_array_equal(first.outer, again.outer)
    assert (first.input_hidden.weights != other.input_hidden.weights).all()
    assert (first.input_hidden.biases != first.hidden.biases).all()


@pytest.mark.parametrize("input_width", [0, 10])
def test_a_constant_input_adds_nothing(input_width):
    """The input equals the constant column; the pseudo-inverse gives each half of the weight."""
    states, inputs = pushed(200)
    network = SampledRNN(width=4, ridge=1e-9, input_width=input_width)
    more = np.hstack([inputs, np.full((200, 1), 7.0)])
    expected = network.fit(states, inputs).predict(states, inputs)
    found = network.fit(states, more).predict(states, more)
    assert np.isfinite(found).all()
    tolerance = 1e-6 if input_width == 0 else 0.05
    np.testing.assert_allclose(found, expected, atol=tolerance)


def test_inputs_that_are_all_constant_have_no_pairs():
    states, inputs = noisy(50), np.full((50, 2), 0.1)
    with pytest.raises(ValueError, match="inputs: all are constant"):
        SampledRNN(width=2, input_width=3).fit(states, inputs)
    network = SampledRNN(width=2, input_width=3, sampling="normal", ridge=1e-6)
    assert np.isfinite(network.fit(states, inputs).outer).all()


@pytest.mark.parametrize("input_width", [0, 4])
def test_every_place_has_its_own_inputs(input_width):
    """The law x_i' = x_i-1 / 2 + u_i of three cells is recovered, and rolled out."""
    inputs = np.random.default_rng(3).standard_normal((60, 3, 2))
    states = np.zeros((60, 3))
    for t in range(1, 60):
        states[t] = np.roll(states[t - 1], 1) / 2 + inputs[t] @ [1.0, -3.0]
    network = SampledRNN(
        width=0,
        ridge=0.0,
        target="state",
        standardise=False,
        patches=Patches((3,), ((1, 0),)),
        input_width=input_width,
    ).fit(states, inputs)
    law = [0.5, 0.0, 0.0, 1.0, -3.0, *[0.0] * input_width]
    np.testing.assert_allclose(network.outer[0, :, 0], law, atol=1e-9)
    found = network.rollout(states[None, 10:11], 40, inputs[None, 11:51])
    np.testing.assert_allclose(found[0], states[11:51], atol=1e-8)


def test_rollouts_do_not_mix_the_inputs_of_starts():
    states, inputs = pushed()
    network = SampledRNN(width=5, input_width=10, ridge=1e-6).fit(states, inputs)
    begins = (3, 100, 250)
    together = network.rollout(
        states[begins, None], 20, np.stack([inputs[t + 1 : t + 21] for t in begins])
    )
    for index, t in enumerate(begins):
        alone = network.rollout(states[None, t : t + 1], 20, inputs[None, t + 1 : t + 21])
        np.testing.assert_allclose(together[index], alone[0], rtol=1e-11, atol=1e-11)


# --- refusals -----------------------------------------------------------------------------------


def test_hidden_features_of_inputs_need_inputs():
    states, inputs = forced(50)
    network = SampledRNN(width=2, input_width=3)
    with pytest.raises(ValueError, match="input_width: 3, but there are no inputs"):
        network.fit(states)
    prepared = network.prepare(states, inputs)
    with pytest.raises(ValueError, match="inputs: none, but the network needs 3"):
        prepared.partial_fit(states)
    bare = replace(network, sampling="normal").sample(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="inputs: none, but the network needs some"):
        bare.factorise(states)


def test_a_later_part_must_have_the_inputs_of_the_first():
    states, inputs = forced(50)
    with_inputs = SampledRNN(width=2).fit(states, inputs)
    with pytest.raises(ValueError, match="inputs: none"):
        with_inputs.partial_fit(states)
    with pytest.raises(ValueError, match=r"inputs: shape \(50, 2\) is not \(50, 3\)"):
        with_inputs.partial_fit(states, inputs[:, :2])
    with pytest.raises(ValueError, match="has no inputs"):
        SampledRNN(width=2).fit(states).partial_fit(states, inputs)


@pytest.mark.parametrize("input_width", [0, 3])
def test_inputs_of_places_fit_the_patches(input_width):
    states = noisy(50, 4)
    local = np.random.default_rng(0).standard_normal((50, 4, 2))
    network = SampledRNN(width=2, input_width=input_width)
    with pytest.raises(ValueError, match=r"inputs: shape \(50, 4, 2\) is not \(50, 2\)"):
        network.fit(states, local)
    network = replace(network, patches=Patches((4,), ((1, 1),)))
    assert network.fit(states, local).inputs == 2
    for places in (3, 5, 1):
        wrong = np.random.default_rng(0).standard_normal((50, places, 2))
        with pytest.raises(ValueError, match=r"is not \(50, 2\) or \(50, 4, 2\)"):
            network.fit(states, wrong)
