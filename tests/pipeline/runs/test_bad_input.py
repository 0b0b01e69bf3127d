"""Test that bad input is refused with its key, the value found and the remedy, early."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml
import zarr

from gfrnn.cluster import ClusterConfig, open_cluster
from gfrnn.pipeline.config.experiment import parse_experiment
from gfrnn.pipeline.data.dataset import open_source
from gfrnn.pipeline.errors import ConfigError, DataError, GfrnnError, ResourceError, RunError
from gfrnn.pipeline.forecasting.forecast_store import open_forecasts
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.states.climatology import ClimatologySummary
from gfrnn.pipeline.training.checks import check_settings
from gfrnn_testing.weather import (
    Weather,
    experiment,
    finish,
    make_weather,
    stamps,
    tree,
    write_store,
)
from gfrnn_testing.weather import refused as weather_refused


@pytest.fixture(scope="module")
def weather(tmp_path_factory) -> Weather:
    path = tmp_path_factory.mktemp("weather") / "weather.zarr"
    return make_weather(path, damping=0.95, noise=0.3, times=680)


def raw(weather: Weather) -> xr.Dataset:
    """Return the data of the store in memory, to be damaged."""
    with xr.open_zarr(weather.path, consolidated=False) as ds:
        return ds.load()


def refused(kind: type[GfrnnError], folder: Path, source: Path | str, **sections: Any) -> str:
    """Return the message with which a run is refused before anything is computed."""
    return weather_refused(kind, Run(experiment(source, **sections), folder / "run"))


# The experiment file against the data


def test_a_horizon_between_two_steps_is_refused_with_the_other_settings(weather):
    chosen = experiment(weather.path, forecast={"horizon": "5h"})
    with pytest.raises(ConfigError, match=r"forecast\.horizon: 5h is not a multiple of"):
        check_settings(chosen, open_source(chosen.data))


def test_unknown_key(weather):
    text = yaml.safe_dump(tree(weather.path, model={"witdh": 10}))
    with pytest.raises(ConfigError, match=r"model\.witdh: unknown key; did you mean width"):
        parse_experiment(text)


def test_missing_variable_is_named(weather, tmp_path):
    data = {"variables": {"geopotental": [500]}}
    message = refused(DataError, tmp_path, weather.path, data=data)
    assert "data.variables: geopotental is not in the data; did you mean geopotential?" in message


def test_missing_level_is_named(weather, tmp_path):
    data = {"variables": {"geopotential": [500, 700]}}
    message = refused(DataError, tmp_path, weather.path, data=data)
    assert "data.variables.geopotential: levels [700.0] (hPa) are not in the data" in message
    assert "[500.0, 850.0]" in message


def test_missing_source_is_named(tmp_path):
    message = refused(DataError, tmp_path, tmp_path / "nowhere.zarr")
    assert "data.sources[0]" in message
    assert "nowhere.zarr not found" in message


@pytest.mark.parametrize(
    ("name", "pair"),
    [
        ("train", ["1999-01-01", "2002-03-31"]),
        ("test", ["2002-07-01", "2003-07-01"]),
        ("validation", ["1990-01-01", "1990-12-31"]),
    ],
)
def test_dates_outside_of_the_data(weather, tmp_path, name, pair):
    message = refused(ConfigError, tmp_path, weather.path, periods={name: pair})
    assert f"periods.{name}: {pair[0]}..{pair[1]} is not within the data" in message
    assert "2001-01-01T00:00 to 2002-11-11T00:00" in message


def test_overlapping_periods(weather):
    with pytest.raises(ConfigError, match=r"periods: train \(.*\) and validation \(.*\) overlap"):
        experiment(weather.path, periods={"train": ["2001-01-01", "2002-04-01"]})


def test_width_above_the_rows(weather, tmp_path):
    message = refused(ConfigError, tmp_path, weather.path, model={"width": 446})
    # 455 days of training, less three for the longest lead; six modes and a constant always.
    assert "model.width: 446 hidden and 7 other features are more than the 452 rows" in message
    assert "a width of at most 445" in message
    Run(experiment(weather.path, model={"width": 445}), tmp_path / "fits").check()


def test_modes_above_the_cells(weather, tmp_path):
    message = refused(ConfigError, tmp_path, weather.path, state={"modes": 161})
    assert "state.modes: 161 EOFs, but the training period has 455 times of 160" in message
    assert "choose at most 160" in message


def test_widths_beyond_that_of_the_triangle(weather, tmp_path):
    message = refused(ConfigError, tmp_path, weather.path, fit={"widths": [10, 30]})
    assert "fit.widths: 30 is more than model.width, 20; give at most 20" in message


def test_lead_that_is_no_multiple_of_the_step(weather, tmp_path):
    message = refused(ConfigError, tmp_path, weather.path, model={"leads": ["36h"]})
    assert "model.leads: 36h is not a multiple of the data's step, 1d" in message


def test_period_too_short_for_a_row(weather, tmp_path):
    periods = {"validation": ["2002-04-01", "2002-04-02"]}
    message = refused(ConfigError, tmp_path, weather.path, periods=periods)
    assert "periods.validation: no part without a gap is long enough" in message
    assert "a lead of 3 steps" in message


# Values


def test_nan_is_named_and_nothing_finished_is_lost(weather, tmp_path, monkeypatch):
    damaged = raw(weather)
    when = np.datetime64("2002-02-03")
    damaged["t"].loc[{"time": when, "level": 850, "latitude": 40, "longitude": 10}] = np.nan
    source = tmp_path / "damaged.zarr"
    write_store(damaged, source)
    run = Run(experiment(source), tmp_path / "run")
    run.check()
    with pytest.raises(DataError) as caught:
        run.fit()
    message = str(caught.value)
    assert message.startswith("temperature_850: nan at 2002-02-03T00:00, latitude 40, longitude 10")
    for remedy in ("fill such values", "data.variables", "choose periods"):
        assert remedy in message
    # The year 2001 was done before, and is taken up when the value has been filled.
    assert stamps(run.folder / "summaries.zarr" / "climatology")
    write_store(raw(weather), source)
    again = Run(experiment(source), tmp_path / "run")
    read, leaf = [], ClimatologySummary.leaf
    monkeypatch.setattr(
        ClimatologySummary, "leaf", lambda self, part: read.append(part.start) or leaf(self, part)
    )
    again.fit()
    assert read
    assert min(read) >= 300  # days from 2001-01-01, in leaves of a hundred
    assert again.finished("fit")


@pytest.mark.slow
def test_nan_outside_of_the_data_in_use_is_allowed(weather, tmp_path):
    damaged = raw(weather)
    damaged["t"].loc[{"level": 500}] = np.nan  # a level that is not chosen
    damaged["msl"].loc[{"time": slice("2002-09-20", None)}] = np.nan  # after all periods
    write_store(damaged, tmp_path / "damaged.zarr")
    run = finish(Run(experiment(tmp_path / "damaged.zarr"), tmp_path / "run"))
    assert run.finished("verify")


def test_nan_in_the_test_period_is_named_and_the_model_stays(weather, tmp_path):
    damaged = raw(weather)
    place = {"time": "2002-08-02", "level": 500, "latitude": 30}
    damaged["z"].loc[place] = np.nan
    write_store(damaged, tmp_path / "damaged.zarr")
    run = Run(experiment(tmp_path / "damaged.zarr", forecast={"batch": 10}), tmp_path / "run")
    run.fit()
    with pytest.raises(DataError, match="geopotential_500: nan at 2002-08-02T00:00, latitude 30"):
        run.forecast()
    assert run.finished("fit")
    with pytest.raises(RunError, match="not finished"):
        open_forecasts(run.forecast_store)
    # Three batches of ten were written, and stay.
    shards = list((run.forecast_store / "mean_sea_level_pressure" / "c").iterdir())
    assert len(shards) == 30


@pytest.mark.parametrize("value", [101325.7, 0.0])
def test_constant_variable(weather, tmp_path, value):
    damaged = raw(weather)
    damaged["msl"][:] = value
    write_store(damaged, tmp_path / "damaged.zarr")
    keys = {"climatology": {"annual": 2}, "data": {"allow": ["range"]}}
    run = Run(experiment(tmp_path / "damaged.zarr", **keys), tmp_path / "run")
    with pytest.raises(DataError) as caught:
        run.fit()
    message = str(caught.value)
    assert message.startswith("mean_sea_level_pressure: does not vary about its climatology")
    assert message.endswith("leave it out (data.variables)")
    assert not run.model.exists()


@pytest.mark.slow
def test_a_few_constant_cells_are_allowed(weather, tmp_path):
    flat = raw(weather)
    flat["msl"][:, :2] = 101325.0
    write_store(flat, tmp_path / "flat.zarr")
    run = finish(Run(experiment(tmp_path / "flat.zarr"), tmp_path / "run"))
    with xr.open_zarr(run.score_store, consolidated=False, decode_timedelta=True) as scores:
        assert np.isfinite(scores["rmse"].values).all()
        assert np.isfinite(scores["acc"].values).all()


# Gaps


def without(weather: Weather, path: Path, *days: tuple[str, str]) -> Path:
    """Write the store without some days."""
    ds = raw(weather)
    keep = np.ones(ds.sizes["time"], dtype=bool)
    for first, last in days:
        keep &= ~((weather.time >= first) & (weather.time <= last))
    write_store(ds.isel(time=keep), path)
    return path


def test_training_never_crosses_a_gap(tmp_path):
    """The pattern has turned on after the gap, so rows across it would break the exact law."""
    turning = make_weather(tmp_path / "turning.zarr", times=680)
    source = without(turning, tmp_path / "gappy.zarr", ("2001-06-03", "2001-06-06"))
    run = finish(Run(experiment(source, state={"delays": 2}), tmp_path / "run"))
    with xr.open_zarr(run.score_store, consolidated=False, decode_timedelta=True) as scores:
        rmse = scores["rmse"].load()
    assert (rmse.sel(system="forecast") < 1e-3 * rmse.sel(system="climatology")).all()
    # 451 days in two stretches, each less one for the delay and three for the longest lead.
    record = zarr.open_group(run.model, mode="r").attrs["notes"]
    assert record["rows"] == 455 - 4 - 2 * 4


@pytest.mark.parametrize("name", ["train", "validation"])
def test_a_period_without_usable_stretch_is_refused(weather, tmp_path, name):
    """One of every five days is missing, and a row needs five in a row."""
    first, last = tree("")["periods"][name]
    days = pd.date_range(first, last)[2::5]
    holes = [(str(day.date()),) * 2 for day in days]
    source = without(weather, tmp_path / "gappy.zarr", *holes)
    parts = {"state": {"delays": 2}, "model": {"leads": ["3d"]}}
    message = refused(ConfigError, tmp_path, source, **parts)
    assert f"periods.{name}: no part without a gap is long enough for 2 delays" in message


def test_a_test_period_without_start_is_refused(weather, tmp_path):
    holes = [(str(day.date()),) * 2 for day in pd.date_range("2002-06-29", "2002-09-02", freq="2D")]
    source = without(weather, tmp_path / "gappy.zarr", *holes)
    run = Run(experiment(source, state={"delays": 2}), tmp_path / "run")
    with pytest.raises(
        ConfigError, match=r"periods.test: no time in .* has the 2 successive states"
    ):
        run.check()


# Memory


@pytest.mark.cluster
def test_a_worker_too_small_for_the_width_is_refused_before_any_work(tmp_path):
    """Workers are real; only the width needs too much memory, and no earlier pass is run."""
    long = make_weather(
        tmp_path / "long.zarr", start="1992-01-01", times=3900, shape=(2, 2), noise=0.1, damping=0.9
    )
    periods = {"train": ["1992-01-01", "2001-12-31"], "validation": ["2002-01-01", "2002-06-30"]}
    big = experiment(long.path, periods=periods, model={"width": 2500})
    seen: list[str] = []
    run = Run(big, tmp_path / "run", lambda advance: seen.append(advance.name))
    with (
        open_cluster(ClusterConfig(workers=1, memory="300MiB", dashboard=":0")),
        pytest.raises(ResourceError) as caught,
    ):
        run.fit()
    message = str(caught.value)
    found = re.match(r"rows: a merge needs (\d+) MiB, but a worker's thread has 210 MiB", message)
    assert found is not None, message
    assert int(found[1]) > 210
    assert "give the workers more (cluster.memory) or lower model.width" in message
    assert seen == []
    assert not (tmp_path / "run" / "summaries.zarr").exists()
    # Once the width is lowered, the same folder will do.
    Run(experiment(long.path, periods=periods), tmp_path / "run").check()


def test_a_worker_too_small_for_a_leaf_is_refused_before_any_work(weather, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "gfrnn.pipeline.reduction.dask_client._memory_of_a_thread", lambda client: 2**20
    )
    run = Run(experiment(weather.path), tmp_path / "run")
    with pytest.raises(ResourceError, match=r"climatology: a leaf needs 1 MiB.* lower data\.chunk"):
        run.fit()
    assert not (tmp_path / "run" / "summaries.zarr").exists()
    # Smaller leaves do.
    Run(experiment(weather.path, data={"chunk": 50}), tmp_path / "run").fit()


def test_a_batch_of_forecasts_too_large_is_refused_before_any_is_written(
    weather, tmp_path, monkeypatch
):
    run = Run(experiment(weather.path), tmp_path / "run")
    run.fit()
    monkeypatch.setattr(
        "gfrnn.pipeline.reduction.dask_client._memory_of_a_thread", lambda client: 2**12
    )
    with pytest.raises(ResourceError, match=r"forecast: .* lower forecast\.batch"):
        run.forecast()
    assert not run.forecast_store.exists()


def test_a_worker_too_small_to_solve_is_refused_before_any_work(tmp_path, weather, monkeypatch):
    run = Run(experiment(weather.path, model={"width": 200}, data={"chunk": 50}), tmp_path / "run")
    # Enough for a merge of two triangles of 213 columns or more, not for the SVD of one.
    monkeypatch.setattr(
        "gfrnn.pipeline.reduction.dask_client._memory_of_a_thread", lambda client: 5 * 2**20
    )
    with pytest.raises(ResourceError, match=r"solve: .* lower model\.width"):
        run.fit()
    assert not (tmp_path / "run" / "summaries.zarr").exists()


# Folders and files


def test_output_folder_of_another_experiment(weather, tmp_path):
    Run(experiment(weather.path), tmp_path / "run").fit()
    before = stamps(tmp_path / "run")
    with pytest.raises(RunError, match=r"holds a run of another experiment \(state.modes: 6 there"):
        Run(experiment(weather.path, state={"modes": 5}), tmp_path / "run")
    assert stamps(tmp_path / "run") == before
    other = experiment(weather.path)
    other.data.sources[0].missing.append(-9999.0)
    with pytest.raises(
        RunError, match=r"\(data.sources\[0\].missing: \[\] there, \[-9999.0\] here\)"
    ):
        Run(other, tmp_path / "run")


@pytest.mark.parametrize("kind", ["NETCDF4", "NETCDF3_64BIT"])
def test_truncated_netcdf(weather, tmp_path, kind):
    path = tmp_path / "short.nc"
    raw(weather).to_netcdf(path, format=kind)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    message = refused(DataError, tmp_path, path)
    assert str(path) in message
    assert "copy or download it again" in message


def test_a_missing_chunk_is_refused(weather, tmp_path):
    """It would be read as the fill value without an error."""
    source = tmp_path / "holes.zarr"
    shutil.copytree(weather.path, source)
    metadata = source / "msl" / "zarr.json"
    text = metadata.read_text()
    assert '"fill_value": "NaN"' in text or '"fill_value": NaN' in text
    metadata.write_text(re.sub(r'"fill_value": ("NaN"|NaN)', '"fill_value": 101325.0', text))
    chunk = source / "msl" / "c" / "2" / "0" / "0"
    chunk.unlink()
    message = refused(DataError, tmp_path, source)
    assert f"mean_sea_level_pressure: {source}/msl has no chunk (2, 0, 0)" in message
    assert "times 2001-07-20T00:00 to 2001-10-27T00:00" in message
    assert "it reads as the fill value 101325" in message
    assert "copy the store again" in message


def test_a_missing_chunk_outside_of_all_periods_is_allowed(weather, tmp_path):
    source = tmp_path / "holes.zarr"
    shutil.copytree(weather.path, source)
    (source / "msl" / "c" / "6" / "0" / "0").unlink()  # from 2002-08-24 on
    periods = {"test": ["2002-07-01", "2002-08-17"]}
    run = finish(Run(experiment(source, periods=periods), tmp_path / "run"))
    assert run.finished("verify")
