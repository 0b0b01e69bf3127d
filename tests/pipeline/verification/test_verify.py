"""Compare scores with plain numpy and with a library of meteorological services."""

from __future__ import annotations

import importlib
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.forecasting.forecast_store import open_forecasts
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.training import model as forecast_model
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.verification import pair_scoring, stored_fields
from gfrnn.pipeline.verification.scores import open_score_subsets, open_scores
from gfrnn.pipeline.verification.statistics_store import open_statistics
from gfrnn_testing.weather import experiment, finish, make_weather, write_store

# The package has a function of this name.
verification = importlib.import_module("gfrnn.pipeline.verification.verify")

SYSTEMS = [
    "forecast", "linear", "linear inverse", "damped persistence", "persistence", "climatology",
]  # fmt: skip
METRICS = ("rmse", "mae", "bias", "acc", "activity")
CHANNELS = [
    ("geopotential", 500.0),
    ("geopotential", 850.0),
    ("temperature", 850.0),
    ("mean_sea_level_pressure", None),
]
LEADS = 6
MSL = "mean_sea_level_pressure"
BASIN = np.array(np.random.default_rng(3).random((6, 8)), dtype=np.float32)
"""Share of each cell in a basin."""
GAP = ["2002-07-20", "2002-07-22"]
"""Days that the truth lacks."""


@dataclass(frozen=True)
class Verified:
    """Scores, the scored forecasts, and the truth without a gap in its axis (NaN there).

    Attributes
    ----------
    truth, climatology : ndarray, shape (days, channels, latitudes, longitudes)
    places : ndarray
        Of the initial times among the days.
    """

    run: Run
    scores: xr.Dataset
    forecasts: xr.Dataset
    model: ForecastModel
    days: pd.DatetimeIndex
    truth: np.ndarray
    climatology: np.ndarray
    places: np.ndarray
    weights: np.ndarray


@pytest.fixture(scope="module")
def verified(tmp_path_factory) -> Verified:
    """Verify forecasts across a gap in the truth and up to the end of the data."""
    folder: Path = tmp_path_factory.mktemp("verified")
    weather = make_weather(
        folder / "whole.zarr", damping=0.95, noise=0.3, times=594, cycle=True, shape=(6, 8)
    )
    assert str(weather.time[-1].date()) == "2002-08-17"
    with xr.open_zarr(folder / "whole.zarr", consolidated=False) as whole:
        missing = whole["time"].isin(np.array(GAP, "datetime64[ns]"))
        inside = (whole["time"] >= missing.time[missing][0]) & (
            whole["time"] <= missing.time[missing][-1]
        )
        write_store(whole.sel(time=~inside).load(), folder / "gappy.zarr")
    plane = weather.ds["mean_sea_level_pressure"].isel(time=0, drop=True)
    plane.copy(data=BASIN).to_dataset(name="basin").to_netcdf(folder / "basin.nc")
    parts = {
        "data": {
            "sources": [str(folder / "gappy.zarr")],
            "static": [str(folder / "basin.nc")],
            "variables": {"geopotential": [500, 850], "temperature": [850], MSL: None},
        },
        "periods": {"test": ["2002-07-01", "2002-08-17"]},
        "climatology": {"annual": 1},
        "state": {"modes": 5, "delays": 2},
        "fit": {"ridge": [1e-3, 1e-2]},
        "verification": {
            "regions": {
                "south": {"latitude": [30, 44], "longitude": [0, 20]},
                "basin": {"field": "basin"},
                "northern_rest": {"latitude": [40, 90], "field": "basin", "below": 0.5},
            }
        },
    }
    run = finish(Run(experiment(folder / "gappy.zarr", **parts), folder / "run"))
    scores = open_scores(run.score_store)
    fields = [
        weather.ds[v] if level is None else weather.ds[v].sel(level=level, drop=True)
        for v, level in CHANNELS
    ]
    truth = np.stack([field.values for field in fields], axis=1).astype(float)
    gap = (weather.time >= GAP[0]) & (weather.time <= GAP[1])
    assert gap.sum() == 3
    truth[gap] = np.nan
    model = ForecastModel.load(run.model)
    forecasts = open_forecasts(run.forecast_store).load()
    return Verified(
        run, scores, forecasts, model, weather.time, truth,
        model.layout.scaling.climatology(weather.time.to_numpy()).reshape(truth.shape),
        weather.time.get_indexer(forecasts["time"].values),
        np.cos(np.deg2rad(weather.ds["latitude"].values)),
    )  # fmt: skip


def by_hand(
    v: Verified,
    fields: np.ndarray,
    lead: int,
    box: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Return metrics of the forecasts of one lead by loops, each of shape (channels,).

    Parameters
    ----------
    fields : ndarray, shape (starts, channels, latitudes, longitudes)
    box : ndarray of bool, shape (latitudes, longitudes), optional
        Which cells count.
    """
    area = v.weights[:, None] * np.ones(v.truth.shape[2:]) * (1.0 if box is None else box)
    total = area.sum()
    squares, errors, patterns, sizes, ours_squared, truth_squared = [], [], [], [], [], []
    for number, start in enumerate(v.places):
        if start + lead >= len(v.days) or np.isnan(v.truth[start + lead]).any():
            continue
        truth, mean = v.truth[start + lead], v.climatology[start + lead]
        error = fields[number] - truth
        squares.append((area * error**2).sum(axis=(1, 2)) / total)
        errors.append((area * error).sum(axis=(1, 2)) / total)
        sizes.append((area * np.abs(error)).sum(axis=(1, 2)) / total)
        ours, theirs = fields[number] - mean, truth - mean
        inner = (area * ours * theirs).sum(axis=(1, 2))
        norm = np.sqrt((area * ours**2).sum(axis=(1, 2)) * (area * theirs**2).sum(axis=(1, 2)))
        ours_squared.append((area * ours**2).sum(axis=(1, 2)))
        truth_squared.append((area * theirs**2).sum(axis=(1, 2)))
        patterns.append(np.divide(inner, norm, out=np.zeros(len(inner)), where=norm > 0))
    return {
        "pairs": np.array(len(squares)),
        "rmse": np.sqrt(np.mean(squares, axis=0)),
        "mae": np.mean(sizes, axis=0),
        "bias": np.mean(errors, axis=0),
        "acc": np.mean(patterns, axis=0),
        "activity": np.sqrt(np.mean(ours_squared, axis=0) / np.mean(truth_squared, axis=0)),
    }


def stored(v: Verified, lead: int) -> np.ndarray:
    one = v.forecasts.isel(prediction_timedelta=lead - 1)
    fields = [one[n] if p is None else one[n].sel(level=p) for n, p in CHANNELS]
    return np.stack([field.values for field in fields], axis=1).astype(float)


def truncated_states(v: Verified) -> np.ndarray:
    """Return states of all days, NaN in the gap."""
    flat = v.truth.reshape(len(v.days), -1)
    known = np.isfinite(flat[:, 0])
    states = np.full((len(v.days), 5), np.nan)
    states[known] = v.model.layout.encode(flat[known].copy(), v.days.to_numpy()[known])
    return states


def damping(v: Verified, lead: int) -> np.ndarray:
    """Return the autocorrelation of each cell in the training period, from truncated fields."""
    fields = v.model.layout.anomalies(truncated_states(v))
    train = np.flatnonzero(v.days <= "2002-03-31")
    # Present times of rows: one earlier state, and targets one and three days on.
    present = train[1:-3]
    pairs = [t for t in present if t + lead in set(present)]
    later = np.mean([fields[t] * fields[t + lead] for t in pairs], axis=0)
    return later / np.mean([fields[t] ** 2 for t in present], axis=0)


def propagator(states: np.ndarray, days: pd.DatetimeIndex) -> np.ndarray:
    """Return the matrix of the linear inverse model, from the states of the training period."""
    present = np.flatnonzero(days <= "2002-03-31")[1:-3]  # as for damped persistence
    variance = states[present].T @ states[present] / len(present)
    later = states[present[:-1]].T @ states[present[1:]] / (len(present) - 1)
    return np.linalg.solve(variance, later)


def reference(v: Verified, system: str, lead: int) -> np.ndarray:
    """Return forecasts of a reference, computed by hand."""
    shape = v.truth.shape[1:]
    now = v.truth[v.places]
    valid = np.minimum(v.places + lead, len(v.days) - 1)  # beyond the data nothing is scored
    if system == "persistence":
        return now
    if system == "climatology":
        return v.climatology[valid]
    if system == "damped persistence":
        anomaly = now - v.climatology[v.places]
        return v.climatology[valid] + anomaly * damping(v, lead).reshape(shape)
    states = truncated_states(v)
    if system == "linear inverse":
        later = states[v.places] @ np.linalg.matrix_power(propagator(states, v.days), lead)
        return v.model.layout.anomalies(later).reshape(-1, *shape) + v.climatology[valid]
    series = {0: states[v.places], -1: states[v.places - 1]}
    outer = v.model.linear.outer
    for step in range(1, lead + 1):
        predicted = []
        for own, weights in zip((1, 3), outer, strict=True):
            if own <= step:
                seen = [series[step - own], series[step - own - 1], np.ones((len(v.places), 1))]
                predicted.append(np.concatenate(seen, axis=1) @ weights)
        # The mean of both at the lead of three days; the longest alone before and after it.
        series[step] = np.mean(predicted, axis=0) if step == 3 else predicted[-1]
    factors = v.model.linear_calibration[lead - 1, v.model.layout.regression_groups]
    return (
        v.model.layout.anomalies(series[lead] * factors).reshape(-1, *shape) + v.climatology[valid]
    )


def check_scores(found: xr.Dataset, expected: dict[str, np.ndarray]) -> None:
    """Compare scores of single precision: a small bias is a difference of larger errors."""
    for metric in METRICS:
        rounding = 1e-7 * expected["rmse"] if metric == "bias" else 1e-7
        error = np.abs(found[metric].values - expected[metric])
        np.testing.assert_array_less(error, 1e-6 * np.abs(expected[metric]) + rounding)


@pytest.mark.slow
def test_the_scores_have_their_names(verified):
    scores = verified.scores
    assert list(scores["system"].values) == SYSTEMS
    assert list(scores["channel"].values) == [
        "geopotential_500", "geopotential_850", "temperature_850", "mean_sea_level_pressure",
    ]  # fmt: skip
    assert list(scores["units"].values) == ["m2 s-2", "m2 s-2", "K", "Pa"]
    stated = {name: array.attrs.get("units") for name, array in scores.data_vars.items()}
    assert {name for name, units in stated.items() if units != "1"} == {"rmse", "mae", "bias"}
    # Channels have different units.
    assert scores["rmse"].attrs["comment"] == "in different units: see units"
    assert scores["rmse"].dims == ("system", "channel", "prediction_timedelta")
    np.testing.assert_array_equal(
        scores["prediction_timedelta"].values, pd.to_timedelta(np.arange(1, 7), "D").values
    )


def test_leads_of_the_scores_are_encoded_as_those_of_the_forecasts(verified):
    leads = zarr.open_group(verified.run.score_store, mode="r")["prediction_timedelta"]
    assert dict(leads.attrs) == {"dtype": "timedelta64[ns]", "units": "days"}
    np.testing.assert_array_equal(leads[...], np.arange(1, LEADS + 1))


@pytest.mark.parametrize("lead", range(1, LEADS + 1))
def test_the_forecasts_scores_are_those_of_numpy(verified, lead):
    found = verified.scores.sel(system="forecast").isel(prediction_timedelta=lead - 1)
    check_scores(found, by_hand(verified, stored(verified, lead), lead))


@pytest.mark.parametrize("system", SYSTEMS[1:])
@pytest.mark.parametrize("lead", [1, 2, 3, 6])
def test_references_are_those_made_by_hand(verified, system, lead):
    found = verified.scores.sel(system=system).isel(prediction_timedelta=lead - 1)
    check_scores(found, by_hand(verified, reference(verified, system, lead), lead))


def test_only_leads_with_a_truth_are_scored(verified):
    pairs = verified.scores["pairs"].values
    # 48 days, 3 of them in the gap and one without the state of the day before.
    assert verified.forecasts.sizes["time"] == 44
    expected = [int(by_hand(verified, stored(verified, lead), lead)["pairs"])
                for lead in range(1, 7)]  # fmt: skip
    np.testing.assert_array_equal(pairs, expected)
    # By hand for two days: 16 and 17 August end too late, 18 to 20 July end in the gap, which
    # takes 18 and 19 July.
    assert pairs[1] == 44 - 2 - 2


def test_a_lead_without_any_truth_scores_nan(tmp_path):
    weather = make_weather(tmp_path / "short.zarr", times=550)
    periods = {"test": ["2002-07-01", "2002-07-04"]}
    assert str(weather.time[-1].date()) == "2002-07-04"
    run = finish(Run(experiment(weather.path, periods=periods), tmp_path / "run"))
    scores = xr.open_zarr(run.score_store, chunks=None, decode_timedelta=True, consolidated=False)
    np.testing.assert_array_equal(scores["pairs"].values, [3, 2, 1, 0, 0, 0])
    assert np.isfinite(scores["rmse"].values[..., :3]).all()
    assert np.isnan(scores["rmse"].values[..., 3:]).all()


@pytest.mark.parametrize("region", ["all", "basin", "northern_rest"])
@pytest.mark.parametrize("channel", range(4))
def test_scores_are_those_of_the_scores_library(verified, channel, region):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own affair
        from scores.continuous import additive_bias, rmse
        from scores.functions import create_latitude_weights
    name, level = CHANNELS[channel]
    ours = verified.forecasts[name]
    ours = ours if level is None else ours.sel(level=level)
    known = np.isfinite(verified.truth[:, 0, 0, 0])
    truth = xr.DataArray(
        verified.truth[known, channel],
        coords={
            "valid_time": verified.days[known],
            "latitude": ours["latitude"].values,
            "longitude": ours["longitude"].values,
        },
        dims=("valid_time", "latitude", "longitude"),
    )
    weights = create_latitude_weights(ours["latitude"])
    cells = region_cells(verified).get(region, np.ones(BASIN.shape, dtype=bool))
    weights = weights * ours.isel(time=0, prediction_timedelta=0, drop=True).copy(data=cells)
    weights /= weights.mean()  # earlier versions of scores do not divide by the sum of the weights
    scores = open_score_subsets(verified.run.score_store).sel(region=region, subset="all")
    for lead in range(LEADS):
        one = ours.isel(prediction_timedelta=lead).astype(float)
        one = one.swap_dims(time="valid_time").drop_vars(["time", "prediction_timedelta"])
        both = np.intersect1d(one["valid_time"].values, truth["valid_time"].values)
        pair = one.sel(valid_time=both), truth.sel(valid_time=both)
        found = scores.sel(system="forecast").isel(channel=channel, prediction_timedelta=lead)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            error, bias = rmse(*pair, weights=weights), additive_bias(*pair, weights=weights)
        assert len(both) == int(found["pairs"])
        np.testing.assert_allclose(float(found["rmse"]), float(error), rtol=1e-5)
        np.testing.assert_allclose(float(found["bias"]), float(bias), rtol=1e-4, atol=1e-4)


def test_subsets_are_those_with_pairs(verified):
    """All targets lie in July and August: one season, which is not a subset of its own."""
    assert list(open_score_subsets(verified.run.score_store)["subset"].values) == ["all"]


def region_cells(v: Verified) -> dict[str, np.ndarray]:
    """Return the cells of each region: bool, shape (latitudes, longitudes)."""
    latitude, longitude = (v.forecasts[name].values for name in ("latitude", "longitude"))
    north = (latitude >= 40)[:, None]
    return {
        "south": ((latitude >= 30) & (latitude <= 44))[:, None] & (longitude <= 20)[None],
        "basin": BASIN >= 0.5,
        "northern_rest": north & (BASIN < 0.5),
    }


@pytest.mark.parametrize("region", ["south", "basin", "northern_rest"])
@pytest.mark.parametrize("lead", [1, 4])
def test_scores_of_a_region_are_those_of_its_cells(verified, region, lead):
    scores = open_score_subsets(verified.run.score_store)
    box = region_cells(verified)[region]
    assert 0 < box.sum() < box.size
    found = scores.sel(system="forecast", region=region, subset="all")
    expected = by_hand(verified, stored(verified, lead), lead, box=box)
    check_scores(found.isel(prediction_timedelta=lead - 1), expected)


def test_statistics_are_kept_for_each_pair(verified):
    with open_statistics(verified.run.statistics) as statistics:
        known = statistics["known"].values == 1
        np.testing.assert_array_equal(known.sum(axis=0), verified.scores["pairs"])
        squares = statistics["squared_error"].sel(system="forecast", region="all").values
        assert np.isfinite(squares[:, known]).all()
        assert np.isnan(squares[:, ~known]).all()
        rmse = np.sqrt(np.nanmean(squares, axis=1))
    np.testing.assert_allclose(rmse, verified.scores["rmse"].sel(system="forecast"), rtol=1e-12)


def test_an_interrupted_verification_is_finished(verified, tmp_path, monkeypatch):
    """Statistics that are there are not computed again, also in tasks of another length."""
    run, paths = verified.run, (tmp_path / "statistics.zarr", tmp_path / "scores.zarr")
    monkeypatch.setattr(verification, "_TASK_STARTS", 10)
    whole, calls = pair_scoring.PairScoring.write, []

    def some(scoring, path, first, stop):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(first)
        whole(scoring, path, first, stop)

    def score(key: str) -> xr.Dataset:
        return verification.verify(run.ds, run.model, run.forecast_store, *paths, key=key)

    monkeypatch.setattr(pair_scoring.PairScoring, "write", some)
    with pytest.raises(KeyboardInterrupt):
        score("one")
    with pytest.raises(RunError, match="not finished; run `gfrnn verify` again"):
        open_statistics(paths[0])
    assert calls == [0, 10]
    monkeypatch.setattr(verification, "_TASK_STARTS", 15)
    for key, expected in (("one", [15, 30]), ("one", []), ("two", [0, 15, 30])):
        done: list[int] = []

        def noted(scoring, path, first, stop, done=done):
            done.append(first)
            whole(scoring, path, first, stop)

        monkeypatch.setattr(pair_scoring.PairScoring, "write", noted)
        found = score(key)
        assert done == expected
        np.testing.assert_allclose(found["rmse"].sel(region="all", subset="all"),
                                   verified.scores["rmse"], rtol=1e-6)  # fmt: skip


def test_scores_do_not_depend_on_how_the_work_is_cut(verified, tmp_path, monkeypatch):
    """Tasks of five initial times, and one pair and one lead at a time."""
    monkeypatch.setattr(verification, "_TASK_STARTS", 5)
    monkeypatch.setattr(pair_scoring, "_PAIR_BYTES", 1)
    monkeypatch.setattr(forecast_model, "DAMPING_BYTES", 1)
    monkeypatch.setattr(stored_fields, "_BLOCK_BYTES", 1)
    run = verified.run
    paths = tmp_path / "statistics.zarr", tmp_path / "scores.zarr"
    verification.verify(run.ds, run.model, run.forecast_store, *paths)
    found = open_scores(paths[1])
    np.testing.assert_array_equal(found["pairs"].values, verified.scores["pairs"].values)
    for metric in METRICS:
        size = np.abs(verified.scores["rmse" if metric == "bias" else metric].values).max()
        np.testing.assert_allclose(  # products round differently in other numbers of rows
            found[metric].values, verified.scores[metric].values, rtol=1e-6, atol=1e-7 * size
        )
