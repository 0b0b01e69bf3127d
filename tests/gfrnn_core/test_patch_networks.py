"""Test parts of local networks one by one: joint inputs, groups of places, weights of rows."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from gfrnn_core import Patches, SampledRNN, regression_rows

RING = Patches((6,), ((1, 1),), size=2, channels=2)


def smooth(times=120, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((times, RING.cells)).cumsum(axis=0) / 10


def forcing(kind, times=120):
    shape = (times, 2) if kind == "shared" else (times, RING.places, 2)
    return np.random.default_rng(5).standard_normal(shape)


def gram(factor):
    return factor.triangle.T @ factor.triangle


@pytest.mark.parametrize("kind", ["shared", "local"])
def test_joint_inputs_are_seen_by_hidden_features_in_rows_and_rollouts(kind):
    states, inputs = smooth(), forcing(kind)
    network = SampledRNN(
        width=12, delays=2, patches=RING, joint=True, ridge=1e-2, sampling="normal"
    )
    network = network.fit(states, inputs)
    hidden = network.hidden
    assert hidden.inputs == 2 * RING.window + 2
    assert hidden.weights[-2:].all(axis=1).all()
    found = network.rollout(states[None, 9:11], 3, inputs[None, 11:14])[0]
    path = list(network.scaled(states[9:11]))
    for lead in range(3):
        state = np.empty(RING.cells)
        for place in range(RING.places):
            given = inputs[11 + lead] if kind == "shared" else inputs[11 + lead, place]
            seen = np.concatenate([path[-1][RING.seen[place]], path[-2][RING.seen[place]], given])
            row = [*seen, 1.0, *np.tanh(seen @ hidden.weights + hidden.biases)]
            own = RING.own[place]
            state[own] = path[-1][own] + np.array(row) @ network.outer[0]
        path.append(state)
    np.testing.assert_allclose(found, network.unscaled(np.array(path[2:])), rtol=1e-9)
    # The residual of what was fitted is the least: a row's columns are those of the rollout.
    predicted = network.predict(states, inputs)
    np.testing.assert_allclose(network.scaled(predicted[9]), path[2], rtol=1e-9)


def test_joint_inputs_without_patches_are_a_state_that_is_not_forecast():
    states, inputs = smooth(), forcing("shared")
    joint = SampledRNN(width=9, joint=True, ridge=1e-6, standardise=False).fit(states, inputs)
    found = joint.predict(states, inputs)
    seen = np.concatenate([states[:-1], inputs[1:]], axis=1)
    lifted = np.tanh(seen @ joint.hidden.weights + joint.hidden.biases)
    rows = np.concatenate([seen, np.ones((len(seen), 1)), lifted], axis=1)
    np.testing.assert_allclose(found, states[:-1] + rows @ joint.outer[0], rtol=1e-10)


@pytest.mark.parametrize(
    "settings", [{"input_width": 3}, {"target": "lifted"}], ids=["input_width", "lifted"]
)
def test_joint_inputs_have_no_features_of_their_own(settings):
    with pytest.raises(ValueError, match="joint: allows neither input_width nor target 'lifted'"):
        SampledRNN(joint=True, **settings)


@pytest.mark.parametrize("share", [1.0, 0.4])
def test_rows_of_all_groups_of_places_are_the_rows_of_all_places(share):
    states, inputs = smooth(), forcing("local")
    network = SampledRNN(width=5, patches=RING, noise=0.1, share=share, seed=3)
    network = network.prepare(states, inputs)
    whole = network.factorise(states, inputs)
    parts = [network.factorise(states, inputs, places=np.array(places)) for places in ([0, 2], [1])]
    assert sum(part.rows for part in parts) == whole.rows
    np.testing.assert_allclose(sum(map(gram, parts)), gram(whole), rtol=1e-9, atol=1e-9)


def test_rows_count_what_their_place_weighs():
    states = smooth()
    network = SampledRNN(width=5, patches=RING).prepare(states)
    weights = np.array([0.5, 2.0, 1.0])
    found = gram(network.factorise(states, weights=weights))
    each = [gram(network.factorise(states, places=np.array([place]))) for place in range(3)]
    expected = sum(weight * one for weight, one in zip(weights, each, strict=True))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_each_place_is_forecast_with_the_weights_of_its_group():
    states, inputs = smooth(), forcing("local")
    network = SampledRNN(width=5, patches=RING, ridge=1e-2).prepare(states, inputs)
    groups = np.array([1, 0, 1])
    solved = [
        network.solve(network.factorise(states, inputs, places=np.flatnonzero(groups == group)))
        for group in range(2)
    ]
    together = replace(network, outer=np.stack([one.outer for one in solved]), groups=groups)
    found = together.rollout(states[None, 40:41], 4, inputs[None, 41:45])
    state = states[40]
    for lead in range(4):
        ahead = [
            one.rollout(state[None, None], 1, inputs[None, 41 + lead : 42 + lead])[0, 0]
            for one in solved
        ]
        state = np.empty(RING.cells)
        for place, group in enumerate(groups):
            state[RING.own[place]] = ahead[group][RING.own[place]]
        np.testing.assert_allclose(found[0, lead], state, rtol=1e-10)
    everywhere = replace(together, groups=np.zeros(3, dtype=int))
    np.testing.assert_allclose(
        everywhere.rollout(states[None, 40:41], 4, inputs[None, 41:45]),
        solved[0].rollout(states[None, 40:41], 4, inputs[None, 41:45]),
        rtol=1e-12,
    )


@pytest.mark.parametrize("kind", [None, "shared", "local"])
def test_step_by_step_gives_the_rollout(kind):
    states = smooth()
    inputs = None if kind is None else forcing(kind)
    network = SampledRNN(width=8, delays=2, leads=(1, 3), patches=RING, ridge=1e-2)
    network = network.fit(states, inputs)
    history = np.stack([states[10:12], states[50:52]])
    ahead = None if inputs is None else np.stack([inputs[12:20], inputs[52:60]])
    each = None if ahead is None else np.moveaxis(ahead, 1, 0)
    steps = list(network.walk(history, 8, each))
    found = np.stack([states for states, _ in steps], axis=1)
    np.testing.assert_array_equal(found, network.rollout(history, 8, ahead))
    assert all(limited.tolist() == [0.0, 0.0] for _, limited in steps)


def test_steps_are_made_only_when_they_are_asked_for():
    states = smooth()
    network = SampledRNN(width=8, patches=RING, ridge=1e-1).fit(states)
    endless = network.walk(states[None, 10:11], 10**9)
    found = np.stack([states for states, _ in islice(endless, 3)])
    np.testing.assert_array_equal(found[:, 0], network.rollout(states[None, 10:11], 3)[0])


def test_a_walk_refuses_what_a_rollout_refuses():
    states, inputs = smooth(), forcing("shared")
    network = SampledRNN(width=3, patches=RING).fit(states, inputs)
    with pytest.raises(ValueError, match="inputs: none, but the network needs 2"):
        next(network.walk(states[None, :1], 2))
    with pytest.raises(ValueError, match=r"inputs: shape \(1, 3\) is not \(1, 2\) or \(1, 3, 2\)"):
        next(network.walk(states[None, :1], 2, [np.zeros((1, 3))]))


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_any_cut_gives_the_same_rows_where_a_time_alone_is_drawn(monkeypatch, share):
    """On fine grids, 256 times together would fill the memory."""
    monkeypatch.setattr(regression_rows, "_DRAWN", 3 * RING.cells)
    states = smooth()
    network = SampledRNN(width=5, patches=RING, noise=0.1, share=share, standardise=False)
    network = network.prepare(states)
    whole = network.factorise(states)
    parts = [network.factorise(states[a : b + 1], first=a) for a, b in ((0, 7), (7, 50), (50, 119))]
    assert sum(part.rows for part in parts) == whole.rows
    np.testing.assert_allclose(sum(map(gram, parts)), gram(whole), rtol=1e-9, atol=1e-9)
    noisy = network.factorise(states[:60]), replace(network, noise=0.0).factorise(states[:60])
    assert not np.allclose(gram(noisy[0]), gram(noisy[1]))


def test_each_channel_may_have_noise_of_its_own():
    states = np.random.default_rng(2).standard_normal((80, 12))  # six cells of two channels
    patches = Patches((6,), ((2, 1),), size=3, channels=2)
    plain = SampledRNN(width=0, sampling="normal", patches=patches, standardise=False, seed=5)
    plain = plain.sample(np.zeros((1, patches.window)))

    def present(noise) -> np.ndarray:
        (rows,) = replace(plain, noise=noise)._rows(states, None, 0)
        return rows[:, : patches.window].reshape(len(rows), -1, 2)

    both, one, none = (present(noise) for noise in (0.3, np.array([0.3, 0.0]), 0.0))
    np.testing.assert_array_equal(one[..., 0], both[..., 0])
    np.testing.assert_array_equal(one[..., 1], none[..., 1])
    for wrong in (np.ones(3), np.ones(12), np.ones((1, 2))):
        with pytest.raises(ValueError, match=r"noise: shape .* is not \(\) or \(2,\)"):
            present(wrong)


def test_places_of_weight_zero_have_no_rows():
    states = smooth()
    network = SampledRNN(width=5, patches=RING, share=0.5, standardise=False).prepare(states)
    without = network.factorise(states, weights=np.array([1.0, 0.0, 4.0]))
    left = network.factorise(states, places=np.array([0, 2]), weights=np.array([1.0, 9.0, 4.0]))
    assert without.rows == left.rows
    scale = np.abs(left.triangle).max()
    np.testing.assert_allclose(without.triangle, left.triangle, atol=1e-13 * scale, rtol=0)
