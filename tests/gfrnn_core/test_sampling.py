"""Compare hidden weights with their definition, and test their distribution with a fixed seed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfrnn_core import sample_weights
from gfrnn_core.lifting import lift, lift_into

cases = settings(max_examples=40)
PAIRS = ["pairs", "uniform_pairs"]


def some_pool(states=40, inputs=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((states, inputs)), rng.standard_normal((states, 2))


def drawn_distances(hidden):
    """Return the distance of the two states of each pair, from |w| = ln 3 / distance."""
    return np.log(3.0) / np.linalg.norm(hidden.weights, axis=0)


# --- pairs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", PAIRS)
def test_tanh_weights_of_a_pool_of_two_states(sampling):
    pool = np.array([[1.0, 2.0], [4.0, 6.0]])
    hidden = sample_weights(pool, 50, sampling=sampling, following=pool, seed=3)
    assert (hidden.width, hidden.inputs, hidden.activation) == (50, 2, "tanh")
    up = np.log(3.0) * np.array([3.0, 4.0]) / 25.0
    rising = hidden.weights[0] > 0
    assert 0 < rising.sum() < 50
    expected = np.where(rising, up[:, None], -up[:, None])
    np.testing.assert_allclose(hidden.weights, expected, rtol=1e-14)
    first = np.where(rising, pool[0][:, None], pool[1][:, None])
    offsets = -(expected * first).sum(axis=0) - np.log(3.0) / 2
    np.testing.assert_allclose(hidden.biases, offsets, rtol=1e-14)
    features = np.tanh(pool @ hidden.weights + hidden.biases)
    np.testing.assert_allclose(features[0], np.where(rising, -0.5, 0.5), atol=1e-14)
    np.testing.assert_allclose(features[1], np.where(rising, 0.5, -0.5), atol=1e-14)


@pytest.mark.parametrize(
    ("activation", "low", "high"),
    [("tanh", -np.log(3.0) / 2, np.log(3.0) / 2), ("relu", 0.0, 1.0)],
)
@pytest.mark.parametrize("sampling", PAIRS)
@given(st.integers(2, 30), st.integers(1, 5), st.integers(0, 2**32))
@cases
def test_every_neuron_lies_between_two_states(sampling, activation, low, high, states, size, seed):
    """Its values there are -1/2 and 1/2 (ReLU: 0 and 1); its weights point along the difference."""
    pool, following = some_pool(states, size, seed)
    hidden = sample_weights(
        pool, 12, sampling=sampling, activation=activation, following=following, seed=seed
    )
    values = pool @ hidden.weights + hidden.biases
    for neuron in range(12):
        weights = hidden.weights[:, neuron]
        slack = 1e-12 * (1 + np.linalg.norm(weights))
        between = [
            (i, j)
            for i in np.flatnonzero(np.abs(values[:, neuron] - low) < slack)
            for j in np.flatnonzero(np.abs(values[:, neuron] - high) < slack)
            if np.allclose(
                weights * np.square(pool[j] - pool[i]).sum(), (high - low) * (pool[j] - pool[i])
            )
        ]
        assert between
    if activation == "tanh":
        np.testing.assert_allclose(np.tanh([low, high]), [-0.5, 0.5], rtol=1e-14)


def test_pairs_are_drawn_in_proportion_to_their_ratio():
    """There are three states on a line; the ratio is the largest change over the distance."""
    pool = np.array([[0.0], [1.0], [3.0]])
    following = np.array([[0.0, 0.0], [1.0, 1.0], [4.0, 0.0]])
    ratios = {1.0: 1.0 / 1.0, 2.0: 3.0 / 2.0, 3.0: 4.0 / 3.0}
    hidden = sample_weights(pool, 40_000, sampling="pairs", following=following, seed=0)
    distances = drawn_distances(hidden)
    for distance, ratio in ratios.items():
        share = np.isclose(distances, distance).mean()
        assert share == pytest.approx(ratio / sum(ratios.values()), abs=0.01)


def test_a_pair_of_large_ratio_is_drawn_nearly_always():
    pool = np.array([[0.0], [1.0], [3.0], [7.0]])
    following = np.array([[0.0], [100.0], [0.0], [0.0]])
    hidden = sample_weights(pool, 2000, sampling="pairs", following=following, seed=1)
    share = {d: np.isclose(drawn_distances(hidden), d).mean() for d in (1.0, 2.0, 6.0, 3.0, 7.0)}
    assert share[1.0] == pytest.approx(0.6, abs=0.04)
    assert share[2.0] == pytest.approx(0.3, abs=0.04)
    assert share[6.0] == pytest.approx(0.1, abs=0.04)
    assert share[3.0] == share[7.0] == 0.0


def test_the_ratio_counts_however_few_neurons_are_drawn():
    pool = np.array([[0.0], [1.0], [3.0]])
    following = np.array([[0.0], [100.0], [0.3]])  # ratios 100, 49.85 and 0.1
    drawn = [
        drawn_distances(sample_weights(pool, 1, following=following, seed=seed))[0]
        for seed in range(300)
    ]
    assert np.isclose(drawn, 3.0).mean() < 0.02


def test_uniform_pairs_reach_every_ordered_pair_equally_often():
    """The first state and the offset are uniform, the last offset included."""
    pool = np.array([[0.0], [1.0], [3.0], [7.0], [15.0]])
    _, following = some_pool(5)
    hidden = sample_weights(pool, 20_000, sampling="uniform_pairs", following=following, seed=2)
    difference = np.log(3.0) / hidden.weights[0]
    for i in range(5):
        for j in range(5):
            if i != j:
                share = np.isclose(difference, pool[j, 0] - pool[i, 0]).mean()
                assert share == pytest.approx(1 / 20, abs=0.01)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("sampling", PAIRS)
@pytest.mark.parametrize("seed", range(5))
def test_equal_states_never_form_a_pair(sampling, seed):
    rng = np.random.default_rng(seed)
    pool = rng.integers(0, 2, (50, 2)).astype(float)
    following = rng.standard_normal((50, 2))
    hidden = sample_weights(pool, 200, sampling=sampling, following=following, seed=seed)
    assert np.isfinite(hidden.weights).all()
    assert np.isfinite(hidden.biases).all()
    distances = drawn_distances(hidden)
    assert (np.isclose(distances, 1.0) | np.isclose(distances, 2**0.5)).all()


@pytest.mark.parametrize("sampling", PAIRS)
def test_features_do_not_depend_on_the_unit_or_the_origin_of_the_states(sampling):
    pool, following = some_pool()
    plain = sample_weights(pool, 30, sampling=sampling, following=following)
    moved = sample_weights(1000 * pool + 7, 30, sampling=sampling, following=5 * following - 2)
    np.testing.assert_allclose(
        (1000 * pool + 7) @ moved.weights + moved.biases,
        pool @ plain.weights + plain.biases,
        atol=1e-10,
    )


def test_only_the_sampling_pairs_uses_the_next_states():
    pool, following = some_pool()
    drawn = [
        sample_weights(pool, 30, sampling="uniform_pairs", following=f).weights
        for f in (None, following)
    ]
    np.testing.assert_array_equal(*drawn)
    assert (sample_weights(pool, 30, following=following).weights != drawn[0]).any()


# --- normal -------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.07, 0.5, 3.0])
def test_normal_weights_have_their_scale_and_biases_are_uniform(scale):
    hidden = sample_weights(np.zeros((2, 10)), 10_000, sampling="normal", scale=scale, seed=4)
    assert hidden.weights.shape == (10, 10_000)
    assert hidden.biases.shape == (10_000,)
    standard = hidden.weights / scale
    assert standard.mean() == pytest.approx(0, abs=0.01)
    assert standard.std() == pytest.approx(1, abs=0.01)
    assert (np.abs(standard) < 1).mean() == pytest.approx(0.6827, abs=0.01)
    np.testing.assert_allclose(np.corrcoef(standard), np.eye(10), atol=0.05)
    assert np.abs(hidden.biases).max() <= 1
    assert hidden.biases.mean() == pytest.approx(0, abs=0.02)
    assert hidden.biases.std() == pytest.approx(3**-0.5, abs=0.02)


def test_normal_weights_take_only_the_length_of_the_states():
    one = sample_weights(np.zeros((1, 3)), 20, sampling="normal")
    other = sample_weights(np.full((9, 3), np.nan), 20, sampling="normal")
    np.testing.assert_array_equal(one.weights, other.weights)


# --- centres ------------------------------------------------------------------------------------


def features_of(states, hidden):
    """Return the hidden features of some states, without linear terms and constant."""
    return lift(states, None, hidden)[:, states.shape[1] + 1 :]


def spread_of(pool):
    return np.sqrt(np.square(pool - pool.mean(axis=0)).sum(axis=1).mean())


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_features_around_all_states_are_the_gaussian_kernel(scale):
    pool, _ = some_pool()
    hidden = sample_weights(pool, len(pool), sampling="centres", scale=scale, seed=2)
    values = features_of(pool, hidden)
    drawn = values.argmax(axis=0)  # the state that a feature lies around
    assert sorted(drawn) == list(range(len(pool)))
    distances = np.linalg.norm(pool[:, None] - pool[drawn], axis=2)
    kernel = np.exp(-np.square(distances) / (2 * (scale * spread_of(pool)) ** 2))
    np.testing.assert_allclose(values, kernel, atol=1e-13)


def test_a_feature_is_known_at_its_centre_and_at_its_length():
    pool = np.array([[3.0, 4.0], [3.0, 4.0], [-3.0, -4.0], [-3.0, -4.0]])  # the spread is 5
    hidden = sample_weights(pool, 1, sampling="centres", scale=2.0)
    centre = np.sign(hidden.weights[0, 0]) * pool[0]
    beside = centre + [8.0, -6.0]  # ten away, which is the length
    found = features_of(np.array([centre, beside]), hidden)
    np.testing.assert_allclose(found[:, 0], [1.0, np.exp(-0.5)], rtol=1e-14)


@given(st.integers(2, 30), st.integers(1, 5), st.integers(0, 2**32))
@cases
def test_centres_are_drawn_without_repetition(states, size, seed):
    pool, _ = some_pool(states, size, seed)
    hidden = sample_weights(pool, states // 2 + 1, sampling="centres", scale=0.5, seed=seed)
    values = features_of(pool, hidden)
    np.testing.assert_allclose(values.max(axis=0), 1.0, rtol=1e-12)
    assert len(set(values.argmax(axis=0))) == hidden.width
    assert (values <= 1 + 1e-12).all()
    assert (values >= 0).all()


def test_features_around_states_do_not_depend_on_the_unit_or_the_origin():
    pool, _ = some_pool()
    plain = sample_weights(pool, 20, sampling="centres", seed=1)
    moved = sample_weights(1000 * pool + 7, 20, sampling="centres", seed=1)
    np.testing.assert_allclose(
        features_of(1000 * pool + 7, moved), features_of(pool, plain), atol=1e-9
    )


@pytest.mark.parametrize("sampling", ["uniform_pairs", "centres"])
def test_a_layer_sees_entries_or_combinations_of_longer_vectors(sampling):
    rng = np.random.default_rng(5)
    long = rng.standard_normal((30, 7))
    entries = np.array([True, False, True, True, False, False, False])
    combinations = rng.standard_normal((7, 3))
    for seen, short in ((entries, long[:, entries]), (combinations, long @ combinations)):
        hidden = sample_weights(short, 12, sampling=sampling, seed=4)
        found = features_of(long, hidden.seen_from(seen))
        np.testing.assert_allclose(found, features_of(short, hidden), atol=1e-12)


def test_features_of_low_precision_are_close():
    pool, _ = some_pool(60, 4)
    hidden = sample_weights(pool, 30, sampling="centres")
    block = np.empty((60, 35), dtype=np.float32, order="F")
    lift_into(block, pool, None, hidden)
    np.testing.assert_allclose(block[:, 5:], features_of(pool, hidden), atol=2e-6)


# --- seeds and widths ---------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", [*PAIRS, "normal", "centres"])
def test_the_seed_decides_every_bit(sampling):
    pool, following = some_pool()
    first, again, other = (
        sample_weights(pool, 25, sampling=sampling, following=following, seed=seed)
        for seed in (11, 11, 12)
    )
    np.testing.assert_array_equal(first.weights, again.weights)
    np.testing.assert_array_equal(first.biases, again.biases)
    assert (first.weights != other.weights).any()
    assert (first.biases != other.biases).any()


@pytest.mark.parametrize("sampling", [*PAIRS, "normal", "centres", "quadratic"])
def test_a_width_of_zero_has_no_features_whatever_the_seed(sampling):
    pool = np.repeat([[0.0], [1.0]], 5, axis=0)
    for seed in range(20):
        hidden = sample_weights(pool, 0, sampling=sampling, following=pool, seed=seed)
        assert hidden.weights.shape == (1, 0)
        assert hidden.biases.shape == (0,)
        assert (hidden.width, hidden.inputs) == (0, 1)


def test_narrowed_keeps_the_features_drawn_first():
    pool, following = some_pool()
    hidden = sample_weights(pool, 25, following=following, activation="relu")
    narrow = hidden.narrowed(10)
    assert (narrow.width, narrow.inputs, narrow.activation) == (10, 3, "relu")
    np.testing.assert_array_equal(narrow.weights, hidden.weights[:, :10])
    np.testing.assert_array_equal(narrow.biases, hidden.biases[:10])


# --- refusals -----------------------------------------------------------------------------------

POOL = np.arange(6.0).reshape(3, 2)
INFINITE, UNKNOWN = np.where(POOL == 2, np.inf, POOL), np.where(POOL == 5, np.nan, POOL)


@pytest.mark.parametrize(
    ("pool", "width", "settings", "message"),
    [
        (POOL, 3, {"sampling": "grid"}, "'grid' is not one of pairs, uniform_pairs, normal"),
        (POOL, 3, {"activation": "sine"}, "'sine' is not one of tanh, relu"),
        (POOL, -1, {}, "width: -1 is not an integer from 0 on"),
        (np.zeros(4), 3, {}, r"shape \(4,\) is not \(states, inputs\)"),
        (POOL, 3, {"sampling": "centres", "scale": 0.0}, "scale: 0.0 is not positive"),
        (POOL, 4, {"sampling": "centres"}, "4 centres, but the pool has 3 states"),
        (POOL * 0 + 1, 3, {"sampling": "centres"}, "no two states differ"),
        (INFINITE, 3, {"sampling": "centres"}, "pool: holds NaN"),
        (POOL, 3, {"sampling": "normal", "scale": 0.0}, "scale: 0.0 is not positive"),
        (POOL, 3, {"sampling": "normal", "scale": np.nan}, "scale: nan is not positive"),
        (POOL, 3, {}, "needs the next state"),
        (POOL, 3, {"following": POOL[:2]}, r"following: shape \(2, 2\) .* the pool's 3 states"),
        (POOL[:1], 3, {"following": POOL[:1]}, "1 states, at least 2"),
        (POOL[:0], 3, {"sampling": "uniform_pairs"}, "0 states, at least 2"),
        (INFINITE, 3, {"following": POOL}, "pool: holds NaN"),
        (UNKNOWN, 3, {"sampling": "uniform_pairs"}, "pool: holds NaN"),
        (POOL, 3, {"following": UNKNOWN}, "following: holds NaN"),
        (POOL * 0 + 1, 3, {"sampling": "uniform_pairs"}, "none of 48 drawn pairs"),
        (POOL * 0 + 1, 3, {"following": POOL}, "none of 48 drawn pairs"),
        (POOL, 3, {"following": POOL * 0}, "none of 48 drawn pairs"),
    ],
)
def test_input_that_no_layer_can_be_drawn_from_is_refused(pool, width, settings, message):
    with pytest.raises(ValueError, match=message):
        sample_weights(pool, width, **settings)
