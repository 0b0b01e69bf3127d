"""Compare hidden inputs, centres and noise that depend on data with fits by hand."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import pytest
import yaml

from gfrnn.pipeline import open_source
from gfrnn.pipeline.config.experiment import Experiment
from gfrnn.pipeline.config.section import checked
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.errors import ConfigError
from gfrnn.pipeline.runs.refit import refit
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.training.checks import check_settings
from gfrnn_core.lifting import lift
from gfrnn_core.regression_rows import delayed
from gfrnn_testing.archives import DATA, ROOT, real
from gfrnn_testing.spheres import (
    advected,
    latitudes,
    local_experiment,
    local_tree,
    longitudes,
    write_fields,
)
from gfrnn_testing.weather import (
    Weather,
    contents,
    finish,
    make_weather,
    stamps,
    uncalibrated_contents,
)
from gfrnn_testing.weather_fits import (
    TRAIN,
    VALIDATION,
    fit_of,
    model_of,
    states_of,
    times_in,
)

# Hidden features see the linear model's forecast


@pytest.fixture(scope="module")
def turning(tmp_path_factory) -> Weather:
    """Write weather that a linear model forecasts exactly."""
    return make_weather(tmp_path_factory.mktemp("turning") / "weather.zarr", times=700)


@pytest.mark.parametrize("target", ["state", "increment"])
def test_features_around_an_exact_forecast_are_the_kernel_of_the_next_states(
    turning, tmp_path, target
):
    run = fit_of(
        turning,
        tmp_path / "run",
        state={"modes": 6, "delays": 1},
        model={
            "hidden_inputs": ["linear"], "sampling": "centres", "scale": 0.7, "target": target,
        },
        search={"model.seed": [0]},
    )  # fmt: skip
    network, states = model_of(run).networks[0], states_of(run)
    present = times_in(run, *TRAIN)[:-3]
    features = lift(states[present], None, network.hidden)[:, 7:]
    following = states[present + 1]
    centres = features.argmax(axis=0)
    np.testing.assert_allclose(features[centres, np.arange(15)], 1.0, rtol=1e-6)
    assert len(set(centres)) == 15
    spread = np.sqrt(np.square(following - following.mean(axis=0)).sum(axis=1).mean())
    distances = np.linalg.norm(following[:, None] - following[centres], axis=2)
    expected = np.exp(-np.square(distances / (0.7 * spread)) / 2)
    # Fields are stored in single precision.
    np.testing.assert_allclose(features, expected, atol=1e-5)


def test_states_and_forecasts_have_the_same_spread(turning, tmp_path):
    """The distance of both together is that of the present and the next states, scaled."""
    run = fit_of(
        turning,
        tmp_path / "run",
        state={"modes": 6, "delays": 2},
        model={
            "hidden_inputs": ["state", "linear"], "sampling": "centres", "scale": 1.0,
            "hidden_delays": 1,
        },
        search={"model.seed": [0]},
    )  # fmt: skip
    network, states = model_of(run).networks[0], states_of(run)
    present = times_in(run, *TRAIN)[1:-3]
    features = lift(delayed(states, 2, present[0], present[-1] + 1), None, network.hidden)[:, 13:]
    both = []
    for values in (states[present], states[present + 1]):
        spread = np.sqrt(np.square(values - values.mean(axis=0)).sum(axis=1).mean())
        both.append(values / spread)
    together = np.concatenate(both, axis=1)
    centres = features.argmax(axis=0)
    distances = np.square(together[:, None] - together[centres]).sum(axis=2)
    np.testing.assert_allclose(features, np.exp(-distances / 4), atol=1e-5)


def test_candidates_of_one_linear_model_share_its_pass(weather, tmp_path):
    folder = tmp_path / "run"
    inputs = {"hidden_inputs": ["state", "linear"]}
    run = fit_of(weather, folder, model=inputs)
    # Folds of two training years and of the validation period.
    assert len(list((folder / "summaries.zarr" / "linear").iterdir())) == 3
    again = refit(folder, tmp_path / "refit", without=[2001], ridge=[1e-2])
    fit = {"without": [2001], "ridge": [1e-2]}
    whole = fit_of(weather, tmp_path / "whole", model=inputs, fit=fit)
    assert uncalibrated_contents(again.model) == uncalibrated_contents(whole.model)
    finish(Run.reopen(run.folder))


def test_a_fit_without_its_model_resumes_from_every_pass(weather, tmp_path):
    keys = {"hidden_inputs": ["state", "linear"], "noise": "residual"}
    run = fit_of(weather, tmp_path / "run", model=keys)
    before, first = stamps(run.summaries), contents(run.model)
    shutil.rmtree(run.model)
    Run.reopen(run.folder).fit()
    after = stamps(run.summaries)
    passes = ("linear/", "noise/", "rows/")
    kept = {name: time for name, time in before.items() if name.startswith(passes)}
    assert {f"{name.split('/')[0]}/" for name in kept} == set(passes)
    assert kept == {name: after[name] for name in kept}
    assert contents(run.model) == first


# Features around states


def test_centres_of_patches_are_windows_of_the_training_period(tmp_path):
    rng = np.random.default_rng(1)
    values = advected(6, 12, 1, 485) + 0.1 * rng.normal(size=(485, 6, 12))
    path = write_fields(
        tmp_path / "w.zarr", {"2m_temperature": values}, latitudes(6, "between"), longitudes(12)
    )
    model = {"width": 40, "sampling": "centres", "scale": 0.3, "inputs": ["insolation"]}
    config = local_experiment(path, model=model, fit={"pool": 100})
    run = finish(Run(config, tmp_path / "run"))
    trained = model_of(run)
    network = trained.networks[0]
    days = times_in(run, "2001-01-01", "2001-12-26")
    time = run.ds["time"].values[: days[-1] + 2]
    states = trained.layout.encode(Fields(run.ds).read(0, len(time)), time)
    inputs = trained.forcing(time)
    windows = network.patches.windows(states)[:-1]
    seen = np.concatenate([windows, inputs[1:]], axis=2).reshape(-1, network.hidden.inputs)
    nearest = lift(seen, None, network.hidden)[:, network.hidden.inputs + 1 :].max(axis=0)
    np.testing.assert_allclose(nearest, 1.0, atol=1e-6)


@pytest.mark.parametrize(
    ("sections", "states"),
    [
        # Of 360 training days, the last has no next state and the first no state before it.
        ({"state": {"layout": "eof", "modes": 5}, "model": {"width": 400}}, 358),
        # At most 64 times of a single patch.
        ({"state": {"patch": [6, 12], "halo": [0, 0]}, "model": {"width": 100}}, 64),
    ],
)
def test_more_centres_than_states_are_refused(tmp_path, sections, states):
    path = write_fields(
        tmp_path / "w.zarr",
        {"2m_temperature": advected(6, 12, 1, 485)},
        latitudes(6, "between"),
        longitudes(12),
    )
    tree = local_tree(path, fit={"pool": 400, "widths": [10]}, **sections)
    tree["model"]["sampling"] = "centres"
    if tree["state"]["layout"] == "eof":
        tree["state"] = sections["state"]
    config = checked(Experiment, tree, "test")
    with pytest.raises(ConfigError, match=rf"centres are more than the {states} states"):
        check_settings(config, open_source(config.data))


# Noise of the shape of the errors


def test_noise_is_a_multiple_of_the_errors_of_the_first_step(weather, tmp_path):
    settings: dict[str, Any] = {"search": {"model.seed": [3]}}
    noise = {"noise": "residual", "noise_factor": 0.5}
    run = fit_of(weather, tmp_path / "run", model=noise, **settings)
    ridge = Experiment.model_fields["fit"].default.ridge
    clean = fit_of(
        weather, tmp_path / "clean",
        fit={"ridge": ridge, "balance": [1.0]}, **settings,
    )  # fmt: skip
    network, states = model_of(clean).networks[0], states_of(clean)
    # Rows end three days before the end of the period, the longest lead of the model.
    days = times_in(run, *VALIDATION)
    series = states[days[0] - 2 : days[-1] - 1]
    errors = network.predict(series) - series[2:]
    found = model_of(run).networks[0]
    np.testing.assert_array_equal(found.hidden.weights, network.hidden.weights)
    expected = 0.5 * np.sqrt(np.square(errors).mean(axis=0))
    np.testing.assert_allclose(found.noise, expected, rtol=1e-7)


def test_noise_of_patches_is_that_of_each_channel(tmp_path):
    rng = np.random.default_rng(0)
    values = advected(6, 12, 1, 485)
    smooth, rough = (values + size * rng.normal(size=values.shape) for size in (0.01, 0.5))
    fields = {"2m_temperature": smooth, "mean_sea_level_pressure": rough}
    path = write_fields(tmp_path / "w.zarr", fields, latitudes(6, "between"), longitudes(12))
    model = {"width": 5, "noise": "residual"}
    run = Run(local_experiment(path, model=model), tmp_path / "run")
    run.fit()
    noise = model_of(run).networks[0].noise
    assert noise.shape == (2,)
    # Units are standard deviations of each channel; the smallest possible error of a step is that
    # of the noise at both times.
    for index, (size, series) in enumerate(((0.5, rough), (0.01, smooth))):
        least = 2 * size / series.std()
        assert least < noise[index] < 2.5 * least


# Real weather


@real
@pytest.mark.slow
def test_the_forecast_of_a_linear_model_improves_a_day_ahead(tmp_path):
    tree = yaml.safe_load(
        (ROOT / "workflows" / "experiments" / "era_interim_europe.yaml").read_text("utf-8")
    )
    del tree["search"]
    tree["fit"] = {"ridge": [3e-3, 1e-2, 3e-2]}
    tree["model"] = {"width": 400, "hidden_delays": 1, "scale": 0.15}
    for source in tree["data"]["sources"]:
        source["path"] = str(DATA.resolve() / source["path"])
    scores = []
    for inputs in (["state"], ["state", "linear"]):
        tree["model"]["hidden_inputs"] = inputs
        run = Run(Experiment.model_validate(tree), tmp_path / str(len(scores)))
        run.fit()
        scores.append(model_of(run).notes.candidates[0].score)
    assert scores[1] < 0.98 * scores[0]
