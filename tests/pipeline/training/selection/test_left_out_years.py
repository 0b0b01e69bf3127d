"""Compare the choice over years that are left out with a least-squares fit without each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gfrnn.pipeline.training.selection.left_out_years import select_on_left_out_years
from gfrnn.pipeline.training.triangles import Factors
from gfrnn_core import Patches, SampledRNN
from gfrnn_core.lifting import lift
from gfrnn_core.regression_rows import delayed

SIZE, DELAYS, LEADS, WIDTH = 3, 2, (1, 3), 12
RIDGES, BALANCES, WIDTHS = [1e-4, 1e-2, 0.1, 1.0], [1.0, 0.2], [4, WIDTH]
VARIANCE, TRUNCATED = np.array([4.0, 5.0]), np.array([0.4, 0.7])
SETTINGS: dict[str, Any] = {
    "size": SIZE,
    "widths": WIDTHS,
    "ridges": RIDGES,
    "balances": BALANCES,
    "variance": VARIANCE,
    "truncated_variance": TRUNCATED,
}


def make_year(times: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    states = np.zeros((times, SIZE))
    for time in range(1, times):
        before = states[time - 1]
        states[time] = 0.8 * before[::-1] + 0.4 * np.tanh(2 * before) + rng.normal(size=SIZE) / 3
    return states


YEARS = [make_year(times, seed) for seed, times in enumerate((60, 75, 50, 65))]


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


def features_and_targets(network, states, width):
    present = np.arange(DELAYS - 1, len(states) - max(LEADS))
    linear = delayed(states, DELAYS, present[0], present[-1] + 1)
    features = lift(linear, None, network.hidden)[:, : DELAYS * SIZE + 1 + width]
    base = states[present] if network.target == "increment" else 0.0
    return features, np.stack([states[present + lead] - base for lead in LEADS])


def brute_force(network: SampledRNN, width: int, balance: float) -> np.ndarray:
    """Return errors[ridge, lead], each from a least-squares fit to the rows of all other years."""
    years = [features_and_targets(network, states, width) for states in YEARS]
    squares, factors = np.zeros((len(RIDGES), len(LEADS))), np.ones(DELAYS * SIZE + 1 + width)
    factors[DELAYS * SIZE + 1 :] = balance
    for left_out, (checked, truth) in enumerate(years):
        others = [each for index, each in enumerate(years) if index != left_out]
        x = np.vstack([features for features, _ in others]) * factors
        y = np.concatenate([targets for _, targets in others], axis=1)
        for r, ridge in enumerate(RIDGES):
            pulled = np.vstack([x, ridge * np.linalg.norm(x, 2) * np.eye(x.shape[1])])
            for lead in range(len(LEADS)):
                target = np.vstack([y[lead], np.zeros((x.shape[1], SIZE))])
                weights = np.linalg.lstsq(pulled, target, rcond=None)[0] * factors[:, None]
                squares[r, lead] += np.square(checked @ weights - truth[lead]).sum()
    return (squares / sum(len(features) for features, _ in years) + TRUNCATED) / VARIANCE


@pytest.mark.parametrize("target", ["state", "increment"])
def test_errors_and_choices_are_those_of_fits_without_each_year(target):
    network = make_network(target)
    folds = [Factors.of_series(network, states) for states in YEARS]
    choice = select_on_left_out_years(network, folds, **SETTINGS)
    for path, width in zip(choice.paths, WIDTHS, strict=True):
        errors = np.stack([brute_force(network, width, balance) for balance in BALANCES])
        np.testing.assert_allclose(path.errors, errors.min(axis=0), rtol=1e-8)
        for lead in range(len(LEADS)):
            b, r = np.unravel_index(errors[:, :, lead].argmin(), errors.shape[:2])
            assert (path.balance[lead], path.ridge[lead]) == (BALANCES[b], RIDGES[r])
        assert (path.network.width, path.network.outer) == (width, None)
    linear = brute_force(network, 0, 1.0)
    np.testing.assert_allclose(choice.linear.errors, linear, rtol=1e-8)
    np.testing.assert_array_equal(choice.linear.ridge, np.array(RIDGES)[linear.argmin(axis=0)])
    np.testing.assert_array_equal(choice.linear.balance, 1.0)
    assert choice.best.score == min(path.score for path in choice.paths)


def test_the_order_of_the_years_does_not_matter():
    network = make_network()
    folds = [Factors.of_series(network, states) for states in YEARS]
    one, other = (
        select_on_left_out_years(network, each, **SETTINGS) for each in (folds, folds[::-1])
    )
    for a, b in zip((*one.paths, one.linear), (*other.paths, other.linear), strict=True):
        np.testing.assert_allclose(a.errors, b.errors, rtol=1e-9)
        np.testing.assert_array_equal(a.ridge, b.ridge)


def test_groups_of_places_are_left_out_together():
    """Two groups with the rows of one have its errors."""
    ring = Patches((SIZE,), ((0, 0),), size=SIZE)
    alone = replace(make_network(), patches=ring)
    folds = [Factors.of_series(alone, states) for states in YEARS]
    twice = [Factors((fold.parts[0], fold.parts[0])) for fold in folds]
    grouped = replace(alone, groups=np.array([0, 1]))
    one = select_on_left_out_years(alone, folds, **SETTINGS)
    two = select_on_left_out_years(grouped, twice, **SETTINGS)
    np.testing.assert_allclose(two.linear.errors, one.linear.errors, rtol=1e-12)


def test_a_width_of_zero_leaves_the_linear_model():
    network = make_network()
    folds = [Factors.of_series(network, states) for states in YEARS[:2]]
    choice = select_on_left_out_years(network, folds, **SETTINGS | {"widths": [0]})
    assert choice.paths == (choice.linear,)


def test_products_give_the_same_choice_as_triangles(monkeypatch):
    network, module = make_network(), select_on_left_out_years.__module__
    folds = [Factors.of_series(network, states) for states in YEARS]
    settings = SETTINGS | {"ridges": np.geomspace(1e-8, 1, 17)}
    quick = select_on_left_out_years(network, folds, **settings)
    monkeypatch.setattr(f"{module}.LEAST_RIDGE", np.inf)
    exact = select_on_left_out_years(network, folds, **settings)
    for one, other in zip((*quick.paths, quick.linear), (*exact.paths, exact.linear), strict=True):
        np.testing.assert_array_equal(one.ridge, other.ridge)
        np.testing.assert_array_equal(one.balance, other.balance)
        np.testing.assert_allclose(one.errors, other.errors, rtol=1e-6)
        np.testing.assert_allclose(one.spectrum, other.spectrum, rtol=1e-6)


def test_years_need_no_merge_where_ridges_are_large(monkeypatch):
    network = make_network()
    folds = [Factors.of_series(network, states) for states in YEARS]
    monkeypatch.setattr(f"{select_on_left_out_years.__module__}.complements", None)
    assert select_on_left_out_years(network, folds, **SETTINGS).best.score < 1
