"""Compare runs on means over the step with runs on files of these means."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from gfrnn.pipeline.data.dataset import open_source
from gfrnn.pipeline.runs.new_period import NewPeriod
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.runs.update import update
from gfrnn_testing.weather import contents, experiment, finish, make_weather, write_store

DAYS = 400
END, LATEST = "2002-01-09", np.datetime64("2002-02-04")
"""Last day of the first files; the second ones follow."""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write six-hourly weather, and its daily means as they are read: old files and new ones."""
    folder = tmp_path_factory.mktemp("means")
    make_weather(folder / "six.zarr", times=4 * DAYS, freq="6h", damping=0.98, noise=0.3, chunk=30)
    with xr.open_zarr(folder / "six.zarr", consolidated=False) as raw:
        whole = raw.load()
    found = {}
    for name, part in (("old", slice(None, END)), ("new", slice("2002-01-10", None))):
        found[f"six {name}"] = folder / f"six_{name}.zarr"
        write_store(whole.sel(time=part), found[f"six {name}"], chunk=30)
        means = open_source(experiment(found[f"six {name}"], **parts("mean")).data).load()
        found[f"daily {name}"] = folder / f"daily_{name}.zarr"
        write_store(means.drop_attrs(deep=False), found[f"daily {name}"])
    return found


def parts(aggregate: str | None) -> dict[str, Any]:
    data = {"step": "1d"} | ({"aggregate": aggregate} if aggregate else {})
    return {
        "data": data,
        "periods": {
            "train": ["2001-01-01", "2001-09-30"],
            "validation": ["2001-10-01", "2001-11-30"],
            "test": ["2001-12-01", "2001-12-31"],
        },
        "forecast": {"horizon": "3d"},
    }


@pytest.fixture(scope="module")
def runs(sources: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    folder = tmp_path_factory.mktemp("runs")
    return {
        name: finish(Run(experiment(sources[f"{name} old"], **parts(method)), folder / name))
        for name, method in (("six", "mean"), ("daily", None))
    }


def arrays(run: Run, store: Path) -> dict[str, str]:
    """Return the sums of all chunks of a store, without its metadata."""
    return {name: own for name, own in contents(store).items() if not name.endswith("zarr.json")}


def test_models_and_scores_are_the_same_bits(runs: dict[str, Run]) -> None:
    six, daily = runs["six"], runs["daily"]
    assert arrays(six, six.model) == arrays(daily, daily.model)
    xr.testing.assert_equal(
        six.forecasts().drop_vars("valid_time_bounds").load(), daily.forecasts().load()
    )
    xr.testing.assert_equal(six.scores(), daily.scores())


def test_forecasts_state_their_days(runs: dict[str, Run]) -> None:
    ds = runs["six"].forecasts()
    assert ds["geopotential"].attrs["cell_methods"] == "time: mean (interval: 6 h)"
    assert ds["valid_time"].attrs["bounds"] == "valid_time_bounds"
    begin, end = np.moveaxis(ds["valid_time_bounds"].values, -1, 0)
    np.testing.assert_array_equal(begin, ds["valid_time"].values)
    assert (end - begin == np.timedelta64(1, "D")).all()
    assert "cell_methods" not in runs["daily"].forecasts()["geopotential"].attrs


def test_updates_and_the_latest_forecast_are_the_same_bits(
    runs: dict[str, Run], sources: dict[str, Path], tmp_path: Path
) -> None:
    found = {}
    for name, run in runs.items():
        folder = Path(shutil.copytree(run.folder, tmp_path / name))
        update(folder, [str(sources[f"{name} new"])])
        new = NewPeriod.from_initial_time(
            folder, "latest", tmp_path / f"{name}-latest", data=[str(sources[f"{name} new"])]
        )
        latest = new.run()
        latest.forecast()
        ds = latest.forecasts()
        found[name] = ds.drop_vars("valid_time_bounds", errors="ignore").load()
        assert ds["time"].values == LATEST
    xr.testing.assert_equal(found["six"], found["daily"])
