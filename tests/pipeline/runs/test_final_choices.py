"""Compare fit.refit and fit.choice with fits of the same rows by hand."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from gfrnn.pipeline import open_source
from gfrnn.pipeline.errors import ConfigError
from gfrnn.pipeline.reduction.checkpoints import Checkpoints
from gfrnn.pipeline.runs.refit import refit
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.runs.update import update
from gfrnn.pipeline.states.eof_states import EofSummary
from gfrnn.pipeline.training.checks import check_settings
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.training.selection.candidates import Candidate
from gfrnn.pipeline.training.selection.choose_model import solve_candidate
from gfrnn.pipeline.training.selection.ridge import FitRows, solve
from gfrnn_core import SampledRNN
from gfrnn_core.lifting import lift
from gfrnn_core.regression_rows import delayed
from gfrnn_testing.weather import (
    contents,
    experiment,
    make_weather,
    uncalibrated_contents,
    write_store,
)
from gfrnn_testing.weather_fits import (
    PARTS,
    TRAIN,
    VALIDATION,
    fit_of,
    model_of,
    rows_in,
    states_of,
    times_in,
)

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
            candidate.network, FitRows([rows]), size=candidate.size, width=each.width,
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


@pytest.mark.parametrize(
    ("ridges", "times"),
    [((1e-2, 1e-3), 1), ((1e-9, 1e-8), 1), ((1e-2, 1e-9), 2), ((1e-9, 1e-2), 1)],
)
def test_triangles_are_loaded_once_for_all_networks_of_a_candidate(
    added, monkeypatch, ridges, times
):
    """Loaded again where a ridge after others needs the triangles, and not their products."""
    store, fitted = added.load_candidates(model_of(added))
    loaded = []
    load = Candidate.load

    def counted(self, checkpoints, name):
        loaded.append(name)
        return load(self, checkpoints, name)

    monkeypatch.setattr(Candidate, "load", counted)
    candidate = fitted.candidates[0]
    folds = candidate.solved_folds(added.experiment.fit)
    chosen = model_of(added).notes.solves[0]
    settings = [replace(chosen, ridge=[ridge, ridge]) for ridge in ridges]
    networks = solve_candidate(candidate, Checkpoints(store), settings, folds)
    assert sorted(loaded) == sorted(folds * times)
    for each, network in zip(settings, networks, strict=True):
        (alone,) = solve_candidate(candidate, Checkpoints(store), [each], folds)
        np.testing.assert_allclose(network.outer, alone.outer, rtol=1e-6, atol=1e-9)


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
        model.linear, FitRows([rows]), size=5, width=0,
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
            rows = FitRows([rows_in(run, candidate.network, 5, *others)])
            network = solve(
                candidate.network, rows, size=5, width=15,
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


def test_rows_of_eofs_with_other_signs_are_computed_again(tmp_path, monkeypatch):
    """Another version, or another library, may give EOFs the opposite sign: old rows do not fit."""
    weather = make_weather(tmp_path / "w.zarr", damping=0.95, noise=0.3, times=620)
    runs = [Run(experiment(weather.path), tmp_path / name) for name in ("resumed", "new")]
    runs[0].fit()
    for lost in ("model.zarr", "summaries.zarr/eofs"):
        shutil.rmtree(runs[0].folder / lost)
    plain = EofSummary.finish

    def flipped(self, root, modes):
        root = {**root, "right": root["right"].copy(), "left": root["left"].copy()}
        root["right"][0] *= -1
        root["left"][:, 0] *= -1
        return plain(self, root, modes)

    monkeypatch.setattr(EofSummary, "finish", flipped)
    resumed, new = (Run(run.experiment, run.folder) for run in runs)
    for run in (resumed, new):
        run.fit()
    ours, theirs = (ForecastModel.load(run.model) for run in (resumed, new))
    np.testing.assert_array_equal(ours.linear.outer, theirs.linear.outer)
