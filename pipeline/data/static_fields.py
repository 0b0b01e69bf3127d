"""Static fields, such as orography and land-sea mask, on the grid of the data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.config.data_config import DataConfig
from gfrnn.pipeline.data.file_reading import FileTimeRange, read_from_file
from gfrnn.pipeline.data.grid import Grid, coordinate_tolerance, format_extent
from gfrnn.pipeline.data.regridding.area_means import regridded
from gfrnn.pipeline.data.variables.file_variables import (
    FileVariable,
    source_variables,
    static_file_variables,
)
from gfrnn.pipeline.data.variables.names import QUANTITIES, suggest_names
from gfrnn.pipeline.errors import DataError

Array = NDArray[Any]

_ROUNDING = 1e-4  # of the range of a field: packed copies of a field differ by some 1e-5


def open_static(
    config: DataConfig, grid: Grid, names: Sequence[str], key: str = "state.static"
) -> Array:
    """Read static fields by name, on the grid of the data.

    A static field is a variable of ``data.sources`` or ``data.static`` that has no levels, and
    either no time dimension or the same values at the first and the last time. It may cover more
    than the grid. ``latitude`` is the sine of the latitude, computed from the grid.

    Parameters
    ----------
    config : DataConfig
    grid : Grid
        Grid of the data, in the region.
    names : sequence of str
        Names of ERA5, such as ``geopotential_at_surface`` and ``land_sea_mask``, or names in the
        files of variables that are not in the table of names.
    key : str
        Key of the experiment that has the names, for messages.

    Returns
    -------
    ndarray, shape (len(names), latitudes, longitudes), float64
        In the order and orientation of the grid, in the units of ERA5.

    Raises
    ------
    DataError
        If a field is not found, changes in time, is on another grid, has missing or impossible
        values, or is found several times with different values.
    """
    series = _candidates(config) if set(names) - {"latitude"} else []
    fields = [
        _sine_latitude(grid) if name == "latitude" else _find_static(name, series, grid, key)
        for name in names
    ]
    return np.stack(fields) if fields else np.empty((0, *grid.shape[1:]))


def _sine_latitude(grid: Grid) -> Array:
    sine = np.sin(np.deg2rad(grid.latitude))
    return np.repeat(sine[:, None], len(grid.longitude), axis=1)


def _candidates(config: DataConfig) -> list[list[FileVariable]]:
    """List variables that may be static, each with its parts in the files in order of time."""
    series: list[list[FileVariable]] = []
    for section in ("sources", "static"):
        found = source_variables(getattr(config, section), f"data.{section}", static_file_variables)
        for fields in found.values():
            by_name: dict[str, list[FileVariable]] = {}
            for field in fields:
                by_name.setdefault(field.raw_name, []).append(_on_grid(field, config))
            series += [sorted(parts, key=_first_time) for parts in by_name.values()]
    return series


def _on_grid(field: FileVariable, config: DataConfig) -> FileVariable:
    """Return a field on the grid that the data are averaged to, or as it is if it is no finer."""
    try:
        return regridded([field], config.grid)[0]
    except DataError:
        return field  # it may be on the coarser grid already, which is checked when it is read


def _first_time(field: FileVariable) -> np.datetime64:
    return field.times[0] if field.times.size else np.datetime64("NaT")


def _find_static(
    name: str, series: Sequence[Sequence[FileVariable]], grid: Grid, key: str
) -> Array:
    """Read the static field of a name, and check that all copies of it are the same."""
    candidates = [parts for parts in series if parts[0].variable == name]
    if not candidates:
        # Variables with several times are not listed: they may change in time.
        single = {parts[0].variable for parts in series if _is_single(parts)}
        # The sine of latitude is an input of patches; a region has keys for its box.
        computed = ["latitude"] if key == "state.static" else []
        allowed = [*computed, *sorted(single)]
        advice = (
            suggest_names(name, allowed) if allowed else "name a file that has it in data.static"
        )
        raise DataError(
            f"{name}: no such static field in data.sources or data.static (key {key}); {advice}"
        )
    found: list[tuple[FileVariable, Array]] = []
    refusals: list[str] = []
    for parts in candidates:
        field = parts[0]
        try:
            found.append((field, _read_constant(parts, grid)))
        except DataError as error:
            refusals.append(str(error))
    if not found:
        raise DataError("\n".join(refusals))
    (first, values), *others = found
    _check_static_values(name, first, values, grid)
    for other, more in others:
        if not _equal(values, more):
            raise DataError(
                f"{name}: {first.file.path} ({first.raw_name}) and {other.file.path} "
                f"({other.raw_name}) differ; give one of them another name with the key rename of "
                "its source, or leave it out"
            )
    return values


def _read_constant(parts: Sequence[FileVariable], grid: Grid) -> Array:
    """Read a variable that is the same at its first and its last time, on the grid."""
    first, last = parts[0], parts[-1]
    values = _read(first, 0, grid)
    if not _is_single(parts) and not _equal(values, _read(last, -1, grid)):
        raise DataError(
            f"{first.file.path}: {first.raw_name} ({first.variable}) changes in time, so it is "
            "not a static field; give one of this name in data.static"
        )
    return values


def _is_single(parts: Sequence[FileVariable]) -> bool:
    """Whether a variable has one time only."""
    return len(parts) == 1 and _time_positions(parts[0]).size == 1


def _time_positions(field: FileVariable) -> Array:
    """Return the positions of times in the file; 0 for a variable without a time dimension."""
    return field.rows if "time" in field.grid.dims else np.zeros(1, int)


def _equal(a: Array, b: Array) -> bool:
    """Whether two fields are equal up to rounding, with the same missing values."""
    if not np.array_equal(np.isnan(a), np.isnan(b)):
        return False
    there = ~np.isnan(a)
    if not there.any():
        return True
    return bool(np.abs(a[there] - b[there]).max() <= _ROUNDING * np.ptp(a[there]))


def _read(field: FileVariable, which: int, grid: Grid) -> Array:
    """Read the field of the first (0) or last (-1) time, on the grid."""
    if field.problem:
        raise DataError(f"{field.file.path}: {field.problem}")
    times = _time_positions(field)
    if not times.size:
        raise DataError(
            f"{field.file.path}: the time dimension of {field.raw_name} is empty; give a file with "
            "values"
        )
    rows, columns = (_grid_positions(field, grid, axis) for axis in ("latitude", "longitude"))
    part = FileTimeRange(
        field.file, field.raw_name, field.grid, 0, range(1), field.factor, field.offset
    )
    values = np.empty((1, 1, rows.size, columns.size))
    read_from_file(values, part, times[[which]], np.zeros(1, int), rows, columns)
    return values[0, 0]


def _grid_positions(field: FileVariable, grid: Grid, axis: str) -> Array:
    """Return the positions in a field of a coordinate of the grid."""
    own, wanted = getattr(field, axis), getattr(grid, axis)
    # Distance along the circle; for latitudes it is the plain distance.
    distance = np.abs((own[None, :] - wanted[:, None] + 180) % 360 - 180)
    if distance.min(axis=1).max() > coordinate_tolerance(own):
        raise DataError(
            f"{field.file.path}: {field.raw_name} ({field.variable}) is on another grid: its "
            f"{axis}s are {format_extent(own)}, those of the data {format_extent(wanted)}; "
            "interpolate it to the grid of the data, for example with cdo remapbil"
        )
    return np.asarray(distance.argmin(axis=1))


def _check_static_values(name: str, field: FileVariable, values: Array, grid: Grid) -> None:
    """Check that all values are finite and physically possible."""
    quantity = QUANTITIES.get(name)
    low, high = (quantity.low, quantity.high) if quantity else (-np.inf, np.inf)
    bad = ~np.isfinite(values) | (values < low) | (values > high)
    if not bad.any():
        return
    row, column = np.argwhere(bad)[0]
    value = values[row, column]
    what = "a missing value (NaN)" if np.isnan(value) else f"{value:g}"
    allowed = f"{low:g}..{high:g} {quantity.units}" if quantity else "finite numbers"
    raise DataError(
        f"{field.file.path}: {field.raw_name} ({name}) has {what} at latitude "
        f"{grid.latitude[row]:g}, longitude {grid.longitude[column]:g} ({int(bad.sum())} such "
        f"values of {bad.size}); allowed is {allowed}; correct the file, or leave the field out"
    )
