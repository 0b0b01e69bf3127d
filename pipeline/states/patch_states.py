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

# Values and times that are standardised together: few enough for the cache of the processor.
_VALUES = 8192
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

    @property
    def is_arranged(self) -> bool:
        """Whether the columns of the grid are in the order of a state."""
        return bool(self._order[0] == 0)

    def encode(self, fields: Array, time: Array) -> Array:
        """Return the states of fields (float32 or float64): shape (times, size), 0 in the mask."""
        channels, rows, columns = self.scaling.grid.shape
        states = np.empty((len(time), rows, columns, channels))
        states[...] = fields.reshape(-1, channels, rows, columns).transpose(0, 2, 3, 1)
        return self.standardise(states, time)

    def standardise(self, fields: Array, time: Array) -> Array:
        """Return the states of fields whose channels are last; the fields are overwritten.

        Values are processed in small blocks that fit into the cache; with whole arrays each
        operation would be limited by memory bandwidth.

        Parameters
        ----------
        fields : ndarray of float64, shape (times, latitudes, longitudes, channels)
            0 in the mask.
        time : ndarray of datetime64, shape (times,)

        Returns
        -------
        ndarray, shape (times, size)
        """
        if not self.is_arranged:
            fields = fields[:, :, self._order]
        states = fields.reshape(len(fields), -1)
        design = self.scaling.climatology.design_matrix(time)
        for first, begin in product(range(0, self.size, _VALUES), range(0, len(time), _TIMES)):
            now, values = slice(begin, begin + _TIMES), slice(first, first + _VALUES)
            block = states[now, values]
            block *= self._weights[values]
            block -= design[now] @ self._seasonal[:, values]
        return states

    def project(self, scaled: Array) -> Array:
        """Return the states of scaled anomalies: shape (times, size)."""
        by_channel = scaled.reshape(-1, *self.scaling.grid.shape)[..., self._order]
        return np.asarray(by_channel.transpose(0, 2, 3, 1).reshape(len(scaled), -1))

    @cached_property
    def _weights(self) -> Array:
        """Factors of the fields in the order of a state: shape (size,)."""
        return self.project(self.scaling.weights[None])[0]

    @cached_property
    def _seasonal(self) -> Array:
        """Climatology in units and in the order of a state: shape (terms, size)."""
        return self.project(self.scaling.climatology.coefficients * self.scaling.weights)

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
