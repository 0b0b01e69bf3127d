"""Events, neighbourhoods and spectra of a run: against the scores library and plain numpy."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from gfrnn.pipeline.config.section import Period, checked
from gfrnn.pipeline.config.verification_config import VerificationConfig
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.data.grid import Channel, Grid
from gfrnn.pipeline.errors import ConfigError
from gfrnn.pipeline.forecasting.forecast_store import open_forecasts
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.verification.events import event_quantiles as quantile_module
from gfrnn.pipeline.verification.events.event_quantiles import (
    QuantileTimes,
    event_quantiles,
)
from gfrnn.pipeline.verification.events.event_values import events_of
from gfrnn.pipeline.verification.scores import open_scores
from gfrnn.pipeline.verification.statistics.power_spectra import zonal_power
from gfrnn_testing.weather import experiment, finish, make_weather, refused

MSL = "mean_sea_level_pressure"
THRESHOLDS = {MSL: [101000, 101600], "geopotential_500": [55000]}
QUANTILES = {MSL: [*THRESHOLDS[MSL], "q90"], "geopotential_500": ["q30", 55000, "q80"]}
VERIFICATION = {"thresholds": QUANTILES, "neighbourhoods": [1, 3], "spectra": True}
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
    own = open_forecasts(run.forecast_store)[MSL].isel(prediction_timedelta=lead).astype(float)
    if "number" not in own.dims:
        own = own.expand_dims("number", axis=1)
    own = own.assign_coords(time=own["valid_time"].values)
    own = own.drop_vars(["valid_time", "prediction_timedelta"])
    truth = run.ds[MSL].load().astype(float)
    times = np.intersect1d(own["time"].values, truth["time"].values)
    weights = np.cos(np.deg2rad(own["latitude"].values))[:, None] * np.ones(own.shape[-2:])
    return own.sel(time=times), truth.sel(time=times), weights / weights.sum()


def quantile_limits(run: Run, truth: xr.DataArray) -> xr.DataArray:
    """Return the climatology of the times of the truth plus the quantile of July to September."""
    data = run.ds[MSL].load().astype(float)
    time = data["time"].values
    scaling = ForecastModel.load(run.model).layout.scaling
    names = [channel.name for channel in scaling.grid.channels]
    shape = len(names), *data.shape[1:]
    climatology = scaling.climatology(time).reshape(-1, *shape)[:, names.index(MSL)]
    anomalies = data - climatology
    train = anomalies.sel(time=slice("2001-01-01", "2002-03-31"))
    limits = data.copy(data=climatology)
    for month in np.unique(truth["time"].dt.month):
        near = train["time"].dt.month.isin([month - 1, month, month + 1])
        own = limits["time"].dt.month == month
        quantile = train.isel(time=near.values).quantile(0.9, "time").drop_vars("quantile")
        limits = limits.where(~own, limits + quantile.astype(np.float32))
    return limits.sel(time=truth["time"])


@pytest.mark.parametrize("lead", [0, 2])
@pytest.mark.parametrize("threshold", [*THRESHOLDS[MSL], "q90"])
def test_brier_scores_are_those_of_the_scores_library(run, lead, threshold):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from scores.probability import brier_score_for_ensemble
    members, truth, weights = pairs(run, lead)
    found = open_scores(run.score_store).sel(event=f"{MSL} >= {threshold}")
    if isinstance(threshold, str):  # a limit for each value
        limits = quantile_limits(run, truth)
        members, truth, threshold = members - limits, truth - limits, 0.0
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


@pytest.mark.parametrize("threshold", [THRESHOLDS[MSL][0], "q90"])
def test_fractions_of_single_cells_are_events(run, threshold):
    members, truth, weights = pairs(run, 1)
    limits = quantile_limits(run, truth) if threshold == "q90" else threshold
    ours = (members >= limits).mean("number").values
    real = (truth >= limits).values.astype(float)
    difference = ((ours - real) ** 2 * weights).sum(axis=(1, 2)).mean()
    squares = ((ours**2 + real**2) * weights).sum(axis=(1, 2)).mean()
    found = open_scores(run.score_store)["fractions_skill_score"]
    found = found.sel(event=f"{MSL} >= {threshold}").isel(prediction_timedelta=1)
    assert float(found.sel(neighbourhood=1)) == pytest.approx(1 - difference / squares, rel=1e-9)
    assert float(found.sel(neighbourhood=3)) > float(found.sel(neighbourhood=1))


def test_spectra_are_means_of_those_of_the_fields(run):
    members, truth, _ = pairs(run, 2)
    rows = np.cos(np.deg2rad(members["latitude"].values))[None]
    shape = members.shape[-2:]
    flat = members.values.reshape(*members.shape[:2], 1, -1)
    scores = open_scores(run.score_store).isel(prediction_timedelta=2).sel(channel=MSL)
    given = shape, rows / rows.sum(), False
    power = zonal_power(flat, *given).mean(axis=(0, 1))[0]
    np.testing.assert_allclose(scores["forecast_power"].values, power, rtol=1e-9)
    power = zonal_power(truth.values.reshape(len(truth), 1, -1), *given).mean(axis=0)[0]
    np.testing.assert_allclose(scores["truth_power"].values, power, rtol=1e-6)
    assert float(scores["log_spectral_distance"]) > 0


def test_members_are_as_rough_as_the_truth_and_single_forecasts_are_not(run):
    """Errors of held-out forecasts give members what the forecast lacks."""
    scores = open_scores(run.score_store).isel(prediction_timedelta=-1)
    power = scores[["forecast_power", "truth_power"]].isel(wavenumber=slice(1, None))
    power = power.sum("wavenumber")
    ratio = power["forecast_power"] / power["truth_power"]
    if "number" in open_forecasts(run.forecast_store).dims:
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
        ({"thresholds": {MSL: ["q90", "q90.0"]}}, "is not a list of different.*such as q90"),
        ({"thresholds": {MSL: ["q100"]}}, "quantiles lie between q0 and q100"),
        ({"thresholds": {MSL: ["high"]}}, "high"),
    ],
)
def test_bad_keys_are_refused(keys, said):
    with pytest.raises(ConfigError, match=said):
        checked(VerificationConfig, keys, "test")


def test_events_of_quantiles_happen_as_often_as_their_level_says(run):
    """A tenth of the times from which quantiles are estimated lies above q90 of a month."""
    fields = Fields(run.ds)
    climatology = ForecastModel.load(run.model).layout.scaling.climatology
    events = events_of({"geopotential_850": ["q25", "q90"], MSL: [1e5]}, fields.grid)
    train = run.experiment.periods.train
    times = QuantileTimes.choose(fields.time, [train], fields.time[:365], events)
    found = event_quantiles(fields, climatology, events, times)
    assert found.shape == (3, 12, 40)
    assert np.isnan(found[2]).all()
    anomalies = climatology.subtract_from(fields.read(0, len(fields.time)), fields.time)
    channel = anomalies.reshape(len(fields.time), -1, 40)[:, events[0].channel]
    for month in range(1, 13):
        own = channel[times.chosen[times.near(month)]]
        for quantiles, level in ((found[0], 0.25), (found[1], 0.9)):
            share = (own >= quantiles[month - 1]).mean(axis=0)
            np.testing.assert_allclose(share, 1 - level, atol=1.01 / len(own))


def test_quantiles_do_not_depend_on_the_cut_into_tasks(run, monkeypatch):
    fields = Fields(run.ds)
    climatology = ForecastModel.load(run.model).layout.scaling.climatology
    events = events_of({MSL: ["q60"]}, fields.grid)
    valid = fields.time[:31]
    times = QuantileTimes.choose(fields.time, [run.experiment.periods.train], valid, events)
    whole = event_quantiles(fields, climatology, events, times)
    monkeypatch.setattr(quantile_module, "_TASK_BYTES", 1)
    np.testing.assert_array_equal(event_quantiles(fields, climatology, events, times), whole)
    assert np.isfinite(whole[0, 0]).all()
    assert np.isnan(whole[0, 1:]).all()


def test_more_times_than_are_needed_are_drawn_alike():
    time = np.arange("1990-01", "2020-01", 6, dtype="datetime64[h]")
    events = events_of({"t": ["q90"]}, Grid((Channel("t"),), np.zeros(1), np.zeros(1)))
    periods = [checked(Period, ["1990-01-01", "2019-12-31"], "test")]
    first, second = (QuantileTimes.choose(time, periods, time[:40], events) for _ in range(2))
    np.testing.assert_array_equal(first.chosen, second.chosen)
    months, counts = np.unique(first.month, return_counts=True)
    np.testing.assert_array_equal(months, [1, 2, 12])
    np.testing.assert_array_equal(counts, 250)
    hours = np.unique(time[first.chosen].astype("datetime64[h]").astype(int) % 24)
    np.testing.assert_array_equal(hours, [0, 6, 12, 18])


def test_a_quantile_of_too_few_times_is_refused_before_work(source, tmp_path):
    keys = experiment(source, verification={"thresholds": {MSL: ["q99.9"]}}, **PARTS)
    message = refused(ConfigError, Run(keys, tmp_path / "run"))
    assert f"verification.thresholds: {MSL} >= q99.9 cannot be estimated" in message
    assert "5 or more must lie beyond it; choose a quantile from q" in message
    assert "longer period" not in message  # no number of times is enough


@pytest.mark.parametrize(
    ("level", "days", "said"),
    [
        ("q99.5", 36500, r"has 750 times .* choose a quantile from q0.67 to q99.33$"),
        ("q99", 100, r"choose a quantile from q5 to q95, or a longer period$"),
        ("q99", 8, r"has 8 times .* choose a longer period$"),
        ("q0.1", 8, r"choose a quantile nearer to q50 and a longer period$"),
        ("q95", 100, None),
        ("q90", 50, None),  # 50 (1 - 0.9) is rounded to less than 5
        ("q99.34", 36500, r"choose a quantile from q0.67 to q99.33$"),
        ("q99.33", 36500, None),
    ],
)
def test_possible_quantiles_are_named(level, days, said):
    step = np.timedelta64(12, "h")  # the shorter ones are within December to February
    time = np.datetime64("1900-12-01") + np.arange(days) * (2 * step if days > 100 else step)
    events = events_of({"t": [level]}, Grid((Channel("t"),), np.zeros(1), np.zeros(1)))
    period = [checked(Period, ["1900-01-01", "1999-12-31"], "test")]
    valid = np.array(["2001-01-10"], "M8[ns]")
    with pytest.raises(ConfigError, match=said) if said else nullcontext():
        QuantileTimes.choose(time.astype("M8[ns]"), period, valid, events)


def test_thresholds_of_another_channel_are_refused_before_work(source, tmp_path):
    keys = experiment(source, verification={"thresholds": {"geopotential": [5e4]}}, **PARTS)
    message = refused(ConfigError, Run(keys, tmp_path / "run"))
    assert "verification.thresholds.geopotential: is not a channel of the data" in message
