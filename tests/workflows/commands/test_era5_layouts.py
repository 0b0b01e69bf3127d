"""Run the ERA5 example experiments on small synthetic stores in the layouts of the real ones."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

from gfrnn.pipeline import Experiment, Run, load_experiment
from gfrnn.pipeline.config.experiment import to_tree
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn_testing.paths import ROOT

EXPERIMENTS = ROOT / "workflows" / "experiments"
LEVELS = np.array([500, 850, 1000])

# Name: unit as ECMWF spells it, mean, amplitude, whether on levels.
VARIABLES = {
    "geopotential": ("m**2 s**-2", 3e4, 900.0, True),
    "temperature": ("K", 270.0, 5.0, True),
    "mean_sea_level_pressure": ("Pa", 101300.0, 700.0, False),
    "2m_temperature": ("K", 285.0, 6.0, False),
}

# The part of the time axes that holds data.
START, STOP = "2001-02-01", "2001-04-16"
PERIODS = {
    "train": ["2001-02-01", "2001-03-18"],
    "validation": ["2001-03-19", "2001-03-31"],
    "test": ["2001-04-01", "2001-04-16"],
}


def weather(name: str, hours: np.ndarray, latitude: np.ndarray, longitude: np.ndarray) -> Any:
    """Return travelling waves with noise: shape (hours, [level], latitude, longitude)."""
    _, mean, amplitude, on_levels = VARIABLES[name]
    rng = np.random.default_rng(list(VARIABLES).index(name))
    signal = 0.2 * rng.standard_normal((len(hours), len(latitude), len(longitude)))
    for number, period in ((1, 130.0), (3, 70.0), (4, 41.0)):
        phase = np.deg2rad(number * longitude) - 2 * np.pi * hours[:, None] / period
        shape = np.cos(np.deg2rad(latitude)) * np.cos(number * np.deg2rad(latitude) / 2)
        signal += np.cos(phase)[:, None, :] * shape[:, None]
    signal += np.cos(2 * np.pi * hours / 24)[:, None, None]
    if on_levels:
        signal = signal[:, None] * np.array([1.0, 0.8, 0.6])[:, None, None]
    return (mean + amplitude * signal).astype("f4")


def write_arco(path: Path) -> Path:
    """Write a store like ARCO-ERA5 with hourly chunks, latitude from north, a padded time axis.

    Only the hours that the experiment is to read can be read: the chunks of all others, in the
    padding and between the 6-hourly times, hold bytes that no codec takes.
    """
    time = pd.date_range("2001-01-01", "2001-05-15 23:00", freq="h")
    latitude, longitude = np.arange(90.0, -90.1, -5.0), np.arange(0.0, 360.0, 5.0)
    inside = (time >= START) & (time < pd.Timestamp(STOP) + pd.Timedelta("1D"))
    kept = np.flatnonzero(inside & (time.hour % 6 == 0))
    spoilt = np.setdiff1d(np.arange(len(time)), kept)
    group = zarr.open_group(path, mode="w", zarr_format=2)
    group.attrs.update(valid_time_start=START, valid_time_stop=STOP)

    def coordinate(name: str, values: np.ndarray, units: str) -> None:
        # With zarr's own fill value, 0, the equator would read as missing.
        fill = np.nan if values.dtype.kind == "f" else None
        array = group.create_array(name, data=values, fill_value=fill)
        array.attrs.update(_ARRAY_DIMENSIONS=[name], units=units)

    first = (time[0] - pd.Timestamp("1900-01-01")) // pd.Timedelta("1h")
    coordinate("time", np.arange(first, first + len(time)), "hours since 1900-01-01")
    coordinate("level", LEVELS, "hPa")
    coordinate("latitude", latitude.astype("f4"), "degrees_north")
    coordinate("longitude", longitude.astype("f4"), "degrees_east")
    for name, (units, *_, on_levels) in VARIABLES.items():
        fields = weather(name, kept.astype(float), latitude, longitude)
        inner = fields.shape[1:]
        array = group.create_array(
            name, shape=(len(time), *inner), chunks=(1, *inner), dtype="f4", fill_value=np.nan
        )
        dims = ["time", *(["level"] if on_levels else []), "latitude", "longitude"]
        array.attrs.update(_ARRAY_DIMENSIONS=dims, units=units)
        for place, field in zip(kept, fields, strict=True):
            array[place] = field
        for place in spoilt:
            (path / name / ".".join(map(str, (place, *[0] * len(inner))))).write_bytes(b"padding")
    zarr.consolidate_metadata(path)
    return path


def write_weatherbench2(path: Path) -> Path:
    """Write a store like WeatherBench 2 with longitude before latitude, in zarr format 2."""
    time = pd.date_range(START, f"{STOP} 18:00", freq="6h")
    latitude, longitude = np.arange(-87.1875, 90.0, 5.625), np.arange(0.0, 360.0, 5.625)
    hours = np.arange(len(time)) * 6.0
    variables = {}
    for name, (units, *_, on_levels) in VARIABLES.items():
        dims = ("time", *(("level",) if on_levels else ()), "longitude", "latitude")
        fields = np.swapaxes(weather(name, hours, latitude, longitude), -1, -2)
        variables[name] = (dims, fields, {"units": units})
    coords = {"time": time, "level": LEVELS, "longitude": longitude, "latitude": latitude}
    ds = xr.Dataset(variables, coords)
    chunks = {name: (40, *ds[name].shape[1:]) for name in VARIABLES}
    ds.to_zarr(
        path,
        zarr_format=2,
        consolidated=True,
        encoding={name: {"chunks": sizes} for name, sizes in chunks.items()},
    )
    return path


LAYOUTS: dict[str, dict[str, Any]] = {
    "eof": {"layout": "eof", "modes": 8, "delays": 4},
    "local": {
        "layout": "local", "patch": [4, 4], "halo": [1, 1], "delays": 2, "static": ["latitude"],
    },
    "zonal": {"layout": "zonal", "wavenumbers": 4, "functions": 5, "delays": 2},
}  # fmt: skip


def small(name: str, store: Path, layout: str | None = None, **sections: Any) -> Experiment:
    """Return the example experiment on a small store: other path, periods and sizes.

    Another layout has few keys of the model; sections are merged into it key by key.
    """
    tree = to_tree(load_experiment(EXPERIMENTS / f"{name}.yaml"))
    tree["data"]["sources"][0]["path"] = str(store)
    if "geopotential" in (tree["data"]["variables"] or {}):
        tree["data"]["variables"]["geopotential"] = [500]
    tree["periods"] = PERIODS
    own = tree["state"]["layout"]
    tree["state"] = LAYOUTS[layout or own]
    if layout not in (None, own):
        leads = ["6h", "12h", "1d", "2d", "3d", "5d"]
        tree["model"] = {"noise": 0.05, "leads": leads}
        tree["search"] = {}
        tree["fit"].pop("average")
    if tree["state"]["layout"] != "zonal":
        tree["model"]["width"] = 40
    for section, keys in sections.items():
        tree[section] |= keys
    return Experiment.model_validate(tree)


def computed(experiment: Experiment, folder: Path) -> Run:
    run = Run(experiment, folder)
    run.fit()
    run.forecast()
    run.verify()
    return run


def check(run: Run, latitude: np.ndarray, longitude: np.ndarray) -> None:
    """Check that forecasts have canonical coordinates and every lead has finite scores."""
    with xr.open_zarr(run.forecast_store, chunks=None, decode_timedelta=True) as forecasts:
        assert set(forecasts.data_vars) == {*VARIABLES, "limited"}
        for name, (*_, on_levels) in VARIABLES.items():
            dims = ("time", "prediction_timedelta", "latitude", "longitude")
            expected = (*dims[:2], "level", *dims[2:]) if on_levels else dims
            assert forecasts[name].dims == expected
            assert forecasts[name].dtype == np.float32
        np.testing.assert_allclose(forecasts.latitude, latitude)
        np.testing.assert_allclose(forecasts.longitude, longitude)
        np.testing.assert_array_equal(forecasts.level, [500.0, 850.0])
        assert forecasts.level.attrs["units"] == "hPa"
        assert forecasts.geopotential.attrs["units"] == "m2 s-2"
        assert forecasts.time.attrs["standard_name"] == "forecast_reference_time"
        initial = pd.DatetimeIndex(forecasts.time.values)
        assert initial[0] == pd.Timestamp(PERIODS["test"][0])
        assert set(np.diff(initial)) == {np.timedelta64(12, "h")}
        leads = pd.TimedeltaIndex(forecasts.prediction_timedelta.values)
        assert list(leads) == list(pd.timedelta_range("6h", "10D", freq="6h"))
        assert np.isfinite(forecasts.geopotential.sel(level=500)).all()
        assert np.isfinite(forecasts["2m_temperature"]).all()
    with xr.open_zarr(run.score_store, chunks=None, decode_timedelta=True) as scores:
        assert (scores.pairs > 0).all()
        for metric in ("rmse", "bias", "acc"):
            assert np.isfinite(scores[metric]).all(), metric
        rmse = scores.rmse.isel(prediction_timedelta=0)
        assert (rmse.sel(system="forecast") < rmse.sel(system="climatology")).all()


@pytest.mark.slow
def test_arco_era5(tmp_path: Path) -> None:
    experiment = small("arco_era5", write_arco(tmp_path / "arco.zarr"))
    run = computed(experiment, tmp_path / "run")
    assert run.ds.time.values[0] == np.datetime64(START)
    assert run.ds.time.values[-1] == np.datetime64(f"{STOP}T18")
    assert any("padding" in note for note in run.ds.attrs["notes"])
    # The box crosses Greenwich; longitudes run from 0 all the same.
    check(run, np.arange(35.0, 71.0, 5.0), np.array([*range(0, 31, 5), 345.0, 350.0, 355.0]))


@pytest.mark.slow
def test_weatherbench2_era5(tmp_path: Path) -> None:
    experiment = small("weatherbench2_era5", write_weatherbench2(tmp_path / "wb2.zarr"))
    run = computed(experiment, tmp_path / "run")
    check(run, np.arange(-87.1875, 90.0, 5.625), np.arange(0.0, 360.0, 5.625))


@pytest.mark.slow
def test_arco_era5_on_patches(tmp_path: Path) -> None:
    experiment = small("arco_era5", write_arco(tmp_path / "arco.zarr"), "local")
    run = computed(experiment, tmp_path / "run")
    network = ForecastModel.load(run.model).linear
    assert (network.patches.periodic, network.patches.poles) == ((False, False), ("none", "none"))
    check(run, np.arange(35.0, 71.0, 5.0), np.array([*range(0, 31, 5), 345.0, 350.0, 355.0]))


@pytest.mark.exhaustive
def test_weatherbench2_era5_on_patches(tmp_path: Path) -> None:
    store = write_weatherbench2(tmp_path / "wb2.zarr")
    run = computed(small("weatherbench2_era5", store, "local"), tmp_path / "run")
    network = ForecastModel.load(run.model).linear
    assert network.patches.periodic == (False, True)
    assert network.patches.poles == ("between", "between")
    check(run, np.arange(-87.1875, 90.0, 5.625), np.arange(0.0, 360.0, 5.625))


def write_full_resolution(path: Path, hours: int) -> Path:
    """Write a quarter-degree store like ARCO-ERA5: one field, hourly chunks, times 1900 to 2050."""
    axis = pd.date_range("1900-01-01", "2050-12-31 23:00", freq="h")
    latitude, longitude = np.arange(90.0, -90.1, -0.25), np.arange(0.0, 360.0, 0.25)
    first = int(axis.get_loc(pd.Timestamp(START)))
    group = zarr.open_group(path, mode="w", zarr_format=2)
    group.attrs.update(valid_time_start=START, valid_time_stop=START)
    for name, values, units in (
        ("time", np.arange(len(axis)), "hours since 1900-01-01"),
        ("latitude", latitude.astype("f4"), "degrees_north"),
        ("longitude", longitude.astype("f4"), "degrees_east"),
    ):
        fill = np.nan if values.dtype.kind == "f" else None
        array = group.create_array(name, data=values, fill_value=fill)
        array.attrs.update(_ARRAY_DIMENSIONS=[name], units=units)
    inner = (len(latitude), len(longitude))
    array = group.create_array(
        "2m_temperature", shape=(len(axis), *inner), chunks=(1, *inner), dtype="f4",
        fill_value=np.nan,
    )  # fmt: skip
    array.attrs.update(_ARRAY_DIMENSIONS=["time", "latitude", "longitude"], units="K")
    fields = weather("2m_temperature", np.arange(hours) * 1.0, latitude, longitude)
    for hour, field in enumerate(fields):
        array[first + hour] = field
    zarr.consolidate_metadata(path)
    return path


def test_a_quarter_degree_globe_runs_on_patches_in_little_memory(tmp_path: Path) -> None:
    """A few hours of one field show that the whole job runs in little memory, not its skill."""
    store = write_full_resolution(tmp_path / "full.zarr", 8)
    tree = to_tree(small("arco_era5", store, "local"))
    tree["data"] |= {"variables": {"2m_temperature": None}, "region": None, "step": None}
    tree["periods"] = {
        "train": [f"{START}T00", f"{START}T02"],
        "validation": [f"{START}T03", f"{START}T04"],
        "test": [f"{START}T05", f"{START}T06"],
    }
    tree["climatology"] = {"annual": 0, "diurnal": 0}
    tree["model"] |= {"width": 5, "leads": [], "inputs": [], "precision": "float32"}
    tree["fit"] |= {"share": 0.05, "ridge": [1e-2], "widths": []}
    tree["forecast"] = {"horizon": "1h", "every": "1h", "batch": 1}
    tree["state"] |= {"patch": [12, 12], "halo": [1, 1], "delays": 1, "static": ["latitude"]}
    experiment = Experiment.model_validate(tree)
    run = computed(experiment, tmp_path / "run")
    network = ForecastModel.load(run.model).linear
    assert network.patches.counts == (61, 120)
    assert network.patches.poles == ("row", "row")
    with xr.open_zarr(run.forecast_store, chunks=None, decode_timedelta=True) as forecasts:
        assert forecasts["2m_temperature"].shape == (2, 1, 721, 1440)
        assert np.isfinite(forecasts["2m_temperature"]).all()
    with xr.open_zarr(run.score_store, chunks=None, decode_timedelta=True) as scores:
        assert scores["pairs"].item() == 2
        assert np.isfinite(scores["rmse"]).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "layout",
    [
        "eof",
        pytest.param("local", marks=pytest.mark.exhaustive),
        pytest.param("zonal", marks=pytest.mark.exhaustive),
    ],
)
def test_a_store_chunked_by_area_is_read_too(tmp_path: Path, layout: str) -> None:
    """A chunk contains all times of a few cells, so each leaf decodes the whole store."""
    plain, short = write_weatherbench2(tmp_path / "wb2.zarr"), {"horizon": "1d", "every": "2d"}
    tall = tmp_path / "tall.zarr"
    with xr.open_zarr(plain, chunks=None) as ds:
        ds = ds.load().drop_encoding()
        sizes = {"time": ds.sizes["time"], "level": 3, "longitude": 16, "latitude": 8}
        chunks = {name: tuple(sizes[str(d)] for d in ds[name].dims) for name in VARIABLES}
        ds.to_zarr(tall, zarr_format=2, encoding={n: {"chunks": c} for n, c in chunks.items()})
    runs = []
    for store in (plain, tall):
        sections: dict[str, Any] = {"forecast": short, "model": {"width": 5, "leads": []}}
        if layout == "local":
            sections["state"] = {"patch": [8, 8], "delays": 1}
        if layout == "zonal":
            del sections["model"]
        experiment = small("weatherbench2_era5", store, layout, **sections)
        runs.append(computed(experiment, tmp_path / store.stem))
    with (
        xr.open_zarr(runs[0].score_store, chunks=None, decode_timedelta=True) as expected,
        xr.open_zarr(runs[1].score_store, chunks=None, decode_timedelta=True) as found,
    ):
        # Leaves are cut along chunks of time, so that sums are rounded in another order.
        xr.testing.assert_allclose(found.rmse, expected.rmse, rtol=1e-3)


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_example_experiments_load(path: Path) -> None:
    experiment = load_experiment(path)
    assert experiment.name == path.stem
    for earlier, later in itertools.pairwise(("train", "validation", "test")):
        assert getattr(experiment.periods, earlier).end < getattr(experiment.periods, later).start
