"""Fields <-> states of a local network: anomalies on the grid, in the order of patches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn_core import Patches
from pipeline.forcing import Forcing
from pipeline.state import Scaling

Array = NDArray[Any]


@dataclass(frozen=True)
class LocalLayout:
    """States are the anomalies of every cell, each channel by its spread.

    A state has the channels of a cell next to each other, cells by latitude and then longitude:
    shape ``(latitudes * longitudes * channels,)``, which is how :class:`gfrnn_core.Patches` cuts
    it.

    Attributes
    ----------
    scaling : Scaling
        Not weighted by area: the same weather has the same state everywhere.
    patches : Patches
    groups : ndarray of int, shape (places,), or None
        Which set of outer weights each patch uses.
    forcing : Forcing
        Inputs at each place.
    memory : ndarray, shape (channels,)
        Autocorrelation of the anomalies of each channel at one step, all cells together: what
        damped persistence is made of.
    """

    scaling: Scaling
    patches: Patches
    groups: Array | None
    forcing: Forcing
    memory: Array

    @property
    def size(self) -> int:
        """Length of a state."""
        return self.patches.cells

    def encode(self, fields: Array, time: Array) -> Array:
        """States of fields (which are overwritten): shape (times, size), 0 in the mask."""
        scaled = self.scaling.scaled(fields, time)
        channels, rows, columns = self.scaling.grid.shape
        by_cell = scaled.reshape(-1, channels, rows * columns).transpose(0, 2, 1)
        return np.ascontiguousarray(by_cell).reshape(len(fields), -1)

    def anomalies(self, states: Array) -> Array:
        """Anomalies of the fields of states, in the variables' units: shape (n, grid.size).

        They are 0 in the mask.
        """
        channels, rows, columns = self.scaling.grid.shape
        by_channel = states.reshape(-1, rows * columns, channels).transpose(0, 2, 1)
        return np.asarray(by_channel.reshape(len(states), -1) * self.scaling.units)

    def decode(self, states: Array, time: Array) -> Array:
        """Fields of states at some times: shape (times, grid.size), NaN in the mask."""
        fields = self.anomalies(states) + self.scaling.climatology(time)
        return self.scaling.grid.blanked(fields)

    def damping(self, lead: int) -> Array:
        """Autocorrelation of each cell at a lead, in steps: shape (grid.size,).

        That of a first-order autoregressive process, one a channel.
        """
        _, rows, columns = self.scaling.grid.shape
        return np.repeat(self.memory**lead, rows * columns)
