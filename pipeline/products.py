"""The forecast store: zarr that the verification tools of this field read unchanged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from pipeline.errors import RunError
from pipeline.fields import Grid
from pipeline.storage import array_in, consolidate

Array = NDArray[Any]

# An int8 for each initial time, one chunk a batch: which of them are on disk. It exists only
# while the store is unfinished.
_WRITTEN = "written"


def create_forecast_store(
    path: Path,
    grid: Grid,
    initial: Array,
    leads: Array,
    described: dict[str, dict[str, Any]],
    attrs: dict[str, Any],
    batch: int,
) -> None:
    """Lay out an empty store: metadata and coordinates only.

    Parameters
    ----------
    path : Path
        Overwritten.
    grid : Grid
    initial : ndarray of datetime64, shape (times,)
    leads : ndarray of timedelta64, shape (leads,)
    described : dict
        Attributes of each variable.
    attrs : dict
        Global attributes.
    batch : int
        Initial times that are marked as written together.
    """
    levels = sorted({c.level for c in grid.channels if c.level is not None})
    coords: dict[str, Any] = {
        "time": ("time", initial, {"standard_name": "forecast_reference_time"}),
        "prediction_timedelta": (
            "prediction_timedelta",
            leads,
            {"standard_name": "forecast_period", "long_name": "time since the initial time"},
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
            initial[:, None] + leads[None, :],
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
        shard = (1, *shape[1:])
        # Where variables have different levels, the rest of a variable's are NaN.
        about = described[variable] | ({"levels": own} if own else {})
        empty = da.zeros(shape, dtype="float32", chunks=shard)  # never computed
        variables[variable] = (dims, empty, about)
        encoding[variable] = {
            "chunks": (1, 1, *(1 for _ in deep), *plane),
            "shards": shard,
            "dtype": "float32",
            "_FillValue": np.float32(np.nan),
        }
    encoding["time"] = {
        "dtype": "int64",
        "units": "hours since 1900-01-01",
        "chunks": (len(initial),),
    }
    encoding["valid_time"] = {"dtype": "int64", "units": "hours since 1900-01-01"}
    if _minutes(initial, leads):
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


def _minutes(initial: Array, leads: Array) -> bool:
    """Whether some time is not a whole hour."""
    hour = np.timedelta64(1, "h")
    return bool(
        ((initial - initial.astype("datetime64[h]")) != np.timedelta64(0)).any()
        or (leads % hour != np.timedelta64(0)).any()
    )


def write_forecasts(path: Path, grid: Grid, first: int, forecasts: Any) -> None:
    """Write successive initial times, each as one region that nothing else touches.

    Parameters
    ----------
    path : Path
    grid : Grid
    first : int
        Place of the first initial time on the store's time axis, a multiple of the batch.
    forecasts : iterable of ndarray, shape (leads, grid.size)
        One an initial time.
    """
    group = zarr.open_group(path, mode="r+", use_consolidated=False)
    levels = np.asarray(array_in(group, "level")[...]).tolist() if "level" in group else []
    count = 0
    for offset, forecast in enumerate(forecasts):
        fields = forecast.reshape(len(forecast), *grid.shape).astype(np.float32)
        for variable in dict.fromkeys(channel.variable for channel in grid.channels):
            own = [i for i, channel in enumerate(grid.channels) if channel.variable == variable]
            if grid.channels[own[0]].level is None:
                array_in(group, variable)[first + offset] = fields[:, own[0]]
                continue
            deep = np.full((len(fields), len(levels), *grid.shape[1:]), np.nan, dtype=np.float32)
            for index in own:
                deep[:, levels.index(grid.channels[index].level)] = fields[:, index]
            array_in(group, variable)[first + offset] = deep
        count += 1
    array_in(group, _WRITTEN)[first : first + count] = 1


def written(path: Path) -> Array | None:
    """Which initial times of an unfinished store are on disk; None if there is no such store."""
    if not (path / "zarr.json").exists():
        return None
    group = zarr.open_group(path, mode="r", use_consolidated=False)
    return np.asarray(array_in(group, _WRITTEN)[...]) > 0 if _WRITTEN in group else None


def finish_forecast_store(path: Path) -> None:
    """Say that the store is complete, and consolidate its metadata, once."""
    group = zarr.open_group(path, mode="r+", use_consolidated=False)
    if _WRITTEN in group:
        del group[_WRITTEN]
    group.attrs["complete"] = True
    consolidate(path)


def open_forecasts(path: Path) -> xr.Dataset:
    """Open a finished forecast store, lazily and without Dask.

    Raises
    ------
    RunError
        If there is none, or it is not finished.
    """
    if not (path / "zarr.json").exists():
        raise RunError(f"{path}: no forecasts there; run `gfrnn forecast` first")
    ds: xr.Dataset = xr.open_zarr(path, chunks=None, decode_timedelta=True, consolidated=False)
    if not ds.attrs.get("complete"):
        raise RunError(f"{path}: the forecasts are not finished; run `gfrnn forecast` again")
    return ds
