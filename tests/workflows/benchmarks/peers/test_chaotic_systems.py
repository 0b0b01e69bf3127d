"""Test the programs that forecast chaotic systems on a short series."""

import importlib.util
import pkgutil
from dataclasses import asdict

import numpy as np
import pytest

from gfrnn.workflows.benchmarks.peers.catalogue import COMPARISONS
from gfrnn.workflows.benchmarks.peers.chaotic_systems import lorenz63, lorenz96
from gfrnn.workflows.benchmarks.peers.chaotic_systems.chaotic_system_program import (
    ForecastStarts,
    ValidTimes,
)
from gfrnn.workflows.benchmarks.peers.results import PeerResult
from gfrnn.workflows.cases.shared.trajectories import Truth

CASES = {"lorenz63": lorenz63, "lorenz96": lorenz96}
CONTENDERS = [(name, one) for name in CASES for one in COMPARISONS[name].contenders]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Return the prepared data of each system."""
    folders = {name: tmp_path_factory.mktemp(name) for name in CASES}
    for name, folder in folders.items():
        CASES[name].prepare(folder, quick=True)
    return folders


@pytest.fixture
def valid() -> ValidTimes:
    return ValidTimes(dt=0.5, exponent=2.0, threshold=0.3, norm="nrmse")


def test_valid_times_end_with_the_trust_in_the_truth(valid):
    """A step is a Lyapunov time here."""
    states = np.zeros((3, 4, 1))
    truth = Truth(np.zeros((3, 1)), states, trusted_time=np.array([2.0, 2.0, 1.0]))
    forecast = states.copy()
    forecast[0, 2] = 1.0  # wrong after two steps
    forecast[1, 3] = np.nan  # diverged after three
    np.testing.assert_array_equal(valid.of(forecast, truth, np.ones(1)), [2, 3, 2])


def test_starts_are_stored_whole(tmp_path):
    rng = np.random.default_rng(0)
    truth = Truth(rng.standard_normal((2, 3)), rng.standard_normal((2, 5, 3)), np.array([1.0, 2.0]))
    starts = ForecastStarts(rng.standard_normal((2, 4, 3)), truth)
    starts.save(tmp_path / "test.npz")
    found = ForecastStarts.load(tmp_path / "test.npz")
    np.testing.assert_array_equal(found.history, starts.history)
    for name, value in asdict(found.truth).items():
        np.testing.assert_array_equal(value, getattr(truth, name))


def test_a_homogeneous_system_has_one_scale(folders):
    contender = COMPARISONS["lorenz96"].contenders[0]
    program = pkgutil.resolve_name(contender.program)(
        folders["lorenz96"], True, **contender.options
    )
    program.load()
    train = np.load(folders["lorenz96"] / "train.npy")
    np.testing.assert_allclose(program.series, (train - train.mean()) / train.std())


@pytest.mark.parametrize(
    ("name", "contender"), CONTENDERS, ids=[f"{name}-{one.name}" for name, one in CONTENDERS]
)
def test_programs_forecast_from_the_test_starts(name, contender, folders):
    for package in contender.packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    program = pkgutil.resolve_name(contender.program)(folders[name], True, **contender.options)
    program.load()
    program.settings = lambda: type(program).settings(program)[:2]
    setting = program.search()
    assert set(program.settings()[0]) <= set(setting)
    forecast = program.forecast(program.fit(setting, 1))
    truth = program.test.truth
    assert forecast.shape == truth.states.shape
    # Each continues from its own initial state: other states of the attractor are about the square
    # root of 2 deviations away, and a step changes states by some per cent at most.
    first = np.linalg.norm(forecast[:, 0] - truth.starts, axis=1)
    apart = np.linalg.norm(np.broadcast_to(program.deviation, truth.starts[0].shape))
    assert (first < apart).all()
    errors = program.score(forecast)
    assert set(errors) == {column.key for column in COMPARISONS[name].columns}
    if contender.standing == "ours" and not contender.name.endswith("of the whole state"):
        assert errors["mean"] > 2
    # The truth itself is valid as long as it is trusted or known.
    longest = program.score(truth.states)["mean"]
    length = truth.states.shape[1] * CASES[name].VALID.dt * CASES[name].VALID.exponent
    assert errors["mean"] <= longest <= length * (1 + 1e-12)


def test_the_bar_compares_with_the_lstm():
    def result(name, time):
        return PeerResult(name, "peer", errors={"mean": time, "median": time})

    rows = {name: result(name, time) for name, time in ((lorenz63.OURS, 20), (lorenz63.LSTM, 4))}
    (check,) = lorenz63.bars(rows)
    assert check.measured == 5
    assert not check.met
    assert list(lorenz63.bars({})) == []
