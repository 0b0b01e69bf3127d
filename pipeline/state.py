"""Fields <-> states: EOFs of anomalies, all variables together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dgemm

from pipeline.fields import Grid
from pipeline.harmonics import harmonics

Array = NDArray[Any]

# Of a standard deviation, what rounding leaves of one that is zero.
_ROUNDING = 1e-7


@dataclass(frozen=True)
class Climatology:
    """Harmonics of the year and of the day of each grid cell, and the spread about them.

    Attributes
    ----------
    annual, diurnal : int
        Number of harmonics.
    coefficients : ndarray, shape (1 + 2 annual + 2 diurnal, grid.size)
        In the units of each variable.
    spread : ndarray, shape (channels,)
        Standard deviation of the anomalies of each channel, area-weighted, in its units. A mask
        takes no part in it.
    """

    annual: int
    diurnal: int
    coefficients: Array
    spread: Array

    @classmethod
    def flat(cls, annual: int, diurnal: int, grid: Grid) -> Climatology:
        """One of this shape for planning: zero, which takes no memory, with a spread of one."""
        terms = 1 + 2 * annual + 2 * diurnal
        zeros = np.zeros((terms, grid.size))
        return cls(annual, diurnal, zeros, np.ones(len(grid.channels)))

    def __call__(self, time: Array) -> Array:
        """The climatology at some times: shape (times, grid.size)."""
        return np.asarray(self.waves(time) @ self.coefficients)

    def waves(self, time: Array) -> Array:
        """What multiplies the coefficients at some times: shape (times, terms)."""
        return harmonics(time, self.annual, self.diurnal)

    def removed(self, fields: Array, time: Array) -> Array:
        """Anomalies of fields of shape (times, grid.size), in place of the fields.

        One pass over them: the climatology of all these times is never written down.
        """
        anomalies = dgemm(
            -1, self.coefficients.T, self.waves(time).T, 1, fields.T, overwrite_c=True
        )
        return np.asarray(anomalies.T)


@dataclass(frozen=True)
class Scaling:
    """Anomalies on one footing: each channel by its spread, each cell by its area.

    Attributes
    ----------
    grid : Grid
    climatology : Climatology
    by_area : bool
        Where a state is the field itself, the same weather is the same everywhere: False.
    """

    grid: Grid
    climatology: Climatology
    by_area: bool = True

    @cached_property
    def weights(self) -> Array:
        """What an anomaly is multiplied by: shape (grid.size,), 0 in the mask."""
        by_channel = 1.0 / self.climatology.spread[:, None, None]
        by_cell = np.sqrt(self.grid.cells) if self.by_area else self.grid.exists
        return np.asarray(by_channel * by_cell).reshape(-1)

    @cached_property
    def units(self) -> Array:
        """What gives the anomaly back: shape (grid.size,), 0 in the mask."""
        weights = self.weights
        return np.divide(1.0, weights, out=np.zeros_like(weights), where=weights > 0)

    def scaled(self, fields: Array, time: Array) -> Array:
        """Scaled anomalies of fields: shape (times, grid.size), in place of the fields."""
        anomalies = self.climatology.removed(fields, time)
        anomalies *= self.weights
        return anomalies


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

        In the mask the fields are 0, as :meth:`pipeline.fields.Fields.read` gives them.
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
