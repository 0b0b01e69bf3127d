"""Test runs of local layouts with features on the grid: a law with advection, and its products."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gfrnn.pipeline.config.section import Period, checked
from gfrnn.pipeline.errors import ConfigError
from gfrnn.pipeline.runs.refit import refit
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.runs.update import Update
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn_core import Patches
from gfrnn_core.local_features import Lattice
from gfrnn_testing.spheres import DAYS, DIMS, FIRST_DAY, latitudes, local_experiment, longitudes
from gfrnn_testing.weather import finish

NORTH, EAST = latitudes(6, "between"), longitudes(8)
T2M = "2m_temperature"
ADVECTION: dict[str, Any] = {"features": ["advection"]}


def advected_temperature() -> tuple[np.ndarray, np.ndarray]:
    """Return a random height, and a temperature that its geostrophic wind advects.

    Both have the shape (times, rows, columns); the height also heats, so that the temperature does
    not die out.
    """
    patches = Patches((6, 8), ((0, 0),) * 2, (False, True), channels=2, poles=("between",) * 2)
    lattice = Lattice(NORTH, EAST, patches)
    height = np.random.default_rng(0).standard_normal((DAYS, 6, 8))
    temperature = np.zeros((DAYS, 6, 8))
    for day in range(DAYS - 1):
        state = np.stack([height[day], temperature[day]], axis=-1).reshape(1, -1)
        base = lattice.base_fields(state)[0]
        advection = base[0, 1] * base[1, 2] - base[0, 2] * base[1, 1]
        advection /= np.sin(np.deg2rad(NORTH))[:, None]
        temperature[day + 1] = 0.4 * temperature[day] + 0.3 * height[day] + 0.05 * advection
    return height, temperature


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("advected") / "advected.zarr"
    height, temperature = advected_temperature()
    time = pd.date_range(FIRST_DAY, periods=DAYS, freq="D")
    level = np.array([500.0])
    ds = xr.Dataset(
        {
            "geopotential": (
                ("time", "level", *DIMS[1:]),
                5e4 + 1e3 * height[:, None],
                {"units": "m2 s-2"},
            ),
            T2M: (DIMS, 280 + 5 * temperature, {"units": "K"}),
        },
        {"time": time, "level": level, "latitude": NORTH, "longitude": EAST},
    )
    ds.to_zarr(path, mode="w", zarr_format=3, consolidated=False)
    return path


def keys(**sections: Any) -> dict[str, Any]:
    # The mean of a cell's advection over the training period is a constant of each cell.
    state = {"patch": [2, 4], "halo": [0, 0], "weights": "own"}
    # The height is noise, for which the largest ridge would be chosen.
    plain = {
        "state": state,
        "model": ADVECTION,
        "fit": {"ridge": [1e-12]},
        "forecast": {"horizon": "1d", "every": "3d"},
    }
    return {name: plain.get(name, {}) | sections.get(name, {}) for name in {*plain, *sections}}


@pytest.fixture(scope="module")
def run(source, tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("run") / "run"
    return finish(Run(local_experiment(source, **keys()), folder))


def errors(run: Run, system: str = "forecast") -> float:
    """Return the error of the temperature at one day relative to that of climatology."""
    with xr.open_zarr(run.score_store, consolidated=False) as scores:
        rmse = scores["rmse"].sel(channel=T2M).isel(prediction_timedelta=0).load()
    return float(rmse.sel(system=system) / rmse.sel(system="climatology"))


def temperatures(run: Run) -> np.ndarray:
    with xr.open_zarr(run.forecast_store, decode_timedelta=True) as ds:
        return np.asarray(ds[T2M].values)


def test_advection_is_forecast_and_not_by_the_linear_model(run):
    assert errors(run) < 1e-5 < 0.05 < errors(run, "linear")
    network = ForecastModel.load(run.model).networks[0]
    # Three features at each of eight cells: of the temperature, its Laplacian and the height's.
    assert (network.width, network.lattice_columns, network.hidden.width) == (24, 24, 0)


@pytest.mark.slow
def test_leaves_of_any_length_give_the_same_forecasts(source, run, tmp_path):
    other = {"data": {"sources": [str(source)], "chunk": 23}}
    again = finish(Run(local_experiment(source, **keys(**other)), tmp_path / "run"))
    np.testing.assert_allclose(temperatures(again), temperatures(run), rtol=1e-6)


@pytest.mark.slow
def test_a_refit_and_an_update_keep_the_features(source, run, tmp_path):
    again = refit(run.folder, tmp_path / "refit", ridge=[1e-12])
    model = ForecastModel.load(again.model)
    assert model.networks[0].lattice_columns == 24
    period = checked(Period, ["2001-12-27", "2002-02-28"], "test")
    updated = Update.prepare(run.folder, [str(source)], tmp_path / "new", period=period).run()
    found = ForecastModel.load(updated.model).networks[0]
    before = ForecastModel.load(run.model).networks[0]
    np.testing.assert_array_equal(
        found.lattice_features.features.scales, before.lattice_features.features.scales
    )
    assert not np.array_equal(found.outer, before.outer)


@pytest.mark.slow
def test_features_can_be_searched_and_widths_do_not_count_them(source, tmp_path):
    search = {"model.features": [[], ["products"], ["advection", "products"]]}
    model = {"features": [], "width": 6, "products": 2}
    sections = {"search": search, "fit": {"widths": [3]}, "state": {"weights": "shared"}}
    experiment = local_experiment(source, **keys(model=model, **sections))
    found = Run(experiment, tmp_path / "run")
    found.fit()
    model = ForecastModel.load(found.model)
    assert model.notes.chosen == {"model.features": ["advection", "products"]}
    (network,) = model.networks
    assert (network.lattice_columns, network.hidden.width) == (8 * 5, 3)
    assert model.linear.lattice_features is None


def test_a_missing_wind_is_refused_before_work(source, tmp_path):
    data = {"sources": [str(source)], "variables": {T2M: None}}
    run = Run(local_experiment(source, **keys(data=data)), tmp_path / "run")
    with pytest.raises(ConfigError, match="model.features: advection with the wind 'geostrophic'"):
        run.fit()
