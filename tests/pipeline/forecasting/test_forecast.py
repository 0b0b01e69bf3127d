"""Test the forecast store: its contents, and how common tools read it."""

from __future__ import annotations

import importlib
import itertools
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

from gfrnn.pipeline.config.durations import Duration
from gfrnn.pipeline.data.dataset import open_source
from gfrnn.pipeline.errors import ConfigError, RunError
from gfrnn.pipeline.forecasting import forecast_store
from gfrnn.pipeline.forecasting.forecast_chunks import ForecastChunks, stored_levels
from gfrnn.pipeline.forecasting.forecast_store import encode_leads, open_forecasts
from gfrnn.pipeline.reduction.progress import ProgressUpdate
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.verification.stored_fields import StoredForecasts
from gfrnn_testing.weather import Weather, contents, experiment, finish, make_weather, stamps

# The package has a function of this name.
forecasting = importlib.import_module("gfrnn.pipeline.forecasting.forecast")

LEVELS = {"geopotential": [500, 850], "temperature": [850]}
STARTS, LEADS = 31, 6


@pytest.fixture(scope="module")
def weather(tmp_path_factory) -> Weather:
    path = tmp_path_factory.mktemp("weather") / "weather.zarr"
    return make_weather(path, damping=0.95, noise=0.3)


@pytest.fixture(scope="module")
def run(weather, tmp_path_factory) -> Run:
    """Forecast with two averaged networks, two delays, and leads of one and three days."""
    parts = {
        "periods": {"test": ["2002-07-01", "2002-07-31"]},
        "state": {"delays": 2, "modes": 5},
        "search": {"model.seed": [0, 1, 2]},
        "fit": {"average": 2, "ridge": [1e-4, 1e-2]},
        "model": {"width": 30, "scale": 0.5},
        "forecast": {"horizon": "6d", "batch": 8},
    }
    made = Run(experiment(weather.path, **parts), tmp_path_factory.mktemp("run") / "run")
    made.fit()
    made.forecast()
    return made


@pytest.fixture(scope="module")
def store(run) -> xr.Dataset:
    """Open the store with plain xarray; pytest turns warnings into errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return xr.open_zarr(run.forecast_store, decode_timedelta=True)


# What readers find


VARIABLES = ["geopotential", "temperature", "mean_sea_level_pressure"]


def test_dimensions_and_their_order(store):
    deep = ("time", "prediction_timedelta", "level", "latitude", "longitude")
    assert store["geopotential"].dims == deep
    assert store["temperature"].dims == deep
    assert store["mean_sea_level_pressure"].dims == tuple(dim for dim in deep if dim != "level")
    assert dict(store.sizes) == {
        "time": STARTS, "prediction_timedelta": LEADS, "level": 2, "latitude": 5, "longitude": 8,
    }  # fmt: skip
    assert set(store.data_vars) == {*VARIABLES, "limited"}
    assert store["limited"].dims == deep[:2]
    assert set(store.coords) == {
        "time", "prediction_timedelta", "level", "latitude", "longitude", "valid_time",
    }  # fmt: skip


def test_coordinates(store, weather):
    days = pd.date_range("2002-07-01", periods=STARTS)
    np.testing.assert_array_equal(store["time"].values, days.values)
    np.testing.assert_array_equal(
        store["prediction_timedelta"].values, pd.to_timedelta(np.arange(1, 7), "D").values
    )
    assert store["prediction_timedelta"].dtype.kind == "m"
    # The source has latitude descending and longitude -180..180.
    for name in ("latitude", "longitude"):
        np.testing.assert_allclose(store[name].values, weather.ds[name].values)
        assert store.indexes[name].is_monotonic_increasing
    assert store["longitude"].values[0] == 0
    assert store["longitude"].values[-1] == 350
    np.testing.assert_array_equal(store["level"].values, [500, 850])
    assert store["valid_time"].dims == ("time", "prediction_timedelta")
    np.testing.assert_array_equal(
        store["valid_time"].values,
        store["time"].values[:, None] + store["prediction_timedelta"].values,
    )


def test_attributes(store):
    names = {name: array.attrs.get("standard_name") for name, array in store.coords.items()}
    assert names == {
        "time": "forecast_reference_time",
        "prediction_timedelta": "forecast_period",
        "valid_time": "time",
        "level": "air_pressure",
        "latitude": "latitude",
        "longitude": "longitude",
    }
    assert store["level"].attrs["units"] == "hPa"
    assert store["level"].attrs["positive"] == "down"
    assert store["latitude"].attrs["units"] == "degrees_north"
    assert store["longitude"].attrs["units"] == "degrees_east"
    described = {
        name: (array.attrs["standard_name"], array.attrs["units"])
        for name, array in store[VARIABLES].items()
    }
    assert described == {
        "geopotential": ("geopotential", "m2 s-2"),
        "temperature": ("air_temperature", "K"),
        "mean_sea_level_pressure": ("air_pressure_at_mean_sea_level", "Pa"),
    }
    assert store.attrs["complete"] == 1
    assert store.attrs["Conventions"].startswith("CF-")
    assert "turning" in store.attrs["title"]


def test_encodings(run, store):
    assert store["limited"].dtype == np.float32
    for array in store[VARIABLES].values():
        assert array.dtype == np.float32
        assert array.encoding["shards"] is None
        assert array.encoding["chunks"] == (1, *array.shape[1:])
        assert np.isnan(array.encoding["_FillValue"])
    group = zarr.open_group(run.forecast_store, mode="r")
    assert group.metadata.zarr_format == 3
    assert all(np.isnan(group[name].fill_value) for name in store.data_vars)
    lead = group["prediction_timedelta"]
    assert lead.attrs["dtype"] == "timedelta64[ns]"
    assert lead.attrs["units"] == "days"
    assert group["time"].attrs["units"].startswith("hours since ")
    assert np.issubdtype(group["time"].dtype, np.integer)


@pytest.mark.parametrize(
    ("leads", "units", "numbers"),
    [
        (["24h", "72h"], "days", [1, 3]),
        (["6h", "24h"], "hours", [6, 24]),
        (["60min", "90min"], "minutes", [60, 90]),
        (["30s", "60s"], "seconds", [30, 60]),
    ],
)
def test_leads_are_encoded_in_the_longest_common_unit(leads, units, numbers):
    spans = pd.to_timedelta(leads).to_numpy("timedelta64[ns]")
    encoded = encode_leads(spans, long_name="lead")
    assert encoded.attrs == {"long_name": "lead", "dtype": "timedelta64[ns]", "units": units}
    assert encoded.dtype == np.int64
    assert encoded.values.tolist() == numbers
    decoded = xr.decode_cf(xr.Dataset({"lead": encoded}), decode_timedelta=True)["lead"]
    np.testing.assert_array_equal(decoded.values, spans)
    assert decoded.dtype == spans.dtype


def test_metadata_are_consolidated(run):
    consolidated = zarr.open_group(run.forecast_store, mode="r", use_consolidated=True)
    assert set(consolidated) == set(zarr.open_group(run.forecast_store, use_consolidated=False))
    assert "written" not in consolidated


def test_there_is_one_file_for_each_variable_and_initial_time(run):
    for name, inner in (("geopotential", "0/0/0/0"), ("mean_sea_level_pressure", "0/0/0")):
        files = [str(p.relative_to(run.forecast_store / name / "c"))
                 for p in (run.forecast_store / name / "c").rglob("*") if p.is_file()]  # fmt: skip
        assert sorted(files) == sorted(f"{start}/{inner}" for start in range(STARTS))


def test_missing_levels_of_a_variable_are_nan(store):
    assert store["geopotential"].attrs["levels"] == LEVELS["geopotential"]
    assert store["temperature"].attrs["levels"] == LEVELS["temperature"]
    assert np.isfinite(store["geopotential"].values).all()
    assert np.isfinite(store["mean_sea_level_pressure"].values).all()
    assert np.isnan(store["temperature"].sel(level=500).values).all()
    assert np.isfinite(store["temperature"].sel(level=850).values).all()


def test_means_of_forecasts_are_near_those_of_the_data(store, weather):
    for name, levels in (*LEVELS.items(), ("mean_sea_level_pressure", None)):
        ours, real = store[name], weather.ds[name]
        if levels:
            ours, real = ours.sel(level=levels), real.sel(level=levels)
        axes = [d for d in real.dims if d != "level"]
        assert (
            abs(ours.mean([*axes, "prediction_timedelta"]) - real.mean(axes)) < real.std()
        ).all()


# What the numbers are


def test_values_are_the_rollout_of_the_model(run, store, weather):
    """The rollout is computed by hand from the arrays of model.zarr alone."""
    group = zarr.open_group(run.model, mode="r")
    arrays = {name: np.asarray(array[...]) for name, array in group.members(max_depth=None)
              if isinstance(array, zarr.Array)}  # fmt: skip
    channels = [("geopotential", 500.0), ("geopotential", 850.0), ("temperature", 850.0),
                ("mean_sea_level_pressure", None)]  # fmt: skip
    assert [tuple(channel) for channel in group.attrs["channels"]] == channels
    fields = np.stack(
        [weather.ds[v] if p is None else weather.ds[v].sel(level=p) for v, p in channels], axis=1
    ).reshape(len(weather.time), -1)
    edges = np.deg2rad([25, 35, 45, 55, 65, 75])
    area = np.diff(np.sin(edges))
    area /= area.mean()
    weights = (np.sqrt(area)[None, :, None] / arrays["spread"][:, None, None]
               * np.ones((4, 5, 8))).reshape(-1)  # fmt: skip
    mean = arrays["climatology"][0]  # no harmonics here
    unit = arrays["layout/singular_values"][0] / np.sqrt(group.attrs["layout"]["times"])
    states = (fields - mean) * weights @ arrays["layout/eofs"].T / unit
    mixture, count = arrays["mixture"], len(group.attrs["networks"])
    assert mixture.shape == (count, 2)
    assert count > 1
    place = int(np.flatnonzero(weather.time == "2002-07-09")[0])
    total = np.zeros((LEADS, 5))
    for n in range(count):
        hidden, biases = arrays[f"networks/{n}/weights"], arrays[f"networks/{n}/biases"]
        outer = arrays[f"networks/{n}/outer"]
        assert outer.shape == (2, 2 * 5 + 1 + 30, 5)
        series = {0: states[place], -1: states[place - 1]}
        for lead in range(1, LEADS + 1):
            predicted = []
            for own, weights_of_lead in ((1, outer[0]), (3, outer[1])):
                if own <= lead:
                    seen = np.concatenate([series[lead - own], series[lead - own - 1]])
                    features = np.concatenate([seen, [1.0], np.tanh(seen @ hidden + biases)])
                    predicted.append(features @ weights_of_lead)
            # The mean of both at the lead of three days; the longest alone before and after it.
            series[lead] = np.mean(predicted, axis=0) if lead == 3 else predicted[-1]
            total[lead - 1] += mixture[n, int(lead >= 3)] * series[lead]
    octaves = [0, 1, 1, 2, 2]  # of the five modes
    total *= arrays["calibration"][:, octaves]
    expected = (total * unit @ arrays["layout/eofs"] / weights + mean).reshape(LEADS, 4, 5, 8)
    chosen = store.sel(time="2002-07-09")
    for index, (variable, level) in enumerate(channels):
        found = chosen[variable] if level is None else chosen[variable].sel(level=level)
        np.testing.assert_allclose(found.values, expected[:, index], rtol=3e-7)


def test_forecasts_run_beyond_the_data(weather, tmp_path):
    last = str(weather.time[-1].date())
    periods = {"test": ["2003-02-01", last]}
    made = Run(experiment(weather.path, periods=periods), tmp_path / "run")
    made.fit()
    made.forecast()
    store = open_forecasts(made.forecast_store)
    assert store["time"].values[-1] == weather.time[-1]
    assert store["valid_time"].values[-1, -1] == weather.time[-1] + pd.Timedelta("6D")
    assert np.isfinite(store["mean_sea_level_pressure"].values).all()


@pytest.mark.parametrize(("every", "step"), [("1d", 1), ("3d", 3), ("7d", 7)])
def test_initial_times_lie_apart_as_asked(run, weather, every, step):
    parts = {"periods": {"test": ["2002-07-01", "2002-07-31"]}, "forecast": {"every": every}}
    time = weather.time.to_numpy()
    starts = forecasting.initial_times(experiment(weather.path, **parts), time)
    expected = np.arange("2002-07-01", "2002-08-01", step, dtype="datetime64[D]")
    np.testing.assert_array_equal(time[starts], expected)


def test_initial_times_have_their_earlier_states():
    axis = pd.date_range("2001-01-01", "2002-08-31").to_numpy()
    gap = (axis >= np.datetime64("2002-07-10")) & (axis < np.datetime64("2002-07-13"))
    axis = axis[~gap]
    parts = {"periods": {"test": ["2002-07-05", "2002-07-17"]}, "state": {"delays": 3}}
    starts = forecasting.initial_times(experiment("x.zarr", **parts), axis)
    days = [str(day)[8:10] for day in axis[starts].astype("datetime64[D]")]
    # 13 and 14 July have no two successive states before them.
    assert days == ["05", "06", "07", "08", "09", "15", "16", "17"]


def test_a_spaced_forecast_is_the_same_as_one_of_every_day(run, weather, tmp_path):
    folder = Path(shutil.copytree(run.folder, tmp_path / "run"))
    spaced = run.experiment.model_copy(
        update={
            "forecast": run.experiment.forecast.model_copy(update={"every": Duration.parse("7d")})
        }
    )
    forecasting.forecast(spaced, run.ds, folder / "model.zarr", folder / "spaced.zarr")
    few, all_ = open_forecasts(folder / "spaced.zarr"), open_forecasts(run.forecast_store)
    assert few.sizes["time"] == 5
    for name in few.data_vars:
        np.testing.assert_allclose(
            few[name].values, all_[name].sel(time=few["time"]).values, rtol=3e-7
        )


@pytest.mark.parametrize(
    ("key", "value"), [("horizon", "36h"), ("every", "36h")], ids=["horizon", "every"]
)
def test_steps_that_do_not_fit_are_refused(weather, tmp_path, key, value):
    made = Run(experiment(weather.path, forecast={key: value}), tmp_path / "run")
    with pytest.raises(ConfigError, match=f"forecast.{key}: 36h is not a multiple .* step, 1d"):
        made.check()


# Unfinished stores


def interrupt(run: Run, path: Path, monkeypatch) -> Path:
    """Write two of the four batches of a store."""
    real, calls = forecasting._forecast_batch, itertools.count()

    def breaks(*arguments):
        if next(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(forecasting, "_forecast_batch", breaks)
        with pytest.raises(KeyboardInterrupt):
            forecasting.forecast(run.experiment, run.ds, run.model, path)
    return path


@pytest.fixture
def interrupted(run, tmp_path, monkeypatch) -> Path:
    """Return a store whose writing was interrupted after two of its four batches."""
    return interrupt(run, tmp_path / "forecast.zarr", monkeypatch)


def test_an_unfinished_store_is_an_error_with_a_remedy(interrupted):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store = xr.open_zarr(interrupted, decode_timedelta=True, consolidated=False)
    assert store.attrs["complete"] == 0
    with pytest.raises(RunError, match="not finished; run `gfrnn forecast` again"):
        open_forecasts(interrupted)
    with pytest.raises(RunError, match="no forecasts there; run `gfrnn forecast` first"):
        open_forecasts(interrupted.with_name("nothing.zarr"))


def test_a_reader_sees_no_forecasts_before_all_are_written(run, tmp_path, monkeypatch):
    path, real, seen = tmp_path / "forecast.zarr", forecasting._forecast_batch, []

    def reads(*arguments):
        result = real(*arguments)
        with pytest.raises(RunError, match="not finished"):
            open_forecasts(path)
        seen.append(xr.open_zarr(path, consolidated=False).attrs["complete"])
        return result

    monkeypatch.setattr(forecasting, "_forecast_batch", reads)
    forecasting.forecast(run.experiment, run.ds, run.model, path)
    assert seen == [0, 0, 0, 0]
    assert open_forecasts(path).attrs["complete"] == 1


def test_stores_of_earlier_versions_are_opened(run, interrupted):
    finished = Path(shutil.copytree(run.forecast_store, interrupted.with_name("finished.zarr")))
    for path, old in ((finished, True), (interrupted, False)):
        zarr.open_group(path, mode="r+", use_consolidated=False).attrs["complete"] = old
    assert open_forecasts(finished).sizes["time"] == STARTS
    with pytest.raises(RunError, match="not finished"):
        open_forecasts(interrupted)


def test_only_what_is_missing_is_computed(run, interrupted, monkeypatch):
    before = stamps(interrupted / "temperature")
    assert sum(name.startswith("c/") for name in before) == 16
    real, firsts = forecasting._forecast_batch, []

    def counts(*arguments):
        firsts.append(arguments[4])
        return real(*arguments)

    monkeypatch.setattr(forecasting, "_forecast_batch", counts)
    steps = []
    forecasting.forecast(run.experiment, run.ds, run.model, interrupted, steps.append)
    assert firsts == [16, 24]
    assert steps == [ProgressUpdate("forecast", done, 2) for done in (0, 1, 2)]
    after = stamps(interrupted / "temperature")
    assert {name: after[name] for name in before} == before
    assert contents(interrupted) == contents(run.forecast_store)
    assert open_forecasts(interrupted).attrs["complete"] == 1


@pytest.mark.parametrize("leads", [LEADS, 1], ids=["a shard a start", "a shard a lead"])
def test_an_unfinished_store_keeps_its_chunks(run, tmp_path, monkeypatch, leads):
    """Earlier versions had chunks of one field, in shards of a forecast or of a lead."""
    earlier = ForecastChunks(1, 1, leads, 2)
    with monkeypatch.context() as patch:
        patch.setattr(
            forecast_store,
            "chunks_of",
            lambda grid, variable, *_: replace(earlier, shard_levels=stored_levels(grid, variable)),
        )
        path = interrupt(run, tmp_path / "forecast.zarr", monkeypatch)
    forecasting.forecast(run.experiment, run.ds, run.model, path)
    found, expected = open_forecasts(path), open_forecasts(run.forecast_store)
    assert found["geopotential"].encoding["chunks"] == (1, 1, 1, 5, 8)
    for name in expected.data_vars:
        np.testing.assert_array_equal(found[name].values, expected[name].values)
    # The verification reads the same from a store with other chunks.
    grid = ForecastModel.load(run.model).layout.scaling.grid
    sizes = slice(0, found.sizes["time"]), slice(0, found.sizes["prediction_timedelta"])
    read = [StoredForecasts(each, grid).read(*sizes) for each in (path, run.forecast_store)]
    for one, other in zip(*read, strict=True):
        np.testing.assert_array_equal(one, other)


# Times finer than a day


@pytest.fixture(scope="module")
def hourly(tmp_path_factory) -> Weather:
    """Run an experiment of six-hourly data with an annual and a diurnal cycle."""
    path = tmp_path_factory.mktemp("hourly") / "hourly.zarr"
    return make_weather(path, times=2000, freq="6h", cycle=True, periods=(30.3, 57.7), chunk=250)


SIX_HOURLY = {
    "periods": {
        "train": ["2001-01-01", "2002-02-14"],
        "validation": ["2002-02-15", "2002-03-31"],
        "test": ["2002-04-01", "2002-05-01"],
    },
    "state": {"modes": 4},
    "model": {"width": 10, "leads": ["6h", "1d"]},
    "forecast": {"horizon": "36h", "every": "18h"},
}


@pytest.mark.slow
def test_the_cycle_of_the_day_is_in_the_climatology(hourly, tmp_path):
    run = finish(
        Run(experiment(hourly.path, **SIX_HOURLY | {"climatology": {"annual": 1}}), tmp_path / "r")
    )
    climatology = ForecastModel.load(run.model).layout.scaling.climatology
    assert (climatology.annual, climatology.diurnal) == (1, 1)  # one of the day by default
    temperature = climatology.coefficients.reshape(5, 4, 5, 8)[:, 2]
    # cos and sin of the year, cos and sin of the day: 12 and 5 K were put in.
    np.testing.assert_allclose(temperature[1], 12, atol=0.5)
    np.testing.assert_allclose(temperature[3], 5, atol=0.2)
    np.testing.assert_allclose(temperature[4], 0, atol=0.2)
    store = open_forecasts(run.forecast_store)
    assert store["time"].values[1] == np.datetime64("2002-04-01T18")
    scores = xr.open_zarr(run.score_store, chunks=None, decode_timedelta=True, consolidated=False)
    rmse = scores["rmse"].sel(channel="temperature_850")
    assert (rmse.sel(system="forecast") < 0.1 * rmse.sel(system="climatology")).all()


def test_harmonics_of_the_day_can_be_left_out(hourly, tmp_path):
    parts = SIX_HOURLY | {"climatology": {"annual": 1, "diurnal": 0}}
    run = Run(experiment(hourly.path, **parts), tmp_path / "r")
    run.fit()
    assert ForecastModel.load(run.model).layout.scaling.climatology.coefficients.shape[0] == 3


@pytest.mark.slow
def test_calendar_inputs(hourly, tmp_path):
    """With a constant climatology, only the inputs contain the hour and the season."""
    plain = SIX_HOURLY | {"climatology": {"annual": 0, "diurnal": 0}}
    plain["state"] = {"modes": 5}
    told = plain | {"model": SIX_HOURLY["model"] | {"inputs": ["day_of_year", "hour"]}}
    errors = []
    for name, parts in (("plain", plain), ("told", told)):
        run = finish(Run(experiment(hourly.path, **parts), tmp_path / name))
        scores = xr.open_zarr(
            run.score_store, chunks=None, decode_timedelta=True, consolidated=False
        )
        errors.append(
            scores["rmse"].sel(channel="temperature_850", system=["forecast", "linear"]).values
        )
    model = ForecastModel.load(run.model)
    assert model.forcing.inputs == ("day_of_year", "hour")
    assert model.linear.outer.shape == (2, 5 + 1 + 4, 5)
    assert (errors[1] < 0.5 * errors[0]).all()
    # By hand, from midnight at the turn of the year on.
    history = np.random.default_rng(0).normal(size=(1, 1, 5))
    initial = np.array(["2001-12-31T18"], "datetime64[ns]")
    (found,), _ = next(model.linear_walk(history, initial, 1))
    features = np.concatenate([history[0, 0], [1.0], [1.0, 0.0, 1.0, 0.0]])
    np.testing.assert_allclose(found, features @ model.linear.outer[0], rtol=1e-12)


def test_times_off_the_hour_are_kept(tmp_path):
    weather = make_weather(tmp_path / "w.zarr", start="2001-01-01 00:30", times=700)
    run = Run(experiment(weather.path), tmp_path / "run")
    run.fit()
    run.forecast()
    store = open_forecasts(run.forecast_store)
    assert store["time"].values[0] == np.datetime64("2002-07-01T00:30")
    assert store["valid_time"].values[0, 0] == np.datetime64("2002-07-02T00:30")


def test_the_data_opened_are_those_of_the_store(run, weather):
    """The reference of these tests, made by hand, equals the data that the pipeline reads."""
    ds = open_source(run.experiment.data)
    assert ds["mean_sea_level_pressure"].equals(weather.ds["mean_sea_level_pressure"])


def test_sources_are_stated_without_what_says_nothing():
    origins = [
        {"title": "Nature run", "institution": "none", "source": "model 1", "comment": ""},
        {"title": "None", "source": " "},
        {"title": "ERA5", "institution": "ECMWF"},
    ]
    assert forecasting.describe_origins(origins) == "Nature run, model 1; ERA5, ECMWF"
    assert forecasting.describe_origins([{"institution": "none"}]) == ""
