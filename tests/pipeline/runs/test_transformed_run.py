"""Compare runs on transformed values with scores that are computed from physical fields."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from gfrnn.pipeline.data.grid import with_contiguous_longitudes
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.states.climatology import Climatology
from gfrnn_testing.weather import experiment, finish, make_weather, write_store

RAIN = "total_precipitation"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write weather whose rain is skewed and often 0, on a region with a masked cell."""
    folder = tmp_path_factory.mktemp("rain")
    weather = make_weather(folder / "w.zarr", damping=0.9, noise=0.4, times=640)
    anomaly = (weather.ds.mean_sea_level_pressure - 1.013e5) / 400
    rain = (1e-3 * np.expm1(np.maximum(anomaly, 0))).astype("f4").assign_attrs(units="m")
    raw = weather.ds[["geopotential"]].rename(geopotential="z").assign(tp=rain)
    raw["tp"][:, 2, 3] = np.nan
    write_store(raw.transpose("time", "level", "latitude", "longitude"), folder / "rain.zarr")
    return folder / "rain.zarr"


def finished(source: Path, folder: Path, **forecast: Any) -> Run:
    parts: dict[str, Any] = {
        "data": {
            "variables": {"geopotential": [500], RAIN: None},
            "transform": {RAIN: "log1p"},
        },
        "forecast": {"horizon": "3d"} | forecast,
        "climatology": {"annual": 1},
        "verification": {"thresholds": {RAIN: [1e-3, "q80"]}},
    }
    return finish(Run(experiment(source, **parts), folder))


@pytest.fixture(scope="module")
def run(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return finished(source, tmp_path_factory.mktemp("single") / "run")


def errors(run: Run, forecast: xr.DataArray) -> np.ndarray:
    """Return the weighted RMSE by lead of forecasts of rain (time, lead, latitude, longitude)."""
    truth = run.truth()[RAIN].load()
    weights = np.cos(np.deg2rad(truth.latitude)).where(truth.notnull(), 0)
    squares = ((forecast - truth) ** 2).fillna(0) * weights
    dims = ["time", "latitude", "longitude"]
    return np.sqrt(squares.sum(dims) / weights.sum(dims)).values


def test_forecasts_and_scores_are_physical(run: Run) -> None:
    rain, scores = run.forecasts()[RAIN].load(), run.scores()
    assert rain.attrs["units"] == "m"
    assert "log1p(value / 0.001)" in rain.attrs["comment"]
    assert float(rain.min()) == 0.0 < float(rain.max()) < 0.1
    rmse = scores.rmse.sel(channel=RAIN)
    np.testing.assert_allclose(rmse.sel(system="forecast"), errors(run, rain), rtol=1e-4)


def test_references_are_scored_in_physical_units(run: Run) -> None:
    model, fields = run.load_model(), run.load_model().fields(run.ds)
    rain, rmse = run.stored_forecasts()[RAIN].load(), run.scores().rmse.sel(channel=RAIN)
    scaling = model.layout.scaling
    valid = rain.valid_time.values
    starts = np.searchsorted(fields.time, rain.time.values)
    mean = np.stack([scaling.climatology(times) for times in valid])  # starts, leads, size

    def physical(values: np.ndarray) -> xr.DataArray:
        whole = fields.transforms.inverse(values.reshape(*values.shape[:2], *fields.grid.shape), 2)
        return with_contiguous_longitudes(rain.copy(data=whole[:, :, 1]).to_dataset())[RAIN]

    assert isinstance(scaling.climatology, Climatology)
    np.testing.assert_allclose(
        rmse.sel(system="climatology"), errors(run, physical(mean.copy())), rtol=1e-4
    )
    history = np.stack(
        [model.layout.encode(fields.read(int(s), int(s) + 1), fields.time[[s]]) for s in starts]
    )
    linear = [state for state, _ in model.linear_walk(history, fields.time[starts], 3)]
    decoded = np.stack([model.layout.anomalies(state) for state in linear], 1) + mean
    np.testing.assert_allclose(rmse.sel(system="linear"), errors(run, physical(decoded)), rtol=1e-4)
    present = np.stack([fields.read(int(s), int(s) + 1)[0] for s in starts])
    kept = np.repeat(present[:, None], 3, axis=1)
    np.testing.assert_allclose(
        rmse.sel(system="persistence"), errors(run, physical(kept)), rtol=1e-4
    )
    anomalies = present - scaling.climatology(fields.time[starts])
    damped = np.stack([anomalies * model.damping(lead) for lead in (1, 2, 3)], 1) + mean
    np.testing.assert_allclose(
        rmse.sel(system="damped persistence"), errors(run, physical(damped)), rtol=1e-4
    )


def test_other_variables_do_not_notice(run: Run, source: Path) -> None:
    z = run.forecasts()["geopotential"]
    assert 5e4 < float(z.mean()) < 6e4


def test_forecasts_that_are_not_kept_have_the_same_scores(
    run: Run, source: Path, tmp_path: Path
) -> None:
    online = finished(source, tmp_path / "run", store=False)
    xr.testing.assert_allclose(online.scores(), run.scores(), rtol=1e-5)


def test_members_are_physical(source: Path, tmp_path: Path) -> None:
    run = finished(source, tmp_path / "run", members=6)
    rain, scores = run.forecasts()[RAIN].load(), run.scores()
    assert float(rain.min()) == 0.0
    assert float(rain.std("number").mean()) > 0
    rmse = scores.rmse.sel(channel=RAIN, system="forecast")
    np.testing.assert_allclose(rmse, errors(run, rain.mean("number")), rtol=1e-3)
    # The continuous ranked probability score of members is below the error of their mean.
    crps = scores.crps.sel(channel=RAIN)
    assert (crps.sel(system="forecast") < scores.mae.sel(channel=RAIN, system="forecast")).all()
    assert (crps.sel(system="climatology") < 1e-2).all()
    stored = Run.reopen(run.folder)
    assert stored.experiment.data.transform == {RAIN: "log1p"}
