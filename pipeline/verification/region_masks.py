"""Masks of regions: the cells in which a static field has values of a range."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.config.data_config import DataConfig
from gfrnn.pipeline.config.verification_config import ScoredRegion
from gfrnn.pipeline.data.grid import Grid
from gfrnn.pipeline.data.static_fields import open_static

Array = NDArray[Any]


def region_masks(
    data: DataConfig, grid: Grid, regions: Mapping[str, ScoredRegion]
) -> dict[str, Array]:
    """Return the cells of the static fields of regions.

    Parameters
    ----------
    data : DataConfig
        Data whose sources, or ``data.static``, have the fields.
    grid : Grid
    regions : mapping of ScoredRegion
        Regions without a field are left out.

    Returns
    -------
    dict of ndarray of bool, shape (latitudes, longitudes)
        True where the field is in the range of the region.

    Raises
    ------
    DataError
        If a field is not found, is on another grid, or has missing values.
    """
    found = {}
    for name, region in regions.items():
        if region.field is None:
            continue
        (values,) = open_static(data, grid, [region.field], f"verification.regions.{name}.field")
        low = -np.inf if region.at_least is None else region.at_least
        high = np.inf if region.below is None else region.below
        found[name] = (values >= low) & (values < high)
    return found
