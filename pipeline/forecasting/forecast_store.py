"""Write and read the forecast store: zarr with initial time and lead as dimensions."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from gfrnn.pipeline.config.durations import Duration
from gfrnn.pipeline.data.grid import Grid
from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.storage import array_in, consolidate

Array = NDArray[Any]

# Array of int8 per initial time, one chunk per batch: 0 if the forecast is not on disk yet, 1 if it
# is, 2 if it is and has diverged. The array exists only while the store is unfinished.
_WRITTEN = "written"

LIMITED = "limited"
"""Name of the variable (initial time, lead) of the share of values that a bound has limited."""

# Largest shard, in bytes. A variable of a forecast that is larger has one shard per lead, so that a
# task need not keep all leads in memory until the shard is complete.
_SHARD_BYTES = 2**23

# CF units of leads.
_UNITS = {
    "days": np.timedelta64(1, "D"),
    "hours": np.timedelta64(1, "h"),
    "minutes": np.timedelta64(1, "m"),
    "seconds": np.timedelta64(1, "s"),
}


def create_forecast_store(
    path: Path,
    grid: Grid,
    initial: Array,
    step: Duration,
    horizon: int,
    described: dict[str, dict[str, Any]],
    attrs: dict[str, Any],
    batch: int,
) -> None:
    """Create an empty store with metadata and coordinates only.

    Parameters
    ----------
    path : Path
        Path of the store; an existing one is overwritten.
    grid : Grid
    initial : ndarray of datetime64, shape (times,)
    step : Duration
        Time from one lead to the next, the first of which is one step.
    horizon : int
        Number of leads.
    described : dict
        Attributes of each variable.
    attrs : dict
        Global attributes.
    batch : int
        Number of initial times that are marked as written together.
    """
    levels = sorted({c.level for c in grid.channels if c.level is not None})
    numbers = np.arange(1, horizon + 1)
    leads = step.length * numbers
    valid = step.after(initial[:, None], numbers)
    coords: dict[str, Any] = {
        "time": ("time", initial, {"standard_name": "forecast_reference_time"}),
        "prediction_timedelta": encode_leads(
            leads, standard_name="forecast_period", long_name="time since the initial time"
        ),
        "latitude": (
            "latitude",
            grid.latitude,
            {"standard_name": "latitude", "units": "degrees_north"},
        ),
        "longitude": (
            "longitude",
            grid.longitude,
            {"standard_name": "longitude", "units": "degrees_east"},
        ),
        "valid_time": (
            ("time", "prediction_timedelta"),
            valid,
            {"standard_name": "time", "long_name": "time that the forecast is for"},
        ),
    }
    if levels:
        coords["level"] = (
            "level",
            np.asarray(levels),
            {"standard_name": "air_pressure", "units": "hPa", "positive": "down"},
        )
    variables, encoding = {}, {}
    plane = (len(grid.latitude), len(grid.longitude))
    for variable in dict.fromkeys(channel.variable for channel in grid.channels):
        own = [c.level for c in grid.channels if c.variable == variable and c.level is not None]
        deep = (len(levels),) if own else ()
        dims = (
            "time",
            "prediction_timedelta",
            *(("level",) if own else ()),
            "latitude",
            "longitude",
        )
        shape = (len(initial), len(leads), *deep, *plane)
        whole = _bytes_of_all(grid, variable, len(leads)) <= _SHARD_BYTES
        shard = (1, *shape[1:]) if whole else (1, 1, *shape[2:])
        # If variables have different levels, a variable is NaN at the levels that it lacks.
        about = described[variable] | ({"levels": own} if own else {})
        empty = da.zeros(shape, dtype="float32", chunks=shard)  # never computed
        variables[variable] = (dims, empty, about)
        encoding[variable] = {
            "chunks": (1, 1, *(1 for _ in deep), *plane),
            "shards": shard,
            "dtype": "float32",
            "_FillValue": np.float32(np.nan),
            "fill_value": np.float32(np.nan),  # of chunks that are not written
        }
    variables[LIMITED] = (
        ("time", "prediction_timedelta"),
        da.zeros((len(initial), len(leads)), dtype="float32", chunks=(batch, len(leads))),
        {
            "long_name": "share of values that the bound of rollouts has limited at the step",
            "units": "1",
        },
    )
    encoding[LIMITED] = {
        "chunks": (batch, len(leads)),
        "dtype": "float32",
        "_FillValue": np.float32(np.nan),
        "fill_value": np.float32(np.nan),
    }
    encoding["time"] = {
        "dtype": "int64",
        "units": "hours since 1900-01-01",
        "chunks": (len(initial),),
    }
    encoding["valid_time"] = {"dtype": "int64", "units": "hours since 1900-01-01"}
    if _minutes(initial) or _minutes(valid):
        for name in ("time", "valid_time"):
            encoding[name]["units"] = "minutes since 1900-01-01"
    ds = xr.Dataset(variables, coords, {"Conventions": "CF-1.11", **attrs, "complete": False})
    ds.to_zarr(path, mode="w", compute=False, encoding=encoding, zarr_format=3, consolidated=False)
    group = zarr.open_group(path, mode="r+")
    group.create_array(
        _WRITTEN,
        shape=(len(initial),),
        chunks=(batch,),
        dtype="int8",
        fill_value=0,
        dimension_names=("time",),  # so that xarray opens an unfinished store too
    )


def encode_leads(leads: Array, **attrs: str) -> xr.Variable:
    """Return leads as integers in the longest unit that all of them are whole multiples of.

    Versions of xarray encode timedelta64 in different units, so none is left to encode them. Months
    differ in length, so leads in months stay integers when a store is opened.

    Parameters
    ----------
    leads : ndarray, shape (leads,)
        Whole seconds as timedelta64, or numbers of calendar months, as timedelta64[M] or as
        integers.
    **attrs
        Attributes of the variable.
    """
    if leads.dtype.kind == "i" or leads.dtype == "timedelta64[M]":
        described = attrs | {"units": "months"}
        return xr.Variable("prediction_timedelta", leads.astype(np.int64), described)
    name, unit = next((name, unit) for name, unit in _UNITS.items() if not (leads % unit).any())
    described = attrs | {"dtype": "timedelta64[ns]", "units": name}
    numbers = (leads // unit).astype(np.int64)
    return xr.Variable("prediction_timedelta", numbers, described)


def kept_bytes(grid: Grid, leads: int) -> int:
    """Return the bytes of one forecast that are held in memory until all its leads are computed."""
    variables = {channel.variable for channel in grid.channels}
    sizes = [_bytes_of_all(grid, variable, leads) for variable in variables]
    kept = [size for size in sizes if size <= _SHARD_BYTES]
    return sum(kept) + max(kept, default=0)  # one variable's leads are put together at a time


def _bytes_of_all(grid: Grid, variable: str, leads: int) -> int:
    """Return the bytes of all leads of one variable of a forecast, as stored."""
    levels = {c.level for c in grid.channels if c.level is not None}
    deep = any(c.variable == variable and c.level is not None for c in grid.channels)
    return 4 * leads * (len(levels) if deep else 1) * grid.shape[1] * grid.shape[2]


def _minutes(time: Array) -> bool:
    """Check whether any time is not a whole hour."""
    return bool((time != time.astype("datetime64[h]")).any())


def write_forecasts(
    path: Path, grid: Grid, first: int, leads: Iterable[tuple[Array, Array]]
) -> None:
    """Write successive initial times, each into regions that no other task writes.

    Variables with one shard per lead are written lead by lead. For variables with one shard per
    forecast, all leads are held in memory (as float32) until the last one is computed.

    Parameters
    ----------
    path : Path
    grid : Grid
    first : int
        Index of the first initial time on the store's time axis, a multiple of the batch.
    leads : iterable of (ndarray, ndarray), shapes (initial times, grid.size), (initial times,)
        Fields of each lead, and the share of values that the bound of rollouts has limited.
    """
    group = zarr.open_group(path, mode="r+", use_consolidated=False)
    levels = np.asarray(array_in(group, "level")[...]).tolist() if "level" in group else []
    places: dict[str, list[int]] = {}
    for index, channel in enumerate(grid.channels):
        places.setdefault(channel.variable, []).append(index)
    kept: dict[str, list[Array]] = {}
    count, lost = 0, np.zeros(1, dtype=bool)
    masked = 0 if grid.mask is None else int(grid.mask.sum())
    shares: list[Array] = []
    for lead, (values, limited) in enumerate(leads):
        shares.append(limited)
        fields = values.reshape(-1, *grid.shape)
        count = len(fields)
        lost = lost | (np.isnan(values).sum(axis=1) > masked)
        for variable, own in places.items():
            planes = _with_levels(fields[:, own], [grid.channels[i].level for i in own], levels)
            array = array_in(group, variable)
            if (array.shards or array.chunks)[1] == 1:
                array[first : first + count, lead] = planes
            else:
                kept.setdefault(variable, []).append(planes)
    for variable, planes_of_leads in kept.items():
        whole = np.stack(planes_of_leads, axis=1)
        for offset in range(count):
            array_in(group, variable)[first + offset] = whole[offset]
    array_in(group, LIMITED)[first : first + count] = np.stack(shares, axis=1)
    array_in(group, _WRITTEN)[first : first + count] = np.where(lost, 2, 1)


def _with_levels(planes: Array, own: list[float | None], levels: list[float]) -> Array:
    """Return a variable as it is stored: (times, [levels,] latitudes, longitudes)."""
    if own[0] is None:
        return np.asarray(planes[:, 0], dtype=np.float32)
    deep = np.full((len(planes), len(levels), *planes.shape[2:]), np.nan, dtype=np.float32)
    deep[:, [levels.index(level) for level in own if level is not None]] = planes
    return deep


def written(path: Path) -> Array | None:
    """Return which initial times of an unfinished store are on disk; None without such a store."""
    if not (path / "zarr.json").exists():
        return None
    group = zarr.open_group(path, mode="r", use_consolidated=False)
    return np.asarray(array_in(group, _WRITTEN)[...]) > 0 if _WRITTEN in group else None


def finish_forecast_store(path: Path) -> None:
    """Mark the store as complete, and consolidate its metadata, once.

    The attribute ``lost_forecasts`` counts the forecasts that diverged; they are NaN from that
    lead on.
    """
    group = zarr.open_group(path, mode="r+", use_consolidated=False)
    if _WRITTEN in group:
        states = np.asarray(array_in(group, _WRITTEN)[...])
        group.attrs["lost_forecasts"] = int((states == 2).sum())
        del group[_WRITTEN]
    group.attrs["complete"] = True
    consolidate(path)


def open_forecasts(path: Path) -> xr.Dataset:
    """Open a finished forecast store, lazily and without Dask.

    Raises
    ------
    RunError
        If the store does not exist or is not finished.
    """
    if not (path / "zarr.json").exists():
        raise RunError(f"{path}: no forecasts there; run `gfrnn forecast` first")
    ds: xr.Dataset = xr.open_zarr(path, chunks=None, decode_timedelta=True, consolidated=False)
    if not ds.attrs.get("complete"):
        raise RunError(f"{path}: the forecasts are not finished; run `gfrnn forecast` again")
    return ds
