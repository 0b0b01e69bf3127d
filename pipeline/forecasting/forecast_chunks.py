"""Choose the chunks and shards of a variable of the forecast store by their size.

A chunk is read and decoded as a whole, at a cost of about a millisecond besides the decoding.
Chunks of 1 to 4 MiB make that cost small, and one field still takes a few milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from gfrnn.pipeline.data.grid import Grid

# Largest inner chunk that holds several fields, in bytes. A field is never split.
_CHUNK_BYTES = 2**22

# Largest shard that holds several inner chunks, in bytes. A task keeps the leads of a shard in
# memory until the last one of them is computed.
_SHARD_BYTES = 2**23


@dataclass(frozen=True)
class ForecastChunks:
    """Numbers of members, leads and levels of one initial time in a chunk and in a shard.

    The lengths of a shard are multiples of those of a chunk, so that they may exceed the numbers of
    members, leads and levels; what lies beyond is never written.

    Attributes
    ----------
    leads, levels : int
        Leads and levels in an inner chunk.
    shard_leads, shard_levels : int
        Leads and levels in a shard, which is one file.
    members, shard_members : int
        Members in an inner chunk and in a shard; 1 without ensembles.
    """

    leads: int
    levels: int
    shard_leads: int
    shard_levels: int
    members: int = 1
    shard_members: int = 1

    @property
    def sharded(self) -> bool:
        """Whether a shard has several inner chunks."""
        shard = self.shard_members, self.shard_leads, self.shard_levels
        return (self.members, self.leads, self.levels) != shard


def forecast_chunks(
    leads: int, levels: int, one_field: int, members: int | None = None
) -> ForecastChunks:
    """Return the chunks of a variable: as many leads, levels and members as make at most 4 MiB.

    Where all leads make at most 8 MiB, a shard holds all of them, otherwise the leads of one chunk.
    A shard of such leads holds all members too where these make at most 8 MiB. Forecasts of which
    one member makes more have no shards of several chunks, as members are made chunk by chunk.

    Parameters
    ----------
    leads, levels : int
        Numbers of leads and levels of the variable, 1 level where it has no such dimension.
    one_field : int
        Stored bytes of one field.
    members : int, optional
        Number of members of an ensemble.
    """
    lead_bytes, members = levels * one_field, members or 1
    own_leads = _even_part(leads, _CHUNK_BYTES // lead_bytes)
    own_levels = _even_part(levels, _CHUNK_BYTES // one_field)
    member_bytes = leads * lead_bytes
    own_members = _even_part(members, _CHUNK_BYTES // member_bytes)
    whole = member_bytes <= _SHARD_BYTES
    all_members = members * member_bytes <= _SHARD_BYTES
    return ForecastChunks(
        own_leads,
        own_levels,
        ceil(leads / own_leads) * own_leads if whole else own_leads,
        own_levels if members > 1 and not whole else ceil(levels / own_levels) * own_levels,
        own_members,
        ceil(members / own_members) * own_members if all_members else own_members,
    )


def chunks_of(grid: Grid, variable: str, leads: int, members: int | None = None) -> ForecastChunks:
    """Return the chunks of a variable of forecasts on a grid."""
    levels = stored_levels(grid, variable)
    return forecast_chunks(leads, levels, field_bytes(grid), members)


def stored_levels(grid: Grid, variable: str) -> int:
    """Return the number of stored levels of a variable, 1 where it has no such dimension."""
    levels = {c.level for c in grid.channels if c.level is not None}
    deep = any(c.variable == variable and c.level is not None for c in grid.channels)
    return len(levels) if deep else 1


def field_bytes(grid: Grid) -> int:
    """Return the bytes of one field as float32."""
    return 4 * grid.shape[1] * grid.shape[2]


def _even_part(count: int, most: int) -> int:
    """Return the length of parts of at most ``most`` items, or one, that are about equally long."""
    return ceil(count / ceil(count / max(1, most)))
