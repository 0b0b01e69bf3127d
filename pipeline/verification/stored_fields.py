"""Read fields of the forecast store with zarr, for many initial times and leads at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from gfrnn.pipeline.data.grid import Grid
from gfrnn.pipeline.data.time_axis import format_minute
from gfrnn.pipeline.forecasting.forecast_store import NUMBER, open_forecasts
from gfrnn.pipeline.forecasting.store_sums import naming_damage
from gfrnn.pipeline.storage import array_in

Array = NDArray[Any]

# Stored fields that are read at once, in bytes, unless a chunk of every initial time has more.
_BLOCK_BYTES = 2**26


class Forecasts(Protocol):
    """Forecasts that can be scored. They are cheap to pickle.

    Attributes
    ----------
    initial : ndarray of datetime64, shape (starts,)
        Initial times.
    valid : ndarray of datetime64, shape (starts, leads)
        Times that the forecasts are for.
    leads : ndarray, shape (leads,)
        timedelta64, or numbers of months.
    members : int or None
        Number of members; None for single forecasts.
    """

    @property
    def initial(self) -> Array: ...

    @property
    def valid(self) -> Array: ...

    @property
    def leads(self) -> Array: ...

    @property
    def members(self) -> int | None: ...

    def leads_together(self, starts: int) -> int:
        """Return the number of leads of a number of initial times that are read at once."""
        ...

    def read_bytes(self, starts: int) -> int:
        """Return the peak memory in bytes of :meth:`read` of :meth:`leads_together`."""
        ...

    def read(self, starts: slice, leads: slice) -> list[Array]:
        """Read forecasts.

        Parameters
        ----------
        starts, leads : slice
            Positions of initial times and leads.

        Returns
        -------
        list of ndarray
            For each channel, shape (starts, members, leads, cells), with one member for single
            forecasts.
        """
        ...


@dataclass(frozen=True)
class StoredForecasts:
    """The fields of a finished forecast store of this project, see :class:`Forecasts`.

    Attributes
    ----------
    path : Path
    grid : Grid
        Channels and mask of the fields.
    """

    path: Path
    grid: Grid

    @cached_property
    def _coordinates(self) -> xr.Dataset:
        with open_forecasts(self.path) as ds:
            return ds.drop_vars(list(ds.data_vars)).load()

    @cached_property
    def _arrays(self) -> list[tuple[zarr.Array[Any], int | None]]:
        """Array of each channel, and its level there."""
        group = zarr.open_group(self.path, mode="r", use_consolidated=False)
        levels = np.asarray(array_in(group, "level")[...]).tolist() if "level" in group else []
        return [
            (
                array_in(group, channel.variable),
                None if channel.level is None else levels.index(channel.level),
            )
            for channel in self.grid.channels
        ]

    @property
    def initial(self) -> Array:
        return np.asarray(self._coordinates["time"].values)

    @property
    def valid(self) -> Array:
        return np.asarray(self._coordinates["valid_time"].values)

    @property
    def leads(self) -> Array:
        return np.asarray(self._coordinates["prediction_timedelta"].values)

    @property
    def members(self) -> int | None:
        return self._coordinates.sizes.get(NUMBER)

    @property
    def _lead_axis(self) -> int:
        return 1 if self.members is None else 2

    def leads_together(self, starts: int) -> int:
        chunk = min(array.chunks[self._lead_axis] for array, _ in self._arrays)
        count = len(self.leads)
        return min(count, max(1, _BLOCK_BYTES // (chunk * starts * self._bytes)) * chunk)

    def read_bytes(self, starts: int) -> int:
        decoded = 4 * max(
            int(np.prod((array.shards or array.chunks)[1:])) for array, _ in self._arrays
        )
        concurrent = min(starts, int(zarr.config.get("async.concurrency")))
        return self.leads_together(starts) * starts * self._bytes + 2 * concurrent * decoded

    @cached_property
    def _bytes(self) -> int:
        """Bytes of all stored fields of all members of one initial time and lead."""
        arrays = {array.name: array for array, _ in self._arrays}
        fields = sum(int(np.prod(array.shape[self._lead_axis + 1 :])) for array in arrays.values())
        return 4 * (self.members or 1) * fields

    def _read(self, array: zarr.Array[Any], chosen: tuple[slice, ...]) -> Array:
        times = self.initial[chosen[0]]
        first, last = (format_minute(times[place]) for place in (0, -1))
        where = f"{array.basename} of the forecasts from {first} to {last} cannot be read"
        with naming_damage(self.path, where):
            return np.asarray(array[chosen])

    def read(self, starts: slice, leads: slice) -> list[Array]:
        """Read forecasts, see :meth:`Forecasts.read`: float32, NaN in the mask.

        Each variable is read once.

        Raises
        ------
        RunError
            If a chunk is damaged.
        """
        found: dict[str, Array] = {}
        fields = []
        for array, level in self._arrays:
            if array.name not in found:
                chosen = (starts, leads) if self.members is None else (starts, slice(None), leads)
                values = self._read(array, chosen)
                found[array.name] = values[:, None] if self.members is None else values
            values = found[array.name]
            own = values if level is None else values[:, :, :, level]
            fields.append(own.reshape(*own.shape[:3], -1))
        return fields
