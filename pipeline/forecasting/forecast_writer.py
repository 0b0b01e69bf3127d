"""Write forecasts to the forecast store, the leads of a shard at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from gfrnn.pipeline.data.grid import Grid
from gfrnn.pipeline.data.transforms import ChannelTransforms
from gfrnn.pipeline.forecasting.divergence import STAYED, DecodedLead
from gfrnn.pipeline.forecasting.ensemble_members import EnsembleMembers, members_bytes
from gfrnn.pipeline.forecasting.forecast_chunks import (
    chunks_of,
    field_bytes,
    stored_levels,
)
from gfrnn.pipeline.forecasting.forecast_store import DEPARTED, LIMITED, WRITTEN
from gfrnn.pipeline.storage import array_in
from gfrnn.pipeline.training.ensembles.error_archive import error_cache_bytes

Array = NDArray[Any]

# Most bytes of a variable that are given to zarr in one write, unless a shard is larger: enough
# that the few milliseconds of a write matter little.
_WRITE_BYTES = 2**24

# Copies of a write that zarr holds: shards put together, compressed, and joined.
_WRITE_COPIES = 3


def write_forecasts(
    path: Path,
    grid: Grid,
    first: int,
    leads: Iterable[DecodedLead],
    members: EnsembleMembers | None = None,
    transforms: ChannelTransforms | None = None,
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
    leads : iterable of DecodedLead
    members : EnsembleMembers, optional
        Members that are made of each forecast and written in its place.
    transforms : ChannelTransforms, optional
        Transforms of the channels, which are undone, and their bounds.
    """
    group = zarr.open_group(path, mode="r+", use_consolidated=False)
    writers = _writers(group, grid, first, members, transforms)
    shares: list[Array] = []
    departed: list[Array] = []
    for lead, one in enumerate(leads):
        shares.append(one.limited)
        departed.append(one.departed)
        fields = one.fields.reshape(-1, *grid.shape)
        for writer in writers:
            writer.add(lead, fields)
    own = slice(first, first + len(shares[0]))
    places = np.stack(departed, axis=1)
    array_in(group, LIMITED)[own] = np.stack(shares, axis=1)
    array_in(group, DEPARTED)[own] = places
    array_in(group, WRITTEN)[own] = np.where((places > STAYED).any(axis=1), 2, 1)


def _writers(
    group: zarr.Group,
    grid: Grid,
    first: int,
    members: EnsembleMembers | None,
    transforms: ChannelTransforms | None,
) -> list[_VariableWriter]:
    levels = np.asarray(array_in(group, "level")[...]).tolist() if "level" in group else []
    writers = []
    for variable in _variables(grid):
        own = [index for index, c in enumerate(grid.channels) if c.variable == variable]
        held = [grid.channels[index].level for index in own]
        places = [levels.index(level) for level in held if level is not None]
        array = array_in(group, variable)
        if members is None:
            writers.append(_VariableWriter(array, own, places, first, transforms))
        else:
            writers.append(_MemberWriter(array, own, places, first, transforms, members=members))
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
    transforms : ChannelTransforms or None
        Transforms and bounds of all channels; those of a variable are the same.
    """

    array: zarr.Array[Any]
    channels: list[int]
    levels: list[int]
    first: int
    transforms: ChannelTransforms | None = None
    _kept: Array | None = None

    @property
    def _lead_axis(self) -> int:
        return 1

    def add(self, lead: int, fields: Array) -> None:
        """Take the fields of a lead, (initial times, *grid.shape); write a complete shard."""
        axis = self._lead_axis
        leads = self.array.shape[axis]
        length = min((self.array.shards or self.array.chunks)[axis], leads)
        if self._kept is None:
            shape = (len(fields), length, *self.array.shape[axis + 1 :])
            # Levels that the variable lacks stay NaN.
            self._kept = np.full(shape, np.nan, dtype=np.float32)
        place = lead % length
        if self.levels:
            self._kept[:, place, self.levels] = fields[:, self.channels]
        else:
            self._kept[:, place] = fields[:, self.channels[0]]
        if place + 1 == length or lead + 1 == leads:
            self._write(self._kept[:, : place + 1], lead - place)

    def _physical(self, values: Array) -> Array:
        """Return values without their transform, within the bounds of the variable."""
        if self.transforms is None:
            return values
        return self.transforms.forecast(self.channels[0], values)

    def _write(self, planes: Array, lead: int) -> None:
        shard = 4 * int(np.prod((self.array.shards or self.array.chunks)[1:]))
        together = _starts_of_write(shard, len(planes))
        for begin in range(0, len(planes), together):
            part = self._physical(planes[begin : begin + together])
            start = self.first + begin
            self.array[start : start + len(part), lead : lead + part.shape[1]] = part


@dataclass
class _MemberWriter(_VariableWriter):
    """The leads of one variable, of whose forecasts members are made and written.

    Attributes
    ----------
    members : EnsembleMembers
    """

    members: EnsembleMembers = field(kw_only=True)

    @property
    def _lead_axis(self) -> int:
        return 2

    def _write(self, planes: Array, lead: int) -> None:
        """Write the members of all initial times, the levels of a shard at once."""
        if not self.levels:
            self._write_levels(planes[:, :, None], lead, None, self.channels)
            return
        levels = self.array.shape[3]
        length = (self.array.shards or self.array.chunks)[3]
        for begin in range(0, levels, length):
            part = slice(begin, min(begin + length, levels))
            inside = [n for n, level in enumerate(self.levels) if part.start <= level < part.stop]
            if inside:
                channels = [self.channels[n] for n in inside]
                self._write_levels(planes[:, :, part], lead, part, channels)

    def _write_levels(
        self, planes: Array, lead: int, part: slice | None, channels: list[int]
    ) -> None:
        """Write the members of some levels; levels that the variable lacks stay NaN.

        Parameters
        ----------
        planes : ndarray, shape (starts, leads, levels, latitudes, longitudes)
        lead : int
            Position of the first lead.
        part : slice or None
            Levels in the store; None where the variable has none.
        channels : list of int
            Channels with these levels, which follow each other on the grid.
        """
        own = [0]
        if part is not None:
            chosen = (level - part.start for level in self.levels)
            own = [level for level in chosen if 0 <= level < planes.shape[2]]
        centre = planes[:, :, own].reshape(*planes.shape[:2], len(own), -1)
        made = self.members.fields(centre, lead, slice(channels[0], channels[-1] + 1))
        leads = slice(lead, lead + planes.shape[1])
        one = 4 * self.members.count * int(np.prod(planes.shape[1:]))
        together = _starts_of_write(one, len(planes))
        for begin in range(0, len(planes), together):
            count = min(together, len(planes) - begin)
            shape = (count, self.members.count, *planes.shape[1:])
            values = np.full(shape, np.nan, dtype=np.float32)
            for number in range(count):
                fields = next(made)
                values[number][:, :, own] = fields.reshape(*fields.shape[:3], *planes.shape[3:])
            values = self._physical(values)
            starts = slice(self.first + begin, self.first + begin + count)
            if part is None:
                self.array[starts, :, leads] = values[:, :, :, 0]
            else:
                self.array[starts, :, leads, part] = values


def shard_buffer_bytes(grid: Grid, leads: int) -> int:
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


def member_writing_bytes(grid: Grid, leads: int, members: int, batch: int) -> int:
    """Return the bytes that making and writing the members of a batch of forecasts take."""
    most = 0
    for variable in _variables(grid):
        chunks = chunks_of(grid, variable, leads, members)
        levels = min(chunks.shard_levels, stored_levels(grid, variable))
        fields = min(chunks.shard_leads, leads) * levels
        made = members_bytes(members, fields * field_bytes(grid) // 4)
        one = members * fields * field_bytes(grid)
        written = _starts_of_write(one, batch) * one
        most = max(most, made + (1 + _WRITE_COPIES) * written)
    return most + error_cache_bytes(leads, grid.size)
