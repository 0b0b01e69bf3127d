"""Test ANP solved for all draws at once: one draw gives ANP, many draws the gradient."""

import numpy as np
import pytest

from gfrnn_core.perturbation import Backpropagation, Perturbation
from gfrnn_core.perturbation.least_squares_slopes import solved_slopes
from gfrnn_testing.perturbation_toys import network, start, window

COUNTED = [0, 1, 1, 0, 1, 1]


def solve(draws, sigma=1e-6):
    return Perturbation("anp", sigma, draws=draws, combine="solve")


@pytest.mark.parametrize("loss", ["squared", "cross_entropy"])
@pytest.mark.parametrize("draws", [8, 40])
def test_more_draws_than_units_give_the_gradient_of_backpropagation_through_time(loss, draws):
    # The toy has 5 units, D is not the identity and some steps do not count.
    weights, part = network(), window(loss=loss, counted=COUNTED)
    state, rng = start(weights), np.random.default_rng(2)
    found = solve(draws).estimate(weights, part, state, rng)
    expected = Backpropagation().estimate(weights, part, state)
    for slope, reference in zip(found.gradient, expected.gradient, strict=True):
        np.testing.assert_allclose(slope, reference, atol=1e-3 * np.abs(reference).max())


def test_float32_is_close_to_the_gradient():
    exact, part = network(), window(counted=COUNTED)
    weights = type(exact)(
        *(one.astype(np.float32) for one in (*exact.trained(), exact.decorrelation))
    )
    part = part.checked(weights)
    state = start(exact).astype(np.float32)
    found = solve(20, 1e-3).estimate(weights, part, state, np.random.default_rng(0)).gradient
    expected = Backpropagation().estimate(weights, part, state).gradient
    for slope, reference in zip(found, expected, strict=True):
        assert slope.dtype == np.float32
        np.testing.assert_allclose(slope, reference, atol=0.02 * np.abs(reference).max())


def test_one_draw_of_one_step_is_the_rule_of_the_paper_without_its_factor():
    weights, part = network(), window(1)
    state = start(weights)
    units = weights.units
    both = [
        rule.estimate(weights, part, state, np.random.default_rng(3)).gradient
        for rule in (solve(1), Perturbation("anp", 1e-6, scaling="unbiased"))
    ]
    outputs = len(weights.readout)
    np.testing.assert_allclose(both[0][2] * outputs, both[1][2], rtol=1e-9)
    # The hidden layer answers for what the outputs' own noise did not do.
    rng = np.random.default_rng(0)
    change, worse = rng.standard_normal((1, 1, 2, units)), rng.standard_normal((1, 1, 2))
    silent = np.zeros((1, 1, 2, outputs))
    found, _ = solved_slopes(change, change, change[..., :outputs], silent, worse)
    square = np.square(change).sum(axis=-1)
    np.testing.assert_allclose(found, (worse / square)[:, 0, :, None] * change[:, 0], rtol=1e-12)


@pytest.mark.parametrize("draws", [1, 3, 5, 9])
def test_each_slope_is_the_shortest_that_fits_linear_changes(draws):
    # Losses that are linear in the activity of their own step, which forgets the one before.
    rng = np.random.default_rng(draws)
    steps, batch, units = 4, 2, 5
    change = rng.standard_normal((steps, draws, batch, units))
    slope = rng.standard_normal((steps, batch, units))
    worse = np.einsum("tdbn,tbn->tdb", change, slope)
    nothing = np.zeros((steps, draws, batch, 1))
    found, _ = solved_slopes(change, change, nothing + 1.0, nothing, worse)
    for t, b in np.ndindex(steps, batch):
        expected = np.linalg.pinv(change[t, :, b]) @ worse[t, :, b]
        np.testing.assert_allclose(found[t, b], expected, rtol=1e-6, atol=1e-8)


def test_noise_below_rounding_gives_no_estimate():
    change = np.zeros((3, 4, 2, 5), np.float32)
    change[1, :, 0, :2] = 1.0
    worse = np.ones((3, 4, 2), np.float32)
    output = np.ones((3, 4, 2, 1), np.float32)
    found, _ = solved_slopes(change, change, output, np.zeros_like(output), worse)
    assert np.isfinite(found).all()
    assert not found[[0, 2]].any()


def test_other_rules_cannot_be_solved():
    with pytest.raises(ValueError, match="combine: 'solve' is for kind 'anp' only, not 'np'"):
        Perturbation("np", combine="solve")
    with pytest.raises(ValueError, match="combine: 'sum' is not one of mean, solve"):
        Perturbation(combine="sum")
