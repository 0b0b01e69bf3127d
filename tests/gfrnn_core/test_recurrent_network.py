"""Test a fitted network: rollouts compared with loops, one step of a series, and refusals."""

from dataclasses import replace

import numpy as np
import pytest

from gfrnn_core import Patches, SampledRNN, UnstableRollout
from gfrnn_testing.core_toys import forced, noisy, rotating

# --- rollout ------------------------------------------------------------------------------------


def combined(predicted, lead, known, rule):
    """Combine predictions, a function of the lead of the weights, into the state at a lead."""
    usable = [each for each in known if each <= lead]
    direct = predicted(usable[-1])
    if rule == "longest" or lead > max(known) or len(usable) == 1:
        return direct
    return (direct + np.mean([predicted(each) for each in usable[:-1]], axis=0)) / 2


def rollout_by_hand(network, history, steps, inputs):
    """Roll out one start, with the formulas of the documentation and no regard to speed."""
    path = [(row - network.shift) / network.std for row in history]
    present = len(path) - 1

    def predicted(step):
        base = present + lead - step
        seen = np.concatenate([path[base - j] for j in range(network.delays)])
        hidden = np.tanh(seen @ network.hidden.weights + network.hidden.biases)
        forcing = [] if inputs is None else inputs[base - present]
        row = np.concatenate([seen, [1.0], forcing, hidden])
        found = row @ network.outer[network.leads.index(step)]
        return found + path[base] if network.target == "increment" else found

    for lead in range(1, steps + 1):
        path.append(combined(predicted, lead, network.leads, network.combine_leads))
    return np.array([row * network.std + network.shift for row in path[present + 1 :]])


@pytest.mark.parametrize("target", ["state", "increment"])
@pytest.mark.parametrize("forcing", [False, True])
@pytest.mark.parametrize("leads", [(1,), (1, 3), (1, 2, 4)])
@pytest.mark.parametrize("delays", [1, 3])
@pytest.mark.parametrize("rule", ["mean", "longest"])
def test_rollout_is_the_loop_written_by_hand(rule, delays, leads, forcing, target):
    states, inputs = forced(200, seed=2)
    network = SampledRNN(width=12, delays=delays, leads=leads, target=target, ridge=1e-3)
    network = replace(network, combine_leads=rule)
    network = network.fit(states, inputs if forcing else None)
    starts = [10, 57, 120]
    history = np.stack([states[start - delays + 1 : start + 1] for start in starts])
    ahead = np.stack([inputs[start + 1 : start + 12] for start in starts]) if forcing else None
    before = history.copy()
    found = network.rollout(history, 11, ahead)
    assert found.shape == (3, 11, 2)
    for index in range(3):
        expected = rollout_by_hand(
            network, history[index], 11, None if ahead is None else ahead[index]
        )
        np.testing.assert_allclose(found[index], expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_array_equal(history, before)


def test_a_known_lead_is_reached_in_one_step():
    """The weights of the lead cannot result from any chain of shorter steps."""
    network = SampledRNN(width=0, leads=(1, 3), target="state", standardise=False)
    network = replace(network, combine_leads="longest")
    network = network.fit(noisy(30, 1))
    outer = np.array([[[2.0], [0.0]], [[0.0], [100.0]]])  # double; or 100 whatever the state
    found = replace(network, outer=outer, low=None, high=None).rollout(np.array([[[1.0]]]), 7)
    np.testing.assert_array_equal(found[0, :, 0], [2, 4, 100, 100, 100, 100, 100])
    outer = np.array([[[2.0], [0.0]], [[1.0], [100.0]]])  # double; or add 100
    found = replace(network, outer=outer, low=None, high=None).rollout(np.array([[[1.0]]]), 7)
    np.testing.assert_array_equal(found[0, :, 0], [2, 4, 101, 102, 104, 201, 202])


def test_the_mean_of_two_leads_by_hand():
    """One step doubles, two steps add 100: the second state is half of each prediction."""
    network = SampledRNN(width=0, leads=(1, 2), target="state", standardise=False)
    network = network.fit(noisy(30, 1))
    outer = np.array([[[2.0], [0.0]], [[1.0], [100.0]]])
    found = replace(network, outer=outer, low=None, high=None).rollout(np.array([[[1.0]]]), 5)
    # (2 * 2 + 101) / 2; from the third on, two steps from the state two steps before
    np.testing.assert_array_equal(found[0, :, 0], [2, 52.5, 102, 152.5, 202])


def test_starts_do_not_affect_each_other():
    states, inputs = forced(200, seed=3)
    network = SampledRNN(width=12, delays=2, leads=(1, 2), ridge=1e-3).fit(states, inputs)
    history = np.stack([states[start : start + 2] for start in range(0, 50, 10)])
    ahead = np.stack([inputs[start + 2 : start + 12] for start in range(0, 50, 10)])
    together = network.rollout(history, 10, ahead)
    for start in range(5):
        alone = network.rollout(history[start : start + 1], 10, ahead[start : start + 1])
        np.testing.assert_allclose(together[start : start + 1], alone, rtol=1e-12, atol=1e-12)


def test_a_longer_rollout_begins_like_a_shorter_one():
    states = noisy()
    network = SampledRNN(width=12, leads=(1, 4), ridge=1e-2).fit(states)
    np.testing.assert_allclose(
        network.rollout(states[:3, None], 15)[:, :6], network.rollout(states[:3, None], 6)
    )
    assert network.rollout(states[:3, None], 0).shape == (3, 0, 2)
    assert network.rollout(states[:0, None], 4).shape == (0, 4, 2)


def test_states_older_than_the_delays_are_not_used():
    states = noisy()
    network = SampledRNN(width=8, delays=2, ridge=1e-2).fit(states)
    longer = states[None, 10:15].copy()
    longer[:, :3] = np.nan
    np.testing.assert_array_equal(
        network.rollout(longer, 6), network.rollout(states[None, 13:15], 6)
    )


@pytest.mark.parametrize("rule", ["mean", "longest"])
@pytest.mark.parametrize("forcing", [None, "shared", "local"])
def test_rollout_with_patches_is_the_loop_over_places(forcing, rule):
    patches = Patches((2, 3), ((1, 0), (1, 1)), (False, True), (1, 1), channels=2)
    rng = np.random.default_rng(4)
    states = rng.standard_normal((80, 12)).cumsum(axis=0) / 10
    inputs = {"shared": rng.standard_normal((80, 2)), "local": rng.standard_normal((80, 6, 2))}
    given = inputs.get(forcing)
    network = SampledRNN(width=10, delays=2, leads=(1, 3), patches=patches, ridge=1e-2)
    network = replace(network, combine_leads=rule).fit(states, given)
    begins = (10, 30)
    ahead = None if given is None else np.stack([given[t + 1 : t + 6] for t in begins])
    found = network.rollout(np.stack([states[t - 1 : t + 1] for t in begins]), 5, ahead)
    scaled = network.scaled(states)
    for start, begin in enumerate(begins):
        path = list(scaled[begin - 1 : begin + 1])

        def predicted(step, path=path, start=start):
            base, state = len(path) - step, np.empty(12)
            for place in range(6):
                seen = np.concatenate([path[base - j][patches.seen[place]] for j in range(2)])
                row = [*seen, 1.0]
                if given is not None:
                    now = ahead[start, base - 1]
                    row += list(now if forcing == "shared" else now[place])
                row += list(np.tanh(seen @ network.hidden.weights + network.hidden.biases))
                own = patches.own[place]
                weights = network.outer[(1, 3).index(step)]
                state[own] = np.array(row) @ weights + path[base][own]
            return state

        for lead in range(1, 6):
            path.append(combined(predicted, lead, (1, 3), rule))
        expected = network.unscaled(np.array(path[2:]))
        np.testing.assert_allclose(found[start], expected, rtol=1e-10, atol=1e-10)
    if forcing == "shared":
        local = np.repeat(ahead[:, :, None], 6, axis=2)
        again = network.rollout(np.stack([states[t - 1 : t + 1] for t in begins]), 5, local)
        np.testing.assert_allclose(again, found, rtol=1e-12, atol=1e-12)


def test_shifting_a_ring_shifts_its_forecast():
    states = np.random.default_rng(5).standard_normal((100, 8)).cumsum(axis=0) / 10
    network = SampledRNN(width=10, patches=Patches((8,), ((2, 1),)), ridge=1e-2).fit(states)
    wide = replace(network, low=None, high=None)
    expected = np.roll(wide.rollout(states[:4, None], 6), 3, axis=2)
    found = wide.rollout(np.roll(states[:4, None], 3, axis=2), 6)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


def test_float32_rollouts_are_near_those_of_float64():
    states, inputs = forced(300)
    for linear in (False, True):
        network = SampledRNN(width=20, target="lifted", ridge=1e-3).fit(states, inputs)
        case = states[:3, None], 20, np.stack([inputs[t + 1 : t + 21] for t in range(3)])
        double = network.rollout(*case, linear=linear)
        single = replace(network, precision="float32").rollout(*case, linear=linear)
        assert 0 < np.abs(single - double).max() < 1e-4
        unscaled = replace(network, precision="float32", shift=None, std=None)
        assert unscaled.rollout(*case, linear=linear).dtype == np.float32


# --- stability ----------------------------------------------------------------------------------


def test_an_unstable_network_is_reported_with_the_step_of_divergence():
    """The network is x_t+1 = 2 x_t; the allowed range is three times that of the data."""
    network = SampledRNN(width=0, target="state", standardise=False).fit(noisy(40, 1))
    low, high = network.low[0], network.high[0]
    network = replace(network, outer=np.array([[[2.0], [0.0]]]))
    with pytest.warns(UnstableRollout) as record:
        found = network.rollout(np.array([[[0.1]], [[0.0]]]), 20)
    left = int(record[0].message.steps[0])
    limit = high + (high - low)
    assert 0.1 * 2.0 ** (left - 1) <= limit < 0.1 * 2.0**left
    with pytest.warns(UnstableRollout) as below:
        network.rollout(np.array([[[-0.1]]]), 20)
    left_below = int(below[0].message.steps[0])
    assert 0.1 * 2.0 ** (left_below - 1) <= high - low - low < 0.1 * 2.0**left_below
    np.testing.assert_allclose(found[0, : left - 1, 0], 0.1 * 2.0 ** np.arange(1, left))
    assert np.isnan(found[0, left - 1 :]).all()
    np.testing.assert_array_equal(found[1], 0)


def test_a_constant_coordinate_without_standardisation_has_no_range_to_leave():
    """Rounding changes its only value, which is not divergence; infinity still is."""
    states = np.hstack([rotating(100), np.full((100, 1), 0.1)])
    network = SampledRNN(width=5, target="state", standardise=False, ridge=1e-8).fit(states)
    assert network.low[2] == network.high[2]
    found = network.rollout(states[None, :1], 30)
    assert np.isfinite(found).all()
    assert (found[0, :, 2] != 0.1).any()
    np.testing.assert_allclose(found[0, :, 2], 0.1, atol=1e-4)
    outer = np.zeros_like(network.outer)
    outer[0, [0, 1, 2], [0, 1, 2]] = 1, 1, 1e308
    runaway = replace(network, outer=outer)
    for value in (-10.0, 10.0):
        with pytest.warns(UnstableRollout) as record:
            runaway.rollout(np.array([[[*states[0, :2], value]]]), 2)
        np.testing.assert_array_equal(record[0].message.steps, [1])
    with pytest.warns(UnstableRollout):
        network.rollout(np.array([[[0.0, 0.0, np.inf]]]), 2)


def test_a_cell_that_is_constant_has_no_range_either():
    """A channel is standardised as a whole, so one constant cell does not make it constant."""
    states = np.random.default_rng(0).standard_normal((200, 4))
    states[:, 2] = 0.3
    network = SampledRNN(width=0, patches=Patches((4,), ((1, 1),)), ridge=1e-3).fit(states)
    assert np.isfinite(network.rollout(states[:5, None], 10)).all()


@pytest.mark.parametrize("where", ["history", "inputs"])
def test_nan_in_a_rollout_is_never_silent(where):
    states, inputs = forced(100)
    network = SampledRNN(width=5, ridge=1e-3).fit(states, inputs)
    history = states[[[0], [30]]]
    ahead = np.stack([inputs[1:6], inputs[31:36]])
    clean = network.rollout(history, 5, ahead)
    if where == "history":
        history[1, 0, 0] = np.nan
    else:
        ahead[1, 2, 0] = np.nan
    with pytest.warns(UnstableRollout) as record:
        found = network.rollout(history, 5, ahead)
    step = 1 if where == "history" else 3
    np.testing.assert_array_equal(record[0].message.starts, [1])
    np.testing.assert_array_equal(record[0].message.steps, [step])
    assert np.isnan(found[1, step - 1 :]).all()
    np.testing.assert_allclose(found[0], clean[0], rtol=1e-11)
    np.testing.assert_allclose(found[1, : step - 1], clean[1, : step - 1], rtol=1e-11)


# --- one step of a series -----------------------------------------------------------------------


@pytest.mark.parametrize("forcing", [None, "shared", "local"])
@pytest.mark.parametrize("target", ["state", "increment"])
@pytest.mark.parametrize("delays", [1, 3])
def test_predictions_are_rollouts_of_one_step(delays, target, forcing):
    rng = np.random.default_rng(6)
    states = rng.standard_normal((60, 4)).cumsum(axis=0) / 10
    inputs = {"shared": rng.standard_normal((60, 2)), "local": rng.standard_normal((60, 4, 2))}
    given = inputs.get(forcing)
    patches = Patches((4,), ((1, 1),)) if forcing == "local" else None
    network = SampledRNN(
        width=10, delays=delays, leads=(1, 2), target=target, patches=patches, ridge=1e-2
    ).fit(states, given)
    found = network.predict(states, given)
    assert found.shape == (60 - delays, 4)
    for t in range(delays, 60):
        ahead = None if given is None else given[None, t : t + 1]
        expected = network.rollout(states[None, t - delays : t], 1, ahead)[0, 0]
        np.testing.assert_allclose(found[t - delays], expected, rtol=1e-10, atol=1e-10)


def test_a_list_of_states_is_one_series_to_predict():
    states = rotating(50)
    network = SampledRNN(width=0).fit(states)
    np.testing.assert_array_equal(network.predict(states.tolist()), network.predict(states))


# --- refusals -----------------------------------------------------------------------------------


def test_methods_before_fit_are_refused():
    network = SampledRNN(width=2)
    states = noisy(20)
    with pytest.raises(ValueError, match="no outer weights yet"):
        network.rollout(states[:1, None], 3)
    with pytest.raises(ValueError, match="no hidden weights yet"):
        network.factorise(states)
    with pytest.raises(ValueError, match="no hidden weights yet"):
        network.narrowed(1)
    fitted = network.fit(states)
    with pytest.raises(ValueError, match="no outer weights yet"):
        fitted.narrowed(1).rollout(states[:1, None], 3)
    with pytest.raises(ValueError, match="no outer weights yet"):
        fitted.sample(fitted.scaled(states[:-1]), states[1:]).rollout(states[:1, None], 3)


@pytest.mark.parametrize("shape", [(2, 2), (4, 1, 2), (4, 2, 1), (4, 2, 3)])
def test_history_of_another_shape_is_refused(shape):
    network = SampledRNN(width=2, delays=2).fit(noisy(30))
    with pytest.raises(ValueError, match=r"is not \(starts, 2, 2\)"):
        network.rollout(np.ones(shape), 3)


@pytest.mark.parametrize("shape", [None, (4, 2, 3), (1, 5, 3), (4, 5, 2), (5, 3)])
def test_inputs_of_a_rollout_that_do_not_fit_are_refused(shape):
    states, inputs = forced(60)
    network = SampledRNN(width=2).fit(states, inputs)
    with pytest.raises(ValueError, match="inputs"):
        network.rollout(states[:4, None], 5, None if shape is None else np.ones(shape))


def test_inputs_for_a_network_without_any_are_refused():
    states = noisy(30)
    with pytest.raises(ValueError, match="inputs"):
        SampledRNN(width=2).fit(states).rollout(states[:4, None], 5, np.ones((4, 5, 1)))


@pytest.mark.parametrize("forcing", [False, True])
def test_series_to_predict_that_do_not_fit_are_refused(forcing):
    states, inputs = forced(60)
    network = SampledRNN(width=2, delays=2).fit(states, inputs if forcing else None)
    given = inputs if forcing else None
    nan = np.where(np.arange(120).reshape(60, 2) == 7, np.nan, states)
    two = None if given is None else given[:2]
    cases = [
        (states[:, :1], given, r"states: shape \(60, 1\) is not \(times, 2\)"),
        (np.stack([states, states]), given, "states"),
        (nan, given, "time 3, coordinate 1 is not finite"),
        (states[:2], two, "2 times are too few for 2 delays"),
        (states, None if forcing else inputs, "inputs"),
        (states, inputs[:, :2], "inputs"),
        (states, inputs[:50], "inputs"),
    ]
    for series, one, message in cases:
        with pytest.raises(ValueError, match=message):
            network.predict(series, one)


def test_a_negative_number_of_steps_is_refused():
    states = noisy(30)
    with pytest.raises(ValueError, match="steps: -1 is not an integer"):
        SampledRNN(width=2).fit(states).rollout(states[:1, None], -1)


# --- settings -----------------------------------------------------------------------------------


def test_leads_may_be_a_list():
    assert SampledRNN(width=5, leads=[1, 3]).leads == (1, 3)
    assert SampledRNN(width=5, target="lifted", leads=[1]).leads == (1,)


@pytest.mark.parametrize(
    ("name", "value"),
    [("width", 5.0), ("input_width", True), ("delays", 2.0), ("leads", 1), ("modulators", (0.5,))],
)
def test_settings_that_are_no_integers_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name}: .* is not"):
        SampledRNN(**{name: value})


def test_a_limit_may_be_a_number():
    network = SampledRNN(width=5, limit=3.0).fit(noisy())
    assert network.rollout(noisy()[None], 2).shape == (1, 2, 2)


def test_a_number_of_steps_that_is_no_integer_is_refused():
    network = SampledRNN(width=5).fit(noisy())
    with pytest.raises(ValueError, match=r"steps: 3\.0 is not an integer"):
        network.rollout(noisy()[None], 3.0)


@pytest.mark.parametrize("consecutive", [False, True])
def test_joint_features_need_inputs(consecutive):
    with pytest.raises(ValueError, match="joint: True, but there are no inputs"):
        SampledRNN(width=5, joint=True).fit([noisy(), noisy()], consecutive=consecutive)


def test_inputs_that_end_early_are_refused():
    states, inputs = forced(100)
    network = SampledRNN(width=5).fit(states, inputs)
    walk = network.walk(states[None], 5, [inputs[:1]] * 3)
    with pytest.raises(ValueError, match="inputs: end before step 4 of 5"):
        list(walk)


def test_networks_can_be_compared_and_kept_in_sets():
    network = SampledRNN(width=5).fit(noisy())
    assert network == network
    assert network != replace(network, seed=1)
    assert len({network, network.factor, network.hidden}) == 3
