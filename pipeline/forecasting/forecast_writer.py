"""Write forecasts to the forecast store, the leads of a shard at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from gfrnn.pipeline.data.grid import Grid
from gfrnn.pipeline.forecasting.forecast_chunks import chunks_of, field_bytes, stored_levels
from gfrnn.pipeline.forecasting.forecast_store import LIMITED, WRITTEN
from gfrnn.pipeline.storage import array_in

Array = NDArray[Any]

# Most bytes of a variable that are given to zarr in one write, unless a shard is larger: enough
# that the few milliseconds of a write matter little.
_WRITE_BYTES = 2**24

# Copies of a write that zarr holds: shards put together, compressed, and joined.
_WRITE_COPIES = 3


def write_forecasts(
    path: Path, grid: Grid, first: int, leads: Iterable[tuple[Array, Array]]
) -> None:
    """Write successive initial times, each into regions that no other task writes.

    The leads of a shard are held in memory as float32 until the last one of them is computed, and
    then written at once for many initial times. The shards are those that the store has.

    Parameters
    ----------
    path : Path
    grid : Grid
    first : int
        Index of the first initial time on the store's time axis, a multiple of the batch.
    leads : iterable of (ndarray, ndarray), shapes (initial times, grid.size), (initial times,)
        Fields of each lead, and the share of values that the bound of rollouts has limited.
    """
    group = zarr.open_group(path, mode="r+", use_consolidated=False)
    writers = _writers(group, grid, first)
    lost = np.zeros(1, dtype=bool)
    masked = 0 if grid.mask is None else int(grid.mask.sum())
    shares: list[Array] = []
    for lead, (values, limited) in enumerate(leads):
        shares.append(limited)
        lost = lost | (np.isnan(values).sum(axis=1) > masked)
        fields = values.reshape(-1, *grid.shape)
        for writer in writers:
            writer.add(lead, fields)
    count = len(shares[0])
    array_in(group, LIMITED)[first : first + count] = np.stack(shares, axis=1)
    array_in(group, WRITTEN)[first : first + count] = np.where(lost, 2, 1)


def _writers(group: zarr.Group, grid: Grid, first: int) -> list[_VariableWriter]:
    levels = np.asarray(array_in(group, "level")[...]).tolist() if "level" in group else []
    writers = []
    for variable in _variables(grid):
        own = [index for index, c in enumerate(grid.channels) if c.variable == variable]
        held = [grid.channels[index].level for index in own]
        places = [levels.index(level) for level in held if level is not None]
        writers.append(_VariableWriter(array_in(group, variable), own, places, first))
    return writers


@dataclass
class _VariableWriter:
    """The leads of one variable that wait until a shard is complete.

    Attributes
    ----------
    array : zarr.Array
    channels : list of int
        Channels of the variable.
    levels : list of int
        Stored level of each channel, empty where the variable has no such dimension.
    first : int
        Index of the first initial time on the store's time axis.
    """

    array: zarr.Array[Any]
    channels: list[int]
    levels: list[int]
    first: int
    _kept: Array | None = None

    def add(self, lead: int, fields: Array) -> None:
        """Take the fields of a lead, (initial times, *grid.shape); write a complete shard."""
        leads = self.array.shape[1]
        length = min((self.array.shards or self.array.chunks)[1], leads)
        if self._kept is None:
            shape = (len(fields), length, *self.array.shape[2:])
            # Levels that the variable lacks stay NaN.
            self._kept = np.full(shape, np.nan, dtype=np.float32)
        place = lead % length
        if self.levels:
            self._kept[:, place, self.levels] = fields[:, self.channels]
        else:
            self._kept[:, place] = fields[:, self.channels[0]]
        if place + 1 == length or lead + 1 == leads:
            self._write(self._kept[:, : place + 1], lead - place)

    def _write(self, planes: Array, lead: int) -> None:
        shard = 4 * int(np.prod((self.array.shards or self.array.chunks)[1:]))
        together = _starts_of_write(shard, len(planes))
        for begin in range(0, len(planes), together):
            part = planes[begin : begin + together]
            start = self.first + begin
            self.array[start : start + len(part), lead : lead + part.shape[1]] = part


def kept_bytes(grid: Grid, leads: int) -> int:
    """Return the bytes of one forecast that are held in memory until its shards are complete."""
    held = 0
    for variable in _variables(grid):
        chunks, fields = chunks_of(grid, variable, leads), stored_levels(grid, variable)
        held += min(chunks.shard_leads, leads) * fields * field_bytes(grid)
    return held


def writing_bytes(grid: Grid, leads: int, batch: int) -> int:
    """Return the bytes that writing a batch of forecasts takes besides those that are kept."""
    most = 0
    for variable in _variables(grid):
        chunks = chunks_of(grid, variable, leads)
        shard = chunks.shard_leads * chunks.shard_levels * field_bytes(grid)
        most = max(most, _starts_of_write(shard, batch) * shard)
    return _WRITE_COPIES * most


def _starts_of_write(shard_bytes: int, batch: int) -> int:
    """Return the number of initial times that one write has."""
    return min(batch, max(1, _WRITE_BYTES // shard_bytes))


def _variables(grid: Grid) -> list[str]:
    return list(dict.fromkeys(channel.variable for channel in grid.channels))
