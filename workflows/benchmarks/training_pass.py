"""Training pass of the benchmarks: random states in zarr, the network and its operations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import zarr
from distributed import Client

from gfrnn.pipeline.reduction.checkpoints import Arrays
from gfrnn.pipeline.reduction.reduce import reduce_stretches
from gfrnn.pipeline.reduction.tree import Stretch, Summary
from gfrnn.pipeline.states.forcing import Forcing
from gfrnn.pipeline.training.checks import ROWS_PER_COLUMN
from gfrnn.pipeline.training.rows import RowSummary, StoredStates
from gfrnn.pipeline.training.stretches import split
from gfrnn_core import SampledRNN
from gfrnn_core.recurrent_network import Precision

_CHUNK = 4096  # times in a chunk, as in the stored states of a run


@dataclass(frozen=True)
class PassSize:
    """Size of a training pass.

    Attributes
    ----------
    rows : int
    states : int
        Length of a state, which is also the number of targets.
    features : int
        Linear terms, constant and hidden features together.
    """

    rows: int
    states: int
    features: int

    @property
    def hidden(self) -> int:
        """Hidden features."""
        return self.features - self.states - 1

    @property
    def columns(self) -> int:
        """Number of features and targets of a row."""
        return self.features + self.states

    @property
    def operations(self) -> float:
        """Useful floating-point operations: the hidden features, and one QR of all rows.

        Counted are the product of states and hidden weights, and R of Householder's QR without Q;
        activations and merges of triangles are not.
        """
        lift = 2.0 * self.rows * self.states * self.hidden
        return lift + 2.0 * self.columns**2 * (self.rows - self.columns / 3)

    def __str__(self) -> str:
        return f"{self.rows:,} rows, {self.states} states, {self.features:,} features"


@dataclass(frozen=True)
class TrainingPass:
    """Training pass over stored states.

    Attributes
    ----------
    path : Path
        Zarr array of the states, shape (rows + 1, states).
    size : PassSize
    """

    path: Path
    size: PassSize

    @classmethod
    def create(cls, path: Path, size: PassSize) -> TrainingPass:
        """Write random states, one chunk at a time."""
        shape = (size.rows + 1, size.states)
        array = zarr.create_array(
            path,
            shape=shape,
            dtype="f8",
            chunks=(_CHUNK, size.states),
            compressors=None,
            overwrite=True,
        )
        rng = np.random.default_rng(0)
        for first in range(0, shape[0], _CHUNK):
            rows = min(_CHUNK, shape[0] - first)
            array[first : first + rows] = rng.standard_normal((rows, size.states))
        return cls(path, size)

    def network(self, precision: Precision = "float64") -> SampledRNN:
        """Return the network of the pass, with the defaults of an experiment."""
        network = SampledRNN(
            width=self.size.hidden,
            sampling="normal",
            scale=0.15,
            target="state",
            precision=precision,
            standardise=False,
        )
        return replace(network.sample(np.zeros((1, self.size.states))), inputs=0)

    def summary(self, precision: Precision = "float64") -> RowSummary:
        """Return the summary that the reduction computes."""
        time = np.datetime64("1940-01-01", "ns") + np.arange(self.size.rows + 1) * np.timedelta64(
            1, "h"
        )
        states = StoredStates(self.path, self.size.states)
        return RowSummary(self.network(precision), states, Forcing.calendar(()), time)

    def stretches(self, rows: int | None = None, *, parts: int = 1) -> list[Stretch]:
        """Return the leaves of all rows as one fold, of the same size as in a run.

        Parameters
        ----------
        rows : int, optional
            Take only the first rows.
        parts : int
            Cut each leaf into this number of parts.
        """
        whole = Stretch("all", 0, rows or self.size.rows)
        return split(whole, ROWS_PER_COLUMN * self.size.columns // parts)

    def run(self, precision: Precision = "float64", rows: int | None = None) -> Arrays:
        """Return the triangle of all rows, or of the first ones, on the current client."""
        return reduced(self.summary(precision), self.stretches(rows))


def reduced(summary: Summary, stretches: list[Stretch]) -> Arrays:
    """Reduce stretches that form one fold, and return their summary."""
    (found,) = reduce_stretches(summary, stretches, key="benchmark").values()
    return found


def warm_up(client: Client, training_pass: TrainingPass) -> None:
    """Run a few rows on every worker, so that imports and loading of the BLAS are not measured."""
    leaves = len(client.nthreads()) * 2
    stretches = [Stretch("all", 8 * leaf, 8 * leaf + 8) for leaf in range(leaves)]
    for precision in ("float64", "float32"):
        reduced(training_pass.summary(precision), stretches)
