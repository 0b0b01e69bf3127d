"""Fields <-> states of a local network: anomalies of all grid cells, in the order of patches."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.data.grid import contiguous_longitudes
from gfrnn.pipeline.states.climatology import Scaling

Array = NDArray[Any]

# Cells and times that are encoded together: few enough for the cache of the processor.
_CELLS = 4096
_TIMES = 8


@dataclass(frozen=True)
class LocalLayout:
    """Layout of states that are the anomalies of every cell, divided by the channel's std.

    A state has shape ``(latitudes * longitudes * channels,)``, the channels of a cell next to each
    other, in the order of :class:`gfrnn_core.Patches`. Longitudes of a region are contiguous, also
    across Greenwich.

    Attributes
    ----------
    scaling : Scaling
        Without area weights.
    """

    scaling: Scaling

    @property
    def size(self) -> int:
        """Length of a state."""
        return self.scaling.grid.size

    @cached_property
    def mask(self) -> Array | None:
        """Mask of the grid in the order of a state: bool, shape (size,), or None."""
        grid = self.scaling.grid
        return None if grid.mask is None else self.project(grid.mask[None])[0]

    @cached_property
    def _order(self) -> Array:
        """Columns of the grid, eastwards from the western border of the region."""
        return contiguous_longitudes(self.scaling.grid.longitude)[0]

    def encode(self, fields: Array, time: Array) -> Array:
        """Return the states of fields (float32 or float64): shape (times, size), 0 in the mask.

        Fields are processed in small blocks that fit into the cache; with whole arrays each
        operation would be limited by memory bandwidth.
        """
        channels, rows, columns = self.scaling.grid.shape
        design = self.scaling.climatology.design_matrix(time)
        states = np.empty((len(time), rows, columns, channels))
        rows_per_block = max(1, _CELLS // columns)
        for channel, first in product(range(channels), range(0, rows, rows_per_block)):
            block_rows = slice(first, first + rows_per_block)
            start = (channel * rows + first) * columns
            cells = slice(start, start + columns * (min(first + rows_per_block, rows) - first))
            weights, seasonal = self.scaling.weights[cells], self._seasonal[:, cells]
            for begin in range(0, len(time), _TIMES):
                now = slice(begin, begin + _TIMES)
                scaled = fields[now, cells] * weights
                scaled -= design[now] @ seasonal
                block = scaled.reshape(-1, (cells.stop - start) // columns, columns)
                for source, target in self._column_ranges:
                    states[now, block_rows, target, channel] = block[:, :, source]
        return states.reshape(len(time), -1)

    def project(self, scaled: Array) -> Array:
        """Return the states of scaled anomalies: shape (times, size)."""
        by_channel = scaled.reshape(-1, *self.scaling.grid.shape)[..., self._order]
        return np.asarray(by_channel.transpose(0, 2, 3, 1).reshape(len(scaled), -1))

    @cached_property
    def _seasonal(self) -> Array:
        """Coefficients of the climatology in units of a state: shape (terms, size)."""
        return np.asarray(self.scaling.climatology.coefficients * self.scaling.weights)

    @cached_property
    def _column_ranges(self) -> list[tuple[slice, slice]]:
        """:attr:`_order` as pairs of slices: columns of the grid, columns of the state."""
        first, count = int(self._order[0]), len(self._order)
        parts = [(slice(first, count), slice(0, count - first))]
        return parts if first == 0 else [*parts, (slice(0, first), slice(count - first, count))]

    def anomalies(self, states: Array) -> Array:
        """Return the anomalies of states in units of the variables: shape (n, grid.size).

        They are 0 in the mask.
        """
        channels, rows, columns = self.scaling.grid.shape
        fields = np.empty((len(states), channels, rows, columns))
        by_cell = states.reshape(-1, rows, columns, channels)
        fields[..., self._order] = by_cell.transpose(0, 3, 1, 2)
        return np.asarray(fields.reshape(len(states), -1) * self.scaling.inverse_weights)

    def decode(self, states: Array, time: Array) -> Array:
        """Return the fields of states at some times: shape (times, grid.size), NaN in the mask."""
        fields = self.anomalies(states) + self.scaling.climatology(time)
        return self.scaling.grid.fill_mask(fields)

    def autocorrelation(self, lagged: Array, lead: int) -> Array:
        """Return the autocorrelation of each grid cell at a lead, in steps: shape (grid.size,).

        All cells of a channel have the same.

        Parameters
        ----------
        lagged : ndarray, shape (leads + 1, channels)
            Autocorrelation of each channel over all cells.
        lead : int
        """
        _, rows, columns = self.scaling.grid.shape
        return np.repeat(lagged[lead], rows * columns)

    @cached_property
    def regression_groups(self) -> Array:
        """Channel of each value of a state, which have one regression coefficient: (size,)."""
        channels, rows, columns = self.scaling.grid.shape
        return np.tile(np.arange(channels), rows * columns)

    def attributes(self) -> dict[str, Any]:
        """Return what is stored as attributes."""
        return {"kind": "local"}

    def arrays(self) -> dict[str, Array]:
        """Return what is stored as arrays, besides grid and climatology: nothing."""
        return {}
