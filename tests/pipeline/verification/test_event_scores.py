"""Events, neighbourhoods and spectra of a run: against the scores library and plain numpy."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from gfrnn.pipeline.config.section import checked
from gfrnn.pipeline.config.verification_config import VerificationConfig
from gfrnn.pipeline.errors import ConfigError
from gfrnn.pipeline.forecasting.forecast_store import open_forecasts
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.verification.scores import open_scores
from gfrnn.pipeline.verification.statistics.power_spectra import zonal_power
from gfrnn_testing.weather import experiment, finish, make_weather, refused

MSL = "mean_sea_level_pressure"
THRESHOLDS = {MSL: [101000, 101600], "geopotential_500": [55000]}
VERIFICATION = {"thresholds": THRESHOLDS, "neighbourhoods": [1, 3], "spectra": True}
PARTS = {"climatology": {"annual": 1}, "state": {"modes": 5, "delays": 2}}


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    folder: Path = tmp_path_factory.mktemp("weather")
    return make_weather(folder / "w.zarr", damping=0.9, noise=0.4, times=700, cycle=True).path


@pytest.fixture(scope="module", params=[None, 8], ids=["single", "ensemble"])
def run(request, source, tmp_path_factory) -> Run:
    keys = experiment(
        source,
        forecast={"horizon": "3d", "members": request.param},
        verification=VERIFICATION,
        **PARTS,
    )
    return finish(Run(keys, tmp_path_factory.mktemp("events") / "run"))


def pairs(run: Run, lead: int) -> tuple[xr.DataArray, xr.DataArray, np.ndarray]:
    """Return members and truth of a lead, and the weights of cells."""
    own = open_forecasts(run.forecasts)[MSL].isel(prediction_timedelta=lead).astype(float)
    if "number" not in own.dims:
        own = own.expand_dims("number", axis=1)
    own = own.assign_coords(time=own["valid_time"].values)
    own = own.drop_vars(["valid_time", "prediction_timedelta"])
    truth = run.ds[MSL].load().astype(float)
    times = np.intersect1d(own["time"].values, truth["time"].values)
    weights = np.cos(np.deg2rad(own["latitude"].values))[:, None] * np.ones(own.shape[-2:])
    return own.sel(time=times), truth.sel(time=times), weights / weights.sum()


@pytest.mark.parametrize("lead", [0, 2])
@pytest.mark.parametrize("threshold", THRESHOLDS[MSL])
def test_brier_scores_are_those_of_the_scores_library(run, lead, threshold):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from scores.probability import brier_score_for_ensemble
    members, truth, weights = pairs(run, lead)
    found = open_scores(run.scores).sel(event=f"{MSL} >= {threshold}")
    found = found.isel(prediction_timedelta=lead)
    for name, fair in (("brier_score", False), ("fair_brier_score", True)):
        if fair and members.sizes["number"] == 1:
            assert np.isnan(float(found[name]))
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            each = brier_score_for_ensemble(
                members, truth, "number", threshold, fair_correction=fair, preserve_dims="all"
            )
        each = each.squeeze(drop=True).transpose("time", "latitude", "longitude").values
        expected = (each.mean(axis=0) * weights).sum()
        assert float(found[name]) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    parts = float(found["reliability"] - found["resolution"] + found["base_rate_score"])
    assert float(found["brier_score"]) == pytest.approx(parts, rel=1e-9)
    skill = 1 - float(found["brier_score"]) / float(found["base_rate_score"])
    assert float(found["brier_skill_score"]) == pytest.approx(skill, rel=1e-9)
    assert 0.5 < float(found["roc_area"]) <= 1
    assert float(found["event_table"].sum()) == pytest.approx(1)


def test_fractions_of_single_cells_are_events(run):
    members, truth, weights = pairs(run, 1)
    threshold = THRESHOLDS[MSL][0]
    ours = (members >= threshold).mean("number").values
    real = (truth >= threshold).values.astype(float)
    difference = ((ours - real) ** 2 * weights).sum(axis=(1, 2)).mean()
    squares = ((ours**2 + real**2) * weights).sum(axis=(1, 2)).mean()
    found = open_scores(run.scores)["fractions_skill_score"]
    found = found.sel(event=f"{MSL} >= {threshold}").isel(prediction_timedelta=1)
    assert float(found.sel(neighbourhood=1)) == pytest.approx(1 - difference / squares, rel=1e-9)
    assert float(found.sel(neighbourhood=3)) > float(found.sel(neighbourhood=1))


def test_spectra_are_means_of_those_of_the_fields(run):
    members, truth, _ = pairs(run, 2)
    rows = np.cos(np.deg2rad(members["latitude"].values))[None]
    shape = members.shape[-2:]
    flat = members.values.reshape(*members.shape[:2], 1, -1)
    scores = open_scores(run.scores).isel(prediction_timedelta=2).sel(channel=MSL)
    given = shape, rows / rows.sum(), False
    power = zonal_power(flat, *given).mean(axis=(0, 1))[0]
    np.testing.assert_allclose(scores["forecast_power"].values, power, rtol=1e-9)
    power = zonal_power(truth.values.reshape(len(truth), 1, -1), *given).mean(axis=0)[0]
    np.testing.assert_allclose(scores["truth_power"].values, power, rtol=1e-6)
    assert float(scores["log_spectral_distance"]) > 0


def test_members_are_as_rough_as_the_truth_and_single_forecasts_are_not(run):
    """Errors of held-out forecasts give members what the forecast lacks."""
    scores = open_scores(run.scores).isel(prediction_timedelta=-1)
    power = scores[["forecast_power", "truth_power"]].isel(wavenumber=slice(1, None))
    power = power.sum("wavenumber")
    ratio = power["forecast_power"] / power["truth_power"]
    if "number" in open_forecasts(run.forecasts).dims:
        assert (np.abs(ratio - 1) < 0.25).all()
    else:
        assert (ratio < 0.75).all()


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"neighbourhoods": [3]}, "neighbourhoods need events; set verification.thresholds"),
        ({"thresholds": THRESHOLDS, "neighbourhoods": [4]}, "4 is even.*choose 3 or 5"),
        ({"thresholds": {MSL: []}}, "is not a list of different finite numbers"),
        ({"thresholds": {MSL: [1.0, 1.0]}}, "is not a list of different finite numbers"),
        ({"thresholds": {MSL: [float("inf")]}}, "finite"),
    ],
)
def test_bad_keys_are_refused(keys, said):
    with pytest.raises(ConfigError, match=said):
        checked(VerificationConfig, keys, "test")


def test_thresholds_of_another_channel_are_refused_before_work(source, tmp_path):
    keys = experiment(source, verification={"thresholds": {"geopotential": [5e4]}}, **PARTS)
    message = refused(ConfigError, Run(keys, tmp_path / "run"))
    assert "verification.thresholds.geopotential: is not a channel of the data" in message
