"""Derivatives of fields on a grid of latitudes and longitudes, by finite differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gfrnn_core.local_features.grid_features import BASE_FIELDS
from gfrnn_core.patches import Patches

Array = NDArray[Any]

# Halo that holds the direct neighbours of a cell.
_NEIGHBOURS = ((1, 1), (1, 1))


@dataclass(frozen=True, eq=False)
class Lattice:
    """A grid of latitudes and longitudes on the sphere, or in a plane channel.

    Differences are of second order: centred, also across the poles and the ends of a periodic
    longitude, and one-sided at the borders of a region, where the second derivative is that of the
    cell beside it. Lengths are in units of the radius. Components of vectors are differentiated
    like scalars, but change sign across a pole.

    Attributes
    ----------
    latitude, longitude : ndarray, shapes (rows,) and (columns,)
        Degrees, ascending.
    patches : Patches
        Patches that a network cuts the grid into, for its periodicity, poles and channels.
    mask : ndarray of bool, shape (size,), or None
        Values that do not exist and are zero in states. Derivatives there and beside are zero.
    geometry : {"sphere", "channel"}
        Each circle of latitude is as long as on the sphere, or all are as long as the middle one.

    Raises
    ------
    ValueError
        If shapes do not fit, or there are fewer than three rows or columns.
    """

    latitude: Array
    longitude: Array
    patches: Patches
    mask: Array | None = field(default=None, repr=False)
    geometry: Literal["sphere", "channel"] = "sphere"

    def __post_init__(self) -> None:
        shape = len(self.latitude), len(self.longitude)
        if shape != self.patches.shape:
            raise ValueError(
                f"patches: cut a grid of shape {self.patches.shape}, but there are {shape[0]} "
                f"latitudes and {shape[1]} longitudes"
            )
        if min(shape) < 3:
            raise ValueError(
                f"latitude, longitude: {shape[0]} and {shape[1]} values, but derivatives need at "
                "least 3 of each"
            )

    @property
    def cells(self) -> int:
        """Number of cells."""
        return len(self.latitude) * len(self.longitude)

    def base_fields(self, states: Array) -> Array:
        """Return fields, their Laplacians and both gradients.

        Parameters
        ----------
        states : ndarray, shape (n, size)
            Flattened fields, the channels of a cell next to each other.

        Returns
        -------
        ndarray, shape (n, channels, 6, rows, columns)
            Value, its derivatives eastwards and northwards, then the same of the Laplacian.
        """
        fields = self._by_channel(states)
        base = np.empty((*fields.shape[:2], BASE_FIELDS, *fields.shape[2:]))
        base[:, :, 0] = fields
        base[:, :, 3] = self.laplacian(base[:, :, 0])
        if self._known is not None:
            base[:, :, 3] *= self._known[0]
        for value in (0, 3):
            base[:, :, value + 1], base[:, :, value + 2] = self.gradient(base[:, :, value])
        if self._known is not None:
            base[:, :, 1:3] *= self._known[0][:, None]
            base[:, :, 4:] *= self._known[1][:, None]
        return base

    def gradient(self, fields: Array) -> tuple[Array, Array]:
        """Return the derivatives eastwards and northwards: both (n, channels, rows, columns)."""
        across, around = self._rows_extended(fields), self._columns_extended(fields)
        north = np.gradient(across, self._phi, axis=-2, edge_order=2)[..., self._inner, :]
        east = np.gradient(around, self._lambda, axis=-1, edge_order=2)[..., self._middle]
        east /= self._cosine[:, None]
        for row, turn in self._pole_rows:
            # At a pole, the direction of the north turns with the longitude.
            around = self._columns_extended(north[..., [row], :])
            turned = np.gradient(around, self._lambda, axis=-1)[..., self._middle]
            east[..., [row], :] = turn * turned
        return east, north

    def laplacian(self, fields: Array) -> Array:
        """Return the Laplacian: shape (n, channels, rows, columns)."""
        across = np.moveaxis(self._rows_extended(fields), -2, -1)
        found = np.moveaxis(_second(across, self._phi, self._inner, self._circle), -1, -2)
        around = _second(self._columns_extended(fields), self._lambda, self._middle)
        found = found + around / np.square(self._cosine)[:, None]
        for row, _ in self._pole_rows:
            ring, pole = (fields[..., each, :].mean(axis=-1) for each in (abs(row - 1), row))
            spacing = self._phi[1] - self._phi[0] if row == 0 else self._phi[-1] - self._phi[-2]
            found[..., row, :] = (4 * (ring - pole) / spacing**2)[..., None]
        return np.asarray(found)

    def _by_channel(self, states: Array) -> Array:
        """Return states (n, size) as fields: (n, channels, rows, columns)."""
        return np.moveaxis(states.reshape(len(states), *self.patches.shape, -1), -1, 1)

    @cached_property
    def _known(self) -> tuple[Array, Array] | None:
        """Factors 0 near the mask, and twice as near, else 1: (channels, rows, columns) each."""
        if self.mask is None:
            return None
        around = replace(self.patches, size=1, halo=_NEIGHBOURS, inner=None, channels=1, turned=())
        missing: Array = self.mask.reshape(self.cells, -1)
        found = []
        for _ in range(2):
            missing = np.asarray(missing[around.seen].any(axis=1))
            found.append(self._by_channel(1.0 - missing.reshape(1, -1))[0])
        return found[0], found[1]

    @cached_property
    def _signs(self) -> Array:
        """Sign of each channel seen across a pole: shape (channels, 1, 1)."""
        turned = np.isin(np.arange(self.patches.channels), self.patches.turned)
        return np.where(turned, -1.0, 1.0)[:, None, None]

    @cached_property
    def _closed(self) -> bool:
        periodic = self.patches.periodic
        return periodic[1] if isinstance(periodic, tuple) else periodic

    @cached_property
    def _inner(self) -> slice:
        """The rows of the grid among those with the rows across the poles."""
        first = int(self.patches.poles[0] != "none")
        return slice(first, first + len(self.latitude))

    @cached_property
    def _middle(self) -> slice:
        """The columns of the grid among those with repeated ones."""
        return slice(int(self._closed), int(self._closed) + len(self.longitude))

    @cached_property
    def _phi(self) -> Array:
        """Latitudes in radians, with those across the poles beyond 90 degrees."""
        south, north = self._mirrors
        latitude = self.latitude
        parts = (-180 - latitude[south], latitude, 180 - latitude[north])
        return np.asarray(np.deg2rad(np.concatenate(parts)))

    @cached_property
    def _lambda(self) -> Array:
        """Longitudes in radians, with a column before and after periodic ones."""
        ends = self.longitude[-1:] - 360, self.longitude, self.longitude[:1] + 360
        return np.asarray(np.deg2rad(np.concatenate(ends) if self._closed else self.longitude))

    @cached_property
    def _cosine(self) -> Array:
        """Ratio of each circle of latitude to the equator: shape (rows,)."""
        return self._circle(np.deg2rad(self.latitude))

    def _circle(self, phi: Array) -> Array:
        """Return the ratio of circles of latitude to the equator; it is not quite 0 at a pole."""
        if self.geometry == "channel":
            middle = np.deg2rad(np.mean(self.latitude))
            return np.full(len(phi), np.cos(middle))
        return np.maximum(np.abs(np.cos(phi)), 1e-9)

    @cached_property
    def _pole_rows(self) -> list[tuple[int, int]]:
        """Rows that are a pole, and the sign of the turn of the direction to the east there."""
        ends = zip((0, len(self.latitude) - 1), (1, -1), self.patches.poles, strict=True)
        return [(row, turn) for row, turn, kind in ends if kind == "row"]

    @cached_property
    def _mirrors(self) -> tuple[list[int], list[int]]:
        """Rows, at most one a pole, that follow on the other side of a pole."""
        south, north = self.patches.poles
        last = len(self.latitude) - 1
        rows = {"none": [], "row": [1], "between": [0]}
        return rows[south], [last - row for row in rows[north]]

    def _rows_extended(self, fields: Array) -> Array:
        """Return fields with the rows on the other side of the poles."""
        south, north = (
            np.roll(fields[..., rows, :], len(self.longitude) // 2, axis=-1) * self._signs
            for rows in self._mirrors
        )
        return np.concatenate([south, fields, north], axis=-2)

    def _columns_extended(self, fields: Array) -> Array:
        """Return fields with a column before the first and after the last where they close."""
        if not self._closed:
            return fields
        return np.concatenate([fields[..., -1:], fields, fields[..., :1]], axis=-1)


def _second(
    values: Array, at: Array, grid: slice, metric: Callable[[Array], Array] | None = None
) -> Array:
    """Return second derivatives along the last axis at the points of the grid.

    At an end beyond which there is no value, it is that of the point beside it.

    Parameters
    ----------
    values : ndarray, shape (..., points)
    at : ndarray, shape (points,)
        Coordinates of the values.
    grid : slice
        The points of the grid.
    metric : callable, optional
        Function m of a coordinate y: the result is (m f')' / m.
    """
    slopes, middle = np.diff(values, axis=-1) / np.diff(at), (at[1:] + at[:-1]) / 2
    if metric is not None:
        slopes *= metric(middle)
    inner = np.diff(slopes, axis=-1) / np.diff(middle)
    if metric is not None:
        inner /= metric(at[1:-1])
    places = np.arange(grid.start, grid.stop) - 1
    return np.asarray(inner[..., places.clip(0, len(at) - 3)])
