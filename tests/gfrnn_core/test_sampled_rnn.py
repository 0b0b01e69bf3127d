"""Test training on one series: equality with least squares, scales, and refusals."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from gfrnn_core import Patches, RFactor, RidgePath, SampledRNN
from gfrnn_core.lifting import lift
from gfrnn_core.regression_rows import pooled
from gfrnn_core.sampling import Sampling
from gfrnn_core.triangles.normal_equations import LEAST_RIDGE
from gfrnn_testing.core_toys import forced, noisy, rotating

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
    """Each neuron is -1/2 and 1/2 at two of its possible input states."""
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
    assert network.hidden is network.outer is network.shift is network.std is None
    assert fitted is not network
    assert fitted.width == 5
    np.testing.assert_array_equal(states, before[0])
    np.testing.assert_array_equal(inputs, before[1])


@pytest.mark.parametrize("sampling", ["pairs", "uniform_pairs", "normal", "centres"])
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


@pytest.mark.parametrize("sampling", get_args(Sampling))
@pytest.mark.parametrize("consecutive", [False, True])
def test_hidden_weights_are_those_drawn_from_all_states(sampling, consecutive):
    states, inputs = forced(120)
    series, forcing = np.split(states, [2, 50]), np.split(inputs, [2, 50])
    network = SampledRNN(8, sampling=sampling, delays=2, joint=True, seed=3)
    network = network.prepare(series, forcing, consecutive=consecutive)
    scaled = [network.scaled(one) for one in series]
    pool = pooled(
        [np.concatenate(scaled)] if consecutive else scaled,
        2,
        None,
        3,
        [np.concatenate(forcing)] if consecutive else forcing,
    )
    drawn = network.sample(*pool).hidden
    np.testing.assert_array_equal(network.hidden.weights, drawn.weights)
    np.testing.assert_array_equal(network.hidden.biases, drawn.biases)


@pytest.mark.parametrize(
    ("ridge", "precision", "exact"),
    [
        (LEAST_RIDGE, "float32", False),
        (1e-2, "float32", False),
        (LEAST_RIDGE / 2, "float32", True),
        (1e-2, "float64", True),
    ],
)
def test_products_of_columns_give_the_weights_of_the_triangle(ridge, precision, exact):
    states = noisy()
    network = SampledRNN(width=30, delays=2, leads=(1, 2), precision=precision, ridge=ridge)
    network = network.fit(states)
    targets = 2 * states.shape[1]
    path = RidgePath.from_factor(network.factor, network.factor.columns - targets, targets)
    expected = network.with_weights(path, ridge).outer
    allowed = 0 if exact else 2 * LEAST_RIDGE**2 * np.abs(expected).max()
    np.testing.assert_allclose(network.outer, expected, rtol=0, atol=allowed)
    assert exact == np.array_equal(network.outer, expected)


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


def test_patches_are_standardised_by_channel():
    rng = np.random.default_rng(3)
    states = rng.standard_normal((50, 4, 2)) * [1.0, 100.0] + [0.0, 300.0]
    patches = Patches((4,), ((1, 1),), channels=2)
    network = SampledRNN(width=3, patches=patches).fit(states.reshape(50, 8))
    np.testing.assert_allclose(network.shift, np.tile(states.mean(axis=(0, 1)), 4))
    np.testing.assert_allclose(network.std, np.tile(states.std(axis=(0, 1)), 4))


def test_one_patch_of_all_cells_is_the_network_without_patches():
    states = noisy(100, 4)
    plain = SampledRNN(width=8, standardise=False)
    whole = replace(plain, patches=Patches((4,), ((0, 0),), size=4)).fit(states)
    np.testing.assert_array_equal(whole.outer, plain.fit(states).outer)


# --- scaling ------------------------------------------------------------------------------------


def test_states_are_standardised_and_come_back():
    states = noisy() * [3.0, 1e5] + [270.0, -4e4]
    network = SampledRNN(width=3).fit(states)
    scaled = network.scaled(states)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(scaled.std(axis=0), 1, rtol=1e-12)
    np.testing.assert_allclose(network.unscaled(scaled), states, rtol=1e-12)
    np.testing.assert_allclose(network.shift, states.mean(axis=0))
    np.testing.assert_allclose(network.std, states.std(axis=0))


def test_without_standardisation_states_are_left_as_they_are():
    states = noisy() + 100
    network = SampledRNN(width=3, standardise=False).fit(states)
    assert network.shift is network.std is None
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
        ({"target": "tendency"}, "'tendency' is not one of 'state', 'increment', 'lifted'"),
        ({"precision": "float16"}, "'float16' is not one of 'float32', 'float64'"),
        ({"seed": -1}, "seed: -1 is not an integer from 0 on"),
        ({"seed": 1.5}, "seed: 1.5 is not"),
        ({"seed": True}, "seed: True is not"),
        ({"seed": "a"}, "seed: 'a' is not"),
        ({"seed": None}, "seed: None is not"),
        ({"noise": -0.1}, "noise: -0.1 is negative"),
        ({"noise": np.nan}, "noise: nan is"),
        ({"noise": np.array([0.1, -1.0])}, "is negative"),
        ({"noise": np.inf}, "noise: inf is"),
        ({"ridge": -1e-9}, "ridge: -1e-09 is negative"),
        ({"ridge": np.nan}, "ridge: nan is"),
        ({"share": 0.0}, r"share: 0.0 is not within \(0, 1\]"),
        ({"share": 1.1}, "share: 1.1"),
        ({"share": np.nan}, "share: nan"),
        ({"width": -1}, "width: -1 is not an integer from 0 on"),
        ({"input_width": -1}, "input_width: -1 is not an integer from 0 on"),
    ],
)
def test_invalid_settings_are_refused(settings, message):
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
    """A single time has no standard deviation, so scaling is off here."""
    with pytest.raises(ValueError, match=message):
        SampledRNN(width=1, standardise=False).fit(states)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, -273.15, 1e5 / 3])
@pytest.mark.parametrize("times", [37, 1000])
def test_a_constant_coordinate_is_named(value, times):
    """This includes numbers whose mean differs from them by rounding."""
    states = noisy(times, 3)
    states[:, 1] = value
    with pytest.raises(ValueError, match="coordinate 1 is constant"):
        SampledRNN(width=1).fit(states)


def test_a_coordinate_that_varies_little_is_no_constant():
    states = noisy(200) * [1.0, 1e-6] + [0.0, 300.0]
    assert SampledRNN(width=1).fit(states).std[1] < 1e-5


@pytest.mark.parametrize("shape", [(39, 2), (41, 2), (40,)])
def test_inputs_that_do_not_fit_are_refused(shape):
    with pytest.raises(ValueError, match="inputs"):
        SampledRNN(width=2).fit(noisy(40), np.ones(shape))


def test_inputs_that_are_not_finite_are_refused():
    states, inputs = forced(40)
    inputs[7, 1] = np.nan
    with pytest.raises(ValueError, match="inputs: time 7, input 1 is not finite"):
        SampledRNN(width=2).fit(states, inputs)


@pytest.mark.parametrize("sampling", ["pairs", "uniform_pairs"])
def test_samples_that_are_all_alike_have_no_pairs(sampling):
    states = np.full((50, 2), 0.1)
    with pytest.raises(ValueError, match="none of 48 drawn pairs"):
        SampledRNN(width=3, sampling=sampling, standardise=False).fit(states)
    with pytest.raises(ValueError, match="coordinate 0 is constant"):
        SampledRNN(width=3, sampling=sampling).fit(states)


@pytest.mark.parametrize("sampling", ["pairs", "uniform_pairs"])
def test_samples_that_come_twice_do_no_harm(sampling):
    """Pairs of equal states are never drawn, so weights stay finite."""
    states = np.repeat([[0.0], [1.0]], 40, axis=0)
    network = SampledRNN(width=20, sampling=sampling).fit(states)
    assert np.isfinite(network.hidden.weights).all()
    assert np.isfinite(network.outer).all()


def test_a_constant_channel_of_patches_is_named():
    states = noisy(30, 4)
    states[:, 1::2] = 7.0
    with pytest.raises(ValueError, match="channel 1 is constant"):
        SampledRNN(width=1, patches=Patches((2,), ((0, 0),), channels=2)).fit(states)


def test_states_that_the_patches_do_not_cut_are_refused():
    with pytest.raises(ValueError, match="3 coordinates, but the patches cut 4"):
        SampledRNN(width=1, patches=Patches((4,), ((0, 0),))).fit(noisy(30, 3))


@pytest.mark.parametrize("sampling", ["normal", "pairs"])
def test_hidden_features_of_patches_see_their_inner_halo_only(sampling):
    states = np.random.default_rng(0).standard_normal((60, 8))
    patches = Patches((8,), ((2, 1),), inner=((1, 0),))
    network = SampledRNN(5, sampling=sampling, delays=2, patches=patches).prepare(states)
    seen = np.array([False, True, True, False] * 2)
    assert (network.hidden.weights[~seen] == 0).all()
    assert (network.hidden.weights[seen] != 0).all()
    # The linear terms see all.
    assert network.columns(8).linear == 8
