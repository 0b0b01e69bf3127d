"""The sampled network: laws that it must recover, loops that it must equal, and Lorenz 63."""

from dataclasses import replace

import numpy as np
import pytest

from gfrnn_core import RFactor, RidgePath, SampledRNN
from gfrnn_core.lifting import lift
from gfrnn_core.metrics import valid_prediction_time
from gfrnn_core.systems import LORENZ63

TURN = 0.3
ROTATION = np.array([[np.cos(TURN), -np.sin(TURN)], [np.sin(TURN), np.cos(TURN)]])
SHIFT = np.array([0.5, -0.2])
COUPLING = np.array([[0.3, 0.0, -1.0], [0.2, 0.7, 0.1]])


def rotating(times, start=(1.0, 2.0)):
    """x_t+1 = Q x_t + c, which never dies away."""
    states = np.empty((times, 2))
    states[0] = start
    for t in range(1, times):
        states[t] = ROTATION @ states[t - 1] + SHIFT
    return states


def forced(times, seed=0):
    """x_t+1 = 0.9 Q x_t + c + B u_t+1, with random inputs u."""
    inputs = np.random.default_rng(seed).standard_normal((times, 3))
    states = np.zeros((times, 2))
    for t in range(1, times):
        states[t] = 0.9 * ROTATION @ states[t - 1] + SHIFT + COUPLING @ inputs[t]
    return states, inputs


def noisy(times=120, size=2, seed=0):
    return np.random.default_rng(seed).standard_normal((times, size)).cumsum(axis=0) / 10


# --- laws that are recovered exactly ------------------------------------------------------------


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
    """The inputs of step t + 1 lead from the state of t to that of t + 1."""
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
    """The logistic map, one step ahead."""
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


# --- training -----------------------------------------------------------------------------------

SETTINGS = [
    {"width": 15},
    {"width": 15, "activation": "relu", "sampling": "uniform_pairs"},
    {"width": 15, "delays": 3, "target": "state", "sampling": "normal", "standardise": False},
    {"width": 15, "delays": 2, "leads": (1, 3, 4)},
]


@pytest.mark.parametrize("forcing", [False, True])
@pytest.mark.parametrize("settings", SETTINGS)
def test_fit_is_least_squares_on_all_rows(settings, forcing):
    states, inputs = forced(200, seed=1)
    inputs = inputs if forcing else None
    network = SampledRNN(ridge=1e-2, **settings).fit(states, inputs)
    scaled, delays = network.scaled(states), network.delays
    times = np.arange(delays - 1, 200 - max(network.leads))
    seen = np.hstack([scaled[times - j] for j in range(delays)])
    features = lift(seen, None if inputs is None else inputs[times + 1], network.hidden)
    strength = 1e-2 * np.linalg.norm(features, 2)
    pulled = np.vstack([features, strength * np.eye(features.shape[1])])
    for lead, weights in zip(network.leads, network.outer, strict=True):
        targets = scaled[times + lead]
        if network.target == "increment":
            targets = targets - scaled[times]
        targets = np.vstack([targets, np.zeros((features.shape[1], 2))])
        expected = np.linalg.lstsq(pulled, targets, rcond=None)[0]
        np.testing.assert_allclose(weights, expected, rtol=1e-6, atol=1e-9)


def test_fit_samples_from_the_pairs_of_its_delayed_states():
    """Each neuron is -1/2 and 1/2 at two states that it may see, each with its next state."""
    states = noisy()
    network = SampledRNN(width=30, delays=2).fit(states)
    scaled = network.scaled(states)
    pool = np.hstack([scaled[1:-1], scaled[:-2]])
    again = network.sample(pool, scaled[2:])
    np.testing.assert_array_equal(network.hidden.weights, again.hidden.weights)
    features = np.tanh(pool @ network.hidden.weights + network.hidden.biases)
    for value in (-0.5, 0.5):
        assert (np.abs(features - value).min(axis=0) < 1e-10).all()


def test_fit_leaves_the_network_and_the_data_alone():
    states, inputs = forced(80)
    before = states.copy(), inputs.copy()
    network = SampledRNN(width=5)
    fitted = network.fit(states, inputs)
    assert network.hidden is network.outer is network.shift is network.spread is None
    assert fitted is not network
    assert fitted.width == 5
    np.testing.assert_array_equal(states, before[0])
    np.testing.assert_array_equal(inputs, before[1])


@pytest.mark.parametrize("sampling", ["pairs", "uniform_pairs", "normal"])
def test_the_seed_decides_every_bit(sampling):
    states = noisy()
    first, again, other = (
        SampledRNN(width=20, sampling=sampling, seed=seed).fit(states) for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(first.hidden.weights, again.hidden.weights)
    np.testing.assert_array_equal(first.hidden.biases, again.hidden.biases)
    np.testing.assert_array_equal(first.outer, again.outer)
    assert (first.hidden.weights != other.hidden.weights).any()


def test_settings_reach_the_hidden_layer():
    pool = np.zeros((2, 4))
    for scale in (0.1, 2.0):
        network = SampledRNN(width=5000, sampling="normal", scale=scale, activation="relu")
        hidden = network.sample(pool).hidden
        assert hidden.activation == "relu"
        assert hidden.weights.shape == (4, 5000)
        assert hidden.weights.std() == pytest.approx(scale, rel=0.03)


def test_columns_of_a_row():
    network = SampledRNN(width=10, delays=2, leads=(1, 3), sampling="normal")
    columns = network.sample(np.zeros((2, 6))).columns(3, 4)
    assert (columns.linear, columns.inputs, columns.hidden, columns.targets) == (6, 4, 10, 6)


def test_stretches_apart_merge_without_a_row_across_the_gap():
    states = noisy(150)
    network = SampledRNN(width=8, delays=2, leads=(1, 2), standardise=False, sampling="normal")
    network = network.sample(np.zeros((2, 4)))
    early, late = network.factorise(states[:70]), network.factorise(states[90:])
    merged = early.merge(late)
    assert (early.rows, late.rows, merged.rows) == (67, 57, 124)
    rows = []
    for part in (states[:70], states[90:]):
        seen = np.hstack([part[1:-2], part[:-3]])
        targets = [part[2:-1] - part[1:-2], part[3:] - part[1:-2]]
        rows.append(np.hstack([lift(seen, None, network.hidden), *targets]))
    expected = RFactor.from_rows(np.vstack(rows)).triangle
    np.testing.assert_allclose(merged.triangle, expected, atol=1e-11)


def test_one_ridge_a_lead():
    states = noisy()
    network = SampledRNN(width=8, leads=(1, 2, 3)).fit(states)
    factor = network.factorise(network.scaled(states))
    ridges = [1e-8, 1e-2, 1.0]
    each = network.solve(factor, ridges)
    for lead, ridge in enumerate(ridges):
        expected = network.solve(factor, ridge).outer[lead]
        np.testing.assert_allclose(each.outer[lead], expected, rtol=1e-10, atol=1e-13)
    assert (each.outer[1] != each.outer[2]).any()


def test_the_ridge_of_fit_is_its_own():
    states = noisy()
    network = SampledRNN(width=8, ridge=0.5).fit(states)
    factor = network.factorise(network.scaled(states))
    np.testing.assert_array_equal(network.outer, network.solve(factor, 0.5).outer)
    assert (network.outer != network.solve(factor, 0.4).outer).any()


@pytest.mark.parametrize("forcing", [False, True])
@pytest.mark.parametrize("width", [0, 1, 7, 20])
def test_a_narrower_network_is_the_one_fitted_from_scratch(width, forcing):
    states, inputs = forced(150)
    inputs = inputs if forcing else None
    wide = SampledRNN(width=20, delays=2, leads=(1, 2), ridge=1e-3).fit(states, inputs)
    scaled = wide.scaled(states)
    narrow = wide.narrowed(width)
    assert (narrow.width, narrow.hidden.width) == (width, width)
    assert narrow.outer is None
    columns = narrow.columns(2, 3 if forcing else 0)
    path = RidgePath.from_factor(wide.factorise(scaled, inputs), columns.features, columns.targets)
    scratch = narrow.solve(narrow.factorise(scaled, inputs), 1e-3)
    cut = narrow.with_weights(path, 1e-3)
    np.testing.assert_allclose(cut.outer, scratch.outer, rtol=1e-8, atol=1e-11)
    ahead = None if inputs is None else inputs[None, 2:12]
    np.testing.assert_allclose(
        cut.rollout(states[None, :2], 10, ahead), scratch.rollout(states[None, :2], 10, ahead)
    )


# --- scaling ------------------------------------------------------------------------------------


def test_states_are_standardised_and_come_back():
    states = noisy() * [3.0, 1e5] + [270.0, -4e4]
    network = SampledRNN(width=3).fit(states)
    scaled = network.scaled(states)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(scaled.std(axis=0), 1, rtol=1e-12)
    np.testing.assert_allclose(network.unscaled(scaled), states, rtol=1e-12)
    np.testing.assert_allclose(network.shift, states.mean(axis=0))
    np.testing.assert_allclose(network.spread, states.std(axis=0))


def test_without_standardisation_states_are_left_as_they_are():
    states = noisy() + 100
    network = SampledRNN(width=3, standardise=False).fit(states)
    assert network.shift is network.spread is None
    np.testing.assert_array_equal(network.scaled(states), states)
    np.testing.assert_array_equal(network.unscaled(states), states)


@pytest.mark.parametrize("target", ["state", "increment"])
def test_forecasts_do_not_depend_on_units(target):
    states = rotating(90)
    factors, offsets = np.array([1e-3, 1e4]), np.array([5.0, -2e3])
    plain = SampledRNN(width=10, target=target, ridge=1e-6)
    expected = plain.fit(states).rollout(states[None, -1:], 20)
    moved = states * factors + offsets
    found = plain.fit(moved).rollout(moved[None, -1:], 20)
    np.testing.assert_allclose((found - offsets) / factors, expected, rtol=1e-6, atol=1e-6)


# --- rollout ------------------------------------------------------------------------------------


def rollout_by_hand(network, history, steps, inputs):
    """One start. Each lead comes from the largest known lead that is not above it."""
    path = [(row - network.shift) / network.spread for row in history]
    present = len(path) - 1
    for lead in range(1, steps + 1):
        step = max(known for known in network.leads if known <= lead)
        base = present + lead - step
        seen = np.concatenate([path[base - j] for j in range(network.delays)])
        hidden = np.tanh(seen @ network.hidden.weights + network.hidden.biases)
        forcing = [] if inputs is None else inputs[base - present]
        row = np.concatenate([seen, [1.0], forcing, hidden])
        found = row @ network.outer[network.leads.index(step)]
        path.append(found + path[base] if network.target == "increment" else found)
    return np.array([row * network.spread + network.shift for row in path[present + 1 :]])


@pytest.mark.parametrize("target", ["state", "increment"])
@pytest.mark.parametrize("forcing", [False, True])
@pytest.mark.parametrize("leads", [(1,), (1, 3), (1, 2, 4)])
@pytest.mark.parametrize("delays", [1, 3])
def test_rollout_is_the_loop_written_by_hand(delays, leads, forcing, target):
    states, inputs = forced(200, seed=2)
    network = SampledRNN(width=12, delays=delays, leads=leads, target=target, ridge=1e-3)
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
    """Weights of a lead that no chain of shorter steps could give."""
    network = SampledRNN(width=0, leads=(1, 3), target="state", standardise=False)
    network = network.fit(noisy(30, 1))
    outer = np.array([[[2.0], [0.0]], [[0.0], [100.0]]])  # double; or 100 whatever the state
    found = replace(network, outer=outer).rollout(np.array([[[1.0]]]), 7)
    np.testing.assert_array_equal(found[0, :, 0], [2, 4, 100, 100, 100, 100, 100])
    outer = np.array([[[2.0], [0.0]], [[1.0], [100.0]]])  # double; or add 100
    found = replace(network, outer=outer).rollout(np.array([[[1.0]]]), 7)
    np.testing.assert_array_equal(found[0, :, 0], [2, 4, 101, 102, 104, 201, 202])


def test_starts_do_not_touch_each_other():
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


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"delays": 0}, "delays: 0 is not"),
        ({"leads": (2, 3)}, "leads"),
        ({"leads": ()}, "leads"),
        ({"leads": (1, 3, 2)}, "leads"),
        ({"leads": (1, 1)}, "leads"),
        ({"leads": (0, 1)}, "leads"),
        ({"target": "tendency"}, "'tendency' is not 'state' or 'increment'"),
    ],
)
def test_settings_that_make_no_network_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        SampledRNN(**settings)


@pytest.mark.parametrize(
    ("states", "message"),
    [
        (np.arange(9.0), r"shape \(9,\) is not \(times, coordinates\)"),
        (np.zeros((5, 4, 3)), "is not"),
        (np.where(np.arange(40).reshape(20, 2) == 13, np.nan, noisy(20)), "time 6, coordinate 1"),
        (np.where(np.arange(40).reshape(20, 2) == 8, np.inf, noisy(20)), "time 4, coordinate 0"),
        (noisy(20)[:3], "feature columns, but only 2 rows"),
        (noisy(20)[:1], "1 times are too few"),
    ],
)
def test_series_that_cannot_be_fitted_are_refused(states, message):
    """A single time has no spread either, so scaling is off here."""
    with pytest.raises(ValueError, match=message):
        SampledRNN(width=1, standardise=False).fit(states)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, -273.15, 1e5 / 3])
@pytest.mark.parametrize("times", [37, 1000])
def test_a_constant_coordinate_is_named(value, times):
    """Also where the mean of equal numbers is not the number, to rounding."""
    states = noisy(times, 3)
    states[:, 1] = value
    with pytest.raises(ValueError, match="coordinate 1 is constant"):
        SampledRNN(width=1).fit(states)


def test_a_coordinate_that_varies_little_is_no_constant():
    states = noisy(200) * [1.0, 1e-6] + [0.0, 300.0]
    assert SampledRNN(width=1).fit(states).spread[1] < 1e-5


@pytest.mark.parametrize("shape", [(39, 2), (41, 2), (40,)])
def test_inputs_that_do_not_fit_are_refused(shape):
    with pytest.raises(ValueError, match="inputs"):
        SampledRNN(width=2).fit(noisy(40), np.ones(shape))


def test_inputs_that_are_not_finite_are_refused():
    states, inputs = forced(40)
    inputs[7, 1] = np.nan
    with pytest.raises(ValueError, match=r"not finite|must be finite"):
        SampledRNN(width=2).fit(states, inputs)


def test_nothing_works_before_its_time():
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


@pytest.mark.parametrize("shape", [(2, 2), (4, 1, 2), (4, 3, 2), (4, 2, 1), (4, 2, 3)])
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


# --- Lorenz 63: why R and not the Gram matrix ---------------------------------------------------

DT, TRAINING, STARTS, APART, LEADS = 0.02, 5000, 30, 100, 1400


@pytest.fixture(scope="module")
def lorenz():
    """A trajectory of 5,000 samples to learn from, and 30 starts after it."""
    path = LORENZ63.trajectory(DT, TRAINING + STARTS * APART + LEADS, spinup=500)
    starts = TRAINING + APART * np.arange(STARTS)
    truth = np.stack([path[start + 1 : start + 1 + LEADS] for start in starts])
    return path[:TRAINING], path[starts][:, None], truth


@pytest.fixture(scope="module", params=["pairs", "normal"])
def network(request, lorenz):
    return SampledRNN(width=1000, sampling=request.param, scale=0.5, ridge=1e-15).fit(lorenz[0])


def median_lyapunov_times(network, lorenz):
    training, history, truth = lorenz
    with np.errstate(over="ignore", invalid="ignore"):
        forecast = network.rollout(history, LEADS)
    exponent, climate = LORENZ63.lyapunov_exponent, training.std(axis=0)
    return np.median(valid_prediction_time(forecast, truth, DT, exponent, 0.3, scale=climate))


def test_lorenz_63_is_forecast_for_18_lyapunov_times(network, lorenz):
    assert median_lyapunov_times(network, lorenz) >= 18


def test_the_gram_matrix_would_lose_a_third_of_it(network, lorenz):
    """The same features and targets through F'F, at its best ridge."""
    scaled = network.scaled(lorenz[0])
    features = lift(scaled[:-1], None, network.hidden)
    values, vectors = np.linalg.eigh(features.T @ features)
    projected = vectors.T @ (features.T @ np.diff(scaled, axis=0))
    best = 0.0
    for ridge in np.logspace(-17, -13, 5):
        strength = np.abs(values) + ridge * values[-1]
        outer = vectors @ (projected / strength[:, None])
        gram = replace(network, outer=outer[None])
        best = max(best, median_lyapunov_times(gram, lorenz))
    assert 5 < best < 16
    assert best < 0.7 * median_lyapunov_times(network, lorenz)
