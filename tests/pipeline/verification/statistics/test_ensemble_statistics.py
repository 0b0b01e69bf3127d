"""Test the CRPS and the spread of ensembles: closed forms, the library scores, properties."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gfrnn.pipeline.verification.statistics import area_means
from gfrnn.pipeline.verification.statistics.ensemble_statistics import (
    ENSEMBLE_STATISTICS,
    ensemble_statistics,
    spread_skill_ratio,
)
from gfrnn_testing.ensembles import Case, make_case


def statistics(case: Case) -> dict[str, np.ndarray]:
    return ensemble_statistics(case.members, case.truth, case.weights)


def single(members: np.ndarray, truth: float) -> dict[str, float]:
    """Return the statistics of one cell."""
    found = ensemble_statistics(
        np.asarray(members, float)[None, :, None, None],
        np.full((1, 1, 1), truth),
        np.ones((1, 1, 1)),
    )
    return {name: float(value[0, 0, 0]) for name, value in found.items()}


@pytest.mark.parametrize("truth", [-3.0, 0.0, 0.7, 10.0])
def test_crps_of_normal_quantiles_tends_to_the_closed_form(truth):
    number, mean, spread = 4000, 0.5, 2.0
    members = mean + spread * stats.norm.ppf((np.arange(number) + 0.5) / number)
    z = (truth - mean) / spread
    # Gneiting et al. 2005, Mon. Wea. Rev. 133, 1098-1118, equation 5.
    expected = spread * (
        z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi)
    )
    assert single(members, truth)["crps"] == pytest.approx(expected, abs=2e-3)


def test_the_fair_crps_does_not_depend_on_the_number_of_members():
    rng = np.random.default_rng(3)
    expected = 1 / np.sqrt(np.pi)  # of normal members and truth that are exchangeable
    for number in (2, 3, 20):
        values = rng.standard_normal((1, number + 1, 1, 60_000))
        weights = np.full((1, 1, 60_000), 1 / 60_000)
        found = ensemble_statistics(values[:, 1:], values[:, 0], weights)
        assert found["fair_crps"].item() == pytest.approx(expected, abs=0.01)
        # The plain CRPS is too large by the factor 1 + 1 / M.
        assert found["crps"].item() == pytest.approx(expected * (1 + 1 / number), abs=0.01)
        ratio = spread_skill_ratio(
            found["ensemble_variance"], found["squared_error_of_mean"], number
        )
        assert ratio.item() == pytest.approx(1.0, abs=0.015)


@pytest.mark.parametrize("members", [2, 5, 12])
@pytest.mark.parametrize("digits", [None, 0], ids=["continuous", "ties"])
def test_crps_is_that_of_the_library(members, digits):
    case = make_case(members=members, digits=digits)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from scores.probability import crps_for_ensemble
    found = statistics(case)
    assert tuple(found) == ENSEMBLE_STATISTICS
    for name, method in {"crps": "ecdf", "fair_crps": "fair"}.items():
        cells = crps_for_ensemble(*case.arrays(), "number", method=method, preserve_dims="all")
        expected = case.area_mean(cells.transpose("time", "channel", "cell"))
        np.testing.assert_allclose(found[name], expected, rtol=1e-12, atol=1e-14)


def test_variance_and_error_of_the_mean_are_those_of_numpy():
    case = make_case(mean=7.0)
    found = statistics(case)
    variance = case.area_mean(case.members.var(axis=1, ddof=1))
    np.testing.assert_allclose(found["ensemble_variance"], variance, rtol=1e-12)
    error = case.area_mean((case.members.mean(axis=1) - case.truth) ** 2)
    np.testing.assert_allclose(found["squared_error_of_mean"], error, rtol=1e-12)


values = st.floats(-100, 100, allow_subnormal=False)


@given(st.lists(values, min_size=1, max_size=9), values)
def test_crps_is_the_integral_over_thresholds(members, truth):
    edges = np.sort([*members, truth])
    middle = (edges[1:] + edges[:-1]) / 2
    below = (np.asarray(members)[:, None] <= middle).mean(axis=0)
    expected = np.sum((below - (middle >= truth)) ** 2 * np.diff(edges))
    assert single(members, truth)["crps"] == pytest.approx(expected, abs=1e-11)


@given(st.permutations(range(5)), values, st.sampled_from([1.0, 1e5, -1e7]))
def test_order_and_shift_have_no_effect(order, slope, shift):
    case = make_case(starts=1)
    found = statistics(case)
    moved = Case(case.members[:, order] + shift, case.truth + shift, case.weights)
    for name, expected in found.items():
        tolerance = 1e-14 * (1 + abs(shift))
        np.testing.assert_allclose(statistics(moved)[name], expected, atol=10 * tolerance)
    scaled = statistics(Case(slope * case.members, slope * case.truth, case.weights))
    np.testing.assert_allclose(scaled["crps"], abs(slope) * found["crps"], atol=1e-12)


@given(st.lists(values, min_size=1, max_size=9), values, st.integers(1, 3))
def test_copies_of_all_members_do_not_change_the_crps(members, truth, copies):
    once, often = single(members, truth), single(members * copies, truth)
    assert often["crps"] == pytest.approx(once["crps"], abs=1e-11)


def test_one_member_has_its_absolute_error_and_no_spread():
    case = make_case(members=1)
    found = statistics(case)
    expected = case.area_mean(np.abs(case.members[:, 0] - case.truth))
    np.testing.assert_allclose(found["crps"], expected, rtol=1e-14)
    assert np.isnan(found["fair_crps"]).all()
    assert np.isnan(found["ensemble_variance"]).all()
    assert np.isfinite(found["squared_error_of_mean"]).all()


def test_no_spread():
    found = single([2.0] * 7, 5.0)
    assert found["crps"] == pytest.approx(3.0, rel=1e-15)
    assert found["fair_crps"] == pytest.approx(3.0, rel=1e-15)
    assert found["ensemble_variance"] == pytest.approx(0.0, abs=1e-30)
    assert spread_skill_ratio(np.array(0.0), np.array(9.0), 7) == 0
    assert np.isnan(spread_skill_ratio(np.array(0.0), np.array(0.0), 7))
    assert np.isinf(spread_skill_ratio(np.array(1.0), np.array(0.0), 7))


def test_blocks_and_precision_of_storage(monkeypatch):
    case = make_case()
    stored = Case(case.members.astype(np.float32), case.truth.astype(np.float32), case.weights)
    wide = Case(stored.members.astype(float), stored.truth.astype(float), case.weights)
    expected, single_precision = statistics(wide), statistics(stored)
    monkeypatch.setattr(area_means, "_LEAST_CELLS", 7)
    monkeypatch.setattr(area_means, "_BLOCK_BYTES", 1)
    parts = statistics(wide)
    for name in ENSEMBLE_STATISTICS:
        np.testing.assert_allclose(parts[name], expected[name], rtol=1e-13)
        np.testing.assert_allclose(single_precision[name], expected[name], rtol=1e-13)


@pytest.mark.parametrize("side", ["members", "truth"])
def test_nan_spoils_its_own_pair_only(side):
    case = make_case()
    clean = statistics(case)
    array = getattr(case, side)
    array[(1, 2, 0, 40) if side == "members" else (1, 0, 40)] = np.nan
    spoilt = np.zeros((3, 2, 2), dtype=bool)
    spoilt[1, :, 0] = True
    for name, values in statistics(case).items():
        np.testing.assert_array_equal(values[~spoilt], clean[name][~spoilt])
        # The variance of the members does not need the truth, but a pair counts as a whole.
        assert np.isnan(values[spoilt]).all()


@pytest.mark.parametrize("members", [1, 5])
def test_inputs_are_not_changed(members):
    case = make_case(members=members, starts=1)
    before = case.members.copy()
    statistics(case)
    np.testing.assert_array_equal(case.members, before)
