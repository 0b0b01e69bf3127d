"""Channels and grid of a canonical Dataset: coordinates, cell areas and the land mask."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

Array = NDArray[Any]

COORDINATE_TOLERANCE = 1e-4  # degrees: coordinates stored as float32 differ by some 1e-5
_SHARE_OF_SPACING = 1e-3  # rounding of coordinates that were computed in float32, step by step


@dataclass(frozen=True)
class Channel:
    """A variable, at one level (hPa) where it has levels."""

    variable: str
    level: float | None = None

    @property
    def name(self) -> str:
        """Name such as ``geopotential_500`` or ``mean_sea_level_pressure``."""
        return self.variable if self.level is None else f"{self.variable}_{self.level:g}"


def channels(ds: xr.Dataset) -> list[Channel]:
    """List the channels of a canonical Dataset: variables in its order, levels ascending."""
    return [
        Channel(str(name), level)
        for name, array in ds.data_vars.items()
        for level in array.attrs.get("levels") or [None]
    ]


@dataclass(frozen=True)
class Grid:
    """Channels and coordinates of fields that are flattened to one row per time.

    Columns of such a row are ordered by channel, then latitude, then longitude.

    Attributes
    ----------
    channels : tuple of Channel
        Variable and level of each field.
    latitude, longitude : ndarray
        Degrees, ascending.
    mask : ndarray of bool, shape (size,), or None
        True where a channel never has a value, for example sea surface temperature on land. None
        if every cell has one.
    """

    channels: tuple[Channel, ...]
    latitude: Array
    longitude: Array
    mask: Array | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, latitudes, longitudes)."""
        return len(self.channels), len(self.latitude), len(self.longitude)

    @property
    def size(self) -> int:
        """Number of columns: channels times cells."""
        return int(np.prod(self.shape))

    @cached_property
    def area(self) -> Array:
        """Area of a cell of each latitude, mean 1: shape (latitudes,).

        It is computed from the cells' edges, as the cosine of the latitude is zero at a pole while
        the area of the cell there is not.
        """
        if len(self.latitude) == 1:
            return np.ones(1)
        middle = (self.latitude[1:] + self.latitude[:-1]) / 2
        first = self.latitude[0] - (middle[0] - self.latitude[0])
        last = self.latitude[-1] + (self.latitude[-1] - middle[-1])
        edges = np.deg2rad(np.clip(np.concatenate([[first], middle, [last]]), -90, 90))
        area = np.diff(np.sin(edges))
        return np.asarray(area / area.mean())

    @cached_property
    def valid(self) -> Array:
        """Cells with values, the complement of the mask: bool, shape :attr:`shape`."""
        mask = np.zeros(self.size, dtype=bool) if self.mask is None else self.mask
        return ~mask.reshape(self.shape)

    @cached_property
    def area_weights(self) -> Array:
        """Area of each cell of each channel, 0 in the mask: shape :attr:`shape`."""
        return np.asarray(self.area[:, None] * self.valid)

    def fill_mask(self, values: Array) -> Array:
        """Set values of shape (..., size) to NaN in the mask, in place, and return them."""
        if self.mask is not None:
            values[..., self.mask] = np.nan
        return values

    @classmethod
    def from_dataset(cls, ds: xr.Dataset, mask: Array | None = None) -> Grid:
        """Return the channels and the grid of a canonical Dataset."""
        return cls(
            tuple(channels(ds)),
            np.asarray(ds["latitude"].values, dtype=float),
            np.asarray(ds["longitude"].values, dtype=float),
            mask,
        )


def region_cells(
    latitude: Array,
    longitude: Array,
    south_north: tuple[float, float],
    west_east: tuple[float, float],
) -> tuple[Array, Array]:
    """Return the positions of the latitudes and of the longitudes inside a region.

    Longitudes of both may be of either convention, and the region may cross Greenwich or the date
    line: it extends eastwards from its western edge. Edges belong to it.
    """
    (south, north), (west, east) = south_north, west_east
    rows = (latitude >= south - COORDINATE_TOLERANCE) & (latitude <= north + COORDINATE_TOLERANCE)
    # Distance eastwards from the western edge: one rule for both conventions and for Greenwich.
    width = 360.0 if east - west >= 360 else (east - west) % 360
    distance = (longitude - west + COORDINATE_TOLERANCE) % 360
    columns = distance <= width + 2 * COORDINATE_TOLERANCE
    return np.flatnonzero(rows), np.flatnonzero(columns)


def contiguous_longitudes(longitude: Array) -> tuple[Array, Array]:
    """Order longitudes so that a region across Greenwich is contiguous.

    Returns
    -------
    order : ndarray of int
        Positions in ``longitude``.
    degrees : ndarray
        Longitudes in that order, ascending; negative west of Greenwich where the region crosses it.
    """
    gaps = np.diff(longitude, append=longitude[0] + 360)
    first = (int(gaps.argmax()) + 1) % len(longitude)
    if np.isclose(gaps[-1], gaps.max()):  # the region does not cross Greenwich, or covers the globe
        first = 0
    order = np.roll(np.arange(len(longitude)), -first)
    return order, np.where(order >= first, longitude[order] - 360 * (first > 0), longitude[order])


def with_contiguous_longitudes(ds: xr.Dataset) -> xr.Dataset:
    """Order the longitudes of a Dataset by :func:`contiguous_longitudes`.

    Maps of regions across Greenwich have no cell then that spans the rest of the globe.
    """
    longitude = ds["longitude"]
    order, degrees = contiguous_longitudes(longitude.values)
    if np.array_equal(degrees, longitude.values):
        return ds
    return ds.isel(longitude=order).assign_coords(longitude=longitude.copy(data=degrees))


def coordinate_tolerance(values: Array) -> float:
    """Return the largest difference (degrees) of equal coordinates, for a grid's spacing."""
    if values.size < 2:
        return COORDINATE_TOLERANCE
    spacing = float(np.median(np.diff(np.sort(values))))
    return min(max(COORDINATE_TOLERANCE, _SHARE_OF_SPACING * spacing), spacing / 4)


def same_coordinates(a: Array, b: Array) -> bool:
    """Check whether two latitudes or longitudes are equal up to the rounding of files."""
    return a.shape == b.shape and bool(np.abs(a - b).max() <= coordinate_tolerance(a))


def format_extent(values: np.ndarray) -> str:
    """Write the ends and the number of coordinates, for example ``-20..14.5 (24)``."""
    return f"{values[0]:g}..{values[-1]:g} ({values.size})"
