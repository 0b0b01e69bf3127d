"""Fields of a canonical Dataset as rows of numbers: one row a time, one column a grid cell."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import DTypeLike, NDArray

from gfrnn.pipeline.data.sources import Channel, channels
from gfrnn.pipeline.data.stored_chunks import Stored, read_bytes, stored_in
from gfrnn.pipeline.errors import DataError

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
    mask : ndarray of bool, shape (size,), or None
        True where a field never has a value, as the sea's temperature has none on land. None where
        every cell has one.
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

    @cached_property
    def exists(self) -> Array:
        """Which cells have values: bool, of :attr:`shape`."""
        mask = np.zeros(self.size, dtype=bool) if self.mask is None else self.mask
        return ~mask.reshape(self.shape)

    @cached_property
    def cells(self) -> Array:
        """:attr:`area` of each cell of each channel, 0 in the mask: of :attr:`shape`."""
        return np.asarray(self.area[:, None] * self.exists)

    def blanked(self, values: Array) -> Array:
        """Values of shape (..., size) with NaN in the mask, in place."""
        if self.mask is not None:
            values[..., self.mask] = np.nan
        return values

    @classmethod
    def of(cls, ds: xr.Dataset, mask: Array | None = None) -> Grid:
        """The grid and channels of a canonical Dataset."""
        return cls(
            tuple(channels(ds)),
            np.asarray(ds["latitude"].values, dtype=float),
            np.asarray(ds["longitude"].values, dtype=float),
            mask,
        )


@dataclass(frozen=True)
class Fields:
    """A canonical Dataset, read a stretch of time at a time. Cheap to pickle.

    Attributes
    ----------
    ds : xarray.Dataset
        As :func:`gfrnn.pipeline.data.sources.open_source` gives it.
    mask : ndarray of bool, shape (grid.size,), or None
        As :class:`Grid` has it; every field that is read is held against it.
    """

    ds: xr.Dataset
    mask: Array | None = None

    @cached_property
    def grid(self) -> Grid:
        """Channels, coordinates and mask."""
        return Grid.of(self.ds, self.mask)

    @cached_property
    def time(self) -> Array:
        """datetime64, shape (times,)."""
        return np.asarray(self.ds["time"].values)

    @cached_property
    def kind(self) -> np.dtype[Any]:
        """Of the values: float32, as canonical data are, or more."""
        return np.result_type(np.float32, *(array.dtype for array in self.ds.data_vars.values()))

    @cached_property
    def stored(self) -> list[Stored]:
        """How the variables lie in files."""
        return stored_in(self.ds)

    def read_bytes(self, times: int, kind: DTypeLike = np.float64) -> int:
        """Peak memory of :meth:`read` for so many times, its result included."""
        return np.dtype(kind).itemsize * times * self.grid.size + read_bytes(self.stored, times)

    def masked(self, first: int, last: int) -> Fields:
        """The same data with the mask that the ends of the training period show.

        Only these two times are read.

        Raises
        ------
        DataError
            If a field has no value at both, or a cell has one at one of them only.
        """
        stamps = (first, last)
        values = np.concatenate([self._stored(time, time + 1) for time in stamps])
        empty = np.isnan(values)
        if not empty.any():
            return self
        whole = empty.reshape(2, len(self.grid.channels), -1).all(axis=(0, 2))
        if whole.any():
            channel = self.grid.channels[np.flatnonzero(whole)[0]]
            raise DataError(
                f"{channel.name}: no value anywhere at {self._stamp(first)} and "
                f"{self._stamp(last)}, the ends of the training period; leave it out "
                "(data.variables)"
            )
        for own, other in ((0, 1), (1, 0)):
            if (lost := empty[[own]] & ~empty[[other]]).any():
                raise DataError(
                    f"{self._missing(values[[own]], lost, stamps[own])}; a mask must be the same "
                    f"at all times, but {self._stamp(stamps[other])} has a value there"
                )
        return replace(self, mask=empty[0])

    def read(self, start: int, stop: int, kind: DTypeLike = np.float64) -> Array:
        """The fields of times ``start`` to ``stop - 1``.

        Parameters
        ----------
        start, stop : int
        kind : dtype
            float64 to compute with, or :attr:`kind`, as the data are.

        Returns
        -------
        ndarray, shape (stop - start, grid.size)
            0 in the mask. Each variable is read once for all its levels.

        Raises
        ------
        DataError
            If a value is not finite, or the mask has one; it names variable, level, time and
            place.
        """
        out = self._stored(start, stop, kind)
        if self.mask is not None:
            if not np.isnan(out[:, self.mask]).all():
                raise DataError(self._changed(out, self.mask, start))
            out[:, self.mask] = 0.0
        # A sum is not finite if any term is not, and needs no temporary array.
        if not np.isfinite(out.sum()):
            bad = ~np.isfinite(out)
            if bad.any():
                raise DataError(self._missing(out, bad, start))
        return out

    def _stored(self, start: int, stop: int, kind: DTypeLike = np.float64) -> Array:
        """The fields as they are stored, unchecked: shape (stop - start, grid.size)."""
        count, (_, rows, columns) = stop - start, self.grid.shape
        out = np.empty((count, len(self.grid.channels), rows, columns), kind)
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
        return out.reshape(count, -1)

    # What errors say

    def _missing(self, values: Array, bad: Array, start: int) -> str:
        name, found = self._first(values, bad, start)
        return (
            f"{name}: {found}; fill it, leave the variable out (data.variables), or choose periods "
            "without it"
        )

    def _changed(self, values: Array, mask: Array, start: int) -> str:
        name, found = self._first(values, ~np.isnan(values) & mask, start)
        return (
            f"{name}: mask changes in time: {found}, where the ends of the training period have "
            "no value; let these cells be missing at all times or at none, or leave the variable "
            "out (data.variables)"
        )

    def _first(self, values: Array, bad: Array, start: int) -> tuple[str, str]:
        """Of bad values, the channel of the first and where it stands."""
        time, column = np.argwhere(bad)[0]
        channel, row, east = np.unravel_index(column, self.grid.shape)
        return self.grid.channels[channel].name, (
            f"{values[time, column]:g} at {self._stamp(start + time)}, "
            f"latitude {self.grid.latitude[row]:g}, longitude {self.grid.longitude[east]:g} "
            f"(and {int(bad.sum()) - 1} more values nearby)"
        )

    def _stamp(self, time: int) -> str:
        return str(np.datetime_as_string(self.time[time], unit="m"))


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
