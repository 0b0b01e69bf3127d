"""Test the case of perturbation learning: tasks, jobs, the table, choices, the command."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from gfrnn.cluster import ClusterConfig, open_cluster
from gfrnn.pipeline.errors import ConfigError, DataError
from gfrnn.workflows.cases.perturbation.learning_run import learn, validation_loss
from gfrnn.workflows.cases.perturbation.perturbation_settings import (
    CopyingData,
    LearningRule,
    MackeyGlassData,
    PerturbationNetwork,
    WeatherData,
)
from gfrnn.workflows.cases.perturbation.task_data import make_task, parts, streams
from gfrnn.workflows.cases.perturbation_case import CASE, run
from gfrnn.workflows.reproduce.settings_file import load_settings
from gfrnn.workflows.reproduce.settings_search import choose, searches
from gfrnn_core.perturbation import (
    Backpropagation,
    Learning,
    Perturbation,
    Weights,
    Window,
    mean_loss,
)
from gfrnn_testing.archives import real

SILENT = lambda advance: None  # noqa: E731
MACKEY = MackeyGlassData(steps=600, ahead=15, test=100, validation=120)
COPY = CopyingData(symbols=8, alphabet=3, delay=2, sequences=20, batch=5, validation=8)
SMALL = PerturbationNetwork(units=8, epochs=3, window=20)

TINY = """
rules: [np, danp, bptt]
tasks:
  mackey_glass:
    data: {steps: 600, test: 100, validation: 120}
    network: {units: 8, epochs: 3, window: 20}
    rules:
      np: {optimiser: sgd, rate: 0.01, draws: 2, credit: 2, schedule: constant}
      danp: {optimiser: sgd, rate: 0.01, draws: 2, credit: 2, schedule: constant}
      bptt: {optimiser: adam, rate: 0.003, schedule: constant}
    scaling: {units: [5, 9], epochs: 1, draws: 1, streams: 2}
"""


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


def table(hours=900, seed=0):
    """Write a station's file in which two columns determine the temperature an hour later."""
    rng = np.random.default_rng(seed)
    wave = np.sin(2 * np.pi * np.arange(hours) / 24)
    return pd.DataFrame(
        {
            "date": pd.date_range("2010-01-01", periods=hours, freq="h").strftime("%m/%d/%Y %H:%M"),
            "DryBulbFarenheit": 50 + 20 * wave,
            "DewPointFarenheit": 40 + 20 * np.cos(2 * np.pi * np.arange(hours) / 24),
            "StationPressure": 29 + rng.normal(size=hours),
            "RelativeHumidity": 50 + rng.normal(size=hours),
            "Visibility": 10 + rng.normal(size=hours),
            "WindSpeed": rng.uniform(0, 10, hours),
            "WindDirection": rng.uniform(0, 360, hours),
        }
    )


@pytest.fixture
def station(tmp_path):
    table().to_csv(tmp_path / "WTH.csv", index=False)
    return WeatherData(path=str(tmp_path / "WTH.csv"), train=700, validation=150, ahead=[1, 6])


# Streams


def ramp(steps, first):
    """Return inputs that count the steps, with their negatives as targets."""
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
@settings(max_examples=50, deadline=None)
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


# Tasks


def test_validation_is_the_end_of_the_training_part():
    full = make_task(MACKEY, 15, validation=False)
    part = make_task(MACKEY, 15, validation=True)
    train, held = full.train[0], part.test[0]
    own = held.targets[held.counted]
    assert len(own) == 120
    # The last target of the training part is the last one that validation sees.
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
    truth = table()["DryBulbFarenheit"].to_numpy()
    window = task.test[0]
    assert window.inputs.shape[2] == 9
    assert (window.inputs[..., -1] == 1).all()
    # Scaled by the extremes of the training rows: 30 to 70.
    wanted = (truth[700:] - truth[694:-6]) / 40
    np.testing.assert_allclose(window.targets[window.counted, 0, 0], wanted, atol=1e-12)
    assert task.references["persistence"] == pytest.approx(np.square(wanted).mean())
    assert task.references["least squares, 8 columns"] < 1e-20


def test_weather_is_scaled_by_training_rows_alone(station, tmp_path):
    other = table()
    other.loc[700:, "DryBulbFarenheit"] += 500
    other.to_csv(tmp_path / "other.csv", index=False)
    moved = station.model_copy(update={"path": str(tmp_path / "other.csv")})
    for validation in (False, True):
        one, two = (make_task(data, 1, validation=validation) for data in (station, moved))
        np.testing.assert_array_equal(one.train[0].inputs, two.train[0].inputs)
        same = np.array_equal(one.test[0].inputs, two.test[0].inputs)
        assert same == validation  # validation never sees the test


def test_weather_with_gaps_is_refused(station, tmp_path):
    gappy = table()
    gappy.loc[5, "WindSpeed"] = -9999
    gappy.to_csv(tmp_path / "gappy.csv", index=False)
    with pytest.raises(DataError, match="1 hours lack values"):
        make_task(
            station.model_copy(update={"path": str(tmp_path / "gappy.csv")}), 1, validation=False
        )


@pytest.mark.parametrize(
    ("data", "change", "message"),
    [
        (MACKEY, {"validation": 550}, "take more rows, or a smaller validation"),
        (COPY, {"validation": 20}, "leave nothing to learn from"),
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


# Jobs


@pytest.mark.parametrize(
    ("name", "kind"),
    [("wp", "wp"), ("dwp", "wp"), ("np", "np"), ("dnp", "np"), ("anp", "anp"), ("danp", "anp")],
)
def test_names_of_rules(name, kind):
    rule = LearningRule(rate=0.1, sigma=0.5, draws=3, credit=None, scaling="unbiased")
    assert rule.method(name) == Perturbation(kind, 0.5, 3, None, "unbiased")
    assert rule.method("bptt") == Backpropagation()


def test_a_job_gives_the_results_of_the_library():
    rule = LearningRule(rate=0.01, decorrelation=1e-3, draws=2)
    found = learn(MACKEY, 15, SMALL, "danp", rule, 4)
    task = make_task(MACKEY, 15, validation=False)
    weights = Weights.initial(1, 8, 1, 4)
    method = Perturbation("anp", draws=2)
    learning = Learning(method, 0.01, decorrelation=1e-3, window=20, epochs=3, seed=4)
    assert found.train.tolist() == list(learning.losses(weights, task.train))
    assert found.final == found.test[-1] == mean_loss(weights, task.test)
    assert (np.diff(found.seconds) > 0).all()
    assert found.total == found.seconds[-1] == pytest.approx(3 * found.epoch_seconds)


def test_backpropagation_beats_persistence():
    network = PerturbationNetwork(units=20, epochs=10, window=50)
    found = learn(MACKEY, 15, network, "bptt", LearningRule(rate=0.01, optimiser="adam"), 0)
    assert found.final < 0.5 * make_task(MACKEY, 15, validation=False).references["persistence"]
    assert found.test[-1] < found.test[0]


def test_a_diverging_learning_rate_has_infinite_loss():
    found = learn(MACKEY, 15, SMALL, "bptt", LearningRule(rate=1e9), 0)
    assert found.final == math.inf
    assert "epoch" in found.diverged
    assert math.isinf(validation_loss(MACKEY, [15], SMALL, "bptt", LearningRule(rate=1e9), 0))


def test_the_validation_loss_is_a_mean_over_horizons(station):
    rule = LearningRule(rate=0.01, optimiser="adam")
    both = validation_loss(station, [1, 6], SMALL, "bptt", rule, 0)
    each = [learn(station, ahead, SMALL, "bptt", rule, 0, True).final for ahead in (1, 6)]
    assert both == pytest.approx(np.mean(np.log10(each)))


# Results


def test_the_result_has_scores_bars_data_and_a_figure(tiny):
    tree = load_settings(CASE, tiny).settings
    result = run(tree, [0, 1], SILENT)
    by_name = {entry.name: entry for entry in result.entries}
    losses = {name: by_name[name].scores["loss"] for name in ("np", "danp", "bptt")}
    level = np.median(losses["bptt"])
    assert by_name["danp"].scores["relative"] == pytest.approx(np.array(losses["danp"]) / level)
    assert [bar.value for bar in result.bars] == [0.0106, 1.1, np.median(losses["np"]) / 2]
    assert {bar.entry for bar in result.bars} == {"danp"}
    data = result.dataset
    assert data["test_loss"].dims == ("part", "rule", "seed", "epoch")
    assert (
        data["test_loss"].sel(rule="np", part="mackey-glass").values[:, -1].tolist() == losses["np"]
    )
    assert data["scaling_loss"].sel(scaled_rule="danp", units=9) > 0
    assert "anp" not in data["scaled_rule"]  # only rules that are run are scaled
    figure = Figure(layout="constrained")
    result.draw(figure)
    assert len(figure.axes) == 4
    assert {line.get_label() for line in figure.axes[0].lines} >= {
        "np",
        "danp",
        "bptt",
        "persistence",
    }


def test_diverged_rules_miss_their_bars(tiny):
    tiny.write_text(TINY.replace("rate: 0.01", "rate: 1.0e+9"))  # np and danp
    result = run(load_settings(CASE, tiny).settings, [0], SILENT)
    assert [verdict.reached for verdict in result.verdicts()] == [False] * 3
    wanted = "danp, seed 0 diverged and counts as infinite: epoch"
    assert any(note.startswith(wanted) for note in result.notes)
    result.draw(Figure(layout="constrained"))


def test_horizons_are_parts(station, tiny):
    tree = load_settings(CASE, tiny, options={"task": "weather"}).settings
    network = PerturbationNetwork(units=6, epochs=1, window=None, streams=4)
    change = {"data": station, "network": network}
    weather = tree.tasks.weather.model_copy(update=change)
    weather = weather.model_copy(
        update={"scaling": weather.scaling.model_copy(update={"units": [4], "epochs": 1})}
    )
    tree = tree.model_copy(update={"tasks": tree.tasks.model_copy(update={"weather": weather})})
    result = run(tree, [0], SILENT)
    assert [part.ahead for part in parts(station)] == [1, 6]
    assert result.dataset["part"].values.tolist() == ["1 h ahead", "6 h ahead"]
    assert {"loss_1", "loss_6", "relative_6"} <= set(result.entries[1].scores)
    assert [bar.score for bar in result.bars] == ["loss_1", "relative_1", "loss_1"]
    result.draw(Figure(layout="constrained"))


@pytest.mark.slow
def test_workers_change_nothing(tiny):
    loaded = load_settings(CASE, tiny)
    loaded.candidates.clear()
    keys = {"tasks.mackey_glass.rules.danp.rate": [0.001, 0.01]}
    loaded.candidates["mackey-glass_danp"] = {"keys": keys, "seeds": 2}
    alone, (chosen_alone,) = run(loaded.settings, [0, 1], SILENT), choose(CASE, loaded, SILENT)[1]
    with open_cluster(ClusterConfig(workers=2, dashboard="127.0.0.1:0")):
        spread, (chosen_spread,) = (
            run(loaded.settings, [0, 1], SILENT),
            choose(CASE, loaded, SILENT)[1],
        )
    timeless = ["seconds", "scaling_seconds"]
    xr.testing.assert_identical(
        alone.dataset.drop_vars(timeless), spread.dataset.drop_vars(timeless)
    )
    assert chosen_alone.trials == chosen_spread.trials


# Choices and the command


def test_candidates_of_the_task_alone():
    own = searches(
        CASE, load_settings(CASE, options={"task": "copying", "rules": ["danp", "bptt"]})
    )
    assert set(own) == {"copying_danp", "copying_bptt"}
    loaded = load_settings(CASE, options={"rules": ["anp"]})
    for name in [name for name in loaded.candidates if "_anp" in name]:
        del loaded.candidates[name]
    with pytest.raises(ConfigError, match="none of them applies to these settings"):
        searches(CASE, loaded)


def test_the_command_writes_a_store(call, tiny, tmp_path):
    words = ["--task", "mackey-glass", "--rules", "danp, bptt", "--seeds", 1, "--settings", tiny]
    code, out, err = call("perturbation", *words)
    assert code == 0, err
    folder = tmp_path / "runs" / "reproduce" / "perturbation-mackey-glass"
    assert "wanted below 0.0106" in out
    store = xr.open_zarr(folder / "result.zarr", chunks=None)
    assert store["rule"].values.tolist() == ["danp", "bptt"]
    assert store.attrs["task"] == "mackey-glass"
    assert store.attrs["command"] == json.loads((folder / "result.json").read_text())["command"]
    assert (folder / "result.zarr" / "zarr.json").exists()
    assert "--task mackey-glass --rules danp,bptt" in store.attrs["command"]
    assert yaml.safe_load((folder / "settings.yaml").read_text())["rules"] == ["danp", "bptt"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lorenz63", "--task", "weather"], "--task: the case lorenz63 has no such setting"),
        (["rossler", "--rules", "anp"], "--rules: the case rossler has no such setting"),
        (["lorenz63", "--workers", "2"], "--workers: the case lorenz63 runs in one process"),
        (["perturbation", "--task", "wether"], "task: 'wether'"),
        (["perturbation", "--rules", "anp,bp"], "'bp'"),
        (["perturbation", "--rules", ""], "rules"),
    ],
)
def test_options_that_are_not_allowed_are_refused(words, message, call):
    code, _, err = call(*words)
    assert code == 2
    assert message in err
