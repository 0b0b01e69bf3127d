"""Test the rank histogram: flat for exchangeable members, ties, and the library scores."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from gfrnn.pipeline.verification.statistics import area_means
from gfrnn.pipeline.verification.statistics.rank_histogram import rank_histogram
from gfrnn_testing.ensembles import Case, make_case


def histogram(case: Case) -> np.ndarray:
    return rank_histogram(case.members, case.truth, case.weights)


@pytest.mark.parametrize("number", [1, 4, 20])
def test_exchangeable_members_have_a_flat_histogram(number):
    rng = np.random.default_rng(1)
    cells = 40_000
    values = rng.standard_normal((1, number + 1, 1, cells))
    found = rank_histogram(values[:, 1:], values[:, 0], np.full((1, 1, cells), 1 / cells))[0, 0, 0]
    expected = 1 / (number + 1)
    assert len(found) == number + 1
    bound = 4.5 * np.sqrt(expected * (1 - expected) / cells)  # 4.5 standard deviations
    np.testing.assert_allclose(found, expected, atol=bound)


def test_exchangeable_values_that_are_often_0_have_a_flat_histogram():
    """Ties are shared evenly where most members and truths are at a bound of the variable."""
    rng = np.random.default_rng(2)
    number, cells = 10, 40_000
    values = np.maximum(rng.standard_normal((1, number + 1, 1, cells)) - 0.3, 0.0)
    found = rank_histogram(values[:, 1:], values[:, 0], np.full((1, 1, cells), 1 / cells))[0, 0, 0]
    expected = 1 / (number + 1)
    bound = 4.5 * np.sqrt(expected * (1 - expected) / cells)
    np.testing.assert_allclose(found, expected, atol=bound)


@pytest.mark.parametrize(("spread", "outer"), [(0.3, True), (3.0, False)])
def test_too_little_spread_fills_the_outer_bins(spread, outer):
    case = make_case(members=9, starts=20)
    found = histogram(Case(spread * case.members, case.truth, case.weights))[:, 0, 0].mean(axis=0)
    assert (found[0] + found[-1] > 0.4) == outer


@pytest.mark.parametrize("digits", [None, 0], ids=["continuous", "ties"])
@pytest.mark.parametrize("members", [1, 5])
def test_histogram_is_that_of_the_library(digits, members):
    case = make_case(members=members, digits=digits)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import scores.probability
    theirs = getattr(scores.probability, "rank_histogram", None)
    if theirs is None:
        pytest.skip("this version of scores has no rank histogram")
    found = histogram(case)
    for region, weights in enumerate(case.weights):
        for channel, own in enumerate(weights):
            kept = own > 0  # some versions of the library refuse weights of 0
            forecast, truth = (each.isel(channel=channel, cell=kept) for each in case.arrays())
            even = xr.DataArray(own[kept] * kept.sum(), dims="cell")
            expected = theirs(forecast, truth, "number", preserve_dims="time", weights=even)
            np.testing.assert_allclose(
                found[:, region, channel], expected.transpose("time", ...), atol=1e-13
            )


@pytest.mark.parametrize("digits", [None, 0], ids=["continuous", "ties"])
def test_histogram_is_that_of_a_loop(digits):
    case = make_case(digits=digits)
    expected = np.zeros((3, 2, 2, 6))
    for start, channel, cell in np.ndindex(case.truth.shape):
        members, truth = case.members[start, :, channel, cell], case.truth[start, channel, cell]
        first, last = (members < truth).sum(), (members <= truth).sum()
        share = case.weights[:, channel, cell] / (last + 1 - first)
        expected[start, :, channel, first : last + 1] += share[:, None]
    np.testing.assert_allclose(histogram(case), expected, atol=1e-14)


@given(st.integers(0, 1000), st.sampled_from([None, 0, 1]), st.permutations(range(5)))
def test_bins_sum_to_one_and_order_has_no_effect(seed, digits, order):
    case = make_case(starts=1, seed=seed, digits=digits)
    found = histogram(case)
    np.testing.assert_allclose(found.sum(axis=-1), 1.0, rtol=1e-12)
    assert (found >= 0).all()
    moved = histogram(Case(case.members[:, order], case.truth, case.weights))
    np.testing.assert_array_equal(found, moved)
    reflected = histogram(Case(-case.members, -case.truth, case.weights))
    np.testing.assert_allclose(found, reflected[..., ::-1], atol=1e-14)


def test_no_spread():
    weights = np.full((1, 1, 4), 0.25)
    members = np.zeros((1, 3, 1, 4))
    truth = np.array([[[-1.0, 2.0, 0.0, 5.0]]])
    found = rank_histogram(members, truth, weights)[0, 0, 0]
    np.testing.assert_allclose(found, [0.25 + 1 / 16, 1 / 16, 1 / 16, 0.5 + 1 / 16])


@pytest.mark.parametrize("digits", [None, 0], ids=["continuous", "ties"])
def test_blocks_do_not_change_results(monkeypatch, digits):
    case = make_case(digits=digits)
    whole = histogram(case)
    monkeypatch.setattr(area_means, "_LEAST_CELLS", 5)
    monkeypatch.setattr(area_means, "_BLOCK_BYTES", 1)
    np.testing.assert_allclose(histogram(case), whole, atol=1e-14)


@pytest.mark.parametrize("side", ["members", "truth"])
def test_nan_spoils_its_own_pair_only(side):
    case = make_case()
    clean = histogram(case)
    array = getattr(case, side)
    array[(1, 2, 0, 40) if side == "members" else (1, 0, 40)] = np.nan
    found = histogram(case)
    assert np.isnan(found[1, :, 0]).all()
    found[1, :, 0] = clean[1, :, 0]
    np.testing.assert_array_equal(found, clean)
