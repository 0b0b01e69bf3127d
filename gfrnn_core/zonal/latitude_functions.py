"""Functions of latitude in which zonal waves are expanded, with their derivatives.

On a globe a wave of zonal wavenumber m is a sum of associated Legendre functions of order m, so
that fields are sums of spherical harmonics, which behave rightly at the poles. On a
hemisphere these are the harmonics that are symmetric about the equator. On any other cap, their
degrees are as far apart as the globe is larger than the cap, and the functions are made
orthonormal on it. In a channel it is a sum of sines, which vanish at the walls, or of
cosines for the zonal mean. In any other band of latitudes, whose borders are artificial, it is a
sum of cosines. Lengths are in units of the radius.

Source of the Legendre functions' recursion: Holmes and Featherstone (2002), J. Geodesy 76, 279-299.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr, solve_triangular

Array = NDArray[Any]
Geometry = Literal["sphere", "channel"]

# Extent of the cap that degrees belong to, relative to that of a cap in the data.
_EXTENSION = 1.25

# Least part of a function on a cap that is independent of the others, relative to its size: those
# of a small cap and a large wavenumber are nearly dependent.
_INDEPENDENT = 1e-6


@dataclass(frozen=True)
class LatitudeFunctions:
    """Functions of latitude for each zonal wavenumber, on the latitudes of a grid.

    Attributes
    ----------
    values, slopes, laplacians : ndarray, shape (wavenumbers, functions, latitudes)
        Functions, their derivatives northwards, and the factor of ``exp(i m longitude)`` in their
        Laplacians; zero beyond the number of functions of a wavenumber.
    inverse : ndarray, shape (wavenumbers, latitudes, functions)
        Coefficients of a profile by area-weighted least squares.
    east : ndarray, shape (latitudes,)
        Factor from the derivative by longitude to that eastwards, 1 / cos(latitude); 0 at a pole.
    counts : tuple of int, length wavenumbers
        Number of functions of each wavenumber.
    """

    values: Array
    slopes: Array
    laplacians: Array
    inverse: Array
    east: Array
    counts: tuple[int, ...]

    @property
    def pole_signs(self) -> Array:
        """Return -1 at a north pole, 1 at a south pole and 0 elsewhere: shape (latitudes,).

        Towards a pole, the quotient of a function of wavenumber 1 and the cosine of latitude tends
        to its slope times this sign.
        """
        signs = np.zeros(len(self.east))
        signs[0], signs[-1] = self.east[0] == 0, -(self.east[-1] == 0).astype(float)
        return signs

    @classmethod
    def on(
        cls, latitude: Array, wavenumbers: int, count: int, geometry: Geometry = "sphere"
    ) -> LatitudeFunctions:
        """Evaluate the functions of wavenumbers 0 to ``wavenumbers - 1``.

        Parameters
        ----------
        latitude : ndarray, shape (latitudes,)
            Degrees, ascending.
        wavenumbers : int
        count : int
            Number of functions of the zonal mean. On a globe a wave has as many fewer as its
            wavenumber, so that all scales are resolved alike in both directions. A cap has fewer
            where these nearly depend on each other.
        geometry : {"sphere", "channel"}
            ``channel``: a beta-plane between walls half a cell beyond the outermost latitudes,
            whose circles are as long as the middle one.

        Raises
        ------
        ValueError
            If latitudes are fewer than two, not ascending or outside -90..90, or another argument
            is out of its range.
        """
        latitude = np.asarray(latitude, dtype=float)
        if len(latitude) < 2 or np.any(np.diff(latitude) <= 0):
            raise ValueError(
                f"latitude: the {len(latitude)} values are not two or more, ascending; sort "
                "the fields by latitude"
            )
        if latitude[0] < -90 or latitude[-1] > 90:
            raise ValueError(f"latitude: {latitude[0]}..{latitude[-1]} is not within -90..90")
        for name, value in (("wavenumbers", wavenumbers), ("count", count)):
            if value < 1:
                raise ValueError(f"{name}: {value} is not a positive number")
        if geometry not in get_args(Geometry):
            allowed = ", ".join(map(repr, get_args(Geometry)))
            raise ValueError(f"geometry: {geometry!r} is not one of {allowed}")
        phi = np.deg2rad(latitude)
        poles = poles_reached(latitude) if geometry == "sphere" else 0
        cosine = np.cos(phi) if geometry == "sphere" else np.full(len(phi), np.cos(phi.mean()))
        pole = cosine < 1e-9
        weights = np.sqrt(np.where(pole, np.diff(phi).min() / 8, cosine))  # of half a cell there
        east = np.divide(1.0, cosine, out=np.zeros(len(phi)), where=~pole)
        stride = _degree_stride(latitude, poles)
        counts, parts = [], []
        for number in range(wavenumbers):
            if poles:
                # Waves vanish at the poles, so a pole determines none of their coefficients.
                inner = len(phi) - (int(pole.sum()) if number else 0)
                kept = max(0, min(count - math.ceil(number / stride), inner))
                above = np.floor(stride * np.arange(kept) + 0.5).astype(int)
                own, slope = (
                    part[above] for part in legendre(phi, number, above.max(initial=0) + 1)
                )
                degrees = number + above
                laplacian = -own * (degrees * (degrees + 1.0))[:, None]
                if poles == 1:
                    own, slope, laplacian = _orthonormal(own, weights, slope, laplacian)
            else:
                # Besides the cosines that go with the sines, the mean has a constant.
                sines = geometry == "channel" and number > 0
                extra = geometry == "channel" and number == 0
                own, slope, across = _trigonometric(phi, min(count + extra, len(phi)), sines=sines)
                tangent = np.tan(phi) if geometry == "sphere" else 0.0
                laplacian = across - tangent * slope - np.square(number * east) * own
            counts.append(len(own))
            parts.append((own, slope, laplacian))
        values, slopes, laplacians = np.zeros((3, wavenumbers, max(counts), len(phi)))
        inverse = np.zeros((wavenumbers, len(phi), max(counts)))
        for number, (count, part) in enumerate(zip(counts, parts, strict=True)):
            values[number, :count], slopes[number, :count], laplacians[number, :count] = part
            inverse[number, :, :count] = np.linalg.pinv(part[0] * weights) * weights[:, None]
        return cls(values, slopes, laplacians, inverse, east, tuple(counts))


def poles_reached(latitude: Array) -> int:
    """Return how many poles are within a grid spacing of the outermost latitudes, in degrees."""
    spacing = float(np.abs(np.diff(latitude)).max())
    return int(latitude.min() - spacing <= -90) + int(latitude.max() + spacing >= 90)


def _degree_stride(latitude: Array, poles: int) -> float:
    """Return the distance of the degrees of Legendre functions where latitudes reach a pole.

    It is 1 on a globe and 2 on a hemisphere, of which a globe has twice as many. The functions of
    any other cap are those of a somewhat larger one, so that its border puts no condition on them.
    """
    if poles == 2:
        return 1.0
    border = latitude[-1] if latitude[0] + latitude[-1] < 0 else -latitude[0]
    if abs(border) <= np.diff(latitude).max():
        return 2.0
    return max(1.0, float(180 / (_EXTENSION * (90 + border))))


def _orthonormal(values: Array, weights: Array, *derivatives: Array) -> tuple[Array, ...]:
    """Return combinations of functions of mean square 1, and the same ones of derivatives.

    Functions that nearly depend on the others are left out.

    Parameters
    ----------
    values : ndarray, shape (functions, latitudes)
    weights : ndarray, shape (latitudes,)
        Square roots of the areas.
    *derivatives : ndarray, shape (functions, latitudes)
    """
    weighted = values * weights / np.linalg.norm(weights)
    weighted /= (sizes := np.linalg.norm(weighted, axis=1, keepdims=True))
    factor, order = qr(weighted.T, mode="r", pivoting=True)
    kept = np.sort(order[: np.count_nonzero(np.abs(np.diag(factor)) > _INDEPENDENT)])
    factor = np.linalg.qr(weighted[kept].T, mode="r")  # keeps the order of the degrees
    scaled = ((each / sizes)[kept] for each in (values, *derivatives))
    return tuple(solve_triangular(factor, each, trans="T") for each in scaled)


def _trigonometric(phi: Array, count: int, *, sines: bool) -> tuple[Array, Array, Array]:
    """Return sines or cosines between borders half a cell outside, and two derivatives.

    The constant is one of the cosines.
    """
    half = np.diff(phi)[[0, -1]] / 2
    south, width = phi[0] - half[0], phi[-1] - phi[0] + half.sum()
    wave = np.arange(1, count + 1)[:, None] if sines else np.arange(count)[:, None]
    number = wave * np.pi / width
    phase = number * (phi - south)
    sine, cosine = np.sqrt(2.0) * np.sin(phase), np.sqrt(2.0) * np.cos(phase)
    if sines:
        return sine, number * cosine, -np.square(number) * sine
    cosine[0] = 1.0
    return cosine, -number * sine, -np.square(number) * cosine


def legendre(phi: Array, order: int, count: int) -> tuple[Array, Array]:
    """Return normalised associated Legendre functions of sin(latitude) and their slopes.

    Parameters
    ----------
    phi : ndarray, shape (latitudes,)
        Latitudes in radians.
    order : int
        Zonal wavenumber m.
    count : int
        Number of functions, of degrees m, m + 1, ...

    Returns
    -------
    values, slopes : ndarray, shape (count, latitudes)
        Functions of mean square 1 over the sphere, and their derivatives by latitude.
    """
    degrees = np.arange(order, order + count)
    sine, cosine = np.sin(phi), np.cos(phi)
    values = np.zeros((max(count, 2), len(phi)))
    values[0] = 1.0
    for m in range(1, order + 1):
        values[0] *= np.sqrt((2 * m + 1) / (2 * m)) * cosine
    values[1] = np.sqrt(2 * order + 3) * sine * values[0]
    for index in range(2, count):
        n = order + index
        factor = np.sqrt((2 * n + 1) / ((n - order) * (n + order)))
        before = np.sqrt((n - 1 - order) * (n - 1 + order) / (2 * n - 3))
        values[index] = factor * (
            np.sqrt(2 * n - 1) * sine * values[index - 1] - before * values[index - 2]
        )
    values = values[:count]
    slopes = np.empty((count, len(phi)))
    for index in range(count):
        n = order + index
        lower = values[index - 1] if index else 0.0
        coupling = np.sqrt((2 * n + 1) * (n * n - order * order) / max(2 * n - 1, 1))
        slopes[index] = -n * sine * values[index] + coupling * lower
    pole = cosine < 1e-9
    slopes[:, ~pole] /= cosine[~pole]
    slopes[:, pole] = _pole_slopes(degrees, order, np.sign(sine[pole]))
    return values, slopes


def _pole_slopes(degrees: Array, order: int, hemisphere: Array) -> Array:
    """Return the derivatives by latitude at the poles, which vanish except for order 1."""
    if order != 1:
        return np.zeros((len(degrees), len(hemisphere)))
    # Near a pole they are proportional to cos(phi), whose slope is -1 at the north pole.
    scale = np.sqrt((2 * degrees + 1) * degrees * (degrees + 1.0)) / 2
    parity = np.where(hemisphere > 0, 1.0, (-1.0) ** (degrees[:, None] + 1))
    return np.asarray(-hemisphere * parity * scale[:, None])
