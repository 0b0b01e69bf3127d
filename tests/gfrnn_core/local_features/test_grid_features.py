"""Features at points of the grid, computed by hand from base fields."""

import numpy as np
import pytest

from gfrnn_core.local_features import GridFeatures
from gfrnn_core.zonal import LatitudeFunctions, ZonalBasis

RNG = np.random.default_rng(0)
NONE2, NONE3, NONE4 = (np.zeros((0, columns), dtype=int) for columns in (2, 3, 4))


def features_of(channels=2, **given):
    plain = {
        "scales": np.ones((channels, 6)),
        "jacobians": NONE3,
        "winds": NONE4,
        "products": NONE2,
        "weights": np.zeros((6 * channels, 0)),
        "biases": np.zeros(0),
    }
    return GridFeatures(**{**plain, **given})


def base_fields(channels=2):
    return RNG.standard_normal((3, channels, 6, 4, 5))


def test_a_jacobian_is_the_wind_of_a_streamfunction_times_a_gradient():
    base = base_fields()
    features = features_of(jacobians=np.array([(0, 1, 0), (1, 1, 1)]))
    found = features(base.copy())
    first = base[:, 0, 1] * base[:, 1, 2] - base[:, 0, 2] * base[:, 1, 1]
    second = base[:, 1, 1] * base[:, 1, 5] - base[:, 1, 2] * base[:, 1, 4]
    np.testing.assert_allclose(found, np.stack([first, second], axis=1))


def test_a_jacobian_of_a_field_with_itself_is_zero():
    assert not np.abs(features_of(jacobians=np.array([(1, 1, 0)]))(base_fields())).any()


def test_advection_by_given_winds():
    base = base_fields(3)
    found = features_of(3, winds=np.array([(0, 1, 2, 0), (0, 1, 2, 1)]))(base.copy())
    first = base[:, 0, 0] * base[:, 2, 1] + base[:, 1, 0] * base[:, 2, 2]
    second = base[:, 0, 0] * base[:, 2, 4] + base[:, 1, 0] * base[:, 2, 5]
    np.testing.assert_allclose(found, np.stack([first, second], axis=1))


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_products_and_activations_see_scaled_fields(activation):
    base, scales = base_fields(), RNG.uniform(0.5, 2, (2, 6))
    scales[:, 2], scales[:, 5] = scales[:, 1], scales[:, 4]
    weights, biases = RNG.standard_normal((12, 3)), RNG.standard_normal(3)
    features = features_of(
        scales=scales,
        products=np.array([(0, 7), (5, 5)]),
        weights=weights,
        biases=biases,
        activation=activation,
    )
    assert features.count == 5
    flat = (base / scales[..., None, None]).reshape(3, 12, 4, 5)
    mixed = np.einsum("tbyx,bf->tfyx", flat, weights) + biases[:, None, None]
    expected = [
        (flat[:, 0] * flat[:, 7])[:, None],
        (flat[:, 5] ** 2)[:, None],
        np.tanh(mixed) if activation == "tanh" else np.maximum(mixed, 0),
    ]
    np.testing.assert_allclose(features(base.copy()), np.concatenate(expected, axis=1))


@pytest.mark.parametrize(
    ("given", "kinds"),
    [
        ({"jacobians": np.array([(0, 1, 0)])}, [1, 2]),
        ({"jacobians": np.array([(0, 1, 1)])}, [1, 2, 4, 5]),
        ({"winds": np.array([(0, 1, 1, 1)])}, [0, 4, 5]),
        ({"products": np.array([(3, 7), (10, 1)])}, [1, 3, 4]),
        ({"weights": np.ones((12, 1)), "biases": np.ones(1)}, [0, 1, 2, 3, 4, 5]),
        ({}, []),
    ],
)
def test_only_the_base_fields_that_features_need_are_computed(given, kinds):
    features = features_of(**given)
    np.testing.assert_array_equal(features.kinds, kinds)
    base = base_fields()
    part = features(base[:, :, kinds], features.kinds)
    np.testing.assert_array_equal(part, features(base))


def test_scales_are_root_mean_squares_and_equal_for_both_parts_of_a_gradient():
    base = base_fields()
    base[:, 1, 0] = 0.0
    scales = GridFeatures.scales_of(base)
    assert scales[1, 0] == 1.0
    np.testing.assert_allclose(scales[0, 0] ** 2, np.square(base[:, 0, 0]).mean())
    np.testing.assert_allclose(scales[0, 1] ** 2, np.square(base[:, 0, 1:3]).mean())
    np.testing.assert_array_equal(scales[:, 1], scales[:, 2])
    np.testing.assert_array_equal(scales[:, 4], scales[:, 5])


def test_different_scales_in_a_gradient_are_refused():
    scales = np.ones((2, 6))
    scales[1, 5] = 2.0
    with pytest.raises(ValueError, match=r"scales.*same scale"):
        features_of(scales=scales)


def test_a_rotating_globe_advects_eastwards():
    """The Jacobian of -sin(phi), whose wind is that of solid rotation, is the zonal derivative."""
    latitude = np.rad2deg(np.arcsin(np.polynomial.legendre.leggauss(12)[0]))
    basis = ZonalBasis(LatitudeFunctions.on(latitude, 6, 8), 2, 24)
    states = np.random.default_rng(3).standard_normal((1, basis.size))
    fields = basis.decode(basis.unpack(states))
    fields[:, 0] = -np.sin(np.deg2rad(latitude))[:, None]
    base = basis.base_fields(basis.encode(fields))
    found = features_of(jacobians=np.array([(0, 1, 0)]))(base.copy())[:, 0]
    eastwards = np.cos(np.deg2rad(latitude))[:, None] * base[:, 1, 1]
    np.testing.assert_allclose(found, eastwards, atol=1e-12)
