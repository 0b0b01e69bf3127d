"""What is in one file: its variables by canonical name, its grid, levels, times and units."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from gfrnn.pipeline.config.experiment import SourceConfig
from gfrnn.pipeline.config.section import Period
from gfrnn.pipeline.data import names, units
from gfrnn.pipeline.data.canonical_array import IndexMap, chunks_of
from gfrnn.pipeline.data.files import RawFile
from gfrnn.pipeline.data.identify import identify, units_of
from gfrnn.pipeline.data.time_axis import decode_times
from gfrnn.pipeline.errors import DataError

_BOUNDS = {"bnds", "bounds", "nv", "nbnds", "nbnd"}


@dataclass(frozen=True, eq=False)
class FileVariable:
    """One variable of one file.

    ``times`` (datetime64, shape (n,)) and ``rows`` (int, shape (n,), positions in the file) are
    those that count; ``latitude`` and ``longitude`` are canonical; ``levels`` are in hPa,
    ascending, or None. ``problem`` says why it cannot be used; it is raised only if it is wanted.
    """

    file: RawFile
    raw_name: str
    variable: str
    levels: tuple[float, ...] | None
    times: np.ndarray
    rows: np.ndarray
    latitude: np.ndarray
    longitude: np.ndarray
    grid: IndexMap
    factor: float
    offset: float
    attrs: dict[str, Any]
    time_chunk: int
    problem: str | None = None
    notes: list[str] = field(default_factory=list)


def alike(name: str, allowed: Iterable[str]) -> str:
    """``did you mean x?``, or all that is allowed: the end of an error message."""
    allowed = list(allowed)
    near = difflib.get_close_matches(name, allowed, 3)
    known = names.split_name(name)[0]
    near = [known, *near] if known in allowed and known not in near else near
    return f"did you mean {' or '.join(near)}?" if near else f"there is {', '.join(allowed)}"


def survey(file: RawFile, source: SourceConfig, key: str) -> list[FileVariable]:
    """The variables of a file that vary in time, none of their values read.

    Parameters
    ----------
    key
        The place in the experiment file that errors name, ``data.sources[0]``.

    Raises
    ------
    DataError
        For a file that as a whole cannot be used: no dates, no regular grid, nothing in it.
    """
    ds, kinds = _open(file)
    axis = _times(ds, kinds, file)
    needed = [kind for kind in ("time", "latitude", "longitude") if kind in kinds.values()]
    fields = _fields(file, ds, kinds, axis, _with_dimensions(ds, kinds, needed), source, key)
    if not fields:
        listed = ", ".join(f"{name} {list(map(str, v.dims))}" for name, v in ds.data_vars.items())
        raise DataError(
            f"{file.path}: no variable with time, latitude and longitude; there is {listed}"
        )
    return fields


def survey_static(file: RawFile, source: SourceConfig, key: str) -> list[FileVariable]:
    """The variables of a file that may be static: with a place and without levels.

    Some have a dimension of time all the same; whether they change only their values tell. A
    geopotential without a level is that of the surface. Parameters as of :func:`survey`.
    """
    ds, kinds = _open(file)
    timed = "time" in kinds.values()
    axis = _times(ds, kinds, file) if timed else (np.empty(0, "M8[ns]"), np.zeros(1, int), [])
    needed = [kind for kind in ("latitude", "longitude") if kind in kinds.values()]
    placed = _with_dimensions(ds, kinds, needed)
    if source.level is None:
        flat = {name for name, dims in placed.items() if "level" not in dims}
        heights = {name for name in flat if names.split_name(name) == ("geopotential", None)}
        surface = dict.fromkeys(heights, "geopotential_at_surface")
        source = source.model_copy(update={"rename": surface | source.rename})
    fields = _fields(file, ds, kinds, axis, placed, source, key)
    return [field for field in fields if field.levels is None]


def _open(file: RawFile) -> tuple[xr.Dataset, dict[str, str]]:
    """The dataset as in the file, and what its dimensions are."""
    ds = file.open()
    if not ds.data_vars:
        raise DataError(
            f"{file.path}: no variables in it; give the path of the group that has them"
        )
    return ds, {str(dim): kind for dim in ds.dims if (kind := _kind(ds, str(dim)))}


def _with_dimensions(
    ds: xr.Dataset, kinds: dict[str, str], needed: Sequence[str]
) -> dict[str, dict[str, str]]:
    """Variables that have dimensions of these kinds, and their dimensions by kind."""
    return {
        str(name): dims
        for name, array in ds.data_vars.items()
        if set(needed)
        <= set(dims := {kind: dim for dim, kind in kinds.items() if dim in array.dims})
        and not _is_auxiliary(array.variable)
    }


def _fields(
    file: RawFile,
    ds: xr.Dataset,
    kinds: dict[str, str],
    axis: tuple[np.ndarray, np.ndarray, list[str]],
    chosen: dict[str, dict[str, str]],
    source: SourceConfig,
    key: str,
) -> list[FileVariable]:
    """The chosen variables of a file, each with its dimensions by kind, as fields."""
    times, rows, notes = axis
    horizontal = _horizontal(ds, kinds, file)
    levels = {dim: _levels(ds, dim, file) for dim, kind in kinds.items() if kind == "level"}
    fields = []
    # A zarr store has no order of its own: listings differ between machines, and copies.
    listed = sorted(chosen) if file.engine == "zarr" else list(chosen)
    for raw_name in listed:
        raw, dims = ds[raw_name].variable, dict(chosen[raw_name])
        variable, level, problem = identify(raw_name, raw, dims, levels, source, key)
        factor, offset, units, trouble = units_of(raw_name, variable, raw, source, key)
        problem = problem or _extra_dimension(raw_name, raw, dims) or trouble
        # A dimension of one level, or of none that counts, is a singleton to be dropped.
        order = levels[dims["level"]][1] if level and len(level) > 1 else None
        quantity = names.QUANTITIES.get(variable)
        attrs = {"long_name": str(raw.attrs.get("long_name", variable)), "units": units}
        standard_name = quantity.standard_name if quantity else raw.attrs.get("standard_name")
        if standard_name:
            attrs["standard_name"] = str(standard_name)
        if order is None:
            dims.pop("level", None)
        if "expver" in dims and raw.sizes[dims["expver"]] == 1:
            del dims["expver"]
        merged = ["expver 1 and 5 (preliminary) are merged"] if "expver" in dims else []
        latitude, longitude, rows_lat, rows_lon, dropped = horizontal
        fields.append(
            FileVariable(
                file,
                raw_name,
                variable,
                level,
                times,
                rows,
                latitude,
                longitude,
                IndexMap(dims, rows_lat, rows_lon, order),
                factor,
                offset,
                attrs,
                chunks_of(raw).get(dims.get("time", ""), 1),
                problem,
                [*notes, *dropped, *merged],
            )
        )
    return fields


def _kind(ds: xr.Dataset, dim: str) -> str | None:
    """What a dimension is: by its name, else by what its coordinate says."""
    kind = names.dimension(dim)
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


def _find(ds: xr.Dataset, kinds: dict[str, str], kind: str) -> str | None:
    """Name of the coordinate of a kind: a dimension's, else a scalar's."""
    dims = [dim for dim, found in kinds.items() if found == kind]
    scalars = [
        str(n) for n, v in ds.variables.items() if v.ndim == 0 and names.dimension(str(n)) == kind
    ]
    return next(iter(dims + scalars), None)


def _times(
    ds: xr.Dataset, kinds: dict[str, str], file: RawFile
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    name = _find(ds, kinds, "time")
    if name is None or name not in ds.variables:
        listed = ", ".join(f"{dim} ({size})" for dim, size in ds.sizes.items())
        raise DataError(
            f"{file.path}: no time coordinate; its dimensions are {listed}; a time is called time "
            "or valid_time and has units such as 'hours since 1900-01-01', and files of static "
            "fields belong in data.static"
        )
    times = decode_times(ds[name].variable, name, file.path)
    order = np.argsort(times, kind="stable")
    notes = []
    start, stop = ds.attrs.get("valid_time_start"), ds.attrs.get("valid_time_stop")
    if start and stop:
        try:
            inside = Period.model_validate([str(start), str(stop)]).mask(times[order])
        except ValueError:
            raise DataError(
                f"{file.path}: its extent, valid_time_start {start!r} to valid_time_stop {stop!r}, "
                "is no pair of dates; mend or remove these attributes"
            ) from None
        if not inside.all():
            notes.append(
                f"{file.path}: time axis cut to {start}..{stop}, which the file names as its "
                f"extent; {(~inside).sum()} of {inside.size} times are padding"
            )
        order = order[inside]
    return times[order], order, notes


def _horizontal(
    ds: xr.Dataset, kinds: dict[str, str], file: RawFile
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Canonical latitude and longitude, and the positions in the file that they come from."""
    found = {}
    for kind in ("latitude", "longitude"):
        candidates = [str(n) for n in ds.variables if names.dimension(str(n)) == kind]
        name = _find(ds, kinds, kind) or next(iter(candidates), None)
        if name is None or name not in ds.variables:
            raise DataError(
                f"{file.path}: no {kind}; a regular grid or one point is read; to a series of one "
                "point add its place, for example ds.assign_coords(latitude=50.3, longitude=355.9)"
            )
        variable = ds[name].variable
        if variable.ndim > 1 or (variable.ndim == 1 and variable.dims[0] not in kinds):
            raise DataError(
                f"{file.path}: {kind} {name} varies along {list(map(str, variable.dims))}: the "
                "grid is not regular (points, reduced Gaussian or curvilinear); interpolate it to "
                "a regular grid, for example with cdo remapbil,r360x181"
            )
        values = np.atleast_1d(variable.values)
        # float32 39.9 is to be the same as float64 39.9, so that files of either kind agree
        found[kind] = (
            values.astype(str).astype(float) if values.dtype == np.float32 else values.astype(float)
        )
        if not np.isfinite(values).all():
            raise DataError(f"{file.path}: {kind} {name} has missing entries")
    rows_lat = np.argsort(found["latitude"])
    latitude = found["latitude"][rows_lat]
    if np.abs(latitude).max() > 90.001 or np.any(np.diff(latitude) <= 0):
        raise DataError(
            f"{file.path}: latitudes {latitude[0]}..{latitude[-1]} repeat or leave -90..90"
        )
    wrapped = np.round(found["longitude"] % 360, 8) % 360
    longitude, rows_lon = np.unique(wrapped, return_index=True)
    repeated = wrapped.size - longitude.size
    if repeated > 1:
        raise DataError(f"{file.path}: {repeated} longitudes repeat (modulo 360); give one of each")
    notes = ["the longitude that is given twice (modulo 360) is dropped once"] if repeated else []
    return latitude, longitude, rows_lat, rows_lon, notes


def _levels(
    ds: xr.Dataset, dim: str, file: RawFile
) -> tuple[tuple[float, ...] | None, np.ndarray, str]:
    """Levels in hPa ascending (None: not pressure), their positions, and a height or problem."""
    if dim not in ds.variables:
        return None, np.arange(ds.sizes[dim]), "has no coordinate, so its levels are unknown"
    values, attrs = ds[dim].values.astype(float), ds[dim].attrs
    unit = str(attrs.get("units", "")).strip()
    parsed = units.parse_unit(unit) if unit else None
    if parsed and parsed[0] == "Pa":
        pressure = values * parsed[1] / 100
    elif parsed and parsed[0] == "m" and values.size == 1:
        return None, np.zeros(1, int), f"{values[0] * parsed[1]:g} m"
    elif not unit and values.max() <= 1100 and not _counts(values) and dim.lower() != "plev":
        pressure = values  # archives in zarr often give no unit: level is then in hPa
    else:
        return (
            None,
            np.arange(values.size),
            (
                f"holds {values[0]:g}..{values[-1]:g} in unit {unit!r}, which is not a pressure; "
                "interpolate to pressure levels, or state the unit (hPa or Pa)"
            ),
        )
    pressure = np.round(pressure, 6)
    order = np.argsort(pressure)
    return tuple(map(float, pressure[order])), order, ""


def _counts(values: np.ndarray) -> bool:
    """Whether levels are numbers 1, 2, 3, ... of model levels, not pressures."""
    return values.size > 2 and np.array_equal(np.sort(values), np.arange(1, values.size + 1))


def _is_auxiliary(raw: xr.Variable) -> bool:
    """Whether it is no field: text, bounds, encoded dates."""
    return raw.dtype.kind not in "fiu" or bool(_BOUNDS & set(map(str, raw.dims)))


def _extra_dimension(raw_name: str, raw: xr.Variable, dims: dict[str, str]) -> str | None:
    for dim in raw.dims:
        if dim not in dims.values() and raw.sizes[dim] > 1:
            return (
                f"{raw_name}: its dimension {dim} has {raw.sizes[dim]} entries, and one field for "
                "each time and level is needed; select one (for example with cdo or xarray's isel)"
            )
    return None
