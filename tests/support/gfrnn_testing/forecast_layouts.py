"""Small truth, forecasts of it with known errors, and stores of the layouts that models write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
import zarr

LATITUDE = np.array([30.0, 45.0, 60.0])
LONGITUDE = np.array([0.0, 90.0, 180.0, 270.0])
LEVELS = [500.0, 850.0]
LEADS = np.array([6, 12, 24], dtype="timedelta64[h]").astype("timedelta64[ns]")
UNITS = {"geopotential": "m2 s-2", "2m_temperature": "K"}
CHANNELS = ["geopotential_500", "geopotential_850", "2m_temperature"]


def make_truth(days: int = 420, start: str = "2019-01-01", seed: int = 0) -> xr.Dataset:
    """Return 6-hourly fields with a cycle of the year: canonical names and order."""
    rng = np.random.default_rng(seed)
    time = pd.date_range(start, periods=4 * days, freq="6h")
    shape = (len(time), len(LATITUDE), len(LONGITUDE))
    walk = np.zeros((len(time), 3, *shape[1:]))
    for now in range(1, len(time)):
        walk[now] = 0.9 * walk[now - 1] + rng.normal(size=walk.shape[1:])
    year = np.cos(2 * np.pi * np.asarray(time.day_of_year) / 365)[:, None, None]
    deep = np.stack([5.4e4 + 300 * walk[:, 0], 1.4e4 + 200 * walk[:, 1]], axis=1)
    return xr.Dataset(
        {
            "geopotential": (
                ("time", "level", "latitude", "longitude"),
                (deep + 500 * year[:, None]).astype("f4"),
                {"units": UNITS["geopotential"]},
            ),
            "2m_temperature": (
                ("time", "latitude", "longitude"),
                (280 + 3 * walk[:, 2] + 8 * year).astype("f4"),
                {"units": UNITS["2m_temperature"]},
            ),
        },
        {
            "time": time,
            "level": ("level", LEVELS, {"units": "hPa"}),
            "latitude": ("latitude", LATITUDE, {"units": "degrees_north"}),
            "longitude": ("longitude", LONGITUDE, {"units": "degrees_east"}),
        },
    )


def make_forecasts(
    truth: xr.Dataset,
    starts: pd.DatetimeIndex,
    members: int | None = None,
    error: float = 1.0,
    seed: int = 1,
) -> xr.Dataset:
    """Return forecasts whose errors are normal and grow with the lead.

    Dimensions are (time, [number], prediction_timedelta, [level], latitude, longitude).
    """
    rng = np.random.default_rng(seed)
    valid = starts.to_numpy()[:, None] + LEADS
    scale = {"geopotential": 100.0 * error, "2m_temperature": 1.0 * error}
    growth = np.sqrt(np.arange(1, len(LEADS) + 1))
    number = () if members is None else ("number",)
    variables: dict[str, Any] = {}
    for name, array in truth.data_vars.items():
        real = array.reindex(time=valid.reshape(-1)).values
        real = real.reshape(*valid.shape, *real.shape[1:])
        if members is not None:
            real = np.repeat(real[:, None], members, axis=1)
        along = growth.reshape(-1, *[1] * (array.ndim - 1))
        noise = rng.normal(size=real.shape) * scale[str(name)] * along
        dims = ("time", *number, "prediction_timedelta", *array.dims[1:])
        variables[str(name)] = (dims, (real + noise).astype("f4"), dict(array.attrs))
    coords = {name: truth[name] for name in ("level", "latitude", "longitude")}
    own = {} if members is None else {"number": np.arange(members)}
    return xr.Dataset(variables, {"time": starts, "prediction_timedelta": LEADS, **own, **coords})


def _zarr(ds: xr.Dataset, path: Path, **options: Any) -> Path:
    ds.to_zarr(path, mode="w", consolidated=False, **options)
    return path


def write_weatherbench2(ds: xr.Dataset, path: Path) -> Path:
    """Write the layout of WeatherBench 2: longitude before latitude, which descends."""
    ds = ds.isel(latitude=slice(None, None, -1))
    order = [dim for dim in ds.dims if dim not in ("latitude", "longitude")]
    first = ["time", *[dim for dim in ("number",) if dim in ds.dims], "prediction_timedelta"]
    rest = [dim for dim in order if dim not in first]
    return _zarr(ds.transpose(*first, *rest, "longitude", "latitude"), path, zarr_format=2)


def write_weatherbench_x(ds: xr.Dataset, path: Path) -> Path:
    """Write the layout of WeatherBench-X: init_time and lead_time."""
    names = {"time": "init_time", "prediction_timedelta": "lead_time"}
    if "number" in ds.dims:
        names["number"] = "realization"
    ds = ds.rename(names)
    valid = ds["init_time"] + ds["lead_time"]
    return _zarr(ds.assign_coords(valid_time=valid), path)


def write_earth2studio(ds: xr.Dataset, path: Path) -> Path:
    """Write the layout of Earth2Studio: one array a channel, no units, longitudes from 0."""
    arrays = {"t2m": ds["2m_temperature"]} | {
        f"z{level:g}": ds["geopotential"].sel(level=level, drop=True) for level in LEVELS
    }
    names = {"prediction_timedelta": "lead_time", "latitude": "lat", "longitude": "lon"}
    if "number" in ds.dims:
        names["number"] = "ensemble"
        arrays = {name: array.transpose("number", ...) for name, array in arrays.items()}
    flipped = xr.Dataset(arrays).isel(latitude=slice(None, None, -1)).rename(names)
    flipped = flipped.drop_vars("level", errors="ignore")
    group = zarr.create_group(path, overwrite=True)
    for name, array in flipped.variables.items():
        # Times and leads have the data types of numpy, not those of CF.
        group.create_array(str(name), data=array.values, dimension_names=list(array.dims))
    return path


def write_cfgrib(ds: xr.Dataset, path: Path) -> Path:
    """Write netCDF as cfgrib converts one forecast: time is a scalar, names are those of GRIB."""
    names = {
        "geopotential": "z", "2m_temperature": "t2m", "prediction_timedelta": "step",
        "level": "isobaricInhPa",
    }  # fmt: skip
    ds = ds.isel(latitude=slice(None, None, -1), level=slice(None, None, -1)).rename(names)
    valid = ds["time"] + ds["step"]
    ds = ds.assign_coords(valid_time=valid, heightAboveGround=2.0, surface=0.0)
    ds.to_netcdf(path)
    return path


def write_anemoi(ds: xr.Dataset, path: Path) -> Path:
    """Write netCDF as anemoi-inference does for one forecast: flattened cells, times only."""
    arrays = {"2t": ds["2m_temperature"]} | {
        f"z_{level:g}": ds["geopotential"].sel(level=level, drop=True) for level in LEVELS
    }
    initial = ds["time"].values
    rows, columns = np.meshgrid(LATITUDE[::-1], LONGITUDE, indexing="ij")
    variables = {
        name: (
            ("time", "values"),
            array.isel(latitude=slice(None, None, -1)).values.reshape(len(LEADS), -1),
        )
        for name, array in arrays.items()
    }
    coords = {
        "latitude": ("values", rows.reshape(-1)),
        "longitude": ("values", columns.reshape(-1)),
    }
    flat = xr.Dataset({**variables, **coords}, {"time": initial + LEADS})
    flat.to_netcdf(path, encoding={"time": {"units": "seconds since 1970-01-01", "dtype": "f8"}})
    return path


def write_own(ds: xr.Dataset, path: Path) -> Path:
    """Write the layout of the forecast store of this project."""
    ds = ds.assign_attrs(complete=True)
    ds["time"].attrs["standard_name"] = "forecast_reference_time"
    ds["prediction_timedelta"].attrs["standard_name"] = "forecast_period"
    if "number" in ds.dims:
        ds = ds.transpose("time", "number", ...)
    return _zarr(ds, path, zarr_format=3)


LAYOUTS: dict[str, Callable[[xr.Dataset, Path], Path]] = {
    "own": write_own,
    "weatherbench2": write_weatherbench2,
    "weatherbench_x": write_weatherbench_x,
    "earth2studio": write_earth2studio,
}
"""Stores of several initial times."""
