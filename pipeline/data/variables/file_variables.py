"""Variables of one file by canonical name, with their levels, times, grid and unit conversion."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr

from gfrnn.pipeline.config.data_config import SourceConfig
from gfrnn.pipeline.config.durations import Duration
from gfrnn.pipeline.data.file_reading import IndexMap, stored_chunk_lengths
from gfrnn.pipeline.data.files.file_coordinates import (
    dimension_kinds,
    find_coordinate,
    read_grid,
    read_levels,
)
from gfrnn.pipeline.data.files.file_times import FileTimes, read_times
from gfrnn.pipeline.data.files.find_files import find_files
from gfrnn.pipeline.data.files.local_files import group_names
from gfrnn.pipeline.data.files.raw_file import RawFile, held_numbers
from gfrnn.pipeline.data.variables.names import QUANTITIES, split_name, suggest_names
from gfrnn.pipeline.data.variables.recognise import is_anomaly, recognise_variable
from gfrnn.pipeline.data.variables.units import canonical_unit
from gfrnn.pipeline.errors import DataError

_ORIGIN = ("title", "institution", "source", "comment")
_BOUNDS = {"bnds", "bounds", "nv", "nbnds", "nbnd"}


@dataclass(frozen=True, eq=False)
class FileVariable:
    """A variable of a file, of which no values are read.

    Attributes
    ----------
    file : RawFile
    raw_name, variable : str
        Name in the file and canonical name.
    levels : tuple of float or None
        hPa, ascending.
    times : ndarray of datetime64, shape (n,)
        Ascending.
    rows : ndarray of int, shape (n,)
        Positions of ``times`` in the file.
    latitude, longitude : ndarray
        Canonical coordinates, degrees.
    grid : IndexMap
        Positions of canonical coordinates in the file.
    factor, offset : float
        Conversion to the canonical unit: ``value * factor + offset``.
    attrs : dict
        Attributes of the canonical variable.
    time_chunk : int
        Times in a stored chunk.
    accumulated : Duration, False or None
        What the source states: time after which sums begin anew, or that values are no sums.
    interpolate : bool
        Whether the values are interpolated to the grid of other files.
    problem : str or None
        Reason why the variable cannot be used, an error only if the experiment uses it.
    notes : list of str
        Messages for the user.
    origin : dict of str
        Title, institution, source and comment of the file, those that it states.
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
    accumulated: Duration | Literal[False] | None = None
    interpolate: bool = False
    problem: str | None = None
    notes: list[str] = field(default_factory=list)
    origin: dict[str, str] = field(default_factory=dict)


def source_variables(
    sources: Sequence[SourceConfig],
    section: str,
    read: Callable[[RawFile, SourceConfig, str], list[FileVariable]],
) -> dict[str, list[FileVariable]]:
    """Return the variables that ``read`` finds in the files of each source, by the source's key.

    Keys are places in the experiment file such as ``data.sources[0]``.

    Raises
    ------
    DataError
        If files are missing or cannot be read, or ``rename``, ``units``, ``accumulated`` or
        ``select`` name what is not in them.
    """
    variables: dict[str, list[FileVariable]] = {}
    for number, source in enumerate(sources):
        key = f"{section}[{number}]"
        files = find_files(source, key)
        variables[key] = []
        for file in files:
            with file.lock:
                variables[key] += read(file, source, key)
        _check_missing(source, variables[key], key)
        for option, what, kind in (
            ("rename", "variable", "data_vars"),
            ("units", "variable", "data_vars"),
            ("select", "dimension", "coords"),
        ):
            given = getattr(source, option)
            opened = [file.open() for file in files if given]
            there = {str(name) for ds in opened for name in getattr(ds, kind)}
            there |= {str(dim) for ds in opened if kind == "coords" for dim in ds.dims}
            _check_names(given, there, f"{key}.{option}: the source has no {what}")
    # An ERA5 name may be that of a variable of another source.
    every = {part.variable for parts in variables.values() for part in parts}
    for source, (key, parts) in zip(sources, variables.items(), strict=True):
        if source.accumulated:
            raw = {str(name) for part in parts for name in part.file.open().data_vars}
            where = f"{key}.accumulated: the source has no variable"
            _check_names(source.accumulated, raw | every, where, QUANTITIES)
    return variables


def _check_names(
    given: Collection[str], there: set[str], message: str, known: Collection[str] = ()
) -> None:
    for name in given:
        if name not in there and name not in known:
            raise DataError(f"{message} {name}; {suggest_names(name, there)}")


def _check_missing(source: SourceConfig, parts: Sequence[FileVariable], key: str) -> None:
    """Refuse a missing number that no variable of a source can have stored."""
    for number in source.missing:
        other: tuple[FileVariable, dict[str, Any]] | None = None
        for part in parts:
            encoding = part.file.open()[part.raw_name].encoding
            held, _ = held_numbers(np.array([number]), np.dtype(encoding["dtype"]))
            if held.all():
                break
            other = part, encoding
        else:
            if other is not None:
                part, encoding = other
                raise DataError(
                    f"{key}.missing: {number:g} is not a number that {part.raw_name} "
                    f"({part.file.path}) can have stored, of the type "
                    f"{np.dtype(encoding['dtype'])}{_stored_hint(number, encoding)}; give the "
                    "number as it is stored"
                )


def _stored_hint(number: float, encoding: Mapping[str, Any]) -> str:
    """Return the number that is stored for a value of a packed variable."""
    scale, offset = (
        float(np.asarray(encoding.get(key, plain)).item())
        for key, plain in (("scale_factor", 1.0), ("add_offset", 0.0))
    )
    if (scale, offset) == (1.0, 0.0) or not np.isfinite(number):
        return ""
    return (
        f" with scale_factor {scale:g} and add_offset {offset:g}: the value {number:g} is stored "
        f"as {round((number - offset) / scale)}"
    )


def file_variables(
    file: RawFile, source: SourceConfig, key: str, anomalies: bool | None = None
) -> list[FileVariable]:
    """Return the variables of a file that have a time dimension, without reading values.

    Parameters
    ----------
    key
        Place of the source in the experiment file, for messages: ``data.sources[0]``.
    anomalies
        Whether values are anomalies; by default the name and attributes of a variable tell.

    Raises
    ------
    DataError
        If the file has no dates, no regular grid or no variable.
    """
    ds, kinds = _open(file)
    times = read_times(ds, kinds, file)
    needed = [kind for kind in ("time", "latitude", "longitude") if kind in kinds.values()]
    variables = _read_variables(
        file, ds, kinds, times, _with_dimensions(ds, kinds, needed), source, key, anomalies
    )
    if not variables:
        listed = ", ".join(f"{name} {list(map(str, v.dims))}" for name, v in ds.data_vars.items())
        raise DataError(
            f"{file.path}: no variable has the dimensions time, latitude and longitude; found "
            f"{listed}; give a file of gridded fields"
        )
    return variables


def static_file_variables(file: RawFile, source: SourceConfig, key: str) -> list[FileVariable]:
    """Return the variables of a file that may be static: on the grid, without levels.

    They may have a time dimension; only their values show whether they change in time. A
    geopotential without a level is taken for that of the surface.
    """
    ds, kinds = _open(file)
    timed = "time" in kinds.values()
    no_time = FileTimes(np.empty(0, "M8[ns]"), np.zeros(1, int), [])
    times = read_times(ds, kinds, file) if timed else no_time
    needed = [kind for kind in ("latitude", "longitude") if kind in kinds.values()]
    placed = _with_dimensions(ds, kinds, needed, "fiub")  # a mask may be true and false
    if source.level is None:
        single_level = {name for name, dims in placed.items() if "level" not in dims}
        heights = {name for name in single_level if split_name(name) == ("geopotential", None)}
        surface = dict.fromkeys(heights, "geopotential_at_surface")
        source = source.model_copy(update={"rename": surface | source.rename})
    variables = _read_variables(file, ds, kinds, times, placed, source, key, False)
    return [variable for variable in variables if variable.levels is None]


def field_variables(
    file: RawFile, ds: xr.Dataset, source: SourceConfig, key: str
) -> list[FileVariable]:
    """Return the variables with latitude and longitude of a Dataset without times.

    Parameters
    ----------
    file : RawFile
        File that the Dataset describes, whose arrays may have more dimensions.
    ds : xarray.Dataset
    source, key
        The source and its name, for messages.
    """
    kinds = dimension_kinds(ds)
    no_time = FileTimes(np.empty(0, "M8[ns]"), np.zeros(1, int), [])
    needed = [kind for kind in ("latitude", "longitude") if kind in kinds.values()]
    placed = _with_dimensions(ds, kinds, needed)
    return _read_variables(file, ds, kinds, no_time, placed, source, key, None)


def _open(file: RawFile) -> tuple[xr.Dataset, dict[str, str]]:
    """Open a file and determine the kinds of its dimensions."""
    ds = file.open()
    if not ds.data_vars:
        raise DataError(f"{file.path}: contains no variables{_suggest_groups(file)}")
    return ds, dimension_kinds(ds)


def _suggest_groups(file: RawFile) -> str:
    """End a message with the groups of a netCDF file, if it has some."""
    if file.is_zarr:
        return "; if they are in a group of the store, give the path of the group"
    there = group_names(Path(file.path)) if file.engine == "netcdf4" else []
    if not there:
        return "; give a file of gridded fields"
    return f"; it has groups: give one of {', '.join(f'{file.path}/{name}' for name in there)}"


def _with_dimensions(
    ds: xr.Dataset, kinds: dict[str, str], needed: Sequence[str], types: str = "fiu"
) -> dict[str, dict[str, str]]:
    """Select variables that have dimensions of these kinds; return their dimensions by kind.

    ``types`` are the kinds of numpy's data types that a field may have.
    """
    return {
        str(name): dims
        for name, array in ds.data_vars.items()
        if set(needed)
        <= set(dims := {kind: dim for dim, kind in kinds.items() if dim in array.dims})
        and array.dtype.kind in types
        and not _BOUNDS & set(map(str, array.dims))
    }


def _read_variables(
    file: RawFile,
    ds: xr.Dataset,
    kinds: dict[str, str],
    times: FileTimes,
    chosen: dict[str, dict[str, str]],
    source: SourceConfig,
    key: str,
    anomalies: bool | None,
) -> list[FileVariable]:
    """Describe the chosen variables of a file, of which dimensions are given by kind."""
    grid = read_grid(ds, kinds, file)
    levels = {dim: read_levels(ds, dim) for dim, kind in kinds.items() if kind == "level"}
    single = None if levels else find_coordinate(ds, kinds, "level")
    if single is not None:  # a level as a coordinate without a dimension
        levels[single] = read_levels(ds, single)
    origin = {key: str(ds.attrs[key]) for key in _ORIGIN if key in ds.attrs}
    variables = []
    # A zarr store lists its arrays in an order that differs between machines and copies.
    listed = sorted(chosen) if file.is_zarr else list(chosen)
    for raw_name in listed:
        raw, dims = ds[raw_name].variable, dict(chosen[raw_name])
        if single is not None:
            dims["level"] = single
        variable, level, problem = recognise_variable(raw_name, raw, dims, levels, source, key)
        factor, offset, unit, unit_problem = canonical_unit(raw_name, variable, raw, source, key)
        problem = (
            raw.encoding.get("problem")
            or problem
            or _extra_dimension(raw_name, raw, dims, key)
            or unit_problem
        )
        # A dimension of one level, or without pressures, has length 1 and is dropped.
        order = levels[dims["level"]].positions if level and len(level) > 1 else None
        quantity = QUANTITIES.get(variable)
        attrs: dict[str, Any] = {
            "long_name": str(raw.attrs.get("long_name", variable)),
            "units": unit,
        }
        standard_name = quantity.standard_name if quantity else raw.attrs.get("standard_name")
        if is_anomaly(raw_name, raw) if anomalies is None else anomalies:
            offset = 0.0  # between degrees Celsius and kelvin, for differences of temperature
            standard_name = raw.attrs.get("standard_name")
            if "anomal" not in attrs["long_name"].lower():
                attrs["long_name"] += " anomaly"
            attrs["anomalies"] = 1
        if standard_name:
            attrs["standard_name"] = str(standard_name)
        if order is None:
            dims.pop("level", None)
        if "expver" in dims and raw.sizes[dims["expver"]] == 1:
            del dims["expver"]
        own = ["expver 1 and 5 (preliminary ERA5) are merged"] if "expver" in dims else []
        if file.is_zarr and np.all(raw.encoding.get("_FillValue", np.nan) == 0):
            own.append(
                f"{file.path}: {raw_name}: zeros are read as missing, as 0 is the fill value; if "
                f"they are values, set {key}.fill: value"
            )
        variables.append(
            FileVariable(
                file,
                raw_name,
                variable,
                level,
                times.times,
                times.positions,
                grid.latitude,
                grid.longitude,
                IndexMap(dims, grid.rows, grid.columns, order),
                factor,
                offset,
                attrs,
                stored_chunk_lengths(raw).get(dims.get("time", ""), 1),
                _stated_sum(source, raw_name, variable),
                source.interpolate,
                problem,
                [*times.notes, *grid.notes, *own],
                origin,
            )
        )
    return variables


def _stated_sum(
    source: SourceConfig, raw_name: str, variable: str
) -> Duration | Literal[False] | None:
    """Return what a source states about a variable that may be a sum over time."""
    for name in (raw_name, variable):
        if name in source.accumulated:
            return source.accumulated[name] or False
    return None


def _extra_dimension(raw_name: str, raw: xr.Variable, dims: dict[str, str], key: str) -> str | None:
    """Describe a dimension that is none of the known kinds, if there is one."""
    for dim in raw.dims:
        if dim not in dims.values() and raw.sizes[dim] > 1:
            return (
                f"{raw_name}: its dimension {dim} has {raw.sizes[dim]} entries, but only time, "
                f"level, latitude and longitude are read; set {key}.select: {{{dim}: ...}} to the "
                "entry that shall be read"
            )
    return None
