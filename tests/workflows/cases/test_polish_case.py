"""Test the case of polished networks, at small sizes."""

from __future__ import annotations

import numpy as np
import pytest

from gfrnn.cluster import ClusterConfig, open_cluster
from gfrnn.pipeline.reduction.progress import ProgressUpdate
from gfrnn.workflows.cases import load_case, polish_case
from gfrnn.workflows.cases.shared.lorenz63_data import Lorenz63Data, validation_data
from gfrnn.workflows.cases.shared.trajectories import TEST_SEED
from gfrnn.workflows.reproduce.settings_file import load_settings, with_values
from gfrnn.workflows.reproduce.settings_search import searches
from gfrnn_core import SampledRNN
from gfrnn_core.perturbation.rollout_gradient import RolloutNoise, RolloutStarts, evaluate_here
from gfrnn_core.systems import LORENZ63


def small(**keys):
    case = load_case("polish")
    found = load_settings(case, quick=True)
    values = (
        {"width": 30} | {f"setups.{part}.samples": 600 for part in polish_case.NOISE_LABELS} | keys
    )
    for kind in polish_case.NETWORK_LABELS:
        values |= {f"polish.{kind}.{part}.iterations": 2 for part in polish_case.NOISE_LABELS}
    return case, with_values(case, found.values, values, "test")


@pytest.mark.slow
def test_the_table_is_filled():
    case, settings = small()
    calls = []
    result = case.run(settings, [0, 1], calls.append)
    assert calls[-1] == ProgressUpdate("networks", 8, 8)
    assert [entry.kind for entry in result.entries] == ["reference", "ours"] * 2
    for entry in result.entries:
        assert set(entry.scores) == set(polish_case.NOISE_LABELS)
        assert all(len(values) == 2 and min(values) > 0 for values in entry.scores.values())
    solved, polished = result.entries[:2]
    assert solved.scores != polished.scores
    assert all(a > b for a, b in zip(polished.training, solved.training, strict=True))
    assert {bar.against for bar in result.bars} == {"one state, solved", "delays, solved"}
    again = case.run(settings, [0, 1], lambda advance: None)
    assert [one.scores for one in again.entries] == [one.scores for one in result.entries]


def test_no_iterations_leave_the_network():
    _, settings = small()
    descent = settings.polish["one"]["noise_2"].model_copy(update={"iterations": 0})
    series = LORENZ63.trajectory(0.02, 300, spinup=500)
    network = SampledRNN(10).fit(series)
    assert polish_case.polished(network, series, descent, 0).network is network


def test_validation_uses_other_starts_than_the_test():
    case, settings = small()
    data = validation_data(settings.setups["noise_2"].model_dump_json(), 1)
    test = Lorenz63Data.make(settings.setups["noise_2"], TEST_SEED, 1)
    assert np.abs(data.history - test.history).max() > 0.1
    solved, polished = (
        case.validations[f"{what}_one_noise_2"].measure(settings, 0)
        for what in ("solved", "polished")
    )
    assert solved > 0
    assert polished > 0
    assert set(searches(case, load_settings(case))) <= set(case.validations)


@pytest.mark.slow
@pytest.mark.cluster
def test_a_cluster_gives_the_same_bits():
    series = LORENZ63.trajectory(0.02, 700, spinup=500)
    network = SampledRNN(20, sampling="normal", delays=2).fit(series)
    starts, noise = RolloutStarts.cut(series, 2, 4), RolloutNoise(1e-2, 2, (3, 1))
    here = polish_case.evaluate(network, starts, noise)
    with open_cluster(ClusterConfig(workers=2, dashboard="127.0.0.1:0")):
        there = polish_case.evaluate(network, starts, noise)
    np.testing.assert_array_equal(there.gradient, here.gradient)
    np.testing.assert_array_equal(there.errors, here.errors)
    whole = evaluate_here(network, starts, noise)
    np.testing.assert_allclose(here.gradient, whole.gradient, rtol=1e-8, atol=1e-12)
