"""The case of perturbation learning: its table, candidates and command."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
import yaml
from matplotlib.figure import Figure

from gfrnn.cluster import ClusterConfig, open_cluster
from gfrnn.pipeline.errors import ConfigError
from gfrnn.workflows.cases.perturbation.perturbation_settings import (
    PerturbationNetwork,
)
from gfrnn.workflows.cases.perturbation.task_data import parts
from gfrnn.workflows.cases.perturbation_case import CASE, run
from gfrnn.workflows.reproduce.settings_file import load_settings
from gfrnn.workflows.reproduce.settings_search import choose, searches

SILENT = lambda advance: None  # noqa: E731

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


def test_losses_bars_dataset_and_figure(tiny):
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


def test_diverged_rules_reach_no_bar(tiny):
    tiny.write_text(TINY.replace("rate: 0.01", "rate: 1.0e+9"))  # np and danp
    result = run(load_settings(CASE, tiny).settings, [0], SILENT)
    assert [verdict.reached for verdict in result.verdicts()] == [False] * 3
    assert any(
        note.startswith("danp, seed 0 diverged") and "epoch" in note for note in result.notes
    )
    result.draw(Figure(layout="constrained"))


def test_each_horizon_has_its_own_scores(station, tiny):
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


def test_only_candidates_of_the_task_are_searched():
    own = searches(
        CASE, load_settings(CASE, options={"task": "copying", "rules": ["danp", "bptt"]})
    )
    assert set(own) == {"copying_danp", "copying_bptt"}
    loaded = load_settings(CASE, options={"rules": ["anp"]})
    for name in [name for name in loaded.candidates if "_anp" in name]:
        del loaded.candidates[name]
    with pytest.raises(ConfigError, match="none of .*danp.* applies to these settings"):
        searches(CASE, loaded)


def test_the_command_writes_a_store(call, tiny, tmp_path):
    words = ["--task", "mackey-glass", "--rules", "danp, bptt", "--seeds", 1, "--settings", tiny]
    code, out, err = call("perturbation", *words)
    assert code == 0, err
    folder = tmp_path / "runs" / "reproduce" / "perturbation-mackey-glass"
    assert "required below 0.0106" in out
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
        (["lorenz63", "--task", "weather"], "--task: not a setting of the case lorenz63"),
        (["rossler", "--rules", "anp"], "--rules: not a setting of the case rossler"),
        (["lorenz63", "--workers", "2"], "--workers: the case lorenz63 runs in one process"),
        (["perturbation", "--task", "wether"], "task: 'wether'"),
        (["perturbation", "--rules", "anp,bp"], "'bp'"),
        (["perturbation", "--rules", ""], "rules"),
    ],
)
def test_options_that_are_not_allowed(words, message, call):
    code, _, err = call(*words)
    assert code == 2
    assert message in err
