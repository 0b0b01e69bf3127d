"""Test the table of events and the scores that derive from it."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from gfrnn.pipeline.verification.statistics import area_means
from gfrnn.pipeline.verification.statistics.event_table import event_table
from gfrnn.pipeline.verification.statistics.probability_scores import (
    brier_decomposition,
    brier_score,
    fair_brier_score,
    reliability_diagram,
    roc_area,
    roc_curve,
)
from gfrnn_testing.ensembles import Case, make_case

LIMITS = np.array([-0.5, 0.0, 1.0])


def table(case: Case, limits: np.ndarray = LIMITS) -> np.ndarray:
    thresholds = np.broadcast_to(limits[:, None, None], (len(limits), 2, 1))
    return event_table(case.members, case.truth, thresholds, case.weights)


def skilful(starts: int = 6, members: int = 10) -> Case:
    case = make_case(starts, members)
    return Case(case.members + case.truth[:, None], case.truth, case.weights)


def test_the_table_is_that_of_a_loop():
    case = make_case(members=4, digits=0)
    expected = np.zeros((3, 2, 2, len(LIMITS), 2, 5))
    for start, channel, cell in np.ndindex(case.truth.shape):
        for place, limit in enumerate(LIMITS):
            number = int((case.members[start, :, channel, cell] >= limit).sum())
            event = int(case.truth[start, channel, cell] >= limit)
            expected[start, :, channel, place, event, number] += case.weights[:, channel, cell]
    np.testing.assert_allclose(table(case), expected, atol=1e-15)


@pytest.mark.parametrize("members", [2, 7])
def test_brier_scores_are_those_of_the_library(members):
    case = make_case(members=members)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from scores.probability import brier_score_for_ensemble
    for fair, score in ((False, brier_score), (True, fair_brier_score)):
        found = score(table(case))
        cells = brier_score_for_ensemble(
            *case.arrays(), "number", list(LIMITS), preserve_dims="all", fair_correction=fair
        )
        for place, limit in enumerate(LIMITS):
            own = cells.sel(threshold=limit).transpose("time", "channel", "cell")
            np.testing.assert_allclose(found[..., place], case.area_mean(own), atol=1e-13)


def test_the_roc_is_that_of_the_library():
    case = skilful()
    mean = table(case)[:, 0, 0, 1].mean(axis=0)
    probability = (case.members[:, :, 0] >= LIMITS[1]).mean(axis=1)
    event = (case.truth[:, 0] >= LIMITS[1]).astype(float)
    dims = ("time", "cell")
    area = xr.DataArray(np.broadcast_to(case.weights[0, 0], event.shape).copy(), dims=dims)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from scores.probability import roc_curve_data
    levels = np.concatenate([[0.0], (np.arange(10) + 0.5) / 10, [1.1]])
    theirs = roc_curve_data(
        xr.DataArray(probability, dims=dims),
        xr.DataArray(event, dims=dims),
        levels,
        weights=area,
        check_args=False,
    )
    false_alarms, hits = roc_curve(mean)
    # Some versions of the library add a threshold that no forecast reaches.
    points = theirs.sel(threshold=levels[::-1])
    np.testing.assert_allclose(hits, points["POD"], atol=1e-12)
    np.testing.assert_allclose(false_alarms, points["POFD"], atol=1e-12)
    assert roc_area(mean) == pytest.approx(float(theirs["AUC"]), abs=1e-12)


def test_the_area_is_the_chance_that_an_event_has_more_members():
    case = skilful()
    mean = table(case).mean(axis=0)
    found = roc_area(mean)
    for place in np.ndindex(found.shape):
        no, yes = mean[place]
        more = sum(yes[k] * (no[:k].sum() + 0.5 * no[k]) for k in range(len(no)))
        assert found[place] == pytest.approx(more / yes.sum() / no.sum(), abs=1e-12)


@given(st.integers(0, 10_000), st.integers(1, 6))
def test_the_decomposition_adds_up(seed, members):
    mean = table(make_case(starts=2, members=members, seed=seed)).mean(axis=0)
    np.testing.assert_allclose(mean.sum(axis=(-1, -2)), 1.0, rtol=1e-12)
    reliability, resolution, uncertainty = brier_decomposition(mean)
    np.testing.assert_allclose(
        reliability - resolution + uncertainty, brier_score(mean), atol=1e-13
    )
    assert (reliability >= 0).all()
    assert (resolution <= uncertainty + 1e-13).all()


def test_reliable_forecasts_lie_on_the_diagonal():
    number = 10
    share = np.random.default_rng(2).random(number + 1)
    share /= share.sum()
    probability = np.arange(number + 1) / number
    mean = np.stack([share * (1 - probability), share * probability])
    assert brier_decomposition(mean).reliability == pytest.approx(0.0, abs=1e-15)
    for bins in (None, 5, 1):
        diagram = reliability_diagram(mean, bins)
        np.testing.assert_allclose(diagram.probability, diagram.frequency, atol=1e-14)
        assert diagram.share.sum() == pytest.approx(1.0)
        assert len(diagram.share) == (bins or number + 1)


def test_bins_of_the_reliability_diagram():
    mean = np.arange(1.0, 13.0).reshape(2, 6)
    mean /= mean.sum()
    found = reliability_diagram(mean, 2)
    total = mean.sum(axis=0)
    # Members 0 to 2 of 5 lie below one half, 3 to 5 above it.
    np.testing.assert_allclose(found.share, [total[:3].sum(), total[3:].sum()])
    np.testing.assert_allclose(
        found.frequency, [mean[1, :3].sum() / total[:3].sum(), mean[1, 3:].sum() / total[3:].sum()]
    )
    empty = reliability_diagram(mean, 12)
    assert np.isnan(empty.probability).sum() == 6
    with pytest.raises(ValueError, match="bins: found 0"):
        reliability_diagram(mean, 0)


def test_perfect_and_constant_forecasts():
    case = make_case()
    exact = table(Case(np.repeat(case.truth[:, None], 3, axis=1), case.truth, case.weights))
    mean = exact.mean(axis=0)
    np.testing.assert_allclose(brier_score(mean), 0.0, atol=1e-15)
    np.testing.assert_allclose(roc_area(mean), 1.0)
    same = table(Case(np.zeros_like(case.members), case.truth, case.weights)).mean(axis=0)
    np.testing.assert_allclose(roc_area(same)[0], 0.5)
    assert np.isnan(roc_area(table(case, np.array([100.0])).mean(axis=0))).all()
    assert np.isnan(fair_brier_score(table(make_case(members=1)))).all()


def test_thresholds_of_cells_and_of_starts():
    case = make_case()
    cells = np.random.default_rng(5).standard_normal((2, *case.truth.shape))
    found = event_table(case.members, case.truth, cells, case.weights)
    zero = np.zeros((1, 2, 1))
    for place in range(2):
        moved = Case(case.members - cells[place][:, None], case.truth - cells[place], case.weights)
        expected = event_table(moved.members, moved.truth, zero, case.weights)
        np.testing.assert_allclose(found[..., place, :, :], expected[..., 0, :, :], atol=1e-15)
    fixed = event_table(case.members, case.truth, cells[:, 0], case.weights)
    same = np.repeat(cells[:, :1], 3, axis=1)
    np.testing.assert_array_equal(fixed, event_table(case.members, case.truth, same, case.weights))
    with pytest.raises(ValueError, match=r"thresholds: found shape .*allowed"):
        event_table(case.members, case.truth, cells[..., :5], case.weights)


def test_blocks_do_not_change_results(monkeypatch):
    case = make_case()
    whole = table(case)
    monkeypatch.setattr(area_means, "_LEAST_CELLS", 5)
    monkeypatch.setattr(area_means, "_BLOCK_BYTES", 1)
    np.testing.assert_allclose(table(case), whole, atol=1e-15)


@pytest.mark.parametrize("side", ["members", "truth"])
def test_nan_spoils_its_own_pair_only(side):
    case = make_case()
    clean = table(case)
    array = getattr(case, side)
    array[(1, 2, 0, 40) if side == "members" else (1, 0, 40)] = np.nan
    found = table(case)
    assert np.isnan(found[1, :, 0]).all()
    found[1, :, 0] = clean[1, :, 0]
    np.testing.assert_array_equal(found, clean)
