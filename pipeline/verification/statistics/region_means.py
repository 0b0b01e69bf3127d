"""Means over regions of products of fields, weighted with the cosine of latitude.

Fields are multiplied by the square root of the weight of each cell, whose squares sum to 1. The
weighted mean of a product of two fields is then their inner product.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.config.verification_config import WHOLE, ScoredRegion
from gfrnn.pipeline.data.grid import Grid, format_extent, region_cells
from gfrnn.pipeline.errors import ConfigError

Array = NDArray[Any]


@dataclass(frozen=True)
class RegionMeans:
    """Weighted means over the whole area, and over regions of it.

    Attributes
    ----------
    names : tuple of str
        The first is the whole area.
    roots : ndarray, shape (channels, cells)
        Roots of the weights of cells, 0 in the mask. The weights of a channel sum to 1.
    inside : ndarray of float32, shape (cells, regions - 1)
        1 for the cells of each region but the whole area, else 0.
    shares : ndarray, shape (channels, regions - 1)
        Sum of the weights in each region; NaN where the channel has no cell there.
    """

    names: tuple[str, ...]
    roots: Array
    inside: Array
    shares: Array

    @classmethod
    def on_grid(
        cls,
        grid: Grid,
        regions: Mapping[str, ScoredRegion] | None = None,
        masks: Mapping[str, Array] | None = None,
    ) -> RegionMeans:
        """Return the means over the cells of a grid.

        Parameters
        ----------
        grid : Grid
        regions : mapping of ScoredRegion, optional
        masks : mapping of ndarray of bool, shape (latitudes, longitudes), optional
            Cells where the static field of a region is in its range, by the name of the region,
            see :func:`gfrnn.pipeline.verification.region_masks.region_masks`.

        Raises
        ------
        ConfigError
            If a region has no cell with values.
        """
        cosine = np.cos(np.deg2rad(grid.latitude))[:, None]
        weights = (cosine * grid.valid).reshape(len(grid.channels), -1)
        weights /= weights.sum(axis=1, keepdims=True)
        regions, masks = regions or {}, masks or {}
        boxes = np.zeros((len(regions), *grid.shape[1:]), dtype=np.float32)
        for own, (name, region) in zip(boxes, regions.items(), strict=True):
            box = region.latitude, region.longitude
            own[np.ix_(*region_cells(grid.latitude, grid.longitude, *box))] = 1.0
            if region.field is not None:
                own *= masks[name]
        inside = boxes.reshape(len(regions), weights.shape[1]).T
        shares = weights @ inside
        for name, own in zip(regions, shares.T, strict=True):
            if not own.any():
                raise ConfigError(_without_cells(name, regions[name], grid))
        shares[shares == 0] = np.nan
        return cls((WHOLE, *regions), np.sqrt(weights), inside, shares)

    @cached_property
    def cells_of_regions(self) -> Array:
        """1 for the cells of each region, else 0: float32, shape (cells, regions)."""
        return np.concatenate([np.ones((len(self.inside), 1), np.float32), self.inside], axis=1)

    @property
    def weights(self) -> Array:
        """Weights of cells in each region, which sum to 1: shape (regions, channels, cells).

        They are NaN where a channel has no cell in a region.
        """
        whole = np.square(self.roots)
        parts = whole * self.inside.T[:, None] / self.shares.T[:, :, None]
        return np.concatenate([whole[None], parts])

    def of_sums(self, sums: Array) -> Array:
        """Return means over regions from sums over their cells.

        Parameters
        ----------
        sums : ndarray, shape (..., regions, channels)
            Sums of products of fields times ``roots``.
        """
        shares = np.ones((len(self.names), len(self.roots)))
        shares[1:] = self.shares.T
        return np.asarray(sums / shares)


def _without_cells(name: str, region: ScoredRegion, grid: Grid) -> str:
    """Return the message on a region that has no cell with values."""
    limited = ""
    if region.field is not None:
        limits = [
            f"{word} {limit:g}"
            for word, limit in (("at least", region.at_least), ("below", region.below))
            if limit is not None
        ]
        limited = f" and {region.field} {' and '.join(limits)}"
    return (
        f"verification.regions.{name}: latitude {list(region.latitude)}, longitude "
        f"{list(region.longitude)}{limited} has no cell with values of the data, which have "
        f"latitudes {format_extent(grid.latitude)} and longitudes "
        f"{format_extent(grid.longitude)}; choose another box"
        f"{' or other limits' if limited else ''}, or leave the region out"
    )
