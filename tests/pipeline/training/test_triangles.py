"""R factors of groups of places: saved, merged and scaled together, solved group by group."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gfrnn.pipeline.training.network_arrays import network_arrays, network_options, rebuild_network
from gfrnn.pipeline.training.selection.ridge import FitRows, select_ridge_and_width, solve
from gfrnn.pipeline.training.triangles import Factors, merge_factors
from gfrnn_core import Patches, RFactor, SampledRNN

RING = Patches((6,), ((1, 1),), size=2, channels=2)
GROUPS = np.array([0, 1, 0])
RIDGES = [1e-8, 1e-3, 1e-1, 1.0]


def network(groups: np.ndarray | None = GROUPS) -> SampledRNN:
    plain = SampledRNN(4, patches=RING, sampling="normal", leads=(1, 2), standardise=False,
                       target="state", scale=0.3, groups=groups)  # fmt: skip
    return plain.sample(np.zeros((1, RING.window)))


def series(times: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(times, RING.cells))


def squares(part: RFactor) -> np.ndarray:
    return part.triangle.T @ part.triangle


def test_each_group_has_the_rows_of_its_places():
    states = series(30, 0)
    factors = Factors.of_series(network(), states)
    for group, part in enumerate(factors.parts):
        own = network(None).factorise(states, places=np.flatnonzero(group == GROUPS))
        np.testing.assert_array_equal(part.triangle, own.triangle)
    assert [part.rows for part in factors.parts] == [2 * 28, 28]
    assert factors.rows == 3 * 28
    assert factors.columns == RING.window + 1 + 4 + 2 * RING.owned


def test_all_together_are_the_rows_of_all_places():
    states = series(30, 0)
    together = sum(squares(part) for part in Factors.of_series(network(), states).parts)
    (shared,) = Factors.of_series(network(None), states).parts
    np.testing.assert_allclose(together, squares(shared), rtol=1e-10, atol=1e-10)


def test_merging_and_scaling_act_on_each_group():
    first, second = (Factors.of_series(network(), series(30, seed)) for seed in (0, 1))
    merged = merge_factors([first.scale(0.5), second])
    for part, one, other in zip(merged.parts, first.parts, second.parts, strict=True):
        expected = 0.25 * squares(one) + squares(other)
        np.testing.assert_allclose(squares(part), expected, rtol=1e-10, atol=1e-10)
        assert part.rows == one.rows + other.rows


def test_factors_of_other_groups_do_not_merge():
    states = series(30, 0)
    shared = Factors.of_series(network(None), states)
    with pytest.raises(ValueError, match="zip"):
        shared.merge(Factors.of_series(network(), states))


@pytest.mark.parametrize("prefix", ["", "3_"])
def test_factors_are_read_back_from_arrays_stored_together(prefix):
    factors = Factors.of_series(network(), series(30, 0))
    others = Factors.of_series(network(), series(20, 1)).arrays("30_")
    again = Factors.from_arrays(others | factors.arrays(prefix), prefix)
    assert len(again.parts) == 2
    for part, found in zip(factors.parts, again.parts, strict=True):
        np.testing.assert_array_equal(found.triangle, part.triangle)
        assert found.rows == part.rows
        assert isinstance(found.rows, int)


def test_packed_triangles_come_back_whatever_their_shape_and_type():
    rng = np.random.default_rng(0)
    tall, short = rng.standard_normal((9, 4)), rng.standard_normal((2, 5))
    parts = [RFactor.from_rows(rows + 1j * rows[::-1]) for rows in (tall, short)]
    factors = Factors((*parts, RFactor.empty(3)))
    arrays = factors.arrays()
    assert arrays["triangles"].shape == (4 * 5 // 2 + 5 + 4,)  # nothing below the diagonal
    for part, found in zip(factors.parts, Factors.from_arrays(arrays).parts, strict=True):
        np.testing.assert_array_equal(found.triangle, part.triangle)
        assert found.rows == part.rows


# Choice and solve, group by group


def pieces(seed: int) -> Factors:
    return Factors.of_series(network(), series(60, seed))


def test_weights_of_a_group_are_those_of_its_rows_alone():
    """One ridge applies to all groups, relative to the largest singular value of each."""
    train, ridge = pieces(0), np.array([1e-3, 1e-1])
    solved = solve(
        network(), FitRows([train]), size=RING.owned, width=4, ridge=ridge, balance=np.ones(2)
    )
    assert solved.outer.shape == (2, 2, RING.window + 1 + 4, RING.owned)
    for group, part in enumerate(train.parts):
        alone = network(None).solve(part, ridge)
        np.testing.assert_allclose(solved.outer[group], alone.outer, rtol=1e-9, atol=1e-12)


def test_the_error_of_a_ridge_sums_the_residuals_of_all_groups():
    train, validation = pieces(0), pieces(1)
    choice = select_ridge_and_width(
        network(),
        [train],
        validation,
        size=RING.owned,
        widths=[4],
        ridges=RIDGES,
        balances=[1.0],
        variance=np.ones(2),
        truncated_variance=np.zeros(2),
    )
    expected = np.zeros((len(RIDGES), 2))
    features = RING.window + 1 + 4
    for index, ridge in enumerate(RIDGES):
        for part, fold in zip(train.parts, validation.parts, strict=True):
            outer = network(None).solve(part, ridge).outer
            truth = fold.triangle[:, features:].reshape(-1, 2, RING.owned)
            left = fold.triangle[:, :features] @ outer - truth.transpose(1, 0, 2)
            expected[index] += np.square(left).sum(axis=(1, 2))
    np.testing.assert_allclose(choice.best.errors, expected / validation.rows, rtol=1e-9)
    best = np.asarray(RIDGES)[expected.argmin(axis=0)]
    np.testing.assert_array_equal(choice.best.ridge, best)
    again = solve(
        network(), FitRows([train]), size=RING.owned, width=4, ridge=best, balance=np.ones(2)
    )
    np.testing.assert_allclose(choice.best.network.outer, again.outer, rtol=1e-9, atol=1e-12)


def test_a_network_that_does_not_say_how_leads_combine_has_the_former_rule():
    own = network(None)
    options = network_options(own)
    assert options.pop("combine_leads") == "mean"
    assert rebuild_network(options, network_arrays(own)).combine_leads == "longest"


def test_a_network_of_groups_and_a_mask_comes_back_from_plain_values():
    mask = np.arange(RING.cells) % 5 == 0
    own = replace(network(), mask=mask, low=np.array(-20.0), high=np.array(20.0))
    own = replace(own, combine_leads="longest")
    again = rebuild_network(network_options(own), network_arrays(own))
    np.testing.assert_array_equal(again.groups, GROUPS)
    np.testing.assert_array_equal(again.mask, mask)
    np.testing.assert_array_equal(again.hidden.weights, own.hidden.weights)
    assert again.patches == RING
    assert (again.low, again.high, again.leads) == (-20, 20, (1, 2))
    assert again.combine_leads == "longest"
    alone = rebuild_network(network_options(network(None)), network_arrays(network(None)))
    assert alone.groups is None
    assert alone.mask is None
