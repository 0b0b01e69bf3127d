"""Fields <-> anomalies: the climatology of each grid cell and the summary that computes it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.linalg.blas import dgemm

from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.data.grid import Grid
from gfrnn.pipeline.errors import DataError
from gfrnn.pipeline.reduction.checkpoints import Arrays
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.states.harmonics import AnnualCycle, harmonics, term_count

Array = NDArray[Any]

# Rounding error of a standard deviation of zero, relative to the values.
_ROUNDING = 1e-7

# Singular values of a triangle that are zero but for rounding, relative to the largest.
_EPSILON = float(np.finfo(float).eps)


@dataclass(frozen=True)
class Climatology:
    """Annual and diurnal cycle of each grid cell, and the standard deviation of the anomalies.

    Attributes
    ----------
    annual : int or "month"
        Number of harmonics of the year, or ``month`` for the means of the calendar months.
    diurnal : int
        Number of harmonics of the day.
    coefficients : ndarray, shape (terms, grid.size)
        In the units of each variable.
    std : ndarray, shape (channels,)
        Standard deviation of the anomalies of each channel, area-weighted, without masked cells,
        in units of the variable.
    """

    annual: AnnualCycle
    diurnal: int
    coefficients: Array
    std: Array

    @classmethod
    def zero(cls, annual: AnnualCycle, diurnal: int, grid: Grid) -> Climatology:
        """Return a climatology of zero, with a standard deviation of 1, for planning.

        Its coefficients take no memory, as their pages are never written.
        """
        zeros = np.zeros((term_count(annual, diurnal), grid.size))
        return cls(annual, diurnal, zeros, np.ones(len(grid.channels)))

    def __call__(self, time: Array) -> Array:
        """Return the climatology at some times: shape (times, grid.size)."""
        return np.asarray(self.design_matrix(time) @ self.coefficients)

    @property
    def mean(self) -> Array:
        """Mean over the year and the day: shape (grid.size,)."""
        months = 12 if self.annual == "month" else 1
        return np.asarray(self.coefficients[:months].mean(axis=0))

    def design_matrix(self, time: Array) -> Array:
        """Return the terms of the two cycles at some times: shape (times, terms)."""
        return harmonics(time, self.annual, self.diurnal)

    def subtract_from(self, fields: Array, time: Array) -> Array:
        """Return the anomalies of fields, shape (times, grid.size), which are overwritten.

        It takes one pass over the fields and no array for the climatology at these times.
        """
        return subtract_terms(fields, self.design_matrix(time), self.coefficients)


def subtract_terms(fields: Array, design: Array, coefficients: Array) -> Array:
    """Return fields less terms of a climatology, in one pass over the fields.

    Parameters
    ----------
    fields : ndarray, shape (times, grid.size)
        Overwritten.
    design : ndarray, shape (times, terms)
    coefficients : ndarray, shape (terms, grid.size)
    """
    return np.asarray(dgemm(-1, coefficients.T, design.T, 1, fields.T, overwrite_c=True).T)


@dataclass(frozen=True)
class Scaling:
    """Scaling of anomalies by the standard deviation of the channel and the area of the cell.

    Attributes
    ----------
    grid : Grid
    climatology : Climatology
    area_weighted : bool
        Whether cells are weighted by the square root of their area, as EOFs are. False where
        patches have common weights, so that equal anomalies have equal states everywhere.
    """

    grid: Grid
    climatology: Climatology
    area_weighted: bool = True

    @cached_property
    def weights(self) -> Array:
        """Factors of the anomalies: shape (grid.size,), 0 in the mask."""
        by_channel = 1.0 / self.climatology.std[:, None, None]
        by_cell = np.sqrt(self.grid.area_weights) if self.area_weighted else self.grid.valid
        return np.asarray(by_channel * by_cell).reshape(-1)

    @cached_property
    def inverse_weights(self) -> Array:
        """Factors from scaled anomalies to anomalies: shape (grid.size,), 0 in the mask."""
        weights = self.weights
        return np.divide(1.0, weights, out=np.zeros_like(weights), where=weights > 0)

    def scaled_anomalies(self, fields: Array, time: Array) -> Array:
        """Return scaled anomalies of fields, shape (times, grid.size); fields are overwritten."""
        anomalies = self.climatology.subtract_from(fields, time)
        anomalies *= self.weights
        return anomalies


@dataclass(frozen=True)
class ClimatologySummary:
    """Regression of every grid cell on the annual and diurnal cycle by merging triangles.

    With H = QR the design matrix of the times, it has R, Q^T X and the residual sums of squares,
    from which coefficients and variances are computed without cancellation.
    """

    fields: Fields
    annual: AnnualCycle
    diurnal: int
    name: str = "climatology"
    remedy: str = "data.chunk"

    def leaf(self, stretch: Stretch) -> Arrays:
        values = self.fields.read(stretch.start, stretch.stop)
        time = self.fields.time[stretch.start : stretch.stop]
        design = harmonics(time, self.annual, self.diurnal)
        triangle, projected, residual = _regress(design, values)
        return {
            "triangle": triangle,
            "projected": projected,
            "residual": residual,
            "rows": np.array(len(values)),
        }

    def merge(self, left: Arrays, right: Arrays) -> Arrays:
        triangle, projected, residual = _regress(
            np.concatenate([left["triangle"], right["triangle"]]),
            np.concatenate([left["projected"], right["projected"]]),
        )
        return {
            "triangle": triangle,
            "projected": projected,
            "residual": left["residual"] + right["residual"] + residual,
            "rows": left["rows"] + right["rows"],
        }

    def finish(self, root: Arrays) -> Climatology:
        """Compute coefficients and standard deviations from the summary of all training times."""
        grid = self.fields.grid
        coefficients = scipy.linalg.pinv(root["triangle"], rtol=_EPSILON) @ root["projected"]
        variance = (root["residual"] / root["rows"]).reshape(grid.shape)
        std = np.sqrt(np.average(variance, axis=(1, 2), weights=grid.area_weights))
        # Rounding errors make the standard deviation of a constant field larger than zero.
        by_channel = coefficients.reshape(-1, *grid.shape)
        size = np.maximum(by_channel.max(axis=(0, 2, 3)), -by_channel.min(axis=(0, 2, 3)))
        if (constant := np.flatnonzero(std <= _ROUNDING * size)).size:
            raise DataError(
                f"{grid.channels[constant[0]].name}: does not vary about its climatology in the "
                "training period and cannot be forecast; leave it out (data.variables)"
            )
        return Climatology(self.annual, self.diurnal, coefficients, std)

    def leaf_bytes(self, stretch: Stretch) -> int:
        times, size = stretch.stop - stretch.start, self.fields.grid.size
        fitted = (times + 2 * self.terms + 2) * 8 * size
        return max(self.fields.read_bytes(times), fitted)

    def merge_bytes(self) -> int:
        # Both sides, stacked, projected, and three residual sums of squares.
        return (5 * self.terms + 5) * 8 * self.fields.grid.size

    def result_bytes(self, times: int) -> int:
        return 8 * (self.terms + 1) * self.fields.grid.size

    def leaf_rows(self, times: int) -> float:
        return float(times)

    @property
    def terms(self) -> int:
        """Number of columns of the design matrix."""
        return term_count(self.annual, self.diurnal)


def _regress(design: Array, values: Array) -> tuple[Array, Array, Array]:
    """Return R and Q^T values of design = QR, and the residual sums of squares.

    The values, shape (times, columns), are overwritten.
    """
    terms = design.shape[1]
    # With fewer rows than terms, rows of zeros make the triangle square.
    padding = max(0, terms - len(design))
    q, triangle = np.linalg.qr(np.pad(design, ((0, padding), (0, 0))))
    q = q[: len(design)]
    projected = q.T @ values
    residual = subtract_terms(values, q, projected)
    return triangle, projected, np.einsum("ij,ij->j", residual, residual)
