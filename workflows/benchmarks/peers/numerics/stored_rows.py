"""Rows of least-squares problems of a given condition number, stored in zarr."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg
import zarr
from numpy.typing import NDArray

Array = NDArray[Any]

_CHUNK = 4096
_NOISE = 1e-3


@dataclass(frozen=True)
class StoredRows:
    """Rows ``[Z M | Z B + noise]`` with normal Z, and others of the same kind for validation.

    M has singular values from 1 to 1 / ``condition`` in a geometric series, so that features are
    correlated as those of smooth fields are. All directions of the features matter equally to the
    targets, however small their variance: a solver that loses directions loses their share of the
    variance of the targets.

    Attributes
    ----------
    path : Path
        Zarr array, shape (rows, features + targets), float64, in chunks of rows.
    rows, features, targets : int
    condition : float
        About the condition number of the features.
    """

    path: Path
    rows: int
    condition: float
    features: int = 1024
    targets: int = 256

    @property
    def columns(self) -> int:
        """Number of features and targets."""
        return self.features + self.targets

    def write(self) -> None:
        """Write the rows chunk by chunk."""
        array = zarr.create_array(
            self.path,
            shape=(self.rows, self.columns),
            dtype="f8",
            chunks=(_CHUNK, self.columns),
            compressors=None,
            overwrite=True,
        )
        for number, first in enumerate(range(0, self.rows, _CHUNK)):
            count = min(_CHUNK, self.rows - first)
            array[first : first + count] = self._draw(count, seed=[0, number], noise=_NOISE)

    def blocks(self) -> Iterator[Array]:
        """Yield the stored rows chunk by chunk."""
        array = zarr.open_array(self.path, mode="r")
        for first in range(0, self.rows, _CHUNK):
            yield np.asarray(array[first : first + _CHUNK])

    def load(self, limit: int | None = None) -> tuple[Array, Array]:
        """Return features and targets of all rows, or of the first ones."""
        array = zarr.open_array(self.path, mode="r")
        rows = slice(limit)
        return np.asarray(array[rows, : self.features]), np.asarray(array[rows, self.features :])

    @cached_property
    def validation(self) -> Array:
        """Rows with noise to choose settings on: twice as many as there are features."""
        return self._draw(2 * self.features, seed=[1], noise=_NOISE)

    def validation_error(self, weights: Array) -> float:
        """Return the norm of the residuals on the validation rows."""
        rows = self.validation
        return float(np.linalg.norm(rows[:, : self.features] @ weights - rows[:, self.features :]))

    def error(self, weights: Array) -> float:
        """Return the root mean square error of new targets, relative to these, without noise."""
        rows = self._draw(2 * self.features, seed=[2], noise=0.0)
        truth = rows[:, self.features :]
        found = rows[:, : self.features] @ weights
        return float(np.linalg.norm(found - truth) / np.linalg.norm(truth))

    def _draw(self, count: int, seed: list[int], noise: float) -> Array:
        rng = np.random.default_rng(seed)
        normal = rng.standard_normal((count, self.features))
        targets = normal @ self._coefficients
        targets += noise * rng.standard_normal(targets.shape)
        return np.concatenate([normal @ self._mixing, targets], axis=1)

    @cached_property
    def _mixing(self) -> Array:
        rng = np.random.default_rng(3)
        rotation, _ = scipy.linalg.qr(rng.standard_normal((self.features, self.features)))
        values = np.geomspace(1, 1 / self.condition, self.features)
        return np.asarray(values[:, None] * rotation)

    @cached_property
    def _coefficients(self) -> Array:
        rng = np.random.default_rng(4)
        return rng.standard_normal((self.features, self.targets)) / np.sqrt(self.features)
