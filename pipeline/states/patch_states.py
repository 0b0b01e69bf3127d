"""Fields <-> states of a local network: anomalies on the grid, in the order of patches."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.data.fields import Grid, unbroken
from gfrnn.pipeline.states.climatology import Climatology, Scaling
from gfrnn.pipeline.states.eofs import EofLayout

Array = NDArray[Any]

# Cells and times that are encoded together: few enough for the processor's cache.
_CELLS = 4096
_TIMES = 8


@dataclass(frozen=True)
class LocalLayout:
    """States are the anomalies of every cell, each channel by its spread.

    A state has the channels of a cell next to each other, cells by latitude and then longitude, as
    :class:`gfrnn_core.Patches` cuts it: shape ``(latitudes * longitudes * channels,)``. Cells that
    are neighbours on the globe are neighbours there, also across Greenwich.

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

    @cached_property
    def mask(self) -> Array | None:
        """Where a state never has a value, in its order: bool, shape (size,), or None."""
        grid = self.scaling.grid
        return None if grid.mask is None else self.project(grid.mask[None])[0]

    @cached_property
    def _order(self) -> Array:
        """Columns of the grid from the western border of a region on."""
        return unbroken(self.scaling.grid.longitude)[0]

    def encode(self, fields: Array, time: Array) -> Array:
        """States of fields: shape (times, size), 0 in the mask.

        One small piece after the other goes all the way, from fields as they are read, float32 or
        float64, to states: whole arrays would wait for memory at each step.
        """
        channels, rows, columns = self.scaling.grid.shape
        waves = self.scaling.climatology.waves(time)
        states = np.empty((len(time), rows, columns, channels))
        together = max(1, _CELLS // columns)
        for channel, first in product(range(channels), range(0, rows, together)):
            some = slice(first, first + together)
            start = (channel * rows + first) * columns
            cells = slice(start, start + columns * (min(first + together, rows) - first))
            weights, seasonal = self.scaling.weights[cells], self._seasonal[:, cells]
            for begin in range(0, len(time), _TIMES):
                now = slice(begin, begin + _TIMES)
                scaled = fields[now, cells] * weights
                scaled -= waves[now] @ seasonal
                piece = scaled.reshape(-1, (cells.stop - start) // columns, columns)
                for here, there in self._turned:
                    states[now, some, there, channel] = piece[:, :, here]
        return states.reshape(len(time), -1)

    def project(self, scaled: Array) -> Array:
        """States of scaled anomalies: shape (times, size)."""
        by_channel = scaled.reshape(-1, *self.scaling.grid.shape)[..., self._order]
        return np.asarray(by_channel.transpose(0, 2, 3, 1).reshape(len(scaled), -1))

    @cached_property
    def _seasonal(self) -> Array:
        """The climatology's coefficients in units of a state: shape (terms, size)."""
        return np.asarray(self.scaling.climatology.coefficients * self.scaling.weights)

    @cached_property
    def _turned(self) -> list[tuple[slice, slice]]:
        """:attr:`_order` as columns of the grid that lie together, and where they go."""
        first, count = int(self._order[0]), len(self._order)
        parts = [(slice(first, count), slice(0, count - first))]
        return parts if first == 0 else [*parts, (slice(0, first), slice(count - first, count))]

    def anomalies(self, states: Array) -> Array:
        """Anomalies of the fields of states, in the variables' units: shape (n, grid.size).

        They are 0 in the mask.
        """
        channels, rows, columns = self.scaling.grid.shape
        fields = np.empty((len(states), channels, rows, columns))
        by_cell = states.reshape(-1, rows, columns, channels)
        fields[..., self._order] = by_cell.transpose(0, 3, 1, 2)
        return np.asarray(fields.reshape(len(states), -1) * self.scaling.units)

    def decode(self, states: Array, time: Array) -> Array:
        """Fields of states at some times: shape (times, grid.size), NaN in the mask."""
        fields = self.anomalies(states) + self.scaling.climatology(time)
        return self.scaling.grid.blanked(fields)

    def damping(self, lagged: Array, lead: int) -> Array:
        """Autocorrelation of each grid cell at a lead, in steps: shape (grid.size,).

        It is that of the cell's channel.

        Parameters
        ----------
        lagged : ndarray, shape (leads + 1, channels)
            Autocorrelation of each channel, all cells together.
        lead : int
        """
        _, rows, columns = self.scaling.grid.shape
        return np.repeat(lagged[lead], rows * columns)

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
