"""Read fields of the forecast store with zarr, for many initial times and leads at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from gfrnn.pipeline.data.grid import Grid
from gfrnn.pipeline.storage import array_in

Array = NDArray[Any]

# Stored fields that are read at once, in bytes, unless a chunk of every initial time has more.
_BLOCK_BYTES = 2**26


@dataclass(frozen=True)
class StoredForecasts:
    """The fields of a finished forecast store. Cheap to pickle.

    Attributes
    ----------
    path : Path
    grid : Grid
        Channels and mask of the fields.
    """

    path: Path
    grid: Grid

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
    def leads(self) -> int:
        """Number of leads."""
        return int(self._arrays[0][0].shape[1])

    def leads_together(self, starts: int) -> int:
        """Return the number of leads of a number of initial times that are read at once."""
        chunk = min(array.chunks[1] for array, _ in self._arrays)
        return min(self.leads, max(1, _BLOCK_BYTES // (chunk * starts * self._bytes)) * chunk)

    def read_bytes(self, starts: int) -> int:
        """Return the peak memory in bytes of :meth:`read` of :meth:`leads_together`."""
        decoded = 4 * max(
            int(np.prod((array.shards or array.chunks)[1:])) for array, _ in self._arrays
        )
        concurrent = min(starts, int(zarr.config.get("async.concurrency")))
        return self.leads_together(starts) * starts * self._bytes + 2 * concurrent * decoded

    @property
    def _bytes(self) -> int:
        """Bytes of all stored fields of one initial time and lead."""
        arrays = {array.name: array for array, _ in self._arrays}
        return 4 * sum(int(np.prod(array.shape[2:])) for array in arrays.values())

    def read(self, starts: slice, leads: slice) -> list[Array]:
        """Read forecasts.

        Parameters
        ----------
        starts, leads : slice
            Positions in the store.

        Returns
        -------
        list of ndarray of float32
            For each channel, shape (starts, leads, cells), NaN in the mask. Each variable is read
            once.
        """
        found: dict[str, Array] = {}
        fields = []
        for array, level in self._arrays:
            if array.name not in found:
                found[array.name] = np.asarray(array[starts, leads])
            values = found[array.name]
            own = values if level is None else values[:, :, level]
            fields.append(own.reshape(*own.shape[:2], -1))
        return fields
