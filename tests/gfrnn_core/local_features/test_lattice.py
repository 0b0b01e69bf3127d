"""Finite differences on a lattice: derivatives of known fields, poles, Greenwich and masks."""

from dataclasses import replace

import numpy as np
import pytest

from gfrnn_core import Patches
from gfrnn_core.local_features import Lattice


def globe(rows, poles="between", channels=1, turned=()):
    """Return a global lattice with twice as many columns as rows (between) or so."""
    spacing = 180 / (rows - (poles == "row"))
    first = -90 if poles == "row" else -90 + spacing / 2
    latitude = first + spacing * np.arange(rows)
    longitude = 360 / (2 * rows) * np.arange(2 * rows)
    patches = Patches(
        (rows, 2 * rows),
        ((1, 1), (1, 1)),
        (False, True),
        channels=channels,
        poles=(poles, poles),
        turned=turned,
    )
    return Lattice(latitude, longitude, patches)


def region(rows, geometry="sphere", west=-7.0):
    """Return a lattice of a band and sector whose longitudes cross Greenwich."""
    latitude, longitude = np.linspace(30, 60, rows), west + np.linspace(0, 40, rows)
    patches = Patches((rows, rows), ((1, 1), (1, 1)), (False, False))
    return Lattice(latitude, longitude, patches, geometry=geometry)


def coordinates(lattice):
    phi, lam = np.deg2rad(lattice.latitude)[:, None], np.deg2rad(lattice.longitude)
    return phi, lam, np.sin(phi), np.cos(phi)


def spherical_harmonics(lattice):
    """Return a sum of harmonics of degrees 1 and 3, with exact derivatives."""
    phi, lam, sine, cosine = coordinates(lattice)
    # Degree 1, orders 0 and 1, and degree 3, order 2.
    first = sine + cosine * np.cos(lam)
    third = sine * cosine**2 * np.cos(2 * lam)
    first_east = -np.sin(lam) * np.ones_like(phi)
    third_east = -2 * sine * cosine * np.sin(2 * lam)
    first_north = cosine - sine * np.cos(lam)
    third_north = (cosine**3 - 2 * sine**2 * cosine) * np.cos(2 * lam)
    exact = [
        first + third,
        first_east + third_east,
        first_north + third_north,
        -2 * first - 12 * third,
        -2 * first_east - 12 * third_east,
        -2 * first_north - 12 * third_north,
    ]
    return np.stack([each * np.ones((1, len(lattice.longitude))) for each in exact])


def errors(lattice, exact):
    """Return the error of each base field: shape (6, rows, columns)."""
    return lattice.base_fields(exact[0].reshape(1, -1))[0, 0] - exact


def typical(lattice, exact):
    """Return the area-weighted root mean square error of each base field."""
    area = np.cos(np.deg2rad(lattice.latitude)) + 1e-3
    squares = np.square(errors(lattice, exact)).mean(axis=2)
    return np.sqrt((squares * area).sum(axis=1) / area.sum())


@pytest.mark.parametrize("poles", ["between", "row"])
def test_derivatives_on_the_globe_are_of_second_order_across_the_poles(poles):
    grids = [globe(rows + (poles == "row"), poles) for rows in (24, 96)]
    coarse, fine = (typical(grid, spherical_harmonics(grid)) for grid in grids)
    assert not coarse[0]
    assert (fine[1:4] < coarse[1:4] / 12).all()
    # Rounding of the latitude next to a pole makes the gradient of a Laplacian worse there.
    assert (fine[4:] < coarse[4:] / 6).all()
    assert (fine[1:] < 0.01 * np.array([1, 1, 12, 12, 12])).all()
    largest = np.abs(errors(grids[1], spherical_harmonics(grids[1]))).max(axis=(1, 2))
    assert (largest[1:4] < 0.02).all()  # also at the poles


@pytest.mark.parametrize("west", [-7.0, 340.0])
def test_derivatives_in_a_region_are_of_second_order_also_at_its_borders(west):
    coarse, fine = (
        np.abs(errors(grid, spherical_harmonics(grid)))
        for grid in (region(17, west=west), region(33, west=west))
    )
    assert (fine[1:3].max(axis=(1, 2)) < coarse[1:3].max(axis=(1, 2)) / 3).all()
    inner = (slice(None), slice(2, -2), slice(2, -2))
    assert (fine[inner][3:].max(axis=(1, 2)) < coarse[inner][3:].max(axis=(1, 2)) / 3).all()
    # The second derivative at a border is that of the cell beside it: of first order.
    assert fine[3].max() < coarse[3].max() / 1.7


def test_a_channel_is_a_plane():
    lattice = region(21, geometry="channel")
    phi, lam, _, _ = coordinates(lattice)
    field = 3 * phi**2 - lam**2 + phi * lam
    found = lattice.base_fields(field.reshape(1, -1))[0, 0]
    flat = np.ones_like(field)
    # Second-order differences are exact for a parabola, at the borders as well.
    length = np.cos(np.deg2rad(45.0))  # of the middle circle, relative to the equator
    east, north = (phi - 2 * lam) / length, 6 * phi + lam
    expected = [field, east, north, (6 - 2 / length**2) * flat, 0 * flat, 0 * flat]
    np.testing.assert_allclose(found, np.stack(expected), atol=1e-8)


def test_a_region_across_greenwich_has_the_derivatives_of_one_that_is_not():
    rng = np.random.default_rng(0)
    states = rng.standard_normal((2, 81))
    ours, theirs = region(9, west=-20.0), region(9, west=100.0)
    np.testing.assert_allclose(ours.base_fields(states), theirs.base_fields(states), rtol=1e-9)


@pytest.mark.parametrize("poles", ["between", "row"])
@pytest.mark.parametrize("turn", [1, 5, 11])
def test_a_rotated_globe_has_rotated_derivatives(poles, turn):
    lattice = globe(12 + (poles == "row"), poles, channels=2, turned=(1,))
    rows, columns = lattice.patches.shape
    states = np.random.default_rng(1).standard_normal((1, rows, columns, 2))
    found = lattice.base_fields(states.reshape(1, -1))
    turned = lattice.base_fields(np.roll(states, turn, axis=2).reshape(1, -1))
    np.testing.assert_allclose(turned, np.roll(found, turn, axis=-1), rtol=1e-9, atol=1e-7)


def test_components_of_a_wind_change_sign_across_a_pole():
    """A uniform wind over the pole: its components are those of a wave of wavenumber one."""
    lattice = globe(36, channels=2, turned=(0, 1))
    lam = np.deg2rad(lattice.longitude)
    wind = np.stack(np.broadcast_arrays(-np.sin(lam), -np.cos(lam) * np.ones((36, 1))), axis=-1)
    north = lattice.base_fields(wind.reshape(1, -1))[0, :, 2]
    assert np.abs(north[:, -1]).max() < 1e-9
    scalar = replace(lattice, patches=replace(lattice.patches, turned=()))
    assert np.abs(scalar.base_fields(wind.reshape(1, -1))[0, :, 2, -1]).max() > 1


def test_derivatives_that_would_use_masked_values_are_zero():
    plain = globe(8, channels=2)
    mask = np.zeros((8, 16, 2), dtype=bool)
    mask[3, 0, 0] = True
    lattice = replace(plain, mask=mask.reshape(-1))
    states = np.random.default_rng(2).standard_normal((1, 8, 16, 2))
    states[0, 3, 0, 0] = 0.0
    other = states.copy()
    other[0, 3, 0, 0] = 1e3
    found = lattice.base_fields(states.reshape(1, -1))
    # The value itself aside, nothing depends on what a masked cell holds.
    np.testing.assert_array_equal(
        found[:, :, 1:], lattice.base_fields(other.reshape(1, -1))[:, :, 1:]
    )
    assert not found[0, 0, 1:, 3, 0].any()
    assert not found[0, 0, 1:4, 3, 15].any()  # its neighbour across Greenwich
    expected = plain.base_fields(states.reshape(1, -1))
    np.testing.assert_array_equal(found[:, 1], expected[:, 1])  # the other channel is not masked
    np.testing.assert_array_equal(found[0, 0, :, 6:], expected[0, 0, :, 6:])


def test_lattices_that_cannot_be_differentiated_are_refused():
    with pytest.raises(ValueError, match="at least 3 of each"):
        region(2)
    with pytest.raises(ValueError, match=r"patches: cut a grid of shape \(8, 16\)"):
        replace(globe(8), latitude=np.linspace(-80, 80, 9))
