"""Test lifted targets: outer weights equal the Koopman matrix; rollouts in the lifted space.

Source: Bolager et al., 'Gradient-free training of recurrent neural networks', arXiv 2410.23467.
"""

import numpy as np
import pytest

from gfrnn_core import Patches, SampledRNN
from gfrnn_core.lifting import lift
from gfrnn_testing.core_toys import forced, noisy, rotating


@pytest.mark.parametrize("forcing", [False, True])
@pytest.mark.parametrize("delays", [1, 2])
def test_the_outer_weights_of_lifted_targets_hold_those_of_the_state(delays, forcing):
    """A direct fit of h' equals C K, as the state is the leading part of the lifted vector."""
    states, inputs = forced(200)
    inputs = inputs if forcing else None
    settings = {"width": 12, "delays": delays, "ridge": 1e-3}
    direct = SampledRNN(target="state", **settings).fit(states, inputs)
    lifted = SampledRNN(target="lifted", **settings).fit(states, inputs)
    np.testing.assert_allclose(lifted.outer[:, :, :2], direct.outer, rtol=1e-9, atol=1e-11)
    begins = (0, 20, 40)
    starts = np.stack([states[t : t + delays] for t in begins])
    ahead = np.stack([inputs[t + delays : t + delays + 9] for t in begins]) if forcing else None
    np.testing.assert_allclose(
        lifted.rollout(starts, 9, ahead), direct.rollout(starts, 9, ahead), rtol=1e-8
    )
    np.testing.assert_allclose(
        lifted.predict(states, inputs), direct.predict(states, inputs), rtol=1e-8
    )
    # The oldest of delayed states, moved on by one, is the state before it.
    if delays == 2:
        moved = np.zeros((lifted.outer.shape[1], 2))
        moved[:2] = np.eye(2)
        np.testing.assert_allclose(lifted.outer[0][:, 2:4], moved, atol=0.1)


@pytest.mark.parametrize("forcing", [False, True])
@pytest.mark.parametrize("delays", [1, 2])
def test_a_linear_rollout_is_the_power_of_the_koopman_matrix(delays, forcing):
    states, inputs = forced(200)
    network = SampledRNN(width=12, delays=delays, target="lifted", ridge=1e-3)
    network = network.fit(states, inputs if forcing else None)
    linear = 2 * delays
    rest = np.delete(np.arange(network.outer.shape[1]), np.s_[linear + 1 : linear + 4])
    K = network.outer[0][rest] if forcing else network.outer[0]
    B = network.outer[0][linear + 1 : linear + 4] if forcing else np.zeros((3, K.shape[1]))
    starts = np.stack([states[t : t + delays] for t in (0, 50)])
    ahead = np.stack([inputs[t + delays : t + delays + 8] for t in (0, 50)])
    found = network.rollout(starts, 8, ahead if forcing else None, linear=True)
    for start in range(2):
        scaled = network.scaled(starts[start])
        lifted = lift(np.concatenate(scaled[::-1])[None], None, network.hidden)[0]
        for lead in range(8):
            expected = lifted @ np.linalg.matrix_power(K, lead + 1)
            for step in range(lead + 1):
                expected = expected + ahead[start, step] @ B @ np.linalg.matrix_power(
                    K, lead - step
                )
            np.testing.assert_allclose(
                found[start, lead], network.unscaled(expected[:2]), rtol=1e-9, atol=1e-9
            )


@pytest.mark.parametrize("forcing", [False, True])
def test_a_linear_rollout_of_a_linear_system_is_exact(forcing):
    states, inputs = forced(200) if forcing else (rotating(200), None)
    past = None if inputs is None else inputs[:100]
    network = SampledRNN(width=0, target="lifted", ridge=0.0).fit(states[:100], past)
    ahead = None if inputs is None else inputs[None, 101:]
    found = network.rollout(states[None, 100:101], 99, ahead, linear=True)
    np.testing.assert_allclose(found[0], states[101:], atol=1e-9)


def test_a_linear_rollout_needs_lifted_targets():
    states = noisy(30)
    with pytest.raises(ValueError, match="linear: needs target 'lifted', but the network's is 'st"):
        SampledRNN(width=2, target="state").fit(states).rollout(states[:1, None], 3, linear=True)


@pytest.mark.parametrize("settings", [{"leads": (1, 2)}, {"patches": Patches((2,), ((0, 0),))}])
def test_lifted_targets_of_several_leads_or_of_patches_are_refused(settings):
    with pytest.raises(ValueError, match="'lifted' allows neither patches nor leads other"):
        SampledRNN(target="lifted", **settings)


def test_a_narrower_network_takes_no_lifted_triangle_of_a_wider_one():
    states = noisy()
    wide = SampledRNN(width=8, target="lifted", ridge=1e-3).fit(states)
    narrow = wide.narrowed(3)
    with pytest.raises(ValueError, match="target columns"):
        narrow.solve(wide.factor)
    # Its own columns, features and targets, are those of the leading hidden features.
    own = wide.factor.select([*range(6), *range(11, 17)])
    expected = narrow.solve(narrow.factorise(narrow.scaled(states))).outer
    np.testing.assert_allclose(narrow.solve(own).outer, expected, rtol=1e-8, atol=1e-11)
