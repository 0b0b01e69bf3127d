"""The summaries of the training pass: R factors of the rows of features and targets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import zarr
from numpy.typing import NDArray

from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.reduction.checkpoints import Arrays
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.states.forcing import Forcing
from gfrnn.pipeline.states.patch_states import LocalLayout
from gfrnn.pipeline.training.triangles import Factors, group_count, packed_bytes
from gfrnn_core import SampledRNN
from gfrnn_core.regression_rows import drawn_together
from gfrnn_core.triangles.folding import block_rows

Array = NDArray[Any]

# Stored states are read as a whole if they have at most so many bytes, and so many times those of a
# leaf, whose rows then take more memory: each read of zarr takes milliseconds.
_SMALL_BYTES, _SMALL_SHARE = 2**22, 16


class States(Protocol):
    """The source of the states of a training pass."""

    @property
    def size(self) -> int:
        """Length of a state."""

    def read(self, start: int, stop: int) -> Array:
        """Return the states of times ``start`` to ``stop - 1``: shape (times, size)."""

    def read_bytes(self, times: int) -> int:
        """Return the peak memory in bytes of reading a number of times, the states included."""


@dataclass(frozen=True)
class StoredStates:
    """States in a zarr array.

    Attributes
    ----------
    path : Path
        Path of the array, shape (times, at least ``size``); NaN where a time has no state.
    size : int
        Number of leading components that a network uses.
    """

    path: Path
    size: int

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "size": self.size}  # tasks on a cluster are sent no states

    @cached_property  # each leaf reads from it, and opening takes longer than such a read
    def _stored(self) -> zarr.Array[Any]:
        return zarr.open_array(self.path, mode="r")

    @cached_property
    def _whole(self) -> Array:
        return np.asarray(self._stored[:, : self.size])

    def read(self, start: int, stop: int) -> Array:
        stored = self._stored
        if stored.nbytes <= _SMALL_BYTES and stored.shape[0] <= _SMALL_SHARE * (stop - start):
            return self._whole[start:stop].copy()
        return np.asarray(stored[start:stop, : self.size])

    def read_bytes(self, times: int) -> int:
        return 8 * times * self.size


@dataclass(frozen=True)
class FieldStates:
    """States that are encoded from the archive's fields during reading, and not stored."""

    fields: Fields
    layout: LocalLayout

    @property
    def size(self) -> int:
        return self.layout.size

    def read(self, start: int, stop: int) -> Array:
        channels, rows, columns = self.fields.grid.shape
        states = np.empty((stop - start, rows, columns, channels))
        self.fields.read_into(states.transpose(0, 3, 1, 2), start)
        return self.layout.standardise(states, self.fields.time[start:stop])

    def read_bytes(self, times: int) -> int:
        # Fields become states in place; besides, the climatology in the order of a state.
        terms = len(self.layout.scaling.climatology.coefficients)
        arranged = 0 if self.layout.is_arranged else 8 * times * self.size
        reading = self.fields.read_bytes(times)
        return max(reading, 8 * times * self.size + arranged) + 8 * (terms + 1) * self.size


@dataclass(frozen=True)
class RowSummary:
    """The summary that makes the R factors of one candidate's rows.

    Attributes
    ----------
    network : SampledRNN
        Network with hidden weights.
    states : States
        Source of the states.
    forcing : Forcing
        Inputs of the network.
    time : ndarray of datetime64, shape (times,)
        Time axis of the states.
    weights : ndarray, shape (places,), optional
        Weight of a row of each place.
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
        """Number of columns of a row: features and targets."""
        return self.network.columns(self.states.size, self.forcing.count).total

    @property
    def features(self) -> int:
        """Number of features of a row."""
        return self.network.columns(self.states.size, self.forcing.count).features

    @property
    def places(self) -> float:
        """Number of rows of the smallest group per time."""
        if self.network.patches is None:
            return self.network.share
        groups = self.network.groups
        of_group = self.network.patches.places if groups is None else np.bincount(groups).min()
        return float(of_group * self.network.share)

    @property
    def groups(self) -> int:
        """Number of sets of outer weights."""
        return group_count(self.network)

    def leaf(self, stretch: Stretch) -> Arrays:
        first, last = self.reach(stretch)
        return self.factors(self.states.read(first, last), first).arrays()

    def reach(self, stretch: Stretch) -> tuple[int, int]:
        """Return the first time of the states that the rows of a stretch need, and the end."""
        return stretch.start - self.network.delays + 1, stretch.stop + max(self.network.leads)

    def factors(self, states: Array, first: int) -> Factors:
        """Return the R factors of states without a gap that begin at time ``first``."""
        inputs = self.forcing(self.time[first : first + len(states)])
        return Factors.of_series(self.network, states, inputs, first, self.weights)

    def merge(self, left: Arrays, right: Arrays) -> Arrays:
        return Factors.from_arrays(left).merge(Factors.from_arrays(right)).arrays()

    def leaf_bytes(self, stretch: Stretch) -> int:
        first, last = self.reach(stretch)
        return self.states.read_bytes(last - first) + self.factors_bytes(last - first)

    def factors_bytes(self, times: int) -> int:
        """Return the peak memory in bytes of :meth:`factors`, without the states."""
        places = 1 if self.network.patches is None else self.network.patches.places
        rows = min(block_rows(self.columns, self.network.precision), times * places)
        # The inputs of the features, per delay and joined, and the indices to gather them with.
        columns = self.network.columns(self.states.size, self.forcing.count)
        window = columns.linear // self.network.delays
        # Products with inputs are made for a block, and joined to its inputs.
        lifted = 8 * rows * (2 * columns.linear + window + 2 * columns.products)
        noise = 8 * (self._drawn(times) + times * self.states.size) if self.network.noisy else 0
        if self.network.sampling == "centres":  # the values whose distances features measure
            lifted += 8 * rows * columns.linear
        inputs = 8 * times * (places if self.forcing.varies_by_place else 1) * self.forcing.count
        # A block of rows and a copy of it that is divided by the triangle; this triangle, the Gram
        # matrix of such blocks or a final copy, and the other groups' triangles.
        row = np.dtype(self.network.precision).itemsize * self.columns
        folded = 2 * row * rows + 8 * (2 + self.groups) * self.columns**2
        return noise + inputs + lifted + folded + self._lattice_bytes(times, rows)

    def _lattice_bytes(self, times: int, rows: int) -> int:
        """Return the memory in bytes of features on the grid, and of a block's part of them."""
        features = self.network.lattice_features
        if features is None:
            return 0
        on_grid = 8 * times * features.lattice.cells * features.features.count
        together = min(times, features.times_together) * features.time_bytes
        # Indices, gathered features, and these joined with the inputs.
        return on_grid + together + 3 * 8 * rows * features.columns

    def merge_bytes(self) -> int:
        # Both sides and the result of all groups, packed and not, and for one group LAPACK's
        # copies of the sides and its result before it is reordered.
        return (5 * self.groups + 3) * 8 * self.columns**2

    def result_bytes(self, times: int) -> int:
        return self.groups * packed_bytes(self.columns)

    def leaf_rows(self, times: int) -> float:
        return self.groups * self.rows_of(times)

    @property
    def row_flops(self) -> float:
        columns = self.network.columns(self.states.size, self.forcing.count)
        return 2.0 * (columns.linear * columns.hidden + self.columns**2)

    def rows_of(self, times: int) -> float:
        """Return the number of rows of one group for a number of present times."""
        places = 1 if self.network.patches is None else self.network.patches.places
        return self.network.share * times * places / self.groups

    def _drawn(self, times: int) -> int:
        """Return how many random numbers are drawn for noise on states, in whole blocks."""
        together = drawn_together(self.states.size)
        return (-(-times // together) + 1) * together * self.states.size


@dataclass(frozen=True)
class SharedRows:
    """The summary that makes the R factors of several candidates, for which states are read once.

    Attributes
    ----------
    parts : tuple of RowSummary
        Summaries of the candidates, with the same states.
    """

    parts: tuple[RowSummary, ...]
    name: str = "rows"
    remedy: str = "data.chunk, model.leads, model.width or the candidates of search"

    def prefix(self, index: int) -> str:
        """Return the prefix of the names of a candidate's arrays."""
        return f"{index}_"

    def leaf(self, stretch: Stretch) -> Arrays:
        first, last = self.reach(stretch)
        states = self.parts[0].states.read(first, last)
        arrays: Arrays = {}
        for index, part in enumerate(self.parts):
            begin, end = part.reach(stretch)
            factors = part.factors(states[begin - first : end - first], begin)
            arrays |= factors.arrays(self.prefix(index))
        return arrays

    def merge(self, left: Arrays, right: Arrays) -> Arrays:
        arrays: Arrays = {}
        for index in range(len(self.parts)):
            prefix = self.prefix(index)
            mine, theirs = (Factors.from_arrays(side, prefix) for side in (left, right))
            arrays |= mine.merge(theirs).arrays(prefix)
        return arrays

    def leaf_bytes(self, stretch: Stretch) -> int:
        first, last = self.reach(stretch)
        kept = sum(8 * part.groups * part.columns**2 for part in self.parts)
        most = max(part.factors_bytes(last - first) for part in self.parts)
        return self.parts[0].states.read_bytes(last - first) + kept + most

    def merge_bytes(self) -> int:
        return sum(part.merge_bytes() for part in self.parts)

    def result_bytes(self, times: int) -> int:
        return sum(part.result_bytes(times) for part in self.parts)

    def leaf_rows(self, times: int) -> float:
        return sum(part.leaf_rows(times) for part in self.parts)

    @property
    def row_flops(self) -> float:
        each = sum(part.leaf_rows(1) * part.row_flops for part in self.parts)
        return each / self.leaf_rows(1)

    @property
    def overlap(self) -> int:
        """Number of times that a leaf reads besides the present ones."""
        first, last = self.reach(Stretch("", 0, 0))
        return last - first

    def reach(self, stretch: Stretch) -> tuple[int, int]:
        """Return the first time of the states that the rows of a stretch need, and the end."""
        ends = [part.reach(stretch) for part in self.parts]
        return min(first for first, _ in ends), max(last for _, last in ends)
