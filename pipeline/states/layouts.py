"""The layouts of states, restored from what a model stores."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.data.grid import Grid
from gfrnn.pipeline.states.climatology import Climatology, Scaling
from gfrnn.pipeline.states.eof_states import EofLayout
from gfrnn.pipeline.states.patch_states import LocalLayout
from gfrnn.pipeline.states.zonal_states import ZonalLayout

Layout = EofLayout | LocalLayout | ZonalLayout
"""Conversion between fields and states."""


def restore_layout(
    attributes: dict[str, Any],
    grid: Grid,
    climatology: Climatology,
    arrays: dict[str, NDArray[np.floating[Any]]],
) -> Layout:
    """Restore a layout from its stored attributes and arrays."""
    if attributes["kind"] == "local":
        return LocalLayout(Scaling(grid, climatology, area_weighted=False))
    if attributes["kind"] == "zonal":
        return ZonalLayout(
            Scaling(grid, climatology, area_weighted=False),
            attributes["wavenumbers"],
            attributes["functions"],
            attributes["geometry"],
        )
    return EofLayout(
        Scaling(grid, climatology),
        arrays["eofs"],
        arrays["singular_values"],
        attributes["total"],
        attributes["times"],
    )
