"""Compare scores of area indices with plain numpy; they do not depend on the cut into leaves."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from gfrnn.pipeline.forecasting.forecast_store import open_forecasts
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.verification.pair_scoring import PairScoring
from gfrnn.pipeline.verification.statistics.index_scores import index_correlation, index_rmse
from gfrnn.pipeline.verification.stored_fields import StoredForecasts
from gfrnn_testing.weather import experiment, finish, make_weather

SYSTEMS = [
    "forecast", "linear", "linear inverse", "damped persistence", "persistence", "climatology",
]  # fmt: skip
BOXES: dict[str, dict[str, Any]] = {
    "warm": {"variable": "temperature", "latitude": [35, 60], "longitude": [-12, 30]},
    "high": {
        "variable": "geopotential",
        "level": 500,
        "latitude": [30, 40],
        "longitude": [340, 350],
    },
}
PARTS: dict[str, Any] = {
    "periods": {"test": ["2002-07-01", "2002-08-10"]},
    "climatology": {"annual": 1},
    "forecast": {"horizon": "3d"},
    "verification": {"indices": BOXES},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    folder: Path = tmp_path_factory.mktemp("indices")
    weather = make_weather(folder / "w.zarr", damping=0.95, noise=0.3, times=594, cycle=True)
    return finish(Run(experiment(weather.path, **PARTS), folder / "run"))


def scores_of(run: Run) -> xr.Dataset:
    return xr.open_zarr(
        run.score_store, chunks=None, decode_timedelta=True, consolidated=False
    ).load()


# Arrays


def scored(forecast: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    given = forecast[None, None, :, None], truth[None, :, None], np.ones((len(truth), 1), bool)
    return float(index_correlation(*given)[0, 0, 0]), float(index_rmse(*given)[0, 0, 0])


@given(
    slope=st.sampled_from([-2.0, -0.1, 0.3, 5.0]),
    noise=st.sampled_from([0.0, 0.5]),
    mean=st.sampled_from([0.0, 3.0]),
)
def test_correlation_and_rmse_are_those_of_numpy(slope, noise, mean):
    rng = np.random.default_rng(4)
    truth = rng.standard_normal(50)
    forecast = mean + slope * truth + noise * rng.standard_normal(50)
    correlation, rmse = scored(forecast, truth)
    assert correlation == pytest.approx(np.corrcoef(forecast, truth)[0, 1], abs=1e-12)
    assert rmse == pytest.approx(np.sqrt(np.mean((forecast - truth) ** 2)), rel=1e-12)
    if not noise:
        assert correlation == pytest.approx(np.sign(slope), abs=1e-12)


def test_special_pairs():
    truth = np.array([1.0, -2.0, 0.5])
    assert scored(np.zeros(3), truth)[0] == 0
    assert scored(np.full(3, 0.1), truth)[0] == 0  # up to rounding its variance is 0
    assert np.isnan(scored(np.array([1.0, np.nan, 2.0]), truth)).all()
    assert np.isnan(scored(truth[:1], truth[:1])[0])
    unknown = np.full((1, 1, 3, 1), np.nan), truth[None, :, None], np.zeros((3, 1), dtype=bool)
    assert np.isnan(index_rmse(*unknown)).all()
    assert np.isnan(index_correlation(*unknown)).all()


# Of a run

ROWS = {"warm": [1, 2, 3], "high": [0, 1]}
COLUMNS = {"warm": [7, 0, 1, 2, 3], "high": [6, 7]}  # of longitudes 0, 10, ..., 50, 340, 350
CHANNEL = {"warm": 2, "high": 0}


def box_means(run: Run, fields: np.ndarray, name: str) -> np.ndarray:
    """Return the index of fields (..., channels, latitudes, longitudes), cell by cell."""
    total, area = np.zeros(fields.shape[:-3]), 0.0
    for row in ROWS[name]:
        weight = np.cos(np.deg2rad(float(run.ds["latitude"][row])))
        for column in COLUMNS[name]:
            total += weight * fields[..., CHANNEL[name], row, column]
            area += weight
    return total / area


def channels_of(ds: xr.Dataset) -> np.ndarray:
    """Return the four channels in their order: (..., 4, latitudes, longitudes)."""
    parts = [
        ds["geopotential"].sel(level=500),
        ds["geopotential"].sel(level=850),
        ds["temperature"].sel(level=850),
        ds["mean_sea_level_pressure"],
    ]
    return np.stack([part.values for part in parts], axis=-3).astype(float)


@pytest.mark.parametrize("name", BOXES)
@pytest.mark.parametrize("lead", [1, 3])
def test_the_scores_of_indices_are_those_made_by_hand(run, name, lead):
    time = run.ds["time"].values
    climatology = ForecastModel.load(run.model).layout.scaling.climatology(time)
    mean = box_means(run, climatology.reshape(len(time), 4, 5, 8), name)
    truth = box_means(run, channels_of(run.ds), name) - mean
    forecasts = open_forecasts(run.forecast_store).load()
    starts = np.searchsorted(time, forecasts["time"].values)
    known = starts + lead < len(time)
    valid = starts[known] + lead
    one = forecasts.isel(time=known, prediction_timedelta=lead - 1)
    own = box_means(run, channels_of(one), name) - mean[valid]
    scores = scores_of(run).sel(index=name).isel(prediction_timedelta=lead - 1)
    made = {"forecast": own, "persistence": truth[starts[known]]}
    assert len(valid) == int(scores["pairs"])
    for system, index in made.items():
        found = scores.sel(system=system)
        expected = np.corrcoef(index, truth[valid])[0, 1]
        assert float(found["index_correlation"]) == pytest.approx(expected, abs=1e-6)
        error = np.sqrt(np.mean((index - truth[valid]) ** 2))
        assert float(found["index_rmse"]) == pytest.approx(error, rel=1e-5)
    nothing = scores.sel(system="climatology")
    assert float(nothing["index_correlation"]) == 0
    assert float(nothing["index_rmse"]) == pytest.approx(np.sqrt(np.mean(truth[valid] ** 2)))


def test_the_scores_name_indices_systems_and_units(run):
    scores = scores_of(run)
    assert scores["index_correlation"].dims == ("system", "index", "prediction_timedelta")
    assert list(scores["system"].values) == SYSTEMS
    assert list(scores["index"].values) == list(BOXES)
    assert list(scores["index_units"].values) == ["K", "m2 s-2"]
    assert list(scores["index_channel"].values) == ["temperature_850", "geopotential_500"]


def test_values_do_not_depend_on_the_cut_into_tasks(run):
    fields = ForecastModel.load(run.model).fields(run.ds)
    forecasts = StoredForecasts(run.forecast_store, fields.grid)
    scoring = PairScoring(fields, forecasts, run.experiment.verification, run.model)
    count = len(scoring.starts)
    whole = scoring.statistics(0, count)
    parts = [scoring.statistics(*edges) for edges in pairwise([0, 1, 8, count])]
    for name in ("index_forecast", "index_truth"):
        together = np.concatenate([part[name] for part in parts], axis=-2)
        scale = np.nanmax(np.abs(whole[name]))
        np.testing.assert_allclose(together, whole[name], atol=1e-6 * scale)


# Order


_NAMES = """
import sys
from pathlib import Path
from gfrnn.pipeline.runs.run import Run
scores = Run.reopen(Path(sys.argv[1])).scores()
print(*scores.data_vars, *scores.coords)
"""


def test_scores_are_in_the_same_order_in_every_process(run):
    found = set()
    for seed in ("1", "2", "3"):
        process = subprocess.run(
            [sys.executable, "-c", _NAMES, str(run.folder)],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        found.add(process.stdout)
    (order,) = found
    names = order.split()
    assert names[:6] == ["rmse", "mae", "bias", "acc", "activity", "pairs"]
    assert names[6:8] == ["index_correlation", "index_rmse"]  # others follow by name
