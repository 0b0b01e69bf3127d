"""Test the time loop with given weights: divergence, its time, and untouched other starts."""

import pickle
import warnings
from dataclasses import replace

import numpy as np
import pytest

from gfrnn_core import HiddenWeights, Patches, SampledRNN, UnstableRollout, rollout
from gfrnn_core.rollout import RolloutLoop


def doubling(**options):
    """Return the network x_t+1 = 2 x_t (+ u_t+1), valid from -10 to 10; all numbers are exact."""
    settings = {
        "hidden": HiddenWeights(np.zeros((1, 0)), np.zeros(0), "tanh"),
        "outer": np.array([[[2.0], [0.0]]]),
        "leads": (1,),
        "delays": 1,
        "increment": False,
        "patches": None,
        "low": np.array([-10.0]),
        "high": np.array([10.0]),
    }
    return RolloutLoop(**settings | options)


def history(*starts, dtype=float):
    return np.array(starts, dtype=dtype)[None, :, None]


def test_diverged_forecasts_are_nan_from_there_on_and_reported():
    with pytest.warns(UnstableRollout) as record:
        path = doubling().run(history(1, 0, 3, -1, 0.5), 5, None)
    expected = [
        [2, 4, 8, np.nan, np.nan],
        [0, 0, 0, 0, 0],
        [6, np.nan, np.nan, np.nan, np.nan],
        [-2, -4, -8, np.nan, np.nan],
        [1, 2, 4, 8, np.nan],
    ]
    np.testing.assert_array_equal(path[:, :, 0].T, expected)
    (warning,) = record
    np.testing.assert_array_equal(warning.message.starts, [2, 0, 3, 4])
    np.testing.assert_array_equal(warning.message.steps, [2, 4, 4, 5])
    assert warning.message.batch == 5
    text = str(warning.message)
    assert text.startswith("4 of 5 rollouts left")
    assert "first (start 2) at step 2;" in text


def test_the_limits_of_the_range_are_allowed():
    loop = doubling(low=np.array([-8.0]), high=np.array([8.0]))
    with pytest.warns(UnstableRollout) as record:
        path = loop.run(history(1, -1), 4, None)
    np.testing.assert_array_equal(path[2, :, 0], [8, -8])
    np.testing.assert_array_equal(record[0].message.steps, [4, 4])


@pytest.mark.parametrize("known", [(None, None), (np.array([-10.0]), None)])
def test_without_a_range_all_finite_values_are_allowed(known):
    loop = doubling(outer=np.array([[[1e200], [0.0]]]), low=known[0], high=known[1])
    with pytest.warns(UnstableRollout) as record:
        path = loop.run(history(1, 1e-300, 0), 3, None)
    np.testing.assert_array_equal(path[:, 0, 0], [1e200, np.nan, np.nan])
    np.testing.assert_allclose(path[:, 1, 0], [1e-100, 1e100, 1e300])
    np.testing.assert_array_equal(path[:, 2, 0], 0)
    np.testing.assert_array_equal(record[0].message.steps, [2])


def test_float32_overflows_where_float64_does_not():
    loop = doubling(outer=np.array([[[1e20], [0.0]]]), low=None, high=None)
    assert np.isfinite(loop.run(history(1), 2, None)).all()
    single = doubling(outer=np.array([[[1e20], [0.0]]], dtype=np.float32), low=None, high=None)
    with pytest.warns(UnstableRollout):
        path = single.run(history(1, dtype=np.float32), 2, None)
    assert path.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(path[:, 0, 0]), [False, True])


def test_all_starts_may_diverge():
    with pytest.warns(UnstableRollout) as record:
        path = doubling().run(history(6, 7), 300, None)
    assert np.isnan(path).all()
    np.testing.assert_array_equal(record[0].message.starts, [0, 1])
    np.testing.assert_array_equal(record[0].message.steps, [1, 1])


def test_no_warning_if_no_start_diverges():
    path = doubling().run(history(1, -1), 3, None)
    np.testing.assert_array_equal(path[:, :, 0], [[2, -2], [4, -4], [8, -8]])


def test_a_start_that_is_not_a_number_is_reported_at_the_first_step():
    with pytest.warns(UnstableRollout) as record:
        path = doubling().run(history(1, np.nan), 2, None)
    np.testing.assert_array_equal(path[:, 0, 0], [2, 4])
    assert np.isnan(path[:, 1]).all()
    np.testing.assert_array_equal(record[0].message.starts, [1])
    np.testing.assert_array_equal(record[0].message.steps, [1])


def test_inputs_belong_to_the_remaining_starts():
    """The network is x_t+1 = x_t + u_t+1."""
    loop = doubling(outer=np.array([[[1.0], [0.0], [1.0]]]))
    inputs = np.array([[100, 0, 0, 0], [1, 2, 3, 0], [0, 50, 0, 0], [0, 0, -1, -2]])[:, :, None]
    with pytest.warns(UnstableRollout) as record:
        path = loop.run(history(0, 0, 0, 0), 4, inputs.astype(float))
    nan = np.nan
    expected = [[nan] * 4, [1, 3, 6, 6], [0, nan, nan, nan], [0, 0, -1, -3]]
    np.testing.assert_array_equal(path[:, :, 0].T, expected)
    np.testing.assert_array_equal(record[0].message.starts, [0, 2])


def test_later_leads_continue_from_the_remaining_starts():
    """The network doubles the state in one step, and adds 3 in two steps."""
    loop = doubling(outer=np.array([[[2.0], [0.0]], [[1.0], [3.0]]]), leads=(1, 2))
    with pytest.warns(UnstableRollout):
        path = loop.run(history(6, 1), 4, None)
    # Leads 1 and 2 from the present, leads 3 and 4 two steps after leads 1 and 2.
    np.testing.assert_array_equal(path[:, 1, 0], [2, 4, 5, 7])
    assert np.isnan(path[:, 0]).all()


def test_one_place_out_of_range_ends_the_whole_state():
    hidden = HiddenWeights(np.zeros((1, 0)), np.zeros(0), "tanh")
    loop = doubling(
        hidden=hidden,
        patches=Patches((3,), ((0, 0),)),
        low=np.array([-10.0, -10, -10]),
        high=np.array([10.0, 10, 20]),
    )
    starts = np.array([[[1.0, 1, 6], [1, 6, 1]]])
    with pytest.warns(UnstableRollout) as record:
        path = loop.run(starts, 2, None)
    np.testing.assert_array_equal(path[0, 0], [2, 2, 12])
    assert np.isnan(path[:, 1]).all()
    np.testing.assert_array_equal(record[0].message.starts, [1, 0])
    np.testing.assert_array_equal(record[0].message.steps, [1, 2])


@pytest.mark.parametrize("patches", [None, Patches((2,), ((0, 0),), size=2)])
@pytest.mark.parametrize("increment", [False, True])
def test_masked_cells_are_zero_at_every_step(increment, patches):
    """(x, y) goes to (x + y, y + 1); with y masked, x is constant after the first step."""
    kept = 0.0 if increment else 1.0
    loop = doubling(
        hidden=HiddenWeights(np.zeros((2, 0)), np.zeros(0), "tanh"),
        outer=np.array([[[kept, 0.0], [1.0, kept], [0.0, 1.0]]]),
        increment=increment,
        patches=patches,
        low=np.array([-10.0, -10.0]),
        high=np.array([10.0, 10.0]),
    )
    starts = np.array([[[1.0, 0.0], [2.0, 3.0]]])
    free = [[[1, 1], [2, 2], [4, 3]], [[5, 4], [9, 5], [np.nan, np.nan]]]
    with pytest.warns(UnstableRollout):
        path = loop.run(starts, 3, None)
    np.testing.assert_array_equal(path.swapaxes(0, 1), free)
    path = replace(loop, mask=np.array([False, True])).run(starts, 3, None)
    np.testing.assert_array_equal(path.swapaxes(0, 1), [[[1, 0]] * 3, [[5, 0]] * 3])


def test_a_linear_rollout_reports_divergence_too():
    """The network maps (x, 1) to (2 x + u, 1)."""
    loop = doubling(outer=np.array([[[2.0, 0.0], [0.0, 1.0], [1.0, 0.0]]]))
    inputs = np.array([[0.0, 0, 0, 0], [100, 0, 0, 0], [1, 0, 1, 0]])[:, :, None]
    with pytest.warns(UnstableRollout) as record:
        path = loop.run_linear(history(1, 0, 0), 4, inputs)
    nan = np.nan
    np.testing.assert_array_equal(path[:, :, 0].T, [[2, 4, 8, nan], [nan] * 4, [1, 2, 5, 10]])
    np.testing.assert_array_equal(record[0].message.starts, [1, 0])
    np.testing.assert_array_equal(record[0].message.steps, [1, 4])
    path = loop.run_linear(history(1, dtype=np.float32), 2, inputs[:1])
    assert path.dtype == np.float32


def wild(seed=0, delays=1, leads=(1,)):
    """Return a network whose increments grow with the state: distant starts diverge at once."""
    states = np.random.default_rng(seed).standard_normal((300, 3)).cumsum(axis=0) / 10
    network = SampledRNN(width=20, delays=delays, leads=leads, ridge=1e-3).fit(states)
    return network, states


@pytest.mark.parametrize("leads", [(1,), (1, 3)])
def test_a_diverging_start_does_not_affect_others(leads):
    network, states = wild(delays=2, leads=leads)
    starts = np.stack([states[t : t + 2] for t in range(0, 50, 10)])
    expected = network.rollout(starts, 12)
    mad = starts.copy()
    mad[[1, 3]] += 1e6
    before = mad.copy()
    with pytest.warns(UnstableRollout) as record:
        found = network.rollout(mad, 12)
    np.testing.assert_array_equal(record[0].message.starts, [1, 3])
    np.testing.assert_array_equal(record[0].message.steps, [1, 1])
    assert np.isnan(found[[1, 3]]).all()
    # A smaller batch may be summed up in another order.
    np.testing.assert_allclose(found[[0, 2, 4]], expected[[0, 2, 4]], rtol=1e-11, atol=1e-11)
    np.testing.assert_array_equal(mad, before)
    with pytest.warns(UnstableRollout):
        np.testing.assert_array_equal(network.rollout(mad, 12), found)


def test_rows_lifted_a_few_at_a_time_are_rows_lifted_together(monkeypatch):
    _, states = wild()
    inputs = np.random.default_rng(1).standard_normal((300, 2))
    network = SampledRNN(width=20, ridge=1e-3).fit(states, inputs)
    ahead = np.stack([inputs[t + 1 : t + 6] for t in range(50)])
    expected = network.rollout(states[:50, None], 5, ahead)
    for memory in (1, 8 * 26 * 7):  # a row; seven rows
        monkeypatch.setattr(rollout, "_BUFFER", memory)
        found = network.rollout(states[:50, None], 5, ahead)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_the_warning_points_to_the_caller():
    network, _ = wild()
    with pytest.warns(UnstableRollout) as record:
        network.rollout(np.full((1, 1, 3), 1e6), 2)
    assert record[0].filename == __file__


def test_the_warning_can_be_raised_and_pickled():
    network, _ = wild()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnstableRollout)
        with pytest.raises(UnstableRollout) as caught:
            network.rollout(np.full((2, 1, 3), 1e6), 2)
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)
    np.testing.assert_array_equal(again.starts, [0, 1])
    np.testing.assert_array_equal(again.steps, [1, 1])
