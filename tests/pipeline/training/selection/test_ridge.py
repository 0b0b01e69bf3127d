"""Compare the choice of ridge, balance and width with least squares on all rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gfrnn.pipeline.training.selection.left_out_years import select_on_left_out_years
from gfrnn.pipeline.training.selection.ridge import (
    RidgeSelection,
    WidthSelection,
    select_ridge_and_width,
)
from gfrnn.pipeline.training.triangles import Factors
from gfrnn_core import Patches, RFactor, SampledRNN
from gfrnn_core.lifting import lift
from gfrnn_core.regression_rows import delayed

SIZE, DELAYS, LEADS, WIDTH = 3, 2, (1, 3), 24
RIDGES = [1e-6, 1e-3, 1e-2, 0.1, 1.0]
BALANCES = [1.0, 0.3, 0.05]
TRUNCATED, VARIANCE = np.array([0.4, 0.7]), np.array([4.0, 5.0])


def make_series(times: int, seed: int) -> np.ndarray:
    """Return a damped rotation with noise and a weak nonlinear term."""
    rng = np.random.default_rng(seed)
    law = 0.92 * np.linalg.qr(np.random.default_rng(0).standard_normal((SIZE, SIZE)))[0]
    states = np.zeros((times, SIZE))
    for time in range(1, times):
        before = states[time - 1]
        states[time] = law @ before + 0.3 * np.tanh(2 * before[::-1]) + rng.normal(size=SIZE) / 3
    return states


def make_network(target: str = "state") -> SampledRNN:
    network = SampledRNN(
        width=WIDTH,
        delays=DELAYS,
        leads=LEADS,
        target=target,
        sampling="normal",
        scale=1.0,
        standardise=False,
        seed=3,
    )
    return network.sample(np.zeros((1, DELAYS * SIZE)))


TRAIN, VALIDATION = make_series(150, 1), make_series(110, 2)


SETTINGS: dict[str, Any] = {
    "size": SIZE,
    "widths": [6, WIDTH],
    "ridges": RIDGES,
    "balances": BALANCES,
    "variance": VARIANCE,
    "truncated_variance": TRUNCATED,
}


def chosen(network: SampledRNN, **options: object) -> WidthSelection:
    return select_ridge_and_width(
        network,
        [Factors.of_series(network, TRAIN)],
        Factors.of_series(network, VALIDATION),
        **SETTINGS | options,
    )


def features_and_targets(network, states, width):
    present = np.arange(DELAYS - 1, len(states) - max(LEADS))
    linear = delayed(states, DELAYS, present[0], present[-1] + 1)
    features = lift(linear, None, network.hidden)[:, : DELAYS * SIZE + 1 + width]
    base = states[present] if network.target == "increment" else 0.0
    return features, [states[present + lead] - base for lead in LEADS]


def brute_force(network, width, balances):
    """Return errors[balance, ridge, lead] and weights, each from rows computed for it."""
    x, y = features_and_targets(network, TRAIN, width)
    checked, truth = features_and_targets(network, VALIDATION, width)
    factors = np.ones(x.shape[1])
    errors = np.empty((len(balances), len(RIDGES), len(LEADS)))
    weights = {}
    for b, balance in enumerate(balances):
        factors[DELAYS * SIZE + 1 :] = balance
        scaled = x * factors
        for r, ridge in enumerate(RIDGES):
            pulled = np.vstack([scaled, ridge * np.linalg.norm(scaled, 2) * np.eye(x.shape[1])])
            for lead in range(len(LEADS)):
                target = np.vstack([y[lead], np.zeros((x.shape[1], SIZE))])
                solved = np.linalg.lstsq(pulled, target, rcond=None)[0] * factors[:, None]
                weights[b, r, lead] = solved
                residual = np.square(checked @ solved - truth[lead]).sum() / len(checked)
                errors[b, r, lead] = (residual + TRUNCATED[lead]) / VARIANCE[lead]
    return errors, weights


@pytest.mark.parametrize("target", ["state", "increment"])
def test_errors_and_choices_are_those_of_brute_force(target):
    network = make_network(target)
    choice = chosen(network)
    for path, width in zip(choice.paths, [6, WIDTH], strict=True):
        errors, weights = brute_force(network, width, BALANCES)
        np.testing.assert_allclose(path.errors, errors.min(axis=0), rtol=1e-8)
        assert path.network.width == width
        for lead in range(len(LEADS)):
            b, r = np.unravel_index(errors[:, :, lead].argmin(), errors.shape[:2])
            assert (path.balance[lead], path.ridge[lead]) == (BALANCES[b], RIDGES[r])
            np.testing.assert_allclose(
                path.network.outer[lead], weights[b, r, lead], rtol=1e-6, atol=1e-8
            )
        np.testing.assert_allclose(path.score, errors.min(axis=(0, 1)).mean())


def test_the_best_settings_differ_between_leads():
    """The best ridges and balances differ between leads and widths, and are not at the edges."""
    choice = chosen(make_network())
    settings = {
        (path.ridge[lead], path.balance[lead]) for path in choice.paths for lead in range(2)
    }
    assert len(settings) > 1
    assert {path.ridge[lead] for path in choice.paths for lead in range(2)} != {RIDGES[0]}


def test_the_linear_model_has_no_hidden_features_and_no_balance():
    network = make_network()
    choice = chosen(network)
    errors, weights = brute_force(network, 0, [1.0])
    np.testing.assert_allclose(choice.linear.errors, errors[0], rtol=1e-8)
    assert choice.linear.network.width == 0
    np.testing.assert_array_equal(choice.linear.balance, 1.0)
    for lead in range(2):
        r = errors[0, :, lead].argmin()
        np.testing.assert_allclose(
            choice.linear.network.outer[lead], weights[0, r, lead], atol=1e-8
        )


def test_the_spectrum_is_that_of_the_features():
    network = make_network()
    for path, width in zip(chosen(network, balances=[1.0]).paths, [6, WIDTH], strict=True):
        x, _ = features_and_targets(network, TRAIN, width)
        np.testing.assert_allclose(path.spectrum, np.linalg.svd(x, compute_uv=False), rtol=1e-8)


def test_the_best_path_has_the_least_score():
    choice = chosen(make_network(), widths=[1, 6, WIDTH])
    scores = [path.score for path in choice.paths]
    assert choice.best.score == min(scores)
    assert choice.best is choice.paths[int(np.argmin(scores))]
    assert len({path.score for path in choice.paths}) == 3


def test_modes_left_out_count_against_a_model():
    network = make_network()
    none, some = (
        chosen(network, truncated_variance=np.zeros(2)),
        chosen(network, truncated_variance=TRUNCATED),
    )
    for a, b in zip((*none.paths, none.linear), (*some.paths, some.linear), strict=True):
        np.testing.assert_allclose(b.errors - a.errors, np.tile(TRUNCATED / VARIANCE, (5, 1)))
        np.testing.assert_array_equal(a.ridge, b.ridge)


def test_a_width_of_zero_leaves_the_linear_model():
    network = make_network()
    choice = chosen(network, widths=[0])
    assert choice.paths == (choice.linear,)
    assert choice.best is choice.linear


def test_ties_go_to_the_first():
    network = make_network()
    twice = chosen(network, ridges=[0.01, 0.01], balances=[0.3, 0.3], widths=[6])
    once = chosen(network, ridges=[0.01], balances=[0.3], widths=[6])
    np.testing.assert_array_equal(twice.paths[0].network.outer, once.paths[0].network.outer)


def test_a_chosen_network_rolls_out():
    network = chosen(make_network()).best.network
    history = TRAIN[None, 40:42]
    found = network.rollout(history, 4)
    by_hand = lift(delayed(TRAIN, 2, 41, 42), None, network.hidden) @ network.outer[0]
    np.testing.assert_allclose(found[0, 0], by_hand[0])
    assert replace(network, outer=None).width == network.width


# Products of columns, or triangles


@pytest.fixture
def exact_only(monkeypatch):
    """Return a function that turns products off."""
    return lambda: monkeypatch.setattr(f"{select_ridge_and_width.__module__}.LEAST_RIDGE", np.inf)


@pytest.mark.parametrize("target", ["state", "increment"])
def test_products_give_the_same_choice_as_triangles(target, exact_only):
    network = make_network(target)
    quick = chosen(network, ridges=np.geomspace(1e-8, 1, 17))
    exact_only()
    exact = chosen(network, ridges=np.geomspace(1e-8, 1, 17))
    for one, other in zip((*quick.paths, quick.linear), (*exact.paths, exact.linear), strict=True):
        np.testing.assert_array_equal(one.ridge, other.ridge)
        np.testing.assert_array_equal(one.balance, other.balance)
        np.testing.assert_allclose(one.errors, other.errors, rtol=1e-6)
        np.testing.assert_allclose(one.network.outer, other.network.outer, rtol=1e-6, atol=1e-8)


def test_folds_need_no_merge_where_ridges_are_large(monkeypatch):
    network, module = make_network(), select_ridge_and_width.__module__
    folds = [Factors.of_series(network, make_series(75, seed)) for seed in (3, 4)]
    whole = select_ridge_and_width(network, [folds[0].merge(folds[1])], folds[0], **SETTINGS)
    monkeypatch.setattr(f"{module}.merge_factors", None)
    apart = select_ridge_and_width(network, folds, folds[0], **SETTINGS)
    np.testing.assert_allclose(apart.best.errors, whole.best.errors, rtol=1e-9)


def exact_series(network: SampledRNN, times: int, seed: int) -> np.ndarray:
    """Return states that follow a law that is exactly a combination of the network's features."""
    rng = np.random.default_rng(seed)
    states = np.empty((times, SIZE))
    states[:DELAYS] = rng.normal(size=(DELAYS, SIZE))
    law = np.random.default_rng(1).normal(size=(DELAYS * SIZE + 1 + WIDTH, SIZE)) / 4
    law[: DELAYS * SIZE + 1] = 0
    for time in range(DELAYS, times):
        linear = delayed(states, DELAYS, time - 1, time)
        states[time] = (lift(linear, None, network.hidden) @ law)[0]
    return states


def test_data_without_noise_are_solved_from_triangles(exact_only):
    """Their errors are rounding errors of the triangle, not of products."""
    network = replace(make_network(), leads=(1,))
    train, held_out = exact_series(network, 400, 0), exact_series(network, 100, 1)
    assert train[-100:].std() > 0.1  # the law is chaotic or periodic

    def choice() -> WidthSelection:
        return select_ridge_and_width(
            network,
            [Factors.of_series(network, train)],
            Factors.of_series(network, held_out),
            **SETTINGS
            | {"widths": [WIDTH], "ridges": [1e-15, 1e-13, 1e-9, 1e-6, 1e-3], "balances": [1.0]}
            | {"variance": np.ones(1), "truncated_variance": np.zeros(1)},
        )

    found = choice().best
    exact_only()
    exact = choice().best
    np.testing.assert_array_equal(found.ridge, exact.ridge)
    np.testing.assert_array_equal(found.errors, exact.errors)
    assert found.errors.min() < 1e-18
    assert found.ridge[0] < 1e-8


def pairs_of_columns(seed: int, difference: float) -> RFactor:
    """Return rows whose target needs the difference of two columns, of a size, and has noise."""
    rng = np.random.default_rng(seed)
    half = 20
    mixed = np.random.default_rng(2).standard_normal((half, half))
    first, second = rng.standard_normal((2, 600, half))
    targets = first[:, [0]] + 0.1 * second[:, [0]] + 0.01 * rng.standard_normal((600, SIZE))
    features = [first, first @ mixed + difference * second, np.ones((600, 1))]
    return RFactor.from_rows(np.hstack([*features, targets]))


def linear_choice(
    network: SampledRNN, differences: list[float], ridges: list[float], years: bool
) -> RidgeSelection:
    """Choose a linear model from pairs of columns, with a group for each difference."""
    folds = [
        Factors(tuple(pairs_of_columns(seed, each) for each in differences)) for seed in range(3)
    ]
    settings = {"size": SIZE, "widths": [], "ridges": ridges, "balances": [1.0]}
    variances = {"variance": np.ones(1), "truncated_variance": np.zeros(1)}
    if years:
        return select_on_left_out_years(network, folds, **settings, **variances).linear
    return select_ridge_and_width(network, folds[1:], folds[0], **settings, **variances).linear


@pytest.mark.parametrize("years", [False, True])
@pytest.mark.parametrize("differences", [[3e-10], [1.0, 1e-8], [1e-8, 1.0]])
def test_small_ridges_that_rank_deficient_columns_need_are_found(differences, years):
    """Products lose the difference of columns, be it that of the first group or of another."""
    network = replace(make_network().narrowed(0), leads=(1,))
    if len(differences) > 1:
        ring = Patches((SIZE,), ((0, 0),), size=SIZE)
        network = replace(network, patches=ring, groups=np.array([0, 1]))
    found = linear_choice(network, differences, [1e-12, 1e-3], years)
    assert found.ridge == 1e-12
    assert found.errors.min() < 5e-4  # without the difference, 0.01
