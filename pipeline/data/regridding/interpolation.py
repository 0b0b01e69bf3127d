"""Bilinear interpolation of variables to the grid of other files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gfrnn.pipeline.data.grid import coordinate_tolerance
from gfrnn.pipeline.data.variables.file_variables import FileVariable

# A distance of neighbours above this number of usual ones is a gap, across which no value is
# interpolated: the outside of a region that crosses Greenwich, for example.
_GAP = 1.5


def interpolate_to_common_grid(variables: Sequence[FileVariable]) -> list[FileVariable]:
    """Return the variables, those with ``interpolate`` on the grid of the first one without it.

    Values are bilinear in latitude and longitude. Points outside of the grid of a file are missing
    (NaN).
    """
    own = next((part for part in variables if not part.interpolate), None)
    if own is None:
        return list(variables)
    return [
        _interpolated(part, own.latitude, own.longitude) if part.interpolate else part
        for part in variables
    ]


def _interpolated(part: FileVariable, latitude: np.ndarray, longitude: np.ndarray) -> FileVariable:
    """Return a variable on a grid, which is read from the neighbours of its points."""
    rows, row_weights = _neighbours(part.latitude, latitude)
    # Longitudes continue across Greenwich on both sides.
    around = part.longitude[[-1, *range(part.longitude.size), 0]]
    around = around + np.array([-360.0, *np.zeros(part.longitude.size), 360.0])
    columns, column_weights = _neighbours(around, longitude)
    columns = (columns - 1) % part.longitude.size
    grid = replace(
        part.grid,
        latitude=part.grid.latitude[rows],
        longitude=part.grid.longitude[columns],
        weights=(row_weights, column_weights),
    )
    return replace(part, latitude=latitude, longitude=longitude, grid=grid)


def _neighbours(points: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the neighbours of wanted coordinates among ascending points.

    Returns
    -------
    pairs : ndarray of int, shape (n, 2)
        Positions of the points below and above; twice the same where the coordinates are equal, up
        to the rounding of files.
    weights : ndarray, shape (n, 2)
        Weight of each point; NaN outside of the points and in gaps.
    """
    wanted = _snapped(points, wanted)
    above = np.searchsorted(points, wanted)
    high = np.clip(above, 0, points.size - 1)
    low = np.where(points[high] == wanted, high, np.clip(above - 1, 0, points.size - 1))
    apart = points[high] - points[low]
    shares = np.divide(wanted - points[low], apart, out=np.zeros_like(apart), where=apart != 0)
    usual = np.median(np.diff(points)) if points.size > 1 else 0.0
    outside = (wanted < points[low]) | (wanted > points[high]) | (apart > _GAP * usual)
    shares = np.where(outside, np.nan, shares)
    return np.stack([low, high], axis=1), np.stack([1 - shares, shares], axis=1)


def _snapped(points: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the wanted coordinates, those that equal a point up to rounding as that point."""
    above = np.clip(np.searchsorted(points, wanted), 0, points.size - 1)
    below = np.clip(above - 1, 0, points.size - 1)
    nearer = np.abs(points[below] - wanted) < np.abs(points[above] - wanted)
    nearest = points[np.where(nearer, below, above)]
    return np.where(np.abs(nearest - wanted) <= coordinate_tolerance(points), nearest, wanted)
