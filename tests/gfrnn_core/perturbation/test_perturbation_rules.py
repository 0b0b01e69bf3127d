"""Compare the mean update of each rule with the gradient.

Draws along every direction in turn replace a statistical mean by an exact one (see
:class:`EveryDirection`); true noise is tried too.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfrnn_core.perturbation import Backpropagation, Perturbation, perturbation_rules
from gfrnn_core.perturbation.losses import output_gradient, step_losses
from gfrnn_core.perturbation.perturbation_rules import worse_credit
from gfrnn_testing.perturbation_toys import (
    EveryDirection,
    network,
    plain_run,
    start,
    window,
)

COUNTED = [0, 1, 1, 0, 1, 1]


def every_direction(kind, weights, steps):
    if kind == "wp":
        return EveryDirection([one.size for one in weights.trained()], 0)
    return EveryDirection([steps * weights.units, steps * len(weights.readout)], 1)


def cosine(one, other):
    return (one * other).sum() / np.linalg.norm(one) / np.linalg.norm(other)


@pytest.mark.parametrize("kind", ["wp", "np"])
@pytest.mark.parametrize("loss", ["squared", "cross_entropy"])
def test_mean_over_every_direction_is_the_gradient(kind, loss, monkeypatch):
    # Few noisy weights at a time, so that the draws come in several parts.
    monkeypatch.setattr(
        perturbation_rules, "_DRAWN", 7 * sum(one.nbytes for one in network().trained())
    )
    weights, part = network(), window(loss=loss, counted=COUNTED)
    state, rng = start(weights), every_direction(kind, network(), 6)
    rule = Perturbation(kind, 1e-7, draws=rng.draws, credit=None)
    found = rule.estimate(weights, part, state, rng)
    expected = Backpropagation().estimate(weights, part, state)
    assert found.loss == pytest.approx(expected.loss, rel=1e-12)
    for slope, reference in zip(found.gradient, expected.gradient, strict=True):
        np.testing.assert_allclose(slope, reference, atol=2e-5 * np.abs(reference).max())


@pytest.mark.parametrize("credit", [1, 2, 4, None])
def test_credit_sees_the_losses_of_so_many_steps_and_no_more(credit):
    # The reference: how the losses of steps t to t + credit - 1 change with z_t, by differences.
    weights, part, state = network(), window(counted=COUNTED), start(network())
    rng = every_direction("np", weights, 6)
    rule = Perturbation("np", 1e-7, draws=rng.draws, credit=credit)
    found = rule.estimate(weights, part, state, rng).gradient
    share = 1 / (sum(COUNTED) * 2)

    def losses(noise):
        outputs = plain_run(weights, part.inputs, state, noise)["y"]
        return step_losses(outputs, part.targets, part.loss) * part.counted[:, None]

    slopes = np.zeros((6, 2, weights.units))
    for t, b, i in np.ndindex(slopes.shape):
        noise = np.zeros_like(slopes)
        noise[t, b, i] = 1e-6
        end = None if credit is None else t + credit
        slopes[t, b, i] = (losses(noise) - losses(-noise))[t:end].sum() / 2e-6 * share
    hat = plain_run(weights, part.inputs, state)["hat"]
    before = np.concatenate([[state @ weights.decorrelation.T], hat[:-1]])
    expected = (np.einsum("tbi,tbj->ij", slopes, other) for other in (part.inputs, before))
    for slope, reference in zip(found[:2], expected, strict=True):
        np.testing.assert_allclose(slope, reference, atol=2e-5 * np.abs(reference).max())


def test_credit_of_one_step_is_the_gradient_with_the_recurrent_path_cut():
    weights, part, state = network(), window(counted=COUNTED), start(network())
    rng = every_direction("np", weights, 6)
    found = Perturbation("np", 1e-7, draws=rng.draws).estimate(weights, part, state, rng).gradient
    run = plain_run(weights, part.inputs, state)
    by_output = output_gradient(run["y"], part.targets, part.loss) * part.counted[:, None, None]
    by_output /= sum(COUNTED) * 2
    hidden = by_output @ weights.readout @ weights.decorrelation * (1 - run["x"] ** 2)
    before = np.concatenate([[state @ weights.decorrelation.T], run["hat"][:-1]])
    pairs = ((hidden, part.inputs), (hidden, before), (by_output, run["hat"]))
    for slope, (left, right) in zip(found, pairs, strict=True):
        expected = np.einsum("tbi,tbj->ij", left, right)
        np.testing.assert_allclose(slope, expected, atol=2e-5 * np.abs(expected).max())
    whole = Backpropagation().estimate(weights, part, state).gradient
    assert not np.allclose(found[1], whole[1], rtol=0.1)


@pytest.mark.parametrize(("scaling", "factor"), [("unbiased", 5.0), ("paper", np.sqrt(5.0))])
def test_activity_perturbation_of_one_step_has_the_factor_it_says(scaling, factor):
    # Along one direction of N in turn, change / |change|^2 makes 1 / N of the gradient.
    weights, part, state = network(), window(1), start(network())
    rng = EveryDirection([5], 1)
    rule = Perturbation("anp", 1e-7, draws=5, scaling=scaling)
    silent = rng.standard_normal
    rng.standard_normal = lambda shape, dtype: (
        silent(shape, dtype) if shape[-1] == 5 else np.zeros(shape)
    )
    found = rule.estimate(weights, part, state, rng).gradient
    expected = Backpropagation().estimate(weights, part, state).gradient
    for slope, reference in zip(found[:2], expected[:2], strict=True):
        np.testing.assert_allclose(
            slope, reference * factor / 5, atol=2e-5 * np.abs(reference).max()
        )


@pytest.mark.parametrize("scaling", ["paper", "unbiased"])
def test_activity_perturbation_learns_one_output_by_the_delta_rule(scaling):
    # One output: (loss change) / (output change) is the derivative, whatever the noise was.
    weights, part = network(outputs=1), window(outputs=1, counted=COUNTED)
    rule = Perturbation("anp", 1e-7, scaling=scaling)
    found = rule.estimate(weights, part, start(weights), np.random.default_rng(0)).gradient
    expected = Backpropagation().estimate(weights, part, start(weights)).gradient
    np.testing.assert_allclose(found[2], expected[2], rtol=1e-4)


@pytest.mark.parametrize(
    ("kind", "credit", "steps", "sure"),
    [("wp", None, 4, 3), ("np", None, 4, 3), ("anp", 1, 1, 2), ("anp", None, 4, 0)],
)
def test_mean_over_true_noise_points_along_the_gradient(kind, credit, steps, sure):
    # sure: how many of W0, R, W1 are without bias, so that the length must agree too.
    weights, part, state = network(units=4), window(steps), start(network(units=4))
    rule = Perturbation(kind, 1e-5, draws=5000, credit=credit, scaling="unbiased")
    found = rule.estimate(weights, part, state, np.random.default_rng(1)).gradient
    expected = Backpropagation().estimate(weights, part, state).gradient
    for place, (slope, reference) in enumerate(zip(found, expected, strict=True)):
        assert cosine(slope, reference) > (0.95 if place < sure else 0.85)
        if place < sure:
            length = np.linalg.norm(slope) / np.linalg.norm(reference)
            assert length == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("kind", ["np", "anp"])
def test_the_readout_is_credited_with_the_loss_of_its_own_step_alone(kind):
    """Noise on outputs changes no later step, so later losses would only add variance."""
    weights, part, state = network(), window(counted=COUNTED), start(network())
    own, later = (
        Perturbation(kind, draws=3, credit=credit)
        .estimate(weights, part, state, np.random.default_rng(0))
        .gradient
        for credit in (1, None)
    )
    np.testing.assert_array_equal(own[2], later[2])
    assert (own[1] != later[1]).any()


@pytest.mark.parametrize("credit", [1, 2, 5, 9, None])
def test_credit_against_a_loop(credit):
    worse = np.random.default_rng(0).standard_normal((7, 3, 2))
    expected = np.zeros_like(worse)
    for t in range(7):
        for later in range(t, 7 if credit is None else min(t + credit, 7)):
            expected[t] += worse[later]
    np.testing.assert_allclose(worse_credit(worse, credit), expected, atol=1e-14)


SHAPES = {
    "steps": st.integers(1, 5),
    "batch": st.integers(1, 3),
    "inputs": st.integers(1, 3),
    "units": st.integers(1, 12),
    "outputs": st.integers(1, 3),
    "draws": st.integers(1, 3),
}


@settings(max_examples=30)
@given(
    kind=st.sampled_from(["wp", "np", "anp"]),
    loss=st.sampled_from(["squared", "cross_entropy"]),
    credit=st.sampled_from([1, 2, None]),
    **SHAPES,
)
def test_any_shape_gives_an_estimate_of_the_matrices_shapes(
    kind, loss, credit, steps, batch, inputs, units, outputs, draws
):
    weights = network(inputs, units, outputs, dtype=np.float32)
    part = window(steps, batch, inputs, outputs, loss).checked(weights)
    rule, state = Perturbation(kind, draws=draws, credit=credit), start(weights, batch)
    found = rule.estimate(weights, part, state, np.random.default_rng(0))
    again = rule.estimate(weights, part, state, np.random.default_rng(0))
    exact = Backpropagation().estimate(weights, part, state)
    assert found.loss == pytest.approx(exact.loss, rel=1e-5)
    np.testing.assert_allclose(found.state, exact.state, atol=1e-5)
    np.testing.assert_allclose(found.states, exact.states, atol=1e-5)
    np.testing.assert_allclose(found.decorrelated, exact.decorrelated, atol=1e-5)
    for slope, same, matrix in zip(found.gradient, again.gradient, weights.trained(), strict=True):
        assert slope.shape == matrix.shape
        assert slope.dtype == np.float32
        assert np.isfinite(slope).all()
        np.testing.assert_array_equal(slope, same)


@pytest.mark.parametrize("kind", ["wp", "np", "anp"])
def test_a_state_that_does_not_fit_is_refused(kind):
    with pytest.raises(ValueError, match=r"state: shape \(2, 4\) is not \(2, 5\)"):
        Perturbation(kind).estimate(network(), window(), np.zeros((2, 4)), np.random.default_rng(0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "spsa"}, "kind: 'spsa' is not one of wp, np, anp"),
        ({"scaling": "none"}, "scaling: 'none' is not one of paper, unbiased"),
        ({"sigma": 0.0}, "sigma: 0.0 is not positive; without noise nothing is learnt"),
        ({"sigma": -1e-3}, "sigma: -0.001 is not positive"),
        ({"sigma": np.nan}, "sigma: nan is not positive"),
        ({"draws": 0}, "draws: 0 is not a positive integer"),
        ({"draws": 1.5}, "draws: 1.5 is not a positive integer"),
        ({"credit": 0}, "credit: 0 is not a positive integer"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Perturbation(**settings)
