"""The training pass: the R factors of the lifted rows, from states wherever they are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import zarr
from numpy.typing import NDArray

from gfrnn_core import SampledRNN
from pipeline.checkpoints import Arrays
from pipeline.factors import Factors
from pipeline.fields import Fields
from pipeline.forcing import Forcing
from pipeline.local import LocalLayout
from pipeline.reduce import Stretch

Array = NDArray[Any]


class States(Protocol):
    """Where a training pass finds its states."""

    @property
    def size(self) -> int:
        """Length of a state."""

    def read(self, start: int, stop: int) -> Array:
        """The states of times ``start`` to ``stop - 1``: shape (times, size)."""

    def read_bytes(self, times: int) -> int:
        """Peak working memory of reading so many times, the states included."""


@dataclass(frozen=True)
class StoredStates:
    """States in a zarr array.

    Attributes
    ----------
    path : Path
        Shape (times, at least ``size``); NaN where a time has no state.
    size : int
        Leading components that make up a network's state.
    """

    path: Path
    size: int

    def read(self, start: int, stop: int) -> Array:
        return np.asarray(zarr.open_array(self.path, mode="r")[start:stop, : self.size])

    def read_bytes(self, times: int) -> int:
        return 8 * times * self.size


@dataclass(frozen=True)
class FieldStates:
    """States made of the archive's own fields, as they are read: nothing is stored twice."""

    fields: Fields
    layout: LocalLayout

    @property
    def size(self) -> int:
        return self.layout.size

    def read(self, start: int, stop: int) -> Array:
        return self.layout.encode(self.fields.read(start, stop), self.fields.time[start:stop])

    def read_bytes(self, times: int) -> int:
        # The fields, the climatology taken off, and the states.
        return 3 * 8 * times * self.size


@dataclass(frozen=True)
class RowSummary:
    """The R factors of the lifted rows.

    Attributes
    ----------
    network : SampledRNN
        With hidden weights.
    states : States
    forcing : Forcing
    time : ndarray of datetime64, shape (times,)
    weights : ndarray, shape (places,), optional
        What a row of each place counts.
    """

    network: SampledRNN
    states: States
    forcing: Forcing
    time: Array
    weights: Array | None = None
    name: str = "rows"
    remedy: str = "model.width"

    @cached_property
    def columns(self) -> int:
        return self.network.columns(self.states.size, self.forcing.count).total

    @property
    def groups(self) -> int:
        """Sets of outer weights."""
        return 1 if self.network.groups is None else len(np.unique(self.network.groups))

    def leaf(self, stretch: Stretch) -> Arrays:
        # Present times start..stop-1 need the states before and after them.
        first = stretch.start - self.network.delays + 1
        last = stretch.stop + max(self.network.leads)
        states, inputs = self.states.read(first, last), self.forcing(self.time[first:last])
        return Factors.of_series(self.network, states, inputs, first, self.weights).arrays()

    def merge(self, left: Arrays, right: Arrays) -> Arrays:
        return Factors.from_arrays(left).merge(Factors.from_arrays(right)).arrays()

    def leaf_bytes(self, stretch: Stretch) -> int:
        times = stretch.stop - stretch.start + self.network.overlap
        places = 1 if self.network.patches is None else self.network.patches.places
        rows = min(2 * self.columns, times * places)
        # The states and what they see of noise, the inputs, a block of rows, the standing triangle
        # and its tidied copy, the triangles of the other groups.
        states = self.states.read_bytes(times) * (2 if self.network.noise else 1)
        inputs = 8 * times * places * self.forcing.count
        return states + inputs + 8 * self.columns * (rows + (2 + self.groups) * self.columns)

    def merge_bytes(self) -> int:
        # Both sides and the result of all groups, and what one group takes: copies for LAPACK and
        # the result in its order.
        return 3 * (self.groups + 1) * 8 * self.columns**2
