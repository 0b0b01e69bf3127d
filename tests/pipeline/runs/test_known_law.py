"""Test the skill of runs from data to scores on weather of known law."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from gfrnn.pipeline.forecasting.forecast_store import open_forecasts
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn_testing.weather import (
    Weather,
    experiment,
    finish,
    make_weather,
)

SHORT = {"periods": {"test": ["2002-07-01", "2002-07-12"]}, "forecast": {"horizon": "3d"}}


@pytest.fixture(scope="module")
def turning(tmp_path_factory) -> Weather:
    """Write patterns that turn for ever, without noise."""
    return make_weather(tmp_path_factory.mktemp("turning") / "turning.zarr")


@pytest.fixture(scope="module")
def noisy(tmp_path_factory) -> Weather:
    """Write patterns that turn, decay and are forced by noise."""
    path = tmp_path_factory.mktemp("noisy") / "noisy.zarr"
    return make_weather(path, damping=0.95, noise=0.3, times=1600, start="1999-01-01")


def scores_of(run: Run) -> xr.Dataset:
    return xr.open_zarr(
        run.score_store, chunks=None, decode_timedelta=True, consolidated=False
    ).load()


@pytest.mark.parametrize(("target", "delays"), [("state", 2), ("increment", 1)])
def test_a_linear_law_without_noise_is_recovered(turning, tmp_path, target, delays):
    parts = {"model": {"target": target, "width": 20}, "state": {"delays": delays}}
    rmse = scores_of(finish(Run(experiment(turning.path, **parts), tmp_path / "run")))["rmse"]
    relative = rmse / rmse.sel(system="climatology")
    # Noise-free but for the rounding of float32, in the data and in the forecasts.
    assert relative.sel(system=["forecast", "linear"]).max() < 1e-3
    assert relative.sel(system="persistence").min() > 0.1


def test_noisy_weather_is_forecast_as_well_as_its_law_allows(noisy, tmp_path):
    periods = {"train": ["1999-01-01", "2002-03-31"]}
    run = finish(Run(experiment(noisy.path, periods=periods), tmp_path / "run"))
    rmse = scores_of(run)["rmse"]
    ours = rmse.sel(system="forecast")
    for reference in ("persistence", "damped persistence", "climatology"):
        assert (ours < rmse.sel(system=reference)).all(), reference
    # The best forecast there is: the law itself, from the true state.
    store = open_forecasts(run.forecast_store)
    weight = np.cos(np.deg2rad(noisy.ds["latitude"]))
    channels = {
        "geopotential_850": noisy.ds["geopotential"].sel(level=850),
        "mean_sea_level_pressure": noisy.ds["mean_sea_level_pressure"],
    }
    places = noisy.time.get_indexer(store["time"].values)
    for name, truth in channels.items():
        # Fields are linear in the states, so a fit to them all is exact.
        flat = truth.values.reshape(len(noisy.time), -1).astype(float)
        design = np.column_stack([np.ones(len(flat)), noisy.states])
        patterns = np.linalg.lstsq(design, flat, rcond=None)[0]
        assert np.abs(design @ patterns - flat).max() < 0.05
        for lead in range(1, 7):
            ahead = noisy.states[places] @ np.linalg.matrix_power(noisy.law, lead).T
            best = np.column_stack([np.ones(len(ahead)), ahead]) @ patterns
            error = truth[places + lead] - best.reshape(len(ahead), *truth.shape[1:])
            limit = float(np.sqrt((error**2).weighted(weight).mean()))
            found = float(ours.sel(channel=name).isel(prediction_timedelta=lead - 1))
            assert 0.97 * limit < found < 1.1 * limit, (name, lead)


def test_a_candidate_that_cannot_represent_the_law_is_not_chosen(turning, tmp_path):
    # Two modes cannot hold three turning pairs.
    parts = {"search": {"state.modes": [2, 6]}, **SHORT}
    run = Run(experiment(turning.path, **parts), tmp_path / "run")
    run.fit()
    model = ForecastModel.load(run.model)
    assert model.notes.chosen == {"state.modes": 6}
    bad, good = (entry.score for entry in model.notes.candidates)
    assert good < 1e-3 < bad


def test_networks_are_averaged_at_each_lead(noisy, tmp_path):
    parts = SHORT | {"search": {"model.seed": [0, 1, 2]}, "fit": {"average": 2, "ridge": [1e-3]}}
    run = Run(experiment(noisy.path, **parts), tmp_path / "run")
    run.fit()
    model = ForecastModel.load(run.model)
    np.testing.assert_array_equal(model.mixture.sum(axis=0), 1)
    np.testing.assert_array_equal((model.mixture > 0).sum(axis=0), 2)
    history = np.random.default_rng(0).normal(size=(3, model.delays, 6))
    initial = np.full(3, np.datetime64("2002-07-01", "ns"))
    singles = [network.rollout(history, 6) for network in model.networks]
    mixed = np.stack([states for states, _ in model.rollouts.walk(history, initial, 6)], axis=1)
    for lead in range(6):
        column = 1 if lead >= 2 else 0  # own weights at one and at three days
        expected = sum(s[:, lead] * w for s, w in zip(singles, model.mixture[:, column]))  # noqa: B905
        np.testing.assert_allclose(mixed[:, lead], expected, rtol=1e-12)
    factors = model.calibration[:, model.layout.regression_groups]
    assert len(factors) < 6  # factors of leads beyond the horizon are those of the last
    factors = factors[np.minimum(np.arange(6), len(factors) - 1)]
    np.testing.assert_allclose(model.rollout(history, initial, 6), mixed * factors, rtol=1e-12)


def test_without_calibration_forecasts_are_the_rollouts(noisy, tmp_path):
    parts = SHORT | {"fit": {"ridge": [1e-3], "calibration": False}}
    run = Run(experiment(noisy.path, **parts), tmp_path / "run")
    run.fit()
    model = ForecastModel.load(run.model)
    assert model.calibration is None
    assert "rollout_errors" not in model.selection
    history = np.random.default_rng(0).normal(size=(3, model.delays, 6))
    initial = np.full(3, np.datetime64("2002-07-01", "ns"))
    np.testing.assert_array_equal(
        model.rollout(history, initial, 6), model.networks[0].rollout(history, 6)
    )
