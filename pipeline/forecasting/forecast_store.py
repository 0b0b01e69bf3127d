"""Create, finish and open the forecast store: zarr with initial time and lead as dimensions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from gfrnn.pipeline.config.durations import Duration
from gfrnn.pipeline.data.grid import Grid
from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.forecasting.divergence import DIVERGENCE, STAYED, divergence_text
from gfrnn.pipeline.forecasting.forecast_chunks import chunks_of
from gfrnn.pipeline.forecasting.store_sums import (
    COMPLETE,
    SUMS,
    check_written,
    naming_damage,
    open_store,
    store_sums,
)
from gfrnn.pipeline.storage import array_in, consolidate, remove_partial_files

Array = NDArray[Any]

WRITTEN = "written"
"""Name of an array of int8 per initial time, one chunk per batch: 0 if the forecast is not on disk
yet, 1 if it is, 2 if it is and has diverged. It exists only while the store is unfinished."""

DEPARTED = "departed"
"""Name of an array (initial time, lead) of places, see
:class:`gfrnn.pipeline.forecasting.divergence.DecodedLead`. It exists as long as :data:`WRITTEN`."""

NUMBER = "number"
"""Name of the dimension of the members of an ensemble."""

BOUNDS = "valid_time_bounds"
"""Name of the coordinate of beginning and end of valid times, where values are of a whole step."""

LIMITED = "limited"
"""Name of the variable (initial time, lead) of the share of values that a bound has limited."""

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
    members: int | None = None,
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
    members : int, optional
        Number of members of an ensemble; by default there is no such dimension.
    """
    levels = sorted({c.level for c in grid.channels if c.level is not None})
    numbers = np.arange(1, horizon + 1)
    leads = step.length * numbers
    valid = step.after(initial[:, None], numbers)
    coords: dict[str, Any] = {
        # The axis T of the fields is valid_time; a second one would be ambiguous.
        "time": (
            "time",
            initial,
            {"standard_name": "forecast_reference_time", "long_name": "initial time"},
        ),
        "prediction_timedelta": encode_leads(
            leads, standard_name="forecast_period", long_name="time since the initial time"
        ),
        "latitude": (
            "latitude",
            grid.latitude,
            {"standard_name": "latitude", "units": "degrees_north", "axis": "Y"},
        ),
        "longitude": (
            "longitude",
            grid.longitude,
            {"standard_name": "longitude", "units": "degrees_east", "axis": "X"},
        ),
        "valid_time": (
            ("time", "prediction_timedelta"),
            valid,
            {"standard_name": "time", "long_name": "time that the forecast is for"},
        ),
    }
    if any("cell_methods" in each for each in described.values()):
        coords["valid_time"][2]["bounds"] = BOUNDS
        coords[BOUNDS] = (("time", "prediction_timedelta", "bounds"), step.bounds(valid))
    if members is not None:
        coords[NUMBER] = (
            NUMBER,
            np.arange(members),
            {"standard_name": "realization", "long_name": "member of the ensemble", "units": "1"},
        )
    if levels:
        coords["level"] = (
            "level",
            np.asarray(levels),
            {"standard_name": "air_pressure", "units": "hPa", "positive": "down", "axis": "Z"},
        )
    # The compression of zarr's default, with a checksum that every reader compares.
    compressors = [ZstdCodec(checksum=True)]
    variables, encoding = {}, {}
    plane = (len(grid.latitude), len(grid.longitude))
    for variable in dict.fromkeys(channel.variable for channel in grid.channels):
        own = [c.level for c in grid.channels if c.variable == variable and c.level is not None]
        deep = (len(levels),) if own else ()
        many = () if members is None else (members,)
        dims = (
            "time",
            *((NUMBER,) if many else ()),
            "prediction_timedelta",
            *(("level",) if own else ()),
            "latitude",
            "longitude",
        )
        shape = (len(initial), *many, len(leads), *deep, *plane)
        own_chunks = chunks_of(grid, variable, len(leads), members)
        chunk, shard = (
            (1, *(each[0] for _ in many), each[1], *(each[2] for _ in deep), *plane)
            for each in (
                (own_chunks.members, own_chunks.leads, own_chunks.levels),
                (own_chunks.shard_members, own_chunks.shard_leads, own_chunks.shard_levels),
            )
        )
        # If variables have different levels, a variable is NaN at the levels that it lacks.
        about = described[variable] | ({"levels": own} if own else {})
        empty = da.zeros(shape, dtype="float32", chunks=shape)  # never computed
        variables[variable] = (dims, empty, about)
        encoding[variable] = {
            "compressors": compressors,
            "chunks": chunk,
            "shards": shard if own_chunks.sharded else None,
            "dtype": "float32",
            "_FillValue": np.float32(np.nan),
            "fill_value": np.float32(np.nan),  # of chunks that are not written
        }
    variables[LIMITED] = (
        ("time", "prediction_timedelta"),
        da.zeros((len(initial), len(leads)), dtype="float32", chunks=(1, len(leads))),
        {
            "long_name": "share of values that the bound of rollouts has limited at the step",
            "units": "1",
        },
    )
    # Chunks of one initial time, like those of the fields: xarray writes some initial times again
    # in the chunks of the store only if none of them is cut.
    encoding[LIMITED] = {
        "compressors": compressors,
        "chunks": (1, len(leads)),
        "dtype": "float32",
        "_FillValue": np.float32(np.nan),
        "fill_value": np.float32(np.nan),
    }
    encoding["time"] = {
        "dtype": "int64",
        "units": "hours since 1900-01-01",
        "chunks": (len(initial),),
    }
    encoding["valid_time"] = {
        "dtype": "int64",
        "units": "hours since 1900-01-01",
        "chunks": valid.shape,
    }
    if _minutes(initial) or _minutes(valid):
        for name in ("time", "valid_time"):
            encoding[name]["units"] = "minutes since 1900-01-01"
    if BOUNDS in coords:
        encoding[BOUNDS] = encoding["valid_time"] | {"chunks": (*valid.shape, 2)}
    for name in coords:  # CF allows no missing values there
        encoding.setdefault(name, {})["_FillValue"] = None
    # An integer, as netCDF has no booleans: what is read may be written as netCDF as it is.
    ds = xr.Dataset(variables, coords, {"Conventions": "CF-1.11", **attrs, COMPLETE: 0})
    ds.to_zarr(path, mode="w", compute=False, encoding=encoding, zarr_format=3, consolidated=False)
    group = zarr.open_group(path, mode="r+")
    _create_marks(group, np.zeros(len(initial), dtype=np.int8), batch)
    _create_departures(group, np.full((len(initial), horizon), STAYED), batch)


def _create_marks(group: zarr.Group, marks: Array, batch: int) -> None:
    """Store the marks of written initial times; a task of ``batch`` of them writes one chunk."""
    array = group.create_array(
        WRITTEN,
        shape=marks.shape,
        chunks=(batch,),
        dtype="int8",
        fill_value=0,
        dimension_names=("time",),  # so that xarray opens an unfinished store too
        overwrite=True,
    )
    array[...] = marks


def _create_departures(group: zarr.Group, places: Array, batch: int) -> None:
    """Store the places at which forecasts diverged, in chunks of ``batch`` of them."""
    array = group.create_array(
        DEPARTED,
        shape=places.shape,
        chunks=(batch, places.shape[1]),
        dtype="int64",
        fill_value=STAYED,
        dimension_names=("time", "prediction_timedelta"),
        overwrite=True,
    )
    array[...] = places


def mark_batches(path: Path, batch: int) -> None:
    """Let a store be continued in batches of another size, if it is not finished."""
    group = zarr.open_group(path, mode="r+", use_consolidated=False)
    if WRITTEN not in group:  # all are written
        return
    marks = array_in(group, WRITTEN)
    if marks.chunks != (batch,) or DEPARTED not in group:
        places = np.full(array_in(group, LIMITED).shape, STAYED)
        if DEPARTED in group:  # stores of earlier versions have none
            places = np.asarray(array_in(group, DEPARTED)[...])
        _create_departures(group, places, batch)
        _create_marks(group, np.asarray(marks[...]), batch)


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


def _minutes(time: Array) -> bool:
    """Check whether any time is not a whole hour."""
    return bool((time != time.astype("datetime64[h]")).any())


def written(path: Path) -> Array | None:
    """Return which initial times of a store are on disk.

    Returns
    -------
    ndarray of bool, shape (initial times,), or None
        None without a store, or where a process was killed that was creating it.

    Raises
    ------
    RunError
        If this program cannot have written the store.
    """
    if not (path / "zarr.json").exists():
        return None
    check_written(path, in_chunks=True)
    with naming_damage(path, "it cannot be opened"):
        group = zarr.open_group(path, mode="r", use_consolidated=False)
        if WRITTEN in group:
            return np.asarray(array_in(group, WRITTEN)[...]) > 0
        return np.ones(array_in(group, "time").shape, bool) if group.attrs.get(COMPLETE) else None


def is_unfinished(path: Path) -> bool:
    """Return whether a store holds forecasts and was not finished."""
    there = written(path)
    if there is None or not there.any():
        return False
    return WRITTEN in zarr.open_group(path, mode="r", use_consolidated=False)


def finish_forecast_store(path: Path, grid: Grid) -> None:
    """Mark the store as complete, and consolidate its metadata, once.

    The attribute ``lost_forecasts`` counts the forecasts that diverged; they are NaN from that
    lead on, and the attribute ``divergence`` says from when, at which lead and where. At any
    moment, :func:`written` tells that all forecasts are there: a process that is killed here leaves
    none to be made anew.
    """
    group = zarr.open_group(path, mode="r+", use_consolidated=False)
    if WRITTEN in group:
        remove_partial_files(path)  # of workers that were killed; the sums name all files
        states = np.asarray(array_in(group, WRITTEN)[...])
        lost = int((states == 2).sum())
        attrs: dict[str, Any] = {"lost_forecasts": lost}
        if lost and DEPARTED in group:
            departed = np.asarray(array_in(group, DEPARTED)[...])
            with xr.open_zarr(path, chunks=None, decode_timedelta=True, consolidated=False) as ds:
                times = ds["time"].values, ds["valid_time"].values
            attrs[DIVERGENCE] = divergence_text(*times, departed, grid)
        group.attrs.update(attrs)
        sums = store_sums(path)
        for name in (WRITTEN, DEPARTED):
            sums.pop(name, None)
        group.attrs.update({SUMS: json.dumps(sums), COMPLETE: 1})
        if DEPARTED in group:
            del group[DEPARTED]
        del group[WRITTEN]
    consolidate(path)


def open_forecasts(path: Path) -> xr.Dataset:
    """Open a finished forecast store, lazily and without Dask.

    Raises
    ------
    RunError
        If the store does not exist or is not finished, or this program cannot have written it.
    """
    if not (path / "zarr.json").exists():
        raise RunError(f"{path}: no forecasts there; run `gfrnn forecast` first")
    check_written(path, in_chunks=True)
    ds = open_store(path)
    if not ds.attrs.get(COMPLETE):
        raise RunError(f"{path}: the forecasts are not finished; run `gfrnn forecast` again")
    return ds
