"""Whatever people have, as one Dataset: names of ERA5, SI units, one order of dimensions."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from gfrnn.pipeline.config.experiment import DataConfig, Region, SourceConfig
from gfrnn.pipeline.data.assemble import Cut, chunking, common_times, join_layers, lazy_variable
from gfrnn.pipeline.data.canonical_array import IndexMap
from gfrnn.pipeline.data.file_variables import FileVariable, alike, survey
from gfrnn.pipeline.data.files import RawFile, find
from gfrnn.pipeline.data.missing_chunks import missing_chunks
from gfrnn.pipeline.data.time_axis import keep_step
from gfrnn.pipeline.errors import DataError

__all__ = [
    "TOLERANCE",
    "Channel",
    "channels",
    "extent",
    "fingerprint",
    "missing_chunks",
    "open_source",
    "survey_all",
]

_ORIGIN = ("title", "institution", "source", "comment")
TOLERANCE = 1e-4  # degrees: coordinates of float32 files differ by some 1e-5


@dataclass(frozen=True)
class Channel:
    """One field of a state: a variable, at a level (hPa) where it has levels."""

    variable: str
    level: float | None = None

    @property
    def name(self) -> str:
        """``geopotential_500``, ``mean_sea_level_pressure``."""
        return self.variable if self.level is None else f"{self.variable}_{self.level:g}"


def channels(ds: xr.Dataset) -> list[Channel]:
    """The channels of a canonical Dataset: its variables in order, levels ascending."""
    return [
        Channel(str(name), level)
        for name, array in ds.data_vars.items()
        for level in array.attrs.get("levels") or [None]
    ]


def open_source(data: DataConfig) -> xr.Dataset:
    """The canonical Dataset of a ``data`` section; no values are read.

    Dimensions (time, [level], latitude, longitude); ``time`` datetime64, strictly increasing;
    ``latitude`` ascending; ``longitude`` in [0, 360) ascending; ``level`` in hPa ascending. Names
    are those of ERA5, units SI, values float32. The Dataset pickles to little more than its
    coordinates, opens its files in the process that reads, and needs no Dask; ``.chunk()`` works.

    Each variable has ``attrs['levels']``: its own levels (hPa), none for a variable without. Where
    ``level`` holds levels of other variables too, it reads as NaN there.

    ``ds.attrs`` has ``time_chunk`` (times in a stored chunk), ``time_chunk_start`` (the first time
    that begins one; both for planning reads that share no chunk), and ``notes`` (list of text:
    what was cut, merged or dropped) and ``origins`` (title, institution, source and comment of
    the files, as they state them).

    Raises
    ------
    DataError
        For what is not there, not readable, or does not go together: says which file, variable or
        key, and what to do.
    """
    surveyed = survey_all(data.sources, "data.sources", survey)
    fields = _wanted([field for fields in surveyed.values() for field in fields], data)
    latitude, longitude = _common_grid(fields)
    rows_lat, rows_lon = _box(latitude, longitude, data.region)
    layers = join_layers(fields)
    time, notes = common_times(layers)
    if data.step is not None:
        time = time[keep_step(time, data.step)]
    level = sorted({level for _, levels in layers for level in levels or ()})
    cut = Cut(time, level, rows_lat, rows_lon)
    variables: dict[str, xr.Variable] = {}
    for name in dict.fromkeys(variable for variable, _ in layers):
        own = {levels: parts for (variable, levels), parts in layers.items() if variable == name}
        variables[name] = lazy_variable(name, own, cut)
    chunk, first = chunking(layers, time)
    for variable in variables.values():
        variable.encoding["preferred_chunks"] = {"time": chunk}
    notes += list(dict.fromkeys(n for f in fields for n in f.notes))
    coords: dict[str, Any] = {"time": ("time", time, {"standard_name": "time", "axis": "T"})}
    if level:
        pressure = {
            "standard_name": "air_pressure",
            "units": "hPa",
            "positive": "down",
            "axis": "Z",
        }
        coords["level"] = ("level", np.array(level, float), pressure)
    for name, values, *described in (
        ("latitude", latitude[rows_lat], "degrees_north", "Y"),
        ("longitude", longitude[rows_lon], "degrees_east", "X"),
    ):
        keys = ("standard_name", "long_name", "units", "axis")
        coords[name] = (name, values, dict(zip(keys, (name, name, *described), strict=True)))
    attrs = {
        "Conventions": "CF-1.8",
        "time_chunk": chunk,
        "time_chunk_start": first,
        "notes": notes,
        "origins": _origins(fields),
    }
    return xr.Dataset(variables, coords, attrs)


def _origins(fields: list[FileVariable]) -> list[dict[str, str]]:
    """What the files say of where they come from, each statement once."""
    stated = []
    for file in dict.fromkeys(field.file for field in fields):
        attrs = file.open().attrs
        origin = {key: str(attrs[key]) for key in _ORIGIN if key in attrs}
        if origin and origin not in stated:
            stated.append(origin)
    return stated


def survey_all(
    sources: Sequence[SourceConfig],
    section: str,
    look: Callable[[RawFile, SourceConfig, str], list[FileVariable]],
) -> dict[str, list[FileVariable]]:
    """The fields of each source by its key, ``data.sources[0]``, as ``look`` finds them in a file.

    Raises
    ------
    DataError
        For files that are not there or not readable, and names in ``rename`` or ``units`` that
        are not in them.
    """
    fields: dict[str, list[FileVariable]] = {}
    for number, source in enumerate(sources):
        key = f"{section}[{number}]"
        files = find(source.path, source.storage_options, key)
        fields[key] = [field for file in files for field in look(file, source, key)]
        for option in ("rename", "units"):
            given = getattr(source, option)
            there = {str(name) for file in files if given for name in file.open().data_vars}
            for name in given:
                if name not in there:
                    raise DataError(f"{key}.{option}: {name} is not in it; {alike(name, there)}")
    return fields


def _wanted(fields: list[FileVariable], data: DataConfig) -> list[FileVariable]:
    """The fields that ``data.variables`` names, in its order, with the levels that it names."""
    there = {field.variable for field in fields}
    if data.variables is None:
        chosen = [(field, field.levels) for field in fields]
    else:
        chosen = []
        for name, levels in data.variables.items():
            if name not in there:
                raise DataError(f"data.variables: {name} is not in the data; {alike(name, there)}")
            own = [field for field in fields if field.variable == name]
            _check_levels(name, levels, own)
            for field in own:
                kept = field.levels
                if levels is not None and kept is not None:
                    kept = tuple(level for level in kept if level in levels)
                if kept is None or kept:
                    chosen.append((field, kept))
    problems: dict[str, list[str]] = {}
    for field, _ in chosen:
        if field.problem:
            problems.setdefault(field.problem, []).append(field.file.path)
    if problems:
        more = {
            text: f" and {len(paths) - 1} more" for text, paths in problems.items() if paths[1:]
        }
        raise DataError(
            "\n".join(f"{paths[0]}{more.get(t, '')}: {t}" for t, paths in problems.items())
        )
    return [_with_levels(field, levels) for field, levels in chosen]


def _check_levels(name: str, levels: list[float] | None, own: list[FileVariable]) -> None:
    if levels is None or any(field.problem for field in own):
        return
    there = {level for field in own for level in field.levels or ()}
    if not there:
        raise DataError(f"data.variables.{name}: has no levels; write {name}: without any")
    absent = [level for level in levels if level not in there]
    if absent or not levels:
        raise DataError(
            f"data.variables.{name}: {absent or 'no level'} hPa is not in the data; there is "
            f"{sorted(there)}"
        )


def _with_levels(field: FileVariable, levels: tuple[float, ...] | None) -> FileVariable:
    """The same field with fewer levels."""
    if levels == field.levels or levels is None or field.levels is None:
        return field
    keep = [field.levels.index(level) for level in levels]
    grid = field.grid
    order = None if grid.level is None else grid.level[keep]
    cut = IndexMap(grid.dims, grid.latitude, grid.longitude, order)
    return replace(field, levels=levels, grid=cut)


def _common_grid(fields: list[FileVariable]) -> tuple[np.ndarray, np.ndarray]:
    first = fields[0]
    for field in fields[1:]:
        for name in ("latitude", "longitude"):
            a, b = getattr(first, name), getattr(field, name)
            if a.shape != b.shape or np.abs(a - b).max() > TOLERANCE:
                raise DataError(
                    f"{first.file.path} and {field.file.path} have different {name}s: {extent(a)} "
                    f"and {extent(b)}; give files of one grid, or interpolate one of them"
                )
    return first.latitude, first.longitude


def extent(values: np.ndarray) -> str:
    """``-20..14.5 (24)``: the ends and the number of coordinates."""
    return f"{values[0]:g}..{values[-1]:g} ({values.size})"


def _box(
    latitude: np.ndarray, longitude: np.ndarray, region: Region | None
) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the rows and columns inside the region."""
    if region is None:
        return np.arange(latitude.size), np.arange(longitude.size)
    (south, north), (west, east) = region.latitude, region.longitude
    rows = np.nonzero((latitude >= south - TOLERANCE) & (latitude <= north + TOLERANCE))[0]
    # Distance eastwards from the western edge: one rule for both conventions and for Greenwich.
    width = 360.0 if east - west >= 360 else (east - west) % 360
    columns = np.nonzero((longitude - west + TOLERANCE) % 360 <= width + 2 * TOLERANCE)[0]
    for name, found, values in (("latitude", rows, latitude), ("longitude", columns, longitude)):
        if found.size == 0:
            raise DataError(
                f"data.region.{name}: {list(getattr(region, name))} holds no point of the data, "
                f"which has {extent(values)}"
            )
    return rows, columns


def fingerprint(ds: xr.Dataset) -> str:
    """SHA-256 (hex) of names, levels, coordinates, units and the values of some eight times.

    A copy of an archive has the same print; a changed one very likely another.
    """
    digest = hashlib.sha256()
    for coordinate in sorted(map(str, ds.coords)):
        values = ds[coordinate].values
        values = (
            values.astype("datetime64[s]").astype("int64")
            if coordinate == "time"
            else values.astype("f8")
        )
        digest.update(coordinate.encode() + values.tobytes())
    sample = np.unique(np.linspace(0, ds.sizes["time"] - 1, 8).astype(int))
    for name in sorted(map(str, ds.data_vars)):
        array = ds[name]
        levels = array.attrs.get("levels") or []
        digest.update(f"{name} {levels} {array.attrs.get('units')}".encode())
        for number, index in enumerate(sample):
            fields = array.isel(time=int(index))
            # One level each time, in turn, so that large archives are not read for hours.
            fields = fields.sel(level=levels[number % len(levels)]) if levels else fields
            digest.update(np.ascontiguousarray(fields.values, "<f4").tobytes())
    return digest.hexdigest()
