"""Test forecasts from one time: the newest complete state, a given time, and data that are late."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml

from gfrnn.pipeline.errors import ConfigError, DataError, RunError
from gfrnn.pipeline.forecasting.forecast_store import open_forecasts
from gfrnn.pipeline.runs import initial_time
from gfrnn.pipeline.runs.new_period import NewPeriod
from gfrnn.pipeline.runs.run import Run
from gfrnn_testing.reduction_toys import period
from gfrnn_testing.weather import Weather, experiment, make_weather, write_store

PARTS: dict[str, Any] = {
    "periods": {"test": ["2002-07-01", "2002-07-12"]},
    "state": {"delays": 2},
    "forecast": {"horizon": "3d", "every": "2d"},
}
END = "2002-11-11"

Change = Callable[[xr.Dataset], xr.Dataset]


def with_data(weather: Weather, fitted: Run, tmp_path: Path, *changes: Change) -> Path:
    """Return a copy of the fitted run, whose data are changed: one store for each change."""
    with xr.open_zarr(weather.path, consolidated=False) as ds:
        raw = ds.load()
    stores = [tmp_path / f"data{index}.zarr" for index in range(len(changes))]
    for store, change in zip(stores, changes, strict=True):
        write_store(change(raw.copy(deep=True)), store, chunk=10)
    folder = Path(shutil.copytree(fitted.folder, tmp_path / "run"))
    file = folder / "experiment.yaml"
    tree = yaml.safe_load(file.read_text())
    tree["data"]["sources"] = list(map(str, stores))
    file.write_text(yaml.safe_dump(tree, sort_keys=False))
    Run.reopen(folder).fit()  # the paths of the data are part of the experiment
    return folder


def missing_from(first: str, last: str | None = None, *names: str) -> Change:
    """Set variables to NaN in a period."""

    def change(ds: xr.Dataset) -> xr.Dataset:
        for name in names or map(str, ds.data_vars):
            ds[name].loc[{"time": slice(first, last)}] = np.nan
        return ds

    return change


def start(new: NewPeriod) -> str:
    test = new.experiment.periods.test
    assert test.start == test.end
    return f"{test.start:%Y-%m-%d}"


def test_latest_is_the_end_of_the_data(weather, fitted, tmp_path):
    new = NewPeriod.from_initial_time(fitted.folder, "latest", tmp_path / "latest", horizon="5d")
    assert start(new) == END
    assert not new.note
    run = new.run()
    run.forecast()
    store = open_forecasts(run.forecast_store)
    assert store["time"].values == [np.datetime64(END)]
    assert store.sizes["prediction_timedelta"] == 5
    longer = NewPeriod.prepare(
        fitted.folder, period("2002-11-09", END), tmp_path / "longer", every="1d", horizon="5d"
    ).run()
    longer.forecast()
    expected = open_forecasts(longer.forecast_store)
    assert expected.sizes["time"] == 3
    for name in expected.data_vars:
        np.testing.assert_allclose(
            store[name].values[0], expected[name].values[-1], rtol=3e-7, atol=1e-12
        )


def test_the_folder_has_the_hour_in_its_name(fitted):
    new = NewPeriod.from_initial_time(fitted.folder, "2002-08-01")
    assert new.folder == fitted.folder.with_name("run-20020801T00")
    assert initial_time.day_and_hour(np.datetime64("2002-08-01T06:30")) == "20020801T0630"


def test_every_and_horizon_default_to_those_of_the_run(fitted):
    new = NewPeriod.prepare(fitted.folder, period("2002-08-01", "2002-08-09"))
    assert (str(new.experiment.forecast.every), str(new.experiment.forecast.horizon)) == (
        "2d", "3d",
    )  # fmt: skip


@pytest.mark.parametrize("first", ["2002-11-11", "2002-11-10", "2002-10-25", "2002-07-20"])
def test_padding_at_the_end_is_left_out(weather, fitted, tmp_path, first):
    folder = with_data(weather, fitted, tmp_path, missing_from(first))
    new = NewPeriod.from_initial_time(folder, "latest")
    assert start(new) == str(np.datetime64(first) - 1)
    # A store leaves out chunks of nothing but NaN.
    assert new.note.startswith("geopotential")
    assert "nan" in new.note
    assert "at 2002-11-1" in new.note or "to 2002-11-11T00:00" in new.note
    new.run().forecast()


@pytest.mark.parametrize(
    ("stated", "last"),
    [
        ({"valid_time_stop": "2002-11-01"}, "2002-11-01"),
        ({"valid_time_stop": "2002-11-01", "valid_time_stop_era5t": "2002-11-06"}, "2002-11-06"),
    ],
)
def test_latest_is_within_the_extent_that_a_store_states(weather, fitted, tmp_path, stated, last):
    """Values outside of it are not used, whatever they are."""

    def change(ds: xr.Dataset) -> xr.Dataset:
        return ds.assign_attrs(valid_time_start="2001-01-01", **stated)

    new = NewPeriod.from_initial_time(with_data(weather, fitted, tmp_path, change), "latest")
    assert start(new) == last
    assert not new.note
    with pytest.raises(DataError, match=f"the data, which go from .* to {last}T00:00, lack the"):
        NewPeriod.from_initial_time(new.source.folder, END)


def test_a_late_field_is_named(weather, fitted, tmp_path):
    folder = with_data(weather, fitted, tmp_path, missing_from("2002-11-10", None, "msl"))
    new = NewPeriod.from_initial_time(folder, "latest")
    assert start(new) == "2002-11-09"
    assert new.note.startswith("mean_sea_level_pressure: nan at 2002-11-10T00:00")
    with pytest.raises(DataError, match=r"--init 2002-11-10: mean_sea_level_pressure: nan at 2002"):
        NewPeriod.from_initial_time(folder, "2002-11-10")


def test_a_late_file_is_named(weather, fitted, tmp_path):
    folder = with_data(
        weather, fitted, tmp_path,
        lambda ds: ds.drop_vars("msl"),
        lambda ds: ds[["msl"]].sel(time=slice(None, "2002-11-08")),
    )  # fmt: skip
    new = NewPeriod.from_initial_time(folder, "latest")
    assert start(new) == "2002-11-08"
    assert new.note == "mean_sea_level_pressure ends at 2002-11-08T00:00"
    with pytest.raises(DataError, match=r"the state at 2002-11-09T00:00 .*: mean_sea_level_pressu"):
        NewPeriod.from_initial_time(folder, "2002-11-09")


def test_earlier_states_must_be_complete_too(weather, fitted, tmp_path):
    folder = with_data(weather, fitted, tmp_path, missing_from("2002-11-10", "2002-11-10", "t"))
    assert start(NewPeriod.from_initial_time(folder, "latest")) == "2002-11-09"
    with pytest.raises(DataError, match="--init 2002-11-11: temperature_850: nan at 2002-11-10"):
        NewPeriod.from_initial_time(folder, "2002-11-11")


def test_a_gap_before_the_end(weather, fitted, tmp_path):
    gap = pd.to_datetime(["2002-11-08", "2002-11-10"])
    folder = with_data(weather, fitted, tmp_path, lambda ds: ds.drop_sel(time=gap))
    assert start(NewPeriod.from_initial_time(folder, "latest")) == "2002-11-07"
    with pytest.raises(
        DataError, match=r"lack the state at 2002-11-10T00:00 \(a forecast starts from 2 success"
    ):
        NewPeriod.from_initial_time(folder, "2002-11-11")


def test_missing_chunks_are_not_taken_for_values(weather, fitted, tmp_path):
    folder = with_data(weather, fitted, tmp_path, lambda ds: ds)
    chunks = sorted((tmp_path / "data0.zarr" / "msl" / "c").iterdir(), key=lambda p: int(p.name))
    shutil.rmtree(chunks[-1])
    new = NewPeriod.from_initial_time(folder, "latest")
    assert start(new) == str(weather.time[10 * (len(chunks) - 1) - 1].date())
    assert "mean_sea_level_pressure" in new.note


def test_few_states_are_read_behind_years_of_padding(weather, fitted, tmp_path, monkeypatch):
    def padded(ds: xr.Dataset) -> xr.Dataset:
        time = pd.date_range(ds.time.values[0], periods=6000)
        return ds.reindex(time=time)

    folder = with_data(weather, fitted, tmp_path, padded)
    real, places = initial_time._problem, []

    def counts(fields, place, delays):
        places.append(place)
        return real(fields, place, delays)

    monkeypatch.setattr(initial_time, "_problem", counts)
    assert start(NewPeriod.from_initial_time(folder, "latest")) == END
    # 16 places one by one, then steps that double up to 6,000 times, and a search by halves.
    assert len(places) < 16 + 2 * 13


def test_truth_that_comes_later_scores_the_forecast(weather, fitted, tmp_path):
    folder = with_data(weather, fitted, tmp_path, lambda ds: ds.sel(time=slice(None, "2002-08-05")))
    run = NewPeriod.from_initial_time(folder, "latest").run()
    run.forecast()
    with pytest.raises(DataError, match="no truth .* for 2002-08-06T00:00 to 2002-08-08T00:00, as"):
        run.verify()
    with xr.open_zarr(weather.path, consolidated=False) as ds:
        later = ds.sel(time=slice(None, "2002-08-07")).load()
    shutil.rmtree(tmp_path / "data0.zarr")
    write_store(later, tmp_path / "data0.zarr", chunk=10)
    again = Run.reopen(run.folder)
    assert again.forecast().skipped
    again.verify()
    with xr.open_zarr(run.score_store, consolidated=False) as scores:
        assert scores["pairs"].values.tolist() == [1, 1, 0]
    assert start(NewPeriod.from_initial_time(folder, "latest")) == "2002-08-07"


def test_bad_input_is_named(weather, fitted, tmp_path):
    def refuse(kind: type[Exception], message: str, init: str, **options: Any) -> None:
        with pytest.raises(kind, match=message):
            NewPeriod.from_initial_time(fitted.folder, init, **options)

    refuse(ConfigError, "--init: 'newest' is not a date", "newest")
    refuse(ConfigError, "--init 2001-06-01: periods: train .* and test .* overlap", "2001-06-01")
    refuse(DataError, "which go from 2001-01-01T00:00 to 2002-11-11T00:00, lack", "2009-01-01")
    refuse(DataError, "lack the state at .*2002-08-01T06:00 .*; wait for", "2002-08-01T06")
    refuse(ConfigError, "forecast.horizon: 36h is not a multiple", "latest", horizon="36h")
    refuse(ConfigError, "forecast.horizon: 'x' is not a duration", "latest", horizon="x")
    refuse(RunError, "contains a run with its own fit", "latest", output=fitted.folder)
    with pytest.raises(RunError, match="not a run's folder"):
        NewPeriod.from_initial_time(tmp_path, "latest")


def test_a_longer_horizon_replaces_the_forecast(fitted, tmp_path):
    for horizon, leads in ((None, 3), ("5d", 5)):
        new = NewPeriod.from_initial_time(
            fitted.folder, "latest", tmp_path / "new", horizon=horizon
        )
        run = new.run()
        assert not run.forecast().skipped
        assert open_forecasts(run.forecast_store).sizes["prediction_timedelta"] == leads


def test_data_without_a_complete_state(weather, fitted, tmp_path):
    folder = with_data(weather, fitted, tmp_path, lambda ds: ds)
    shutil.rmtree(tmp_path / "data0.zarr")
    with xr.open_zarr(weather.path, consolidated=False) as ds:
        late = ds.sel(time=slice("2002-10-01", None)).load()
    write_store(missing_from("2002-10-01", None, "z")(late), tmp_path / "data0.zarr", chunk=10)
    with pytest.raises(DataError, match="--init latest: no time of the data is complete; geopote"):
        NewPeriod.from_initial_time(folder, "latest")


def test_hours_of_a_day_must_be_given(tmp_path):
    weather = make_weather(tmp_path / "w.zarr", damping=0.95, noise=0.3, times=2400, freq="6h")
    run = Run(experiment(weather.path, **PARTS | {"model": {"leads": ["6h"]}}), tmp_path / "run")
    run.fit()
    with pytest.raises(
        ConfigError, match="--init: 2002-08-01 has 4 times, 2002-08-01T00:00, 2002-08-01T06:00"
    ):
        NewPeriod.from_initial_time(run.folder, "2002-08-01")
    new = NewPeriod.from_initial_time(run.folder, "2002-08-01T06")
    assert new.folder.name == "run-20020801T06"
