"""Conservative regridding: means over the cells of a coarser regular grid.

The mean over a larger cell is that of the smaller cells, weighted with the areas in which both
overlap (Jones 1999, Mon. Wea. Rev. 127, 2204, first order). On grids of latitude and longitude the
area is a product of a difference of sines of latitude and one of longitudes, and so are the
weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.config.data_config import GridConfig
from gfrnn.pipeline.data.grid import contiguous_longitudes, format_extent
from gfrnn.pipeline.data.variables.file_variables import FileVariable
from gfrnn.pipeline.errors import DataError

Array = NDArray[np.float64]

# Part of a cell, in coordinates stored as float32, by which edges may differ.
_TOLERANCE = 1e-3


def regridded(parts: Sequence[FileVariable], grid: GridConfig | None) -> list[FileVariable]:
    """Return the variables on a coarser grid; values are read and averaged when they are needed.

    Cells of the new grid are centred at multiples of its spacing from the South Pole and from
    Greenwich. Those that lie inside of the cells of the files are kept. A mean is missing where any
    of its parts is.

    Parameters
    ----------
    parts : sequence of FileVariable
    grid : GridConfig or None
        None leaves the variables as they are.

    Raises
    ------
    DataError
        If the grid of a file is not finer, or contains no cell of the new one.
    """
    return list(parts) if grid is None else [_regridded(part, grid.spacing) for part in parts]


def _regridded(part: FileVariable, spacing: float) -> FileVariable:
    if min(part.latitude.size, part.longitude.size) < 2:
        raise DataError(
            f"data.grid: {part.file.path} has a single latitude or longitude, so that its cells "
            "have no area; leave the key out"
        )
    degrees = contiguous_longitudes(part.longitude)[1]
    own = float(max(np.diff(part.latitude).max(), np.diff(degrees).max()))
    if own > spacing * (1 + _TOLERANCE):
        raise DataError(
            f"data.grid.spacing: {spacing:g} degrees is finer than the grid of {part.file.path}, "
            f"{own:g} degrees; means over cells make grids coarser only: give {own:g} or more, or "
            "leave the key out"
        )
    latitude, rows, row_weights = _latitudes(part.latitude, spacing)
    longitude, columns, column_weights = _longitudes(part.longitude, spacing)
    if not (latitude.size and longitude.size):
        raise DataError(
            f"data.grid.spacing: no cell of {spacing:g} degrees lies inside of the cells of "
            f"{part.file.path}, latitudes {format_extent(part.latitude)} and longitudes "
            f"{format_extent(part.longitude)}; give a smaller spacing"
        )
    to_file = replace(
        part.grid,
        latitude=part.grid.latitude[rows],
        longitude=part.grid.longitude[columns],
        weights=(row_weights, column_weights),
    )
    note = f"means over cells of {spacing:g} degrees, of {own:g} degrees in the files (data.grid)"
    return replace(
        part, latitude=latitude, longitude=longitude, grid=to_file, notes=[*part.notes, note]
    )


def _edges(points: Array) -> Array:
    """Return the edges of cells, half-way between their ascending centres: shape (n + 1,)."""
    middle = (points[1:] + points[:-1]) / 2
    return np.concatenate([[2 * points[0] - middle[0]], middle, [2 * points[-1] - middle[-1]]])


def _latitudes(points: Array, spacing: float) -> tuple[Array, NDArray[np.int64], Array]:
    """Return the new latitudes, and positions and weights of their parts."""
    edges = np.clip(_edges(points), -90, 90)
    centres = np.linspace(-90, 90, round(180 / spacing) + 1)
    low, high = (np.clip(centres + side * spacing / 2, -90, 90) for side in (-1, 1))
    slack = _TOLERANCE * spacing
    inside = (low >= edges[0] - slack) & (high <= edges[-1] + slack)
    sines = (np.sin(np.deg2rad(each)) for each in (low[inside], high[inside], edges))
    return centres[inside], *_parts(*sines)


def _longitudes(points: Array, spacing: float) -> tuple[Array, NDArray[np.int64], Array]:
    """Return the new longitudes, 0 to 360, and positions and weights of their parts."""
    order, degrees = contiguous_longitudes(points)
    edges = _edges(degrees)
    slack = _TOLERANCE * spacing
    count = round(360 / spacing)
    if edges[-1] - edges[0] > 360 - slack:  # the whole circle, twice, for cells across its end
        edges = np.concatenate([edges[:-1], edges[:-1] + 360, [edges[0] + 720]])
        order = np.concatenate([order, order])
    centres = np.arange(count) * (360 / count)
    # Each cell at its first place that is not west of the region.
    low = edges[0] + (centres - spacing / 2 - edges[0] + slack) % 360 - slack
    inside = low + spacing <= edges[-1] + slack
    positions, weights = _parts(low[inside], low[inside] + spacing, edges)
    return centres[inside], order[positions], weights


def _parts(low: Array, high: Array, edges: Array) -> tuple[NDArray[np.int64], Array]:
    """Return the cells that overlap each interval, and their parts of its length.

    Parameters
    ----------
    low, high : ndarray, shape (n,)
        Ends of the intervals.
    edges : ndarray, shape (cells + 1,)
        Ascending edges of the cells.

    Returns
    -------
    positions, weights : ndarray, shape (n, parts)
        The weights of an interval have the sum 1.
    """
    common = np.minimum(high[:, None], edges[1:]) - np.maximum(low[:, None], edges[:-1])
    common = np.where(common > _TOLERANCE * 1e-3 * (high - low)[:, None], common, 0.0)
    most = int((common > 0).sum(axis=1).max(initial=0))
    positions = np.argsort(common == 0, axis=1, kind="stable")[:, :most]
    weights = np.take_along_axis(common, positions, axis=1)
    # A missing value must not come in with a cell that is listed only to fill the row.
    positions = np.where(weights > 0, positions, positions[:, :1])
    return positions, weights / weights.sum(axis=1, keepdims=True)
