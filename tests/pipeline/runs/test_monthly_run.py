"""Runs on monthly data: exact forecasts of an oscillator, updates, real data, faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gfrnn.pipeline.config.data_config import DataConfig
from gfrnn.pipeline.config.durations import Duration, month_middles
from gfrnn.pipeline.config.experiment import Experiment, parse_experiment
from gfrnn.pipeline.config.verification_config import WHOLE
from gfrnn.pipeline.data.dataset import open_source
from gfrnn.pipeline.data.inspection.starting_experiment import starting_experiment
from gfrnn.pipeline.errors import ConfigError
from gfrnn.pipeline.runs.new_period import NewPeriod
from gfrnn.pipeline.runs.refit import refit
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.runs.update import update
from gfrnn.pipeline.verification.scores import open_score_subsets
from gfrnn.pipeline.verification.subsets import MONTHS
from gfrnn.pipeline.verification.systems.references import LinearInverseModel
from gfrnn_testing.archives import DATA, real
from gfrnn_testing.reduction_toys import period
from gfrnn_testing.weather import finish

START = np.datetime64("1981-01", "M")
YEARS = 15
TRAIN_YEARS = 10
ROUNDS = 7  # whole rounds of the oscillator in the training period, coprime to its years
SHAPE = (4, 6)


def fields(months: int) -> np.ndarray:
    """Return an annual cycle of any shape plus a standing pair of patterns that turns.

    Over the training period, the oscillation has mean zero in each calendar month, so the means of
    the months are the annual cycle exactly.
    """
    rng = np.random.default_rng(5)
    cycle, patterns = rng.normal(size=(12, *SHAPE)), rng.normal(size=(2, *SHAPE))
    turn = 2 * np.pi * ROUNDS / (12 * TRAIN_YEARS) * np.arange(months)
    oscillation = np.tensordot(np.stack([np.cos(turn), np.sin(turn)], 1), patterns, 1)
    return np.asarray(290 + 5 * cycle[np.arange(months) % 12] + oscillation)


def write(path: Path, values: np.ndarray, start: np.datetime64 = START, day: int = 1) -> Path:
    """Write monthly fields in float64, stamped at a day of the month."""
    months = start + np.arange(len(values))
    ds = xr.Dataset(
        {"sst": (("time", "lat", "lon"), values, {"units": "K"})},
        {
            "time": months.astype("datetime64[ns]") + np.timedelta64(day - 1, "D"),
            "lat": np.linspace(-10, 10, SHAPE[0]),
            "lon": np.linspace(180, 280, SHAPE[1]),
        },
    )
    ds.to_netcdf(path)
    return path


def experiment(path: Path | str, **parts: Any) -> Experiment:
    """Return an experiment on the first ten years; the oscillator has two modes."""
    tree: dict[str, Any] = {
        "name": "months",
        "data": {"sources": [str(path)]},
        "periods": {
            "train": ["1981-01-01", "1990-12-31"],
            "validation": ["1991-01-01", "1992-12-31"],
            "test": ["1993-01-01", "1995-12-31"],
        },
        "state": {"modes": 2, "delays": 1},
        "model": {"width": 0},
        "fit": {"ridge": [1e-8]},
        "forecast": {"horizon": "3mo"},
    }
    for section, values in parts.items():
        tree[section] = {**tree[section], **values} if section in tree else values
    return Experiment.model_validate(tree)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("months")
    path = write(folder / "sst.nc", fields(12 * YEARS), day=31 - 16)
    return finish(Run(experiment(path, forecast={"horizon": "14mo"}), folder / "run"))


def opened(path: Path) -> xr.Dataset:
    return xr.open_zarr(path, chunks=None, decode_timedelta=True, consolidated=False)


def test_the_forecast_of_an_oscillator_is_exact(run):
    store = opened(run.forecast_store)
    assert store["prediction_timedelta"].dtype == np.int64
    assert store["prediction_timedelta"].attrs["units"] == "months"
    np.testing.assert_array_equal(store["prediction_timedelta"], np.arange(1, 15))
    initial = month_middles(np.arange("1993-01", "1996-01", dtype="datetime64[M]"))
    np.testing.assert_array_equal(store["time"], initial)
    whole = fields(12 * (YEARS + 2))
    for lead in range(1, 15):
        valid = Duration.parse(f"{lead}mo").after(initial)
        np.testing.assert_array_equal(store["valid_time"][:, lead - 1], valid)
        truth = whole[(valid.astype("datetime64[M]") - START).astype(int)]
        found = store["sea_surface_temperature"][:, lead - 1].values
        np.testing.assert_allclose(found, truth, atol=2e-3)  # rounding of float32 and the ridge


def test_scores_of_target_months(run):
    scores = opened(run.score_store)
    assert LinearInverseModel.name in scores["system"].values
    months = open_score_subsets(run.score_store).sel(region=WHOLE, subset=list(MONTHS))
    counts = months["pairs"].values
    np.testing.assert_array_equal(counts.sum(axis=0), scores["pairs"])
    np.testing.assert_array_equal(counts[:, 11], 2)  # a year ahead: 1994 and 1995
    np.testing.assert_array_equal(counts[:, 0], [2] + 11 * [3])  # a month ahead: not January 1993
    # The covariance of all training states differs from that of those with a next one.
    for system, error in {"forecast": 2e-3, "linear": 2e-3, "linear inverse": 0.05}.items():
        assert months["rmse"].sel(system=system).max() < error
        assert months["acc"].sel(system=system).min() > 0.99
    # The total is the mean over all pairs.
    squares = np.square(months["rmse"]).weighted(months["pairs"]).mean("subset")
    np.testing.assert_allclose(squares, np.square(scores["rmse"]), rtol=1e-12)
    # Scores of the persistence of anomalies, month by month, in plain numpy.
    data = fields(12 * YEARS)
    cycle = data[: 12 * TRAIN_YEARS].reshape(TRAIN_YEARS, 12, *SHAPE).mean(axis=0)
    anomalies = data - cycle[np.arange(len(data)) % 12]
    weights = np.cos(np.deg2rad(np.linspace(-10, 10, 4)))[:, None] * np.ones(SHAPE)
    later = np.arange(12 * 12 + 3, 12 * YEARS)
    for month in (1, 8):
        target = later[later % 12 == month - 1]
        error = anomalies[target] - (data[target - 3] - cycle[target % 12])
        square = np.average(np.square(error).mean(axis=0), weights=weights)
        name = MONTHS[month - 1]
        own = months["rmse"].sel(system="persistence", subset=name, prediction_timedelta=3)
        np.testing.assert_allclose(own.item(), np.sqrt(square), rtol=1e-4)


def test_the_model_keeps_its_step(run):
    model = run.load_model()
    assert model.step == Duration.parse("1mo")
    assert model.leads == [Duration.parse("1mo")]
    assert model.layout.scaling.climatology.annual == "month"
    means = model.layout.scaling.climatology.coefficients.reshape(12, *SHAPE)
    cycle = fields(12 * TRAIN_YEARS).reshape(TRAIN_YEARS, 12, *SHAPE).mean(axis=0)
    np.testing.assert_allclose(means, cycle, atol=1e-4)


def test_a_year_of_months_is_no_initial_time(run):
    month = str(run.ds["time"].values[-20])[:7]
    with pytest.raises(ConfigError, match=f"--init: {month[:4]} has 12 times"):
        NewPeriod.from_initial_time(run.folder, month[:4])
    new = NewPeriod.from_initial_time(run.folder, month, run.folder / "none")
    assert str(new.experiment.periods.test.start)[:7] == month


def test_direct_leads_in_months(tmp_path):
    path = write(tmp_path / "sst.nc", fields(12 * YEARS))
    parts = {"model": {"width": 0, "leads": ["3mo", "6mo"]}, "forecast": {"horizon": "6mo"}}
    run = finish(Run(experiment(path, **parts), tmp_path / "run"))
    assert list(map(str, run.load_model().leads)) == ["1mo", "3mo", "6mo"]
    assert opened(run.score_store)["rmse"].sel(system="forecast").max() < 2e-3


def test_a_missing_month_is_not_crossed(tmp_path):
    values = fields(12 * YEARS)
    ds = xr.open_dataset(write(tmp_path / "whole.nc", values)).load()
    ds.drop_isel(time=[50, 160]).to_netcdf(tmp_path / "gap.nc")
    parts = {"climatology": {"annual": 2}, "state": {"modes": 4, "delays": 3}}
    run = finish(Run(experiment(tmp_path / "gap.nc", **parts), tmp_path / "run"))
    # Of 120 months one is missing: each side loses two delays and a lead.
    assert run.load_model().notes.rows == 119 - 2 * 3
    assert len(opened(run.forecast_store)["time"]) == 36 - 1 - 2  # its delays end before the gap
    assert opened(run.score_store)["pairs"][0] == 36 - 1 - 2 - 2  # the truth of two is missing


def test_an_update_with_the_next_month(tmp_path):
    values = fields(12 * YEARS)
    path = write(tmp_path / "sst.nc", values)
    run = Run(experiment(path), tmp_path / "run")
    run.fit()
    rows = run.load_model().notes.rows
    later = [
        write(tmp_path / f"{n}.nc", values[120 + n : 121 + n], START + 120 + n, day=28)
        for n in range(2)
    ]
    for number, part in enumerate(later, 1):
        update(run.folder, [str(part)])
        notes = Run.reopen(run.folder).load_model().notes
        assert notes.updated is not None
        assert notes.updated.latest.consecutive
        assert notes.rows == rows + number
    assert notes.updated.last == "1991-02-15 00:00:00"


def test_a_refit_without_a_year_and_another_period(tmp_path, run):
    again = refit(run.folder, tmp_path / "refit", without=[1983])
    assert again.load_model().notes.rows == run.load_model().notes.rows - 12
    other = NewPeriod.prepare(run.folder, period("1995-03-01", "1995-09-30"), tmp_path / "other")
    done = other.run()
    done.forecast()
    months = opened(done.forecast_store)["time"].values.astype("datetime64[M]")
    np.testing.assert_array_equal(months, np.arange("1995-03", "1995-10", dtype="datetime64[M]"))


def test_every_second_month_starts_a_forecast(tmp_path):
    path = write(tmp_path / "sst.nc", fields(12 * YEARS))
    parts = experiment(path, forecast={"horizon": "2mo", "every": "2mo"})
    run = finish(Run(parts, tmp_path / "run"))
    months = opened(run.forecast_store)["time"].values.astype("datetime64[M]")
    np.testing.assert_array_equal(months, np.arange("1993-01", "1996-01", 2, dtype="datetime64[M]"))
    assert opened(run.score_store)["rmse"].sel(system="forecast").max() < 2e-3


def test_patches_of_monthly_fields(tmp_path):
    """An oscillator of one pattern in time is exact from each cell and the step before it."""
    turn = 2 * np.pi * ROUNDS / (12 * TRAIN_YEARS) * np.arange(12 * YEARS)
    pattern = np.random.default_rng(1).normal(size=SHAPE)
    path = write(tmp_path / "sst.nc", 290 + np.cos(turn)[:, None, None] * pattern)
    local = {"layout": "local", "patch": [2, 2], "halo": [0, 0], "delays": 2, "modes": 80}
    run = finish(Run(experiment(path, state=local), tmp_path / "run"))
    scores = opened(run.score_store)
    assert LinearInverseModel.name not in scores["system"].values
    months = open_score_subsets(run.score_store)["rmse"].sel(region=WHOLE, subset=list(MONTHS))
    assert months.sel(system="forecast").max() < 5e-3


def test_the_experiment_of_an_inspection_is_legal(tmp_path):
    path = write(tmp_path / "sst.nc", fields(12 * YEARS))
    ds = open_source(DataConfig.model_validate({"sources": [str(path)]}))
    text = starting_experiment(ds, [str(path)], "start")
    parts = parse_experiment(text)
    assert str(parts.forecast.horizon) == "5mo"  # at most a quarter of the test period
    assert "test: ['1994-01-01', '1995-12-31']" in text
    Run(parts, tmp_path / "run").check()


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            {"model": {"leads": ["30d"]}},
            r"model\.leads: 30d has a fixed length, .* 1mo, is in cal",
        ),
        ({"forecast": {"horizon": "10d"}}, r"forecast\.horizon: 10d has a fixed .*; give .* 3mo"),
        (
            {"forecast": {"every": "1d"}},
            r"forecast\.every: 1d has .*, but the step of the data, 1mo",
        ),
        ({"model": {"inputs": ["hour"]}}, r"model\.inputs: hour is not allowed with .* of 1mo"),
        ({"climatology": {"diurnal": 1}}, r"climatology\.diurnal: 1 is not allowed with data"),
        (
            {"climatology": {"annual": 6}},
            r"climatology\.annual: 6 harmonics .* at most 5, or month",
        ),
        (
            {"periods": {"train": ["1981-01-01", "1981-10-31"]}},
            r"periods\.train: .* contains no November, of which the climatology needs a mean",
        ),
        (
            {"periods": {"train": ["1980-12-01", "1990-12-31"]}},
            r"periods\.train: .* is not within the data, which go from 1981-01 to 1995-12",
        ),
    ],
)
def test_bad_settings_are_named_before_work(tmp_path, parts, message):
    run = Run(experiment(write(tmp_path / "sst.nc", fields(180)), **parts), tmp_path / "run")
    with pytest.raises(ConfigError, match=message):
        run.fit()
    assert not list(run.folder.glob("*.zarr"))


def test_months_for_data_of_a_fixed_step_are_named(tmp_path):
    months = xr.open_dataset(write(tmp_path / "sst.nc", fields(180))).load()
    days = months.assign_coords(time=pd.date_range("1981-01-01", periods=180))
    days.to_netcdf(tmp_path / "days.nc")
    periods = {
        "train": ["1981-01-01", "1981-04-30"],
        "validation": ["1981-05-01", "1981-05-31"],
        "test": ["1981-06-01", "1981-06-29"],
    }
    run = Run(experiment(tmp_path / "days.nc", periods=periods), tmp_path / "run")
    with pytest.raises(ConfigError, match=r"horizon: 3mo is in cal.*, 1d, has a fixed length"):
        run.fit()


# --- real data ----------------------------------------------------------------------------------


@pytest.mark.slow
@real
def test_sea_surface_temperature_of_the_pacific(tmp_path):
    """Anomalies with land: better than persistence at each lead, and than climatology."""
    periods = {
        "train": ["1900-01-01", "1964-12-31"],
        "validation": ["1965-01-01", "1984-12-31"],
        "test": ["1985-01-01", "2014-10-31"],
    }
    path = DATA / "pacific_sst_slp_monthly_1856_2014/sst.nc"
    parts = experiment(
        path,
        periods=periods,
        state={"modes": 15, "delays": 1},
        model={"width": 50, "inputs": ["day_of_year"], "leads": ["3mo", "6mo"]},
        fit={"ridge": [0.01, 0.03, 0.1]},
        forecast={"horizon": "6mo"},
    )
    run = finish(Run(parts, tmp_path / "run"))
    rmse = opened(run.score_store)["rmse"].sel(channel="sea_surface_temperature")
    ours = rmse.sel(system="forecast")
    assert (ours[2:] < rmse.sel(system="persistence")[2:]).all()
    assert (ours < rmse.sel(system="climatology")).all()
    field = opened(run.forecast_store)["sea_surface_temperature"]
    assert np.isnan(field[0, 0]).sum() == 12


@pytest.mark.slow
@real
def test_heights_of_the_northern_hemisphere(tmp_path):
    """The level is a coordinate without a dimension; heights become geopotential."""
    periods = {
        "train": ["1981-01-01", "2002-12-31"],
        "validation": ["2003-01-01", "2005-12-31"],
        "test": ["2006-01-01", "2010-12-31"],
    }
    path = DATA / "ncep1_hgt500_nh_monthly_1981_2010/ncep1_hgt500_nh_monthly_1981_2010.nc"
    parts = {"periods": periods, "state": {"modes": 8, "delays": 1}, "forecast": {"horizon": "3mo"}}
    run = finish(Run(experiment(path, fit={"ridge": [0.1, 1.0]}, **parts), tmp_path / "run"))
    rmse = opened(run.score_store)["rmse"].sel(channel="geopotential_500")
    assert (rmse.sel(system="forecast") < rmse.sel(system="persistence")).all()
