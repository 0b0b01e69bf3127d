"""Patches of grid cells on the sphere, cut according to the ``state`` section."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.config.state_config import StateConfig
from gfrnn.pipeline.data.grid import Grid, contiguous_longitudes
from gfrnn.pipeline.errors import ConfigError
from gfrnn_core import Patches
from gfrnn_core.patches import Pole

Array = NDArray[Any]

# Names of components of vectors, which change sign across a pole.
_VECTORS = ("u_component", "v_component", "eastward", "northward")


def cut_patches(state: StateConfig, grid: Grid) -> Patches:
    """Cut the grid into the patches of a local layout.

    Longitude is periodic on a global grid. Beyond a pole, a patch sees the cells of the opposite
    meridian, where components of vectors change sign. Beyond the border of a region, the
    outermost cells are repeated.

    Raises
    ------
    ConfigError
        If a patch or its window is larger than the grid.
    """
    _, rows, columns = grid.shape
    periodic = is_periodic(grid.longitude)
    for name, size, cells in (
        ("latitude", state.patch[0], rows),
        ("longitude", state.patch[1], columns),
    ):
        if size > cells:
            raise ConfigError(
                f"state.patch: {list(state.patch)} is larger than the grid, which has {rows} "
                f"latitudes and {columns} longitudes; choose at most {cells} along {name}"
            )
    poles = _poles(grid.latitude) if periodic else ("none", "none")
    halo, inner = state.halo, state.inner
    if periodic and state.patch[1] + 2 * halo[1] > columns:
        raise ConfigError(
            f"state.halo: a patch of {state.patch[1]} and a halo of {halo[1]} on both sides are "
            f"{state.patch[1] + 2 * halo[1]} longitudes, but the globe has {columns}, so that a "
            "patch would contain a cell twice; choose a smaller patch or halo"
        )
    if poles != ("none", "none") and halo[0] >= rows:
        raise ConfigError(
            f"state.halo: {halo[0]} latitudes across a pole are too many for a grid of {rows}; "
            f"choose at most {rows - 1}"
        )
    return Patches(
        shape=(rows, columns),
        halo=_sides(halo),
        periodic=(False, periodic),
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


def weight_groups(state: StateConfig, grid: Grid, patches: Patches) -> Array | None:
    """Return the number of the outer weights that each patch uses: shape (places,).

    Groups of patches with common weights are numbered from 0 without gaps; the result is None for
    a single group. A patch wholly in the mask has no training rows and joins another group.

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
                f"state.bands: {state.bands} bands, but there are {rows} rows of patches; choose "
                f"at most {rows}, or smaller patches (state.patch)"
            )
        groups = np.repeat(np.arange(rows) * state.bands // rows, columns)
    trained = patch_area_weights(grid, patches) > 0
    groups[~trained] = groups[trained][0]
    return np.unique(groups, return_inverse=True)[1]


def owned_cells(grid: Grid, patches: Patches) -> Array:
    """Return the positions in the grid of the cells that patches own: shape (places, own cells).

    Patches order longitudes as :func:`contiguous_longitudes` does.
    """
    row, column = np.divmod(patches.own_cells, len(grid.longitude))
    order, _ = contiguous_longitudes(grid.longitude)
    return np.asarray(row * len(grid.longitude) + order[column])


def patch_area_weights(grid: Grid, patches: Patches) -> Array:
    """Return the weights of patches in training, by area, mean 1: shape (places,).

    The area is that of the cells that a patch owns, without those masked in all channels; a patch
    of such cells only has weight 0 and no training rows.
    """
    by_cell = grid.area_weights.max(axis=0).reshape(-1)
    area = by_cell[owned_cells(grid, patches)].mean(axis=1)
    return np.asarray(area / area[area > 0].mean())


def is_periodic(longitude: Array) -> bool:
    """Whether longitudes cover the whole circle."""
    gaps = np.diff(longitude, append=longitude[0] + 360)
    return bool(len(gaps) > 1 and np.isclose(gaps, 360 / len(gaps), rtol=0.1).all())


def _sides(halo: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    return tuple((width, width) for width in halo)


def _poles(latitude: Array) -> tuple[Pole, Pole]:
    """Tell where the poles are: on the first and last row, half a cell beyond, or elsewhere."""
    if len(latitude) < 2:
        return "none", "none"
    ends = (
        (latitude[0] + 90, latitude[1] - latitude[0]),
        (90 - latitude[-1], latitude[-1] - latitude[-2]),
    )

    def kind(distance: float, spacing: float) -> str:
        if distance < 0.1 * spacing:
            return "row"
        # The last row of a Gaussian grid is a little more than half a cell from the pole.
        return "between" if distance < 0.9 * spacing else "none"

    south, north = (kind(*end) for end in ends)
    return cast(tuple[Pole, Pole], (south, north))
