"""Test quadratic features on their span and on maps whose terms are products, fitted exactly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfrnn_core import SampledRNN, sample_weights
from gfrnn_core.lifting import lift
from gfrnn_core.systems.ordinary_systems import lorenz63_tendency


def squares(inputs, width, **options):
    return sample_weights(np.full((2, inputs), np.nan), width, sampling="quadratic", **options)


def test_the_features_are_squares_of_values_and_of_sums_of_two():
    hidden = squares(3, 6)
    x, y, z = np.random.default_rng(0).standard_normal((3, 20))
    expected = np.square(np.stack([x, y, x + y, z, x + z, y + z], axis=1))
    found = lift(np.stack([x, y, z], axis=1), None, hidden)[:, 4:]
    np.testing.assert_allclose(found, expected, rtol=1e-14)


@given(st.integers(1, 9), st.integers(0, 9), st.integers(0, 2**32))
@settings(max_examples=40)
def test_the_first_features_span_the_products_of_the_first_entries(first, more, seed):
    states = np.random.default_rng(seed).standard_normal((100, first + more))
    hidden = squares(first + more, (first + more) * (first + more + 1) // 2)
    hidden = hidden.narrowed(first * (first + 1) // 2)
    features = lift(states, None, hidden)[:, first + more + 1 :]
    i, j = np.triu_indices(first)
    products = states[:, i] * states[:, j]
    weights = np.linalg.lstsq(features, products, rcond=None)[0]
    np.testing.assert_allclose(features @ weights, products, atol=1e-11)
    # Each of them is one of these products: the two spaces have the same size.
    assert np.linalg.matrix_rank(products) == features.shape[1]


def test_the_scale_is_the_factor_of_the_squares():
    states = np.random.default_rng(2).standard_normal((10, 4))
    found, plain = (lift(states, None, squares(4, 7, scale=s))[:, 5:] for s in (0.2, 1.0))
    np.testing.assert_allclose(found, 0.2 * plain, rtol=1e-14)
    for scale in (0.0, np.nan):
        with pytest.raises(ValueError, match=f"scale: {scale} is not positive"):
            squares(4, 7, scale=scale)


def test_neither_seed_nor_activation_matter():
    plain = squares(4, 7)
    for options in ({"seed": 5}, {"activation": "relu"}):
        other = squares(4, 7, **options)
        np.testing.assert_array_equal(plain.weights, other.weights)
        np.testing.assert_array_equal(plain.biases, other.biases)
        assert plain.activation == other.activation == "square"


def test_entries_that_a_layer_does_not_see_have_no_part():
    seen = np.array([False, True, False, True])
    states = np.random.default_rng(1).standard_normal((10, 4))
    found = lift(states, None, squares(2, 3).seen_from(seen))[:, 5:]
    expected = lift(states[:, seen], None, squares(2, 3))[:, 3:]
    np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_more_features_than_products_are_refused():
    with pytest.raises(ValueError, match="width: 7 is more than the 6 products of pairs of 3"):
        squares(3, 7)


def logistic(states):
    return 3.9 * states * (1 - states)


def lorenz63(states):
    """Return one step of Euler's method, whose terms are linear and quadratic."""
    return states + 0.01 * lorenz63_tendency(states)


def path(step, start, count):
    states = [np.asarray(start, dtype=float)]
    for _ in range(count - 1):
        states.append(step(states[-1]))
    return np.array(states)


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("target", ["state", "increment"])
@pytest.mark.parametrize(
    ("step", "start", "count"), [(logistic, [0.3], 200), (lorenz63, [1.0, 2.0, 20.0], 3000)]
)
def test_a_quadratic_map_is_fitted_to_rounding(step, start, count, target, precision):
    states = path(step, start, count)
    size = states.shape[1]
    network = SampledRNN(
        width=size * (size + 1) // 2, sampling="quadratic", target=target, precision=precision
    ).fit(states[: count // 2])
    error = np.abs(network.predict(states) - states[1:]).max() / states.std()
    assert error < (1e-11 if precision == "float64" else 1e-4)
    plain = SampledRNN(width=0, target=target).fit(states[: count // 2])
    assert np.abs(plain.predict(states) - states[1:]).max() / states.std() > 1e-2


def test_a_map_of_two_delays_is_followed():
    """The Henon map as one variable: x' = 1 - 1.4 x^2 + 0.3 of the value before."""
    series = [0.1, 0.2]
    for _ in range(500):
        series.append(1 - 1.4 * series[-1] ** 2 + 0.3 * series[-2])
    states = np.array(series)[:, None]
    network = SampledRNN(width=3, sampling="quadratic", delays=2).fit(states[:300])
    followed = network.rollout(states[None, 300:302], 15)
    np.testing.assert_allclose(followed[0], states[302:317], atol=1e-8)
