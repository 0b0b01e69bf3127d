"""Derivatives in latitude and the Laplacian of zonal waves, as matrices on any latitudes.

On a globe a wave of zonal wavenumber m is expanded in associated Legendre functions of order m,
which have the right behaviour at the poles; in a band, for example a channel, it is interpolated by
a spline. All operators are those of the unit sphere.

Sources: Holmes and Featherstone (2002), J. Geodesy 76, 279-299 (recursion of the Legendre
functions); de Boor (2001), A Practical Guide to Splines (interpolating splines).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline

Array = NDArray[Any]
Geometry = Literal["sphere", "plane"]

# Degree of the interpolating spline: it differentiates a wave of four points to 0.1 %.
_DEGREE = 7


@dataclass(frozen=True)
class LatitudeOperators:
    """Linear operators on the latitudes of zonal waves ``f(latitude) exp(i m longitude)``.

    Attributes
    ----------
    east : ndarray, shape (latitudes,)
        Factor from the derivative by longitude to that by distance eastwards: 1 / cos(latitude),
        0 at a pole.
    north : ndarray, shape (wavenumbers, latitudes, latitudes)
        Derivative by distance northwards.
    laplacian : ndarray, shape (wavenumbers, latitudes, latitudes)
    """

    east: Array
    north: Array
    laplacian: Array

    @classmethod
    def on(
        cls, latitude: Array, wavenumbers: int, geometry: Geometry = "sphere"
    ) -> LatitudeOperators:
        """Build the operators for wavenumbers 0 to ``wavenumbers - 1``.

        Parameters
        ----------
        latitude : ndarray, shape (latitudes,)
            Degrees, ascending, at least two.
        wavenumbers : int
        geometry : {"sphere", "plane"}
            ``plane`` takes all circles of latitude to be as long as the middle one, as
            beta-plane models do.
        """
        if geometry == "sphere" and covers_globe(latitude):
            return cls._globe(latitude, wavenumbers)
        return cls._band(latitude, wavenumbers, geometry)

    @classmethod
    def _band(cls, latitude: Array, wavenumbers: int, geometry: Geometry) -> LatitudeOperators:
        phi = np.deg2rad(latitude)
        degree = min(_DEGREE, (len(phi) - 1) // 2 * 2 + 1 if len(phi) % 2 == 0 else len(phi) - 2)
        spline = make_interp_spline(phi, np.eye(len(phi)), k=max(1, degree))
        first, second = spline.derivative(1)(phi), spline.derivative(min(2, spline.k))(phi)
        if geometry == "plane":
            cosine = np.full(len(phi), np.cos(phi.mean()))
            tangent = np.zeros(len(phi))
        else:
            cosine, tangent = np.cos(phi), np.tan(phi)
        across = second - tangent[:, None] * first
        numbers = np.arange(wavenumbers)[:, None]
        along = np.square(numbers / cosine)
        laplacian = across - along[:, :, None] * np.eye(len(phi))
        north = np.broadcast_to(first, laplacian.shape)
        return cls(1 / cosine, np.ascontiguousarray(north), laplacian)

    @classmethod
    def _globe(cls, latitude: Array, wavenumbers: int) -> LatitudeOperators:
        phi, points = np.deg2rad(latitude), len(latitude)
        weights = np.sqrt(np.maximum(np.cos(phi), 0.5 * np.abs(np.diff(phi)).min()))
        north, laplacian = np.zeros((2, wavenumbers, points, points))
        pole = np.cos(phi) < 1e-9
        inner = points - np.count_nonzero(pole)
        for number in range(wavenumbers):
            # Waves vanish at the poles, so points there determine no function.
            last = points - 1 if number == 0 else min(points, number + inner) - 1
            values, slopes, degrees = legendre(phi, number, last)
            if not len(degrees):
                continue
            inverse = np.linalg.pinv(weights[:, None] * values.T) * weights
            north[number] = slopes.T @ inverse
            laplacian[number] = (values.T * (-degrees * (degrees + 1.0))) @ inverse
        east = np.divide(1.0, np.cos(phi), out=np.zeros(points), where=~pole)
        return cls(east, north, laplacian)


def covers_globe(latitude: Array) -> bool:
    """Return whether the outermost latitudes are within a grid spacing of both poles."""
    spacing = float(np.abs(np.diff(latitude)).max())
    return bool(latitude.min() - spacing <= -90 and latitude.max() + spacing >= 90)


def legendre(phi: Array, order: int, last: int) -> tuple[Array, Array, Array]:
    """Return normalised associated Legendre functions of sin(latitude) and their derivatives.

    Parameters
    ----------
    phi : ndarray, shape (latitudes,)
        Latitudes in radians.
    order : int
        Zonal wavenumber m.
    last : int
        Largest degree.

    Returns
    -------
    values, slopes : ndarray, shape (degrees, latitudes)
        Functions of degrees m to ``last`` and their derivatives by latitude, of mean square 1 with
        respect to the sine of latitude.
    degrees : ndarray of int, shape (degrees,)
    """
    degrees = np.arange(order, last + 1)
    sine, cosine = np.sin(phi), np.cos(phi)
    values = np.zeros((len(degrees) + 1, len(phi)))
    if not len(degrees):
        return values[:0], values[:0], degrees
    values[0] = 1.0
    for m in range(1, order + 1):
        values[0] *= np.sqrt((2 * m + 1) / (2 * m)) * cosine
    if len(degrees) > 1:
        values[1] = np.sqrt(2 * order + 3) * sine * values[0]
    for index in range(2, len(degrees)):
        n = order + index
        factor = np.sqrt((2 * n + 1) / ((n - order) * (n + order)))
        before = np.sqrt((n - 1 - order) * (n - 1 + order) / (2 * n - 3))
        values[index] = factor * (
            np.sqrt(2 * n - 1) * sine * values[index - 1] - before * values[index - 2]
        )
    # cos d/dphi P_n = -n sin P_n + sqrt((2n+1)(n^2-m^2)/(2n-1)) P_(n-1), from the same recursion.
    slopes = np.empty((len(degrees), len(phi)))
    for index, n in enumerate(degrees):
        lower = values[index - 1] if index else 0.0
        coupling = np.sqrt((2 * n + 1) * (n * n - order * order) / max(2 * n - 1, 1))
        slopes[index] = -n * sine * values[index] + coupling * lower
    slopes /= np.maximum(cosine, 1e-300)
    pole = cosine < 1e-9
    if pole.any():
        slopes[:, pole] = _pole_slopes(degrees, order, np.sign(sine[pole]))
    return values[:-1], slopes, degrees


def _pole_slopes(degrees: Array, order: int, hemisphere: Array) -> Array:
    """Return the derivatives by latitude at the poles, which only order 1 has."""
    if order != 1:
        return np.zeros((len(degrees), len(hemisphere)))
    # Near a pole they are proportional to cos(phi), whose slope is -1 at the north pole.
    scale = np.sqrt((2 * degrees + 1) * degrees * (degrees + 1.0)) / 2
    parity = np.where(hemisphere > 0, 1.0, (-1.0) ** (degrees[:, None] + 1))
    return np.asarray(-hemisphere * parity * scale[:, None])
