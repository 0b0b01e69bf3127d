"""Fields <-> states of a local network: anomalies on the grid, in the order of patches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.fields import Grid
from pipeline.state import Climatology, EofLayout, Scaling

Array = NDArray[Any]


@dataclass(frozen=True)
class LocalLayout:
    """States are the anomalies of every cell, each channel by its spread.

    A state has the channels of a cell next to each other, cells by latitude and then longitude, as
    :class:`gfrnn_core.Patches` cuts it: shape ``(latitudes * longitudes * channels,)``.

    Attributes
    ----------
    scaling : Scaling
        Not by area.
    """

    scaling: Scaling

    @property
    def size(self) -> int:
        """Length of a state."""
        return self.scaling.grid.size

    def encode(self, fields: Array, time: Array) -> Array:
        """States of fields (which are overwritten): shape (times, size), 0 in the mask."""
        return self.project(self.scaling.scaled(fields, time))

    def project(self, scaled: Array) -> Array:
        """States of scaled anomalies: shape (times, size)."""
        channels, rows, columns = self.scaling.grid.shape
        by_cell = scaled.reshape(-1, channels, rows * columns).transpose(0, 2, 1)
        return by_cell.reshape(len(scaled), -1)

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

    def damping(self, lagged: Array, lead: int) -> Array:
        """Autocorrelation of each grid cell at a lead, in steps: shape (grid.size,).

        Parameters
        ----------
        lagged : ndarray, shape (leads + 1, channels)
            Autocorrelation of each channel, all cells together.
        lead : int
        """
        _, rows, columns = self.scaling.grid.shape
        return np.repeat(lagged[lead] / lagged[0], rows * columns)

    def about(self) -> dict[str, Any]:
        """What is not an array, for storing."""
        return {"kind": "local"}

    def arrays(self) -> dict[str, Array]:
        """Arrays of its own, for storing: none."""
        return {}


def layout_of(
    about: dict[str, Any], grid: Grid, climatology: Climatology, arrays: dict[str, Array]
) -> EofLayout | LocalLayout:
    """A layout again from what it gave to store."""
    if about["kind"] == "local":
        return LocalLayout(Scaling(grid, climatology, by_area=False))
    return EofLayout(
        Scaling(grid, climatology),
        arrays["eofs"],
        arrays["singular_values"],
        about["total"],
        about["times"],
    )
