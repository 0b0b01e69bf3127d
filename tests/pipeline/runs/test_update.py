"""Compare updates of a trained model with fits of the rows of old and new times together."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import zarr

from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.errors import DataError, RunError
from gfrnn.pipeline.reduction.checkpoints import Checkpoints
from gfrnn.pipeline.runs.refit import refit
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.runs.update import Update, update
from gfrnn.pipeline.states.harmonics import calendar_inputs
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.training.selection.candidates import FittedCandidates
from gfrnn.pipeline.training.selection.ridge import FitRows, solve
from gfrnn.pipeline.training.triangles import Factors
from gfrnn_core import SampledRNN
from gfrnn_testing.reduction_toys import period
from gfrnn_testing.weather import contents, write_store

PARTS: dict[str, Any] = {
    "periods": {"test": ["2002-07-01", "2002-07-12"]},
    "model": {"width": 20, "leads": ["1d", "3d"], "inputs": ["day_of_year"]},
    "fit": {"ridge": [1e-3, 1e-2], "balance": [1.0, 0.3], "widths": [8, 20], "average": 2},
    "search": {"state.delays": [1, 3], "state.modes": [4, 6]},
    "forecast": {"horizon": "4d"},
}
END = "2002-03-31"
"""The last day of training."""


@pytest.fixture
def copy(fitted, tmp_path) -> Path:
    """Copy the folder of the run, to be updated in place."""
    folder = tmp_path / "copy"
    shutil.copytree(fitted.folder, folder)
    return folder


def model_of(run: Run) -> ForecastModel:
    return ForecastModel.load(run.model)


def kept_of(run: Run) -> tuple[FittedCandidates, Checkpoints]:
    store, kept = run.load_candidates(model_of(run))
    return kept, Checkpoints(store)


def states_of(run: Run, first: str, last: str) -> tuple[np.ndarray, np.ndarray]:
    """Return times of the run's data, and their states on its EOFs."""
    inside = np.flatnonzero(period(first, last).mask(run.ds["time"].values))
    time = run.ds["time"].values[inside]
    fields = Fields(run.ds).read(int(inside[0]), int(inside[-1]) + 1)
    return time, model_of(run).layout.encode(fields, time)


def rows_of(run: Run, network: SampledRNN, size: int, *periods: tuple[str, str]) -> Factors:
    """Compute the triangle of all rows of gapless periods from the fields."""
    series = [states_of(run, *part) for part in periods]
    inputs = [calendar_inputs(time, ("day_of_year",)) for time, _ in series]
    return Factors.of_series(network, [states[:, :size] for _, states in series], inputs)


def gram(factors: Factors) -> np.ndarray:
    (factor,) = factors.parts
    return np.asarray(factor.triangle.T @ factor.triangle)


def assert_same_rows(ours: Factors, theirs: Factors) -> None:
    assert ours.rows == theirs.rows
    scale = np.abs(theirs.parts[0].triangle).max()
    np.testing.assert_allclose(gram(ours), gram(theirs), atol=1e-11 * scale**2, rtol=0)


def assert_model_of_rows(run: Run, *periods: tuple[str, str]) -> None:
    """Assert that triangles and networks are those of the rows of these periods."""
    (kept, checkpoints), model = kept_of(run), model_of(run)
    settings = [*model.notes.solves, model.notes.linear_solve]
    for each, network in zip(settings, (*model.networks, model.linear), strict=True):
        candidate = kept.candidates[each.candidate]
        rows = rows_of(run, candidate.network, candidate.size, *periods)
        assert_same_rows(candidate.factor(checkpoints, ["train/merged"]), rows)
        ridge, balance = np.array(each.ridge), np.array(each.balance)
        expected = solve(
            candidate.network, FitRows([rows]), size=candidate.size, width=each.width,
            ridge=ridge, balance=balance,
        )  # fmt: skip
        np.testing.assert_allclose(network.outer, expected.outer, atol=1e-8)


# What it equals


def test_the_case_has_candidates_of_different_delays(fitted):
    model = model_of(fitted)
    assert {network.delays for network in model.networks} == {1, 3}
    assert len({each.candidate for each in model.notes.solves}) > 1


def test_solving_the_stored_triangles_gives_the_same_networks(fitted):
    (kept, checkpoints), model = kept_of(fitted), model_of(fitted)
    settings = [*model.notes.solves, model.notes.linear_solve]
    for each, network in zip(settings, (*model.networks, model.linear), strict=True):
        candidate = kept.candidates[each.candidate]
        again = solve(
            candidate.network,
            FitRows(candidate.load_folds(checkpoints, candidate.names("train"))),
            size=candidate.size,
            width=each.width,
            ridge=np.array(each.ridge),
            balance=np.array(each.balance),
        )
        np.testing.assert_allclose(again.outer, network.outer, atol=1e-12)


def test_consecutive_data_give_the_rows_of_one_series(weather, fitted, tmp_path):
    part = period("2002-04-01", "2002-06-30")
    run = update(fitted.folder, [str(weather.path)], tmp_path / "new", period=part)
    assert_model_of_rows(run, ("2001-01-01", "2002-06-30"))
    before, after = model_of(fitted), model_of(run)
    assert after.notes.rows == before.notes.rows + 91
    assert asdict(run.updated.latest) | {"first": "", "data": ""} == {
        "first": "", "times": 91, "rows": 91, "consecutive": True, "forget": 1.0, "data": "",
        "missing": 0, "gaps": 0, "previous": "2002-03-31 00:00:00",
    }  # fmt: skip
    # The basis stays.
    np.testing.assert_array_equal(after.layout.vectors, before.layout.vectors)
    np.testing.assert_array_equal(after.lagged, before.lagged)
    np.testing.assert_array_equal(after.mixture, before.mixture)


def test_no_row_crosses_a_gap(weather, fitted, tmp_path):
    part = period("2002-04-02", "2002-06-30")
    run = update(fitted.folder, [str(weather.path)], tmp_path / "new", period=part)
    assert_model_of_rows(run, ("2001-01-01", END), ("2002-04-02", "2002-06-30"))
    assert run.updated.latest.consecutive is False


def test_gaps_in_the_new_data_are_not_crossed_either(weather, fitted, tmp_path):
    gappy = tmp_path / "gappy.zarr"
    spring = weather.ds.sel(time=slice("2002-04-01", "2002-05-31"))
    write_store(spring.drop_sel(time=pd.date_range("2002-04-20", "2002-04-24")), gappy)
    run = update(fitted.folder, [str(gappy)], tmp_path / "new")
    assert_model_of_rows(run, ("2001-01-01", "2002-04-19"), ("2002-04-25", "2002-05-31"))
    assert (run.updated.latest.consecutive, run.updated.latest.gaps) == (True, 1)


def test_a_gap_at_the_first_new_times_is_named_where_it_is(weather, fitted, tmp_path):
    """The first times have no value, so the gap is before the first time with one."""
    spring = weather.ds.sel(time=slice("2002-04-01", "2002-04-30")).copy(deep=True)
    spring["mean_sea_level_pressure"][:2] = np.nan
    spring["mean_sea_level_pressure"][9] = np.nan
    write_store(spring, tmp_path / "holes.zarr")
    run = update(fitted.folder, [str(tmp_path / "holes.zarr")], tmp_path / "new")
    latest = run.updated.latest
    assert (latest.first, latest.consecutive) == ("2002-04-03 00:00:00", False)
    assert (latest.times, latest.missing, latest.gaps) == (30, 3, 1)


def test_many_updates_equal_one(weather, fitted, copy, tmp_path):
    days = [
        ("2002-04-01", "2002-04-01"),
        ("2002-04-02", "2002-04-03"),
        ("2002-04-04", "2002-06-30"),
    ]
    for part in days:
        run = update(copy, [str(weather.path)], period=period(*part))
    assert_model_of_rows(run, ("2001-01-01", "2002-06-30"))
    assert (run.updated.updates, run.updated.rows) == (3, 91)


@pytest.mark.slow
def test_days_after_a_gap_add_rows_once_enough_have_come(weather, copy):
    days = pd.date_range("2002-04-03", "2002-04-12")
    rows = []
    for day in days:
        run = update(copy, [str(weather.path)], period=period(day.date(), day.date()))
        rows.append(run.updated.latest.rows)
    assert_model_of_rows(run, ("2001-01-01", END), ("2002-04-03", "2002-04-12"))
    assert rows[0] == 0
    assert rows[-1] == 1


def test_forgetting_makes_earlier_rows_count_less(weather, fitted, copy):
    for part in (("2002-04-01", "2002-05-15"), ("2002-05-16", "2002-06-30")):
        run = update(copy, [str(weather.path)], forget=0.5, period=period(*part))
    (kept, checkpoints), model = kept_of(run), model_of(run)
    candidate = kept.candidates[model.notes.solves[0].candidate]
    ends = [END, "2002-05-15", "2002-06-30"]
    grams = [
        gram(rows_of(run, candidate.network, candidate.size, ("2001-01-01", end))) for end in ends
    ]
    expected = 0.25 * grams[0] + 0.5 * (grams[1] - grams[0]) + (grams[2] - grams[1])
    found = gram(candidate.factor(checkpoints, ["train/merged"]))
    np.testing.assert_allclose(found, expected, atol=1e-11 * np.abs(expected).max())


def test_a_year_left_out_of_the_fit_stays_left_out(weather, fitted, tmp_path):
    less = refit(fitted.folder, tmp_path / "less", without=[2001])
    part = period("2002-04-01", "2002-06-30")
    run = update(less.folder, [str(weather.path)], period=part)
    (kept, checkpoints), model = kept_of(run), model_of(run)
    candidate = kept.candidates[model.notes.solves[0].candidate]
    delays = candidate.network.delays
    # Rows whose next state lies in 2002.
    first = str(pd.Timestamp("2002-01-01") - pd.Timedelta(days=delays))
    rows = rows_of(run, candidate.network, candidate.size, (first, "2002-06-30"))
    assert_same_rows(candidate.factor(checkpoints, ["train/merged"]), rows)


# The folder


def test_in_place_the_triangles_of_the_update_are_kept_and_only_those(weather, copy):
    series = np.asarray(zarr.open_array(copy / "summaries.zarr" / "series", mode="r")[...])
    for part in (("2002-04-01", "2002-04-30"), ("2002-05-01", "2002-05-31")):
        run = update(copy, [str(weather.path)], period=period(*part))
        used = {each.candidate for each in model_of(run).notes.solves}
        used.add(model_of(run).notes.linear_solve.candidate)
        assert len(list((copy / "updates.zarr" / "merged").iterdir())) == len(used)
        assert len(list((copy / "updates.zarr" / "kept").iterdir())) == 1
    after = np.asarray(zarr.open_array(copy / "summaries.zarr" / "series", mode="r")[...])
    np.testing.assert_array_equal(after, series)


def test_another_folder_leaves_the_run_as_it_was(weather, fitted, tmp_path):
    before = contents(fitted.folder)
    first = update(
        fitted.folder,
        [str(weather.path)],
        tmp_path / "a",
        period=period("2002-04-01", "2002-05-15"),
    )
    second = update(
        first.folder, [str(weather.path)], tmp_path / "b", period=period("2002-05-16", "2002-06-30")
    )
    assert contents(fitted.folder) == before
    assert first.updated.last == "2002-05-15 00:00:00"
    assert second.experiment.output == str(tmp_path / "b")
    shutil.rmtree(first.folder)  # nothing of it is needed any more
    assert_model_of_rows(second, ("2001-01-01", "2002-06-30"))


def test_a_repeated_fit_discards_the_updates(weather, fitted, copy):
    update(copy, [str(weather.path)], period=period("2002-04-01", "2002-04-30"))
    run = Run(fitted.experiment, copy, force=True)
    run.fit(force=True)
    assert not run.updated
    assert not (copy / "updates.zarr").exists()
    assert contents(run.model) == contents(fitted.model)


def killed(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "place",
    ["gfrnn.pipeline.runs.run.Run.store_model", "gfrnn.pipeline.training.model.ForecastModel.save"],
)
def test_a_killed_update_can_be_done_again(weather, fitted, copy, monkeypatch, place):
    part = period("2002-04-01", "2002-06-30")
    before = contents(copy / "model.zarr")
    with monkeypatch.context() as patch:
        patch.setattr(place, killed)
        with pytest.raises(KeyboardInterrupt):
            update(copy, [str(weather.path)], period=part)
    assert contents(copy / "model.zarr") == before
    run = update(copy, [str(weather.path)], period=part)
    assert_model_of_rows(run, ("2001-01-01", "2002-06-30"))
    assert run.updated.updates == 1


@pytest.mark.parametrize("output", [None, "other"])
def test_an_update_that_was_finished_is_not_computed_again(weather, copy, output):
    part = period("2002-04-01", "2002-04-20")
    where = None if output is None else copy.with_name(output)
    first = update(copy, [str(weather.path)], where, period=part)
    before = contents(first.folder)
    again = Update.prepare(copy, [str(weather.path)], where, period=part)
    assert again.done
    assert again.run().updated == first.updated
    assert contents(first.folder) == before
    with pytest.raises(RunError if output else DataError, match="another update|up to 2002-04-20"):
        Update.prepare(copy, [str(weather.path)], where, forget=0.9, period=part)


def test_an_update_whose_record_was_not_written_is_recorded_when_the_run_is_opened(weather, copy):
    before = (copy / "run.json").read_bytes()
    run = update(copy, [str(weather.path)], period=period("2002-04-01", "2002-04-20"))
    (copy / "run.json").write_bytes(before)
    assert Run.reopen(copy).updated == run.updated
    assert Run.reopen(copy).record.external_model


def test_a_second_update_at_the_same_time_is_refused(weather, copy):
    intruded = []

    def intrude(*_: object) -> None:
        if not intruded:
            intruded.append(True)
            with pytest.raises(RunError, match="another process is using this folder"):
                update(copy, [str(weather.path)], period=period("2002-04-01", "2002-04-30"))

    run = update(
        copy, [str(weather.path)], period=period("2002-04-01", "2002-06-30"), progress=intrude
    )
    assert intruded
    assert run.updated.updates == 1


def test_a_model_that_was_updated_meanwhile(weather, copy):

    late = Update.prepare(copy, [str(weather.path)], period=period("2002-04-01", "2002-04-30"))
    update(copy, [str(weather.path)], period=period("2002-04-01", "2002-04-15"))
    before = contents(copy)
    with pytest.raises(
        RunError, match="another process has updated the model.*run the command again"
    ):
        late.run()
    assert contents(copy) == before
