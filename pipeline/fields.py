"""Fields of a canonical Dataset as rows of numbers: one row a time, one column a grid cell."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.sources import Channel, channels

Array = NDArray[Any]


@dataclass(frozen=True)
class Grid:
    """Where the columns lie.

    Columns are ordered by channel, then latitude, then longitude.

    Attributes
    ----------
    channels : tuple of Channel
        Variable and level of each field.
    latitude, longitude : ndarray
        Degrees, ascending.
    """

    channels: tuple[Channel, ...]
    latitude: Array
    longitude: Array

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, latitudes, longitudes)."""
        return len(self.channels), len(self.latitude), len(self.longitude)

    @property
    def size(self) -> int:
        """Number of columns."""
        return int(np.prod(self.shape))

    @cached_property
    def area(self) -> Array:
        """Share of the area of one cell of each latitude, mean 1: shape (latitudes,).

        From the cells' edges, so that a cell at a pole, where the cosine is zero, keeps the
        small area that it has.
        """
        if len(self.latitude) == 1:
            return np.ones(1)
        middle = (self.latitude[1:] + self.latitude[:-1]) / 2
        first = self.latitude[0] - (middle[0] - self.latitude[0])
        last = self.latitude[-1] + (self.latitude[-1] - middle[-1])
        edges = np.deg2rad(np.clip(np.concatenate([[first], middle, [last]]), -90, 90))
        area = np.diff(np.sin(edges))
        return np.asarray(area / area.mean())

    @classmethod
    def of(cls, ds: xr.Dataset) -> Grid:
        """The grid and channels of a canonical Dataset."""
        return cls(
            tuple(channels(ds)),
            np.asarray(ds["latitude"].values, dtype=float),
            np.asarray(ds["longitude"].values, dtype=float),
        )


@dataclass(frozen=True)
class Fields:
    """A canonical Dataset, read a stretch of time at a time. Cheap to pickle.

    Attributes
    ----------
    ds : xarray.Dataset
        As :func:`pipeline.sources.open_source` gives it.
    """

    ds: xr.Dataset

    @cached_property
    def grid(self) -> Grid:
        """Channels and coordinates."""
        return Grid.of(self.ds)

    @cached_property
    def time(self) -> Array:
        """datetime64, shape (times,)."""
        return np.asarray(self.ds["time"].values)

    def read(self, start: int, stop: int) -> Array:
        """The fields of times ``start`` to ``stop - 1``.

        Returns
        -------
        ndarray, shape (stop - start, grid.size), float64
            Each variable is read once for all its levels.

        Raises
        ------
        DataError
            If a value is not finite; it names variable, level, time and place.
        """
        count, (_, rows, columns) = stop - start, self.grid.shape
        out = np.empty((count, len(self.grid.channels), rows, columns))
        levels: dict[str, list[tuple[int, float | None]]] = {}
        for index, channel in enumerate(self.grid.channels):
            levels.setdefault(channel.variable, []).append((index, channel.level))
        for variable, wanted in levels.items():
            array = self.ds[variable].isel(time=slice(start, stop))
            if "level" in array.dims:
                array = array.sel(level=[level for _, level in wanted])
                values = array.transpose("time", "level", "latitude", "longitude").values
                out[:, [index for index, _ in wanted]] = values
            else:
                out[:, wanted[0][0]] = array.transpose("time", "latitude", "longitude").values
        # A sum is not finite if any term is not, and needs no temporary array.
        if not np.isfinite(out.sum()):
            self._report(out, start)
        return out.reshape(count, -1)

    def _report(self, values: Array, start: int) -> None:
        bad = ~np.isfinite(values)
        if not bad.any():
            return
        time, channel, row, column = np.argwhere(bad)[0]
        raise DataError(
            f"{self.grid.channels[channel].name}: {values[time, channel, row, column]} at "
            f"{np.datetime_as_string(self.time[start + time], unit='m')}, "
            f"latitude {self.grid.latitude[row]:g}, longitude {self.grid.longitude[column]:g} "
            f"(and {int(bad.sum()) - 1} more values nearby); fill it, leave the variable out "
            "(data.variables), or choose periods without it"
        )


def unbroken(longitude: Array) -> tuple[Array, Array]:
    """Order of the columns and their degrees, so that a box across Greenwich is in one piece.

    Returns
    -------
    order : ndarray of int
    degrees : ndarray
        Ascending; west of Greenwich negative where the box crosses it.
    """
    gaps = np.diff(longitude, append=longitude[0] + 360)
    first = (int(gaps.argmax()) + 1) % len(longitude)
    if np.isclose(gaps[-1], gaps.max()):  # the widest gap is the seam, as on the whole globe
        first = 0
    order = np.roll(np.arange(len(longitude)), -first)
    return order, np.where(order >= first, longitude[order] - 360 * (first > 0), longitude[order])
