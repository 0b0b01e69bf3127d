"""Test the paired bootstrap: intervals that are known, coverage, any metric, and faults."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats
from scipy.signal import lfilter

from gfrnn.pipeline.verification.statistics import paired_bootstrap as module
from gfrnn.pipeline.verification.statistics.circular_blocks import LEAST_STARTS, resampling_weights
from gfrnn.pipeline.verification.statistics.paired_bootstrap import (
    PairedDifference,
    paired_bootstrap,
)
from gfrnn.pipeline.verification.statistics.probability_scores import roc_area


def anomaly_correlation(product: np.ndarray, *squares: np.ndarray) -> np.ndarray:
    return product / np.sqrt(squares[0] * squares[1])


def mean(values: np.ndarray) -> np.ndarray:
    return values


def noise(starts: int, tests: int, memory: float = 0.0, seed: int = 0) -> np.ndarray:
    white = np.random.default_rng(seed).standard_normal((starts + 100, tests))
    return np.asarray(lfilter([1.0], [1.0, -memory], white, axis=0))[100:]


def test_the_interval_of_independent_errors_is_that_of_a_t_test():
    starts = 500
    ours, other = noise(starts, 4, seed=1), noise(starts, 4, seed=2) + 0.1
    found = paired_bootstrap([ours], [other], mean, length=1, samples=4000)
    expected = stats.ttest_rel(ours, other)
    low, high = expected.confidence_interval(0.95)
    np.testing.assert_allclose(found.low, low, atol=0.015)
    np.testing.assert_allclose(found.high, high, atol=0.015)
    np.testing.assert_allclose(found.p_value, expected.pvalue, atol=0.03)
    np.testing.assert_array_equal(found.difference, ours.mean(axis=0) - other.mean(axis=0))
    np.testing.assert_array_equal(found.significant, (found.low > 0) | (found.high < 0))


@pytest.mark.parametrize("memory", [0.0, 0.6])
def test_equal_skill_is_seldom_significant(memory):
    common = 5 * noise(400, 300, seed=5)  # errors that both systems share
    ours, other = (common + noise(400, 300, memory, seed) for seed in (6, 7))
    found = paired_bootstrap([ours], [other], mean, samples=400)
    # Blocks are shorter than the sample, so intervals are a little too narrow.
    assert 0.02 < found.significant.mean() < 0.11
    naive = paired_bootstrap([ours], [other], mean, samples=400, length=1)
    if memory:
        assert naive.significant.mean() > 0.2
        assert np.median(found.block_length) > 4
    lower = ours - 0.3 * (1 + memory)
    assert paired_bootstrap([lower], [other], mean, samples=400).significant.mean() > 0.8


def by_hand(first, second, metric, length, samples=1000, seed=0) -> np.ndarray:
    """Return the ends of the interval of series (starts,), resample by resample."""
    differences = []
    for weights in np.concatenate(list(resampling_weights(len(first[0]), length, samples, seed))):
        times = np.repeat(np.arange(len(weights)), weights.astype(int))
        ours, other = (
            metric(*(each[times].mean() for each in system)) for system in (first, second)
        )
        differences.append(ours - other)
    return np.quantile(differences, [0.025, 0.975])


def test_metrics_are_functions_of_means():
    truth, ours, other = (noise(120, 6, 0.5, seed).reshape(120, 2, 3) for seed in (1, 2, 3))
    ours = 0.7 * truth + 0.5 * ours
    rmse = [[(each - truth) ** 2] for each in (ours, other)]
    correlation = [[each * truth, each**2, truth**2] for each in (ours, other)]
    for systems, metric in ((rmse, np.sqrt), (correlation, anomaly_correlation)):
        found = paired_bootstrap(*systems, metric)
        assert found.difference.shape == (2, 3)
        one = [[each[:, 1, 2] for each in system] for system in systems]
        expected = by_hand(*one, metric, int(found.block_length[1, 2]))
        np.testing.assert_allclose([found.low[1, 2], found.high[1, 2]], expected, rtol=1e-10)
        direct = [metric(*(each.mean() for each in system)) for system in one]
        assert found.first[1, 2] == pytest.approx(direct[0], rel=1e-13)
        assert found.second[1, 2] == pytest.approx(direct[1], rel=1e-13)
        assert found.significant.all()
    relative = paired_bootstrap(*rmse, np.sqrt, relative=True)
    np.testing.assert_allclose(relative.difference, relative.first / relative.second - 1)
    assert (relative.low > -1).all()


def test_a_metric_may_take_tables():
    rng = np.random.default_rng(3)
    tables = rng.random((2, 60, 4, 2, 6))  # (starts, tests, event, members + 1)
    found = paired_bootstrap([tables[0]], [tables[1]], roc_area, length=2)
    assert found.difference.shape == (4,)
    one = [[each[:, 2]] for each in tables]
    expected = [roc_area(each[0].mean(axis=0)) for each in one]
    assert found.difference[2] == pytest.approx(expected[0] - expected[1], abs=1e-14)
    weights = np.concatenate(list(resampling_weights(60, 2, 1000, 0))) / 60
    areas = [roc_area(np.tensordot(weights, each[0], axes=1)) for each in one]
    np.testing.assert_allclose(
        [found.low[2], found.high[2]], np.quantile(areas[0] - areas[1], [0.025, 0.975]), atol=1e-13
    )


def test_the_influence_of_a_mean_is_its_departure():
    ours, other = noise(40, 2, seed=1), noise(40, 2, seed=2)
    pairs = module.MetricDifference.where(np.ones((40, 2), bool), [[ours], [other]], mean, False)
    difference = ours - other
    np.testing.assert_allclose(pairs.influence(), difference - difference.mean(axis=0), atol=1e-13)


def test_exchanging_systems_changes_signs():
    ours, other = noise(100, 5, 0.4, 1) ** 2, noise(100, 5, 0.4, 2) ** 2
    there, back = (paired_bootstrap([a], [b], np.sqrt) for a, b in ((ours, other), (other, ours)))
    np.testing.assert_allclose(there.low, -back.high, rtol=1e-12)
    np.testing.assert_allclose(there.p_value, back.p_value)
    np.testing.assert_array_equal(there.block_length, back.block_length)


def test_equal_systems_do_not_differ():
    ours = noise(80, 3)
    found = paired_bootstrap([ours], [ours.copy()], mean)
    np.testing.assert_array_equal(found.difference, 0.0)
    np.testing.assert_array_equal(found.p_value, 1.0)
    np.testing.assert_array_equal(found.block_length, 1)
    assert not found.significant.any()
    assert (found.reason == "").all()


def test_results_do_not_depend_on_the_company_or_on_the_cut(monkeypatch):
    ours, other = noise(100, 7, 0.5, 1) ** 2, noise(100, 7, 0.2, 2) ** 2
    whole = paired_bootstrap([ours], [other], np.sqrt)
    monkeypatch.setattr(module, "_MEANS_BYTES", 1)
    parts = paired_bootstrap([ours], [other], np.sqrt)
    for name in ("low", "high", "p_value", "block_length"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-12)
    again = paired_bootstrap([ours], [other], np.sqrt, seed=1)
    assert (again.low != whole.low).any()
    levels = [paired_bootstrap([ours], [other], np.sqrt, level=level) for level in (0.5, 0.9, 0.99)]
    for inner, outer in pairwise(levels):
        assert (outer.low < inner.low).all()
        assert (outer.high > inner.high).all()


def test_absent_pairs_are_left_out():
    ours, other = noise(120, 3, 0.5, 1), noise(120, 3, 0.5, 2)
    present = np.ones((120, 3), dtype=bool)
    present[90:, 1] = False
    present[5:, 2] = False
    ours[~present] = np.nan
    found = paired_bootstrap([ours], [other], mean, present=present)
    np.testing.assert_array_equal(found.starts, [120, 90, 5])
    expected = (ours - other)[:90, 1].mean()
    assert found.difference[1] == pytest.approx(expected, rel=1e-12)
    assert found.low[1] < expected < found.high[1]
    alone = paired_bootstrap([ours[:, :1]], [other[:, :1]], mean)
    assert found.low[0] == pytest.approx(alone.low[0], rel=1e-12)
    assert list(found.reason) == ["", "", f"fewer than {LEAST_STARTS} pairs"]
    assert np.isnan(found.low[2])
    assert not found.significant[2]


def reasons(found: PairedDifference) -> list[str]:
    assert np.isnan(found.low).tolist() == [reason != "" for reason in found.reason]
    assert np.isnan(found.p_value).tolist() == np.isnan(found.low).tolist()
    assert not found.significant[np.isnan(found.low)].any()
    return list(found.reason)


def test_why_there_is_no_interval():
    ours, other = noise(30, 2, seed=1), noise(30, 2, seed=2)
    assert reasons(paired_bootstrap([ours[:9]], [other[:9]], mean)) == ["fewer than 10 pairs"] * 2
    assert reasons(paired_bootstrap([ours], [other], mean, length=15)) == ["", ""]
    few = paired_bootstrap([ours], [other], mean, length=16)
    assert reasons(few) == ["fewer pairs than two blocks"] * 2
    assert np.isfinite(few.difference).all()
    ours[3, 1] = np.nan
    expected = ["", "the difference is not finite"]
    assert reasons(paired_bootstrap([ours], [other], mean)) == expected
    none = np.zeros_like(other)
    none[:, 0] = 1.0
    ours[3, 1] = 1.0
    assert reasons(paired_bootstrap([ours], [none], mean, relative=True)) == expected
    seldom = np.zeros((30, 1))
    seldom[4] = 1.0  # resamples without this start have the metric 0 / 0
    table = paired_bootstrap([seldom, seldom], [seldom, 2 * seldom], lambda a, b: a / b, length=1)
    assert reasons(table) == ["the difference of a resample is not finite"]
    infinite = paired_bootstrap([1 + seldom], [seldom], mean, length=1, relative=True)
    assert reasons(infinite) == ["the difference of a resample is not finite"]


def test_arguments_out_of_range_are_named():
    ours = noise(30, 2)
    for values, message in {
        "length": (0, "length: found 0"),
        "samples": (0, "samples: found 0"),
        "level": (1.0, "level: found 1.0"),
        "present": (np.ones(30, bool), r"present: found shape \(30,\), allowed: \(30, 2\)"),
    }.items():
        with pytest.raises(ValueError, match=message[1]):
            paired_bootstrap([ours], [ours], mean, **{values: message[0]})
    with pytest.raises(ValueError, match="first and second: found shapes"):
        paired_bootstrap([ours], [ours[:20]], mean)
    with pytest.raises(ValueError, match="not empty"):
        paired_bootstrap([ours[:0]], [ours[:0]], mean)
    with pytest.raises(ValueError, match="metric: found shape"):
        paired_bootstrap([ours], [ours], lambda values: values[:, :1])
