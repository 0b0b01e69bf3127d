"""Shares of candidates, the pool, last states and lagged covariances."""

from __future__ import annotations

import numpy as np
import pytest

from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.training.selection.ridge import candidate_shares
from gfrnn.pipeline.training.state_series import draw_pool, lagged_covariance, last_states

ERRORS = np.array([[0.5, 0.2, 0.9], [0.3, 0.4, 0.9], [0.4, 0.1, 0.1]])


def test_the_best_of_each_lead_takes_it_all():
    np.testing.assert_array_equal(candidate_shares(ERRORS, 1), [[0, 0, 0], [1, 0, 0], [0, 1, 1]])


def test_averaged_candidates_have_equal_shares():
    half = 0.5
    np.testing.assert_array_equal(
        candidate_shares(ERRORS, 2), [[0, half, half], [half, 0, 0], [half, half, half]]
    )
    np.testing.assert_allclose(candidate_shares(ERRORS, 3), np.full((3, 3), 1 / 3))


# --- the pool -----------------------------------------------------------------------------------


def series(times: int = 40, modes: int = 2) -> np.ndarray:
    return np.arange(times)[:, None] + 0.1 * np.arange(modes)


def test_a_small_period_is_taken_whole():
    states = series()
    pool, following = draw_pool(states, [Stretch("a", 3, 6), Stretch("b", 20, 22)], 3, 100, 0)
    present = [3, 4, 5, 20, 21]
    np.testing.assert_array_equal(following, states[[4, 5, 6, 21, 22]])
    expected = [np.concatenate([states[t], states[t - 1], states[t - 2]]) for t in present]
    np.testing.assert_array_equal(pool, expected)


def test_a_pool_is_drawn_without_repetition_from_the_period_only():
    states = series()
    train = [Stretch("a", 3, 12), Stretch("b", 20, 31)]
    pool, following = draw_pool(states, train, 2, 8, seed=4)
    assert pool.shape == (8, 4)
    present = pool[:, 0].astype(int)
    assert len(set(present)) == 8
    assert set(present) <= {*range(3, 12), *range(20, 31)}
    np.testing.assert_array_equal(pool, np.hstack([states[present], states[present - 1]]))
    np.testing.assert_array_equal(following, states[present + 1])
    again, _ = draw_pool(states, train, 2, 8, seed=4)
    other, _ = draw_pool(states, train, 2, 8, seed=5)
    np.testing.assert_array_equal(again, pool)
    assert not np.array_equal(other, pool)


# --- the last states ----------------------------------------------------------------------------


DAYS = np.arange("2001-01-01", "2001-02-10", dtype="datetime64[D]").astype("datetime64[ns]")


def test_the_last_states_end_with_the_time_asked_for():
    np.testing.assert_array_equal(last_states(series(), DAYS, 30, 4), series()[27:31])


@pytest.mark.parametrize("count", [5, 50])
def test_the_last_states_never_cross_a_gap(count):
    gappy = DAYS.copy()
    gappy[29:] += np.timedelta64(3, "D")
    np.testing.assert_array_equal(last_states(series(), gappy, 30, count), series()[29:31])
    np.testing.assert_array_equal(last_states(series(), gappy, 28, 3), series()[26:29])


def test_the_last_states_begin_after_a_missing_one():
    states = series()
    states[26] = states[28] = np.nan
    np.testing.assert_array_equal(last_states(states, DAYS, 30, 4), series()[29:31])


# --- lagged covariance --------------------------------------------------------------------------


def by_hand(states: np.ndarray, runs: list[range], lag: int) -> np.ndarray:
    """Compute it from the pairs of training times of one run that are ``lag`` apart."""
    pairs = [(t, t + lag) for run in runs for t in run if t + lag in run]
    total = np.zeros((states.shape[1], states.shape[1]))
    for earlier, later in pairs:
        total += np.outer(states[earlier], states[later])
    return total / max(1, len(pairs))


def test_lagged_covariances_of_one_run_cut_into_leaves():
    states = np.random.default_rng(0).standard_normal((60, 3))
    train = [Stretch("a", 5, 20), Stretch("a", 20, 33), Stretch("b", 33, 50)]
    found = lagged_covariance(states, train, 50)
    assert found.shape == (51, 3, 3)
    for lag in range(51):
        np.testing.assert_allclose(found[lag], by_hand(states, [range(5, 50)], lag), atol=1e-12)
    assert not found[45:].any()  # lags that the period does not hold


def test_lagged_covariances_leave_out_missing_states():
    states = np.random.default_rng(1).standard_normal((30, 2))
    states[25:] = np.nan
    found = lagged_covariance(states, [Stretch("a", 2, 25)], 4)
    for lag in range(5):
        np.testing.assert_allclose(found[lag], by_hand(states, [range(2, 25)], lag), atol=1e-12)


def test_lagged_covariances_never_cross_a_gap():
    states = np.random.default_rng(2).standard_normal((60, 2))
    train = [Stretch("a", 2, 20), Stretch("a", 24, 50)]
    found = lagged_covariance(states, train, 8)
    for lag in range(9):
        expected = by_hand(states, [range(2, 20), range(24, 50)], lag)
        np.testing.assert_allclose(found[lag], expected, atol=1e-12)


@pytest.mark.parametrize("horizon", [0, 3])
def test_a_horizon_beyond_the_series(horizon):
    states = np.ones((3, 1))
    found = lagged_covariance(states, [Stretch("a", 0, 2)], horizon)
    np.testing.assert_array_equal(found[:, 0, 0], [1, 1, 0, 0][: horizon + 1])
