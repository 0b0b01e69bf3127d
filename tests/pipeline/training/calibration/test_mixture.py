"""Shares of networks in an average: known optima, and sums equal to those of the average itself."""

from __future__ import annotations

import numpy as np
import pytest

from gfrnn.pipeline.training.calibration.lead_regression import LeadSums
from gfrnn.pipeline.training.calibration.mixture import RolloutSums, least_squares_shares

LEADS, STARTS = 6, 4000


def sums_of(forecasts: np.ndarray, truth: np.ndarray) -> RolloutSums:
    """Return the sums of forecasts (networks, leads, starts, groups); the last one is linear."""

    def total(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return np.sum(one * other, axis=1)

    counts = np.full(truth.shape[0], truth.shape[1])
    own = [LeadSums(total(f, f), total(f, truth), total(truth, truth), counts) for f in forecasts]
    products = {
        (i, j): total(forecasts[i], forecasts[j])
        for i in range(len(forecasts))
        for j in range(i + 1, len(forecasts))
    }
    return RolloutSums(own, products, {"linear": own[-1]})


def errors_of(*deviations: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return forecasts whose independent errors have some standard deviations, and the truth."""
    rng = np.random.default_rng(seed)
    truth = rng.standard_normal((LEADS, STARTS, 2))
    noise = rng.standard_normal((len(deviations), *truth.shape))
    return truth + np.array(deviations)[:, None, None, None] * noise, truth


def test_independent_errors_have_shares_inverse_to_their_variance():
    forecasts, truth = errors_of(1.0, 2.0, 2.0)
    shares = sums_of(forecasts, truth).mixture((1, 3), 2, LEADS)
    np.testing.assert_allclose(shares, np.array([[4], [1], [1]]) / 6 * np.ones(2), atol=0.02)


def test_a_worse_network_whose_error_cancels_is_preferred():
    """By its own error, the copy of the best would be the second."""
    forecasts, truth = errors_of(1.0, 1.5, 3.0)
    copy = forecasts[:1] + 0.1 * errors_of(1.0, seed=1)[0]
    shares = sums_of(np.concatenate([forecasts[:1], copy, forecasts[1:]]), truth).mixture(
        (1,), 2, LEADS
    )
    assert shares[1] == 0
    assert shares[2] > 0.2


def test_a_worthless_network_leaves_the_linear_model():
    forecasts, truth = errors_of(1.0, 1.0)
    forecasts[0] = truth + 3 * (forecasts[1] - truth)  # the same error, three times as large
    np.testing.assert_allclose(sums_of(forecasts, truth).mixture((1,), 1, LEADS), [[0.0], [1.0]])


def test_no_average_is_worse_than_the_linear_model_at_the_leads_of_a_share():
    forecasts, truth = errors_of(1.0, 0.8, 1.2)
    sums = sums_of(forecasts, truth)
    errors = sums.forecast(sums.mixture((1, 2, 4), 2, LEADS), (1, 2, 4)).errors()
    assert (errors <= sums.references["linear"].errors()).all()


def test_sums_are_those_of_the_average():
    forecasts, truth = errors_of(1.0, 0.5, 2.0)
    mixture = np.array([[0.2, 0.0], [0.5, 0.9], [0.3, 0.1]])
    found = sums_of(forecasts, truth).forecast(mixture, (1, 3))
    shares = mixture[:, [0, 0, 1, 1, 1, 1]]
    average = np.einsum("kl,klsg->lsg", shares, forecasts)
    np.testing.assert_allclose(found.errors(), np.square(average - truth).sum(2).mean(1))


def test_networks_that_diverged_have_no_share():
    forecasts, truth = errors_of(0.1, 1.0, 1.0)
    sums = sums_of(forecasts, truth)
    own = sums.networks[0]
    wild = LeadSums(own.forecast, own.product, own.truth, own.counts - 1)
    shares = RolloutSums([wild, *sums.networks[1:]], sums.products, sums.references).mixture(
        (1,), 2, LEADS
    )
    np.testing.assert_allclose(shares[0], 0.0)
    np.testing.assert_allclose(shares.sum(axis=0), 1.0)
    alone = RolloutSums([wild, wild, sums.networks[2]], sums.products, sums.references)
    np.testing.assert_allclose(alone.mixture((1,), 2, LEADS), [[0.0], [0.0], [1.0]])


def test_few_independent_starts_draw_shares_towards_equal_ones():
    forecasts, truth = errors_of(1.0, 2.0, 4.0)
    sums = sums_of(forecasts[:, :, :40], truth[:, :40])
    shares = [sums.mixture((1,), 2, spacing)[:, 0] for spacing in (LEADS, 1)]
    assert 0.5 < shares[1][0] < shares[0][0]
    equal = least_squares_shares(sums.error_products()[0], np.array([0.5, 0.5, 0.0]), 1e6)
    np.testing.assert_allclose(equal, [0.5, 0.5, 0.0], atol=1e-4)


def test_too_few_starts_have_no_shares():
    forecasts, truth = errors_of(1.0, 1.0)
    assert sums_of(forecasts[:, :, :5], truth[:, :5]).mixture((1,), 1, LEADS) is None


@pytest.mark.parametrize("size", [2, 5])
def test_shares_are_the_optimum_of_a_search_over_all(size):
    root = np.random.default_rng(size).standard_normal((size, size))
    products = root @ root.T
    found = least_squares_shares(products, np.full(size, 1 / size), 0.0)
    assert found.min() >= 0
    np.testing.assert_allclose(found.sum(), 1.0)
    tried = np.random.default_rng(0).dirichlet(np.ones(size), 20000)
    errors = np.einsum("ni,ij,nj->n", tried, products, tried)
    assert found @ products @ found <= errors.min() * (1 + 1e-6)
