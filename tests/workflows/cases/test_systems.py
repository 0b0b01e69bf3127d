"""Test trajectories, the echo state network and the solvers of the cases, at small sizes."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest

from gfrnn.pipeline.errors import ConfigError
from gfrnn.workflows.cases import load_case, lorenz63_case
from gfrnn.workflows.cases.shared import echo_state_network, method_comparison
from gfrnn.workflows.cases.shared.trajectories import Truth, along, scattered
from gfrnn.workflows.cases.van_der_pol_case import first_states
from gfrnn.workflows.reproduce.settings_file import load_settings, with_values
from gfrnn_core import SampledRNN
from gfrnn_core.systems import LORENZ63, VAN_DER_POL, System

OSCILLATOR = System("harmonic", lambda s: np.stack([s[..., 1], -s[..., 0]], -1), 2, 0.0, (1.0, 0.0))
ECHO_SETTINGS = echo_state_network.EchoStateSettings(
    spectral_radius=0.9, leak=0.5, input_scaling=0.3, bias=0.2, ridge=1e-8, warmup=20
)


# Trajectories


def test_many_starts_are_followed_at_once():
    starts = np.array([[1.0, 0.0], [0.0, 2.0], [-3.0, 1.0]])
    path = along(OSCILLATOR, starts, 0.1, 50)
    angle = 0.1 * np.arange(51)[None, :]
    x, v = starts[:, :1], starts[:, 1:]
    expected = np.stack(
        [x * np.cos(angle) + v * np.sin(angle), v * np.cos(angle) - x * np.sin(angle)], axis=-1
    )
    np.testing.assert_allclose(path, expected, atol=1e-11)


def test_a_regular_system_is_trusted_to_the_end_and_a_chaotic_one_is_not():
    regular = Truth.follow(OSCILLATOR, np.array([[1.0, 0.0]]), 0.1, 300, 0.03, np.ones(2))
    assert regular.trusted.tolist() == pytest.approx([30.0])
    starts = scattered(LORENZ63, 3, 0, 10.0)
    chaotic = Truth.follow(LORENZ63, starts, 0.02, 2500, 0.03, np.full(3, 8.0))
    assert chaotic.path.shape == (3, 2500, 3)
    # An error of 1e-13 grows to 0.03 in ln(3e11) = 26 Lyapunov times, give or take.
    assert (chaotic.trusted * LORENZ63.lyapunov_exponent > 18).all()
    assert (chaotic.trusted * LORENZ63.lyapunov_exponent < 36).all()


def test_other_seeds_are_other_states_on_the_attractor():
    first, same, other = (scattered(LORENZ63, 5, seed, 20.0) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert np.abs(first - other).max() > 1
    assert (np.abs(first[:, 0]) < 25).all()
    assert (first[:, 2] > 0).all()


def test_every_second_first_state_lies_on_the_limit_cycle():
    states = first_states(10, np.random.default_rng(0))
    path = along(VAN_DER_POL, states, 6.66328686 / 50, 50)
    gap = np.abs(path[:, -1] - path[:, 0]).max(axis=1)  # after one period
    assert (gap[::2] < 1e-4).all()
    assert (gap[1::2] > 1e-2).sum() >= 4


# Lorenz 63


def test_the_gram_matrix_solves_the_same_problem():
    train = LORENZ63.trajectory(0.02, 1500, spinup=500)
    network = SampledRNN(20, sampling="normal", ridge=0.0, seed=1)  # well conditioned
    factor, gram = network.fit(train), lorenz63_case.solve_gram(network, train, 0.0)
    np.testing.assert_allclose(gram.outer, factor.outer, rtol=1e-4, atol=1e-7)


def small_lorenz(**keys):
    case = load_case("lorenz63")
    found = load_settings(case, quick=True)
    small = {"width": 100, "climate_starts": 3, "climate_steps": 200}
    for name in ("fine", "squared", "noise_3", "noise_2"):
        small |= {
            f"setups.{name}.samples": 1000,
            f"setups.{name}.starts": 3,
            f"setups.{name}.steps": 200,
        }
    return case, with_values(case, found.values, small | keys, "test")


@pytest.mark.slow
def test_lorenz63_has_all_rows_of_its_table():
    case, settings = small_lorenz()
    calls = []
    result = case.run(settings, [0, 1], calls.append)
    assert calls[-1].done == calls[-1].total
    entries = {entry.name: entry for entry in result.entries}
    ours = entries["R factor, normal"]
    assert set(ours.scores) == {"fine", "squared", "noise_3", "noise_2", "kl"}
    assert all(len(values) == 2 for values in ours.scores.values())
    longest = 200 * 0.02 * LORENZ63.lyapunov_exponent
    assert all(0 < value <= longest for value in ours.scores["fine"])
    # The more noise, the shorter.
    assert np.mean(ours.scores["noise_2"]) < np.mean(ours.scores["fine"])
    assert entries["Gram matrix, normal"].scores["fine"]
    assert {bar.score: bar.entry for bar in result.bars} == {
        "fine": "R factor, normal",
        "squared": "R factor, normal",
        "noise_3": "R factor, normal, delays",
        "noise_2": "R factor, normal, delays",
    }


def test_forecasts_are_counted_to_where_the_truth_is_trusted():
    _, settings = small_lorenz()
    data = lorenz63_case.Lorenz63Data.make(settings.setups["fine"], 1, 1)
    whole = data.validity(data.truth.path)
    assert whole == pytest.approx(200 * 0.02 * LORENZ63.lyapunov_exponent)
    short = replace(data, truth=replace(data.truth, trusted=np.array([1.0, 2.0, 9.0])))
    assert short.validity(data.truth.path) == pytest.approx(
        np.minimum([1.0, 2.0, 9.0], 4.0) * LORENZ63.lyapunov_exponent
    )


def test_noise_is_a_share_of_the_spread_and_validation_has_its_own():
    _, settings = small_lorenz()
    data = lorenz63_case.Lorenz63Data.make(settings.setups["noise_2"], 1, 1)
    share = (data.noisy(0) - data.train).std(axis=0) / data.train.std(axis=0)
    np.testing.assert_allclose(share, 0.01, rtol=0.1)
    other = lorenz63_case.Lorenz63Data.make(settings.setups["noise_2"], 2, 1)
    assert np.abs(other.truth.starts - data.truth.starts).min() > 1e-3


# The peer


def waves(times=400):
    t = 0.1 * np.arange(times)
    return np.stack([np.sin(t), 5 + 3 * np.cos(t) + np.sin(2 * t)], axis=1)


def test_the_rollout_is_that_of_reservoirpy():
    nodes = pytest.importorskip("reservoirpy.nodes")
    series = waves()
    network = echo_state_network.EchoStateNetwork.fit(
        ECHO_SETTINGS, 40, [series[:200], series[200:]], seed=3
    )
    found = network.rollout(np.stack([series[:60], series[90:150]]), 25)
    for start, mine in zip((0, 90), found, strict=True):
        reservoir = nodes.Reservoir(
            40, lr=0.5, W=network.recurrent, Win=network.inward, bias=network.offset.ravel()
        )
        readout = nodes.Ridge(Wout=network.outward, bias=network.bias)
        model = reservoir >> readout
        for state in series[start : start + 60]:
            out = model.step((state - network.shift) / network.spread)
        for row in mine:
            np.testing.assert_allclose(row, out * network.spread + network.shift, rtol=1e-9)
            out = model.step(out)


def test_the_echo_state_network_learns_and_depends_on_its_seed():
    pytest.importorskip("reservoirpy")
    series = waves()
    one, same, other = (
        echo_state_network.EchoStateNetwork.fit(ECHO_SETTINGS, 60, [series[:300]], seed).rollout(
            series[None, 200:301], 50
        )
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0
    assert np.abs(one[0] - series[301:351]).max() < 0.05 * 3


def test_without_reservoirpy_its_row_is_left_out_with_a_note(monkeypatch):
    found = importlib.util.find_spec
    hidden = {"reservoirpy"}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in hidden else found(name)
    )
    result = small_comparison("van-der-pol")
    assert [entry.name for entry in result.entries] == [
        method_comparison.OURS,
        method_comparison.LINEAR,
    ]
    assert echo_state_network.NOT_INSTALLED in result.notes
    assert {verdict.reached for verdict in result.verdicts()} == {None}
    with pytest.raises(ConfigError, match=r"gfrnn\[peers\]"):
        echo_state_network.EchoStateNetwork.fit(ECHO_SETTINGS, 10, [waves()], 0)


# Duels


def small_comparison(name, **keys):
    case = load_case(name)
    found = load_settings(case, quick=True)
    small = {"width": 30, "data.series": 4, "data.samples": 150, "data.starts": 4} | keys
    settings = with_values(case, found.values, small, "test")
    return case.run(settings, [0, 1], lambda advance: None)


@pytest.mark.parametrize("name", ["rossler", "van-der-pol", "van-der-pol-delays"])
def test_comparisons_have_all_rows_of_their_tables(name):
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
    compared = method_comparison.ComparedSystem(VAN_DER_POL, 1, first_states, "", ())
    test, validation = (
        method_comparison.make_data(compared, data, seed)
        for seed in (method_comparison.TEST_SEED, method_comparison.VALIDATION_SEED)
    )
    np.testing.assert_array_equal(test.train, validation.train)
    assert np.abs(test.history - validation.history).max() > 0.1
    assert test.history.shape[-1] == 1  # only what is seen
    # The truth goes on where the history ends.
    assert np.abs(test.truth.path[:, 0] - test.history[:, -1]).max() < 0.5


def test_more_delays_than_history_are_refused():
    case = load_case("van-der-pol-delays")
    found = load_settings(case)
    with pytest.raises(ConfigError, match="delays: 21 are more than data.history, 20"):
        with_values(case, found.values, {"delays": 21}, "test")
