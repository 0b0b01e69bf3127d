"""Sums of rollouts: the optimum of a known process, cuts into leaves, gaps and divergence."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest

from gfrnn.pipeline.config.durations import Duration
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.states.forcing import Forcing
from gfrnn.pipeline.training.calibration.calibration_pass import (
    Calibration,
    calibration_starts,
    cut_starts,
    starts_of_leaf,
)
from gfrnn.pipeline.training.calibration.network_rollouts import NetworkRollouts
from gfrnn.pipeline.training.calibration.rollout_summary import RolloutSummary
from gfrnn_core import HiddenWeights, SampledRNN
from gfrnn_testing.spheres import grid_of, layout_of_anomalies

SIZE, LEADS = 6, 5
LAYOUT = layout_of_anomalies(
    grid_of([0, 10, 20], [0], ["2m_temperature", "10m_u_component_of_wind"])
)


@dataclass(frozen=True)
class SeriesStates:
    """States in memory."""

    values: np.ndarray

    @property
    def size(self) -> int:
        return self.values.shape[1]

    def read(self, start: int, stop: int) -> np.ndarray:
        assert 0 <= start < stop <= len(self.values)
        return self.values[start:stop]

    def read_bytes(self, times: int) -> int:
        return 8 * times * self.size


def scaling_network(*factors: float) -> SampledRNN:
    """Return a network that multiplies each value of a state with a factor in a step."""
    outer = np.concatenate([np.diag(factors), np.zeros((1, SIZE))])[None]
    empty = HiddenWeights(np.zeros((SIZE, 0)), np.zeros(0), "tanh")
    return SampledRNN(
        width=0, target="state", standardise=False, hidden=empty, outer=outer, inputs=0
    )


def summary(
    states: np.ndarray, forecast: SampledRNN, linear: SampledRNN, starts: np.ndarray, end: int
) -> RolloutSummary:
    rollouts = NetworkRollouts(
        LAYOUT, (forecast,), np.ones((1, 1)), linear, Duration.parse("1d"),
        Forcing.calendar(()),
    )  # fmt: skip
    time = pd.date_range("2001-01-01", periods=len(states), freq="D").to_numpy()
    return RolloutSummary(
        rollouts, SeriesStates(states), time, starts, np.full(len(starts), end), LEADS, block=2
    )


def autoregression(times: int, factor: float, seed: int = 0) -> np.ndarray:
    """Return states of variance 1 that are correlated with the next by a factor."""
    rng = np.random.default_rng(seed)
    states = rng.standard_normal((times, SIZE))
    for time in range(1, times):
        states[time] = factor * states[time - 1] + np.sqrt(1 - factor**2) * states[time]
    return states


def test_the_damping_of_a_rollout_without_decay_is_the_autocorrelation():
    states = autoregression(20000, 0.8)
    starts = np.arange(0, 19000)
    own = summary(
        states, scaling_network(*[1.0] * SIZE), scaling_network(*[0.8] * SIZE), starts, 20000
    )
    found = Calibration.of_sums(own.finish(own.leaf(Stretch("a", 0, len(starts)))), (), LEADS)
    wanted = 0.8 ** np.arange(1, LEADS + 1)[:, None]
    np.testing.assert_allclose(found.factors["forecast"], wanted * np.ones((1, 2)), atol=0.03)
    np.testing.assert_allclose(found.factors["linear"], 1.0, atol=0.06)  # it is optimal already
    # The error of the best linear forecast, per state of six values.
    errors = SIZE * (1 - wanted[:, 0] ** 2)
    np.testing.assert_allclose(found.errors["calibrated_errors"][0], errors, rtol=0.03)
    np.testing.assert_allclose(
        found.errors["rollout_errors"][0], 2 * SIZE * (1 - wanted[:, 0]), rtol=0.03
    )
    np.testing.assert_allclose(found.errors["climatology_errors"], SIZE, rtol=0.03)


def test_operations_count_lifts_once_and_the_products_of_each_rule():
    one = replace(scaling_network(*[1.0] * SIZE), leads=(1, 2, 4))
    product = 2 * SIZE * (SIZE + 1)  # of a state and the constant with the outer weights
    # Leads 1 to 7: one, two, two, three predictions, and one each beyond the longest.
    for rule, products in (("mean", 1 + 2 + 2 + 3 + 3), ("longest", 7)):
        own = replace(one, combine_leads=rule)
        rollouts = summary(np.zeros((9, SIZE)), own, own, np.arange(2), 9).rollouts
        assert rollouts.walk_flops(7) == 2 * products * product


def test_channels_have_factors_of_their_own():
    # Channels alternate in a state; the first keeps its value, the second is noise.
    states = np.random.default_rng(0).standard_normal((3000, SIZE))
    states[:, ::2] = states[0, ::2]
    starts = np.arange(2900)
    one = scaling_network(*[1.0] * SIZE)
    own = summary(states, one, one, starts, 3000)
    found = Calibration.of_sums(own.finish(own.leaf(Stretch("a", 0, len(starts)))), (), LEADS)
    np.testing.assert_allclose(found.factors["forecast"][:, 0], 1.0)
    assert (found.factors["forecast"][:, 1] < 0.1).all()


@pytest.mark.parametrize("together", [1, 3, 7])
def test_any_cut_into_leaves_gives_the_same_sums(together):
    states = autoregression(60, 0.7)
    starts = np.arange(2, 57, 3)  # the last leads of the last starts have no truth
    one = summary(
        states, scaling_network(*[0.9] * SIZE), scaling_network(*[0.5] * SIZE), starts, 60
    )
    whole = one.leaf(Stretch("validation", 0, len(starts)))
    first, *others = map(one.leaf, cut_starts(one.ends, together))
    for other in others:
        first = one.merge(first, other)
    assert first.keys() == whole.keys()
    for name, values in whole.items():
        np.testing.assert_allclose(first[name], values, rtol=1e-12, err_msg=name)
    known = (starts[:, None] + np.arange(1, LEADS + 1) < 60).sum(axis=0)
    np.testing.assert_array_equal(whole["forecast/counts"], known)


def test_leads_read_in_blocks_are_those_read_at_once():
    states = autoregression(60, 0.7)
    net = scaling_network(*[0.9] * SIZE)
    two = summary(states, net, net, np.arange(2, 57, 3), 60)
    found, again = (
        replace(two, block=block).leaf(Stretch("validation", 0, 19)) for block in (2, 50)
    )
    for name, values in found.items():
        np.testing.assert_array_equal(again[name], values)


def test_rollouts_that_diverged_are_left_out():
    states = autoregression(200, 0.7)
    states[::2, 0] = 0.0
    mad = replace(scaling_network(1e200, *[0.9] * (SIZE - 1)), low=None, high=None)
    own = summary(states, mad, scaling_network(*[0.7] * SIZE), np.arange(0, 190), 200)
    found = own.leaf(Stretch("validation", 0, 190))
    np.testing.assert_array_equal(found["forecast/counts"], [190, 95, 95, 95, 95])
    np.testing.assert_array_equal(found["linear/counts"], 190)
    assert np.isfinite(found["forecast/forecast"][1:]).all()


def test_initial_times_are_spread_evenly_and_have_all_leads_where_runs_are_long():
    runs = [Stretch("validation", 10, 410), Stretch("validation", 500, 515)]
    starts, ends, spacing = calibration_starts(runs, 10, 60)
    assert spacing % 2 == 1
    assert 50 < len(starts) <= 60
    long = starts < 450
    assert (np.diff(starts[long]) == spacing).all()
    assert starts[long][-1] + 10 < 411
    assert ends.tolist() == [411] * long.sum() + [516] * (~long).sum()
    # The second run is too short for ten leads of two starts, so that starts lack the last ones.
    assert starts[~long].tolist() == list(range(500, 515, spacing))


@pytest.mark.parametrize(
    ("operations", "fitting", "expected"),
    [(1e7, 1000, 200), (1e7, 30, 30), (1e12, 1000, 16), (1e12, 5, 5), (1e7, -3, 1)],
)
def test_leaves_of_cheap_rollouts_have_more_initial_times(operations, fitting, expected):
    assert starts_of_leaf(operations, fitting) == expected


def test_leaves_do_not_cross_gaps():
    ends = np.array([411] * 5 + [516] * 3)
    parts = [(part.start, part.stop) for part in cut_starts(ends, 4)]
    assert parts == [(0, 4), (4, 5), (5, 8)]
