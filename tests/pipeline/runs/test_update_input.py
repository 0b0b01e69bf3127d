"""Test what an update refuses before it writes, and which scores it allows afterwards."""

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

from gfrnn.pipeline.config.experiment import Experiment, parse_experiment
from gfrnn.pipeline.errors import ConfigError, DataError, ResourceError, RunError
from gfrnn.pipeline.forecasting.forecast_store import open_forecasts
from gfrnn.pipeline.runs.refit import refit
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.runs.update import update
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn_testing.reduction_toys import period
from gfrnn_testing.weather import (
    Weather,
    contents,
    experiment,
    finish,
    make_weather,
    tree,
    write_store,
)

PARTS: dict[str, Any] = {
    "periods": {"test": ["2002-07-01", "2002-07-12"]},
    "state": {"modes": 5, "delays": 2},
    "fit": {"ridge": [1e-2]},
    "forecast": {"horizon": "4d"},
}
SPRING = period("2002-04-01", "2002-05-31")


@pytest.fixture(scope="module")
def weather(tmp_path_factory) -> Weather:
    path = tmp_path_factory.mktemp("weather") / "weather.zarr"
    return make_weather(path, damping=0.95, noise=0.3, times=600)


@pytest.fixture(scope="module")
def done(weather, tmp_path_factory) -> Run:
    """Return a run with all stages done; tests do not change it."""
    folder = tmp_path_factory.mktemp("done") / "run"
    return finish(Run(experiment(weather.path, **PARTS), folder))


@pytest.fixture
def copy(done, tmp_path) -> Path:
    folder = tmp_path / "copy"
    shutil.copytree(done.folder, folder)
    return folder


# What is refused


def spring(weather: Weather) -> xr.Dataset:
    return weather.ds.sel(time=slice("2002-04-01", "2002-05-31")).copy(deep=True)


def with_unit(ds: xr.Dataset, name: str, unit: str) -> xr.Dataset:
    return ds.assign({name: ds[name].assign_attrs(units=unit)})


def times_shifted(ds: xr.Dataset, hours: int) -> xr.Dataset:
    return ds.assign_coords(time=ds["time"] + np.timedelta64(hours, "h"))


def spoilt(ds: xr.Dataset) -> xr.Dataset:
    ds["mean_sea_level_pressure"][7, 2, 3] = np.nan
    return ds


def rescaled(
    ds: xr.Dataset, name: str, factor: float = 1, offset: float | xr.DataArray = 0
) -> xr.Dataset:
    """Return the data with ``factor * values + offset``, in the same unit."""
    array = ds[name]
    return ds.assign({name: (factor * array + offset).assign_attrs(array.attrs)})


BAD: dict[str, tuple[Callable[[xr.Dataset], xr.Dataset], str]] = {
    "dates trained on": (
        lambda ds: times_shifted(ds, -24),
        "NEW_DATA: begin at 2002-03-31T00:00, but the model was trained with data up to "
        "2002-03-31T00:00; give later times only",
    ),
    "dates long ago": (lambda ds: times_shifted(ds, -24 * 365), "begin at 2001-04-01"),
    "another hour": (
        lambda ds: times_shifted(ds, 6),
        r"2002-04-01T06:00 is not a whole number of steps \(1d\) after 2002-03-31",
    ),
    "another step": (
        lambda ds: ds.isel(time=slice(None, None, 2)),
        "the data have a step of 2d, the model of 1d",
    ),
    "fewer latitudes": (
        lambda ds: ds.isel(latitude=slice(1, None)),
        r"latitudes 40..70 \(4\), the model has 30..70 \(5\)",
    ),
    "other longitudes": (
        lambda ds: ds.assign_coords(longitude=ds["longitude"] + 0.5),
        r"the data have the longitudes .* interpolate them",
    ),
    "a variable less": (
        lambda ds: ds.drop_vars("temperature"),
        "^NEW_DATA: temperature is not in the data",
    ),
    "a level less": (
        lambda ds: ds.sel(level=[850.0]),
        r"^NEW_DATA: geopotential: levels \[500.0\] \(hPa\) are not in the data; "
        r"choose from \[850.0\]",
    ),
    "an unknown unit": (lambda ds: with_unit(ds, "temperature", "furlong"), "furlong"),
    "a missing value": (spoilt, "mean_sea_level_pressure: nan at 2002-04-08"),
    "anomalies": (
        lambda ds: rescaled(ds, "geopotential", offset=-ds["geopotential"].mean("time")),
        r"NEW_DATA: geopotential_500 differs from the model's climatology by [\d.]+ standard "
        r"deviations of [\d.]+ .*not an anomaly",
    ),
    "another quantity": (
        lambda ds: rescaled(ds, "temperature", offset=-273.15),
        "NEW_DATA: temperature_850 differs from the model's climatology",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_data_change_nothing(weather, copy, tmp_path, case):
    change, message = BAD[case]
    write_store(change(spring(weather)), tmp_path / "new.zarr")
    before = contents(copy, metadata=True)
    with pytest.raises(DataError, match=message):
        update(copy, [str(tmp_path / "new.zarr")])
    assert contents(copy, metadata=True) == before | {".lock": contents(copy)[".lock"]}
    assert Run.reopen(copy).finished("verify")


def test_units_that_are_known_are_converted(weather, copy, done, tmp_path):
    ds = spring(weather)
    pressure = (ds["mean_sea_level_pressure"] / 100).assign_attrs(units="hPa")
    write_store(ds.assign(mean_sea_level_pressure=pressure), tmp_path / "new.zarr")
    ours = update(copy, [str(tmp_path / "new.zarr")])
    theirs = update(done.folder, [str(weather.path)], tmp_path / "there", period=SPRING)
    outer = [ForecastModel.load(run.model).linear.outer for run in (ours, theirs)]
    np.testing.assert_allclose(*outer, atol=1e-5)


def test_strong_anomalies_are_accepted(weather, copy, tmp_path):
    ds = spring(weather)
    strong = rescaled(ds, "temperature", factor=4, offset=-3 * ds["temperature"].mean("time"))
    write_store(strong, tmp_path / "new.zarr")
    assert update(copy, [str(tmp_path / "new.zarr")]).updated


@pytest.mark.parametrize("forget", [0.0, -0.5, 1.01, float("nan")])
def test_forgetting_factors_out_of_range_are_refused(weather, copy, forget):
    with pytest.raises(ConfigError, match="--forget: .* is not above 0 and at most 1"):
        update(copy, [str(weather.path)], forget=forget, period=SPRING)


def test_a_period_without_data(weather, copy):
    with pytest.raises(DataError, match="--period: 2013-01-01..2013-02-01 contains no time of NEW"):
        update(copy, [str(weather.path)], period=period("2013-01-01", "2013-02-01"))


def test_a_missing_chunk(weather, copy, tmp_path):
    write_store(spring(weather), tmp_path / "new.zarr", chunk=20)
    shutil.rmtree(tmp_path / "new.zarr" / "temperature" / "c" / "1")
    with pytest.raises(DataError, match=r"new\.zarr.*temperature"):
        update(copy, [str(tmp_path / "new.zarr")])


def test_runs_that_cannot_be_updated(weather, copy, tmp_path):
    new = [str(weather.path)]
    with pytest.raises(RunError, match=r"copy: exists; choose another --output"):
        update(copy, new, copy, period=SPRING)
    (tmp_path / "note").write_text("mine")
    with pytest.raises(RunError, match=r"note is not a folder; choose another --output"):
        update(copy, new, tmp_path / "note" / "new", period=SPRING)
    with pytest.raises(RunError, match="not a run's folder"):
        update(tmp_path, new, period=SPRING)
    shutil.rmtree(copy / "summaries.zarr" / "rows")
    before = contents(copy / "model.zarr")
    with pytest.raises(RunError, match="a checkpoint of rows is missing or damaged"):
        update(copy, new, period=SPRING)
    assert contents(copy / "model.zarr") == before
    shutil.rmtree(copy / "model.zarr")
    with pytest.raises(RunError, match="holds no finished fit"):
        update(copy, new, period=SPRING)


def test_an_update_is_not_refitted(weather, copy, tmp_path):
    update(copy, [str(weather.path)], period=SPRING)
    with pytest.raises(
        RunError, match="was updated to 2002-05-31T00:00, .*refit a run that was not updated"
    ):
        refit(copy, tmp_path / "refit")


def test_too_little_memory(weather, copy, monkeypatch):
    monkeypatch.setattr(
        "gfrnn.pipeline.reduction.dask_client._memory_of_a_thread", lambda client: 90_000
    )
    with pytest.raises(ResourceError, match="fold: .* MiB"):
        update(copy, [str(weather.path)], period=SPRING)


def test_sources_of_different_settings_are_given_one_by_one(weather, tmp_path):
    whole, parts = weather.ds.load(), tmp_path / "parts"
    sea = ["mean_sea_level_pressure"]
    for name, names in (("upper", ["geopotential", "temperature"]), ("sea", sea)):
        write_store(whole[names].rename({names[0]: "mine"}), parts / f"{name}.zarr")
    own = tree(weather.path, **PARTS)
    own["data"]["sources"] = [
        {"path": str(parts / "upper.zarr"), "rename": {"mine": "geopotential"}},
        {"path": str(parts / "sea.zarr"), "rename": {"mine": "mean_sea_level_pressure"}},
    ]
    run = Run(parse_experiment(yaml.safe_dump(own)), tmp_path / "run")
    run.fit()
    both = [str(parts / "upper.zarr"), str(parts / "sea.zarr")]
    with pytest.raises(ConfigError, match="NEW_DATA: 1 given, but the run has 2 data.sources"):
        update(run.folder, both[:1], period=SPRING)
    assert update(run.folder, both, period=SPRING).updated.latest.rows == 61


# What follows


def with_test(source: Path, first: str, last: str, **sections: Any) -> Experiment:
    """Return the experiment with other data and another test period."""
    return experiment(source, **PARTS | {"periods": {"test": [first, last]}} | sections)


def test_forecasts_of_the_earlier_model_are_outdated(weather, copy):
    run = update(copy, [str(weather.path)], period=SPRING)
    assert run.fit().skipped
    assert not run.finished("forecast")
    with pytest.raises(RunError, match="run `gfrnn forecast` first"):
        run.verify()
    assert not finish(run).forecast(force=True).skipped


def test_times_trained_on_are_neither_forecast_nor_scored(weather, copy):
    run = update(copy, [str(weather.path)], period=period("2002-04-01", "2002-07-05"))
    for refused in (run.check, run.forecast):
        with pytest.raises(
            ConfigError, match="periods.test: 2002-07-01.* begins before 2002-07-05"
        ):
            refused()
    assert not run.finished("forecast")
    Run(with_test(weather.path, "2002-07-05", "2002-07-12"), copy).forecast()


def test_scores_go_on_with_recent_data_alone(weather, copy, tmp_path):
    """Forecasts start from the last time of the training; the archive is not needed."""
    recent = tmp_path / "recent.zarr"
    write_store(weather.ds.sel(time=slice("2002-07-01", None)).load(), recent)
    update(copy, [str(weather.path)], period=period("2002-04-01", "2002-07-05"))
    run = Run(with_test(recent, "2002-07-05", "2002-08-10"), copy)
    run.check()
    assert run.fit().skipped
    finish(run)
    times = pd.DatetimeIndex(open_forecasts(run.forecast_store)["time"].values)
    assert (times[0], times[-1]) == (pd.Timestamp("2002-07-05"), pd.Timestamp("2002-08-10"))
    rmse = xr.open_zarr(run.score_store, chunks=None, consolidated=False)["rmse"].isel(
        prediction_timedelta=0
    )
    assert (rmse.sel(system="forecast") < rmse.sel(system="climatology")).all()
    # More of the same data are no reason to start anew.
    assert Run(with_test(weather.path, "2002-07-05", "2002-08-10"), copy).fit().skipped


def test_before_an_update_the_test_period_is_part_of_the_run(weather, copy):
    with pytest.raises(RunError, match="periods.test: .* there, .* here"):
        Run(with_test(weather.path, "2002-07-05", "2002-07-12"), copy)


def test_another_experiment_is_refused_after_an_update_too(weather, copy):
    update(copy, [str(weather.path)], period=SPRING)
    for section, text in (({"model": {"width": 19}}, "model.width: 20 there, 19 here"),):
        with pytest.raises(RunError, match=text):
            Run(with_test(weather.path, "2002-07-05", "2002-07-12", **section), copy)


def test_data_of_another_kind_are_not_forecast(weather, copy, tmp_path):
    update(copy, [str(weather.path)], period=SPRING)
    small = weather.ds.isel(latitude=slice(1, None)).load()
    write_store(small, tmp_path / "small.zarr")
    run = Run(with_test(tmp_path / "small.zarr", "2002-07-05", "2002-07-12"), copy)
    with pytest.raises(DataError, match="the data have the latitudes"):
        run.check()


def test_the_test_period_must_lie_in_the_data(weather, copy):
    update(copy, [str(weather.path)], period=SPRING)
    run = Run(with_test(weather.path, "2003-07-05", "2003-07-12"), copy)
    with pytest.raises(ConfigError, match="periods.test: 2003-07-05..2003-07-12 is not within"):
        run.check()


def test_a_longer_horizon_after_an_update_keeps_the_updated_model(weather, copy):
    updated = update(copy, [str(weather.path)], period=SPRING).updated
    keys = with_test(weather.path, "2002-07-05", "2002-07-12", forecast={"horizon": "5d"})
    run = Run(keys, copy)
    run.check()
    assert run.fit().skipped
    run.forecast()
    assert run.updated == updated
    assert open_forecasts(run.forecast_store).sizes["prediction_timedelta"] == 5
