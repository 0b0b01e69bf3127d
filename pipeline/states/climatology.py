"""Climatology of each grid cell, the anomalies from it, and the summary that computes it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.linalg.blas import dgemm

from gfrnn.pipeline.data.fields import Fields, Grid
from gfrnn.pipeline.errors import DataError
from gfrnn.pipeline.reduction.checkpoints import Arrays
from gfrnn.pipeline.reduction.flops import Work
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.states.harmonics import harmonics

Array = NDArray[Any]

# Size of a value that rounding leaves of zero, relative to the values it came from.
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
class ClimatologySummary:
    """Harmonic regression of every grid cell, as a mergeable triangle.

    With H = QR the harmonics of the times, it keeps R, Q^T X and what is left over of the sums of
    squares, so that means and variances come out without cancellation.
    """

    fields: Fields
    annual: int
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
        """Coefficients and spread from the summary of all training times."""
        grid = self.fields.grid
        coefficients = scipy.linalg.lstsq(root["triangle"], root["projected"])[0]
        variance = (root["residual"] / root["rows"]).reshape(grid.shape)
        spread = np.sqrt(np.average(variance, axis=(1, 2), weights=grid.cells))
        # Rounding alone may leave a spread that is not quite zero.
        size = np.abs(coefficients).reshape(-1, *grid.shape).max(axis=(0, 2, 3))
        if (constant := np.flatnonzero(spread <= _ROUNDING * size)).size:
            raise DataError(
                f"{grid.channels[constant[0]].name}: does not vary about its climatology in the "
                "training period, so there is nothing to forecast; leave it out (data.variables)"
            )
        return Climatology(self.annual, self.diurnal, coefficients, spread)

    def leaf_bytes(self, stretch: Stretch) -> int:
        times, size = stretch.stop - stretch.start, self.fields.grid.size
        fitted = (3 * times + self.terms + 1) * 8 * size
        return max(self.fields.read_bytes(times), fitted)

    def merge_bytes(self) -> int:
        # Both sides, stacked, projected, the fit, what it leaves over and that squared.
        return (9 * self.terms + 2) * 8 * self.fields.grid.size

    def result_bytes(self, times: int) -> int:
        return 8 * (self.terms + 1) * self.fields.grid.size

    def leaf_rows(self, times: int) -> float:
        return float(times)

    def leaf_work(self, times: int) -> Work:
        # Two products with the design, and what is left over, squared and summed.
        return {"regression": (4 * self.terms + 4) * times * self.fields.grid.size}

    def merge_work(self, times: int) -> Work:
        return self.leaf_work(2 * self.terms)

    @property
    def terms(self) -> int:
        """Harmonics, the constant among them."""
        return 1 + 2 * self.annual + 2 * self.diurnal


def _regress(design: Array, values: Array) -> tuple[Array, Array, Array]:
    """R and Q^T values of design = QR, and the sums of squares that the design leaves over."""
    terms = design.shape[1]
    # Zero rows make the triangle square where there are fewer rows than terms.
    padding = max(0, terms - len(design))
    q, triangle = np.linalg.qr(np.pad(design, ((0, padding), (0, 0))))
    q = q[: len(design)]
    projected = q.T @ values
    residual = np.square(values - q @ projected).sum(axis=0)
    return triangle, projected, residual
