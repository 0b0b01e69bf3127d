"""The canonical Dataset of all files: names of ERA5, SI units, one order of dimensions."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from gfrnn.pipeline.config.data_config import DataConfig, Region
from gfrnn.pipeline.data.combine import (
    Selection,
    group_variables,
    lazy_variable,
    time_chunks,
)
from gfrnn.pipeline.data.grid import format_extent, region_cells, same_coordinates
from gfrnn.pipeline.data.in_time.step_times import step_times
from gfrnn.pipeline.data.joined_times import common_times
from gfrnn.pipeline.data.monthly_times import with_middles_of_months
from gfrnn.pipeline.data.regridding.area_means import regridded
from gfrnn.pipeline.data.regridding.interpolation import interpolate_to_common_grid
from gfrnn.pipeline.data.time_axis import keep_step
from gfrnn.pipeline.data.transforms import TRANSFORM
from gfrnn.pipeline.data.variables.common_units import with_common_units
from gfrnn.pipeline.data.variables.file_variables import (
    FileVariable,
    file_variables,
    source_variables,
)
from gfrnn.pipeline.data.variables.names import QUANTITIES, suggest_names
from gfrnn.pipeline.errors import DataError

_LOGGER = logging.getLogger(__name__)


def open_source(data: DataConfig, without: Collection[np.datetime64] = ()) -> xr.Dataset:
    """Open the files of a ``data`` section as one canonical Dataset.

    Values are read only where files overlap, at a few times, to compare them.

    Dimensions (time, [level], latitude, longitude); ``time`` datetime64, strictly increasing;
    ``latitude`` ascending; ``longitude`` in [0, 360) ascending; ``level`` in hPa ascending. Names
    are those of ERA5, units SI, values float32. The Dataset pickles to little more than its
    coordinates, opens its files in the process that reads, and needs no Dask; ``.chunk()`` works.

    Each variable has ``attrs['levels']``: its own levels (hPa), empty for a variable without
    levels. At levels of other variables it is NaN. Values are physical; ``attrs['transform']`` is
    how they are transformed for a model.

    ``ds.attrs`` has ``time_chunk`` (times in a stored chunk) and ``time_chunk_start`` (first time
    of a chunk), to plan reads that have no chunk in common, ``left_out`` (list of str: the times of
    ``without`` that were there), ``notes`` (list of str: what was merged or dropped), ``losses``
    (those notes that tell of data which are not used, or may be misread), ``origins`` (title,
    institution, source and comment of the files) and ``sums`` (dict: by name of each sum over time,
    as text, the time after which the stored sum begins anew, and the step of the files).

    Parameters
    ----------
    data : DataConfig
    without : collection of datetime64
        Times to leave out, as if the files did not have them.

    Raises
    ------
    DataError
        If files are missing, cannot be read or do not fit each other; the message names the file,
        variable or key, and the remedy.
    """
    read = partial(file_variables, anomalies=data.anomalies)
    found = source_variables(data.sources, "data.sources", read)
    parts = _select_variables([part for parts in found.values() for part in parts], data)
    parts = with_common_units(parts)
    parts = with_middles_of_months(parts, data.step)
    parts = interpolate_to_common_grid(parts)
    _common_grid(parts)
    parts = regridded(parts, data.grid)
    latitude, longitude = _common_grid(parts)
    rows, columns = _select_region(latitude, longitude, data.region)
    groups = group_variables(parts)
    at_step = step_times(groups, data)
    time, losses = common_times(groups, {key: each.times for key, each in at_step.items()})
    losses += [loss for each in at_step.values() for loss in each.losses]
    if data.step is not None and all(each.windows is None for each in at_step.values()):
        time = time[keep_step(time, data.step)]
    left_out = np.isin(time, np.array(list(without), dtype=time.dtype))
    dropped, time = time[left_out], time[~left_out]
    level = sorted({level for _, levels in groups for level in levels or ()})
    selection = Selection(time, level, rows, columns)
    windows = {key: each.windows_at(time) for key, each in at_step.items()}
    variables: dict[str, xr.Variable] = {}
    for name in dict.fromkeys(variable for variable, _ in groups):
        own = {levels: group for (variable, levels), group in groups.items() if variable == name}
        variables[name] = lazy_variable(
            own, {levels: windows[name, levels] for levels in own}, selection
        )
        methods = at_step[name, next(iter(own))].cell_methods
        variables[name].attrs |= {"cell_methods": methods} if methods else {}
        if name in data.transform:
            variables[name].attrs[TRANSFORM] = data.transform[name]
    chunk, first = time_chunks(groups, windows, time)
    for variable in variables.values():
        variable.encoding["preferred_chunks"] = {"time": chunk}
    computed = [note for each in at_step.values() for note in each.notes]
    own_notes = [note for part in parts for note in part.notes]
    notes = list(dict.fromkeys([*losses, *computed, *own_notes]))
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
        ("latitude", latitude[rows], "degrees_north", "Y"),
        ("longitude", longitude[columns], "degrees_east", "X"),
    ):
        keys = ("standard_name", "long_name", "units", "axis")
        coords[name] = (name, values, dict(zip(keys, (name, name, *described), strict=True)))
    attrs = {
        "Conventions": "CF-1.8",
        "time_chunk": chunk,
        "time_chunk_start": first,
        "left_out": [str(stamp) for stamp in dropped],
        "notes": notes,
        "losses": losses,
        "origins": _origins(parts),
        "sums": {
            name: tuple(map(str, each.sums))
            for (name, _), each in at_step.items()
            if each.sums is not None
        },
    }
    files = {part.file for part in parts}
    _LOGGER.info(
        "data: %d files, %d times, %d x %d points, %s",
        len(files),
        len(time),
        len(latitude[rows]),
        len(longitude[columns]),
        ", ".join(variables),
    )
    return xr.Dataset(variables, coords, attrs)


def log_losses(ds: xr.Dataset, where: str = "data") -> None:
    """Log, as warnings, which data of the files are not used; ``where`` names the files."""
    for loss in ds.attrs.get("losses", []):
        _LOGGER.warning("%s: %s", where, loss)


def _origins(fields: list[FileVariable]) -> list[dict[str, str]]:
    """Collect title, institution, source and comment of the files, equal ones once."""
    stated: list[dict[str, str]] = []
    for field in fields:
        if field.origin and field.origin not in stated:
            stated.append(field.origin)
    return stated


def _select_variables(fields: list[FileVariable], data: DataConfig) -> list[FileVariable]:
    """Select the variables and levels of ``data.variables``, in its order.

    Where the key is not given, known variables are in the order of their table, and others follow
    by name: the order of a file may change when it is written again, and the channels of a model
    may not.

    Raises
    ------
    DataError
        If a variable or level is not in the data, or a selected one cannot be used.
    """
    there = {field.variable for field in fields}
    for key in ("aggregate", "transform"):
        named = getattr(data, key)
        for name in named if isinstance(named, Mapping) else ():
            if name not in there:
                raise DataError(
                    f"data.{key}: {name} is not in the data; {suggest_names(name, there)}"
                )
    if data.variables is None:
        places = {name: place for place, name in enumerate(QUANTITIES)}
        ordered = sorted(
            fields, key=lambda field: (places.get(field.variable, len(places)), field.variable)
        )
        chosen = [(field, field.levels) for field in ordered]
    else:
        chosen = []
        for name, levels in data.variables.items():
            if name not in there:
                raise DataError(
                    f"data.variables: {name} is not in the data; {suggest_names(name, there)}"
                )
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
    """Check that the data have the levels of ``data.variables``."""
    if levels is None or any(field.problem for field in own):
        return
    there = {level for field in own for level in field.levels or ()}
    if not there:
        raise DataError(
            f"data.variables.{name}: the variable has no levels, but {levels} are given; write "
            f"`{name}:` without levels"
        )
    absent = [level for level in levels if level not in there]
    if absent or not levels:
        found = f"levels {absent} (hPa) are not in the data" if absent else "no level is given"
        raise DataError(f"data.variables.{name}: {found}; choose from {sorted(there)}")


def _with_levels(field: FileVariable, levels: tuple[float, ...] | None) -> FileVariable:
    """Return a variable with fewer levels."""
    if levels == field.levels or levels is None or field.levels is None:
        return field
    keep = [field.levels.index(level) for level in levels]
    grid = field.grid
    order = None if grid.level is None else grid.level[keep]
    return replace(field, levels=levels, grid=replace(grid, level=order))


def _common_grid(fields: list[FileVariable]) -> tuple[np.ndarray, np.ndarray]:
    """Return latitude and longitude of the grid that all files must have."""
    first = fields[0]
    for field in fields[1:]:
        for name in ("latitude", "longitude"):
            a, b = getattr(first, name), getattr(field, name)
            if not same_coordinates(a, b):
                raise DataError(
                    f"{first.file.path} and {field.file.path} have different {name}s: "
                    f"{format_extent(a)} and {format_extent(b)}; use one grid for all, or "
                    "interpolate one of them (data.sources.interpolate)"
                )
    return first.latitude, first.longitude


def _select_region(
    latitude: np.ndarray, longitude: np.ndarray, region: Region | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of rows and columns inside the region."""
    if region is None:
        return np.arange(latitude.size), np.arange(longitude.size)
    rows, columns = region_cells(latitude, longitude, region.latitude, region.longitude)
    for name, found, values in (("latitude", rows, latitude), ("longitude", columns, longitude)):
        if found.size == 0:
            raise DataError(
                f"data.region.{name}: {list(getattr(region, name))} contains no point of the data, "
                f"which have {format_extent(values)}; choose a region within them"
            )
    return rows, columns
