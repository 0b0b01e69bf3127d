"""Functions of latitude against quadrature, differences and functions with known derivatives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import lpmv

from gfrnn_core.zonal import LatitudeFunctions
from gfrnn_core.zonal.latitude_functions import legendre, poles_reached

GAUSS = np.rad2deg(np.arcsin(np.polynomial.legendre.leggauss(24)[0]))
CENTRES = -90 + 180 * (np.arange(24) + 0.5) / 24
WITH_POLES = np.linspace(-90, 90, 25)
GLOBES = pytest.mark.parametrize("latitude", [GAUSS, CENTRES, WITH_POLES])


@settings(max_examples=30)
@given(st.integers(0, 30), st.integers(1, 20))
def test_legendre_functions_are_orthonormal_on_the_sphere(order, count):
    points, weights = np.polynomial.legendre.leggauss(64)
    values, _ = legendre(np.arcsin(points), order, count)
    products = (values * weights / 2) @ values.T
    np.testing.assert_allclose(products, np.eye(count), atol=1e-12)


@pytest.mark.parametrize("order", [0, 1, 2, 7])
def test_slopes_are_those_of_differences_also_at_the_poles(order):
    phi = np.array([-np.pi / 2, -1.2, -0.3, 0.0, 0.4, 1.5, np.pi / 2])
    _, slopes = legendre(phi, order, 9)
    step = 1e-6
    inner = slice(1, -1)
    above, below = (legendre(phi[inner] + s, order, 9)[0] for s in (step, -step))
    np.testing.assert_allclose(slopes[:, inner], (above - below) / (2 * step), atol=1e-6)
    for pole, inwards in ((0, step), (-1, -step)):
        here, near = (legendre(phi[[pole]] + s, order, 9)[0][:, 0] for s in (0.0, inwards))
        np.testing.assert_allclose(slopes[:, pole], (near - here) / inwards, atol=1e-3)


@GLOBES
@pytest.mark.parametrize("order", [0, 1, 3, 10])
def test_fields_on_a_globe_are_sums_of_spherical_harmonics(latitude, order):
    functions = LatitudeFunctions.on(latitude, 12, 16)
    for degree in (order, order + 1, 15):
        profile = lpmv(order, degree, np.sin(np.deg2rad(latitude)))
        profile /= np.abs(profile).max()
        coefficients = profile @ functions.inverse[order]
        np.testing.assert_allclose(coefficients @ functions.values[order], profile, atol=1e-12)
        np.testing.assert_allclose(
            coefficients @ functions.laplacians[order],
            -degree * (degree + 1) * profile,
            atol=1e-9,
        )
        assert np.count_nonzero(np.abs(coefficients) > 1e-10) == 1


@GLOBES
def test_a_wave_on_a_globe_has_fewer_functions_the_shorter_it_is(latitude):
    assert LatitudeFunctions.on(latitude, 5, 8).counts == (8, 7, 6, 5, 4)


def test_no_more_functions_than_latitudes_away_from_the_poles():
    functions = LatitudeFunctions.on(WITH_POLES, 4, 100)
    assert functions.counts[0] == 25
    assert functions.counts[1] == 23
    assert functions.east[0] == functions.east[-1] == 0.0


def test_a_channel_has_sines_for_waves_and_cosines_for_the_mean():
    latitude = 30 + (np.arange(20) + 0.5) * 2
    functions = LatitudeFunctions.on(latitude, 3, 10, "channel")
    assert functions.counts == (11, 10, 10)
    width, south, middle = np.deg2rad(40), np.deg2rad(30), np.cos(np.deg2rad(50))
    phase = 4 * np.pi * (np.deg2rad(latitude) - south) / width
    number = 4 * np.pi / width
    wave, mean = np.sin(phase) @ functions.inverse[2], np.cos(phase) @ functions.inverse[0]
    np.testing.assert_allclose(wave @ functions.values[2], np.sin(phase), atol=1e-12)
    np.testing.assert_allclose(wave @ functions.slopes[2], number * np.cos(phase), atol=1e-11)
    np.testing.assert_allclose(mean @ functions.slopes[0], -number * np.sin(phase), atol=1e-11)
    np.testing.assert_allclose(
        wave @ functions.laplacians[2],
        -(number**2 + (2 / middle) ** 2) * np.sin(phase),
        atol=1e-9,
    )


def test_the_laplacian_in_a_band_of_the_sphere_has_its_metric():
    latitude = np.linspace(20.0, 60.0, 60)
    functions = LatitudeFunctions.on(latitude, 2, 40)
    phi = np.deg2rad(latitude)
    half = np.deg2rad(20 / 59)
    phase = 3 * np.pi * (phi - phi[0] + half) / (phi[-1] - phi[0] + 2 * half)
    number = 3 * np.pi / (phi[-1] - phi[0] + 2 * half)
    found = np.cos(phase) @ functions.inverse[1] @ functions.laplacians[1]
    expected = -(number**2) * np.cos(phase) + np.tan(phi) * number * np.sin(phase)
    expected -= np.cos(phase) / np.cos(phi) ** 2
    np.testing.assert_allclose(found, expected, atol=1e-8 * number**2)


@pytest.mark.parametrize(
    ("latitude", "poles"),
    [
        (GAUSS, 2),
        (CENTRES, 2),
        (WITH_POLES, 2),
        (np.linspace(-60, 60, 20), 0),
        (np.linspace(0, 90, 20), 1),
        (np.linspace(-88, -20, 20), 1),
    ],
)
def test_a_globe_is_told_from_a_cap_and_a_band(latitude, poles):
    assert poles_reached(latitude) == poles


@pytest.mark.parametrize("latitude", [np.linspace(0, 90, 19), np.linspace(-87.5, -2.5, 35)])
@pytest.mark.parametrize("order", [0, 1, 4])
def test_a_hemisphere_has_harmonics_that_are_symmetric_about_the_equator(latitude, order):
    functions = LatitudeFunctions.on(latitude, 5, 8)
    assert functions.counts == (8, 7, 7, 6, 6)
    phi = np.deg2rad(latitude)
    for degree in (order, order + 2, order + 6):
        profile = lpmv(order, degree, np.sin(phi))
        profile /= np.abs(profile).max()
        coefficients = profile @ functions.inverse[order]
        np.testing.assert_allclose(coefficients @ functions.values[order], profile, atol=1e-9)
        laplacian = coefficients @ functions.laplacians[order]
        np.testing.assert_allclose(laplacian, -degree * (degree + 1) * profile, atol=1e-6)
    assert np.isfinite(functions.slopes).all()


CAPS = pytest.mark.parametrize(
    "latitude",
    [
        np.arange(20, 90.1, 2.5),
        np.arange(50, 90.1, 2.5),
        np.arange(65, 90.1, 0.25),
        np.arange(-88.75, 60, 2.5),
        np.arange(-20, 90.1, 2.5),
    ],
)


@CAPS
def test_functions_on_a_cap_are_orthonormal(latitude):
    functions = LatitudeFunctions.on(latitude, 12, len(latitude) // 2)
    half = (latitude[1] - latitude[0]) / 2
    edges = np.clip(np.append(latitude - half, latitude[-1] + half), -90, 90)
    area = np.diff(np.sin(np.deg2rad(edges)))
    for count, values in zip(functions.counts, functions.values, strict=True):
        assert count > 0
        products = (values[:count] * area) @ values[:count].T / area.sum()
        np.testing.assert_allclose(products, np.eye(count), atol=0.03)


@CAPS
@pytest.mark.parametrize("order", [0, 1, 3])
def test_functions_on_a_cap_represent_fields_without_symmetry(latitude, order):
    functions = LatitudeFunctions.on(latitude, 4, len(latitude) // 2)
    phi = np.deg2rad(latitude)
    profile = np.cos(phi) ** order * np.exp(np.sin(phi - 0.3))
    profile /= np.abs(profile).max()
    found = profile @ functions.inverse[order] @ functions.values[order]
    np.testing.assert_allclose(found, profile, atol=0.03)


@CAPS
def test_slopes_and_laplacians_on_a_cap_are_those_of_the_functions(latitude):
    step = np.deg2rad(latitude[1] - latitude[0])
    functions = LatitudeFunctions.on(latitude, 4, 4)
    for order in (0, 2):
        values, slopes = functions.values[order], functions.slopes[order]
        middle = (values[:, 2:] - values[:, :-2]) / (2 * step)
        size = np.abs(slopes).max()
        np.testing.assert_allclose(slopes[:, 1:-1], middle, atol=0.1 * size)
        second = (slopes[:, 2:] - slopes[:, :-2]) / (2 * step)
        phi = np.deg2rad(latitude[1:-1])
        metric = -np.tan(phi) * slopes[:, 1:-1] - (order / np.cos(phi)) ** 2 * values[:, 1:-1]
        laplacian = functions.laplacians[order]
        size = np.abs(laplacian).max()
        np.testing.assert_allclose(laplacian[:, 1:-1], second + metric, atol=0.15 * size)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"latitude": np.array([45.0])}, "latitude: the 1 values are not two or more"),
        ({"latitude": CENTRES[::-1]}, "latitude: the 24 values are not .* ascending"),
        ({"latitude": np.array([80.0, 91.0])}, r"latitude: 80.0..91.0 is not within -90..90"),
        ({"wavenumbers": 0}, "wavenumbers: 0 is not a positive number"),
        ({"count": 0}, "count: 0 is not a positive number"),
        ({"geometry": "plane"}, "geometry: 'plane' is not one of 'sphere', 'channel'"),
    ],
)
def test_arguments_out_of_range_are_named(changed, message):
    arguments = {"latitude": CENTRES, "wavenumbers": 3, "count": 4, "geometry": "sphere"}
    with pytest.raises(ValueError, match=message):
        LatitudeFunctions.on(**{**arguments, **changed})
