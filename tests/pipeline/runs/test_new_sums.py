"""Use a model with new files that are too short to show when their sums begin anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml

from gfrnn.pipeline.config.experiment import parse_experiment
from gfrnn.pipeline.errors import DataError
from gfrnn.pipeline.runs.initial_time import LATEST
from gfrnn.pipeline.runs.new_data import open_new_data
from gfrnn.pipeline.runs.new_period import NewPeriod
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.runs.update import update
from gfrnn.pipeline.training.model import ForecastModel

DAYS, TRAINED = 95, 90
RAIN = "total_precipitation"


def stored(*, grows: bool) -> xr.Dataset:
    """Return 6-hourly temperature and rain, summed since midnight or over each 6 hours."""
    rng = np.random.default_rng(0)
    time = pd.date_range("2001-01-01T06", periods=4 * DAYS, freq="6h")
    rain = rng.gamma(0.5, 1e-3, (DAYS, 4, 3, 4))
    rain = (rain.cumsum(axis=1) if grows else rain).reshape(4 * DAYS, 3, 4)
    angles = np.arange(4.0 * DAYS)[:, None, None] / np.arange(9.0, 21).reshape(3, 4)
    waves = np.sin(2 * np.pi * angles)
    temperature = 280 + waves + 0.1 * rng.normal(size=rain.shape)
    dims = ("time", "latitude", "longitude")
    return xr.Dataset(
        {
            "t2m": (dims, temperature.astype("f4"), {"units": "K"}),
            "tp": (dims, rain.astype("f4"), {"units": "m"}),
        },
        {
            "time": time,
            "latitude": ("latitude", [40.0, 45.0, 50.0], {"units": "degrees_north"}),
            "longitude": ("longitude", [0.0, 5.0, 10.0, 15.0], {"units": "degrees_east"}),
        },
    )


def trained(folder: Path, ds: xr.Dataset) -> Run:
    folder.mkdir()
    ds.isel(time=slice(4 * TRAINED)).to_netcdf(folder / "archive.nc")
    tree: dict[str, Any] = {
        "name": "rain",
        "data": {"sources": [str(folder / "archive.nc")]},
        "periods": {
            "train": ["2001-01-01", "2001-03-10"],
            "validation": ["2001-03-11", "2001-03-20"],
            "test": ["2001-03-21", "2001-03-28"],
        },
        "climatology": {"annual": 0, "diurnal": 0},
        "state": {"modes": 4, "delays": 1},
        "model": {"width": 8},
        "fit": {"ridge": [1e-2]},
        "forecast": {"horizon": "12h", "every": "1d"},
    }
    run = Run(parse_experiment(yaml.safe_dump(tree)), folder / "run")
    run.fit()
    return run


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(tmp_path_factory.mktemp("grown") / "a", stored(grows=True))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(tmp_path_factory.mktemp("plain") / "a", stored(grows=False))


def new_file(folder: Path, ds: xr.Dataset, first: str, last: str) -> Path:
    path = folder / "new.nc"
    ds.sel(time=slice(first, last)).to_netcdf(path)
    return path


def read(run: Run, path: Path) -> xr.DataArray:
    model = ForecastModel.load(run.model)
    return open_new_data(run.experiment.data, [str(path)], model).ds[RAIN].load()


def test_the_model_keeps_how_its_sums_were_stored(grown: Run, plain: Run) -> None:
    assert ForecastModel.load(grown.model).notes.sums == {RAIN: ("1d", "6h")}
    assert ForecastModel.load(plain.model).notes.sums == {RAIN: ("6h", "6h")}


@pytest.mark.parametrize("kind", ["grown", "plain"])
def test_few_new_times_are_read_like_the_training_data(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    run = request.getfixturevalue(kind)
    short = new_file(tmp_path, stored(grows=kind == "grown"), "2001-04-01T06", "2001-04-01T18")
    amounts = stored(grows=False)["tp"].sel(time=slice("2001-04-01T06", "2001-04-01T18"))
    found = read(run, short)
    np.testing.assert_array_equal(found["time"], amounts["time"])
    np.testing.assert_allclose(found, amounts, atol=1e-8)


def test_updates_and_forecasts_use_them(grown: Run, tmp_path: Path) -> None:
    ds = stored(grows=True)
    short = new_file(tmp_path, ds, "2001-04-01T06", "2001-04-01T18")
    whole = tmp_path / "whole.nc"
    ds.to_netcdf(whole)
    found = []
    for name, path in (("short", short), ("whole", whole)):
        prepared = NewPeriod.from_initial_time(
            grown.folder,
            LATEST if name == "short" else "2001-04-01T18",
            tmp_path / name,
            data=[str(path)],
        )
        run = prepared.run()
        run.forecast()
        found.append(run.forecasts()[RAIN].values)
        assert Run.reopen(run.folder).ds.attrs["sums"] == {RAIN: ("1d", "6h")}
    np.testing.assert_array_equal(*found)
    updated = update(grown.folder, [str(short)], tmp_path / "updated")
    notes = ForecastModel.load(updated.model).notes
    assert notes.updated is not None
    assert notes.updated.latest.times == 3
    assert notes.sums == {RAIN: ("1d", "6h")}


def test_a_single_time_of_a_growing_sum_is_refused(grown: Run, tmp_path: Path) -> None:
    one = new_file(tmp_path, stored(grows=True), "2001-04-01T12", "2001-04-01T12")
    with pytest.raises(DataError, match="has one time, 2001-04-01T12:00, of a sum that begins"):
        read(grown, one)


def test_a_single_time_of_sums_of_each_step_is_read(plain: Run, tmp_path: Path) -> None:
    ds = stored(grows=False)
    one = new_file(tmp_path, ds, "2001-04-01T12", "2001-04-01T12")
    np.testing.assert_allclose(read(plain, one)[0], ds["tp"].sel(time="2001-04-01T12"))


def test_sums_over_other_times_are_refused(plain: Run, tmp_path: Path) -> None:
    ds = stored(grows=False)
    hourly = ds.assign_coords(time=pd.date_range("2001-04-01", periods=ds.sizes["time"], freq="1h"))
    hourly.to_netcdf(tmp_path / "hourly.nc")
    with pytest.raises(
        DataError, match="NEW_DATA: accumulated: 6h for tp .* sums of each 1h negative"
    ):
        read(plain, tmp_path / "hourly.nc")
    ds.isel(time=slice(1, None, 2)).to_netcdf(tmp_path / "coarse.nc")
    with pytest.raises(DataError, match="not a multiple"):
        read(plain, tmp_path / "coarse.nc")
