"""Area indices, such as Nino 3.4: means of a variable over a box of a grid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.config.verification_config import IndexConfig
from gfrnn.pipeline.data.grid import Grid, format_extent, region_cells
from gfrnn.pipeline.errors import ConfigError

Array = NDArray[Any]


def index_channel(name: str, index: IndexConfig, grid: Grid) -> int:
    """Return the position of the channel of an index on a grid.

    Raises
    ------
    ConfigError
        If the grid does not have the variable or the level, or several levels and none is given.
    """
    key = f"verification.indices.{name}"
    own = [channel for channel in grid.channels if channel.variable == index.variable]
    if not own:
        known = ", ".join(dict.fromkeys(channel.variable for channel in grid.channels))
        raise ConfigError(
            f"{key}.variable: {index.variable} is not among the variables of the data, {known}; "
            "choose one of these, or add it to data.variables"
        )
    found = [channel for channel in own if index.level in (None, channel.level)]
    if len(found) == 1:
        return grid.channels.index(found[0])
    if own[0].level is None:
        raise ConfigError(
            f"{key}.level: {index.level:g} hPa, but {index.variable} has no levels; leave it out"
        )
    given = "none" if index.level is None else f"{index.level:g} hPa"
    levels = ", ".join(f"{channel.level:g}" for channel in own)
    raise ConfigError(
        f"{key}.level: {given}, but {index.variable} has the levels {levels} hPa; choose one of "
        "these"
    )


def index_weights(indices: Mapping[str, IndexConfig], grid: Grid) -> Array:
    """Return the weight of each cell in each index: shape (indices, grid.size).

    A cell counts if its centre lies inside the box or on its border and it is not masked. Weights
    are proportional to the cosine of latitude; the sum of an index's weights is 1.

    Raises
    ------
    ConfigError
        If the grid does not have the variable or the level of an index, or no cell in its box.
    """
    weights = np.zeros((len(indices), *grid.shape))
    cosine = np.cos(np.deg2rad(grid.latitude))
    for own, (name, index) in zip(weights, indices.items(), strict=True):
        channel = index_channel(name, index, grid)
        rows, columns = region_cells(grid.latitude, grid.longitude, index.latitude, index.longitude)
        box = np.ix_(rows, columns)
        own[channel][box] = (cosine[:, None] * grid.valid[channel])[box]
        if not own.any():
            have = (
                f"no cell of {index.variable} that has values; {rows.size * columns.size} are "
                "masked"
                if rows.size * columns.size
                else f"no cell of the data, which have latitudes {format_extent(grid.latitude)} "
                f"and longitudes {format_extent(grid.longitude)}"
            )
            raise ConfigError(
                f"verification.indices.{name}: latitude {list(index.latitude)}, longitude "
                f"{list(index.longitude)} contains {have}; choose another box, or leave the index "
                "out"
            )
        own /= own.sum()
    return weights.reshape(len(indices), grid.size)
