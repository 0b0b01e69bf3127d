"""Compare the decorrelation of activity with its formula, and test its effect."""

import numpy as np
import pytest

from gfrnn_core.perturbation.decorrelation import decorrelate
from gfrnn_testing.perturbation_toys import network


def off_diagonal(rows):
    covariance = rows.T @ rows / len(rows)
    return covariance - np.diag(np.diag(covariance))


@pytest.mark.parametrize("rows", [1, 4, 5, 20])
def test_one_step_is_the_formula(rows):
    # Fewer rows than the 5 units take the path that never forms C.
    weights = network()
    hat = np.random.default_rng(rows).standard_normal((rows, 5)) @ weights.decorrelation.T
    C = np.zeros((5, 5))
    for i, j in np.ndindex(5, 5):
        if i != j:
            C[i, j] = np.mean(hat[:, i] * hat[:, j])
    expected = weights.decorrelation - 0.03 * C @ weights.decorrelation
    decorrelate(weights, hat, 0.03)
    np.testing.assert_allclose(weights.decorrelation, expected, atol=1e-14)


def test_stationary_activity_is_decorrelated():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4000, 5)) @ (np.eye(5) + 0.5 * rng.standard_normal((5, 5)))
    weights = network()
    weights.decorrelation[:] = np.eye(5)
    before = np.abs(off_diagonal(x)).max()
    for _ in range(1500):
        decorrelate(weights, x @ weights.decorrelation.T, 0.02)
    hat = x @ weights.decorrelation.T
    assert before > 0.5
    assert np.abs(off_diagonal(hat)).max() < 1e-6
    assert (hat**2).mean(axis=0).min() > 0.01


def test_uncorrelated_activity_is_not_changed():
    x = np.linalg.qr(np.random.default_rng(0).standard_normal((50, 5)))[0] * [0.1, 1, 2, 5, 10]
    weights = network()
    weights.decorrelation[:] = np.eye(5)
    decorrelate(weights, x, 0.1)
    np.testing.assert_allclose(weights.decorrelation, np.eye(5), atol=1e-13)


def test_activity_of_few_dimensions_loses_power():
    # Rows of rank 2 cannot be uncorrelated in more than 2 units: the others fall silent.
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 2)) @ rng.standard_normal((2, 6))
    weights = network(units=6)
    weights.decorrelation[:] = np.eye(6)
    for _ in range(4000):
        decorrelate(weights, x @ weights.decorrelation.T, 0.02)
    power = np.sort(((x @ weights.decorrelation.T) ** 2).mean(axis=0))
    assert power[:4].max() < 0.05 * power[4:].min()
    assert power.sum() < 0.7 * (x**2).mean(axis=0).sum()
