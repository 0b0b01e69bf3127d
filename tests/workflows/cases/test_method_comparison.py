"""Cases that compare methods: Rössler and the free Van der Pol oscillator, at small sizes."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from gfrnn.pipeline.errors import ConfigError
from gfrnn.workflows.cases import load_case
from gfrnn.workflows.cases.shared.compared_methods import (
    LINEAR,
    SAMPLED_NETWORK,
    ComparedSystem,
    make_data,
)
from gfrnn.workflows.cases.shared.echo_state_network import NOT_INSTALLED
from gfrnn.workflows.cases.shared.trajectories import TEST_SEED, VALIDATION_SEED, trajectories
from gfrnn.workflows.cases.van_der_pol_case import initial_states
from gfrnn.workflows.reproduce.settings_file import load_settings, with_values
from gfrnn_core.systems import VAN_DER_POL


def small_comparison(name, **keys):
    case = load_case(name)
    found = load_settings(case, quick=True)
    small = {"width": 30, "data.series": 4, "data.samples": 150, "data.starts": 4} | keys
    settings = with_values(case, found.values, small, "test")
    return case.run(settings, [0, 1], lambda advance: None)


@pytest.mark.parametrize("name", ["rossler", "van-der-pol", "van-der-pol-delays"])
def test_comparisons_fill_their_tables(name):
    pytest.importorskip("reservoirpy")
    keys = {"data.valid_steps": 200} if name == "rossler" else {}
    result = small_comparison(name, **keys)
    assert [entry.kind for entry in result.entries] == ["ours", "peer", "reference"]
    for entry in result.entries:
        assert len(entry.training) == 2
        assert set(entry.scores) == ({"nmse", "valid"} if name == "rossler" else {"nmse"})
        assert all(value >= 0 for value in entry.scores["nmse"])
    bars = {bar.score for bar in result.bars}
    assert bars == {"nmse", "training"} | ({"valid"} if name == "rossler" else set())


def test_test_and_validation_share_the_training_but_no_start():
    case = load_case("van-der-pol")
    data = load_settings(case, quick=True).settings.data
    compared = ComparedSystem(VAN_DER_POL, 1, initial_states, "", ())
    test, validation = (make_data(compared, data, seed) for seed in (TEST_SEED, VALIDATION_SEED))
    np.testing.assert_array_equal(test.train, validation.train)
    assert np.abs(test.history - validation.history).max() > 0.1
    assert test.history.shape[-1] == 1  # only observed coordinates
    # The truth continues the history.
    assert np.abs(test.truth.states[:, 0] - test.history[:, -1]).max() < 0.5


def test_more_delays_than_history_are_refused():
    case = load_case("van-der-pol-delays")
    found = load_settings(case)
    with pytest.raises(ConfigError, match="delays: 21 are more than data.history, 20"):
        with_values(case, found.values, {"delays": 21}, "test")


def test_without_reservoirpy_the_echo_state_network_is_left_out_with_a_note(monkeypatch):
    found = importlib.util.find_spec
    hidden = {"reservoirpy"}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in hidden else found(name)
    )
    result = small_comparison("van-der-pol")
    assert [entry.name for entry in result.entries] == [
        SAMPLED_NETWORK,
        LINEAR,
    ]
    assert NOT_INSTALLED in result.notes
    assert {verdict.reached for verdict in result.verdicts()} == {None}


def test_every_second_initial_state_is_on_the_limit_cycle():
    states = initial_states(10, np.random.default_rng(0))
    path = trajectories(VAN_DER_POL, states, 6.66328686 / 50, 50)
    gap = np.abs(path[:, -1] - path[:, 0]).max(axis=1)  # after one period
    assert (gap[::2] < 1e-4).all()
    assert (gap[1::2] > 1e-2).sum() >= 4
