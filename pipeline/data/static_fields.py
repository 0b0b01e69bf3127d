"""Fields that do not change: orography, land-sea mask and the like, on the grid of the data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.config.experiment import DataConfig
from gfrnn.pipeline.data.canonical_array import FileSlice, read_piece
from gfrnn.pipeline.data.fields import Grid
from gfrnn.pipeline.data.file_variables import FileVariable, alike, survey_static
from gfrnn.pipeline.data.names import QUANTITIES
from gfrnn.pipeline.data.sources import TOLERANCE, extent, survey_all
from gfrnn.pipeline.errors import DataError

Array = NDArray[Any]

_ROUNDING = 1e-4  # of a field's range: packed copies of one field differ by some 1e-5


def open_static(config: DataConfig, grid: Grid, names: Sequence[str]) -> Array:
    """Static fields by name, on the grid of the data.

    A static field is a variable of ``data.sources`` or ``data.static`` that has no levels, and
    either no dimension of time or the same values at the first and the last time. It may cover
    more than the grid. ``latitude`` is the sine of the latitude, out of no file.

    Parameters
    ----------
    config : DataConfig
    grid : Grid
        Of the data, cut to the region.
    names : sequence of str
        Names of ERA5, such as ``geopotential_at_surface`` and ``land_sea_mask``; for variables
        that are not in the table of names, those of the files.

    Returns
    -------
    ndarray, shape (len(names), latitudes, longitudes), float64
        In the order and orientation of the grid, in the units of ERA5.

    Raises
    ------
    DataError
        For a name that is nowhere, changes with time, is on another grid, has missing or
        impossible values, or is in several places with different values.
    """
    series = _series(config) if set(names) - {"latitude"} else []
    fields = [_computed(grid) if n == "latitude" else _chosen(n, series, grid) for n in names]
    return np.stack(fields) if fields else np.empty((0, *grid.shape[1:]))


def _computed(grid: Grid) -> Array:
    sine = np.sin(np.deg2rad(grid.latitude))
    return np.repeat(sine[:, None], len(grid.longitude), axis=1)


def _series(config: DataConfig) -> list[list[FileVariable]]:
    """What may be static: the variables of each source, over its files in order of time."""
    series: list[list[FileVariable]] = []
    for section in ("sources", "static"):
        found = survey_all(getattr(config, section), f"data.{section}", survey_static)
        for fields in found.values():
            by_name: dict[str, list[FileVariable]] = {}
            for field in fields:
                by_name.setdefault(field.raw_name, []).append(field)
            series += [sorted(parts, key=_first_time) for parts in by_name.values()]
    return series


def _first_time(field: FileVariable) -> np.datetime64:
    return field.times[0] if field.times.size else np.datetime64("NaT")


def _chosen(name: str, series: Sequence[Sequence[FileVariable]], grid: Grid) -> Array:
    """The field of that name, the same in all places where it is static."""
    candidates = [parts for parts in series if parts[0].variable == name]
    if not candidates:
        # Whether others change with time is not known without reading them.
        single = {parts[0].variable for parts in series if _is_single(parts)}
        raise DataError(
            f"{name}: no such static field in data.sources or data.static; "
            f"{alike(name, ['latitude', *sorted(single)])}"
        )
    found: list[tuple[FileVariable, Array]] = []
    refusals: list[str] = []
    for parts in candidates:
        field = parts[0]
        try:
            found.append((field, _unchanging(parts, grid)))
        except DataError as error:
            refusals.append(str(error))
    if not found:
        raise DataError("\n".join(refusals))
    (first, values), *others = found
    _check_values(name, first, values, grid)
    for other, more in others:
        if not _alike(values, more):
            raise DataError(
                f"{name}: {first.file.path} ({first.raw_name}) and {other.file.path} "
                f"({other.raw_name}) differ; rename one of them in its source, or leave it out"
            )
    return values


def _unchanging(parts: Sequence[FileVariable], grid: Grid) -> Array:
    """Values on the grid of a variable that is the same at its first and at its last time."""
    first, last = parts[0], parts[-1]
    values = _read(first, 0, grid)
    if not _is_single(parts) and not _alike(values, _read(last, -1, grid)):
        raise DataError(
            f"{first.file.path}: {first.raw_name} ({first.variable}) changes with time, so it is "
            "no static field; give one of this name in data.static"
        )
    return values


def _is_single(parts: Sequence[FileVariable]) -> bool:
    """Whether there is only one field, so that nothing can change."""
    return len(parts) == 1 and _rows(parts[0]).size == 1


def _rows(field: FileVariable) -> Array:
    """Positions of its times in the file; one of no meaning where it has no time."""
    return field.rows if "time" in field.grid.dims else np.zeros(1, int)


def _alike(a: Array, b: Array) -> bool:
    """Whether two fields are the same but for rounding, missing values included."""
    if not np.array_equal(np.isnan(a), np.isnan(b)):
        return False
    there = ~np.isnan(a)
    if not there.any():
        return True
    return bool(np.abs(a[there] - b[there]).max() <= _ROUNDING * np.ptp(a[there]))


def _read(field: FileVariable, which: int, grid: Grid) -> Array:
    """One field on the grid, the first (0) or last (-1) of its times."""
    if field.problem:
        raise DataError(f"{field.file.path}: {field.problem}")
    times = _rows(field)
    if not times.size:
        raise DataError(f"{field.file.path}: {field.raw_name} has no times")
    rows, columns = (_places(field, grid, axis) for axis in ("latitude", "longitude"))
    piece = FileSlice(
        field.file, field.raw_name, field.grid, 0, range(1), field.factor, field.offset
    )
    values = read_piece(piece, times[[which]], np.zeros(1, int), rows, columns)
    return values[0, 0].astype(float)


def _places(field: FileVariable, grid: Grid, axis: str) -> Array:
    """Where in a field the coordinates of the grid are: positions, shape of the coordinate."""
    own, wanted = getattr(field, axis), getattr(grid, axis)
    # Around the circle: right for longitudes, and the same as the plain distance for latitudes.
    distance = np.abs((own[None, :] - wanted[:, None] + 180) % 360 - 180)
    if distance.min(axis=1).max() > TOLERANCE:
        raise DataError(
            f"{field.file.path}: {field.raw_name} ({field.variable}) is on another grid: its "
            f"{axis}s are {extent(own)}, those of the data {extent(wanted)}; interpolate it to "
            "the grid of the data, for example with cdo remapbil"
        )
    return np.asarray(distance.argmin(axis=1))


def _check_values(name: str, field: FileVariable, values: Array, grid: Grid) -> None:
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
        f"values of {bad.size}); allowed is {allowed}; mend the file, or leave the field out"
    )
