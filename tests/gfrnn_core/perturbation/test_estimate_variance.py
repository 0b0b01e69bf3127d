"""Compare the variance of the gradient estimates of the rules with theory.

For a loss that changes by ``g . xi`` and noise xi of M independent normal values, the estimate
``(g . xi) xi`` has the variance ``(M + 1) |g|^2``, summed over its values; that of a part with the
gradient g_h among M_h values, beside g_o in others, ``(M_h + 1) |g_h|^2 + M_h |g_o|^2``.
"""

import numpy as np
import pytest

from gfrnn_core.perturbation import Backpropagation, Perturbation, Window
from gfrnn_testing.perturbation_toys import network

ESTIMATES = 1500


def single_step(units):
    """Return one step from the state zero with input 1, so that W0's gradient is that of z."""
    weights = network(1, units, 1, dtype=np.float64)
    weights.decorrelation[:] = np.eye(units)
    # As long a gradient in all units together as in the output, whatever their number.
    weights.readout /= np.linalg.norm(weights.readout)
    part = Window(np.ones((1, 1, 1)), np.ones((1, 1, 1)), np.ones(1, bool), "squared")
    state = np.zeros((1, units))
    return weights, part, state, Backpropagation().estimate(weights, part, state).gradient


def scatter(rule, weights, part, state):
    """Return the summed variance of the estimates of W0 alone, and of all weights."""
    rng = np.random.default_rng(0)
    found = [rule.estimate(weights, part, state, rng).gradient for _ in range(ESTIMATES)]
    variances = [np.var([one[place] for one in found], axis=0).sum() for place in range(3)]
    return variances[0], sum(variances)


@pytest.mark.parametrize("units", [5, 40])
def test_node_perturbation_scatters_with_the_number_of_units(units):
    weights, part, state, gradient = single_step(units)
    found, _ = scatter(Perturbation("np", 1e-6), weights, part, state)
    x = weights.run(part.inputs)[1][0, 0]
    hidden = (gradient[0] ** 2).sum()
    output = ((gradient[2] / x) ** 2).mean()
    assert found == pytest.approx((units + 1) * hidden + units * output, rel=0.15)


@pytest.mark.parametrize("units", [5, 40])
def test_activity_perturbation_scatters_with_the_number_of_units(units):
    # |xi| is divided out: N^2 (g . v)^2 has the mean N |g|^2, and 1 / |xi|^2 the mean 1 / (N - 2).
    weights, part, state, gradient = single_step(units)
    rule = Perturbation("anp", 1e-6, scaling="unbiased")
    found, _ = scatter(rule, weights, part, state)
    x = weights.run(part.inputs)[1][0, 0]
    hidden = (gradient[0] ** 2).sum()
    output = ((gradient[2] / x) ** 2).mean()
    expected = (units - 1) * hidden + units**2 / (units - 2) * output
    assert found == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("units", [3, 8])
def test_weight_perturbation_scatters_with_the_number_of_weights(units):
    weights, part, state, gradient = single_step(units)
    _, found = scatter(Perturbation("wp", 1e-6), weights, part, state)
    number = units + units**2 + units
    whole = sum((slope**2).sum() for slope in gradient)
    assert found == pytest.approx((number + 1) * whole, rel=0.15)


@pytest.mark.parametrize("kind", ["wp", "np", "anp"])
def test_scatter_falls_with_the_number_of_draws(kind):
    weights, part, state, _ = single_step(6)
    one, six = (
        scatter(Perturbation(kind, 1e-6, draws=draws), weights, part, state)[1] for draws in (1, 6)
    )
    assert one / six == pytest.approx(6, rel=0.15)
