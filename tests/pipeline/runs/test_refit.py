"""Compare models selected again from stored triangles with fits on the rows themselves."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import zarr

from gfrnn.pipeline.errors import ConfigError, ResourceError, RunError
from gfrnn.pipeline.forecasting.forecast_store import open_forecasts
from gfrnn.pipeline.runs.record import RefitModel
from gfrnn.pipeline.runs.refit import refit
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn_core import SampledRNN
from gfrnn_core.lifting import lift
from gfrnn_core.regression_rows import delayed
from gfrnn_testing.weather import (
    Weather,
    contents,
    experiment,
    finish,
    make_weather,
    uncalibrated_contents,
)

PARTS: dict[str, Any] = {
    "periods": {"test": ["2002-07-01", "2002-07-12"]},
    "state": {"modes": 5, "delays": 2},
    "fit": {"ridge": [1e-4, 1e-2], "balance": [1.0, 0.3], "average": 2},
    "search": {"model.scale": [0.1, 0.4, 0.8]},
    "forecast": {"horizon": "4d"},
}


@pytest.fixture(scope="module")
def weather(tmp_path_factory) -> Weather:
    path = tmp_path_factory.mktemp("weather") / "weather.zarr"
    return make_weather(path, damping=0.95, noise=0.3, times=600)


@pytest.fixture(scope="module")
def fitted(weather, tmp_path_factory) -> Run:
    """Fit two training years; tests do not change the result."""
    run = Run(experiment(weather.path, **PARTS), tmp_path_factory.mktemp("fitted") / "run")
    run.fit()
    return run


def model_of(run: Run) -> ForecastModel:
    return ForecastModel.load(run.model)


# What it equals


def test_nothing_changed_gives_the_same_model(fitted, tmp_path):
    again = refit(fitted.folder, tmp_path / "again")
    assert contents(again.model) == contents(fitted.model)
    ours, theirs = model_of(again).notes, model_of(fitted).notes
    assert replace(ours, kept=None) == replace(theirs, kept=None)
    assert again.experiment.fit == fitted.experiment.fit


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        ({"without": [2002]}, {"without": [2002]}),
        ({"widths": [7]}, {"widths": [7]}),
        ({"widths": [3, 20]}, {"widths": [3, 20]}),
        ({"ridge": [0.1], "balance": [0.5]}, {"ridge": [0.1], "balance": [0.5]}),
    ],
)
def test_a_refit_is_the_fit_of_the_changed_experiment(weather, fitted, tmp_path, changes, keys):
    ours = refit(fitted.folder, tmp_path / "refit", **changes)
    parts = PARTS | {"fit": PARTS["fit"] | keys}
    theirs = Run(experiment(weather.path, **parts), tmp_path / "fit")
    theirs.fit()
    assert uncalibrated_contents(ours.model) == uncalibrated_contents(theirs.model)
    assert uncalibrated_contents(ours.model) != uncalibrated_contents(fitted.model)
    # The calibration stays that of the fit.
    for name in ("calibration", "linear_calibration"):
        np.testing.assert_array_equal(
            getattr(model_of(ours), name), getattr(model_of(fitted), name)
        )
    assert ours.experiment.fit == theirs.experiment.fit


def rows_of(run: Run, first: SampledRNN, years: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return features and targets of the rows whose next state is in some years."""
    states = np.asarray(zarr.open_array(run.folder / "summaries.zarr" / "series", mode="r")[...])
    time = run.ds["time"].values
    last = np.flatnonzero(run.experiment.periods.train.mask(time))[-1]
    present = np.arange(first.delays - 1, last + 1 - max(first.leads))
    chosen = np.isin(time[present + 1].astype("datetime64[Y]").astype(int) + 1970, years)
    linear = delayed(states, first.delays, present[0], present[-1] + 1)
    features = lift(linear, None, first.hidden)
    targets = np.stack([states[present + lead] for lead in first.leads], axis=1)
    return features[chosen], targets[chosen]


@pytest.mark.parametrize(("left_out", "years"), [(2002, (2001,)), (2001, (2002,))])
def test_without_a_year_equals_least_squares_on_the_other_rows(fitted, tmp_path, left_out, years):
    run = refit(fitted.folder, tmp_path / "refit", without=[left_out], ridge=[1e-2], balance=[1.0])
    model = model_of(run)
    x, y = rows_of(fitted, model.networks[0], years)
    pulled = np.vstack([x, 1e-2 * np.linalg.norm(x, 2) * np.eye(x.shape[1])])
    assert model.notes.rows == len(x)
    for lead in range(y.shape[1]):
        target = np.vstack([y[:, lead], np.zeros((x.shape[1], y.shape[2]))])
        expected = np.linalg.lstsq(pulled, target, rcond=None)[0]
        np.testing.assert_allclose(model.networks[0].outer[lead], expected, atol=1e-9)


def test_the_basis_stays_whichever_year_is_left_out(fitted, tmp_path):
    before, after = model_of(fitted), model_of(refit(fitted.folder, tmp_path / "r", without=[2001]))
    np.testing.assert_array_equal(after.layout.vectors, before.layout.vectors)
    np.testing.assert_array_equal(
        after.layout.scaling.climatology.coefficients,
        before.layout.scaling.climatology.coefficients,
    )
    np.testing.assert_array_equal(after.lagged, before.lagged)
    assert not np.allclose(after.linear.outer, before.linear.outer, rtol=1e-6)


# The folder


def test_later_stages_continue_in_the_new_folder(fitted, tmp_path):
    run = Run.reopen(refit(fitted.folder, tmp_path / "refit", widths=[6]).folder)
    assert run.fit().skipped
    finish(run)
    assert open_forecasts(run.forecast_store).sizes["time"] == 12
    assert run.finished("verify")
    assert run.experiment.output == str(tmp_path / "refit")
    assert run.record.fit.refit == RefitModel(str(fitted.folder))
    assert not fitted.forecast_store.exists()


def test_the_data_are_not_needed(tmp_path):
    source = tmp_path / "weather.zarr"
    make_weather(source, damping=0.95, noise=0.3, times=600)
    run = Run(experiment(source, **PARTS), tmp_path / "run")
    run.fit()
    shutil.rmtree(source)
    again = refit(run.folder, widths=[6])
    assert again.folder == tmp_path / "run-refit"
    assert model_of(again).notes.width == 6


def test_a_refit_can_be_refitted(fitted, tmp_path):
    middle = refit(fitted.folder, tmp_path / "middle", widths=[6], without=[2001])
    back = refit(middle.folder, tmp_path / "back", widths=[20], without=[])
    assert contents(back.model) == contents(fitted.model)


def test_force_replaces_a_refit_and_nothing_else(fitted, tmp_path):
    first = refit(fitted.folder, tmp_path / "refit", widths=[6])
    before = contents(first.folder)
    with pytest.raises(RunError, match="holds a refit; .*--output.*--force"):
        refit(fitted.folder, tmp_path / "refit", widths=[9])
    assert contents(first.folder) == before
    finish(first)
    second = refit(fitted.folder, tmp_path / "refit", widths=[9], force=True)
    assert model_of(second).notes.width == 9
    assert not second.finished("forecast")
    for place in (fitted.folder, fitted.folder.parent):
        with pytest.raises(RunError, match="is the folder of the run itself|is not a refit"):
            refit(fitted.folder, place, widths=[9], force=True)


def test_a_killed_replacement_leaves_no_earlier_model(fitted, tmp_path, monkeypatch):
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    first = refit(fitted.folder, tmp_path / "refit", widths=[6])
    with monkeypatch.context() as patch:
        patch.setattr(ForecastModel, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            refit(fitted.folder, tmp_path / "refit", widths=[9], force=True)
    with pytest.raises(RunError, match="was not finished; repeat the command .*`gfrnn refit"):
        Run.reopen(first.folder).forecast()
    again = refit(fitted.folder, tmp_path / "refit", widths=[9], force=True)
    assert model_of(again).notes.width == 9


# What is refused


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"without": [2013]}, "fit.without: 2013 is not among the training years, 2001, 2002"),
        ({"without": [2001, 2002]}, "fit.without: leaves out all training years, 2001, 2002"),
        ({"widths": [21]}, "fit.widths: 21 is more than model.width, 20"),
        ({"ridge": [-1.0]}, r"fit.ridge\[0\]: -1.0 is not allowed"),
        ({"balance": []}, r"fit.balance: \[\] is not allowed"),
    ],
)
def test_impossible_changes_are_refused(fitted, tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        refit(fitted.folder, tmp_path / "refit", **changes)
    assert not (tmp_path / "refit").exists()


def test_too_few_rows_left_for_the_width(weather, tmp_path):
    parts = PARTS | {"model": {"width": 100}, "search": {}, "fit": {"ridge": [1e-2]}}
    run = Run(experiment(weather.path, **parts), tmp_path / "run")
    run.fit()
    # 88 rows have their next state in 2002; ten linear terms and a constant always.
    with pytest.raises(ConfigError, match=r"100 hidden and 11 other .* the 88 rows .* at most 77"):
        refit(run.folder, without=[2001])
    assert model_of(refit(run.folder, without=[2001], widths=[77])).notes.rows == 88


def damage(run: Run, what: str) -> None:
    next((run.folder / "summaries.zarr" / what).iterdir()).unlink()


def cut_a_triangle(run: Run) -> None:
    file = next((run.folder / "summaries.zarr" / "rows").iterdir())
    file.write_bytes(file.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda run: damage(run, "rows"), "a checkpoint of rows is missing or damaged.*gfrnn fit"),
        (lambda run: damage(run, "kept"), "candidates is missing or damaged.*gfrnn fit"),
        (cut_a_triangle, "a checkpoint of rows is missing or damaged"),
        (lambda run: shutil.rmtree(run.model), "holds no finished fit.*run `gfrnn fit` first"),
        (lambda run: (run.folder / "run.json").unlink(), "holds no finished fit"),
        (
            lambda run: (run.folder / "experiment.yaml").unlink(),
            r"whose experiment\.yaml is missing",
        ),
    ],
)
def test_damaged_runs_are_refused(fitted, tmp_path, harm, message):
    copy = tmp_path / "copy"
    shutil.copytree(fitted.folder, copy)
    harm(Run(fitted.experiment, copy))
    with pytest.raises(RunError, match=message):
        refit(copy, tmp_path / "refit")
    assert not (tmp_path / "refit").exists()


def test_an_output_below_a_file_is_refused_before_the_solve(fitted, tmp_path, monkeypatch):
    monkeypatch.setattr("gfrnn.pipeline.runs.refit.choose_model", None)
    (tmp_path / "note").write_text("mine")
    message = r"note/refit: cannot be created, as .*note is not a folder; choose another --output"
    with pytest.raises(RunError, match=message):
        refit(fitted.folder, tmp_path / "note" / "refit")
    assert (tmp_path / "note").read_text() == "mine"


def test_an_output_in_a_folder_of_others_is_refused_before_the_solve(fitted, tmp_path, monkeypatch):
    monkeypatch.setattr("gfrnn.pipeline.runs.refit.choose_model", None)

    def refuse(dir):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(dir))

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(
        RunError, match=r"refit: cannot be created .* is not writable \([^)]+\); choose"
    ):
        refit(fitted.folder, tmp_path / "refit")


def test_an_experiment_file_that_was_edited_since(fitted, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(fitted.folder, copy)
    file = copy / "experiment.yaml"
    file.write_text(file.read_text().replace("width: 20", "width: 19"))
    with pytest.raises(RunError, match="holds no finished fit of its experiment"):
        refit(copy, tmp_path / "refit")


def test_a_solve_that_does_not_fit_is_refused(fitted, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "gfrnn.pipeline.reduction.dask_client._memory_of_a_thread", lambda client: 10_000
    )
    with pytest.raises(ResourceError, match="solve: .* MiB"):
        refit(fitted.folder, tmp_path / "refit")
    assert not (tmp_path / "refit").exists()
