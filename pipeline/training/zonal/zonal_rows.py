"""The summary of the training passes of a zonal network: R factors of the rows of one stage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.reduction.checkpoints import Arrays
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.states.climatology import Climatology
from gfrnn.pipeline.states.forcing import Forcing
from gfrnn.pipeline.training.triangles import Factors, packed_bytes
from gfrnn.pipeline.training.zonal.zonal_features import grid_bytes
from gfrnn_core.regression_rows import drawn_together
from gfrnn_core.zonal import ZonalNetwork, row_factors

Array = NDArray[Any]

# Number of successive times whose rows are made together, which fit into a processor's cache. A
# share of the rows is a share of such blocks, as a row needs the features of times next to it.
_BLOCK = 64

# Multiples of the golden ratio, without their integers, are evenly distributed from 0 to 1 and have
# no period, as seasons and days have.
_GOLDEN = (np.sqrt(5) - 1) / 2

# Rows of a column that are folded together: one factorisation of all is faster than several.
_FOLDED_ROWS_PER_COLUMN = 4

_VALUE = np.dtype(complex).itemsize


def blocks_of_share(stretch: Stretch, share: float) -> Iterator[tuple[int, int]]:
    """Yield the first time of each block of a stretch that has rows, and the end of the block."""
    for block in range(stretch.start // _BLOCK, -(-stretch.stop // _BLOCK)):
        # Whether a time has a row depends on its number in the record, not on the leaf.
        if block * _GOLDEN % 1 < share:
            yield max(block * _BLOCK, stretch.start), min((block + 1) * _BLOCK, stretch.stop)


class StateSource(Protocol):
    """A source of states by the numbers of their times."""

    def read(self, start: int, stop: int) -> Array:
        """Return the states of times ``start`` to ``stop - 1``: shape (times, size)."""


@dataclass(frozen=True)
class ZonalRowSummary:
    """The summary that makes the R factors of the rows of the next stage, one a wavenumber.

    Rows of the validation period have no noise, so that the choice of the ridge and the errors are
    those of forecasts.

    Attributes
    ----------
    network : ZonalNetwork
        Network with the stages that are solved already.
    states : StateSource
        Source of the states.
    climatology : Climatology
        Climatology whose terms weight the background of the features.
    forcing : Forcing
        Inputs of the network.
    time : ndarray of datetime64, shape (times,)
        Time axis of the states.
    share : float
        Share of the training times, in evenly distributed blocks, that have a row.
    """

    network: ZonalNetwork
    states: StateSource
    climatology: Climatology
    forcing: Forcing
    time: Array
    share: float = 1.0
    name: str = "rows"
    remedy: str = "state.wavenumbers, state.functions or fit.rows"

    @cached_property
    def stage(self) -> int:
        """Number of the stage, counted from 0."""
        return len(self.network.stages)

    @cached_property
    def used(self) -> Array:
        """Which columns are not always zero: bool, shape (wavenumbers, columns)."""
        return self.network.used_columns(self.stage)

    @cached_property
    def columns(self) -> Array:
        """Numbers of columns in use, features and targets: int, shape (wavenumbers,)."""
        return np.asarray(self.used.sum(axis=1) + self.network.basis.used.sum(axis=1))

    def reach(self, stretch: Stretch) -> tuple[int, int]:
        """Return the first time of the states that the rows of a stretch need, and the end."""
        return stretch.start - self.network.delays + 1, stretch.stop + 1

    def leaf(self, stretch: Stretch) -> Arrays:
        used = self.used, self.network.basis.used
        return Factors(tuple(row_factors(self._blocks(stretch), *used, self._folded))).arrays()

    def _blocks(self, stretch: Stretch) -> Iterator[tuple[Array, Array]]:
        """Yield rows and targets of a leaf, some times together."""
        clean = stretch.fold.startswith("validation/")
        network = replace(self.network, noise=None) if clean else self.network
        share = 1.0 if clean else self.share
        first, last = self.reach(stretch)
        states, time = self.states.read(first, last), self.time[first:last]
        terms, inputs = self.climatology.design_matrix(time), self.forcing(time)
        for start, stop in blocks_of_share(stretch, share):
            begin, end = self.reach(replace(stretch, start=start, stop=stop))
            now = slice(begin - first, end - first)
            given = None if inputs is None else inputs[now]
            yield network.training_rows(states[now], terms[now], given, begin)

    @property
    def _folded(self) -> int:
        """Number of rows that are folded together."""
        return max(_BLOCK, _FOLDED_ROWS_PER_COLUMN * int(self.columns.max()))

    def merge(self, left: Arrays, right: Arrays) -> Arrays:
        return Factors.from_arrays(left).merge(Factors.from_arrays(right)).arrays()

    def leaf_bytes(self, stretch: Stretch) -> int:
        first, last = self.reach(stretch)
        network = self.network
        numbers, width = network.basis.wavenumbers, network.basis.width
        featured = network.feature_basis.width
        states = 2 * 8 * (last - first) * network.state_size
        times = min(last - first, _BLOCK + network.delays)
        drawn = drawn_together(network.state_size) + times if network.noise is not None else 0
        # Coefficients, features and their base fields, also of the forecast that is corrected.
        known = 2 * (1 + (self.stage > 0)) * numbers * times * (width + featured)
        rows = numbers * times * (2 * network.columns(self.stage) + 2 * width)
        value = network.complex_type.itemsize
        block = 3 * 8 * drawn * network.state_size + value * (known + rows)
        buffers = value * self._folded * int(self.columns.sum())
        return states + block + buffers + 4 * self.result_bytes(times) + grid_bytes(network, times)

    def merge_bytes(self) -> int:
        # Both sides and the result, packed and not, and LAPACK's copies for one wavenumber.
        return 9 * self.result_bytes(0) + 3 * _VALUE * int(self.columns.max()) ** 2

    def result_bytes(self, times: int) -> int:
        return 2 * sum(map(packed_bytes, self.columns.tolist()))

    def leaf_rows(self, times: int) -> float:
        return self.share * times * self.network.basis.wavenumbers

    @property
    def row_flops(self) -> float:
        # A complex multiplication and addition is four real ones.
        return float(8 * np.square(self.columns).mean())
