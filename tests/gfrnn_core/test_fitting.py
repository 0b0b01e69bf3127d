"""Test training on several series, on streams, part by part, and from an R factor."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as options
from hypothesis import strategies as st

from gfrnn_core import Patches, RFactor, SampledRNN, merge_all
from gfrnn_core.lifting import lift
from gfrnn_testing.core_toys import forced, noisy

SETTINGS = [
    {"width": 8},
    {"width": 8, "delays": 3, "leads": (1, 2), "target": "state", "sampling": "normal"},
    {"width": 8, "delays": 2, "target": "lifted"},
    {"width": 8, "delays": 2, "noise": 0.05, "share": 0.7},
    {"width": 8, "delays": 2, "patches": Patches((2,), ((1, 0),)), "noise": 0.05},
]


def parts(times=300, cuts=(110, 200), forcing=True):
    """Return a long series, the same series in parts, and its inputs."""
    states, inputs = forced(times, seed=1)
    states = states + noisy(times)
    inputs = inputs if forcing else None
    pieces = np.split(states, cuts)
    return states, inputs, pieces, None if inputs is None else np.split(inputs, cuts)


def gram(network):
    """Return R'R, which is unique even where columns are dependent and R is not."""
    return network.factor.triangle.T @ network.factor.triangle


def same(found, expected, tolerance=1e-9):
    """Assert that networks are equal up to rounding: scales, hidden layer, triangle."""
    np.testing.assert_array_equal(found.hidden.weights, expected.hidden.weights)
    np.testing.assert_array_equal(found.shift, expected.shift)
    assert found.factor.rows == expected.factor.rows
    assert found.times == expected.times
    np.testing.assert_allclose(gram(found), gram(expected), rtol=0, atol=tolerance)
    np.testing.assert_allclose(found.low, expected.low)
    np.testing.assert_allclose(found.high, expected.high)
    np.testing.assert_allclose(found.outer, expected.outer, rtol=1e-6, atol=1e-8)


# --- several series -----------------------------------------------------------------------------


@pytest.mark.parametrize("forcing", [False, True])
@pytest.mark.parametrize("settings", SETTINGS)
def test_several_series_are_their_factors_merged(settings, forcing):
    states, _inputs, pieces, driving = parts(forcing=forcing)
    network = SampledRNN(ridge=1e-3, **settings).fit(pieces, driving)
    np.testing.assert_allclose(network.shift.mean(), states.mean())
    factors, reached = [], 0
    for index, piece in enumerate(pieces):
        given = None if driving is None else driving[index]
        factors.append(network.factorise(network.scaled(piece), given, first=reached))
        reached += len(piece)
    merged = merge_all(factors)
    if network.share == 1:
        gaps = 3 * (network.delays - 1 + max(network.leads))
        assert merged.rows == (300 - gaps) * (2 if network.patches else 1)
    else:
        assert 150 < merged.rows < 250
    assert network.factor.rows == merged.rows
    assert network.times == 300
    gram_of_parts = merged.triangle.T @ merged.triangle
    np.testing.assert_allclose(gram(network), gram_of_parts, rtol=1e-10, atol=1e-9)
    np.testing.assert_allclose(network.outer, network.solve(merged).outer, atol=1e-9)


def test_the_pool_holds_no_pair_across_a_gap():
    """Hidden weights come from states and their next states in the same series."""
    pieces = [noisy(40, seed=seed) + 50 * seed for seed in range(2)]
    network = SampledRNN(width=20, delays=2).fit(pieces)
    scaled = [network.scaled(piece) for piece in pieces]
    pool = np.vstack([np.hstack([one[1:-1], one[:-2]]) for one in scaled])
    again = network.sample(pool, np.vstack([one[2:] for one in scaled]))
    np.testing.assert_array_equal(network.hidden.weights, again.hidden.weights)


@given(cuts=st.lists(st.integers(1, 299), max_size=6).map(sorted), which=st.sampled_from(SETTINGS))
@options(max_examples=25)
def test_consecutive_series_are_one_long_series(cuts, which):
    """The cuts do not matter, even with parts shorter than a row's extent and empty ones."""
    states, inputs, pieces, driving = parts(cuts=cuts)
    network = SampledRNN(ridge=1e-3, **which)
    same(network.fit(pieces, driving, consecutive=True), network.fit(states, inputs))


def test_a_tuple_is_a_list():
    _, _, pieces, driving = parts()
    network = SampledRNN(width=5, ridge=1e-3)
    same(network.fit(tuple(pieces), tuple(driving)), network.fit(pieces, driving), 0)


# --- streams ------------------------------------------------------------------------------------


class Once:
    """An iterable that fails when it is asked for a second time, or for a block too early."""

    def __init__(self, series):
        self.series, self.asked = series, 0

    def __iter__(self):
        self.asked += 1
        if self.asked > 1:
            raise RuntimeError("read twice")
        # A block is gone when the next one is asked for.
        for one in self.series:
            block = one.copy()
            yield block
            block[:] = np.nan


@pytest.mark.parametrize("consecutive", [False, True])
@pytest.mark.parametrize("settings", SETTINGS)
def test_a_stream_is_read_once_and_scaled_by_its_first_block(settings, consecutive):
    states, inputs, pieces, driving = parts()
    network = SampledRNN(ridge=1e-3, **settings)
    blocks, given = Once(pieces), Once(driving)
    found = network.fit(blocks, given, consecutive=consecutive)
    assert (blocks.asked, given.asked) == (1, 1)
    np.testing.assert_allclose(found.shift[0], pieces[0].mean(axis=0)[0], rtol=0.5)
    prepared = network.prepare(pieces[0], driving[0])
    assert prepared.factor is prepared.outer is None
    same(found, prepared.partial_fit(pieces, driving, consecutive=consecutive), 0)
    if consecutive:
        same(found, prepared.partial_fit(states, inputs))


def test_an_empty_stream_is_refused():
    for nothing in ([], iter([])):
        with pytest.raises(ValueError, match="states: no series at all"):
            SampledRNN(width=1).fit(nothing)
    network = SampledRNN(width=1).prepare(noisy())
    with pytest.raises(ValueError, match="states: no series at all"):
        network.partial_fit([])


def test_series_of_another_size_are_refused():
    """This includes sizes that numpy would broadcast from one coordinate to two."""
    network = SampledRNN(width=1).fit(noisy())
    for size in (1, 3):
        with pytest.raises(ValueError, match=rf"shape \(120, {size}\) is not \(times, 2\)"):
            network.partial_fit(noisy(size=size))
        with pytest.raises(ValueError, match=rf"shape \(120, {size}\) is not \(times, 2\)"):
            network.factorise(noisy(size=size))


# --- part by part -------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", SETTINGS)
def test_training_part_by_part_equals_training_at_once(settings):
    _, _, pieces, driving = parts()
    prepared = SampledRNN(ridge=1e-3, **settings).prepare(pieces, driving)
    network = prepared
    for piece, forcing in zip(pieces, driving, strict=True):
        before = network
        network = network.partial_fit(piece, forcing)
        assert before.factor is not network.factor
    same(network, prepared.partial_fit(pieces, driving))
    same(network, replace(prepared).fit(pieces, driving))


def test_overlapping_parts_leave_no_gap():
    states, inputs, _, _ = parts()
    network = SampledRNN(width=8, delays=3, leads=(1, 2), ridge=1e-3)
    assert network.overlap == 4
    prepared = network.prepare(states, inputs)
    whole = prepared.partial_fit(states, inputs)
    early = prepared.partial_fit(states[:150], inputs[:150])
    late = early.partial_fit(states[150 - network.overlap :], inputs[150 - network.overlap :])
    assert late.factor.rows == whole.factor.rows
    np.testing.assert_allclose(gram(late), gram(whole), rtol=0, atol=1e-9)


def test_the_range_grows_with_the_training_data():
    states = noisy()
    network = SampledRNN(width=2).fit(states)
    moved = states + [100.0, -100.0]
    later = network.partial_fit(moved)
    scaled = network.scaled(np.vstack([states, moved]))
    np.testing.assert_array_equal(later.low, scaled.min(axis=0))
    np.testing.assert_array_equal(later.high, scaled.max(axis=0))


def test_the_seed_decides_noise_and_share():
    states = noisy()
    network = SampledRNN(width=4, noise=0.1, share=0.5, ridge=1e-3).prepare(states)
    first, again, other = (
        replace(network, seed=seed).partial_fit(states).factor.triangle for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first[0] != other[0]).all()


def test_fit_discards_earlier_training():
    states = noisy()
    network = SampledRNN(width=4, ridge=1e-3)
    same(network.fit(noisy(seed=3)).fit(states), network.fit(states), 0)


def test_training_needs_a_prepared_network():
    with pytest.raises(ValueError, match="no hidden weights yet; call prepare"):
        SampledRNN(width=2).partial_fit(noisy())


@pytest.mark.parametrize("gamma", [1.0, 0.25, 1e-3])
def test_forgotten_rows_have_the_weight_gamma(gamma):
    """Squared errors of old rows have the weight gamma, and gamma squared after two updates."""
    old, middle, new = noisy(80), noisy(70, seed=1), noisy(60, seed=2)
    network = SampledRNN(width=6, ridge=1e-2, target="state").fit(old)
    outer = network.outer
    network = network.forget(gamma)
    np.testing.assert_array_equal(network.outer, outer)
    network = network.partial_fit(middle).forget(gamma).partial_fit(new)
    features, targets = [], []
    for series, weight in ((old, gamma**2), (middle, gamma), (new, 1.0)):
        scaled = network.scaled(series)
        features.append(np.sqrt(weight) * lift(scaled[:-1], None, network.hidden))
        targets.append(np.sqrt(weight) * scaled[1:])
    features, targets = np.vstack(features), np.vstack(targets)
    strength = 1e-2 * np.linalg.norm(features, 2)
    pulled = np.vstack([features, strength * np.eye(9)])
    expected = np.linalg.lstsq(pulled, np.vstack([targets, np.zeros((9, 2))]), rcond=None)[0]
    np.testing.assert_allclose(network.outer[0], expected, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("gamma", [0.0, -1.0, 1.5, np.nan])
def test_invalid_forgetting_factors_are_refused(gamma):
    network = SampledRNN(width=2)
    with pytest.raises(ValueError, match="no rows to forget yet"):
        network.forget(0.5)
    with pytest.raises(ValueError, match=r"gamma: .* is not within \(0, 1\]"):
        network.fit(noisy()).forget(gamma)


# --- from an R factor ---------------------------------------------------------------------------


def test_an_r_factor_is_solved_and_training_continues_from_it():
    early, late = noisy(), noisy(seed=1)
    prepared = SampledRNN(width=6, ridge=1e-3).prepare(early)
    factor = prepared.factorise(prepared.scaled(early))
    network = prepared.fit(factor)
    np.testing.assert_array_equal(network.outer, prepared.partial_fit(early).outer)
    both = prepared.partial_fit([early, late])
    np.testing.assert_allclose(network.partial_fit(late).outer, both.outer, atol=1e-9)
    with pytest.raises(ValueError, match="inputs: an R factor holds those of its rows"):
        prepared.fit(factor, early)


def test_a_factor_of_another_network_is_refused():
    states, inputs, _, _ = parts()
    wide = SampledRNN(width=20, ridge=1e-3).fit(states)
    message = "23 feature and 2 target columns, but the rows of this network of width 5 have 8 and"
    with pytest.raises(ValueError, match=message):
        wide.narrowed(5).solve(wide.factor)
    driven = SampledRNN(width=20, input_width=4, ridge=1e-3).fit(states, inputs)
    for network in (driven.narrowed(5), wide, driven.narrowed(5).narrowed(5)):
        with pytest.raises(ValueError, match="it comes from another network"):
            network.solve(driven.factor)
    with pytest.raises(ValueError, match="it comes from another network"):
        driven.solve(wide.factor)
    with pytest.raises(ValueError, match="it comes from another network"):
        wide.solve(RFactor.empty(2))


def test_what_is_known_of_the_inputs_of_a_layer_drawn_by_hand():
    """Surplus columns are taken for inputs in such a layer; missing ones are an error."""
    states, inputs, _, _ = parts()
    network = SampledRNN(width=6, sampling="normal", ridge=1e-3).sample(np.zeros((2, 2)))
    factor = network.factorise(states, inputs)
    solved = network.solve(factor)
    found = solved.rollout(states[None, :1], 2, inputs[None, 1:3])
    assert np.isfinite(found).all()
    assert network.solve(network.factorise(states)).outer.shape == (1, 9, 2)
    fewer = factor.select([0, 1, 2, *range(4, factor.columns - 4), -2, -1])
    with pytest.raises(ValueError, match="have at least 9 and 2"):
        network.solve(fewer.select([*range(1, fewer.columns)]))
    # What was solved with three inputs stays so when it is narrowed.
    with pytest.raises(ValueError, match="it comes from another network"):
        solved.narrowed(2).solve(factor)


@pytest.mark.parametrize("ridge", [-1.0, np.nan, np.inf, [1e-3, 1e-3], [[1e-3]]])
def test_an_invalid_ridge_is_refused(ridge):
    network = SampledRNN(width=6).fit(noisy())
    with pytest.raises(ValueError, match="ridge"):
        network.solve(network.factor, ridge)


# --- precision ----------------------------------------------------------------------------------


def test_float32_rows_are_folded_as_such():
    """The result is close to that of float64, to the seven digits of float32."""
    states, inputs, pieces, driving = parts()
    network = SampledRNN(width=10, input_width=4, delays=2, ridge=1e-2)
    double = network.fit(states, inputs)
    single = replace(network, precision="float32").fit(states, inputs)
    np.testing.assert_array_equal(double.hidden.weights, single.hidden.weights)
    scale = np.abs(double.factor.triangle).max()
    difference = np.abs(single.factor.triangle - double.factor.triangle).max() / scale
    assert 1e-9 < difference < 1e-4
    assert single.factor.triangle.dtype == np.float64
    np.testing.assert_allclose(
        single.predict(states, inputs), double.predict(states, inputs), atol=1e-3
    )
    cut = replace(network, precision="float32").fit(pieces, driving, consecutive=True)
    assert cut.factor.rows == single.factor.rows


def test_noise_in_training_makes_forecasts_return_to_the_data():
    """States lie on a line; only noise determines the forecast beside it, which is to return."""
    along = noisy(400, 1)
    states = np.hstack([along, along])
    plain = SampledRNN(width=0, standardise=False, ridge=1e-12)
    off = np.array([[[0.5, 0.3]]])
    outers = []
    for noise in (0.0, 0.05):
        network = replace(plain, noise=noise).fit(states)
        found = replace(network, low=None, high=None).rollout(off, 1)[0, 0]
        outers.append(abs(found[0] - found[1]))
    assert outers[0] == pytest.approx(0.2, abs=1e-6)
    assert outers[1] < 0.02


def test_fewer_rows_than_features_are_refused():
    with pytest.raises(ValueError, match="53 feature columns, but only 29 rows"):
        SampledRNN(width=50).fit(noisy(30))
    # Many short series are as good as a long one.
    SampledRNN(width=50).fit([noisy(30, seed=seed) for seed in range(3)])


@pytest.mark.parametrize("keys", [{"noise": 0.05}, {"share": 0.5}, {"noise": 0.05, "share": 0.5}])
def test_a_continued_fit_draws_noise_and_share_as_one_fit(keys):
    """Draws belong to times of the whole record, wherever it is cut."""
    states = np.random.default_rng(0).normal(size=(900, 3)).cumsum(axis=0) * 0.1
    network = SampledRNN(width=10, delays=2, leads=(1, 3), seed=1, **keys)
    prepared = network.prepare(states)
    whole = prepared.partial_fit(states)
    parts, start = prepared, 0
    for stop in (310, 640, 900):
        first = max(0, start - network.overlap)
        parts = parts.partial_fit(states[first:stop], continues=start > 0)
        start = stop
    assert parts.times == whole.times == 900
    assert parts.factor.rows == whole.factor.rows
    np.testing.assert_allclose(parts.factor.triangle, whole.factor.triangle, atol=1e-10)
    with pytest.raises(ValueError, match="continues: the network was fitted to 0 times"):
        prepared.partial_fit(states, continues=True)
