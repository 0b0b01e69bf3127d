"""Small ensembles, truths and weights of regions, for tests of statistics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

SHAPE = (6, 8)
CELLS = SHAPE[0] * SHAPE[1]


@dataclass(frozen=True)
class Case:
    """An ensemble of two channels, the second with a mask, and weights of two regions.

    Attributes
    ----------
    members : ndarray, shape (starts, members, channels, cells)
    truth : ndarray, shape (starts, channels, cells)
    weights : ndarray, shape (regions, channels, cells)
    """

    members: np.ndarray
    truth: np.ndarray
    weights: np.ndarray

    def arrays(self) -> tuple[xr.DataArray, xr.DataArray]:
        """Return members and truth for libraries."""
        dims = ("time", "number", "channel", "cell")
        return (
            xr.DataArray(self.members, dims=dims),
            xr.DataArray(self.truth, dims=("time", "channel", "cell")),
        )

    def area_mean(self, values: xr.DataArray | np.ndarray) -> np.ndarray:
        """Return plain weighted sums over cells of (starts, channels, cells)."""
        array = values.to_numpy() if isinstance(values, xr.DataArray) else values
        return np.einsum("scx,rcx->src", array, self.weights)


def make_case(
    starts: int = 3,
    members: int = 5,
    *,
    seed: int = 0,
    mean: float = 0.0,
    digits: int | None = None,
) -> Case:
    """Return independent normal members and truth; rounded to some digits, they have ties."""
    rng = np.random.default_rng(seed)
    values = mean + rng.standard_normal((starts, members + 1, 2, CELLS))
    if digits is not None:
        values = np.round(values, digits)
    weights = np.broadcast_to(np.cos(np.deg2rad(np.linspace(20, 80, SHAPE[0])))[:, None], SHAPE)
    weights = np.tile(weights.reshape(-1), (2, 2, 1))
    masked = rng.random(CELLS) < 0.3
    weights[:, 1, masked] = 0.0
    weights[1, :, : CELLS // 2] = 0.0
    weights /= weights.sum(axis=-1, keepdims=True)
    values[:, :, 1, masked] = 0.0
    return Case(values[:, 1:], values[:, 0], weights)
