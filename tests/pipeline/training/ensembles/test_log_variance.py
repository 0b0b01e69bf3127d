"""Regression of the logarithm of a variance: exact laws, means, errors of zero."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfrnn.pipeline.training.ensembles.log_variance import log_variance_regression


def design(count: int) -> np.ndarray:
    angle = 2 * np.pi * np.arange(count) / 365.25
    return np.stack([np.ones(count), np.cos(angle), np.sin(angle)], axis=1)


@given(st.floats(-30, 30), st.floats(-1.5, 1.5), st.floats(-1.5, 1.5))
def test_squares_on_an_exact_law_give_its_coefficients(level, cosine, sine):
    terms, law = design(400), np.array([level, cosine, sine])
    found = log_variance_regression(terms, np.exp(terms @ law)[:, None])
    np.testing.assert_allclose(found[:, 0], law, atol=1e-8)


def test_a_constant_gives_the_mean():
    squares = np.random.default_rng(0).gamma(0.5, size=(50, 3, 2))
    found = log_variance_regression(np.ones((50, 1)), squares)
    np.testing.assert_allclose(np.exp(found[0]), squares.mean(axis=0), rtol=1e-12)


def test_gamma_noise_is_averaged_out():
    terms, law = design(40_000), np.array([2.0, 0.8, -0.4])
    noise = np.random.default_rng(1).gamma(2.0, 0.5, size=40_000)  # of mean 1
    found = log_variance_regression(terms, np.exp(terms @ law) * noise)
    np.testing.assert_allclose(found, law, atol=0.03)
    # The score equations: weighted residuals are orthogonal to the terms.
    ratio = np.exp(terms @ law) * noise / np.exp(terms @ found) - 1
    np.testing.assert_allclose(terms.T @ ratio / len(ratio), 0, atol=1e-10)


def test_errors_of_zero_have_a_tiny_variance():
    found = log_variance_regression(design(30), np.zeros((30, 2)))
    assert np.isfinite(found).all()
    assert np.exp(design(30) @ found).max() < 1e-300


@pytest.mark.parametrize("outlier", [1e2, 1e6])
def test_an_outlier_does_not_prevent_convergence(outlier):
    squares = np.ones(400)
    squares[17] = outlier
    terms = design(400)
    found = log_variance_regression(terms, squares)
    ratio = squares / np.exp(terms @ found) - 1
    np.testing.assert_allclose(terms.T @ ratio / len(ratio), 0, atol=1e-6)
