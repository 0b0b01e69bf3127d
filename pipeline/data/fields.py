"""Reading of a canonical Dataset as matrices: a row per time, a column per channel and cell."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import DTypeLike, NDArray

from gfrnn.pipeline.data.canonical_array import lazy_selection
from gfrnn.pipeline.data.file_reading import DIMS
from gfrnn.pipeline.data.grid import Grid
from gfrnn.pipeline.data.stored_chunks import StoredChunks, read_bytes, stored_chunks
from gfrnn.pipeline.data.time_axis import format_minute
from gfrnn.pipeline.data.transforms import ChannelTransforms
from gfrnn.pipeline.errors import DataError, MissingTimesError

Array = NDArray[Any]


@dataclass(frozen=True)
class Fields:
    """A canonical Dataset that is read in time slices. Cheap to pickle.

    Variables with the attribute ``transform`` are read as a model is trained on them, see
    :mod:`gfrnn.pipeline.data.transforms`.

    Attributes
    ----------
    ds : xarray.Dataset
        Opened with :func:`gfrnn.pipeline.data.dataset.open_source`.
    mask : ndarray of bool, shape (grid.size,), or None
        Mask of :class:`Grid`; each read checks that the mask is the same at all times.
    planned_chunks : tuple of StoredChunks, optional
        Chunks of a store that does not exist yet.
    period : str
        Name of the period whose ends give the mask, for messages.
    physical : bool
        Whether variables with a transform are read as they are, in physical units.
    remedy : str
        What to do about missing values, other than filling them, for messages.
    """

    ds: xr.Dataset
    mask: Array | None = None
    planned_chunks: tuple[StoredChunks, ...] | None = None
    period: str = "training period"
    physical: bool = False
    remedy: str = "leave the variable out (data.variables), or choose periods without them"

    @cached_property
    def grid(self) -> Grid:
        """Channels, coordinates and mask."""
        return Grid.from_dataset(self.ds, self.mask)

    @cached_property
    def transforms(self) -> ChannelTransforms:
        """Transform of each channel."""
        return ChannelTransforms.of(self.ds, [each.variable for each in self.grid.channels])

    def in_physical_units(self) -> Fields:
        """Return the fields without transforms."""
        return replace(self, physical=True) if self.transforms else self

    @cached_property
    def time(self) -> Array:
        """Valid times: datetime64, shape (times,)."""
        return np.asarray(self.ds["time"].values)

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the values: float32, that of canonical data, or higher precision."""
        return np.result_type(np.float32, *(array.dtype for array in self.ds.data_vars.values()))

    @cached_property
    def stored_chunks(self) -> list[StoredChunks]:
        """Stored chunks of the variables."""
        return stored_chunks(self.ds) if self.planned_chunks is None else [*self.planned_chunks]

    def read_bytes(self, times: int, dtype: DTypeLike = np.float64) -> int:
        """Return the peak memory (bytes) of :meth:`read` for some times, its result included."""
        result = np.dtype(dtype).itemsize * times * self.grid.size
        # One channel at a time, before and after a transform.
        channel = 3 * 8 * times * self.grid.size // len(self.grid.channels)
        transformed = channel if self.transforms and not self.physical else 0
        # The masked values of a channel, and which of them are missing.
        masked = 0
        if self.mask is not None:
            cells = int(self.mask.reshape(len(self.grid.channels), -1).sum(axis=1).max())
            masked = (np.dtype(dtype).itemsize + 1) * times * cells
        return result + max(read_bytes(self.stored_chunks, times), transformed, masked)

    def with_mask(self, first: int, last: int) -> Fields:
        """Return the fields with the mask at the ends of the period, the training period for a fit.

        Only these two times are read.

        Raises
        ------
        DataError
            If a channel has no value at both, or a cell has a value at only one of them.
        """
        stamps = (first, last)
        both = np.empty((len(stamps), *self.grid.shape))
        for index, stamp in enumerate(stamps):
            self._read_unchecked(both[index : index + 1], stamp)
        values = both.reshape(len(stamps), -1)
        empty = np.isnan(values)
        if not empty.any():
            return self
        whole: Array = np.all(empty.reshape(2, len(self.grid.channels), -1), axis=2)
        if whole.any():
            channel = self.grid.channels[np.argwhere(whole)[0][1]]
            at = [self._stamp(stamps[end]) for end in np.flatnonzero(whole.any(axis=1))]
            ends = "the first and last time" if len(at) == 2 else "an end"
            raise MissingTimesError(
                f"{channel.name}: all values are missing (NaN) at {' and '.join(at)}, {ends} of "
                f"the {self.period}; {self.remedy.partition(', or')[0]}"
            )
        for own, other in ((0, 1), (1, 0)):
            if (lost := empty[[own]] & ~empty[[other]]).any():
                raise DataError(
                    f"{self._missing_message(values[[own]], lost, stamps[own])}; a mask must be "
                    f"the same at all times, but {self._stamp(stamps[other])} has a value there"
                )
        return replace(self, mask=empty[0])

    def at(self, times: Array) -> Fields:
        """Return the fields of some times only, ascending; a read of them decodes a chunk once."""
        return replace(self, ds=self.ds.isel(time=times))

    def read(self, start: int, stop: int, dtype: DTypeLike = np.float64) -> Array:
        """Read the fields of times ``start`` to ``stop - 1``.

        Parameters
        ----------
        start, stop : int
        dtype : dtype
            float64 for computations, or :attr:`dtype`, that of the data.

        Returns
        -------
        ndarray, shape (stop - start, grid.size)
            0 in the mask. Each variable is read once for all its levels.

        Raises
        ------
        DataError
            If a value is not finite outside of the mask, or there is a value in the mask; the
            message names variable, level, time and place.
        """
        out = np.empty((stop - start, *self.grid.shape), dtype)
        self.read_into(out, start)
        return out.reshape(len(out), -1)

    def read_into(self, out: Array, start: int) -> None:
        """Read the fields of times from ``start`` on, as :meth:`read` does, into an array.

        Parameters
        ----------
        out : ndarray of float32 or float64, shape (times, channels, latitudes, longitudes)
            Of any memory order.
        start : int
        """
        self._read_unchecked(out, start)
        if self.mask is not None:
            mask = self.mask.reshape(self.grid.shape)
            if not all(np.isnan(out[:, i][:, own]).all() for i, own in enumerate(mask)):
                raise DataError(self._mask_message(out.reshape(len(out), -1), self.mask, start))
            out[:, mask] = 0.0
        # The sum is not finite if any term is not, and needs no temporary array.
        if not np.isfinite(out.sum()):
            bad = ~np.isfinite(out).reshape(len(out), -1)
            if bad.any():
                message = self._missing_message(out.reshape(len(out), -1), bad, start)
                absent = self._absent(np.isnan(out).reshape(len(out), -1)).any()
                raise (MissingTimesError if absent else DataError)(message)

    def absent(self, start: int, stop: int) -> Array:
        """Return at which times a channel has no value at all: bool, shape (times, channels).

        Cells of the mask do not count.
        """
        out = np.empty((stop - start, *self.grid.shape), np.float32)
        self._read_unchecked(out, start)
        return self._absent(np.isnan(out).reshape(len(out), -1))

    def _absent(self, missing: Array) -> Array:
        """Return where all cells outside the mask are missing: bool, shape (times, channels)."""
        if self.mask is not None:
            missing = missing | self.mask
        cells = missing.reshape(len(missing), len(self.grid.channels), -1)
        return np.asarray(cells.all(axis=2))

    def _read_unchecked(self, out: Array, start: int) -> None:
        """Read fields with their missing values: ``out`` as for :meth:`read_into`."""
        times = slice(start, start + len(out))
        levels: dict[str, list[tuple[int, float | None]]] = {}
        for index, channel in enumerate(self.grid.channels):
            levels.setdefault(channel.variable, []).append((index, channel.level))
        for variable, wanted in levels.items():
            array = self.ds[variable].isel(time=times)
            first, last = wanted[0][0], wanted[-1][0]  # the channels of a variable are adjacent
            target = out[:, first : last + 1]
            if "level" in array.dims:
                array = array.sel(level=[level for _, level in wanted])
            else:
                target = target[:, 0]
            order = [dim for dim in DIMS if dim in array.dims]
            lazy = lazy_selection(array.variable) if list(array.dims) == order else None
            if lazy:
                lazy[0].read_into(target, lazy[1])
            else:
                target[...] = array.transpose(*order).values
        if self.transforms and not self.physical:
            self._transform(out, start)

    def _transform(self, out: Array, start: int) -> None:
        """Transform channels in place.

        Raises
        ------
        DataError
            If a value is negative.
        """
        for index, transform in enumerate(self.transforms.channels):
            if transform is None:
                continue
            if (bad := out[:, index] < transform.least).any():
                everywhere = np.zeros(out.shape, bool)
                everywhere[:, index] = bad
                flat = (len(out), -1)
                name, found = self._first_value(out.reshape(flat), everywhere.reshape(flat), start)
                raise DataError(
                    f"{name}: {found} is negative, but data.transform: {transform.name} needs "
                    "values of 0 or more; check the variable, or leave its transform out"
                )
        self.transforms.forward(out, 1)

    def _missing_message(self, values: Array, bad: Array, start: int) -> str:
        name, found = self._first_value(values, bad, start)
        return f"{name}: {found}; fill such values, {self.remedy}"

    def _mask_message(self, values: Array, mask: Array, start: int) -> str:
        name, found = self._first_value(values, ~np.isnan(values) & mask, start)
        return (
            f"{name}: the mask changes in time: {found}, in a cell that is missing (NaN) at the "
            f"first and last time of the {self.period}; cells must be missing at all times or at "
            f"none; fill them, or {self.remedy.partition(', or')[0]}"
        )

    def _first_value(self, values: Array, bad: Array, start: int) -> tuple[str, str]:
        """Return the channel of the first bad value, and the value with its time and place."""
        time, column = np.argwhere(bad)[0]
        channel, row, east = np.unravel_index(column, self.grid.shape)
        return self.grid.channels[channel].name, (
            f"{values[time, column]:g} at {self._stamp(start + time)}, "
            f"latitude {self.grid.latitude[row]:g}, longitude {self.grid.longitude[east]:g} "
            f"(and {int(bad.sum()) - 1} more such values in this time slice)"
        )

    def _stamp(self, time: int) -> str:
        return format_minute(self.time[time])
