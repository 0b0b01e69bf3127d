"""Power of forecasts and truth at each wavenumber along longitude: do forecasts blur?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.data.grid import Grid
from gfrnn.pipeline.states.sphere_patches import is_periodic
from gfrnn.pipeline.verification.statistics.power_spectra import complete_latitudes, zonal_power

Array = NDArray[Any]

DIMENSIONS = dict.fromkeys(
    ("forecast_power", "truth_power"),
    ("wavenumber", "channel", "time", "prediction_timedelta"),
)
"""Spectra and their dimensions."""


class SpectrumValues:
    """Spectra of a range of initial times, NaN until they are filled in.

    Parameters
    ----------
    grid : Grid
    weights : ndarray, shape (channels, cells)
        Weights of cells, 0 in the mask.
    shape : tuple of int
        Leads and initial times.
    """

    def __init__(self, grid: Grid, weights: Array, shape: tuple[int, int]) -> None:
        self._plane, self._periodic = grid.shape[1:], is_periodic(grid.longitude)
        self._latitudes = complete_latitudes(weights, self._plane)
        sizes = *shape, len(grid.channels), wavenumbers(grid)
        self._power = {name: np.full(sizes, np.nan) for name in DIMENSIONS}

    def add(self, lead: int, part: Array, members: Array, truth: Array) -> None:
        """Fill in the spectra of some pairs; that of an ensemble is the mean over its members.

        Parameters
        ----------
        lead : int
            Position of the lead.
        part : ndarray of int
            Positions of the pairs among the initial times.
        members : ndarray, shape (pairs, members, channels, cells)
            Fields, 0 in the mask.
        truth : ndarray, shape (pairs, channels, cells)
        """
        given = self._plane, self._latitudes, self._periodic
        self._power["forecast_power"][lead, part] = zonal_power(members, *given).mean(axis=1)
        self._power["truth_power"][lead, part] = zonal_power(truth, *given)

    def arrays(self) -> dict[str, Array]:
        """Return the spectra by name, with their dimensions."""
        return {name: np.transpose(each, (3, 2, 1, 0)) for name, each in self._power.items()}


def wavenumbers(grid: Grid) -> int:
    """Return the number of wavenumbers along the longitudes of a grid."""
    columns = grid.shape[2]
    return columns // 2 + 1 if is_periodic(grid.longitude) else columns
