"""Compare the tasks with values by hand and by brute force."""

import numpy as np
import pytest

from gfrnn_core.perturbation import Weights, mean_loss
from gfrnn_core.perturbation.sequence_tasks import copying, forecasting, lorenz, mackey_glass, sine


@pytest.fixture(scope="module")
def ramp():
    """Return inputs that count the time, so that the origin of each value is visible."""
    time = np.arange(60.0)
    inputs = np.stack([time, -time], axis=1)
    return forecasting("ramp", inputs, 100 + time[:, None], 3, 40, warm_up=5, lags=4)


def test_forecasting_keeps_training_and_test_apart(ramp):
    (train,), (test,) = ramp.train, ramp.test
    for part in (train, test):
        assert part.inputs.shape[1:] == (1, 2)
        assert part.targets.shape[1:] == (1, 1)
        present = part.inputs[:, 0, 0]
        np.testing.assert_array_equal(part.targets[:, 0, 0], 100 + present + 3)
        np.testing.assert_array_equal(np.diff(present), 1)
        np.testing.assert_array_equal(part.counted, np.arange(len(present)) >= 5)
    # The last target of training is the time before the split, the first tested one the split.
    assert train.inputs[0, 0, 0] == 0
    assert train.targets[-1, 0, 0] == 139
    assert test.targets[test.counted][0, 0, 0] == 140
    assert test.targets[-1, 0, 0] == 159
    assert ramp.sizes == (2, 1)


def test_references_by_brute_force():
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((80, 2)).cumsum(axis=0) / 5
    targets = inputs[:, :1] + 0.3 * rng.standard_normal((80, 1))
    task = forecasting("random", inputs, targets, 2, 50, warm_up=5, lags=3)
    times = range(50, 80)  # of targets that are tested
    early = [targets[t, 0] for t in range(2, 50)]

    def row(t):  # what is known two steps before the target
        return [1.0, *inputs[t - 2], *inputs[t - 3], *inputs[t - 4]]

    known = range(5, 50)
    solution = np.linalg.lstsq([row(t) for t in known], [targets[t, 0] for t in known])[0]
    errors = {
        "mean": [targets[t, 0] - np.mean(early) for t in times],
        "persistence": [targets[t, 0] - targets[t - 2, 0] for t in times],
        "linear, 3 lags": [targets[t, 0] - row(t) @ solution for t in times],
    }
    assert task.references.keys() == errors.keys()
    for name, expected in errors.items():
        assert task.references[name] == pytest.approx(np.square(expected).mean()), name


def test_mackey_glass_has_its_references_and_is_posed_forwards():
    """Rounding decides which part of the attractor a chaotic series visits.

    Intervals are mean plus or minus five standard deviations over 60 such series, each from another
    initial value or a later time.
    """
    task = mackey_glass()
    assert task.references["mean"] == pytest.approx(0.0468, abs=0.003)
    assert task.references["linear, 20 lags"] == pytest.approx(0.0110, abs=0.002)
    assert task.references["persistence"] == pytest.approx(0.1224, abs=0.007)
    (train,), (test,) = task.train, task.test
    np.testing.assert_array_equal(train.targets[:-15], train.inputs[15:])
    assert train.counted.sum() == 5000 - 15 - 100
    assert test.counted.sum() == 1000 + 1 + 15
    # A network without a readout forecasts zero, near the mean.
    weights = Weights.initial(*task.sizes[:1], 4, 1, dtype=np.float64)
    weights.readout[:] = 0
    squares = np.square(test.targets[test.counted]).mean()
    assert mean_loss(weights, task.test) == pytest.approx(squares)
    # The mean of a part of the attractor lies within 0.1 of zero.
    assert squares == pytest.approx(task.references["mean"], abs=0.01)


def test_copying_by_hand():
    task = copying(symbols=4, alphabet=3, delay=2, sequences=5, batch=2)
    assert [part.inputs.shape for part in task.train] == [(6, 2, 3), (6, 2, 3), (6, 1, 3)]
    assert [part.inputs.shape for part in task.test] == [(6, 1, 3)]
    assert task.references == {"guess": pytest.approx(np.log(3))}
    for part in (*task.train, *task.test):
        assert part.loss == "cross_entropy"
        np.testing.assert_array_equal(part.counted, [0, 0, 1, 1, 1, 1])
        np.testing.assert_array_equal(part.inputs[:4].sum(axis=2), 1)
        assert set(part.inputs.ravel()) == {0, 1}
        assert not part.inputs[4:].any()
        np.testing.assert_array_equal(part.targets[2:], part.inputs[:4])
    # A silent network guesses.
    weights = Weights.initial(3, 4, 3, dtype=np.float64)
    weights.readout[:] = 0
    assert mean_loss(weights, task.test) == pytest.approx(np.log(3))


def test_copying_comes_from_its_seed():
    one, same, other = (copying(20, seed=seed, sequences=5) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.train[0].inputs, same.train[0].inputs)
    assert (one.train[0].inputs != other.train[0].inputs).any()
    assert (one.train[0].inputs[:, :1] != one.test[0].inputs).any()


def test_toy_tasks():
    wave = sine(steps=200, period=25.0, ahead=5)
    # sin a - sin b = 2 sin(half the difference) cos(...): a mean square of 2 sin^2 over periods.
    # 200 tested times are 8 periods.
    expected = 2 * np.sin(np.pi * 5 / 25) ** 2
    assert wave.references["persistence"] == pytest.approx(expected, rel=1e-6)
    assert wave.references["linear, 20 lags"] < 1e-20
    chaos = lorenz(steps=300)
    assert chaos.sizes == (3, 3)
    assert chaos.train[0].inputs.std(axis=0) == pytest.approx(np.ones((1, 3)), abs=0.1)
    assert chaos.references["linear, 20 lags"] < chaos.references["persistence"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": 60}, "split: 60 does not leave 12 times before it and one after it in 60 times"),
        ({"split": 12}, "split: 12 does not leave 12 times before it"),
        ({"targets": np.zeros((59, 1))}, "60 times of inputs and 59 of targets"),
        ({"inputs": np.zeros(60)}, r"inputs: shape \(60,\) is not \(times, variables\)"),
        ({"ahead": 0}, "ahead: 0 is not a positive integer"),
        ({"lags": 0}, "lags: 0 is not a positive integer"),
        ({"warm_up": -1}, "warm_up: -1 is negative"),
    ],
)
def test_series_that_do_not_fit_are_refused(changes, message):
    fitting = {"inputs": np.zeros((60, 2)), "targets": np.zeros((60, 1)), "ahead": 3, "split": 40}
    with pytest.raises(ValueError, match=message):
        forecasting("none", **(fitting | {"warm_up": 5, "lags": 4} | changes))


def test_copying_of_nothing_is_refused():
    with pytest.raises(ValueError, match="symbols: 0 is not a positive integer"):
        copying(symbols=0)
    with pytest.raises(ValueError, match="delay: -1 is negative"):
        copying(delay=-1)
