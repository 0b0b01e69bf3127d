"""Compare keys that act around the choice of a model with fits of the same rows by hand.

These are ``fit.refit``, ``fit.choice``, ``model.hidden_inputs``, ``model.sampling: centres`` and
``model.noise: residual``.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
import zarr

from gfrnn.pipeline import open_source
from gfrnn.pipeline.config.experiment import Experiment
from gfrnn.pipeline.config.section import checked
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.errors import ConfigError, ResourceError
from gfrnn.pipeline.planning.fit_estimate import StageEstimate, Workforce
from gfrnn.pipeline.planning.machine_rates import MachineRates
from gfrnn.pipeline.planning.plan_fit import plan_fit
from gfrnn.pipeline.reduction.checkpoints import Checkpoints
from gfrnn.pipeline.reduction.progress import ProgressUpdate
from gfrnn.pipeline.runs.refit import refit
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.runs.update import update
from gfrnn.pipeline.training.checks import check_settings
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.training.selection.ridge import solve
from gfrnn.pipeline.training.triangles import Factors
from gfrnn_core import SampledRNN
from gfrnn_core.lifting import lift
from gfrnn_core.regression_rows import delayed
from gfrnn_testing.archives import DATA, ROOT, real
from gfrnn_testing.reduction_toys import period
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
    experiment,
    finish,
    make_weather,
    stamps,
    uncalibrated_contents,
    write_store,
)

PARTS: dict[str, Any] = {
    "state": {"modes": 5, "delays": 2},
    "model": {"width": 15, "leads": ["1d", "3d"], "scale": 0.4},
    "fit": {"ridge": [1e-3, 1e-2, 1e-1], "balance": [1.0, 0.3]},
    "search": {"model.seed": [0, 1]},
    "forecast": {"horizon": "4d"},
}
TRAIN, VALIDATION = ("2001-01-01", "2002-03-31"), ("2002-04-01", "2002-06-30")


def fit_of(weather: Weather, folder: Path, **sections: Any) -> Run:
    """Fit PARTS with some keys changed."""
    parts = {name: PARTS.get(name, {}) | sections.get(name, {}) for name in PARTS | sections}
    run = Run(experiment(weather.path, **parts), folder)
    run.fit()
    return run


def model_of(run: Run) -> ForecastModel:
    return ForecastModel.load(run.model)


def states_of(run: Run) -> np.ndarray:
    """Return the states of all times; NaN outside the training and validation periods."""
    return np.asarray(zarr.open_array(run.folder / "summaries.zarr" / "series", mode="r")[...])


def times_in(run: Run, first: str, last: str) -> np.ndarray:
    return np.flatnonzero(period(first, last).mask(run.ds["time"].values))


def rows_in(run: Run, network: SampledRNN, size: int, *periods: tuple[str, str]) -> Factors:
    """Compute the triangle of the rows with all targets in one of some periods."""
    states, series = states_of(run)[:, :size], []
    for first, last in periods:
        inside = times_in(run, first, last)
        begin = max(0, inside[0] - network.delays)
        series.append(states[begin : inside[-1] + 1])
    return Factors.of_series(network, series)


# The validation period is added


@pytest.fixture(scope="module")
def added(weather, tmp_path_factory) -> Run:
    return fit_of(weather, tmp_path_factory.mktemp("added") / "run", fit={"refit": "all"})


@pytest.fixture(scope="module")
def plain(weather, tmp_path_factory) -> Run:
    return fit_of(weather, tmp_path_factory.mktemp("plain") / "run")


def assert_solved_from(run: Run, *periods: tuple[str, str], source: Run | None = None) -> None:
    """Assert that all outer weights are those of the rows of some periods, as chosen.

    The states are those of ``source`` where a run was refitted from it.
    """
    model = model_of(run)
    _, fitted = run.load_candidates(model)
    settings = [*model.notes.solves, model.notes.linear_solve]
    for each, network in zip(settings, (*model.networks, model.linear), strict=True):
        candidate = fitted.candidates[each.candidate]
        rows = rows_in(source or run, candidate.network, candidate.size, *periods)
        expected = solve(
            candidate.network, [rows], size=candidate.size, width=each.width,
            ridge=np.array(each.ridge), balance=np.array(each.balance),
        )  # fmt: skip
        np.testing.assert_allclose(network.outer, expected.outer, atol=1e-9)
        assert model.notes.rows == rows.rows


def test_weights_are_those_of_both_periods_at_the_chosen_settings(added, plain):
    assert_solved_from(added, TRAIN, VALIDATION)
    assert_solved_from(plain, TRAIN)
    ours, theirs = model_of(added), model_of(plain)
    assert ours.notes.solves == theirs.notes.solves
    assert ours.notes.linear_solve == theirs.notes.linear_solve
    assert ours.notes.candidates == theirs.notes.candidates
    for name, values in theirs.selection.items():
        np.testing.assert_array_equal(ours.selection[name], values)
    assert (ours.linear.outer != theirs.linear.outer).any()


def test_a_refit_adds_the_validation_period_too(weather, added, tmp_path):
    again = refit(added.folder, tmp_path / "again")
    assert contents(again.model) == contents(added.model)
    without = refit(added.folder, tmp_path / "without", without=[2001])
    changed = fit_of(weather, tmp_path / "fit", fit={"refit": "all", "without": [2001]})
    assert uncalibrated_contents(without.model) == uncalibrated_contents(changed.model)
    assert_solved_from(without, ("2002-01-01", TRAIN[1]), VALIDATION, source=added)


def test_an_update_continues_after_the_validation_period(weather, added, tmp_path):
    _, fitted = added.load_candidates(model_of(added))
    assert fitted.last == np.datetime64("2002-06-30")
    later = weather.ds.sel(time=slice("2002-07-01", "2002-08-31"))
    store = tmp_path / "later.zarr"
    write_store(later, store)
    updated = update(added.folder, [str(store)], tmp_path / "updated")
    assert updated.updated.latest.consecutive
    assert updated.updated.rows == 62  # a row for each new time as the last target
    whole = fit_of(
        weather,
        tmp_path / "whole",
        periods={"validation": ["2002-04-01", "2002-08-31"], "test": ["2002-09-01", "2002-10-30"]},
        fit={"refit": "all"},
    )
    # The states of the longer validation period give the same rows.
    model, other = model_of(updated), model_of(whole)
    rows = rows_in(whole, model.linear, 5, TRAIN, (VALIDATION[0], "2002-08-31"))
    expected = solve(
        model.linear, [rows], size=5, width=0,
        ridge=np.array(model.notes.linear_solve.ridge), balance=np.ones(2),
    )  # fmt: skip
    np.testing.assert_allclose(model.linear.outer, expected.outer, atol=1e-6)
    assert other.notes.rows == rows.rows


# Every year is left out once


def test_the_choice_over_years_is_that_of_fits_without_each(weather, tmp_path):
    run = fit_of(
        weather,
        tmp_path / "run",
        fit={"choice": "years", "refit": "all", "balance": [1.0]},
        search={"model.seed": [0]},
    )
    model, (store, fitted) = model_of(run), run.load_candidates(model_of(run))
    (candidate,) = fitted.candidates
    assert sorted(candidate.folds) == ["train/2001", "train/2002", "validation/2002"]
    parts = [("2001-01-01", "2001-12-31"), ("2002-01-01", TRAIN[1]), VALIDATION]
    folds = [rows_in(run, candidate.network, 5, part) for part in parts]
    for (name, fold), rows in zip(candidate.folds.items(), folds, strict=True):
        kept = candidate.factor(Checkpoints(store), [name])
        assert kept.rows == rows.rows == fold.rows
    squares = np.zeros((3, 2))
    for part in parts:
        others = [other for other in parts if other != part]
        for r, ridge in enumerate(run.experiment.fit.ridge):
            network = solve(
                candidate.network, [rows_in(run, candidate.network, 5, *others)], size=5, width=15,
                ridge=np.full(2, ridge), balance=np.ones(2),
            )  # fmt: skip
            squares[r] += squared_errors_of(run, network, part)
    errors = squares / sum(fold.rows for fold in folds)
    states = states_of(run)
    targets = [
        time + np.array([1, 3])
        for part in parts
        for time in present_times(run, candidate.network, part)
    ]
    variance = np.square(states[np.array(targets)]).mean(axis=0).sum(axis=1)
    np.testing.assert_allclose(model.selection["errors"][0], errors / variance, rtol=1e-7)
    chosen = np.array(run.experiment.fit.ridge)[errors.argmin(axis=0)]
    np.testing.assert_array_equal(model.selection["ridge"], chosen)
    assert_solved_from(run, *parts)
    again = refit(run.folder, tmp_path / "again")
    assert contents(again.model) == contents(run.model)


def present_times(run: Run, network: SampledRNN, part: tuple[str, str]) -> np.ndarray:
    """Return the present times of the rows with all targets in a period."""
    inside = times_in(run, *part)
    first = max(int(inside[0]) - 1, network.delays - 1)
    return np.arange(first, inside[-1] + 1 - max(network.leads))


def squared_errors_of(run: Run, network: SampledRNN, part: tuple[str, str]) -> np.ndarray:
    """Return the squared errors at each lead, summed over the rows of a period."""
    states = states_of(run)[:, : network.state_size]
    present = present_times(run, network, part)
    seen = delayed(states, network.delays, present[0], present[-1] + 1)
    features = lift(seen, None, network.hidden)
    return np.array(
        [
            np.square(features @ outer - states[present + lead]).sum()
            for lead, outer in zip(network.leads, network.outer, strict=True)
        ]
    )


def test_weights_of_training_years_alone_after_a_choice_over_years(weather, tmp_path):
    run = fit_of(weather, tmp_path / "run", fit={"choice": "years", "without": [2001]})
    assert_solved_from(run, ("2002-01-01", TRAIN[1]))


def test_too_few_rows_without_the_longest_year_are_refused(weather):
    parts = PARTS | {"model": PARTS["model"] | {"width": 170}}
    ds = open_source(experiment(weather.path, **parts).data)
    check_settings(experiment(weather.path, **parts), ds)
    parts["fit"] = PARTS["fit"] | {"choice": "years"}
    with pytest.raises(ConfigError, match=r"model\.width: 170 .* rows that are left without"):
        check_settings(experiment(weather.path, **parts), ds)


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


@pytest.mark.parametrize("noise", [0.0, "residual"])
def test_a_fit_without_its_model_resumes_from_every_pass(weather, tmp_path, noise):
    keys = {"hidden_inputs": ["state", "linear"], "noise": noise}
    run = fit_of(weather, tmp_path / "run", model=keys)
    before, first = stamps(run.summaries), contents(run.model)
    shutil.rmtree(run.model)
    Run.reopen(run.folder).fit()
    after = stamps(run.summaries)
    passes = ("linear/", "noise/", "rows/")
    kept = {name: time for name, time in before.items() if name.startswith(passes)}
    assert any(name.startswith("noise/") for name in kept) == (noise == "residual")
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
    for index, (size, series) in enumerate(((0.01, smooth), (0.5, rough))):
        least = 2 * size / series.std()
        assert least < noise[index] < 2.5 * least


# Plans


def planned(config: Experiment) -> dict[str, StageEstimate]:
    """Return the stages of a plan at given rates."""
    work: dict[str, float] = defaultdict(lambda: 1e9)
    rates = MachineRates(work, {"float64": 1e9}, 1e6, 1e12)
    found = plan_fit(config, open_source(config.data), Workforce(), rates)
    return {stage.name: stage for stage in found.stages}


KEYS: list[dict[str, Any]] = [
    {"fit": {"refit": "all"}},
    {"fit": {"choice": "years"}},
    {"model": {"hidden_inputs": ["state", "linear"]}},
    {"model": {"hidden_inputs": ["state", "linear"], "noise": "residual"}},
    {"model": {"sampling": "centres", "scale": 1.0}},
    {
        "model": {
            "hidden_inputs": ["linear"], "sampling": "centres", "scale": 1.0,
            "inputs": ["day_of_year"], "joint_inputs": True, "season_terms": True,
        }
    },
]  # fmt: skip


@pytest.mark.parametrize("keys", KEYS, ids=str)
def test_a_plan_has_the_tasks_that_a_fit_reports(weather, tmp_path, keys):
    parts = {name: PARTS.get(name, {}) | keys.get(name, {}) for name in PARTS | keys}
    config, seen = experiment(weather.path, **parts), {}

    def progress(advance: ProgressUpdate) -> None:
        seen.setdefault(advance.name, advance.total)

    Run(config, tmp_path / "run", progress).fit()
    stages = planned(config)
    assert {name: stage.leaves // stage.parts for name, stage in stages.items()} == seen


def test_leaving_years_out_costs_a_solve_for_each(weather):
    held, years = (
        planned(experiment(weather.path, **PARTS | {"fit": PARTS["fit"] | {"choice": choice}}))
        for choice in ("validation", "years")
    )
    assert years["solve"].operations > 3 * held["solve"].operations
    assert years["solve"].leaf_bytes > held["solve"].leaf_bytes
    assert "final solve" not in held
    assert years["final solve"].operations > 0


def test_memory_for_left_out_years_is_checked_before_work(weather, tmp_path, monkeypatch):
    run = fit_of(weather, tmp_path / "run", fit={"choice": "years"})
    _, fitted = run.load_candidates(model_of(run))
    candidate = fitted.candidates[0]
    limit = 20 * 8 * candidate._columns.total**2
    monkeypatch.setattr("gfrnn.pipeline.reduction.task_memory.thread_memory", lambda: limit)
    candidate.check_memory("solve")
    with pytest.raises(ResourceError, match="solve"):
        candidate.check_memory("solve", left_out=3)


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
