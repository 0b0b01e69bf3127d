"""Test the polishing of solved outer weights for rollouts of several steps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gfrnn_core import Patches, SampledRNN
from gfrnn_core.perturbation.rollout_gradient import (
    RolloutNoise,
    RolloutStarts,
    evaluate_chunk,
    evaluate_here,
    merged,
)
from gfrnn_core.perturbation.rollout_polish import Polish

STEPS = 4


def cycle(times=300, noise=0.05, seed=0):
    """Return a limit cycle in the plane, observed with noise."""
    rng = np.random.default_rng(seed)
    states = np.empty((times, 2))
    states[0] = 1.0, 0.3
    turn = np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
    for t in range(1, times):
        state = states[t - 1] @ turn.T
        states[t] = state * (1 + 0.3 * (1 - (state**2).sum()))
    return states + noise * rng.standard_normal(states.shape)


def driven(times=300, seed=0):
    rng = np.random.default_rng(seed)
    inputs = rng.standard_normal((times, 1))
    states = np.zeros((times, 2))
    for t in range(1, times):
        x, y = states[t - 1]
        states[t] = 0.9 * x - 0.3 * np.sin(y), 0.8 * y + 0.3 * x + 0.2 * inputs[t, 0]
    return states + 0.05 * rng.standard_normal(states.shape), inputs


def solved(states, inputs=None, **keys):
    settings = {"sampling": "normal", "ridge": 1e-3, "seed": 1} | keys
    return SampledRNN(8, **settings).fit(states, inputs)


def loss_at(network, starts, outer):
    return evaluate_here(replace(network, outer=outer[None]), starts, None).loss


def numerical(network, starts, width=1e-5):
    """Return central differences of the loss in every weight."""
    outer = network.outer[0]
    found = np.empty_like(outer)
    for place in np.ndindex(outer.shape):
        step = np.zeros_like(outer)
        step[place] = width
        there, back = (loss_at(network, starts, outer + s * step) for s in (1, -1))
        found[place] = (there - back) / (2 * width)
    return found


# What is estimated


@pytest.mark.parametrize(
    "keys",
    [{}, {"delays": 3}, {"target": "state"}, {"activation": "relu"}, {"inputs": True, "delays": 2}],
)
def test_as_many_draws_as_numbers_give_the_gradient(keys):
    """Orthogonal draws that span the space have an error of the order of the squared noise."""
    keys = dict(keys)
    states, inputs = driven() if keys.pop("inputs", False) else (cycle(), None)
    network = solved(states, inputs, **keys)
    starts = RolloutStarts.cut(states, network.delays, STEPS, inputs).part(0, 40)
    sums = evaluate_chunk(network, starts, RolloutNoise(1e-4, draws=2 * STEPS))
    expected = numerical(network, starts)
    np.testing.assert_allclose(
        sums.gradient / sums.starts, expected, atol=1e-3 * np.abs(expected).max()
    )


@pytest.mark.parametrize("draws", [1, 3])
def test_few_draws_have_the_gradient_as_their_mean(draws):
    states = cycle()
    network = solved(states)
    starts = RolloutStarts.cut(states, 1, STEPS).part(0, 30)
    expected = numerical(network, starts)
    found = np.array(
        [
            evaluate_chunk(network, starts, RolloutNoise(1e-3, draws, (5, k))).gradient
            / len(starts)
            for k in range(400)
        ]
    )
    error = found.std(axis=0) / np.sqrt(len(found))
    off = (found.mean(axis=0) - expected) / error
    assert np.abs(off).max() < 5
    assert np.sqrt(np.square(off).mean()) < 1.5
    # The mean is known well enough for the test to mean something.
    assert np.linalg.norm(error) < 0.2 * np.linalg.norm(expected)


def test_more_draws_scatter_less_than_independent_ones_would():
    states = cycle()
    network = solved(states)
    starts = RolloutStarts.cut(states, 1, STEPS).part(0, 30)

    def scatter(draws):
        noises = [RolloutNoise(1e-3, draws, (5, k)) for k in range(150)]
        found = np.array([evaluate_chunk(network, starts, n).gradient for n in noises])
        return found.var(axis=0).sum()

    # Of 8 numbers, 6 orthogonal draws leave (8 / 6 - 1) where independent ones leave 8 / 6.
    assert scatter(6) < 0.5 * scatter(1) / 6


def test_the_loss_is_that_of_the_rollout():
    states = cycle()
    network = solved(states, delays=2)
    starts = RolloutStarts.cut(states, 2, STEPS)
    path = network.rollout(starts.history, STEPS)
    expected = np.square((path - starts.truth) / network.std).mean(axis=(0, 2))
    sums = evaluate_here(network, starts, None)
    np.testing.assert_allclose(sums.errors / len(starts), expected, rtol=1e-9)
    assert sums.loss == pytest.approx(expected.mean(), rel=1e-9)
    assert sums.gradient is None
    assert sums.lost == 0


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_chunks_change_nothing(size):
    states, inputs = driven()
    network = solved(states, inputs, delays=2)
    starts = RolloutStarts.cut(states, 2, STEPS, inputs).part(3, 50)
    noise = RolloutNoise(1e-2, draws=2, seed=(4, 1))
    whole = evaluate_chunk(network, starts, noise)
    parts = merged(evaluate_chunk(network, part, noise) for part in starts.chunks(size))
    assert parts.starts == whole.starts == 47
    np.testing.assert_allclose(parts.errors, whole.errors, rtol=1e-11)
    np.testing.assert_allclose(parts.gradient, whole.gradient, rtol=1e-9, atol=1e-12)


def test_noise_belongs_to_the_place_of_a_start():
    noise = RolloutNoise(1.0, draws=2, seed=(3,))
    whole = noise.drawn(0, 10, 4, 2)
    np.testing.assert_array_equal(whole[:, :, 6:9], noise.drawn(6, 3, 4, 2))
    assert np.abs(whole[:, :, 0] - whole[:, :, 1]).max() > 0.1
    other = replace(noise, seed=(4,)).drawn(0, 10, 4, 2)
    assert np.abs(whole - other).max() > 0.1
    gram = np.einsum("ktsd,ltsd->skl", whole, whole)
    np.testing.assert_allclose(gram, np.broadcast_to(8 * np.eye(2), gram.shape), atol=1e-12)


def test_float32_is_near_float64():
    states = cycle()
    starts = RolloutStarts.cut(states, 1, STEPS)
    found = [
        evaluate_here(solved(states, precision=p), starts, RolloutNoise(1e-2))
        for p in ("float64", "float32")
    ]
    assert found[1].loss == pytest.approx(found[0].loss, rel=1e-4)
    gap = np.abs(found[1].gradient - found[0].gradient).max()
    assert 0 < gap < 1e-2 * np.abs(found[0].gradient).max()


# Descent


def test_the_loss_falls_and_what_is_accepted_never_rises():
    states = cycle(600)
    network = solved(states)
    training = RolloutStarts.cut(states, 1, 8)
    heard = []
    settings = Polish(noise=1e-2, draws=4, rate=0.3, iterations=12)
    found = settings.run(network, training, progress=heard.append)
    assert heard == list(found.iterations)
    heard.clear()
    stopped = replace(settings, rate=1e6, least=0.3).run(network, training, progress=heard.append)
    assert heard == list(stopped.iterations)
    accepted = [one.loss for one in found.iterations if one.accepted]
    assert (np.diff(accepted) < 0).all()
    assert accepted[-1] < 0.999 * accepted[0]
    assert loss_at(network, training, found.network.outer[0]) == accepted[-1]
    assert found.best.loss == accepted[-1]
    assert found.network.factor is network.factor
    # The same again, and another with another seed.
    again = settings.run(network, training)
    np.testing.assert_array_equal(again.network.outer, found.network.outer)
    other = replace(settings, seed=1).run(network, training)
    assert np.abs(other.network.outer - found.network.outer).max() > 0


def test_a_step_that_is_too_long_is_taken_back():
    states = cycle()
    network = solved(states)
    found = Polish(rate=1e4, iterations=40, least=1e-9).run(
        network, RolloutStarts.cut(states, 1, STEPS)
    )
    refused = [one for one in found.iterations if not one.accepted]
    assert refused[0].lost > 0  # it ran away, and left no trace
    assert all(np.isfinite(one.loss) for one in found.iterations)
    assert np.isfinite(found.network.outer).all()
    for one, after in zip(found.iterations[1:-1], found.iterations[2:], strict=True):
        assert after.rate == pytest.approx(one.rate * (1.2 if one.accepted else 0.5))


def test_it_stops_when_the_rate_is_tiny():
    states = cycle()
    found = Polish(rate=1e9, iterations=50, least=0.1).run(
        solved(states), RolloutStarts.cut(states, 1, STEPS)
    )
    assert len(found.iterations) == 1 + 4  # 1, 1/2, 1/4, 1/8 are tried; 1/16 is not
    np.testing.assert_array_equal(found.network.outer, solved(states).outer)


def test_held_out_starts_choose_among_the_steps():
    states = cycle(600)
    network = solved(states[:400])
    training = RolloutStarts.cut(states[:400], 1, 8)
    held = RolloutStarts.cut(states[400:], 1, 8)
    found = Polish(draws=4, rate=0.3, iterations=12).run(network, training, held)
    marks = [one.held for one in found.iterations if one.accepted]
    assert found.best.held == min(marks)
    assert loss_at(network, held, found.network.outer[0]) == min(marks)


def test_held_out_starts_that_get_worse_keep_the_network():
    states = cycle()
    network = solved(states)
    # The other way round: what helps here cannot help there.
    elsewhere = RolloutStarts.cut(cycle()[::-1], 1, STEPS)
    held = replace(elsewhere, truth=network.rollout(elsewhere.history, STEPS))
    found = Polish(draws=4, iterations=5).run(network, RolloutStarts.cut(states, 1, STEPS), held)
    assert any(one.accepted for one in found.iterations[1:])
    np.testing.assert_array_equal(found.network.outer, network.outer)


def test_a_perfect_network_stays():
    states = np.empty((200, 2))
    states[0] = 1.0, 2.0
    turn = np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    for t in range(1, 200):
        states[t] = turn @ states[t - 1]
    network = SampledRNN(0).fit(states)
    found = Polish(draws=3, iterations=5).run(network, RolloutStarts.cut(states, 1, STEPS))
    np.testing.assert_allclose(found.network.outer, network.outer, atol=1e-9)
    assert found.best.loss < 1e-24


def test_diverging_rollouts_leave_finite_weights():
    states = cycle()
    network = solved(states)
    wild = replace(network, outer=network.outer * 50)
    sums = evaluate_here(wild, RolloutStarts.cut(states, 1, 12), RolloutNoise(1e-2, 2))
    assert sums.lost > 0.5 * sums.starts
    assert np.isfinite(sums.errors).all()
    assert np.isfinite(sums.gradient).all()
    # Beyond the range by its own extent each side, and not further.
    extent = (network.high - network.low).max()
    assert sums.errors.max() / sums.starts < (3 * extent) ** 2
    found = Polish(iterations=5).run(wild, RolloutStarts.cut(states, 1, 12))
    assert np.isfinite(found.network.outer).all()


def test_a_diverged_start_does_not_contribute_afterwards():
    states = cycle()
    network = solved(states, target="state")
    outer = network.outer[0].copy()
    outer[2, 0] = 1e3  # the constant takes one coordinate away at once, the other stays
    lost = replace(network, outer=outer[None])
    sums = evaluate_here(lost, RolloutStarts.cut(states, 1, STEPS), RolloutNoise(1e-2, 2))
    assert sums.lost == sums.starts
    np.testing.assert_array_equal(sums.gradient, 0)


def test_overflowing_weights_leave_finite_sums():
    states = cycle()
    network = solved(states)
    huge = network.outer.copy()
    huge[0, 0], huge[0, 1] = np.inf, -np.inf  # which gives NaN
    starts = RolloutStarts.cut(states, 1, 3)
    far = replace(starts, history=np.full_like(starts.history, 9.0))
    sums = evaluate_here(replace(network, outer=huge), far, RolloutNoise(1e-2))
    assert sums.lost == len(starts)
    assert np.isfinite(sums.errors).all()
    assert np.isfinite(sums.gradient).all()


def test_the_first_step_is_the_whole_first_estimate_whatever_the_memory():
    states = cycle()
    network, starts = solved(states), RolloutStarts.cut(states, 1, STEPS)
    one, other = (Polish(iterations=1, memory=m).run(network, starts) for m in (0.0, 0.8))
    np.testing.assert_allclose(one.network.outer, other.network.outer, rtol=1e-9)
    assert np.abs(one.network.outer - network.outer).max() > 0


# What is refused


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"noise": 0.0}, "noise: 0.0 is not positive"),
        ({"noise": np.nan}, "noise: nan is not positive"),
        ({"draws": 0}, "draws: 0 is not a positive integer"),
        ({"iterations": 0}, "iterations: 0"),
        ({"rate": -1.0}, "rate: -1.0 is not finite and positive"),
        ({"ridge": 0.0}, "ridge: 0.0 is not finite and positive"),
        ({"growth": 0.9}, "growth: 0.9 is not finite and 1 or above"),
        ({"memory": 1.0}, "memory: 1.0 is not within"),
        ({"seed": -1}, "seed"),
    ],
)
def test_settings_are_checked(keys, message):
    with pytest.raises(ValueError, match=message):
        Polish(**keys)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"leads": (1, 2)}, "lead 1 alone"),
        ({"target": "lifted"}, "lifted targets"),
        ({"patches": Patches((2,), ((0, 0),))}, "patches"),
        ({"low": None}, "low and high"),
        ({"outer": None}, "no outer weights"),
    ],
)
def test_networks_that_cannot_be_polished_are_refused(change, message):
    states = cycle()
    network = replace(solved(states), **change)
    with pytest.raises(ValueError, match=message):
        evaluate_here(network, RolloutStarts.cut(states, 1, STEPS), RolloutNoise(1e-2))


def test_shapes_are_checked():
    states = cycle()
    network = solved(states, delays=2)
    good = RolloutStarts.cut(states, 2, STEPS)
    for change, message in (
        ({"truth": good.truth[:-1]}, r"truth: shape \(294, 4, 2\) is not \(295"),
        ({"truth": good.truth[:, 0]}, "truth: shape"),
        ({"history": good.history[:, :, 0]}, "history: shape"),
    ):
        with pytest.raises(ValueError, match=message):
            replace(good, **change)
    for change, message in (
        ({"truth": good.truth[:, :, :1]}, r"truth: shape \(295, 4, 1\) is not \(295, steps, 2\)"),
        ({"truth": good.truth[:, :0]}, "no start or no step"),
        ({"history": good.history[:, :1]}, r"history: .* is not \(starts, 2, 2\)"),
        ({"inputs": np.zeros((295, STEPS, 1))}, "has no inputs"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate_chunk(network, replace(good, **change), None)
    holed = good.truth.copy()
    holed[7, 1] = np.nan
    with pytest.raises(ValueError, match="truth: start 107 holds NaN"):
        evaluate_chunk(network, replace(good, truth=holed, first=100), None)
    with pytest.raises(ValueError, match="there is none"):
        evaluate_here(network, good.part(0, 0), None)
    with pytest.raises(ValueError, match="states: shape"):
        RolloutStarts.cut(states[:5], 2, STEPS)
    with pytest.raises(ValueError, match="inputs: shape"):
        RolloutStarts.cut(states, 2, STEPS, np.zeros((10, 1)))


def test_the_triangle_must_be_there_and_belong_to_the_network():
    states = cycle()
    network = solved(states)
    starts = RolloutStarts.cut(states, 1, STEPS)
    bare = replace(network, factor=None)
    with pytest.raises(ValueError, match="factor: the network has no R factor"):
        Polish().run(bare, starts)
    with pytest.raises(ValueError, match="comes from another network"):
        Polish().run(network, starts, factor=SampledRNN(3).fit(states).factor)
    found = Polish(iterations=2).run(bare, starts, factor=network.factor)
    expected = Polish(iterations=2).run(network, starts)
    np.testing.assert_array_equal(found.network.outer, expected.network.outer)


def test_an_evaluation_without_a_gradient_is_refused():
    states = cycle()
    with pytest.raises(ValueError, match="gave no gradient"):
        Polish().run(
            solved(states),
            RolloutStarts.cut(states, 1, STEPS),
            evaluate=lambda network, starts, noise: evaluate_here(network, starts, None),
        )


@pytest.mark.parametrize(
    ("what", "keys"),
    [("a limit", {"limit": np.array(0.5)}), ("a mask", {"mask": np.array([True, False])})],
)
def test_networks_whose_rollouts_are_held_are_refused(what, keys):
    network = replace(solved(cycle()), **keys)
    starts = RolloutStarts.cut(cycle(), 1, STEPS)
    with pytest.raises(ValueError, match=f"network: has {what}, which cannot be polished"):
        evaluate_here(network, starts, None)
