"""Test forecasts of a trained model for other periods, and from growing data."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import xarray as xr

from gfrnn.pipeline.config.experiment import Experiment, to_tree
from gfrnn.pipeline.config.section import checked
from gfrnn.pipeline.errors import ConfigError, DataError, RunError, Stopped
from gfrnn.pipeline.forecasting.forecast_store import open_forecasts
from gfrnn.pipeline.reduction.progress import ProgressUpdate
from gfrnn.pipeline.runs.new_period import NewPeriod
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.runs.update import update
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn_testing.reduction_toys import period
from gfrnn_testing.weather import (
    Weather,
    contents,
    experiment,
    finish,
    stamps,
    write_store,
)

PARTS: dict[str, Any] = {
    "periods": {"test": ["2002-07-01", "2002-07-12"]},
    "model": {"width": 20, "leads": ["1d", "3d"]},
    "search": {"state.delays": [1, 3]},
    "forecast": {"horizon": "4d", "batch": 3},
}
LATER = ("2002-08-01", "2002-08-09")


@pytest.fixture
def archive(weather, fitted, tmp_path) -> Path:
    """Write an archive that a test may change, and beside it `run`, fitted with it."""
    store = tmp_path / "weather.zarr"
    shutil.copytree(weather.path, store)
    shutil.copytree(fitted.folder, tmp_path / "run")
    text = (tmp_path / "run" / "experiment.yaml").read_text()
    (tmp_path / "run" / "experiment.yaml").write_text(text.replace(str(weather.path), str(store)))
    run = Run.reopen(tmp_path / "run")
    run.fit()  # the path of the data is part of the experiment
    return store


def replace_store(store: Path, weather: Weather, first: str, last: str) -> None:
    """Replace the contents of an archive by some of its times."""
    with xr.open_zarr(weather.path, consolidated=False) as ds:
        part = ds.sel(time=slice(first, last)).load()
    shutil.rmtree(store)
    write_store(part, store)


def reused(folder: Path, start: str, end: str, output: Path | None = None) -> Run:
    return NewPeriod.prepare(folder, period(start, end), output).run()


def pairs(run: Run) -> list[int]:
    with xr.open_zarr(run.score_store, consolidated=False, decode_timedelta=True) as scores:
        return [int(count) for count in scores["pairs"].values]


def test_forecasts_and_scores_are_those_of_a_run_of_that_period(weather, fitted, tmp_path):
    run = reused(fitted.folder, *LATER, tmp_path / "later")
    assert run.fit().skipped
    run.forecast()
    run.verify()
    parts = PARTS | {"periods": {"test": list(LATER)}}
    expected = finish(Run(experiment(weather.path, **parts), tmp_path / "expected"))
    for ours, theirs in (
        (run.forecast_store, expected.forecast_store),
        (run.score_store, expected.score_store),
    ):
        assert contents(ours) == contents(theirs)
    assert Run.reopen(run.folder).finished("verify")


def test_forecasts_may_be_longer_than_those_of_the_fit(fitted, tmp_path):
    """Damped persistence then needs autocorrelations at lags that the fit has not computed."""
    run = NewPeriod.prepare(fitted.folder, period(*LATER), tmp_path / "longer", horizon="6d").run()
    run.forecast()
    run.verify()
    model = ForecastModel.load(run.model)
    known = len(model.lagged) - 1
    assert known < 6
    last = np.clip(model.damping(known), 0, 1)
    np.testing.assert_allclose(model.damping(2 * known), last**2, rtol=1e-6)
    scores = run.scores()
    assert np.isfinite(scores["rmse"].sel(system="damped persistence")).all()


def test_the_folder_has_the_first_day_in_its_name(fitted):
    assert NewPeriod.prepare(fitted.folder, period(*LATER)).folder == fitted.folder.with_name(
        "run-20020801"
    )


def test_the_training_data_are_not_needed(weather, archive):
    replace_store(archive, weather, "2002-07-25", "2002-09-01")
    run = reused(archive.with_name("run"), *LATER)
    run.forecast()
    run.verify()
    assert pairs(run) == [9, 9, 9, 9]


def test_later_data_score_existing_forecasts(weather, archive):
    replace_store(archive, weather, "2001-01-01", "2002-08-09")
    folder = archive.with_name("run")
    run = reused(folder, *LATER)
    run.forecast()
    run.verify()
    assert pairs(run) == [8, 7, 6, 5]
    written = stamps(run.forecast_store)
    replace_store(archive, weather, "2001-02-01", "2002-08-11")  # and old ones may go
    again = reused(folder, *LATER)
    assert again.forecast().skipped
    assert not again.verify().skipped
    assert pairs(again) == [9, 9, 8, 7]
    assert stamps(run.forecast_store) == written


def test_indices_may_be_added_to_forecasts_of_another_period(weather, fitted, tmp_path):
    run = reused(fitted.folder, *LATER, tmp_path / "later")
    box = {"variable": "temperature", "latitude": [35, 60], "longitude": [-12, 30]}
    tree = to_tree(run.experiment)

    def with_index(**changed: Any) -> Run:
        section = {"indices": {"warm": box | changed}}
        return Run(checked(Experiment, tree | {"verification": section}, "test"), run.folder)

    with pytest.raises(ConfigError, match=r"verification\.indices\.warm\.variable: 2m_temp"):
        with_index(variable="2m_temperature").forecast(force=True)
    scored = finish(with_index())
    with xr.open_zarr(scored.score_store, decode_timedelta=True, consolidated=False) as scores:
        assert list(scores["index"].values) == ["warm"]


def test_changed_data_are_forecast_anew(weather, archive):
    run = reused(archive.with_name("run"), *LATER)
    run.forecast()
    before = contents(run.forecast_store)
    with xr.open_zarr(archive, consolidated=False) as ds:
        changed = ds.load()
    changed["msl"].loc["2002-08-03"] += 500.0
    shutil.rmtree(archive)
    write_store(changed, archive)
    again = Run.reopen(run.folder)
    assert not again.forecast().skipped
    assert contents(again.forecast_store) != before


def test_an_updated_model_forecasts_what_comes_after(weather, archive):
    folder = archive.with_name("run")
    first = reused(folder, *LATER)
    first.forecast()
    of_first = contents(first.forecast_store)
    update(folder, [str(archive)], period=period("2002-04-01", "2002-08-01"))
    again = reused(folder, *LATER)  # a new model: the same command forecasts anew
    assert not again.forecast().skipped
    assert contents(again.forecast_store) != of_first
    assert again.updated == Run.reopen(folder).updated
    again.verify()
    assert pairs(again) == [9, 9, 9, 9]
    update(folder, [str(archive)], period=period("2002-08-02", "2002-08-05"))
    with pytest.raises(ConfigError, match="begins before 2002-08-05"):
        reused(folder, *LATER)
    # What was forecast in time can still be verified.
    assert Run.reopen(again.folder).forecast().skipped
    assert not Run.reopen(again.folder).verify(force=True).skipped


def test_a_killed_forecast_resumes(fitted, tmp_path):
    run = reused(fitted.folder, *LATER, tmp_path / "later")

    def stop(update: ProgressUpdate) -> None:
        if update.done == 2:
            raise Stopped

    run.progress = stop
    with pytest.raises(Stopped):
        run.forecast()
    done = {name: when for name, when in stamps(run.forecast_store).items() if "/c/" in name}
    assert done
    again = reused(fitted.folder, *LATER, tmp_path / "later")
    again.forecast()
    later = stamps(again.forecast_store)
    kept = [name for name in done if later.get(name) == done[name]]
    assert len(kept) >= 6 * 3  # of six initial times, the variables
    expected = reused(fitted.folder, *LATER, tmp_path / "expected")
    expected.forecast()
    assert contents(again.forecast_store) == contents(expected.forecast_store)


@pytest.mark.parametrize("function", ["zarr.Group.__delitem__", "consolidate"])
def test_a_forecast_killed_while_it_finishes_its_store_is_not_made_anew(
    fitted, tmp_path, monkeypatch, function
):
    """The marks of what is written are deleted before the stage is recorded as finished."""
    run = reused(fitted.folder, *LATER, tmp_path / "later")
    with monkeypatch.context() as patch:
        module = "" if "." in function else "gfrnn.pipeline.forecasting.forecast_store."
        patch.setattr(f"{module}{function}", Mock(side_effect=Stopped))
        with pytest.raises(Stopped):
            run.forecast()
    done = {name: when for name, when in stamps(run.forecast_store).items() if "/c/" in name}
    assert done
    again = reused(fitted.folder, *LATER, tmp_path / "later")
    assert not again.forecast().skipped
    later = stamps(again.forecast_store)
    written = {name for name in done if later.get(name) != done[name]}
    assert written <= {name for name in done if name.startswith("written/")}
    assert "written" not in open_forecasts(again.forecast_store)
    expected = reused(fitted.folder, *LATER, tmp_path / "expected")
    expected.forecast()
    assert contents(again.forecast_store) == contents(expected.forecast_store)


@pytest.mark.parametrize("lost", ["run.json", "model.zarr", "both"])
def test_a_folder_without_record_or_model_is_made_again_by_forecast(lost, fitted, tmp_path):
    folder = tmp_path / "later"
    run = reused(fitted.folder, *LATER, folder)
    run.forecast()
    expected = contents(run.forecast_store)
    if lost != "model.zarr":
        run.record_file.unlink()
    if lost != "run.json":
        shutil.rmtree(run.model)
    works = ("check", "forecast", "verify") + ("fit", "load_model") * (lost != "model.zarr")
    for work in works:
        again = Run.reopen(folder)
        if work == "forecast" and lost == "model.zarr":
            assert again.forecast().skipped
            continue
        with pytest.raises(RunError) as caught:
            getattr(again, work)()
        message = str(caught.value)
        assert str(folder) in message
        assert ("run.json" if lost != "model.zarr" else "model.zarr") in message
        assert "gfrnn forecast " in message
        assert f"--period 2002-08-01 2002-08-09 --output {folder}" in message
        assert "gfrnn fit` first" not in message
    mended = reused(fitted.folder, *LATER, folder)
    mended.forecast()
    mended.verify()
    assert contents(mended.forecast_store) == expected
    assert mended.model.exists()


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        ("2002-03-01", "2002-04-01", "--period: periods: train .* and test .* overlap"),
        ("2003-01-01", "2003-01-02", "periods.test: 2003-01-01..2003-01-02 is not within the data"),
    ],
)
def test_periods_that_are_not_allowed_are_refused(start, end, message, fitted, tmp_path):
    with pytest.raises(ConfigError, match=message):
        reused(fitted.folder, start, end, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_wrong_folders_are_refused_and_unchanged(weather, fitted, tmp_path):
    before = contents(fitted.folder, metadata=True)
    with pytest.raises(RunError, match="contains a run with its own fit.* choose another --output"):
        reused(fitted.folder, *LATER, fitted.folder)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").touch()
    with pytest.raises(RunError, match="not a run's folder"):
        reused(fitted.folder, *LATER, tmp_path / "other")
    unfitted = Run(experiment(weather.path, **PARTS), tmp_path / "unfitted")
    with pytest.raises(RunError, match="not a run's folder"):  # nothing was written into it
        reused(unfitted.folder, *LATER)
    unfitted.describe_cluster({"kind": "local"})
    with pytest.raises(RunError, match="holds no finished fit"):
        reused(unfitted.folder, *LATER)
    # Several at once take the model of one run: none of them writes into its folder.
    assert contents(fitted.folder, metadata=True) == before
    written = stamps(fitted.folder)
    reused(fitted.folder, *LATER, tmp_path / "new")
    assert stamps(fitted.folder) == written


def test_the_model_can_be_fitted_anew_in_its_folder(fitted, tmp_path):
    run = reused(fitted.folder, *LATER, tmp_path / "later")
    assert not run.fit(force=True).skipped
    assert not Run.reopen(run.folder).record.external_model
    assert contents(run.model) == contents(fitted.model)


# Data given in place of those of the run


def new_store(weather: Weather, place: Path, first: str, last: str, **names: str) -> str:
    """Write a part of the archive as a store of its own."""
    with xr.open_zarr(weather.path, consolidated=False) as ds:
        write_store(ds.sel(time=slice(first, last)).load().rename(names), place)
    return str(place)


def test_forecasts_from_other_data_are_those_from_the_archive(weather, fitted, tmp_path):
    data = [
        new_store(weather, tmp_path / "july.zarr", "2002-07-20", "2002-07-31"),
        new_store(weather, tmp_path / "august.zarr", "2002-08-01", "2002-08-20"),
    ]
    new = NewPeriod.prepare(fitted.folder, period(*LATER), tmp_path / "new", data=data)
    run = new.run()
    run.forecast()
    run.verify()
    expected = reused(fitted.folder, *LATER, tmp_path / "expected")
    expected.forecast()
    expected.verify()
    assert contents(run.forecast_store) == contents(expected.forecast_store)
    assert pairs(run) == pairs(expected)
    # The experiment of the new run names the new data; that of the other one is as it was.
    assert [source.path for source in Run.reopen(run.folder).experiment.data.sources] == data
    assert Run.reopen(fitted.folder).experiment == fitted.experiment


def test_latest_is_the_end_of_the_other_data(weather, fitted, tmp_path):
    data = [new_store(weather, tmp_path / "new.zarr", "2002-07-25", "2002-08-03")]
    new = NewPeriod.from_initial_time(fitted.folder, "latest", data=data)
    assert new.folder == fitted.folder.with_name("run-20020803T00")
    run = NewPeriod.from_initial_time(fitted.folder, "latest", tmp_path / "a", data=data).run()
    run.forecast()
    with open_forecasts(run.forecast_store) as found:
        assert [str(stamp)[:10] for stamp in found["time"].values] == ["2002-08-03"]


def test_other_data_that_do_not_suit_are_named(weather, fitted, tmp_path):
    def refuse(kind: type[Exception], message: str, *data: str) -> None:
        with pytest.raises(kind, match=message):
            NewPeriod.from_initial_time(fitted.folder, "latest", tmp_path / "a", data=data)
        assert not (tmp_path / "a").exists()

    refuse(DataError, "nowhere.nc not found", "nowhere.nc")
    # Three successive states are needed (state.delays).
    short = new_store(weather, tmp_path / "short.zarr", "2002-08-01", "2002-08-02")
    refuse(DataError, "--init latest: no time of the data has the 3 successive states", short)
    with xr.open_zarr(weather.path, consolidated=False) as ds:
        write_store(ds.isel(latitude=slice(0, 3)).load(), tmp_path / "narrow.zarr")
    refuse(DataError, "the data have the latitudes", str(tmp_path / "narrow.zarr"))
    with xr.open_zarr(weather.path, consolidated=False) as ds:
        write_store(ds.drop_vars("t").load(), tmp_path / "lacking.zarr")
    refuse(DataError, "^--data: temperature is not in the data", str(tmp_path / "lacking.zarr"))


def test_an_updated_model_forecasts_from_the_data_of_its_update(weather, archive, tmp_path):
    folder = archive.with_name("run")
    new = new_store(weather, tmp_path / "new.zarr", "2002-07-21", "2002-08-05")
    update(folder, [str(archive)], period=period("2002-04-01", "2002-07-20"))
    update(folder, [new])
    older = new_store(weather, tmp_path / "older.zarr", "2002-07-01", "2002-07-10")
    for init, data in (("latest", [older]), ("2002-07-30", [])):
        with pytest.raises(DataError, match=rf"--init {init}: 2002-07-.* is before .* with --data"):
            NewPeriod.from_initial_time(folder, init, tmp_path / "before", data=data)
    run = NewPeriod.from_initial_time(folder, "latest", tmp_path / "latest", data=[new]).run()
    assert not run.forecast().skipped
    # The experiment of the updated run is as it was.
    assert [source.path for source in Run.reopen(folder).experiment.data.sources] == [str(archive)]
    expected = reused(folder, "2002-08-05", "2002-08-05", tmp_path / "expected")
    expected.forecast()
    with (
        open_forecasts(run.forecast_store) as ours,
        open_forecasts(expected.forecast_store) as theirs,
    ):
        xr.testing.assert_equal(ours.load().drop_encoding(), theirs.load().drop_encoding())
