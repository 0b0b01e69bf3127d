"""Tasks of perturbation learning: their sequences, validation and streams."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfrnn.pipeline.errors import ConfigError, DataError
from gfrnn.workflows.cases.perturbation.perturbation_settings import (
    CopyingData,
    MackeyGlassData,
)
from gfrnn.workflows.cases.perturbation.task_data import make_task, streams
from gfrnn.workflows.cases.perturbation_case import CASE
from gfrnn.workflows.reproduce.settings_file import load_settings
from gfrnn_core.perturbation import (
    Window,
)
from gfrnn_testing.archives import real
from gfrnn_testing.station_toys import periodic_wth_table

MACKEY = MackeyGlassData(steps=600, ahead=15, test=100, validation=120)
COPY = CopyingData(symbols=8, alphabet=3, delay=2, sequences=20, batch=5, validation=8)


def ramp(steps, first):
    """Inputs count the steps, targets are their negatives."""
    values = np.arange(steps, dtype=float)[:, None, None]
    return Window(values, -values, np.arange(steps) >= first, "squared")


def test_streams_follow_each_other_after_their_warm_up():
    found = streams(ramp(13, 3), 2)
    assert found.inputs[..., 0].T.tolist() == [
        [0, 1, 2, 3, 4, 5, 6, 7],
        [5, 6, 7, 8, 9, 10, 11, 12],
    ]
    assert found.counted.tolist() == [False] * 3 + [True] * 5
    np.testing.assert_array_equal(found.targets, -found.inputs)


@given(steps=st.integers(10, 80), first=st.integers(0, 5), number=st.integers(1, 5))
@settings(max_examples=50)
def test_streams_count_every_step_once(steps, first, number):
    found = streams(ramp(steps, first), number)
    seen = np.sort(found.inputs[found.counted].ravel())
    kept = (steps - first) // number * number
    np.testing.assert_array_equal(seen, np.arange(first, first + kept))


@pytest.mark.parametrize(
    ("window", "number"), [(ramp(5, 3), 3), (make_task(COPY, 2, validation=False).train[0], 2)]
)
def test_streams_that_do_not_fit_are_refused(window, number):
    with pytest.raises(ConfigError, match=r"network\.streams: \d pieces"):
        streams(window, number)


def test_validation_is_the_end_of_the_training_part():
    full = make_task(MACKEY, 15, validation=False)
    part = make_task(MACKEY, 15, validation=True)
    train, held = full.train[0], part.test[0]
    own = held.targets[held.counted]
    assert len(own) == 120
    # Validation ends with the last target of the training part.
    np.testing.assert_array_equal(own, train.targets[train.counted][-len(own) :])
    border = part.train[0].targets[part.train[0].counted]
    assert len(border) + 120 == train.counted.sum()


def test_validation_of_copying_takes_the_last_sequences():
    full, part = (make_task(COPY, 2, validation=flag) for flag in (False, True))
    assert (len(full.train), len(part.train), len(part.test)) == (4, 2, 2)
    for one, other in zip((*part.train, *part.test), full.train, strict=True):
        np.testing.assert_array_equal(one.inputs, other.inputs)


def test_weather_targets_are_changes(station):
    task = make_task(station, 6, validation=False)
    truth = periodic_wth_table()["DryBulbFarenheit"].to_numpy()
    window = task.test[0]
    assert window.inputs.shape[2] == 9
    assert (window.inputs[..., -1] == 1).all()
    # Scaled by the extremes of the training rows: 30 to 70.
    wanted = (truth[700:] - truth[694:-6]) / 40
    np.testing.assert_allclose(window.targets[window.counted, 0, 0], wanted, atol=1e-12)
    assert task.references["persistence"] == pytest.approx(np.square(wanted).mean())
    assert task.references["least squares, 8 columns"] < 1e-20


def test_weather_is_scaled_by_training_rows_alone(station, tmp_path):
    other = periodic_wth_table()
    other.loc[700:, "DryBulbFarenheit"] += 500
    other.to_csv(tmp_path / "other.csv", index=False)
    moved = station.model_copy(update={"path": str(tmp_path / "other.csv")})
    for validation in (False, True):
        one, two = (make_task(data, 1, validation=validation) for data in (station, moved))
        np.testing.assert_array_equal(one.train[0].inputs, two.train[0].inputs)
        same = np.array_equal(one.test[0].inputs, two.test[0].inputs)
        assert same == validation  # validation does not use the test


def test_weather_with_missing_values_is_refused(station, tmp_path):
    gappy = periodic_wth_table()
    gappy.loc[5, "WindSpeed"] = -9999
    gappy.to_csv(tmp_path / "gappy.csv", index=False)
    with pytest.raises(DataError, match="1 hours lack values"):
        make_task(
            station.model_copy(update={"path": str(tmp_path / "gappy.csv")}), 1, validation=False
        )


@pytest.mark.parametrize(
    ("data", "change", "message"),
    [
        (MACKEY, {"validation": 550}, "more rows.*smaller validation"),
        (COPY, {"validation": 20}, "20 sequences in batches.*validation"),
    ],
)
def test_too_few_data_are_refused(data, change, message):
    with pytest.raises(ConfigError, match=message):
        make_task(data.model_copy(update=change), 15, validation=True)


@real
def test_bars_of_the_real_station():
    data = load_settings(CASE).settings.tasks.weather.data
    for ahead, level in ((1, 5.97e-4), (24, 5.82e-3), (48, 1.08e-2)):
        task = make_task(data, ahead, validation=False)
        assert task.references["persistence"] == pytest.approx(level, rel=0.03)
        assert task.test[0].counted.sum() == pytest.approx(61 * 24, abs=48)
