"""Power of fields by wavenumber along longitude, which shows whether forecasts lose detail."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Array = NDArray[Any]


def zonal_power(fields: Array, shape: tuple[int, int], latitudes: Array, periodic: bool) -> Array:
    """Return the mean power of fields at each wavenumber along longitude.

    Rows around the globe are expanded by the Fourier transform, rows of a regional grid by the
    discrete cosine transform, which needs no periodicity and lets no trend leak into the short
    waves (Denis et al. 2002, Mon. Wea. Rev. 130, 1812-1829). The powers sum to the mean square of
    the field.

    Parameters
    ----------
    fields : ndarray, shape (..., channels, cells)
        Such as (starts, channels, cells) or (starts, members, channels, cells), with longitude
        varying fastest; in the units of the channel.
    shape : (int, int)
        Numbers of latitudes and longitudes.
    latitudes : ndarray, shape (channels, latitudes)
        Weights of rows, which sum to 1, from :func:`complete_latitudes`. Rows of weight 0 must be
        finite, but have no effect.
    periodic : bool
        Whether the rows go around the globe.

    Returns
    -------
    ndarray of float64, shape (..., channels, wavenumbers)
        In squared units of the channel; NaN where a field is NaN. Wavenumber k stands for k waves
        in a periodic row (0 to longitudes // 2), for k half waves in another (0 to longitudes - 1).

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    rows, columns = shape
    if fields.ndim < 2 or fields.shape[-1] != rows * columns:
        raise ValueError(f"fields: found shape {fields.shape}, allowed: (..., {rows * columns})")
    if latitudes.shape != (fields.shape[-2], rows):
        allowed = (fields.shape[-2], rows)
        raise ValueError(f"latitudes: found shape {latitudes.shape}, allowed: {allowed}")
    flat = fields.reshape(-1, fields.shape[-2], rows, columns)
    number = columns // 2 + 1 if periodic else columns
    power = np.zeros((*flat.shape[:2], number))
    # All waves but the mean and the shortest of an even number have a conjugate of equal power.
    double = np.full(number, 2.0)
    double[0] = 1.0
    if columns % 2 == 0:
        double[-1] = 1.0
    for field, found in zip(flat, power, strict=True):
        values = field.astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            if periodic:
                waves = fft.rfft(values, axis=-1, norm="forward")
                squares = (waves.real**2 + waves.imag**2) * double
            else:
                squares = fft.dct(values, type=2, axis=-1, norm="ortho") ** 2 / columns
            found[...] = np.matmul(latitudes[:, None], squares)[:, 0]
    return power.reshape(*fields.shape[:-1], number)


def complete_latitudes(weights: Array, shape: tuple[int, int]) -> Array:
    """Return the weights of the rows whose cells all have weights.

    Parameters
    ----------
    weights : ndarray, shape (channels, cells)
        Weights of cells, 0 in the mask.
    shape : (int, int)
        Numbers of latitudes and longitudes.

    Returns
    -------
    ndarray, shape (channels, latitudes)
        Dimensionless; sums to 1 for each channel, 0 for rows with masked cells, NaN if no row is
        complete: such a channel has no spectrum.
    """
    rows = weights.reshape(len(weights), *shape)
    sums = np.where((rows > 0).all(axis=-1), rows.sum(axis=-1), 0.0)
    with np.errstate(invalid="ignore"):
        return np.asarray(sums / sums.sum(axis=-1, keepdims=True))


def rounding_power(power: Array) -> Array:
    """Return a bound of the power that rounding to float32 has at each wavenumber.

    Rounding changes a value by at most ``2**-24`` of it, at random, so that its power is spread
    evenly over the wavenumbers. A field with a large mean and little detail, such as geopotential
    along a latitude, has no other power in its shortest waves. The bound is four times the power of
    the largest changes, which the power of a single row exceeds rarely.

    Parameters
    ----------
    power : ndarray, shape (..., wavenumbers)
        From :func:`zonal_power`, of full fields.

    Returns
    -------
    ndarray, shape (..., 1)
        In the units of the power.
    """
    squares = power.sum(axis=-1, keepdims=True)
    return np.asarray(squares * 2.0**-46 / power.shape[-1])


def power_ratio(forecast: Array, truth: Array) -> Array:
    """Return the power of the forecast over that of the truth: dimensionless, below 1 if smooth.

    Parameters
    ----------
    forecast, truth : ndarray, shape (..., wavenumbers)
        Means over initial times of :func:`zonal_power`.

    Returns
    -------
    ndarray, shape (..., wavenumbers)
        NaN where the truth has no power but that of rounding, see :func:`rounding_power`.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(truth > rounding_power(truth), forecast / truth, np.nan)


def log_spectral_distance(forecast: Array, truth: Array) -> Array:
    """Return the root mean square over wavenumbers of the difference of mean spectra in decibels.

    It is ``sqrt(mean_k (10 log10 (F_k / T_k))^2)`` (Rabiner and Juang 1993, Fundamentals of Speech
    Recognition, section 4.5), without wavenumber 0, which is the mean along longitude, and without
    those at which the truth has no power but that of rounding, see :func:`rounding_power`.

    Parameters
    ----------
    forecast, truth : ndarray, shape (..., wavenumbers)
        Means over initial times of :func:`zonal_power`.

    Returns
    -------
    ndarray, shape (...)
        In dB: 0 for equal spectra, 3 for twice the power at all wavenumbers. Infinite where the
        forecast has no power at a wavenumber of the truth, NaN where it is NaN or the truth has no
        waves.
    """
    ratio = power_ratio(forecast, truth)[..., 1:]
    present = (truth > rounding_power(truth))[..., 1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        squares = np.where(present, (10 * np.log10(ratio)) ** 2, 0.0)
        return np.asarray(np.sqrt(squares.sum(axis=-1) / present.sum(axis=-1)))
