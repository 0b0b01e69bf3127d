"""Test that later years have no influence on quantities of the training period."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from gfrnn.pipeline.config.experiment import Experiment
from gfrnn.pipeline.config.section import checked
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn_testing.weather import make_weather, tree, write_store

LAYOUTS = {
    "eof": {"layout": "eof", "modes": 4, "delays": 1},
    "local": {"layout": "local", "patch": [5, 4], "halo": [0, 0], "delays": 1},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_climatology_is_a_regression_on_the_training_years(tmp_path, layout):
    made = make_weather(tmp_path / "as_made.zarr", damping=0.95, noise=0.3, times=680, cycle=True)
    with xr.open_zarr(made.path, consolidated=False) as ds:
        raw = ds.load()
    # The validation and test periods are 5 K warmer, twice as variable, and without a cycle.
    later = raw["time"] >= np.datetime64("2002-04-01")
    mean = raw["t"].mean("time")
    raw["t"] = raw["t"].where(~later, mean + 5 + 2 * (raw["t"] - mean)).astype("float32")
    write_store(raw, tmp_path / "weather.zarr")
    plain = tree(tmp_path / "weather.zarr", climatology={"annual": 1})
    keys = checked(Experiment, plain | {"state": LAYOUTS[layout]}, "test")
    run = Run(keys, tmp_path / "run")
    run.fit()

    fields = Fields(run.ds)
    train = np.flatnonzero(keys.periods.train.mask(fields.time))
    values = fields.read(int(train[0]), int(train[-1]) + 1)
    days = run.ds["time"].dt.dayofyear.values
    angle = 2 * np.pi * (days - 1) / 365  # no leap year here
    design = np.stack([np.ones(len(days)), np.cos(angle), np.sin(angle)], axis=1)
    coefficients, *_ = np.linalg.lstsq(design[train], values, rcond=None)
    climatology = ForecastModel.load(run.model).layout.scaling.climatology
    np.testing.assert_allclose(climatology(fields.time), design @ coefficients, rtol=1e-9)

    deviations = (values - design[train] @ coefficients).reshape(-1, *fields.grid.shape)
    by_latitude = np.square(deviations).mean(axis=(0, 3))
    variance = np.average(by_latitude, axis=1, weights=fields.grid.area)
    np.testing.assert_allclose(climatology.std, np.sqrt(variance), rtol=1e-9)
