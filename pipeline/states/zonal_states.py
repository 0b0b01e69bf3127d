"""Fields <-> states of zonal waves: coefficients of waves times functions of latitude."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from gfrnn.pipeline.config.state_config import StateConfig
from gfrnn.pipeline.data.grid import Grid
from gfrnn.pipeline.errors import ConfigError
from gfrnn.pipeline.states.climatology import Scaling
from gfrnn_core.zonal import LatitudeFunctions, ZonalBasis
from gfrnn_core.zonal.latitude_functions import Geometry, poles_reached

Array = NDArray[Any]

# Deviation of longitudes from even spacing round the globe, in degrees: coordinates of files are
# rounded.
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class ZonalLayout:
    """Layout of states that are coefficients of zonal waves, see :class:`gfrnn_core.ZonalBasis`.

    Attributes
    ----------
    scaling : Scaling
        Without area weights.
    wavenumbers : int
        Number of zonal wavenumbers, with 0.
    functions : int
        Number of functions of latitude of the zonal mean.
    geometry : {"sphere", "channel"}
    """

    scaling: Scaling
    wavenumbers: int
    functions: int
    geometry: Geometry

    @cached_property
    def basis(self) -> ZonalBasis:
        """Zonal waves times functions of latitude."""
        grid = self.scaling.grid
        functions = LatitudeFunctions.on(
            grid.latitude, self.wavenumbers, self.functions, self.geometry
        )
        return ZonalBasis(functions, len(grid.channels), len(grid.longitude))

    @property
    def size(self) -> int:
        """Length of a state."""
        return self.basis.size

    @cached_property
    def background(self) -> Array:
        """Coefficients of each term of the climatology: (terms, wavenumbers, width), complex.

        They are in units of a state. Area means are left out: no derivative depends on them, and
        products of values would be dominated by that of the annual mean.
        """
        grid, coefficients = self.scaling.grid, self.scaling.climatology.coefficients
        fields = (coefficients * self.scaling.weights).reshape(-1, *grid.shape)
        means = np.average(fields.mean(axis=3), axis=2, weights=grid.area)
        fields -= means[..., None, None]
        return np.asarray(self.basis.encode(fields).swapaxes(0, 1))

    def encode(self, fields: Array, time: Array) -> Array:
        """Return the states of fields, which are overwritten: shape (times, size)."""
        return self.project(self.scaling.scaled_anomalies(fields, time))

    def project(self, scaled: Array) -> Array:
        """Return the states of scaled anomalies: shape (times, size)."""
        fields = scaled.reshape(-1, *self.scaling.grid.shape)
        return self.basis.pack(self.basis.encode(fields))

    def anomalies(self, states: Array) -> Array:
        """Return the anomalies of states in units of the variables: shape (n, grid.size)."""
        fields = self.basis.decode(self.basis.unpack(states))
        return np.asarray(fields.reshape(len(states), -1) * self.scaling.inverse_weights)

    def decode(self, states: Array, time: Array) -> Array:
        """Return the fields of states at some times: shape (times, grid.size)."""
        return self.anomalies(states) + self.scaling.climatology(time)

    def autocorrelation(self, lagged: Array, lead: int) -> Array:
        """Return the autocorrelation of each grid cell at a lead, in steps: shape (grid.size,).

        All cells of a channel on a circle of latitude have the same.

        Parameters
        ----------
        lagged : ndarray, shape (leads + 1, channels, latitudes)
            Covariance along each circle with the fields a number of steps later.
        lead : int
        """
        variance = lagged[0]
        found = np.divide(lagged[lead], variance, out=np.zeros_like(variance), where=variance > 0)
        return np.repeat(found.reshape(-1), self.scaling.grid.shape[2])

    def lagged_covariance(self, runs: Sequence[Array], horizon: int) -> Array:
        """Return the covariance of fields along circles of latitude with later ones.

        Parameters
        ----------
        runs : sequence of ndarray, shape (times, size)
            States of periods without a gap.
        horizon : int
            Largest lag in steps.

        Returns
        -------
        ndarray, shape (horizon + 1, channels, latitudes)
            Zero at lags for which there is no pair.
        """
        channels, latitudes, _ = self.scaling.grid.shape
        sums = np.zeros((horizon + 1, channels, latitudes))
        pairs = np.zeros(horizon + 1)
        for states in runs:
            lags = min(horizon + 1, len(states))
            pairs[:lags] += len(states) - np.arange(lags)
            coefficients = self.basis.unpack(states)
            for number in range(self.wavenumbers):
                flat = coefficients[number].reshape(len(states) * channels, -1)
                profiles = (flat @ self.basis.functions.values[number]).reshape(
                    len(states), channels, latitudes
                )
                sums[:lags] += (1 + (number > 0)) * _lagged_products(profiles, lags)
        return np.asarray(sums / np.maximum(pairs, 1)[:, None, None])

    @cached_property
    def regression_groups(self) -> Array:
        """Index of the group of values with one regression coefficient: int, shape (size,).

        The values of a wavenumber and channel form a group.
        """
        channels, basis = self.basis.channels, self.basis
        numbers = np.arange(basis.wavenumbers)[:, None] * channels
        channel = np.repeat(np.arange(channels), basis.width // channels)
        # A wave has two entries in a state, which packing multiplies with the root of 2.
        coefficients = (numbers + channel)[:, None] * (1 + 1j)
        coefficients[1:] *= np.sqrt(0.5)
        return np.rint(basis.pack(coefficients)[0]).astype(int)

    def attributes(self) -> dict[str, Any]:
        """Return what is stored as attributes."""
        return {
            "kind": "zonal",
            "wavenumbers": self.wavenumbers,
            "functions": self.functions,
            "geometry": self.geometry,
        }

    def arrays(self) -> dict[str, Array]:
        """Return what is stored as arrays, besides grid and climatology: nothing."""
        return {}


def _lagged_products(series: Array, lags: int) -> Array:
    """Return sums over time of ``Re(conj(x(t)) x(t + lag))`` for the first lags.

    The convolution theorem gives all lags at once; the padding keeps the ends apart.
    """
    length = fft.next_fast_len(len(series) + lags)
    spectrum = fft.fft(series, n=length, axis=0)
    power = np.square(np.abs(spectrum))
    return np.asarray(fft.ifft(power, axis=0)[:lags].real)


def zonal_layout(state: StateConfig, scaling: Scaling) -> ZonalLayout:
    """Return the layout of an experiment.

    Raises
    ------
    ConfigError
        If the grid does not close in longitude, has irregular longitudes or a mask, or does not
        resolve the waves or functions.
    """
    grid = scaling.grid
    check_zonal_grid(grid)
    longitudes, latitudes = len(grid.longitude), len(grid.latitude)
    # A product of two waves is exact where three times the wavenumber is below the longitudes.
    largest = state.wavenumbers or (longitudes - 1) // 3
    if 2 * largest >= longitudes:
        raise ConfigError(
            f"state.wavenumbers: {largest} is not resolved by {longitudes} longitudes; choose at "
            f"most {(longitudes - 1) // 2}, or {(longitudes - 1) // 3} so that products have no "
            "aliasing"
        )
    globe = state.geometry == "sphere" and poles_reached(grid.latitude) == 2
    functions = state.functions or (min(largest + 1, latitudes) if globe else latitudes // 2)
    if not 0 < functions <= latitudes:
        raise ConfigError(
            f"state.functions: {functions} functions of latitude are not determined by {latitudes} "
            f"latitudes; choose at most {latitudes}"
        )
    return ZonalLayout(scaling, largest + 1, functions, state.geometry)


def check_zonal_grid(grid: Grid) -> None:
    """Check that zonal waves can be computed on a grid.

    Raises
    ------
    ConfigError
        If it does not close in longitude, is not regular there, has fewer than two latitudes or a
        mask.
    """
    remedy = "choose state.layout: eof or local"
    longitude, count = grid.longitude, len(grid.longitude)
    spacing = np.diff(longitude, append=longitude[0] + 360)
    if np.abs(spacing - 360 / count).max() > _TOLERANCE:
        raise ConfigError(
            f"state.layout: zonal needs longitudes that are evenly spaced all round the globe, but "
            f"the data have {count} from {longitude[0]:g} to {longitude[-1]:g}, "
            f"{spacing.min():.3g} to {spacing.max():.3g} degrees apart; {remedy}"
        )
    if len(grid.latitude) < 2:
        raise ConfigError(
            f"state.layout: zonal needs two latitudes or more, but the data have "
            f"{len(grid.latitude)}; {remedy}"
        )
    if grid.mask is not None:
        masked = np.flatnonzero(~grid.valid.all(axis=(1, 2)))
        raise ConfigError(
            f"state.layout: zonal needs values in all cells, but "
            f"{grid.channels[masked[0]].name} has none in some; {remedy}, or leave the variable "
            "out (data.variables)"
        )
