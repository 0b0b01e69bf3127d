"""Coastlines of the earth for maps, from a file of the package."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_FILE = Path(__file__).parent / "natural_earth" / "coastlines_110m.json"


def coastlines(west: float, east: float, south: float, north: float) -> Array:
    """Return the coastlines in a region, clipped to its edges.

    Parameters
    ----------
    west, east, south, north : float
        Edges in degrees. Any longitudes are allowed, such as -20 to 30 or 160 to 210.

    Returns
    -------
    ndarray, shape (points, 2)
        Longitude and latitude of successive points; a row of NaN separates lines.
    """
    segments = _segments()
    # The file has longitudes of -180 to 180; those of a region may be a turn away.
    first, last = int(np.floor((west - 180) / 360)), int(np.ceil((east + 180) / 360))
    turns = [segments + np.array([360.0 * turn, 0.0]) for turn in range(first, last + 1)]
    low, high = np.array([west, south]), np.array([east, north])
    return clip_segments(np.concatenate(turns), low, high)


def clip_segments(segments: Array, low: Array, high: Array) -> Array:
    """Clip straight segments to a box and join those that continue each other.

    The part of a segment that lies inside follows from its intersections with the four edges
    (Liang and Barsky 1984, ACM Trans. Graph. 3, 1).

    Parameters
    ----------
    segments : ndarray, shape (segments, 2, 2)
        Start and end of each segment.
    low, high : ndarray, shape (2,)
        Corners of the box.

    Returns
    -------
    ndarray, shape (points, 2)
        Successive points of lines; a row of NaN separates lines.
    """
    start, change = segments[:, 0], segments[:, 1] - segments[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        one, other = (low - start) / change, (high - start) / change
    # A segment parallel to an edge is inside at all of its points or at none.
    still, between = change == 0, (low <= start) & (start <= high)
    enter = np.where(still, np.where(between, 0.0, np.inf), np.minimum(one, other))
    leave = np.where(still, np.where(between, 1.0, -np.inf), np.maximum(one, other))
    begin, end = enter.max(axis=1).clip(min=0.0), leave.min(axis=1).clip(max=1.0)
    kept = (begin < end) & change.any(axis=1)
    start, change, stop = start[kept], change[kept], segments[kept, 1]
    begin, end = begin[kept, None], end[kept, None]
    starts = start + begin * change
    ends = np.where(end == 1, stop, start + end * change)  # equal to the next start bit for bit
    new = np.ones(len(starts), bool)
    new[1:] = (starts[1:] != ends[:-1]).any(axis=1)
    points = np.stack([np.full_like(starts, np.nan), starts, ends], axis=1)
    wanted = np.stack([new, new, np.ones_like(new)], axis=1)
    return points[wanted][1:]  # without the separator before the first line


@cache
def _segments() -> Array:
    """Read the segments of all lines: shape (segments, 2, 2)."""
    lines = json.loads(_FILE.read_text(encoding="utf-8"))["coordinates"]
    arrays = [np.asarray(line, dtype=float) for line in lines]
    return np.concatenate([np.stack([line[:-1], line[1:]], axis=1) for line in arrays])
