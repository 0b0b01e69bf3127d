"""Create and read the store of statistics: values of each pair of initial time and lead.

Metrics of any season or hour, and tests of significance, follow from these values without reading
forecasts again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.forecasting.store_sums import (
    SUMS,
    add_sums,
    check_sums,
    check_written,
    naming_damage,
    open_store,
)
from gfrnn.pipeline.storage import array_in, consolidate

Array = NDArray[Any]

WRITTEN = "written"
"""Name of an array of int8 per initial time: 1 if its statistics are in the store. It exists only
while the store is unfinished."""

_COORDINATES = ("valid_time",)  # of each pair, beside its statistics

_REMEDY = (
    "restore it from a copy, or remove it and run `gfrnn verify` again, or `gfrnn forecast` where "
    "no fields are kept (forecast.store: false)"
)


def create_statistics_store(
    path: Path, coords: xr.Dataset, variables: Mapping[str, Sequence[str]], batch: int, key: str
) -> None:
    """Create a store without statistics; an existing one is overwritten.

    Parameters
    ----------
    path : Path
    coords : xarray.Dataset
        Coordinates of the store, ``time`` among them, without variables.
    variables : mapping
        Names of the statistics and their dimensions.
    batch : int
        Number of initial times in a chunk, which one task writes.
    key : str
        Key of everything that decides the statistics.
    """
    coords.assign_attrs(key=key).to_zarr(path, mode="w", zarr_format=3, consolidated=False)
    group = zarr.open_group(path, mode="r+", use_consolidated=False)
    for name, dims in {**variables, WRITTEN: ("time",)}.items():
        _create(group, name, [coords.sizes[dim] for dim in dims], dims, batch)


def _create(
    group: zarr.Group, name: str, shape: Sequence[int], dims: Sequence[str], batch: int
) -> zarr.Array[Any]:
    """Create the array of a statistic, or of marks, in chunks of ``batch`` initial times."""
    return group.create_array(
        name,
        shape=tuple(shape),
        chunks=tuple(
            min(batch, size) if dim == "time" else size
            for dim, size in zip(dims, shape, strict=True)
        ),
        dtype="int8" if name == WRITTEN else "float64",
        fill_value=0 if name == WRITTEN else np.nan,
        dimension_names=dims,
        overwrite=True,
    )


def write_statistics(path: Path, first: int, values: Mapping[str, Array]) -> None:
    """Write the statistics of successive initial times, a whole number of chunks.

    Parameters
    ----------
    path : Path
    first : int
        Position of the first initial time.
    values : mapping of ndarray
        Statistics by name; their last two dimensions are initial time and lead.
    """
    group = zarr.open_group(path, mode="r+", use_consolidated=False)
    for name, found in values.items():
        array_in(group, name)[..., first : first + found.shape[-2], :] = found
    array_in(group, WRITTEN)[first : first + values["known"].shape[0]] = 1


QUANTILES = "event_quantile"
"""Name of the array of the quantiles of events, dims (event, month, latitude, longitude)."""


def write_quantiles(path: Path, quantiles: Array, latitude: Array, longitude: Array) -> None:
    """Add the quantiles of events to a store of statistics.

    Parameters
    ----------
    path : Path
    quantiles : ndarray, shape (events, 12, cells)
        Quantiles of anomalies from the climatology by calendar month, NaN for fixed thresholds.
    latitude, longitude : ndarray
        Coordinates of the cells.
    """
    shape = *quantiles.shape[:2], len(latitude), len(longitude)
    about: dict[str, Any] = {
        "long_name": "quantile of anomalies in the calendar month and the two beside it"
    }
    dims = ("event", "month", "latitude", "longitude")
    own = {"month": np.arange(1, 13), "latitude": latitude, "longitude": longitude}
    # Xarray would replace the attributes of the store: its key, and the names of its coordinates.
    group = zarr.open_group(path, mode="r+", use_consolidated=False)
    for name, values in own.items():
        group.create_array(name, data=values, dimension_names=(name,), overwrite=True)
    group.create_array(
        QUANTILES,
        data=quantiles.reshape(shape),
        fill_value=np.nan,
        dimension_names=dims,
        attributes=about,
        overwrite=True,
    )


def read_quantiles(path: Path) -> Array:
    """Return the quantiles of events in a store of statistics: shape (events, 12, cells)."""
    group = zarr.open_group(path, mode="r", use_consolidated=False)
    found = np.asarray(array_in(group, QUANTILES)[...])
    return found.reshape(*found.shape[:-2], -1)


def use_tasks_of(path: Path, batch: int) -> None:
    """Let an unfinished store be continued by tasks of another number of initial times.

    A task that wrote a part of a chunk would race with the one that writes the rest of it.

    Parameters
    ----------
    path : Path
    batch : int
        Number of initial times of a task, which becomes that of a chunk.
    """
    group = zarr.open_group(path, mode="r+", use_consolidated=False)
    if WRITTEN not in group:  # all are written
        return
    count = array_in(group, WRITTEN).shape[0]
    batch = min(batch, count)
    if array_in(group, WRITTEN).chunks == (batch,):
        return
    marks = np.asarray(array_in(group, WRITTEN)[...])
    # A process that is killed here leaves a store without marks and sums, which is begun anew.
    del group[WRITTEN]
    for name, array in list(group.arrays()):
        dims = tuple(str(dim) for dim in getattr(array.metadata, "dimension_names", None) or ())
        if name not in _COORDINATES and dims[-2:] == ("time", "prediction_timedelta"):
            with naming_damage(path, "its statistics cannot be read", _REMEDY):
                values = np.asarray(array[...])
            _create(group, name, values.shape, dims, batch)[...] = values
    _create(group, WRITTEN, marks.shape, ("time",), batch)[...] = marks


def unwritten(path: Path, key: str) -> Array | None:
    """Return which initial times of a store have no statistics.

    Returns
    -------
    ndarray of bool, shape (initial times,), or None
        None if there is no store with this key, or the key is empty; none is missing in a finished
        store.

    Raises
    ------
    RunError
        If this program cannot have written the store.
    """
    if not key or not (path / "zarr.json").exists():
        return None
    check_written(path, in_chunks=True, remedy=_REMEDY)
    with naming_damage(path, "it cannot be opened", _REMEDY):
        group = zarr.open_group(path, mode="r", use_consolidated=False)
        if group.attrs.get("key") != key:
            return None
        if WRITTEN in group:
            return np.asarray(array_in(group, WRITTEN)[...]) == 0
        return np.zeros(array_in(group, "time").shape, bool) if SUMS in group.attrs else None


def finish_statistics_store(path: Path) -> None:
    """Mark a store as complete, once.

    A process that is killed here leaves a store whose statistics are not computed again.

    Raises
    ------
    RunError
        If an initial time has no statistics.
    """
    group = zarr.open_group(path, mode="r+", use_consolidated=False)
    if WRITTEN in group:
        marks = np.asarray(array_in(group, WRITTEN)[...])
        if lacking := int((marks == 0).sum()):
            raise RunError(
                f"{path}: {lacking} of {marks.size} initial times have no statistics although all "
                "tasks have ended; run the command again, which computes only these"
            )
        add_sums(path, without=(WRITTEN,))
        del group[WRITTEN]
    consolidate(path)


def open_statistics(path: Path) -> xr.Dataset:
    """Open a complete store of statistics, lazily and without Dask.

    Raises
    ------
    RunError
        If the store does not exist, is not finished, or is damaged, or this program cannot have
        written it.
    """
    if not (path / "zarr.json").exists():
        raise RunError(f"{path}: no statistics of forecasts there; run `gfrnn verify` first")
    check_sums(path, whole=True, remedy=_REMEDY)
    ds = open_store(path, remedy=_REMEDY)
    if WRITTEN in ds:
        raise RunError(f"{path}: the statistics are not finished; run `gfrnn verify` again")
    ds.attrs.pop(SUMS, None)  # what is computed from the statistics has others
    return ds
