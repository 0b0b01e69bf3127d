"""Test the energy score: in one dimension it is the CRPS, in more the plain double sum."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfrnn.pipeline.verification.statistics import area_means
from gfrnn.pipeline.verification.statistics.energy_score import ENERGY_SCORES, energy_scores
from gfrnn.pipeline.verification.statistics.ensemble_statistics import ensemble_statistics
from gfrnn_testing.ensembles import Case, make_case


def scores_of(case: Case) -> dict[str, np.ndarray]:
    return energy_scores(case.members, case.truth, case.weights)


def plain(case: Case, fair: bool) -> np.ndarray:
    """Return the energy score by loops over members."""
    x, y, number = case.members, case.truth, case.members.shape[1]

    def norm(values: np.ndarray) -> np.ndarray:
        return np.sqrt(case.area_mean(values**2))

    errors = sum(norm(x[:, i] - y) for i in range(number)) / number
    pairs = sum(norm(x[:, i] - x[:, j]) for i in range(number) for j in range(number))
    return errors - pairs / (2 * number * (number - 1 if fair else number))


@pytest.mark.parametrize("members", [2, 7])
@pytest.mark.parametrize("mean", [0.0, 1e4])
def test_scores_are_the_double_sum(members, mean):
    case = make_case(members=members, mean=mean)
    found = scores_of(case)
    assert tuple(found) == ENERGY_SCORES
    for name, fair in zip(ENERGY_SCORES, (False, True), strict=True):
        np.testing.assert_allclose(found[name], plain(case, fair), rtol=1e-11)


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=8), st.floats(-50, 50))
def test_one_cell_has_the_crps(members, truth):
    ensemble = np.asarray(members)[None, :, None, None]
    real, weights = np.full((1, 1, 1), truth), np.ones((1, 1, 1))
    found = energy_scores(ensemble, real, weights)
    expected = ensemble_statistics(ensemble, real, weights)
    assert found["energy_score"].item() == pytest.approx(expected["crps"].item(), abs=2e-6)
    assert found["fair_energy_score"].item() == pytest.approx(
        expected["fair_crps"].item(), abs=2e-6
    )


@given(st.permutations(range(5)), st.sampled_from([0.0, 1e3, -1e6]))
def test_order_and_shift_have_no_effect(order, shift):
    case = make_case(starts=1)
    moved = Case(case.members[:, order] + shift, case.truth + shift, case.weights)
    for name, expected in scores_of(case).items():
        np.testing.assert_allclose(scores_of(moved)[name], expected, rtol=1e-8)


def test_special_ensembles():
    case = make_case(members=1)
    found = scores_of(case)
    error = np.sqrt(case.area_mean((case.members[:, 0] - case.truth) ** 2))
    np.testing.assert_allclose(found["energy_score"], error, rtol=1e-14)
    assert np.isnan(found["fair_energy_score"]).all()
    same = scores_of(Case(np.repeat(case.members, 6, axis=1), case.truth, case.weights))
    for values in same.values():  # no spread
        np.testing.assert_allclose(values, error, rtol=1e-13)


def test_the_truth_among_equal_members_scores_zero():
    case = make_case()
    exact = Case(np.repeat(case.truth[:, None], 4, axis=1), case.truth, case.weights)
    for values in scores_of(exact).values():
        np.testing.assert_array_equal(values, 0.0)


def test_blocks_do_not_change_results(monkeypatch):
    case = make_case()
    whole = scores_of(case)
    monkeypatch.setattr(area_means, "_LEAST_CELLS", 5)
    monkeypatch.setattr(area_means, "_BLOCK_BYTES", 1)
    for name, values in scores_of(case).items():
        np.testing.assert_allclose(values, whole[name], rtol=1e-12)


@pytest.mark.parametrize("side", ["members", "truth"])
def test_nan_spoils_its_own_pair_only(side):
    case = make_case()
    clean = scores_of(case)
    array = getattr(case, side)
    array[(1, 2, 0, 40) if side == "members" else (1, 0, 40)] = np.nan
    spoilt = np.zeros((3, 2, 2), dtype=bool)
    spoilt[1, :, 0] = True
    for name, values in scores_of(case).items():
        np.testing.assert_array_equal(values[~spoilt], clean[name][~spoilt])
        assert np.isnan(values[spoilt]).all()


@pytest.mark.parametrize("side", ["members", "truth"])
def test_nan_outside_of_a_region_spoils_it_too(side):
    case = make_case()
    case.weights[1, :, 30:] = 0.0
    case.weights[1] /= case.weights[1].sum(axis=-1, keepdims=True)
    getattr(case, side)[1, ..., 0, 40] = np.nan
    for values in scores_of(case).values():
        assert np.isnan(values[1, :, 0]).all()
        assert np.isnan(values).sum() == 2
