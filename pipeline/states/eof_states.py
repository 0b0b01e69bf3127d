"""EOFs: fields to states and back, and the summaries that compute basis and states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.reduction.checkpoints import Arrays
from gfrnn.pipeline.reduction.flops import Work, svd_flops
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.states.climatology import Scaling

Array = NDArray[Any]

# Standard deviation that rounding leaves of zero, relative to the largest.
_ROUNDING = 1e-7


@dataclass(frozen=True)
class EofLayout:
    """States are the leading principal components of the scaled anomalies.

    Attributes
    ----------
    scaling : Scaling
    vectors : ndarray, shape (modes, grid.size)
        EOFs, orthonormal in the scaled space.
    singular_values : ndarray, shape (modes,)
        Of the scaled anomalies of the training period.
    total : float
        Sum of squares of the scaled anomalies of the training period.
    times : int
        Number of training times.
    """

    scaling: Scaling
    vectors: Array
    singular_values: Array
    total: float
    times: int

    @property
    def modes(self) -> int:
        """Number of EOFs."""
        return int(self.vectors.shape[0])

    @property
    def size(self) -> int:
        """Length of a state."""
        return self.modes

    @property
    def unit(self) -> float:
        """One common unit for all components: the standard deviation of the first one.

        One unit for all keeps their relative variance, so the hidden features listen to the
        leading modes most and the squared error of a state is that of the fields.
        """
        return float(self.singular_values[0] / np.sqrt(self.times))

    @property
    def variance_kept(self) -> float:
        """Share of the variance of the scaled anomalies that the EOFs hold."""
        return float(np.square(self.singular_values).sum() / self.total)

    def encode(self, fields: Array, time: Array) -> Array:
        """States of fields (which are overwritten): shape (times, modes).

        In the mask the fields are 0, as :meth:`gfrnn.pipeline.data.fields.Fields.read` gives them.
        """
        return self.project(self.scaling.scaled(fields, time))

    def project(self, scaled: Array) -> Array:
        """States of scaled anomalies: shape (times, modes)."""
        return np.asarray(scaled @ self.vectors.T / self.unit)

    def anomalies(self, states: Array) -> Array:
        """Anomalies of the fields of states, in the variables' units: shape (n, grid.size).

        They are 0 in the mask.
        """
        anomalies = (states * self.unit) @ self.vectors
        anomalies *= self.scaling.units
        return np.asarray(anomalies)

    def decode(self, states: Array, time: Array) -> Array:
        """Fields of states at some times: shape (times, grid.size), NaN in the mask."""
        fields = self.anomalies(states) + self.scaling.climatology(time)
        return self.scaling.grid.blanked(fields)

    def damping(self, lagged: Array, lead: int) -> Array:
        """Autocorrelation of each grid cell at a lead, in steps: shape (grid.size,).

        The lagged covariance of a cell is ``v^T A_lead v`` with v its column of the EOFs.

        Parameters
        ----------
        lagged : ndarray, shape (leads + 1, modes, modes)
            A: covariance of the states with those some steps later.
        lead : int
        """
        variance, later = (
            np.einsum("kg,kg->g", self.vectors, lagged[lag] @ self.vectors) for lag in (0, lead)
        )
        # Rounding alone leaves a variance that is not quite zero.
        varies = variance > _ROUNDING**2 * variance.max()
        return np.divide(later, variance, out=np.zeros_like(later), where=varies)

    def about(self) -> dict[str, Any]:
        """What is not an array, for storing."""
        return {"kind": "eof", "total": self.total, "times": self.times}

    def arrays(self) -> dict[str, Array]:
        """Arrays of its own, for storing."""
        return {"eofs": self.vectors, "singular_values": self.singular_values}

    def narrowed(self, modes: int) -> EofLayout:
        """The leading modes only."""
        return EofLayout(
            self.scaling,
            self.vectors[:modes],
            self.singular_values[:modes],
            self.total,
            self.times,
        )


@dataclass(frozen=True)
class EofSummary:
    """Truncated SVD of the scaled anomalies, merged by the SVD of the stacked factors.

    Each leaf keeps its left factor and each merge rotates it, so the states of all its times come
    out at the root, and the archive is not read again for them.

    Attributes
    ----------
    rank : int
        Singular triplets kept along the way, more than the modes wanted at the end.
    """

    fields: Fields
    scaling: Scaling
    rank: int
    name: str = "eofs"
    remedy: str = "data.chunk or state.modes"

    def leaf(self, stretch: Stretch) -> Arrays:
        values = self.fields.read(stretch.start, stretch.stop)
        time = self.fields.time[stretch.start : stretch.stop]
        scaled = self.scaling.scaled(values, time)
        total = np.array(np.square(scaled).sum())
        return {**self._decompose(scaled), "total": total}

    def merge(self, left: Arrays, right: Arrays) -> Arrays:
        stacked = np.concatenate(
            [part["values"][:, None] * part["right"] for part in (left, right)]
        )
        merged = self._decompose(stacked)
        split = len(left["values"])
        rotation = merged["left"]
        merged["left"] = np.concatenate(
            [left["left"] @ rotation[:split], right["left"] @ rotation[split:]]
        )
        return {**merged, "total": left["total"] + right["total"]}

    def _decompose(self, matrix: Array) -> Arrays:
        left, values, right = scipy.linalg.svd(matrix, full_matrices=False, check_finite=False)
        # Copies: a view would keep what is cut off in memory until the merge.
        return {
            "left": left[:, : self.rank].copy(),
            "values": values[: self.rank].copy(),
            "right": right[: self.rank].copy(),
        }

    def finish(self, root: Arrays, modes: int) -> tuple[EofLayout, Array]:
        """The EOFs, and the states of the times in the order of the stretches."""
        layout = EofLayout(
            scaling=self.scaling,
            vectors=root["right"][:modes],
            singular_values=root["values"][:modes],
            total=float(root["total"]),
            times=len(root["left"]),
        )
        states = root["left"][:, :modes] * root["values"][:modes] / layout.unit
        return layout, states

    def leaf_bytes(self, stretch: Stretch) -> int:
        times = stretch.stop - stretch.start
        # Fields, the climatology taken off, LAPACK's copy and the right factor.
        return max(self.fields.read_bytes(times), 4 * 8 * times * self.fields.grid.size)

    def merge_bytes(self) -> int:
        # Both sides, stacked, LAPACK's copy and the right factor; the left factors of all times.
        right = 4 * 2 * 8 * self.rank * self.fields.grid.size
        return right + 2 * 8 * self.rank * len(self.fields.time)

    def result_bytes(self, times: int) -> int:
        return 8 * min(self.rank, times) * (self.fields.grid.size + times)

    def leaf_rows(self, times: int) -> float:
        return float(times)

    def leaf_work(self, times: int) -> Work:
        return {"svd": svd_flops(times, self.fields.grid.size)}

    def merge_work(self, times: int) -> Work:
        kept = 2 * min(self.rank, times)
        # Besides, what the left factors of all times are rotated by.
        return {"svd": svd_flops(kept, self.fields.grid.size) + 2 * times * kept * self.rank}


@dataclass(frozen=True)
class StateSummary:
    """States of times that took no part in the EOFs; merging strings them together."""

    fields: Fields
    layout: EofLayout
    name: str = "states"
    remedy: str = "data.chunk"

    def leaf(self, stretch: Stretch) -> Arrays:
        values = self.fields.read(stretch.start, stretch.stop)
        time = self.fields.time[stretch.start : stretch.stop]
        return {"states": self.layout.encode(values, time)}

    def merge(self, left: Arrays, right: Arrays) -> Arrays:
        return {"states": np.concatenate([left["states"], right["states"]])}

    def leaf_bytes(self, stretch: Stretch) -> int:
        times = stretch.stop - stretch.start
        return max(self.fields.read_bytes(times), 3 * 8 * times * self.fields.grid.size)

    def merge_bytes(self) -> int:
        return 2 * 8 * len(self.fields.time) * self.layout.modes

    def result_bytes(self, times: int) -> int:
        return 8 * times * self.layout.modes

    def leaf_rows(self, times: int) -> float:
        return float(times)

    def leaf_work(self, times: int) -> Work:
        terms = len(self.layout.scaling.climatology.coefficients)
        return {"encoding": (2 * terms + 2 * self.layout.modes) * times * self.fields.grid.size}

    def merge_work(self, times: int) -> Work:
        return {}
