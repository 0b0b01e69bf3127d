"""Test the combination of direct and iterated predictions in rollouts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfrnn_core import HiddenWeights, SampledRNN, UnstableRollout
from gfrnn_core.lead_combination import prediction_weights, predictions_from
from gfrnn_core.rollout import RolloutLoop

LEADS = st.sets(st.integers(2, 12), max_size=5).map(lambda more: (1, *sorted(more)))


def linear(*maps: np.ndarray, leads: Sequence[int], **options: object) -> SampledRNN:
    """Return a network without hidden features whose outer weights are these matrices."""
    size = len(maps[0])
    outer = np.stack([np.concatenate([each, np.zeros((1, size))]) for each in maps])
    empty = HiddenWeights(np.zeros((size, 0)), np.zeros(0), "tanh")
    network = SampledRNN(
        width=0, leads=tuple(leads), target="state", standardise=False, hidden=empty, outer=outer
    )
    return replace(network, **options)


def test_the_weights_of_the_documentation():
    leads = (1, 2, 5)
    assert prediction_weights(leads, 1, "mean") == {0: 1.0}
    assert prediction_weights(leads, 2, "mean") == {0: 0.5, 1: 0.5}
    assert prediction_weights(leads, 4, "mean") == {0: 0.5, 1: 0.5}
    assert prediction_weights(leads, 5, "mean") == {0: 0.25, 1: 0.25, 2: 0.5}
    assert prediction_weights(leads, 6, "mean") == {2: 1.0}
    assert prediction_weights(leads, 4, "longest") == {1: 1.0}


@given(LEADS, st.integers(1, 30), st.sampled_from(["mean", "longest"]))
def test_predictions_from_all_steps_are_those_of_all_leads(leads, steps, rule):
    """Each state has weights of sum 1, whichever of its two ends they are listed by."""
    by_lead = {lead: dict[int, float]() for lead in range(1, steps + 1)}
    for step in range(steps):
        for each in predictions_from(leads, step, steps, rule):
            assert each.lead == step + leads[each.index]
            by_lead[each.lead][each.index] = each.weight
    for lead, weights in by_lead.items():
        assert weights == prediction_weights(leads, lead, rule)
        assert sum(weights.values()) == pytest.approx(1.0)
        assert min(weights.values()) > 0


def test_with_one_lead_both_rules_give_the_same_bits():
    series = np.random.default_rng(0).standard_normal((200, 3))
    network = SampledRNN(width=20, delays=2, ridge=1e-2).fit(series)
    history = np.stack([series[10:12], series[50:52]])
    longest = replace(network, combine_leads="longest")
    np.testing.assert_array_equal(network.rollout(history, 7), longest.rollout(history, 7))


def test_leads_whose_weights_are_powers_of_a_matrix_change_nothing():
    """Direct and iterated predictions are then equal, and so is any mean of them."""
    step = 0.97 * np.linalg.qr(np.random.default_rng(1).standard_normal((4, 4)))[0]
    leads = (1, 2, 4, 7)
    network = linear(*(np.linalg.matrix_power(step, lead) for lead in leads), leads=leads)
    start = np.arange(1.0, 5.0)
    path = network.rollout(start[None, None], 20)[0]
    exact = [start @ np.linalg.matrix_power(step, lead) for lead in range(1, 21)]
    np.testing.assert_allclose(path, exact, rtol=1e-12, atol=1e-12)


def test_three_leads_by_hand():
    one, two, three = 0.1 * np.random.default_rng(2).standard_normal((3, 2, 2))
    network = linear(one, two, three, leads=(1, 2, 3))
    start = np.array([1.0, -2.0])
    first = start @ one
    second = (start @ two + first @ one) / 2
    third = start @ three / 2 + (first @ two + second @ one) / 4
    path = network.rollout(start[None, None], 5)[0]
    expected = [first, second, third, first @ three, second @ three]
    np.testing.assert_allclose(path, expected, rtol=1e-14, atol=1e-14)
    # float32 has 7 digits
    single = replace(network, precision="float32").rollout(start[None, None], 5)[0]
    np.testing.assert_allclose(single, expected, rtol=1e-5, atol=1e-7)


def test_the_mean_has_a_smaller_error_where_errors_are_independent():
    """Direct and iterated weights have errors of equal size: the mean halves their square."""
    rng = np.random.default_rng(3)
    step = 0.9 * np.linalg.qr(rng.standard_normal((30, 30)))[0]
    noise = 0.01 * rng.standard_normal((2, 30, 30))
    network = linear(step + noise[0], step @ step + 1.3 * noise[1], leads=(1, 2))
    starts = rng.standard_normal((50, 1, 30))
    truth = starts[:, 0] @ step @ step
    errors = {
        rule: np.square(
            replace(network, combine_leads=rule).rollout(starts, 2)[:, 1] - truth
        ).mean()
        for rule in ("mean", "longest")
    }
    assert errors["mean"] < 0.6 * errors["longest"]


def test_a_limit_holds_the_combined_state():
    """Predictions of the second state are 16 and -2: their mean 7 is limited, and used later."""
    network = linear(np.array([[4.0]]), np.array([[-2.0]]), leads=(1, 2), limit=np.array(5.0))
    steps = list(network.walk(np.array([[[1.0]]]), 4))
    # The third and fourth are two steps from the first and the second.
    np.testing.assert_array_equal([state[0, 0] for state, _ in steps], [4, 5, -5, -5])
    np.testing.assert_array_equal([share[0] for _, share in steps], [0, 1, 1, 1])


def test_a_start_that_leaves_the_range_takes_its_predictions_with_it():
    loop = RolloutLoop(
        hidden=HiddenWeights(np.zeros((1, 0)), np.zeros(0), "tanh"),
        outer=np.array([[[2.0], [0.0]], [[0.0], [1.0]], [[0.0], [3.0]]]),
        leads=(1, 2, 4),
        delays=1,
        increment=False,
        patches=None,
        low=np.array([-10.0]),
        high=np.array([10.0]),
    )
    with pytest.warns(UnstableRollout):
        path = loop.run(np.array([[[1.0], [7.0], [2.0]]]), 4, None)[:, :, 0].T
    assert np.isnan(path[1]).all()

    def by_hand(start: float) -> list[float]:
        first = 2 * start
        second = (1 + 2 * first) / 2
        third = (1 + 2 * second) / 2
        return [first, second, third, 3 / 2 + (1 + 2 * third) / 4]

    np.testing.assert_array_equal(path[[0, 2]], [by_hand(1.0), by_hand(2.0)])


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="combine_leads: 'best' is not one of 'mean', 'longest'"):
        SampledRNN(combine_leads="best")


def test_a_walk_with_streamed_inputs_is_the_rollout_and_more_data_keep_the_rule():
    rng = np.random.default_rng(4)
    states, inputs = (
        rng.standard_normal((300, 2)).cumsum(axis=0) / 10,
        rng.standard_normal((300, 1)),
    )
    network = SampledRNN(width=10, delays=2, leads=(1, 2, 5), joint=True, ridge=1e-2)
    network = replace(network, combine_leads="longest").fit(states[:150], inputs[:150])
    network = network.partial_fit(states[150:], inputs[150:])
    assert network.combine_leads == "longest"
    history = np.stack([states[t - 1 : t + 1] for t in (20, 90)])
    ahead = np.stack([inputs[t + 1 : t + 13] for t in (20, 90)])
    paths = {}
    for rule in ("mean", "longest"):
        own = replace(network, combine_leads=rule)
        paths[rule] = own.rollout(history, 12, ahead)
        stream = (ahead[:, step] for step in range(12))  # each is read when its step begins
        walked = np.stack([state for state, _ in own.walk(history, 12, stream)], axis=1)
        np.testing.assert_array_equal(walked, paths[rule])
    # The first state has one prediction, and the sixth is five steps from it.
    same = (paths["mean"] == paths["longest"]).all(axis=(0, 2))
    np.testing.assert_array_equal(np.flatnonzero(same) + 1, [1, 6])
