"""Factors of forecasts from sums: known optima, conditions, and leads without enough data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfrnn.pipeline.training.calibration.lead_regression import (
    LEAST_STARTS,
    PRIOR_PRECISION,
    LeadSums,
)


def sums_of(forecast: np.ndarray, truth: np.ndarray) -> LeadSums:
    """Return the sums of forecasts (leads, starts) of one value."""
    products = (np.sum(a * b, axis=1)[:, None] for a, b in (
        (forecast, forecast), (forecast, truth), (truth, truth)
    ))  # fmt: skip
    return LeadSums(*products, np.full(len(forecast), forecast.shape[1]))


def test_proportional_forecasts_get_the_factor_of_proportionality():
    forecast = np.random.default_rng(0).standard_normal((3, 40))
    wanted = np.array([[1.0], [0.7], [0.2]])
    sums = sums_of(forecast, wanted * forecast)
    np.testing.assert_allclose(sums.coefficients((), 10), wanted, rtol=1e-12)
    np.testing.assert_allclose(sums.errors(wanted), 0.0, atol=1e-12)


def test_factors_stay_within_zero_and_one():
    forecast = np.random.default_rng(0).standard_normal((2, 40))
    found = sums_of(forecast, np.array([[1.5], [-0.4]]) * forecast).coefficients((), 10)
    np.testing.assert_allclose(found, [[1.0], [0.0]], atol=1e-12)


def test_two_factors_in_the_wrong_order_become_their_weighted_mean():
    forecast = np.stack([np.ones(20), 2 * np.ones(20)])
    found = sums_of(forecast, np.array([[0.3], [0.8]]) * forecast).coefficients((), 10)
    np.testing.assert_allclose(found, (0.3 + 4 * 0.8) / 5, rtol=1e-12)


def test_noise_draws_the_factor_towards_one_by_the_prior():
    # The truth is independent of the forecast: the optimum is 0, the estimate a little above.
    for count in (20, 2000):
        half = np.ones(count // 2)
        forecast = np.concatenate([half, -half])[None]
        truth = np.tile([1.0, -1.0], count // 2)[None]
        found = sums_of(forecast, truth).coefficients((), 10)
        np.testing.assert_allclose(found, PRIOR_PRECISION / (count + PRIOR_PRECISION), rtol=1e-12)


def test_leads_with_too_few_starts_continue_the_last_factor():
    forecast = np.ones((4, LEAST_STARTS))
    sums = sums_of(forecast, np.array([[0.9], [0.6], [0.1], [0.1]]) * forecast)
    counts = np.array([LEAST_STARTS, LEAST_STARTS, LEAST_STARTS - 1, LEAST_STARTS])
    few = LeadSums(sums.forecast, sums.product, sums.truth, counts)
    np.testing.assert_allclose(few.coefficients((), 10)[:, 0], [0.9, 0.6, 0.6, 0.6])
    none = LeadSums(sums.forecast, sums.product, sums.truth, np.zeros(4, dtype=int))
    np.testing.assert_array_equal(none.coefficients((), 10), 1.0)
    assert np.isnan(none.errors()).all()


def test_a_value_that_is_always_zero_keeps_its_factor():
    zeros, ones = np.zeros((2, 1)), np.ones((2, 1))
    sums = LeadSums(
        np.hstack([zeros, 20 * ones]), np.hstack([zeros, 5 * ones]), np.hstack([zeros, 20 * ones]),
        np.array([20, 20]),
    )  # fmt: skip
    found = sums.coefficients((), 10)
    np.testing.assert_array_equal(found[:, 0], 1.0)
    assert (found[:, 1] < 0.6).all()


@given(seed=st.integers(0, 2**32 - 1), leads=st.integers(1, 8), groups=st.integers(1, 4))
def test_factors_never_increase_the_error_they_are_fitted_to(seed, leads, groups):
    rng = np.random.default_rng(seed)
    truth, forecast = rng.standard_normal((2, leads, groups, 25)) * rng.uniform(0.1, 3)
    forecast = forecast + rng.uniform(0, 1) * truth
    sums = LeadSums(
        np.square(forecast).sum(axis=2), (forecast * truth).sum(axis=2),
        np.square(truth).sum(axis=2), np.full(leads, 25),
    )  # fmt: skip
    factors = sums.coefficients((), 10)
    assert ((factors >= 0) & (factors <= 1)).all()
    assert (np.diff(factors, axis=0) <= 1e-12).all()
    # Together, as the order of factors may cost at one lead what it gains at another.
    assert sums.errors(factors).sum() <= sums.errors().sum() * (1 + 1e-12)
    # Both sums are means over initial times of squared errors.
    expected = np.square(factors[..., None] * forecast - truth).sum(axis=(1, 2)) / 25
    np.testing.assert_allclose(sums.errors(factors), expected, rtol=1e-9)
    assert sums.variance()[0] == pytest.approx(np.square(truth[0]).sum() / 25)


def test_leads_that_are_regressions_already_keep_the_factor_one():
    forecast = np.ones((4, 40))
    sums = sums_of(forecast, np.array([[0.9], [0.6], [0.5], [0.1]]) * forecast)
    np.testing.assert_allclose(sums.coefficients((1, 3), 10)[:, 0], [1.0, 0.6, 1.0, 0.1])


def test_leads_with_own_weights_that_are_worse_than_the_climatology_are_damped():
    forecast = np.ones((4, 40))
    sums = sums_of(forecast, np.array([[0.9], [0.6], [0.4], [0.3]]) * forecast)
    np.testing.assert_allclose(sums.coefficients((1, 4), 10)[:, 0], [1.0, 0.6, 0.4, 0.3])
    # Not where too few initial times tell.
    few = replace(sums, counts=np.array([40, 40, 40, LEAST_STARTS - 1]))
    np.testing.assert_allclose(few.coefficients((1, 4), 10)[:, 0], [1.0, 0.6, 0.4, 1.0])


def test_all_groups_together_decide_on_leads_with_own_weights():
    """One group is better and one worse than the climatology, by turns more."""
    forecast = np.ones((2, 40))
    good, bad = (sums_of(forecast, factor * forecast) for factor in (0.9, 0.1))
    for size, expected in ((10.0, [0.9, 0.1]), (0.1, [1.0, 1.0])):
        pairs = [
            (getattr(good, n), size * getattr(bad, n)) for n in ("forecast", "product", "truth")
        ]
        sums = LeadSums(*(np.hstack(pair) for pair in pairs), good.counts)
        found = sums.coefficients((1, 2), 10)
        np.testing.assert_allclose(found, [expected, expected], rtol=1e-12)


def test_overlapping_rollouts_weigh_less_against_the_prior():
    half = np.ones(100)
    forecast = np.tile(np.concatenate([half, -half]), (4, 1))
    truth = np.tile(np.tile([1.0, -1.0], 100), (4, 1))  # independent of the forecast
    sums = sums_of(forecast, truth)
    apart, dense = (sums.coefficients((), spacing)[:, 0] for spacing in (4, 1))
    np.testing.assert_allclose(apart, PRIOR_PRECISION / (200 + PRIOR_PRECISION))
    assert (dense[1:] > apart[1:]).all()


def test_the_prior_is_normal_with_mean_one():
    """The factor is the posterior mean: forecasts of another size weigh otherwise."""
    half = np.ones(50)
    noise = np.tile([1.0, -1.0], 50)
    for size, factor in ((3.0, 0.2), (0.5, 0.6)):
        forecast = size * np.concatenate([half, -half])[None]
        found = sums_of(forecast, factor * forecast + noise).coefficients((), 10)
        likelihood = 100 * size**2  # divided by the variance of the residuals, 1
        wanted = (factor * likelihood + PRIOR_PRECISION) / (likelihood + PRIOR_PRECISION)
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
