"""Circular moving blocks of a series: their length, resampling, and standard errors of means."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

LEAST_STARTS = 10
"""Fewest initial times of which autocorrelations are estimated."""

# Numbers in a matrix of weights that is held at once.
_WEIGHTS_AT_ONCE = 2**23

# Bytes of the series whose standard errors are computed at once.
_SERIES_BYTES = 2**24

# A variance below this part of the mean square is rounding: the series is constant.
_ROUNDING = 1e-24


def optimal_block_length(series: Array) -> Array:
    """Return the block length of the circular bootstrap that suits each series.

    It minimises the mean squared error of the variance of a mean, ``(2 G^2 / D)^(1/3) N^(1/3)``
    with ``G = sum |k| R(k)`` and ``D = 4/3 (sum R(k))^2``, of the autocovariances R in a flat-top
    window (Politis and White 2004, Econom. Rev. 23, 53-70; corrected by Patton et al. 2009,
    Econom. Rev. 28, 372-375). The half width of the window is twice the first lag from which on
    ``max(5, sqrt(log10 N))`` autocorrelations in a row are below ``2 sqrt(log10 N / N)``. The paper
    takes the lag before; the authors' program takes this one, which gives longer blocks.

    Parameters
    ----------
    series : ndarray, shape (starts, ...)
        Series at even steps, in any units. Values that are NaN are missing: they count in no
        product, and do not shorten the distance of others.

    Returns
    -------
    ndarray, shape (...)
        Number of starts, rounded to an integer (as float64), from 1 to ``min(3 sqrt(N), N / 3)``
        for N starts that are not missing. It is 1 for a constant series, and NaN with fewer than
        LEAST_STARTS starts.
    """
    flat = series.reshape(len(series), -1)
    present = ~np.isnan(flat)
    number = present.sum(axis=0)
    enough = number >= LEAST_STARTS
    if len(series) < LEAST_STARTS:
        return np.full(series.shape[1:], np.nan)
    counts = np.maximum(number, 1)
    centred = np.where(present, flat, 0.0)
    size = (centred**2).sum(axis=0)
    centred -= np.where(present, centred.sum(axis=0) / counts, 0.0)
    in_a_row = max(5, int(np.ceil(np.sqrt(np.log10(len(series))))))
    most = min(int(np.ceil(np.sqrt(len(series)))) + in_a_row, len(series) - 1)
    products = [
        np.vecdot(centred[lag:].T, centred[: len(series) - lag].T) for lag in range(most + 1)
    ]
    covariances = np.stack(products) / counts
    varies = covariances[0] * counts > _ROUNDING * size
    correlations = np.abs(covariances) / np.where(varies, covariances[0], 1.0)
    window = _window_half_width(correlations, 2 * np.sqrt(np.log10(counts) / counts), in_a_row)
    lags = np.arange(1, most + 1)[:, None]
    taper = np.clip(2 * (1 - lags / window), 0.0, 1.0)
    slope = 2 * (taper * lags * covariances[1:]).sum(axis=0)
    total = covariances[0] + 2 * (taper * covariances[1:]).sum(axis=0)
    largest = np.floor(np.minimum(3 * np.sqrt(counts), counts / 3))
    with np.errstate(divide="ignore", invalid="ignore"):
        length = np.cbrt(1.5 * slope**2 / total**2 * counts)
    length = np.where(varies & (slope != 0), length, 1.0)
    length = np.clip(np.round(length), 1.0, np.maximum(largest, 1.0))
    return np.where(enough, length, np.nan).reshape(series.shape[1:])


def _window_half_width(correlations: Array, bound: Array, in_a_row: int) -> Array:
    """Return the half width of the window of autocovariances, in lags.

    Parameters
    ----------
    correlations : ndarray, shape (lags + 1, n)
        Absolute autocorrelations from lag 0 on.
    bound : ndarray, shape (n,)
        Smallest significant autocorrelation.
    in_a_row : int
        Number of insignificant autocorrelations in a row from which on all others are noise.
    """
    most = len(correlations) - 1
    small = np.cumsum(correlations[1:] < bound, axis=0)
    small = np.concatenate([np.zeros_like(small[:1]), small])
    quiet: Array = small[in_a_row:] - small[:-in_a_row] == in_a_row
    first = np.where(quiet.any(axis=0), quiet.argmax(axis=0) + 1, most)
    return np.minimum(2 * first, most)


def resampling_weights(starts: int, length: int, samples: int, seed: int) -> Iterator[Array]:
    """Yield the number of times that each start is in each resample, some resamples at a time.

    A resample joins blocks of consecutive starts, whose first is drawn at random; the last start is
    followed by the first (Politis and Romano 1992, in Exploring the Limits of Bootstrap, 263-270).
    The last block is cut so that all resamples have the length of the series. Means of resamples
    are the product of these weights with the series, over the number of starts.

    Parameters
    ----------
    starts : int
        Length of the series.
    length : int
        Length of a block.
    samples : int
        Number of resamples.
    seed : int
        The resamples depend on the seed and the first two parameters, and on nothing else.

    Yields
    ------
    ndarray of float64, shape (n, starts)
        Rows sum to the number of starts; the numbers n sum to ``samples``.
    """
    rng = np.random.default_rng([seed, length])
    together = max(1, _WEIGHTS_AT_ONCE // starts)
    blocks = -(-starts // length)
    for first in range(0, samples, together):
        number = min(together, samples - first)
        drawn = rng.integers(starts, size=(number, blocks, 1)) + np.arange(length)
        places = drawn.reshape(number, -1)[:, :starts] % starts
        places += np.arange(number)[:, None] * starts
        counts = np.bincount(places.reshape(-1), minlength=number * starts)
        yield counts.reshape(number, starts).astype(np.float64)


def block_standard_error(series: Array) -> Array:
    """Return the standard error of the mean of each correlated series.

    It is the standard deviation of the means of resamples that join ``N / length`` circular blocks,
    of the length that :func:`optimal_block_length` gives, in closed form: the root of ``sum(S^2) /
    (length N^2)``, with the sums S of the departures from the mean over the block that begins at
    each start (Künsch 1989, Ann. Stat. 17, 1217-1241).

    Parameters
    ----------
    series : ndarray, shape (starts, ...)
        Series at even steps, in any units. Values that are NaN are missing.

    Returns
    -------
    ndarray, shape (...)
        In the units of the series; NaN with fewer than LEAST_STARTS values.
    """
    flat = series.reshape(len(series), -1)
    together = max(1, _SERIES_BYTES // (8 * len(series)))
    parts = [
        _standard_error(flat[:, first : first + together])
        for first in range(0, flat.shape[1], together)
    ]
    return np.concatenate(parts).reshape(series.shape[1:])


def _standard_error(series: Array) -> Array:
    """Return the standard errors of some series: shape (n,), for series of shape (starts, n)."""
    present = ~np.isnan(series)
    number = present.sum(axis=0)
    counts = np.maximum(number, 1)
    mean = np.where(present, series, 0.0).sum(axis=0) / counts
    departures = np.where(present, series - mean, 0.0)
    lengths = optimal_block_length(series)
    found = np.full(series.shape[1], np.nan)
    for length in np.unique(lengths[number >= LEAST_STARTS]).astype(int):
        own = np.flatnonzero(lengths == length)
        # The series is continued by its begin, so that each start begins a block.
        continued = np.concatenate([departures[:, own], departures[: length - 1, own]])
        sums = np.lib.stride_tricks.sliding_window_view(continued, length, axis=0).sum(axis=-1)
        found[own] = np.sqrt((sums**2).sum(axis=0) / length) / counts[own]
    return found
