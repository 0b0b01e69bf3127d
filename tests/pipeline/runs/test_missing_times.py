"""Test that times at which a variable has no value at all count as gaps, and are counted."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.errors import DataError, MissingTimesError
from gfrnn.pipeline.forecasting.forecast_store import open_forecasts
from gfrnn.pipeline.runs.missing_times import Missing, find_missing_times
from gfrnn.pipeline.runs.new_period import NewPeriod
from gfrnn.pipeline.runs.refit import refit
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.runs.update import Update, update
from gfrnn_testing.archives import opened
from gfrnn_testing.reduction_toys import period
from gfrnn_testing.weather import Weather, contents, experiment, finish, make_weather, write_store

SHORT = {"periods": {"test": ["2002-07-01", "2002-07-20"]}, "forecast": {"horizon": "3d"}}


@pytest.fixture(scope="module")
def weather(tmp_path_factory: pytest.TempPathFactory) -> Weather:
    return make_weather(tmp_path_factory.mktemp("weather") / "weather.zarr", chunk=10)


def raw(weather: Weather) -> xr.Dataset:
    return xr.open_zarr(weather.path, chunks=None, consolidated=False).load()


def damaged(weather: Weather, path: Path, *days: str) -> Path:
    """Write a copy of the store without sea level pressure on some days."""
    ds = raw(weather)
    for day in days:
        ds["msl"].loc[{"time": day}] = np.nan
    write_store(ds, path, 10)
    return path


def test_the_model_is_that_of_an_archive_without_the_times(
    weather: Weather, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    days = ["2001-05-17", "2001-11-03", "2002-05-11", "2002-07-08"]
    path = damaged(weather, tmp_path / "a.zarr", *days)
    with caplog.at_level(logging.WARNING):
        run = finish(Run(experiment(path, **SHORT), tmp_path / "a"))
    counted = "4 times between 2001-05-17T00:00 and 2002-07-08T00:00 without any value of "
    assert f"{counted}mean_sea_level_pressure count as gaps" in caplog.text
    found = json.loads(run.missing_times.read_text())
    assert found == {f"{day}T00:00:00": ["mean_sea_level_pressure"] for day in days}
    write_store(raw(weather).drop_sel(time=days), tmp_path / "b.zarr", 10)
    other = finish(Run(experiment(tmp_path / "b.zarr", **SHORT), tmp_path / "b"))
    assert contents(run.model) == contents(other.model)
    assert contents(run.forecast_store) == contents(other.forecast_store)
    assert contents(run.score_store) == contents(other.score_store)
    # The next command needs no second pass, and skips all.
    again = Run(experiment(path, **SHORT), tmp_path / "a")
    assert all(again.is_done(stage) for stage in ("fit", "forecast", "verify"))
    assert np.datetime64("2002-07-08") not in open_forecasts(run.forecast_store)["time"].values


def test_ends_of_the_training_period_may_be_missing(weather: Weather, tmp_path: Path) -> None:
    path = damaged(weather, tmp_path / "a.zarr", "2001-01-01", "2002-03-31")
    run = Run(experiment(path, **SHORT), tmp_path / "a")
    run.fit()
    assert len(json.loads(run.missing_times.read_text())) == 2


def test_truth_that_ends_early_leaves_the_forecasts(weather: Weather, tmp_path: Path) -> None:
    """Values are missing after the end of the test period only."""
    path = damaged(weather, tmp_path / "a.zarr", "2002-07-22")
    run = Run(experiment(path, **SHORT), tmp_path / "a")
    run.fit()
    run.forecast()
    before = contents(run.forecast_store)
    assert not run.missing_times.exists()
    run.verify()
    assert contents(run.forecast_store) == before
    assert list(json.loads(run.missing_times.read_text())) == ["2002-07-22T00:00:00"]
    again = Run(experiment(path, **SHORT), tmp_path / "a")
    assert all(again.is_done(stage) for stage in ("fit", "forecast", "verify"))


def test_repaired_times_are_used_again(weather: Weather, tmp_path: Path) -> None:
    path = damaged(weather, tmp_path / "a.zarr", "2001-05-17", "2001-11-03")
    run = Run(experiment(path, **SHORT), tmp_path / "a")
    run.fit()
    write_store(raw(weather), path, 10)
    again = Run(experiment(path, **SHORT), tmp_path / "a")
    assert again.ds.sizes["time"] == run.ds.sizes["time"] + 2
    assert not again.is_done("fit")


def test_a_variable_without_any_value_is_refused(weather: Weather, tmp_path: Path) -> None:
    ds = raw(weather).drop_encoding()
    ds["msl"][:] = np.nan
    ds.to_netcdf(tmp_path / "a.nc")
    run = Run(experiment(tmp_path / "a.nc", **SHORT), tmp_path / "a")
    with pytest.raises(DataError, match="mean_sea_level_pressure: has no value"):
        run.fit()
    assert not run.missing_times.exists()


def new_data(weather: Weather, path: Path, *days: str) -> Path:
    """Write April to June without pressure on some days, or without these days."""
    part = raw(weather).sel(time=slice("2002-04-01", "2002-06-30"))
    for day in days:
        part["msl"].loc[{"time": day}] = np.nan
    write_store(part, path)  # in one chunk: a store leaves chunks out that are NaN as a whole
    return path


@pytest.mark.parametrize("days", [["2002-05-03"], ["2002-04-01", "2002-05-03", "2002-06-30"]])
def test_an_update_leaves_missing_times_out(
    weather: Weather, tmp_path: Path, caplog: pytest.LogCaptureFixture, days: list[str]
) -> None:
    run = Run(experiment(weather.path, **SHORT), tmp_path / "run")
    run.fit()
    path = new_data(weather, tmp_path / "a.zarr", *days)
    found = update(run.folder, [str(path)], tmp_path / "a")
    assert f"NEW_DATA: {len(days)} time" in caplog.text
    write_store(raw(weather).sel(time=slice("2002-04-01", "2002-06-30")).drop_sel(time=days),
                tmp_path / "b.zarr", 10)  # fmt: skip
    other = update(run.folder, [str(tmp_path / "b.zarr")], tmp_path / "b")
    assert contents(found.model) == contents(other.model)
    assert found.updated is not None
    assert other.updated is not None
    assert found.updated.latest.missing == len(days)
    assert found.updated.latest.rows == other.updated.latest.rows
    assert found.updated.last == other.updated.last
    # The same command again is skipped, and later data may follow.
    assert Update.prepare(run.folder, [str(path)], tmp_path / "a").done


def test_a_derived_run_leaves_the_missing_times_of_its_source_out(
    weather: Weather, tmp_path: Path
) -> None:
    """The model of a refit or an update is of the data without them."""
    path = damaged(weather, tmp_path / "a.zarr", "2001-05-17", "2002-07-08")
    run = Run(experiment(path, **SHORT), tmp_path / "run")
    run.fit()
    new = new_data(weather, tmp_path / "new.zarr")
    for derived in (
        refit(run.folder, tmp_path / "refit", ridge=[1e-3]),
        update(run.folder, [str(new)], tmp_path / "update"),
    ):
        assert derived.missing_times.read_text() == run.missing_times.read_text()
        again = Run.reopen(derived.folder)
        assert again.is_done("fit")
        again.check_ready("forecast")
        assert np.datetime64("2002-07-08") not in again.ds["time"].values


def test_a_repeated_forecast_of_another_period_is_skipped(
    weather: Weather, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = damaged(weather, tmp_path / "a.zarr", "2002-08-05")
    run = Run(experiment(path, **SHORT), tmp_path / "run")
    run.fit()
    searched: list[np.ndarray] = []

    def find(ds: xr.Dataset, used: np.ndarray, *others: object) -> Missing:
        searched.append(ds["time"].values[used])
        return find_missing_times(ds, used, *others)

    monkeypatch.setattr("gfrnn.pipeline.runs.run.find_missing_times", find)
    chosen = run.folder, period("2002-08-01", "2002-08-10"), tmp_path / "later"
    assert not NewPeriod.prepare(*chosen).run().forecast().skipped
    # The archive is not searched where the copied model was trained.
    assert searched[0].min() > np.datetime64("2002-07-20")
    again = NewPeriod.prepare(*chosen).run()
    assert again.missing_times.exists()
    assert again.forecast().skipped
    assert len(searched) == 1


def test_the_latest_forecast_starts_before_a_time_without_values(
    weather: Weather, tmp_path: Path
) -> None:
    path = damaged(weather, tmp_path / "a.zarr", "2003-03-05", "2003-03-11", "2003-03-10")
    run = Run(experiment(path, **SHORT), tmp_path / "run")
    run.fit()
    assert str(raw(weather)["time"].values[-1])[:10] == "2003-03-11"
    new = NewPeriod.from_initial_time(run.folder, "latest", tmp_path / "latest")
    assert str(new.experiment.periods.test.start) == "2003-03-09 00:00:00"
    assert "mean_sea_level_pressure" in new.note
    new.run().forecast()
    with pytest.raises(DataError, match="--init 2003-03-05: .*mean_sea_level_pressure"):
        NewPeriod.from_initial_time(run.folder, "2003-03-05", tmp_path / "other")


def test_single_missing_values_are_no_gap(weather: Weather, tmp_path: Path) -> None:
    ds = raw(weather)
    ds["msl"][100, 1, 1] = np.nan
    write_store(ds, tmp_path / "a.zarr", 10)
    fields = Fields(opened(tmp_path / "a.zarr"))
    with pytest.raises(DataError, match="mean_sea_level_pressure: nan at") as caught:
        fields.read(95, 105)
    assert not isinstance(caught.value, MissingTimesError)
    assert not fields.absent(95, 105).any()
    ds["msl"][101] = np.nan
    write_store(ds, tmp_path / "b.zarr", 10)
    fields = Fields(opened(tmp_path / "b.zarr"))
    with pytest.raises(MissingTimesError):
        fields.read(95, 105)
    absent = fields.absent(95, 105)
    names = [channel.name for channel in fields.grid.channels]
    assert np.argwhere(absent).tolist() == [[6, names.index("mean_sea_level_pressure")]]
