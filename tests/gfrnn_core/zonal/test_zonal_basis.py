"""Packing of states, their norm, and fields with known derivatives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfrnn_core.zonal import LatitudeFunctions, ZonalBasis

LATITUDE = np.rad2deg(np.arcsin(np.polynomial.legendre.leggauss(16)[0]))
LONGITUDE = np.arange(32) * 2 * np.pi / 32


def globe(channels=2, wavenumbers=9, count=10):
    return ZonalBasis(LatitudeFunctions.on(LATITUDE, wavenumbers, count), channels, 32)


@settings(max_examples=30)
@given(st.integers(1, 3), st.integers(1, 9), st.integers(9, 12), st.integers(0, 2**32 - 1))
def test_states_come_back_from_their_coefficients(channels, wavenumbers, count, seed):
    basis = globe(channels, wavenumbers, count)
    states = np.random.default_rng(seed).standard_normal((3, basis.size))
    coefficients = basis.unpack(states)
    assert coefficients.shape == (wavenumbers, 3, basis.width)
    assert not coefficients[~basis.used.T[:, None].T.repeat(3, axis=1)].any()
    assert not coefficients[0].imag.any()
    np.testing.assert_allclose(basis.pack(coefficients), states, atol=1e-14)


def test_fields_come_back_from_their_states():
    basis = globe()
    states = np.random.default_rng(0).standard_normal((4, basis.size))
    fields = basis.decode(basis.unpack(states))
    assert fields.shape == (4, 2, 16, 32)
    np.testing.assert_allclose(basis.pack(basis.encode(fields)), states, atol=1e-12)


def test_the_squared_norm_of_a_state_is_the_mean_square_over_the_sphere():
    basis = globe()
    states = np.random.default_rng(1).standard_normal((4, basis.size))
    fields = basis.decode(basis.unpack(states))
    area = np.polynomial.legendre.leggauss(16)[1] / 2
    squares = (np.square(fields).mean(axis=3) @ area).sum(axis=1)
    np.testing.assert_allclose(np.square(states).sum(axis=1), squares)


def test_base_fields_have_the_derivatives_of_a_harmonic():
    """The field is cos(phi)^2 sin(phi) cos(2 lambda), a harmonic of degree 3 and order 2."""
    basis = globe(channels=1)
    phi, turn = np.deg2rad(LATITUDE)[:, None], LONGITUDE[None]
    shape = np.cos(phi) ** 2 * np.sin(phi)
    field = shape * np.cos(2 * turn)
    base = basis.base_fields(basis.encode(field[None, None]))[0, 0]
    slope = np.cos(phi) * (np.cos(phi) ** 2 - 2 * np.sin(phi) ** 2)
    expected = [
        field,
        -2 * shape / np.cos(phi) * np.sin(2 * turn),
        slope * np.cos(2 * turn),
    ]
    expected += [-12 * each for each in expected]
    for found, wanted in zip(base, expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-11)


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_do_not_mix(channels):
    basis = globe(channels)
    fields = np.random.default_rng(2).standard_normal((1, channels, 16, 32))
    together = basis.decode(basis.encode(fields))
    alone = globe(1)
    for channel in range(channels):
        one = alone.decode(alone.encode(fields[:, [channel]]))
        np.testing.assert_allclose(together[:, [channel]], one, atol=1e-12)


def test_too_few_longitudes_are_named():
    functions = LatitudeFunctions.on(LATITUDE, 9, 10)
    assert ZonalBasis(functions, 1, 17).wavenumbers == 9
    with pytest.raises(ValueError, match="longitudes: 16 do not resolve wavenumber 8"):
        ZonalBasis(functions, 1, 16)


def test_the_gradient_at_a_pole_is_the_limit_of_that_beside_it():
    poles, beside = np.linspace(-90, 90, 13), np.linspace(-90, 90, 13)
    beside[[0, -1]] = -89.999, 89.999
    bases = [ZonalBasis(LatitudeFunctions.on(each, 4, 8), 2, 12) for each in (poles, beside)]
    states = np.random.default_rng(0).standard_normal((3, bases[0].size))
    at, near = (each.base_fields(each.unpack(states))[..., [0, -1], :] for each in bases)
    np.testing.assert_allclose(
        at[:, :, :3], near[:, :, :3], atol=1e-3 * np.abs(near[:, :, 1]).max()
    )
    np.testing.assert_allclose(
        at[:, :, 3:], near[:, :, 3:], atol=1e-3 * np.abs(near[:, :, 4]).max()
    )


def test_some_base_fields_are_those_of_all():
    basis = globe()
    states = np.random.default_rng(0).standard_normal((4, basis.size))
    coefficients, kinds = basis.unpack(states), np.array([1, 2, 5])
    whole = basis.base_fields(coefficients)
    np.testing.assert_allclose(basis.base_fields(coefficients, kinds), whole[:, :, kinds])
