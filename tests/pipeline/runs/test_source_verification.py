"""Score forecasts from files against truth: by hand, across layouts, and with bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gfrnn.pipeline.config.data_config import DataConfig, SourceConfig
from gfrnn.pipeline.config.section import Period
from gfrnn.pipeline.config.verification_config import VerificationConfig
from gfrnn.pipeline.errors import ConfigError, DataError, RunError
from gfrnn.pipeline.forecasting.forecast_store import open_forecasts
from gfrnn.pipeline.forecasting.netcdf_export import NetcdfExport
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.runs.source_verification import SourceVerification
from gfrnn.pipeline.states.harmonics import harmonics
from gfrnn.pipeline.verification.compare import compare
from gfrnn.pipeline.verification.scores import open_score_subsets, open_scores
from gfrnn.pipeline.verification.statistics_store import open_statistics
from gfrnn_testing.forecast_layouts import (
    CHANNELS,
    LATITUDE,
    LEADS,
    make_forecasts,
    make_truth,
    write_anemoi,
    write_earth2studio,
    write_weatherbench2,
    write_weatherbench_x,
)
from gfrnn_testing.weather import experiment, finish, make_weather

pytestmark = pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")

STARTS = pd.date_range("2020-01-10", periods=30, freq="12h")


@pytest.fixture(scope="module")
def truth() -> xr.Dataset:
    return make_truth()


@pytest.fixture(scope="module")
def store(truth, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("truth") / "truth.zarr"
    truth.to_zarr(path, consolidated=False)
    return path


def write_truth(truth: xr.Dataset, path: Path) -> Path:
    truth.to_zarr(path, consolidated=False)
    return path


def prepared(forecasts: Path, truth: Path, folder: Path, **options) -> SourceVerification:
    return SourceVerification.prepare(
        SourceConfig(path=str(forecasts)), DataConfig(sources=[str(truth)]), folder, **options
    )


def scored(forecasts: Path, truth: Path, folder: Path, **options) -> xr.Dataset:
    work = prepared(forecasts, truth, folder, **options)
    work.score()
    assert work.done
    return open_scores(work.folder.score_store)


def refused(kind: type[Exception], *arguments, **options) -> str:
    with pytest.raises(kind) as caught:
        prepared(*arguments, **options)
    return str(caught.value)


def notes_of(folder: Path) -> list[str]:
    return json.loads((folder / "verify.json").read_text())["notes"]


def fields(ds: xr.Dataset, channel: str) -> np.ndarray:
    name, _, level = channel.rpartition("_")
    own = ds[name].sel(level=float(level)) if level.isdigit() else ds[channel]
    return own.values.astype(float)


def test_scores_are_those_by_hand(truth, store, tmp_path) -> None:
    forecasts = make_forecasts(truth, STARTS)
    scores = scored(write_weatherbench2(forecasts, tmp_path / "wb.zarr"), store, tmp_path / "out")
    assert list(scores["system"].values) == ["forecast", "persistence", "climatology"]
    area = np.cos(np.deg2rad(LATITUDE))[:, None] * np.ones(4)
    area /= area.sum()
    time = truth["time"].values
    outside = (time < STARTS[0]) | (time > STARTS[-1] + LEADS[-1])
    for channel in CHANNELS:
        real, ours = fields(truth, channel), fields(forecasts, channel)
        flat = real[outside].reshape(outside.sum(), -1)
        weights = np.linalg.lstsq(harmonics(time[outside], 2, 2), flat, rcond=None)[0]
        for place, lead in enumerate(LEADS):
            now = np.searchsorted(time, STARTS.to_numpy() + lead)
            mean = (harmonics(time[now], 2, 2) @ weights).reshape(-1, *area.shape)
            a, b = ours[:, place] - mean, real[now] - mean
            error = ((ours[:, place] - real[now]) ** 2 * area).sum(axis=(1, 2))
            inner, one, two = ((x * area).sum(axis=(1, 2)) for x in (a * b, a * a, b * b))
            own = scores.sel(channel=channel).isel(prediction_timedelta=place)
            assert own["rmse"].sel(system="forecast") == pytest.approx(
                np.sqrt(error.mean()), rel=1e-5
            )
            assert own["acc"].sel(system="forecast") == pytest.approx(
                (inner / np.sqrt(one * two)).mean(), rel=1e-5
            )
            assert own["rmse"].sel(system="climatology") == pytest.approx(
                np.sqrt(two.mean()), rel=1e-5
            )
            before = real[np.searchsorted(time, STARTS.to_numpy())]
            error = ((before - real[now]) ** 2 * area).sum(axis=(1, 2))
            assert own["rmse"].sel(system="persistence") == pytest.approx(
                np.sqrt(error.mean()), rel=1e-5
            )
    assert (scores["pairs"] == len(STARTS)).all()


@pytest.mark.slow
def test_layouts_have_the_same_scores(truth, store, tmp_path) -> None:
    forecasts = make_forecasts(truth, STARTS, members=3)
    first, *others = (
        scored(write(forecasts, tmp_path / name), store, tmp_path / f"of_{name}", era5_units=True)
        for name, write in (
            ("wb.zarr", write_weatherbench2),
            ("wbx.zarr", write_weatherbench_x),
            ("e2s.zarr", write_earth2studio),
        )
    )
    assert "fair_crps" in first
    for other in others:
        for name in ("rmse", "acc", "fair_crps", "spread_skill_ratio", "rank_histogram"):
            wanted = first[name].sel(channel=other["channel"].values)
            np.testing.assert_allclose(other[name], wanted, rtol=1e-5, atol=1e-9)


def test_one_forecast_of_anemoi(truth, store, tmp_path) -> None:
    forecasts = make_forecasts(truth, STARTS)
    path = write_anemoi(forecasts.isel(time=4), tmp_path / "one.nc")
    options = {"initial_time": STARTS[4].to_datetime64(), "era5_units": True}
    scores = scored(path, store, tmp_path / "out", **options)
    assert (scores["pairs"] == 1).all()
    assert np.isfinite(scores["rmse"]).all()


def test_a_verification_resumes_and_is_not_overwritten(truth, store, tmp_path, monkeypatch) -> None:
    path = write_weatherbench2(make_forecasts(truth, STARTS), tmp_path / "wb.zarr")
    other = write_weatherbench2(make_forecasts(truth, STARTS, seed=9), tmp_path / "other.zarr")
    folder = tmp_path / "out"
    work = prepared(path, store, folder)
    assert not work.done
    monkeypatch.setattr(
        "gfrnn.pipeline.verification.verify.finish_statistics_store",
        lambda _: (_ for _ in ()).throw(KeyboardInterrupt),
    )
    with pytest.raises(KeyboardInterrupt):
        work.score()
    assert not prepared(path, store, folder).done
    monkeypatch.undo()
    # The climatology and the statistics are on disk: neither is computed again.
    monkeypatch.setattr(
        "gfrnn.pipeline.states.climatology.ClimatologySummary.leaf",
        lambda *_: pytest.fail("computed again"),
    )
    monkeypatch.setattr(
        "gfrnn.pipeline.verification.sources.source_scoring.SourceScoring.statistics",
        lambda *_: pytest.fail("computed again"),
    )
    prepared(path, store, folder).score()
    monkeypatch.undo()
    assert prepared(path, store, folder).done
    assert "holds the scores of other forecasts" in refused(RunError, other, store, folder)
    assert not prepared(other, store, folder, force=True).done
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    assert "not the folder of a verification" in refused(RunError, path, store, tmp_path / "full")


def test_a_verification_that_another_process_began_is_not_replaced(truth, store, tmp_path) -> None:
    """Both are prepared while the folder is free."""
    folder, works = tmp_path / "out", []
    for name, error in (("one", 0.0), ("two", 1.0)):
        forecasts = make_forecasts(truth, STARTS[:3]) + error
        path = write_weatherbench2(forecasts, tmp_path / f"{name}.zarr")
        works.append(prepared(path, store, folder))
    works[0].score()
    with pytest.raises(RunError, match="holds the scores of other forecasts"):
        works[1].score()
    assert works[0].done
    works[1].score(force=True)
    assert works[1].done


def test_missing_truth_is_counted(truth, tmp_path) -> None:
    forecasts = make_forecasts(truth, STARTS)
    time = truth["time"].values
    # Truth at 00 and 12 UTC only: leads of 6 h have none; and a gap of two initial times.
    kept = (pd.DatetimeIndex(time).hour % 12 == 0) & ~np.isin(time, STARTS[[3, 4]].to_numpy())
    short = write_truth(truth.isel(time=kept), tmp_path / "truth.zarr")
    path = write_weatherbench2(forecasts, tmp_path / "wb.zarr")
    scores = scored(path, short, tmp_path / "out")
    assert scores["pairs"].values.tolist() == [0, 28, 28]
    assert np.isnan(scores["rmse"].isel(prediction_timedelta=0)).all()
    assert "persistence" not in scores["system"].values
    first, second, *_ = notes_of(tmp_path / "out")
    assert first == "34 of 90 pairs have no truth and are not scored; none at 1 leads: 6 h"
    assert second == "no persistence: 2 of 30 initial times are not in the truth"


@pytest.mark.slow
def test_forecasts_with_missing_values_are_counted(truth, store, tmp_path) -> None:
    forecasts = make_forecasts(truth, STARTS)
    whole = scored(write_weatherbench2(forecasts, tmp_path / "wb.zarr"), store, tmp_path / "whole")
    lost = forecasts.copy(deep=True)
    lost["2m_temperature"][3, 1, 0, 0] = np.nan
    lost["geopotential"][5, 2] = np.nan
    scores = scored(write_weatherbench2(lost, tmp_path / "lost.zarr"), store, tmp_path / "out")
    assert scores["pairs"].values.tolist() == [30, 29, 29]
    assert np.isfinite(scores["rmse"]).all()
    assert (
        "2 of 90 forecasts have missing values (NaN) and are not scored, the first from "
        "2020-01-11T12:00 for 2020-01-12T00:00"
    ) in notes_of(tmp_path / "out")
    with open_statistics(tmp_path / "whole" / "statistics.zarr") as ds:
        errors = ds["squared_error"].sel(region="all").isel(prediction_timedelta=1)
        kept = errors.isel(time=np.arange(30) != 3).mean("time")
    found = scores["rmse"].isel(prediction_timedelta=1)
    np.testing.assert_allclose(found**2, kept.transpose(*found.dims), rtol=1e-6)
    first = {"prediction_timedelta": 0}
    np.testing.assert_allclose(scores["rmse"].isel(first), whole["rmse"].isel(first), rtol=1e-9)
    forecasts["geopotential"][:] = np.nan
    work = prepared(write_weatherbench2(forecasts, tmp_path / "no.zarr"), store, tmp_path / "no")
    with pytest.raises(DataError, match="all 90 forecasts have missing values"):
        work.score()
    assert not work.done


def test_zeros_that_are_read_as_missing_are_the_named_cause(truth, store, tmp_path) -> None:
    forecasts = make_forecasts(truth, STARTS)[["2m_temperature"]]
    forecasts["2m_temperature"][3, 1, 0, 0] = 0.0
    encoding = {"2m_temperature": {"_FillValue": 0.0}}
    forecasts.to_zarr(tmp_path / "wb.zarr", zarr_format=2, consolidated=False, encoding=encoding)
    scored(tmp_path / "wb.zarr", store, tmp_path / "out")
    first, *_, last = notes_of(tmp_path / "out")
    assert "2m_temperature: zeros are read as missing, as 0 is the fill value" in first
    assert last.startswith("1 of 90 forecasts have missing values (NaN) and are not scored")
    assert last.endswith("(see the note on values that are read as missing)")


def test_a_mask_is_that_of_the_truth(truth, tmp_path) -> None:
    sea = truth["2m_temperature"].copy(deep=True)
    sea[:, 0, 0] = np.nan
    names = {"sea_surface_temperature": sea.assign_attrs(units="K")}
    masked = write_truth(xr.Dataset(names), tmp_path / "truth.zarr")
    forecasts = make_forecasts(truth, STARTS)
    forecasts = forecasts.rename({"2m_temperature": "sea_surface_temperature"})
    path = write_weatherbench2(forecasts[["sea_surface_temperature"]], tmp_path / "wb.zarr")
    scores = scored(path, masked, tmp_path / "out")
    real = sea.reindex(time=(STARTS.to_numpy() + LEADS[0])).values
    error = forecasts["sea_surface_temperature"].values[:, 0] - real
    area = np.broadcast_to(np.cos(np.deg2rad(LATITUDE))[:, None], error.shape[1:]).copy()
    area[0, 0] = 0
    wanted = np.sqrt((np.nan_to_num(error) ** 2 * area).sum() / area.sum() / len(STARTS))
    own = scores["rmse"].sel(system="forecast").isel(prediction_timedelta=0, channel=0)
    assert own == pytest.approx(wanted, rel=1e-5)


def test_missing_values_of_the_truth_are_refused(truth, tmp_path) -> None:
    holes = truth.copy(deep=True)
    place = int(np.searchsorted(truth["time"].values, STARTS[7].to_datetime64()))
    holes["2m_temperature"][place, 1, 2] = np.nan
    path = write_weatherbench2(make_forecasts(truth, STARTS), tmp_path / "wb.zarr")
    work = prepared(path, write_truth(holes, tmp_path / "truth.zarr"), tmp_path / "out")
    with pytest.raises(DataError) as caught:
        work.score()
    assert "2m_temperature: nan at 2020-01-13T12:00, latitude 45, longitude 180" in str(
        caught.value
    )
    assert "score other channels (--channel)" in str(caught.value)
    other = scored(path, tmp_path / "truth.zarr", tmp_path / "other", channels=["geopotential_500"])
    assert other["channel"].values.tolist() == ["geopotential_500"]


def test_zero_spread(truth, store, tmp_path) -> None:
    one = make_forecasts(truth, STARTS)
    same = one.expand_dims(number=3, axis=1)
    scores = scored(write_weatherbench2(same, tmp_path / "wb.zarr"), store, tmp_path / "out")
    np.testing.assert_allclose(scores["spread"], 0, atol=1e-9)
    np.testing.assert_allclose(scores["spread_skill_ratio"], 0, atol=1e-9)
    own = scores.sel(system="forecast")
    np.testing.assert_allclose(own["fair_crps"], own["mae"], rtol=1e-6)


def test_few_starts_have_scores_without_intervals(truth, store, tmp_path) -> None:
    path = write_weatherbench2(make_forecasts(truth, STARTS[:6]), tmp_path / "wb.zarr")
    scores = scored(path, store, tmp_path / "out")
    assert np.isfinite(scores["rmse"]).all()
    assert np.isnan(scores["rmse_change_low"]).all()


def test_without_a_year_there_is_no_climatology(truth, tmp_path) -> None:
    short = write_truth(truth.isel(time=slice(900, None)), tmp_path / "truth.zarr")
    path = write_weatherbench2(make_forecasts(truth, STARTS), tmp_path / "wb.zarr")
    scores = scored(path, short, tmp_path / "out")
    assert list(scores["system"].values) == ["forecast", "persistence"]
    assert not {"acc", "activity"} & set(scores)
    assert notes_of(tmp_path / "out")[-1].startswith("no climatology: the truth has less than a")
    found = refused(
        ConfigError,
        path,
        short,
        tmp_path / "other",
        climatology=Period.model_validate(["2019-11-01", "2019-12-31"]),
    )
    assert "--climatology: 2019-11-01..2019-12-31 has 244 times of the truth, less than a" in found


def test_regions_are_scored(truth, store, tmp_path) -> None:
    config = VerificationConfig(regions=["europe"])
    path = write_weatherbench2(make_forecasts(truth, STARTS), tmp_path / "wb.zarr")
    scored(path, store, tmp_path / "out", config=config)
    found = open_score_subsets(tmp_path / "out" / "scores.zarr")
    assert found["region"].values.tolist() == ["all", "europe"]


def test_land_is_scored_with_the_mask_of_the_truth(truth, store, tmp_path) -> None:
    forecasts = make_forecasts(truth, STARTS)
    path = write_weatherbench2(forecasts, tmp_path / "wb.zarr")
    config = VerificationConfig(regions=["land", "sea"])
    found = refused(DataError, path, store, tmp_path / "out", config=config)
    assert "land_sea_mask: no such static field" in found
    assert "(key verification.regions.land.field)" in found
    plane = truth["2m_temperature"].isel(time=0, drop=True)
    land = plane.copy(data=np.random.default_rng(1).random(plane.shape)).rename("lsm")
    land.attrs = {"units": "1", "standard_name": "land_binary_mask"}
    land.to_netcdf(tmp_path / "land.nc")
    whole = {"sources": [str(store)], "static": [str(tmp_path / "land.nc")]}
    truths = DataConfig.model_validate(whole)
    SourceVerification.prepare(
        SourceConfig(path=str(path)), truths, tmp_path / "out", config=config
    ).score()
    found = open_score_subsets(tmp_path / "out" / "scores.zarr")["rmse"]
    weights = np.cos(np.deg2rad(land["latitude"])) * (land >= 0.5)
    share = float(weights.sum() / np.cos(np.deg2rad(land["latitude"])).mean() / land.size)
    squares = np.square(found.sel(subset="all", system="forecast"))
    both = share * squares.sel(region="land") + (1 - share) * squares.sel(region="sea")
    # Errors are differences of float32.
    np.testing.assert_allclose(both, squares.sel(region="all"), rtol=1e-6)


def test_what_does_not_fit_is_refused_before_work(truth, store, tmp_path) -> None:
    forecasts, out = make_forecasts(truth, STARTS), tmp_path / "out"

    def why(name: str, ds: xr.Dataset, **options) -> str:
        return refused(DataError, write_weatherbench2(ds, tmp_path / name), store, out, **options)

    moved = forecasts.assign_coords(latitude=LATITUDE + 1)
    assert "different latitudes: 31..61 (3) and 30..60 (3); interpolate" in why("moved", moved)
    coarse = forecasts.isel(longitude=[0, 2])
    assert "different longitudes: 0..180 (2) and 0..270 (4)" in why("coarse", coarse)
    late = forecasts.assign_coords(time=STARTS + pd.Timedelta("400D"))
    found = why("late", late)
    assert "no forecast is valid at a time of the truth: forecasts for 2021-02-13T06:00" in found
    assert "truth from 2019-01-01T00:00 to 2020-02-24T18:00, step 6h" in found
    odd = forecasts.assign_coords(prediction_timedelta=LEADS + np.timedelta64(1, "h"))
    assert "no forecast is valid at a time of the truth" in why("odd", odd)
    strange = forecasts.copy()
    strange["2m_temperature"] = forecasts["2m_temperature"].assign_attrs(units="furlong")
    assert "has the unit 'furlong', which cannot be converted to K; give --units" in why(
        "strange", strange
    )
    alone = forecasts[["2m_temperature"]].rename({"2m_temperature": "sst"})
    assert "no channel in common: the forecasts have sea_surface" in why("alone", alone)
    assert "--channel: t850 is not in both forecasts and truth; allowed: 2m_temperature" in why(
        "named", forecasts, channels=["t850"]
    )
    assert not out.exists()


def test_channels_of_one_side_are_named(truth, store, tmp_path) -> None:
    forecasts = make_forecasts(truth, STARTS)[["2m_temperature"]]
    path = write_weatherbench2(forecasts, tmp_path / "wb.zarr")
    work = prepared(path, store, tmp_path / "out")
    assert "not scored, only in the truth: geopotential_500, geopotential_850" in work.notes


def test_monthly_forecasts(tmp_path) -> None:
    rng = np.random.default_rng(0)
    months = pd.date_range("1990-01-01", periods=240, freq="MS")
    places = {"latitude": LATITUDE, "longitude": [0.0, 90.0]}
    values = 300 + rng.normal(size=(240, 3, 2))
    dims = ("time", "latitude", "longitude")
    truth = xr.Dataset({"sst": (dims, values, {"units": "K"})}, {"time": months, **places})
    starts, leads = np.arange(200, 220), np.array([1, 3])
    ahead = values[starts[:, None] + leads] + 0.5
    forecasts = xr.Dataset(
        {"sst": (("init", "lead", *dims[1:]), ahead, {"units": "K"})},
        {"init": months[starts], "lead": ("lead", leads, {"units": "months"}), **places},
    )
    write_truth(truth, tmp_path / "truth.zarr")
    forecasts.to_netcdf(tmp_path / "forecasts.nc")
    scores = scored(tmp_path / "forecasts.nc", tmp_path / "truth.zarr", tmp_path / "out")
    assert scores["prediction_timedelta"].values.tolist() == [1, 3]
    own = scores.sel(system="forecast")
    np.testing.assert_allclose(own["rmse"], 0.5, rtol=1e-4)
    assert (scores["pairs"] == 20).all()
    in_days = forecasts.assign_coords(lead=("lead", leads * 30, {"units": "days"}))
    in_days.to_netcdf(tmp_path / "days.nc")
    found = refused(DataError, tmp_path / "days.nc", tmp_path / "truth.zarr", tmp_path / "days")
    assert "the forecasts are not monthly (unit of their leads), but the truth is monthly" in found


@pytest.mark.slow
def test_forecasts_of_a_run_have_the_scores_of_the_run(tmp_path) -> None:
    weather = make_weather(tmp_path / "weather.zarr", damping=0.95, noise=0.3, times=640)
    run = finish(Run(experiment(weather.path), tmp_path / "run"))
    scores = scored(run.forecast_store, weather.path, tmp_path / "out")
    own = open_scores(run.score_store)
    assert set(scores["channel"].values) == set(own["channel"].values)
    for system in ("forecast", "persistence"):
        ours, theirs = (each.sel(system=system) for each in (scores, own))
        for name in ("rmse", "mae", "bias"):
            wanted = theirs[name].sel(channel=ours["channel"].values)
            np.testing.assert_allclose(ours[name], wanted, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(scores["pairs"], own["pairs"])
    NetcdfExport.prepare(run.folder, tmp_path / "nc", ()).write()
    files = scored(tmp_path / "nc" / "*.nc", weather.path, tmp_path / "files")
    for name in ("rmse", "mae", "bias"):
        wanted = scores[name].sel(channel=files["channel"].values)
        np.testing.assert_allclose(files[name], wanted, rtol=1e-6, atol=1e-6)
    stores = {"run": run.statistics, "store": tmp_path / "out" / "statistics.zarr"}
    np.testing.assert_allclose(compare(stores)["rmse_change"].sel(run="store"), 0, atol=1e-9)


@pytest.mark.slow
def test_ensembles_of_a_run_have_its_scores_in_every_layout(tmp_path) -> None:
    """The values of a run's store, written in the layouts of others, have the scores of the run."""
    path = tmp_path / "weather.zarr"
    truth = make_weather(path, damping=0.95, noise=0.3, times=700).ds
    own = experiment(path, forecast={"members": 5, "horizon": "3d"})
    run = finish(Run(own, tmp_path / "run"))
    with open_forecasts(run.forecast_store) as ds:
        forecasts = ds.drop_vars(["valid_time", "limited"]).drop_encoding().load()
    assert forecasts.sizes["number"] == 5
    assert set(truth.data_vars) >= set(forecasts.data_vars)
    stores = {
        "own": run.forecast_store,
        "wb": write_weatherbench2(forecasts, tmp_path / "wb.zarr"),
        "wbx": write_weatherbench_x(forecasts, tmp_path / "wbx.zarr"),
    }
    wanted = open_scores(run.score_store).sel(system="forecast")
    for name, store in stores.items():
        scores = scored(store, path, tmp_path / name).sel(system="forecast")
        for metric in ("rmse", "mae", "fair_crps", "spread_skill_ratio", "rank_histogram"):
            ours = scores[metric].sel(channel=wanted["channel"].values)
            np.testing.assert_allclose(ours, wanted[metric], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("end", [False, True], ids=["within", "at the ends"])
def test_times_of_the_truth_without_values_count_as_gaps(truth, tmp_path, end):
    forecasts = make_forecasts(truth, STARTS)
    path = write_weatherbench2(forecasts, tmp_path / "f")
    valid = np.unique((STARTS.to_numpy()[:, None] + LEADS).reshape(-1))
    lost = [valid[0], valid[-1]] if end else [valid[7], valid[9]]
    holes = truth.copy(deep=True)
    name = next(iter(holes.data_vars))
    holes[name].loc[{"time": lost}] = np.nan
    work = prepared(path, write_truth(holes, tmp_path / "holes.zarr"), tmp_path / "a")
    work.score()
    found = open_scores(work.folder.score_store)
    other = write_truth(truth.drop_sel(time=lost), tmp_path / "without.zarr")
    xr.testing.assert_equal(found, scored(path, other, tmp_path / "b"))
    assert any("truth: 2 times between" in note for note in notes_of(tmp_path / "a"))
    assert prepared(path, tmp_path / "holes.zarr", tmp_path / "a").done
