"""Patches of grid cells on the sphere, from what an experiment says and the grid that is there."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.config.experiment import StateConfig
from gfrnn.pipeline.data.fields import Grid, unbroken
from gfrnn.pipeline.errors import ConfigError
from gfrnn_core import Patches
from gfrnn_core.patches import Pole

Array = NDArray[Any]

_VECTORS = ("u_component", "v_component", "eastward", "northward")


def patches_of(state: StateConfig, grid: Grid) -> Patches:
    """The patches of a local layout.

    Longitude closes where the grid goes round; rows beyond a pole are those of the other side, and
    components of vectors change sign there. Beyond a region's border its last cells are repeated.

    Raises
    ------
    ConfigError
        If a patch or its window is larger than the grid.
    """
    _, rows, columns = grid.shape
    around = closes(grid.longitude)
    for name, own, cells in (
        ("latitude", state.patch[0], rows),
        ("longitude", state.patch[1], columns),
    ):
        if own > cells:
            raise ConfigError(
                f"state.patch: {list(state.patch)} is larger than the grid, which has {rows} "
                f"latitudes and {columns} longitudes; take at most {cells} along {name}"
            )
    poles = _poles(grid.latitude) if around else ("none", "none")
    halo, inner = state.halo, state.inner
    if around and state.patch[1] + 2 * halo[1] > columns:
        raise ConfigError(
            f"state.halo: a patch of {state.patch[1]} and a halo of {halo[1]} on both sides are "
            f"{state.patch[1] + 2 * halo[1]} longitudes, but the globe has {columns}, so that a "
            "cell would be seen twice; take less of either"
        )
    if poles != ("none", "none") and halo[0] >= rows:
        raise ConfigError(
            f"state.halo: {halo[0]} rows beyond a pole are not fewer than the {rows} latitudes; "
            f"take at most {rows - 1}"
        )
    return Patches(
        shape=(rows, columns),
        halo=_sides(halo),
        periodic=(False, around),
        size=tuple(state.patch),
        channels=len(grid.channels),
        inner=None if inner is None else _sides(inner),
        poles=poles,
        turned=tuple(
            index
            for index, channel in enumerate(grid.channels)
            if any(part in channel.variable for part in _VECTORS)
        ),
    )


def groups_of(state: StateConfig, grid: Grid, patches: Patches) -> Array | None:
    """Which set of outer weights each patch uses: shape (places,), or None for one of all.

    Numbered from 0 without gaps. A patch wholly in the mask, which nothing is learnt from, uses
    those of another.

    Raises
    ------
    ConfigError
        If there are more bands than rows of patches.
    """
    if state.weights == "shared":
        return None
    rows, columns = patches.counts
    if state.weights == "own":
        groups = np.arange(patches.places)
    else:
        if state.bands > rows:
            raise ConfigError(
                f"state.bands: {state.bands} bands, but there are {rows} rows of patches; take at "
                f"most {rows}, or smaller patches (state.patch)"
            )
        groups = np.repeat(np.arange(rows) * state.bands // rows, columns)
    exists = importance(grid, patches) > 0
    groups[~exists] = groups[exists][0]
    return np.unique(groups, return_inverse=True)[1]


def own_cells(grid: Grid, patches: Patches) -> Array:
    """Cells that a patch owns, in the order of the grid's: shape (places, own cells).

    Patches count longitudes from the seam of a region on, see :func:`unbroken`.
    """
    row, column = np.divmod(patches.own_cells, len(grid.longitude))
    order, _ = unbroken(grid.longitude)
    return np.asarray(row * len(grid.longitude) + order[column])


def importance(grid: Grid, patches: Patches) -> Array:
    """Area of the cells that a patch owns, mean 1: what its rows count. Shape (places,).

    Cells that are masked in all channels do not count; a patch of nothing else has no rows.
    """
    by_cell = grid.cells.max(axis=0).reshape(-1)
    area = by_cell[own_cells(grid, patches)].mean(axis=1)
    return np.asarray(area / area[area > 0].mean())


def closes(longitude: Array) -> bool:
    """Whether a row of cells goes all the way round."""
    gaps = np.diff(longitude, append=longitude[0] + 360)
    return bool(len(gaps) > 1 and np.isclose(gaps, 360 / len(gaps), rtol=0.1).all())


def _sides(halo: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    return tuple((width, width) for width in halo)


def _poles(latitude: Array) -> tuple[Pole, Pole]:
    """What lies beyond the first and the last row."""
    if len(latitude) < 2:
        return "none", "none"
    ends = (
        (latitude[0] + 90, latitude[1] - latitude[0]),
        (90 - latitude[-1], latitude[-1] - latitude[-2]),
    )

    def kind(distance: float, spacing: float) -> str:
        if distance < 0.1 * spacing:
            return "row"
        # Gaussian grids end a little more than half a cell short of the pole.
        return "between" if distance < 0.9 * spacing else "none"

    south, north = (kind(*end) for end in ends)
    return cast(tuple[Pole, Pole], (south, north))
