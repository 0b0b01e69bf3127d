"""Rollouts that a limit holds: by how much, how often, and what stays the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gfrnn_core import HiddenWeights, SampledRNN, UnstableRollout


def growing(*rates: float, limit: object = None, leads: tuple[int, ...] = (1,)) -> SampledRNN:
    """Return the linear map that multiplies each coordinate with a rate in a step."""
    outer = np.stack([np.diag(np.power(rates, lead)) for lead in leads])
    outer = np.concatenate([outer, np.zeros((len(leads), 1, len(rates)))], axis=1)
    empty = HiddenWeights(np.zeros((len(rates), 0)), np.zeros(0), "tanh")
    return SampledRNN(
        width=0,
        leads=leads,
        target="state",
        standardise=False,
        hidden=empty,
        outer=outer,
        limit=None if limit is None else np.asarray(limit, dtype=float),
    )


def test_a_map_that_runs_away_is_held_at_the_limit():
    network = growing(2.0, 0.5, limit=[8.0, 8.0])
    steps = list(network.walk(np.array([[[1.0, 1.0]], [[-1.0, 0.0]]]), 6))
    states = np.stack([state for state, _ in steps], axis=1)
    np.testing.assert_allclose(states[0, :, 0], [2, 4, 8, 8, 8, 8])
    np.testing.assert_allclose(states[1, :, 0], [-2, -4, -8, -8, -8, -8])
    np.testing.assert_allclose(states[0, :, 1], 0.5 ** np.arange(1, 7))
    shares = np.stack([limited for _, limited in steps], axis=1)
    np.testing.assert_array_equal(shares, [[0, 0, 0, 0.5, 0.5, 0.5]] * 2)


def test_no_rollout_with_a_limit_diverges():
    start = np.array([[[1.0]]])
    held = growing(-1e30, limit=5.0).rollout(start, 50)
    np.testing.assert_array_equal(np.abs(held), 5.0)
    with pytest.warns(UnstableRollout):
        free = growing(-1e30).rollout(start, 50)
    assert np.isnan(free[0, -1, 0])


def test_a_limit_that_is_not_reached_changes_no_bit():
    rng = np.random.default_rng(0)
    series = rng.standard_normal((200, 3))
    network = SampledRNN(width=20, delays=2, standardise=False, ridge=1e-2).fit(series)
    history = series[None, 10:12]
    free = network.rollout(history, 5)
    bounded = replace(network, limit=np.array(1.01 * np.abs(free).max())).rollout(history, 5)
    np.testing.assert_array_equal(bounded, free)


def test_longer_leads_start_from_limited_states():
    network = growing(2.0, limit=3.0, leads=(1, 2))
    (path,) = network.rollout(np.array([[[1.0]]]), 4)
    np.testing.assert_array_equal(path[:, 0], [2.0, 3.0, 3.0, 3.0])


@pytest.mark.parametrize("limit", [0.0, -1.0, np.nan])
def test_limits_that_are_not_positive_are_refused(limit):
    with pytest.raises(ValueError, match="limit: needs positive values"):
        growing(0.5, limit=limit)
