"""Fields <-> states of EOFs, and the summaries that compute the EOFs and the states."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.reduction.checkpoints import Arrays
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.states.climatology import Scaling

Array = NDArray[Any]

# Rounding error of a standard deviation of zero, relative to the largest.
_ROUNDING = 1e-7

# Singular values down to this share of the largest are computed from the matrix of products of the
# rows, several times faster than by an SVD: its rounding errors, relative to a value, are at most
# those of float64 over the square of the share, 2e-10, far less than the truncation's.
_SQUARED = 1e-3


@dataclass(frozen=True)
class EofLayout:
    """Layout of states that are the leading principal components of the scaled anomalies.

    Attributes
    ----------
    scaling : Scaling
    vectors : ndarray, shape (modes, grid.size)
        EOFs, orthonormal in the scaled space.
    singular_values : ndarray, shape (modes,)
        Singular values of the scaled anomalies of the training period.
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
    def state_scale(self) -> float:
        """Standard deviation of the first principal component, by which all are divided.

        A common scale keeps their relative variance, so that hidden features depend most on the
        leading modes, and squared errors of states are proportional to those of fields.
        """
        return float(self.singular_values[0] / np.sqrt(self.times))

    @property
    def variance_kept(self) -> float:
        """Fraction of the variance of the scaled anomalies that the EOFs explain."""
        return float(np.square(self.singular_values).sum() / self.total)

    def encode(self, fields: Array, time: Array) -> Array:
        """Return the states of fields, which are overwritten: shape (times, modes).

        Fields are 0 in the mask, see :meth:`gfrnn.pipeline.data.fields.Fields.read`.
        """
        return self.project(self.scaling.scaled_anomalies(fields, time))

    def project(self, scaled: Array) -> Array:
        """Return the states of scaled anomalies: shape (times, modes)."""
        return np.asarray(scaled @ self.vectors.T / self.state_scale)

    def anomalies(self, states: Array) -> Array:
        """Return the anomalies of states in units of the variables: shape (n, grid.size).

        They are 0 in the mask.
        """
        anomalies = (states * self.state_scale) @ self.vectors
        anomalies *= self.scaling.inverse_weights
        return np.asarray(anomalies)

    def decode(self, states: Array, time: Array) -> Array:
        """Return the fields of states at some times: shape (times, grid.size), NaN in the mask."""
        fields = self.anomalies(states) + self.scaling.climatology(time)
        return self.scaling.grid.fill_mask(fields)

    def autocorrelation(self, lagged: Array, lead: int) -> Array:
        """Return the autocorrelation of each grid cell at a lead, in steps: shape (grid.size,).

        The lagged covariance of a cell is ``v^T A_lead v`` with v its column of the EOFs.

        Parameters
        ----------
        lagged : ndarray, shape (leads + 1, modes, modes)
            A: covariance of the states with those a number of steps later.
        lead : int
        """
        variance, later = (
            np.einsum("kg,kg->g", self.vectors, lagged[lag] @ self.vectors) for lag in (0, lead)
        )
        # Rounding errors make a variance of zero larger than zero.
        varies = variance > _ROUNDING**2 * variance.max()
        return np.divide(later, variance, out=np.zeros_like(later), where=varies)

    @cached_property
    def regression_groups(self) -> Array:
        """Index of the group of values with one regression coefficient: int, shape (size,).

        The modes of an octave (1, 2 to 3, 4 to 7, ...) have similar scales and predictability, and
        together a coefficient with less sampling error than one each.
        """
        return np.log2(np.arange(1, self.modes + 1)).astype(int)

    def attributes(self) -> dict[str, Any]:
        """Return what is stored as attributes."""
        return {"kind": "eof", "total": self.total, "times": self.times}

    def arrays(self) -> dict[str, Array]:
        """Return what is stored as arrays, besides grid and climatology."""
        return {"eofs": self.vectors, "singular_values": self.singular_values}


@dataclass(frozen=True)
class EofSummary:
    """Truncated SVD of the scaled anomalies, merged by the SVD of the stacked factors.

    Leaves have their left factors and merges rotate them, so that the root has the states of all
    times and the archive is not read again.

    Attributes
    ----------
    rank : int
        Number of singular triplets in leaves and merges, larger than the number of modes.
    """

    fields: Fields
    scaling: Scaling
    rank: int
    name: str = "eofs"
    remedy: str = "data.chunk or state.modes"

    def leaf(self, stretch: Stretch) -> Arrays:
        values = self.fields.read(stretch.start, stretch.stop)
        time = self.fields.time[stretch.start : stretch.stop]
        scaled = self.scaling.scaled_anomalies(values, time)
        total = np.array(np.vdot(scaled, scaled))
        return {**self._decompose(scaled), "total": total}

    def merge(self, left: Arrays, right: Arrays) -> Arrays:
        split = len(left["values"])
        stacked = np.concatenate([left["right"], right["right"]])
        stacked *= np.concatenate([left["values"], right["values"]])[:, None]
        merged = self._decompose(stacked)
        rotation = merged["left"]
        merged["left"] = np.concatenate(
            [left["left"] @ rotation[:split], right["left"] @ rotation[split:]]
        )
        return {**merged, "total": left["total"] + right["total"]}

    def _decompose(self, matrix: Array) -> Arrays:
        """Return the leading singular triplets of a matrix in C order, which is overwritten."""
        if len(matrix) > matrix.shape[1]:
            # The products of its columns are fewer than those of its rows.
            swapped = self._decompose(np.ascontiguousarray(matrix.T))
            left, right = (swapped[side].T.copy() for side in ("right", "left"))
            return {"left": left, "values": swapped["values"], "right": right}
        kept = min(self.rank, *matrix.shape)
        # LAPACK's driver of some eigenvectors only, evr, fails for some matrices of low rank.
        squares, vectors = scipy.linalg.eigh(
            matrix @ matrix.T, driver="evd", overwrite_a=True, check_finite=False
        )
        squares, vectors = squares[: -kept - 1 : -1], vectors[:, : -kept - 1 : -1]
        if squares[-1] > _SQUARED**2 * squares[0]:
            values, left = np.sqrt(squares), vectors.copy()
            return {"left": left, "values": values, "right": (left / values).T @ matrix}
        # QR of the transpose first: the SVD is then one of a small matrix, with the same accuracy.
        basis, factor = scipy.linalg.qr(
            matrix.T, mode="economic", overwrite_a=True, check_finite=False
        )
        left, values, right = scipy.linalg.svd(factor.T, full_matrices=False, check_finite=False)
        # Copies: a view would keep the truncated part in memory until the merge.
        return {
            "left": left[:, :kept].copy(),
            "values": values[:kept].copy(),
            "right": right[:kept] @ basis.T,
        }

    def finish(self, root: Arrays, modes: int) -> tuple[EofLayout, Array]:
        """Return the EOFs, and the states of the times in the order of the stretches."""
        layout = EofLayout(
            scaling=self.scaling,
            vectors=root["right"][:modes],
            singular_values=root["values"][:modes],
            total=float(root["total"]),
            times=len(root["left"]),
        )
        states = root["left"][:, :modes] * root["values"][:modes] / layout.state_scale
        return layout, states

    def leaf_bytes(self, stretch: Stretch) -> int:
        times, size = stretch.stop - stretch.start, self.fields.grid.size
        shorter, longer = sorted((times, size))
        # Fields, which may become the basis of their rows in place, the factor of the longer side,
        # the products of the shorter side, their eigenvectors and the workspace.
        values = longer * (shorter + min(shorter, self.rank)) + 4 * shorter**2
        if times > size:  # transposed, there and back
            values += longer * (shorter + min(shorter, self.rank))
        return max(self.fields.read_bytes(times), 8 * values)

    def merge_bytes(self) -> int:
        # Both sides, stacked, and the right factor; left factors of all times, of both sides, each
        # rotated, and joined.
        right = 5 * 8 * self.rank * self.fields.grid.size
        return right + 3 * 8 * self.rank * len(self.fields.time)

    def result_bytes(self, times: int) -> int:
        return 8 * min(self.rank, times) * (self.fields.grid.size + times)

    def leaf_rows(self, times: int) -> float:
        return float(times)
