"""Local nonlinear features of fields on a grid: advection, sampled products and activations.

Each is a function of the fields and their derivatives at a point, the same along a circle of
latitude, so that rows of all longitudes inform the same weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from gfrnn_core.zonal.latitude_operators import LatitudeOperators

Array = NDArray[Any]
FeatureKind = Literal["tanh", "relu", "products", "advection"]

VALUE, EAST, NORTH, LAPLACIAN, LAPLACIAN_EAST, LAPLACIAN_NORTH = range(6)
BASE = 6
"""Number of base fields of a channel: itself, its Laplacian, and their gradients."""


@dataclass(frozen=True)
class GridFeatures:
    """Features of base fields at each point of the grid.

    Attributes
    ----------
    operators : LatitudeOperators
    scales : ndarray, shape (channels, 6)
        Standard deviation of each base field, by which it is divided.
    jacobians : ndarray of int, shape (n, 3)
        Streamfunction-like channel, advected channel, and 1 to advect its Laplacian, else 0.
    winds : ndarray of int, shape (n, 4)
        Channels of the eastward and northward wind, advected channel, and 1 for its Laplacian.
    products : ndarray of int, shape (n, 2)
        Pairs of base fields, numbered through all channels.
    weights : ndarray, shape (6 channels, n)
        Weights of the activated features.
    biases : ndarray, shape (n,)
    activations : tuple of str, length n
    """

    operators: LatitudeOperators
    scales: Array
    jacobians: Array
    winds: Array
    products: Array
    weights: Array
    biases: Array
    activation: Literal["tanh", "relu"] = "tanh"

    @property
    def count(self) -> int:
        """Number of features at a point."""
        return sum(map(len, (self.jacobians, self.winds, self.products, self.biases)))

    def base(self, spectrum: Array, longitudes: int) -> Array:
        """Return the scaled base fields: shape (n, channels, 6, latitudes, longitudes).

        Parameters
        ----------
        spectrum : ndarray of complex, shape (wavenumbers, n, channels, latitudes)
        """
        return derivatives(spectrum, self.operators, longitudes) / self.scales[..., None, None]

    def __call__(self, spectrum: Array, longitudes: int) -> Array:
        """Return the features' spectra: complex, shape (wavenumbers, n, features, latitudes)."""
        fields = self.base(spectrum, longitudes)
        times, channels, _, latitudes, _ = fields.shape
        found = np.empty((times, self.count, latitudes, longitudes))
        end = 0
        for a, b, lap in self.jacobians:
            east, north = (LAPLACIAN_EAST, LAPLACIAN_NORTH) if lap else (EAST, NORTH)
            np.multiply(fields[:, a, EAST], fields[:, b, north], out=found[:, end])
            found[:, end] -= fields[:, a, NORTH] * fields[:, b, east]
            end += 1
        for u, v, c, lap in self.winds:
            east, north = (LAPLACIAN_EAST, LAPLACIAN_NORTH) if lap else (EAST, NORTH)
            np.multiply(fields[:, u, VALUE], fields[:, c, east], out=found[:, end])
            found[:, end] += fields[:, v, VALUE] * fields[:, c, north]
            end += 1
        flat = fields.reshape(times, channels * BASE, latitudes, longitudes)
        for a, b in self.products:
            np.multiply(flat[:, a], flat[:, b], out=found[:, end])
            end += 1
        if len(self.biases):
            mixed = np.tensordot(self.weights.T, flat, axes=(1, 1)).swapaxes(0, 1)
            mixed += self.biases[:, None, None]
            found[:, end:] = np.tanh(mixed) if self.activation == "tanh" else np.maximum(mixed, 0)
        wavenumbers = len(spectrum)
        spectra = fft.rfft(found, axis=-1, norm="forward")[..., :wavenumbers]
        return np.ascontiguousarray(np.moveaxis(spectra, -1, 0))


def derivatives(spectrum: Array, operators: LatitudeOperators, longitudes: int) -> Array:
    """Return the base fields on the grid: shape (n, channels, 6, latitudes, longitudes).

    Parameters
    ----------
    spectrum : ndarray of complex, shape (wavenumbers, n, channels, latitudes)
    """
    wavenumbers, times, channels, latitudes = spectrum.shape
    fields = np.empty((wavenumbers, times, channels, BASE, latitudes), dtype=complex)
    turn = 1j * np.arange(wavenumbers)[:, None, None, None] * operators.east

    def along(operator: Array, values: Array) -> Array:
        flat = values.reshape(wavenumbers, -1, latitudes)
        return np.matmul(flat, operator.swapaxes(1, 2)).reshape(values.shape)

    laplacian = along(operators.laplacian, spectrum)
    for begin, part in ((VALUE, spectrum), (LAPLACIAN, laplacian)):
        fields[..., begin, :] = part
        fields[..., begin + 1, :] = turn * part
        fields[..., begin + 2, :] = along(operators.north, part)
    return np.asarray(fft.irfft(np.moveaxis(fields, 0, -1), n=longitudes, norm="forward"))
