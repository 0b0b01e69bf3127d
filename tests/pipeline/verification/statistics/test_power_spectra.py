"""Test power spectra: single waves, sums of power, and the distance of known spectra."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfrnn.pipeline.verification.statistics.power_spectra import (
    complete_latitudes,
    log_spectral_distance,
    power_ratio,
    rounding_power,
    zonal_power,
)


def rows_of(latitudes: int, channels: int = 1) -> np.ndarray:
    weights = np.cos(np.deg2rad(np.linspace(-60, 60, latitudes)))
    return np.tile(weights / weights.sum(), (channels, 1))


def power(fields: np.ndarray, periodic: bool) -> np.ndarray:
    """Return the spectrum of fields (..., latitudes, longitudes) of one channel."""
    shape = fields.shape[-2:]
    flat = fields.reshape(*fields.shape[:-2], 1, -1)
    return zonal_power(flat, shape, rows_of(shape[0]), periodic)[..., 0, :]


@pytest.mark.parametrize("columns", [16, 17])
@pytest.mark.parametrize("wave", [0, 1, 5, 8])
def test_a_wave_around_the_globe_has_its_own_wavenumber(columns, wave):
    angle = 2 * np.pi * np.arange(columns) / columns
    row = 3.0 * np.cos(wave * angle + 0.4)
    found = power(np.tile(row, (4, 1)), periodic=True)
    expected = np.zeros(columns // 2 + 1)
    expected[wave] = np.mean(row**2)
    np.testing.assert_allclose(found, expected, atol=1e-13)


@pytest.mark.parametrize("columns", [16, 17])
@pytest.mark.parametrize("wave", [0, 1, 5, 15])
def test_half_waves_of_a_regional_grid(columns, wave):
    row = 3.0 * np.cos(np.pi * wave * (np.arange(columns) + 0.5) / columns)
    found = power(np.tile(row, (4, 1)), periodic=False)
    expected = np.zeros(columns)
    expected[wave] = np.mean(row**2)
    np.testing.assert_allclose(found, expected, atol=1e-13)


def test_the_transforms_are_plain_sums():
    rng = np.random.default_rng(1)
    columns = 12
    field = rng.standard_normal((3, columns))
    place = np.arange(columns)
    waves = np.exp(-2j * np.pi * np.outer(np.arange(columns), place) / columns)
    both = (np.abs(field @ waves.T / columns) ** 2 * rows_of(3)[0][:, None]).sum(axis=0)
    expected = both[:7].copy()
    expected[1:6] += both[:6:-1]
    np.testing.assert_allclose(power(field, periodic=True), expected, rtol=1e-12)
    # Denis et al. 2002, equations 1 and 2.
    cosines = np.cos(np.pi * np.outer(np.arange(columns), place + 0.5) / columns)
    factor = np.where(np.arange(columns) == 0, np.sqrt(1 / columns), np.sqrt(2 / columns))
    squares = (field @ cosines.T * factor) ** 2 / columns
    expected = (squares * rows_of(3)[0][:, None]).sum(axis=0)
    np.testing.assert_allclose(power(field, periodic=False), expected, rtol=1e-12)


@given(st.integers(0, 1000), st.integers(2, 21), st.booleans())
def test_powers_sum_to_the_mean_square(seed, columns, periodic):
    field = np.random.default_rng(seed).standard_normal((2, 3, columns))
    expected = np.einsum("nij,i->n", field**2, rows_of(3)[0]) / columns
    np.testing.assert_allclose(power(field, periodic).sum(axis=-1), expected, rtol=1e-12)


@given(st.integers(0, 1000), st.integers(0, 15))
def test_turning_the_globe_has_no_effect(seed, shift):
    field = np.random.default_rng(seed).standard_normal((3, 16))
    turned = power(np.roll(field, shift, axis=-1), periodic=True)
    np.testing.assert_allclose(turned, power(field, periodic=True), atol=1e-13)


def test_a_trend_does_not_leak_into_short_waves_of_a_regional_grid():
    row = np.linspace(-1, 1, 64)[None]
    regional, periodic = power(row, periodic=False), power(row, periodic=True)
    # Half waves 64 / 2 and up have the wavelengths of waves 16 and up.
    assert regional[32:].sum() < 0.01 * periodic[16:].sum()


def test_ensembles_and_channels():
    rng = np.random.default_rng(2)
    fields = rng.standard_normal((2, 5, 3, 4 * 8)).astype(np.float32)
    found = zonal_power(fields, (4, 8), rows_of(4, 3), periodic=True)
    assert found.shape == (2, 5, 3, 5)
    assert found.dtype == np.float64
    one = zonal_power(fields[1, 2], (4, 8), rows_of(4, 3), periodic=True)
    np.testing.assert_array_equal(found[1, 2], one)
    fields[1, 2, 0, 3] = np.nan
    spoilt = np.isnan(zonal_power(fields, (4, 8), rows_of(4, 3), periodic=True)).all(axis=-1)
    assert spoilt[1, 2, 0]
    assert spoilt.sum() == 1


def test_rows_with_masked_cells_are_left_out():
    weights = np.tile(np.repeat([1.0, 2.0, 3.0], 4), (2, 1))
    weights[1, 5] = 0.0
    found = complete_latitudes(weights, (3, 4))
    np.testing.assert_allclose(found, [[1 / 6, 1 / 3, 1 / 2], [1 / 4, 0, 3 / 4]])
    weights[1, [0, 10]] = 0.0
    assert np.isnan(complete_latitudes(weights, (3, 4))[1]).all()
    fields = np.random.default_rng(3).standard_normal((2, 12))
    changed = fields.copy()
    changed[1, 4:8] = 9.0
    np.testing.assert_array_equal(
        *(zonal_power(each, (3, 4), found, periodic=False) for each in (fields, changed))
    )


def test_distances_of_known_spectra():
    truth = np.array([5.0, 4.0, 2.0, 1.0])
    assert log_spectral_distance(truth, truth) == 0
    assert log_spectral_distance(10 * truth, truth) == pytest.approx(10.0)
    assert log_spectral_distance(truth * [1, 10, 0.1, 1], truth) == pytest.approx(np.sqrt(200 / 3))
    assert log_spectral_distance(truth * [9, 1, 1, 1], truth) == 0  # the mean is left out
    assert np.isinf(log_spectral_distance(truth * [1, 1, 1, 0], truth))
    np.testing.assert_array_equal(power_ratio(truth, truth * [1, 2, 4, 0]), [1, 0.5, 0.25, np.nan])
    silent = truth * [1, 1, 1, 0]
    assert log_spectral_distance(truth * [1, 10, 1, 1], silent) == pytest.approx(np.sqrt(50))
    assert np.isnan(log_spectral_distance(truth, np.zeros(4)))
    assert np.isnan(log_spectral_distance(truth * np.nan, truth))


def test_power_of_float32_rounding_alone_is_left_out():
    """Fields of one wave on a large mean have no other power than that of rounding."""
    longitude = np.arange(63) * 2 * np.pi / 63
    phases = np.random.default_rng(6).uniform(0, 2 * np.pi, (200, 1, 1))
    exact = 54_321.0 + 800 * np.sin(5 * longitude + phases)
    rounded = exact.astype(np.float32)
    truth, forecast = (
        zonal_power(fields, (1, 63), np.ones((1, 1)), periodic=True).mean(axis=0)[0]
        for fields in (rounded, 1.001 * exact)
    )
    noise = np.delete(truth, [0, 5])
    assert (noise > 0).all()
    assert (noise < rounding_power(truth)).all()
    assert noise.mean() > 0.02 * float(rounding_power(truth)[0])  # the bound is not a loose one
    np.testing.assert_array_equal(np.flatnonzero(np.isfinite(power_ratio(forecast, truth))), [0, 5])
    expected = 20 * np.log10(1.001)
    assert log_spectral_distance(forecast, truth) == pytest.approx(expected, rel=1e-3)


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"fields: found shape \(2, 9\)"):
        zonal_power(np.ones((2, 9)), (2, 4), rows_of(2, 2), periodic=True)
    with pytest.raises(ValueError, match=r"latitudes: found shape \(1, 2\), allowed: \(2, 2\)"):
        zonal_power(np.ones((2, 8)), (2, 4), rows_of(2, 1), periodic=True)
