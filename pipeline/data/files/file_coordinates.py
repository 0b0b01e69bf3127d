"""Coordinates of one file: kinds of dimensions, the horizontal grid, levels."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import xarray as xr

from gfrnn.pipeline.data.files.raw_file import RawFile
from gfrnn.pipeline.data.grid import coordinate_tolerance
from gfrnn.pipeline.data.variables import names, units
from gfrnn.pipeline.errors import DataError

_LARGEST_LATITUDE = 90.001
"""Degrees north or south up to which a latitude is taken for a pole."""


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
    """Return the kind of each known dimension: ``{"lat": "latitude"}``.

    A dimension of another name, such as ``y``, is of the kind of its coordinate, such as
    ``lat(y)``.
    """
    return {str(dim): kind for dim in ds.dims if (kind := _kind(ds, str(dim)))}


def _kind(ds: xr.Dataset, dim: str) -> str | None:
    """Return the kind of a dimension by its name, its coordinate, or other coordinates along it."""
    kind = names.dimension_kind(dim) or _kind_by_attributes(ds, dim)
    if kind:
        return kind
    # Stations have both along one dimension, which is then none of a grid.
    found = {kind for kind in ("latitude", "longitude") if _names_along(ds, dim, kind)}
    return found.pop() if len(found) == 1 else None


def _kind_by_attributes(ds: xr.Dataset, name: str) -> str | None:
    """Return the kind of a coordinate by its attributes."""
    if name not in ds.variables:
        return None
    attrs = ds[name].attrs
    units = str(attrs.get("units", "")).lower()
    if " since " in units or attrs.get("standard_name") == "time":
        return "time"
    if attrs.get("standard_name") in ("latitude", "longitude"):
        return str(attrs["standard_name"])
    if units.startswith(("degrees_north", "degrees_east")):
        return "latitude" if "north" in units else "longitude"
    return "level" if attrs.get("standard_name") == "air_pressure" else None


def _names_along(ds: xr.Dataset, dim: str, kind: str) -> list[str]:
    """List the variables of one dimension that are coordinates of a kind, the dimension's first."""
    along = [str(name) for name, variable in ds.variables.items() if variable.dims == (dim,)]
    found = [n for n in along if kind in (names.dimension_kind(n), _kind_by_attributes(ds, n))]
    return sorted(found, key=lambda name: name != dim)


def find_coordinate(ds: xr.Dataset, kinds: dict[str, str], kind: str) -> str | None:
    """Find the name of the coordinate of a kind: that along a dimension, else a scalar."""
    dims = [dim for dim, found in kinds.items() if found == kind]
    along = [name for dim in dims for name in _names_along(ds, dim, kind)]
    scalars = [
        str(n)
        for n, v in ds.variables.items()
        if v.ndim == 0 and names.dimension_kind(str(n)) == kind
    ]
    return next(iter(along + dims + scalars), None)


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
        if values.dtype.kind not in "fiu":
            raise DataError(
                f"{file.path}: {kind} {name} has the type {values.dtype}, not numbers; convert it "
                "to degrees"
            )
        if not values.size:
            raise DataError(f"{file.path}: {kind} {name} has no entries; give a file with some")
        # float32 39.9 becomes float64 39.9, so that files of either type have the same grid.
        found[kind] = (
            values.astype(str).astype(float) if values.dtype == np.float32 else values.astype(float)
        )
        if not np.isfinite(values).all():
            raise DataError(
                f"{file.path}: {kind} {name} has missing entries; drop these points or fill them in"
            )
    rows = np.argsort(found["latitude"])
    stated = found["latitude"][rows]
    # Poles of float32 may lie beyond 90 degrees by rounding, where cosines are negative.
    latitude = np.clip(stated, -90.0, 90.0)
    if np.abs(stated).max() > _LARGEST_LATITUDE or np.any(np.diff(latitude) <= 0):
        raise DataError(
            f"{file.path}: latitudes {stated[0]}..{stated[-1]} repeat or are outside of "
            "-90..90; give each once, in degrees"
        )
    longitude, columns = _distinct_longitudes(found["longitude"])
    repeated = found["longitude"].size - longitude.size
    if repeated > 1:
        raise DataError(
            f"{file.path}: {repeated} longitudes repeat (modulo 360); give each longitude once"
        )
    notes = ["one longitude is given twice (modulo 360); the second is dropped"] if repeated else []
    return FileGrid(latitude, longitude, rows, columns, notes)


def _distinct_longitudes(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ascending longitudes in [0, 360), each once, and the positions of the first of each.

    Longitudes that differ by rounding are one, such as -1e-6 and 0, or 0 and 359.99997.
    """
    wrapped = np.round(values % 360, 8) % 360
    tolerance = coordinate_tolerance(wrapped)
    wrapped = np.where(np.minimum(wrapped, 360 - wrapped) <= tolerance, 0.0, wrapped)
    order = np.argsort(wrapped, kind="stable")
    same = np.cumsum(np.diff(wrapped[order], prepend=-1.0) > tolerance)
    # Positions of equal longitudes need not be in order, if rounding has separated these.
    firsts = np.array([order[same == number].min() for number in np.unique(same)])
    return wrapped[firsts], firsts


def read_levels(ds: xr.Dataset, dim: str) -> FileLevels:
    """Read the levels of a dimension, or the level of a scalar coordinate, from hPa or Pa."""
    if dim not in ds.variables:
        problem = "has no coordinate, so its levels are unknown"
        return FileLevels(None, np.arange(ds.sizes[dim]), problem=problem)
    raw, attrs = np.atleast_1d(ds[dim].values), ds[dim].attrs
    unit = str(attrs.get("units", "")).strip()
    if not raw.size:
        return FileLevels(None, np.arange(0), problem="has no entries")
    if raw.dtype.kind in "OSUT":
        values, unit = _levels_of_text(raw)
    elif raw.dtype.kind not in "fiu":
        problem = f"has the type {raw.dtype}, not numbers, so its levels are unknown"
        return FileLevels(None, np.arange(raw.size), problem=problem)
    else:
        # float32 0.1 becomes float64 0.1.
        values = raw.astype(str).astype(float) if raw.dtype == np.float32 else raw.astype(float)
    unknown = FileLevels(None, np.arange(values.size))
    if not np.isfinite(values).all():
        found = [str(_plain(entry)) for entry in raw[~np.isfinite(values)][:3]]
        return unknown._replace(
            problem=f"has entries that are no pressures ({', '.join(found)}); drop them, for "
            "example with xarray's isel"
        )
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
        return unknown._replace(
            problem=f"holds {values[0]:g}..{values[-1]:g} in unit {unit!r}, which is not a "
            "pressure; interpolate to pressure levels, or state the unit (hPa or Pa)"
        )
    # Six digits are what float32 holds: 84999.99 Pa is 850 hPa.
    pressure = np.array([float(f"{value:.6g}") for value in pressure])
    order = np.argsort(pressure, kind="stable")
    ascending = pressure[order]
    if (np.diff(ascending) == 0).any():
        repeated = ascending[1:][np.diff(ascending) == 0][0]
        return unknown._replace(
            problem=f"has the level {repeated:g} hPa more than once; keep one of them, for example "
            "with xarray's isel"
        )
    return FileLevels(tuple(map(float, ascending)), order)


def _levels_of_text(labels: np.ndarray) -> tuple[np.ndarray, str]:
    """Return the numbers and the unit of labels such as ``500hPa``, NaN for other labels."""
    matches = [re.fullmatch(r"\s*([\d.]+)\s*([A-Za-z]*)\s*", str(_plain(e))) for e in labels.flat]
    found = {match[2] for match in matches if match}
    unit = found.pop() if len(found) == 1 else ""
    numbers = [float(match[1]) if match and not found else np.nan for match in matches]
    return np.array(numbers), unit


def _plain(entry: object) -> object:
    """Return text for the bytes of netCDF and zarr, other entries unchanged."""
    return entry.decode("utf-8", "replace") if isinstance(entry, bytes) else entry


def _may_be_hectopascals(values: np.ndarray) -> bool:
    """Whether levels without a unit are pressures, not numbers of model levels 1, 2, 3, ..."""
    numbers = np.arange(1, values.size + 1)
    model_levels = values.size > 2 and np.array_equal(np.sort(values), numbers)
    return bool(values.max() <= 1100) and not model_levels
