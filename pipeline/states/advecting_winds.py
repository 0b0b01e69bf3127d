"""Find the winds that advect each channel: components in the data, or the geostrophic wind."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.data.grid import Channel
from gfrnn.pipeline.errors import ConfigError

Array = NDArray[Any]

Wind = Literal["geostrophic", "components"]

_EAST, _NORTH, _STREAM = "u_component_of_wind", "v_component_of_wind", "geopotential"


def advection_terms(channels: tuple[Channel, ...], wind: Wind | None) -> tuple[Array, Array]:
    """Return the advection of each channel and of its Laplacian, by winds near its level.

    A channel is advected by the wind of its own level and by those of the next levels above and
    below that have a wind; without a level, by the wind of the lowest level.

    Parameters
    ----------
    channels : tuple of Channel
    wind : {"geostrophic", "components"} or None
        None takes the components where the channels have them, and else the geopotential.

    Returns
    -------
    jacobians : ndarray of int, shape (n, 3)
    winds : ndarray of int, shape (n, 4)
        See :class:`gfrnn_core.zonal.GridFeatures`; one of the two is empty.

    Raises
    ------
    ConfigError
        If the channels have no such wind.
    """
    places = {(each.variable, each.level): index for index, each in enumerate(channels)}
    pairs = {
        level: (places[_EAST, level], places[_NORTH, level])
        for variable, level in places
        if variable == _EAST and (_NORTH, level) in places
    }
    streams = {level: index for (variable, level), index in places.items() if variable == _STREAM}
    kind = wind or ("components" if pairs else "geostrophic")
    found = pairs if kind == "components" else streams
    if not found:
        named = f"{_EAST} and {_NORTH}" if kind == "components" else _STREAM
        names = ", ".join(each.name for each in channels)
        raise ConfigError(
            f"model.features: advection with the wind {kind!r} needs {named}, but the data have "
            f"{names}; add these to data.variables, choose another model.wind, or leave advection "
            "out"
        )
    terms: list[tuple[int, ...]] = []
    for advected, channel in enumerate(channels):
        for level in _levels_near(channel.level, list(found)):
            given = found[level]
            for laplacian in (0, 1):
                if isinstance(given, tuple):
                    terms.append((*given, advected, laplacian))
                # J(a, a) is zero, and J(a, b) is -J(b, a).
                elif laplacian or (given != advected and (advected, given, 0) not in terms):
                    terms.append((given, advected, laplacian))
    numbers = np.array(terms, dtype=int)
    none = np.zeros((0, 4), dtype=int)
    return (none[:, :3], numbers) if kind == "components" else (numbers, none)


def _levels_near(level: float | None, levels: list[float | None]) -> list[float | None]:
    """Return the level itself or the nearest one, and its neighbours; without one the lowest."""
    known = sorted(each for each in levels if each is not None)
    if not known:
        return levels
    if level is None:
        return [known[-1]]
    nearest = int(np.abs(np.asarray(known) - level).argmin())
    return list(known[max(0, nearest - 1) : nearest + 2])
