"""Networks of zonal waves on systems whose next state is known exactly."""

import itertools
from dataclasses import replace
from itertools import repeat

import numpy as np
import pytest

from gfrnn_core.local_features import GridFeatures
from gfrnn_core.rollout import UnstableRollout
from gfrnn_core.zonal import (
    LatitudeFunctions,
    Stage,
    ZonalBasis,
    ZonalNetwork,
    row_factors,
    solve_stage,
)

LATITUDE = 30 + (np.arange(8) + 0.5) * 3
RIDGES = 10.0 ** np.arange(-14, -1)


def network_of(channels=1, jacobians=((0, 0, 1),), background=0.0, **settings):
    """Return a network of a small channel; its background is a westerly jet of this strength."""
    basis = ZonalBasis(LatitudeFunctions.on(LATITUDE, 4, 4, "channel"), channels, 16)
    features = GridFeatures(
        np.ones((channels, 6)),
        np.array(jacobians, dtype=int).reshape(-1, 3),
        np.zeros((0, 4), dtype=int),
        np.zeros((0, 2), dtype=int),
        np.zeros((6 * channels, 0)),
        np.zeros(0),
    )
    projected = ZonalBasis(basis.functions, features.count, 16)
    jet = np.zeros((1, 4, basis.width), dtype=complex)
    jet[0, 0, 1] = background
    return ZonalNetwork(basis, features, projected, jet, **settings)


def used_by(network):
    return network.used_columns(len(network.stages)), network.basis.used


def solved(network, train, validation):
    units = network.units(len(network.stages))
    return solve_stage(train, validation, *used_by(network), units, RIDGES)


def trained(network, states, validation=None, **keywords):
    """Return the network with one more stage, and the errors on validation states."""
    clean = validation if validation is not None else states
    parts = [
        row_factors(
            [network.training_rows(series, np.ones((len(series), 1)), **keywords)],
            *used_by(network),
            rows=100,
        )
        for series in (states, clean)
    ]
    stage, errors = solved(network, *parts)
    return network.extended(stage), errors


def turning(network, times, seed=0):
    """Return states whose waves turn and decay; the rates of coefficients are always the same."""
    rng, shape = np.random.default_rng(100), (4, 1, network.basis.width)
    rate = rng.uniform(0.9, 0.99, shape) * np.exp(1j * rng.uniform(0, 2, shape))
    rate[0] = np.abs(rate[0])
    rng = np.random.default_rng(seed)
    start = network.basis.unpack(rng.standard_normal((1, network.basis.size)))
    path = start * rate ** np.arange(times)[:, None]
    return network.basis.pack(path)


def advected(network, times, seed=0, step=2e-8):
    """Return states that the Jacobian of the field with its Laplacian changes."""
    basis, rng = network.basis, np.random.default_rng(seed)
    state = basis.unpack(rng.standard_normal((1, basis.size)))
    path = [state]
    for _ in range(times - 1):
        state = state + step * network.featurise(state, np.ones((1, 1)))
        path.append(state)
    return basis.pack(np.concatenate(path, axis=1))


def rolled_out(network, states, start, steps, **keywords):
    history = states[None, start - network.delays + 1 : start + 1]
    walk = network.walk(history, steps, repeat(np.ones((1, 1))), **keywords)
    path, limited = zip(*walk, strict=True)
    return np.concatenate(path), np.array(limited)[:, 0]


def test_turning_and_decaying_waves_are_learned_to_rounding():
    network = network_of(delays=1)
    states = np.concatenate([turning(network, 30, seed)[:, None] for seed in range(8)], axis=1)
    rows = [network.training_rows(states[:, i], np.ones((30, 1))) for i in range(8)]
    factors = row_factors(rows, *used_by(network), rows=50)
    stage, errors = solved(network, factors, factors)
    assert errors.max() < 1e-20
    path, _ = rolled_out(network.extended(stage), states[:, 0], 5, 20)
    np.testing.assert_allclose(path, states[6:26, 0], atol=1e-8)


@pytest.mark.parametrize("jet", [0.0, 3.0])
def test_advection_is_learned_to_rounding_where_a_linear_model_fails(jet):
    network = network_of(background=jet, delays=1)
    states = advected(network, 300)
    solved, errors = trained(network, states)
    linear, linear_errors = trained(network_of(jacobians=(), delays=1), states)
    assert linear.features.count == 0
    assert errors.sum() < 1e-10 * linear_errors.sum()
    path, limited = rolled_out(solved, states, 100, 50)
    np.testing.assert_allclose(path, states[101:151], atol=1e-6)
    assert not limited.any()


def test_a_second_stage_corrects_the_first():
    network = network_of(delays=1)
    # Two steps of the system are a polynomial of higher degree than the features of one state.
    states = advected(network, 1200, step=1e-7)[::4]
    first, errors = trained(network, states[:250], states[250:])
    second, corrected = trained(first, states[:250], states[250:])
    assert len(second.stages) == 2
    assert corrected.sum() < 0.3 * errors.sum()
    one, _ = rolled_out(first, states, 260, 3)
    two, _ = rolled_out(second, states, 260, 3)
    truth = states[261:264]
    assert np.linalg.norm(two - truth) < np.linalg.norm(one - truth)


def test_the_first_step_of_a_rollout_is_the_prediction_of_the_rows():
    network = network_of(delays=2, feature_delays=2)
    states = advected(network, 80)
    first, _ = trained(network, states)
    rows, targets = first.training_rows(states, np.ones((80, 1)))
    second, _ = trained(first, states)
    path, _ = rolled_out(second, states, 40, 1)
    at = 40 - (network.delays - 1)
    later = network.basis.unpack(states[41:42])
    base = later - targets[:, [at]]
    predicted = base + np.matmul(rows[:, [at]], second.stages[1].outer)
    np.testing.assert_allclose(path, network.basis.pack(predicted), atol=1e-12)


def test_noise_does_not_depend_on_the_cut_of_a_series():
    network = network_of(delays=2, feature_delays=1)
    network = network_of(delays=2, noise=np.full(network.basis.size, 0.1), seed=5)
    states, terms = turning(network, 40), np.ones((40, 1))
    rows, targets = network.training_rows(states, terms, first=100)
    later_rows, later_targets = network.training_rows(states[17:], terms[17:], first=117)
    np.testing.assert_array_equal(rows[:, 17:], later_rows)
    np.testing.assert_array_equal(targets[:, 17:], later_targets)


def test_factors_do_not_depend_on_the_blocks_of_rows():
    network = network_of(delays=2)
    rows, targets = network.training_rows(advected(network, 80), np.ones((80, 1)))
    whole = row_factors([(rows, targets)], *used_by(network), rows=100)
    cuts = [0, 7, 8, 50, 78]
    blocks = [(rows[:, a:b], targets[:, a:b]) for a, b in itertools.pairwise(cuts)]
    for together in (20, 78, 1000):
        parts = row_factors(blocks, *used_by(network), rows=together)
        for ours, theirs in zip(parts, whole, strict=True):
            assert ours.rows == theirs.rows == 78
            gram, other = (each.triangle.conj().T @ each.triangle for each in (ours, theirs))
            np.testing.assert_allclose(gram, other, atol=1e-13 * np.abs(other).max())


def test_noise_has_its_standard_deviation_and_targets_lead_back_to_the_data():
    plain = network_of(delays=1)
    noise = np.linspace(0.1, 0.5, plain.basis.size)
    network = network_of(delays=1, noise=noise)
    states, terms = np.zeros((4001, noise.size)), np.ones((4001, 1))
    rows, targets = network.training_rows(states, terms)
    width = network.basis.width
    np.testing.assert_allclose(targets, -rows[..., :width])
    found = network.basis.pack(rows[..., :width]).std(axis=0)
    np.testing.assert_allclose(found, noise, rtol=0.06)


@pytest.mark.parametrize("stages", [1, 2])
def test_float32_rows_and_rollouts_are_those_of_float64_to_rounding(stages):
    network = network_of(background=3.0, delays=2, feature_delays=2)
    states, terms = advected(network, 200, step=1e-7), np.ones((200, 1))
    for _ in range(stages):
        double, errors = trained(network, states)
        single = replace(network, precision="float32")
        rows, targets = single.training_rows(states, terms)
        assert rows.dtype == targets.dtype == np.complex64
        expected, _ = network.training_rows(states, terms)
        sizes = np.abs(expected).max(axis=1, keepdims=True)
        assert (np.abs(rows - expected) <= 1e-5 * sizes.max(axis=0)).all()
        factors = row_factors([(rows, targets)], *used_by(single), rows=100)
        assert {each.triangle.dtype.name for each in factors} == {"complex128"}
        _, rounded = solved(single, factors, factors)
        change = np.square(np.diff(states, axis=0)).sum(axis=1).mean()
        assert rounded.sum() < errors.sum() + 1e-6 * change
        network = double
    path, _ = rolled_out(network, states, 100, 20)
    rounded_path, _ = rolled_out(replace(network, precision="float32"), states, 100, 20)
    assert rounded_path.dtype == float
    assert np.abs(rounded_path - path).max() < 1e-4 * np.abs(states).max()
    assert np.abs(rounded_path - path).max() > 0


def test_inputs_drive_the_zonal_mean():
    network = network_of(jacobians=(), delays=1, inputs=1)
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((200, 1))
    states = np.zeros((200, network.basis.size))
    for time in range(1, 200):
        states[time] = 0.9 * states[time - 1]
        states[time, 0] += inputs[time, 0]
    solved, errors = trained(network, states, inputs=inputs)
    assert errors.max() < 1e-20
    path, _ = rolled_out(solved, states, 100, 20, inputs=iter(inputs[101:121, None]))
    np.testing.assert_allclose(path, states[101:121], atol=1e-6)


def test_the_bound_keeps_a_growing_rollout_within_the_data():
    network = network_of(jacobians=(), delays=1, bound=2.0)
    width = network.basis.width
    outer = np.zeros((4, network.columns(0), width), dtype=complex)
    outer[:, :width] = np.eye(width)  # doubles the state at each step
    network = network.extended(Stage(outer, np.ones(outer.shape[:2])))
    start = network.basis.pack(np.full((4, 1, width), 0.5 + 0j))[None]
    walk = network.walk(start, 6, repeat(np.ones((1, 1))))
    magnitudes, limited = [], []
    for state, share in walk:
        magnitudes.append(np.abs(network.basis.unpack(state)).max())
        limited.append(share[0])
    np.testing.assert_allclose(magnitudes, [1, 2, 2, 2, 2, 2])
    assert limited[0] == 0
    assert min(limited[2:]) > 0.4


def test_without_a_bound_a_growing_rollout_grows_until_it_has_diverged():
    network = network_of(jacobians=(), delays=1, bound=None)
    width = network.basis.width
    outer = np.zeros((4, network.columns(0), width), dtype=complex)
    outer[:, :width] = np.eye(width)
    network = network.extended(Stage(outer, np.ones(outer.shape[:2])))
    start = network.basis.pack(np.full((4, 1, width), 0.5 + 0j))[None]
    starts = np.concatenate([start, 0.01 * start])
    with pytest.warns(UnstableRollout, match="1 of 2 rollouts") as caught:
        steps = list(network.walk(starts, 8, repeat(np.ones((2, 1)))))
    path = np.array([np.abs(network.basis.unpack(s)).max(axis=(0, 2)) for s, _ in steps])
    assert not np.any([share for _, share in steps])
    # Their root mean square is 1 in training; 20 times as much has diverged.
    np.testing.assert_allclose(path[:, 0], [1, 2, 4, 8, 16, *[np.nan] * 3])
    np.testing.assert_allclose(path[:, 1], 0.005 * 2.0 ** np.arange(1, 9))
    assert caught[0].message.steps.tolist() == [6]


def test_a_coefficient_that_is_always_zero_stays_zero():
    network = network_of(jacobians=(), delays=1)
    states = turning(network, 60)
    states[:, 2] = 1e-12 * np.random.default_rng(0).standard_normal(60)
    solved, _ = trained(network, states)
    assert not solved.stages[0].magnitude[0, 2]
    assert not solved.stages[0].outer[0, 2].any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"delays": 0}, "delays: 0 is less than 1"),
        ({"inputs": -1}, "inputs: -1 is less than 0"),
        ({"bound": 0.0}, "bound: 0.0 is not positive"),
        ({"precision": "float16"}, "precision: 'float16' is not one of float32, float64"),
        ({"noise": np.ones(3)}, r"noise: shape \(3,\)"),
    ],
)
def test_settings_out_of_range_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        network_of(**settings)


def test_too_few_times_are_named():
    network = network_of(delays=3)
    with pytest.raises(ValueError, match="3 times are too few, rows need 4"):
        network.training_rows(np.zeros((3, network.basis.size)), np.ones((3, 1)))


def test_features_are_those_of_a_state_with_its_background():
    network, plain = network_of(background=3.0), network_of()
    coefficients = network.basis.unpack(turning(network, 5))
    terms = np.arange(1.0, 6.0)[:, None]
    whole = coefficients + terms * network.background[0][:, None]
    found = network.featurise(coefficients, terms)
    np.testing.assert_allclose(found, plain.featurise(whole, terms), atol=1e-9)
    assert np.abs(found - plain.featurise(coefficients, terms)).max() > 1


def test_a_correction_sees_the_background_of_the_time_that_is_forecast():
    network = network_of(background=3.0, delays=1)
    states, terms = turning(network, 30), np.linspace(1.0, 4.0, 30)[:, None]
    outer = 0.01 * np.ones((4, network.columns(0), network.basis.width), dtype=complex)
    outer[:, network.linear :] = 0.0
    first = network.extended(Stage(outer, np.full(outer.shape[:2], 1e9)))
    rows, targets = first.training_rows(states, terms)
    featured = network.feature_basis.width
    forecast = network.basis.unpack(states[1:]) - targets
    np.testing.assert_allclose(rows[..., -featured:], network.featurise(forecast, terms[1:]))
    # A second stage that only returns these features shows what a rollout sees.
    width = network.basis.width
    shown = np.zeros((4, first.columns(1), width), dtype=complex)
    shown[:, -featured:] = np.eye(featured, width)
    second = first.extended(Stage(shown, np.full(shown.shape[:2], 1e9)))
    walk = second.walk(states[None, 9:10], 1, iter(terms[9:11, None]))
    state, _ = next(walk)
    expected = forecast[:, [9]] + rows[:, [9], -featured:] @ np.eye(featured, width)
    np.testing.assert_allclose(state, network.basis.pack(expected), rtol=1e-9, atol=1e-6)


def test_a_start_beyond_the_bound_is_not_limited_to_it():
    network = network_of(jacobians=(), delays=2, bound=2.0)
    width = network.basis.width
    outer = np.zeros((4, network.columns(0), width), dtype=complex)
    outer[:, :width] = 0.5 * np.eye(width)  # grows by half a step
    network = network.extended(Stage(outer, np.ones(outer.shape[:2])))
    history = np.stack([network.basis.pack(np.full((4, 1, width), c + 0j)) for c in (6.0, 3.9)], 1)
    sizes, shares = [], []
    for state, share in network.walk(history, 3, repeat(np.ones((1, 1)))):
        sizes.append(np.abs(network.basis.unpack(state)).max())
        shares.append(share[0])
    # The start has reached 6 already, which is thrice the bound.
    np.testing.assert_allclose(sizes, [5.85, 6, 6])
    assert shares[0] == 0
    assert shares[1] > 0


def test_inputs_and_terms_of_other_shapes_are_refused():
    network = network_of(inputs=2)
    states, terms = np.zeros((20, network.state_size)), np.ones((20, 1))
    with pytest.raises(ValueError, match=r"inputs: none, but the network needs shape \(20, 2\)"):
        network.training_rows(states, terms)
    with pytest.raises(ValueError, match=r"inputs: shape \(20, 1\), but .* shape \(20, 2\)"):
        network.training_rows(states, terms, np.zeros((20, 1)))
    with pytest.raises(ValueError, match=r"terms: shape \(20,\), but .* shape \(20, 1\)"):
        network.training_rows(states, np.ones(20), np.zeros((20, 2)))
    with pytest.raises(ValueError, match=r"inputs: shape \(20, 1\), but .* shape \(20, 0\)"):
        network_of().training_rows(states, terms, np.zeros((20, 1)))


def test_a_forecast_without_stages_or_with_terms_that_end_early_is_refused():
    network = network_of(1, ())
    states = turning(network, 60)
    history, terms = states[None, :2], np.ones((1, 1))
    with pytest.raises(ValueError, match="no outer weights yet"):
        list(network.walk(history, 3, repeat(terms)))
    network, _ = trained(network, states)
    with pytest.raises(ValueError, match=r"terms: none, but the network needs shape \(1, 1\)"):
        list(network.walk(history, 3, iter([terms] * 4)))
