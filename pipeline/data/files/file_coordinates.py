"""Coordinates of one file: kinds of dimensions, times, the horizontal grid, levels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from gfrnn.pipeline.config.section import Period
from gfrnn.pipeline.data.files.raw_file import RawFile
from gfrnn.pipeline.data.time_axis import decode_times
from gfrnn.pipeline.data.variables import names, units
from gfrnn.pipeline.errors import DataError


class FileTimes(NamedTuple):
    """Times of a file (datetime64, ascending), their positions in it, and notes."""

    times: np.ndarray
    positions: np.ndarray
    notes: list[str]


class FileGrid(NamedTuple):
    """Canonical latitudes and longitudes of a file, their positions in it, and notes."""

    latitude: np.ndarray
    longitude: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    notes: list[str]


class FileLevels(NamedTuple):
    """Levels of a file in hPa, ascending, and their positions in it.

    ``levels`` is None where the dimension has no pressures: ``problem`` tells why, and ``height``
    (m above ground) is given if the dimension is a single height.
    """

    levels: tuple[float, ...] | None
    positions: np.ndarray
    height: float | None = None
    problem: str = ""


def dimension_kinds(ds: xr.Dataset) -> dict[str, str]:
    """Return the kind of each known dimension: ``{"lat": "latitude"}``."""
    return {str(dim): kind for dim in ds.dims if (kind := _kind(ds, str(dim)))}


def _kind(ds: xr.Dataset, dim: str) -> str | None:
    """Tell the kind of a dimension by its name, else by the attributes of its coordinate."""
    kind = names.dimension_kind(dim)
    if kind or dim not in ds.variables:
        return kind
    attrs = ds[dim].attrs
    units = str(attrs.get("units", ""))
    if " since " in units or attrs.get("standard_name") == "time":
        return "time"
    if attrs.get("standard_name") in ("latitude", "longitude"):
        return str(attrs["standard_name"])
    if units.lower().startswith(("degrees_north", "degrees_east")):
        return "latitude" if "north" in units.lower() else "longitude"
    return "level" if attrs.get("standard_name") == "air_pressure" else None


def find_coordinate(ds: xr.Dataset, kinds: dict[str, str], kind: str) -> str | None:
    """Find the name of the coordinate of a kind: that of a dimension, else a scalar."""
    dims = [dim for dim, found in kinds.items() if found == kind]
    scalars = [
        str(n)
        for n, v in ds.variables.items()
        if v.ndim == 0 and names.dimension_kind(str(n)) == kind
    ]
    return next(iter(dims + scalars), None)


def read_times(ds: xr.Dataset, kinds: dict[str, str], file: RawFile) -> FileTimes:
    """Read the times of a file, without those outside of the extent that its attributes state.

    Raises
    ------
    DataError
        If there are no times with dates, or the stated extent is no pair of dates.
    """
    name = find_coordinate(ds, kinds, "time")
    if name is None or name not in ds.variables:
        listed = ", ".join(f"{dim} ({size})" for dim, size in ds.sizes.items())
        raise DataError(
            f"{file.path}: no time coordinate; its dimensions are {listed}; name it time or "
            "valid_time, with units such as 'hours since 1900-01-01'; files of static fields "
            "belong in data.static"
        )
    times = decode_times(ds[name].variable, name, file.path)
    order = np.argsort(times, kind="stable")
    notes = []
    start, stop = ds.attrs.get("valid_time_start"), ds.attrs.get("valid_time_stop")
    # Preliminary data (ERA5T) of the latest months end later than the final ones.
    stop = ds.attrs.get("valid_time_stop_era5t") or stop
    if start and stop:
        try:
            inside = Period.model_validate([str(start), str(stop)]).mask(times[order])
        except ValueError:
            raise DataError(
                f"{file.path}: its extent, valid_time_start {start!r} to valid_time_stop {stop!r}, "
                "is not a pair of dates; correct or remove the two attributes"
            ) from None
        if not inside.all():
            notes.append(
                f"{file.path}: {(~inside).sum()} of {inside.size} times are outside of "
                f"{start}..{stop}, the extent that the file states, and are dropped as padding"
            )
        order = order[inside]
    return FileTimes(times[order], order, notes)


def read_grid(ds: xr.Dataset, kinds: dict[str, str], file: RawFile) -> FileGrid:
    """Read latitudes (ascending) and longitudes (0 to 360, ascending) of a regular grid.

    Raises
    ------
    DataError
        If there is no regular grid, or coordinates are missing, repeated or out of range.
    """
    found = {}
    for kind in ("latitude", "longitude"):
        candidates = [str(n) for n in ds.variables if names.dimension_kind(str(n)) == kind]
        name = find_coordinate(ds, kinds, kind) or next(iter(candidates), None)
        if name is None or name not in ds.variables:
            raise DataError(
                f"{file.path}: no {kind}; a regular grid or a single point is needed; add the "
                "coordinates of a point, for example "
                "ds.assign_coords(latitude=50.3, longitude=355.9)"
            )
        variable = ds[name].variable
        if variable.ndim > 1 or (variable.ndim == 1 and variable.dims[0] not in kinds):
            raise DataError(
                f"{file.path}: {kind} {name} varies along {list(map(str, variable.dims))}: the "
                "grid is not regular (points, reduced Gaussian or curvilinear); interpolate it to "
                "a regular grid, for example with cdo remapbil,r360x181"
            )
        values = np.atleast_1d(variable.values)
        # float32 39.9 becomes float64 39.9, so that files of either type have the same grid.
        found[kind] = (
            values.astype(str).astype(float) if values.dtype == np.float32 else values.astype(float)
        )
        if not np.isfinite(values).all():
            raise DataError(
                f"{file.path}: {kind} {name} has missing entries; drop these points or fill them in"
            )
    rows = np.argsort(found["latitude"])
    latitude = found["latitude"][rows]
    if np.abs(latitude).max() > 90.001 or np.any(np.diff(latitude) <= 0):
        raise DataError(
            f"{file.path}: latitudes {latitude[0]}..{latitude[-1]} repeat or are outside of "
            "-90..90; give each once, in degrees"
        )
    wrapped = np.round(found["longitude"] % 360, 8) % 360
    longitude, columns = np.unique(wrapped, return_index=True)
    repeated = wrapped.size - longitude.size
    if repeated > 1:
        raise DataError(
            f"{file.path}: {repeated} longitudes repeat (modulo 360); give each longitude once"
        )
    notes = ["one longitude is given twice (modulo 360); the second is dropped"] if repeated else []
    return FileGrid(latitude, longitude, rows, columns, notes)


def read_levels(ds: xr.Dataset, dim: str) -> FileLevels:
    """Read the levels of a dimension, or the level of a scalar coordinate, from hPa or Pa."""
    if dim not in ds.variables:
        problem = "has no coordinate, so its levels are unknown"
        return FileLevels(None, np.arange(ds.sizes[dim]), problem=problem)
    values, attrs = np.atleast_1d(ds[dim].values).astype(float), ds[dim].attrs
    unit = str(attrs.get("units", "")).strip()
    parsed = units.parse_unit(unit) if unit else None
    if parsed and parsed[0] == "Pa":
        pressure = values * parsed[1] / 100
    elif parsed and parsed[0] == "m" and values.size == 1:
        height = float(f"{values[0] * parsed[1]:g}")
        problem = f"is a height, {height:g} m, not a pressure"
        return FileLevels(None, np.zeros(1, int), height, problem)
    elif not unit and dim.lower() != "plev" and _may_be_hectopascals(values):
        pressure = values  # zarr archives often state no unit: levels are then in hPa
    else:
        problem = (
            f"holds {values[0]:g}..{values[-1]:g} in unit {unit!r}, which is not a pressure; "
            "interpolate to pressure levels, or state the unit (hPa or Pa)"
        )
        return FileLevels(None, np.arange(values.size), problem=problem)
    pressure = np.round(pressure, 6)
    order = np.argsort(pressure)
    return FileLevels(tuple(map(float, pressure[order])), order)


def _may_be_hectopascals(values: np.ndarray) -> bool:
    """Whether levels without a unit are pressures, not numbers of model levels 1, 2, 3, ..."""
    numbers = np.arange(1, values.size + 1)
    model_levels = values.size > 2 and np.array_equal(np.sort(values), numbers)
    return bool(values.max() <= 1100) and not model_levels
