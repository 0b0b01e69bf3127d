"""The summaries that read fields: climatology, EOFs, states. Each is a leaf and a merge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from pipeline.checkpoints import Arrays
from pipeline.errors import DataError
from pipeline.fields import Fields
from pipeline.harmonics import harmonics
from pipeline.reduce import Stretch
from pipeline.state import Climatology, EofLayout, Scaling
from pipeline.work import Work, svd_flops

Array = NDArray[Any]


# Of the size of a value: float32 resolves no less.
_ROUNDING = 1e-7


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
