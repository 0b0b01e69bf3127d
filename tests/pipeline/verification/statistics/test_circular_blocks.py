"""Test the choice of block lengths and the resampling in circular blocks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.signal import lfilter

from gfrnn.pipeline.verification.statistics import circular_blocks
from gfrnn.pipeline.verification.statistics.circular_blocks import (
    LEAST_STARTS,
    block_standard_error,
    optimal_block_length,
    resampling_weights,
)


def autoregressive(starts: int, memory: float, series: int = 1, seed: int = 0) -> np.ndarray:
    """Return first-order autoregressive series: shape (starts, series)."""
    noise = np.random.default_rng(seed).standard_normal((starts + 200, series))
    return np.asarray(lfilter([1.0], [1.0, -memory], noise, axis=0))[200:]


def plain_length(series: np.ndarray) -> float:
    """Return the block length by loops over the formulas of Politis and White."""
    number = len(series)
    x = series - series.mean()
    run = max(5, math.ceil(math.sqrt(math.log10(number))))
    most = math.ceil(math.sqrt(number)) + run
    covariance = [sum(x[t] * x[t + k] for t in range(number - k)) / number for k in range(most + 1)]
    bound = 2 * math.sqrt(math.log10(number) / number)
    quiet = [abs(value) < bound * covariance[0] for value in covariance]
    first = next((m for m in range(1, most - run + 2) if all(quiet[m : m + run])), most)
    window = min(2 * first, most)
    slope = total = 0.0
    for lag in range(-window, window + 1):
        taper = 1.0 if abs(lag) <= window / 2 else 2 * (1 - abs(lag) / window)
        slope += taper * abs(lag) * covariance[abs(lag)]
        total += taper * covariance[abs(lag)]
    length = (2 * slope**2 / (4 / 3 * total**2) * number) ** (1 / 3)
    return max(1.0, min(round(length), math.floor(min(3 * math.sqrt(number), number / 3))))


@pytest.mark.parametrize("starts", [LEAST_STARTS, 60, 400])
@pytest.mark.parametrize("memory", [0.0, 0.6, 0.95, -0.5])
def test_lengths_are_those_of_the_plain_formula(starts, memory):
    series = 100.0 + autoregressive(starts, memory, 5, seed=starts)
    expected = [plain_length(each) for each in series.T]
    np.testing.assert_array_equal(optimal_block_length(series), expected)


def test_lengths_tend_to_those_of_the_process():
    starts = 4000
    found = []
    for memory in (0.3, 0.6, 0.8):
        # With R(k) = memory^|k|: G = 2 m / (1 - m)^2, sum of R = (1 + m) / (1 - m).
        slope, total = 2 * memory / (1 - memory) ** 2, (1 + memory) / (1 - memory)
        expected = (1.5 * slope**2 / total**2 * starts) ** (1 / 3)
        lengths = optimal_block_length(autoregressive(starts, memory, 60))
        assert np.median(lengths) == pytest.approx(expected, rel=0.15)
        found.append(np.median(lengths))
    assert found == sorted(found)


def test_shift_scale_and_shape_have_no_effect():
    series = autoregressive(200, 0.7, 6).reshape(200, 2, 3)
    expected = optimal_block_length(series)
    assert expected.shape == (2, 3)
    np.testing.assert_array_equal(optimal_block_length(8.0 * series + 5.0), expected)
    np.testing.assert_array_equal(optimal_block_length(series[:, 1, 2]), expected[1, 2])


def test_missing_starts():
    series = autoregressive(300, 0.7, 2)
    series[250:, 1] = np.nan
    found = optimal_block_length(series)
    # The number of autocorrelations depends on all starts, the rest on those that are there.
    assert found[1] == pytest.approx(optimal_block_length(series[:250, 1]), abs=1)
    series[LEAST_STARTS - 1 :, 1] = np.nan
    found = optimal_block_length(series)
    assert np.isfinite(found[0])
    assert np.isnan(found[1])


def test_constant_and_short_series():
    for value in (0.0, 0.1, 1e5):
        assert optimal_block_length(np.full(50, value)) == 1
    assert np.isnan(optimal_block_length(np.arange(LEAST_STARTS - 1.0)))
    assert np.isnan(optimal_block_length(np.zeros((3, 2)))).all()


@pytest.mark.parametrize("length", [1, 3, 7, 20])
def test_resamples_are_blocks_on_a_circle(length):
    starts = 20
    weights = np.concatenate(list(resampling_weights(starts, length, 500, seed=1)))
    assert weights.shape == (500, starts)
    np.testing.assert_array_equal(weights.sum(axis=1), starts)
    # Every start is as likely as any other: also those at the ends.
    bound = 4.5 * np.sqrt(length / 500)
    np.testing.assert_allclose(weights.mean(axis=0), 1.0, atol=bound)
    if length == starts:
        np.testing.assert_array_equal(weights, 1.0)
    changes = np.abs(weights - np.roll(weights, 1, axis=1)).sum(axis=1)
    blocks = -(-starts // length)
    assert (changes <= 2 * blocks).all()
    assert (changes > 2).any() == (length < starts)


def test_resamples_depend_on_seed_and_length_only(monkeypatch):
    whole = np.concatenate(list(resampling_weights(30, 4, 50, seed=1)))
    again = np.concatenate(list(resampling_weights(30, 4, 50, seed=1)))
    np.testing.assert_array_equal(whole, again)
    assert (whole != np.concatenate(list(resampling_weights(30, 4, 50, seed=2)))).any()
    monkeypatch.setattr(circular_blocks, "_WEIGHTS_AT_ONCE", 30 * 7)
    parts = list(resampling_weights(30, 4, 50, seed=1))
    assert len(parts) == 8
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_the_standard_error_of_independent_values_is_that_of_a_mean():
    series = np.random.default_rng(3).standard_normal((200, 4))
    assert (optimal_block_length(series) == 1).any()
    single = series[:, optimal_block_length(series) == 1]
    expected = single.std(axis=0) / np.sqrt(200)
    np.testing.assert_allclose(block_standard_error(single), expected)


@pytest.mark.parametrize("memory", [0.3, 0.8])
def test_the_standard_error_is_that_of_means_over_resamples(memory):
    noise = np.random.default_rng(4).standard_normal((301, 3))
    series = 5.0 + lfilter([1.0], [1.0, -memory], noise, axis=0)
    found = block_standard_error(series)
    for own, length, error in zip(series.T, optimal_block_length(series), found, strict=True):
        drawn = np.concatenate(list(resampling_weights(301, int(length), 4000, 0)))
        assert error == pytest.approx((drawn @ own / 301).std(), rel=0.1)


def test_the_last_start_is_followed_by_the_first(monkeypatch):
    monkeypatch.setattr(circular_blocks, "optimal_block_length", lambda series: np.full(2, 7.0))
    series = np.random.default_rng(7).standard_normal((30, 2)).cumsum(axis=0)
    expected = block_standard_error(series)
    np.testing.assert_allclose(block_standard_error(np.roll(series, 11, axis=0)), expected)


def test_standard_errors_in_parts_are_those_of_all(monkeypatch):
    series = np.random.default_rng(6).standard_normal((50, 7))
    whole = block_standard_error(series)
    monkeypatch.setattr(circular_blocks, "_SERIES_BYTES", 8 * 50 * 3)
    np.testing.assert_allclose(block_standard_error(series), whole, rtol=1e-12)


def test_standard_errors_of_series_with_missing_and_with_few_values():
    series = np.random.default_rng(5).standard_normal((100, 2, 3))
    whole = block_standard_error(series)
    assert whole.shape == (2, 3)
    missing = np.concatenate([series, np.full((1, 2, 3), np.nan)])
    np.testing.assert_allclose(block_standard_error(missing), whole, rtol=0.05)
    np.testing.assert_allclose(block_standard_error(1e3 * series + 7.0), 1e3 * whole)
    assert np.isnan(block_standard_error(series[:9])).all()
    np.testing.assert_array_equal(block_standard_error(np.ones((20, 2))), 0.0)
