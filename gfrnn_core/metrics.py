"""Scores of forecasts of dynamical systems against a reference trajectory.

Errors of states: `forecast_error` for each lead, with ``nrmse`` the normalised root mean square
error, and `normalised_mse` over all leads, with ``scale=1`` the plain mean squared error. Long free
runs no longer follow the truth, but should have its climate: `kl_divergence` and
`spectral_distance` measure that.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import signal

FloatArray = NDArray[np.float64]
ErrorNorm = Literal["nrmse", "nmse", "squared_relative"]

_NORMS = ("nrmse", "nmse", "squared_relative")


def forecast_error(
    forecast: ArrayLike, truth: ArrayLike, norm: ErrorNorm = "nrmse", scale: ArrayLike | None = None
) -> FloatArray:
    """Return the error of each lead of each forecast, in a norm common for chaotic systems.

    Parameters
    ----------
    forecast, truth : array_like, shape (..., leads, d)
        States; leading axes are starts.
    norm : {"nrmse", "nmse", "squared_relative"}
        - ``nrmse``: ``sqrt(mean_i ((f_i - t_i) / s_i)^2)``, s_i the climatological standard
          deviation of variable i (Vlachas et al. 2020, Neural Networks 126, 191-217).
        - ``nmse``: its square.
        - ``squared_relative``: ``sum_i (f_i - t_i)^2 / sum_i t_i^2``, by the state's own size and
          not by its variability, so that it depends on where zero lies (the DeepRFM paper,
          arXiv 2501.06661). A threshold on it is not one on ``nrmse``: 0.05 there is like 0.22
          on a relative error that is not squared.
    scale : array_like, broadcastable to (d,), optional
        The s_i, in the units of the states. The default is the standard deviation of `truth` over
        leads and starts, which is good only if these cover the attractor; otherwise pass that of
        the training data.

    Returns
    -------
    ndarray, shape (..., leads)
        Infinite from the first lead at which a forecast is not finite, even if it is finite later.

    Raises
    ------
    ValueError
        If shapes differ, the truth is not finite, the norm is unknown, the scale is not positive,
        or a scale is given with ``squared_relative``, which has none.
    """
    found, reference = _pair(forecast, truth, least_dims=2)
    if norm not in _NORMS:
        raise ValueError(f"norm: {norm!r} is not one of {', '.join(_NORMS)}")
    finite = np.logical_and.accumulate(np.isfinite(found).all(axis=-1), axis=-1)
    difference = np.where(finite[..., None], found, reference) - reference
    # The square of a diverged forecast may overflow: its error is infinite, without a warning.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        if norm == "squared_relative":
            if scale is not None:
                raise ValueError("scale: found one with norm='squared_relative', allowed: None")
            size = (reference**2).sum(axis=-1)
            error = (difference**2).sum(axis=-1) / size
            error = np.where((size == 0) & (difference == 0).all(axis=-1), 0.0, error)
        else:
            error = ((difference / _scale(scale, reference)) ** 2).mean(axis=-1)
            if norm == "nrmse":
                error = np.sqrt(error)
    return np.where(finite, error, np.inf)


def valid_prediction_time(
    forecast: ArrayLike,
    truth: ArrayLike,
    dt: float,
    lyapunov_exponent: float,
    threshold: float,
    norm: ErrorNorm = "nrmse",
    scale: ArrayLike | None = None,
) -> FloatArray:
    """Return the time for which each forecast is valid, in Lyapunov times.

    It is the number of leads before the error first exceeds `threshold`, times ``dt *
    lyapunov_exponent``. Row 0 is the first step **after** the initial state: a forecast that is
    wrong at once scores 0. A forecast that is valid to its end scores its length, a lower bound;
    make sure that the forecasts are long enough.

    Two conventions are common. ``norm="nrmse"`` with a threshold of 0.3 or 0.4 is the relative
    root mean square error, normalised by the climatological standard deviation.
    ``norm="squared_relative"`` with 0.05 is that of the DeepRFM paper. Their times differ; report
    the norm and the threshold with the time.

    Parameters
    ----------
    forecast, truth : array_like, shape (..., leads, d)
        States at leads dt, 2 dt, ...; leading axes are starts.
    dt : float
        Time from one lead to the next.
    lyapunov_exponent : float
        Largest exponent of the system, per unit of time; 1 gives the time in the unit of `dt`.
    threshold : float
        Largest error that still counts as valid.
    norm, scale
        See `forecast_error`.

    Returns
    -------
    ndarray, shape (...)
        Time for each start. A forecast is no longer valid from a lead at which it is not finite.

    Raises
    ------
    ValueError
        If `dt`, `lyapunov_exponent` or `threshold` is not positive; see also `forecast_error`.
    """
    for name, value in (
        ("dt", dt),
        ("lyapunov_exponent", lyapunov_exponent),
        ("threshold", threshold),
    ):
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{name}: {value!r} is not a positive number")
    valid = forecast_error(forecast, truth, norm, scale) <= threshold
    leads = np.logical_and.accumulate(valid, axis=-1).sum(axis=-1)
    return np.asarray(leads * (dt * lyapunov_exponent), np.float64)


def normalised_mse(
    forecast: ArrayLike,
    truth: ArrayLike,
    normaliser: Literal["variance", "range"] = "variance",
    scale: ArrayLike | None = None,
) -> float:
    """Return the mean squared error of all values, each variable divided by its own scale first.

    Parameters
    ----------
    forecast, truth : array_like, shape (..., d)
        Variables on the last axis; samples on all others.
    normaliser : {"variance", "range"}
        Divisor of the squared error of a variable: its variance in `truth`, so that a forecast of
        the mean scores 1, or its squared range, as for min-max scaled data.
    scale : array_like, broadcastable to (d,), optional
        Scales to use instead: standard deviations or ranges of the training data.

    Returns
    -------
    float
        Infinite if any forecast value is not finite.

    Raises
    ------
    ValueError
        If shapes differ, the truth is not finite or has a constant variable, the normaliser is
        unknown or a scale is not positive.
    """
    found, reference = _pair(forecast, truth, least_dims=1)
    if normaliser not in ("variance", "range"):
        raise ValueError(f"normaliser: {normaliser!r} is not one of variance, range")
    if not np.isfinite(found).all():
        return float("inf")
    if scale is None and normaliser == "range":
        samples = reference.reshape(-1, reference.shape[-1])
        scale = samples.max(axis=0) - samples.min(axis=0)
    with np.errstate(over="ignore"):
        return float((((found - reference) / _scale(scale, reference)) ** 2).mean())


def kl_divergence(
    samples: ArrayLike, reference: ArrayLike, bins: int = 30, pseudocount: float = 0.5
) -> float:
    """Return the Kullback-Leibler divergence ``D(reference || samples)`` of two samples, in nats.

    It is computed from histograms: the range of each variable in `reference` is cut into `bins` of
    equal width, with one more bin below and one above for values of `samples` outside. Cells are
    the products of bins. Only cells that either sample visits count, and each of them gets
    `pseudocount` in both histograms before these are normalised: an empty cell costs much but not
    infinitely, in both samples alike, and equal samples have a divergence of exactly 0.

    Empty cells dominate once there are about as many cells as samples: take no more than three or
    so variables (of an extended system, the values at neighbouring places), or fewer bins. The
    divergence depends on bins, pseudocount and sample sizes, so compare only scores that share
    them; that of two halves of the truth is the least a forecast can be expected to reach.

    Parameters
    ----------
    samples, reference : array_like, shape (..., d)
        States of the forecast and of the truth; their numbers may differ.
    bins : int
        Number of bins of a variable over the range of `reference`.
    pseudocount : float
        Number added to each count; 1/2 is the estimate of Krichevsky and Trofimov (1981), IEEE
        Trans. Inf. Theory 27, 199-207.

    Returns
    -------
    float
        Infinite if any value of `samples` is not finite.

    Raises
    ------
    ValueError
        If the arrays differ in d, samples are empty, the reference is not finite or has a constant
        variable, `bins` is below 1 or `pseudocount` is not positive.
    """
    found, truth = (_flat(name, v) for name, v in (("samples", samples), ("reference", reference)))
    if found.shape[1] != truth.shape[1]:
        raise ValueError(f"samples: found {found.shape[1]} variables, allowed: {truth.shape[1]}")
    if not np.isfinite(truth).all():
        raise ValueError("reference: found values that are not finite, allowed: finite ones")
    if bins < 1:
        raise ValueError(f"bins: {bins!r} is not a positive number")
    if not (np.isfinite(pseudocount) and pseudocount > 0):
        raise ValueError(f"pseudocount: {pseudocount!r} is not a positive number")
    low, high = truth.min(axis=0), truth.max(axis=0)
    if (high == low).any():
        raise ValueError(f"reference: variable {np.flatnonzero(high == low)[0]} never varies")
    if not np.isfinite(found).all():
        return float("inf")
    cell = np.zeros(len(truth) + len(found), np.int64)
    for variable in range(truth.shape[1]):
        values = np.concatenate([truth[:, variable], found[:, variable]])
        edges = np.linspace(low[variable], high[variable], bins + 1)
        # The top edge belongs to the last bin, so that the reference is never outside.
        place = np.searchsorted(edges, values, side="right")
        place[values == edges[-1]] = bins
        # Renumbering the cells in use after each variable keeps the numbers small for any d.
        cell = np.unique(cell * (bins + 2) + place, return_inverse=True)[1].reshape(-1)
    size = int(cell.max()) + 1
    p = np.bincount(cell[: len(truth)], minlength=size) + pseudocount
    q = np.bincount(cell[len(truth) :], minlength=size) + pseudocount
    p, q = p / p.sum(), q / q.sum()
    return float((p * np.log(p / q)).sum())


def power_spectrum(path: ArrayLike, dt: float, segment: int = 256) -> tuple[FloatArray, FloatArray]:
    """Estimate the power spectral density of each variable by Welch's method.

    Segments overlap by half, their means are subtracted and a Hann window is applied; the result is
    the mean over segments and starts (Welch 1967, IEEE Trans. Audio Electroacoust. 15, 70-73).

    Parameters
    ----------
    path : array_like, shape (..., times, d)
        Trajectories; leading axes are starts.
    dt : float
        Time from one sample to the next.
    segment : int
        Samples in a segment: long segments resolve lower frequencies, short ones give less noise.

    Returns
    -------
    frequency : ndarray, shape (segment // 2 + 1,)
        Cycles per unit of time, from 0.
    density : ndarray, shape (segment // 2 + 1, d)
        Density in the squared unit of the states per unit of frequency.

    Raises
    ------
    ValueError
        If `path` is not finite or shorter than `segment`, `segment` is below 2, or `dt` is not
        positive.
    """
    values = np.asarray(path, np.float64)
    if values.ndim < 2 or not np.isfinite(values).all():
        raise ValueError(f"path: found shape {values.shape}, allowed: (..., times, d), finite")
    if not (np.isfinite(dt) and dt > 0):
        raise ValueError(f"dt: {dt!r} is not a positive number")
    if not 2 <= segment <= values.shape[-2]:
        raise ValueError(f"segment: found {segment}, allowed: 2 to {values.shape[-2]} samples")
    frequency, density = signal.welch(values, 1 / dt, nperseg=segment, axis=-2)
    starts = np.asarray(density, np.float64).reshape(-1, *density.shape[-2:])
    return np.asarray(frequency, np.float64), starts.mean(axis=0)


def spectral_distance(forecast: ArrayLike, truth: ArrayLike, segment: int = 256) -> float:
    """Return the Hellinger distance of the power spectra of long runs, averaged over variables.

    Each spectrum is normalised to the sum 1, so the distance compares shapes, from 0 (equal) to 1
    (no frequency in common); errors of the variance show in `kl_divergence`. A run that has come to
    rest has the distance 1.

    Parameters
    ----------
    forecast, truth : array_like, shape (..., times, d)
        Trajectories with the same sampling interval; numbers of starts and times may differ.
    segment : int
        See `power_spectrum`.

    Returns
    -------
    float
        Mean distance; 1 if any value of `forecast` is not finite.

    Raises
    ------
    ValueError
        If the arrays differ in d or a variable of `truth` is constant; see also `power_spectrum`.
    """
    expected = power_spectrum(truth, 1.0, segment)[1]
    found = np.asarray(forecast, np.float64)
    if found.shape[-1:] != expected.shape[-1:]:
        raise ValueError(f"forecast: found shape {found.shape}, allowed: {expected.shape[-1]} last")
    power = expected.sum(axis=0)
    never = _constant(np.asarray(truth, np.float64)) | (power == 0)
    if never.any():
        raise ValueError(f"truth: variable {np.flatnonzero(never)[0]} never varies")
    if not np.isfinite(found).all():
        return 1.0
    spectrum = power_spectrum(found, 1.0, segment)[1]
    own = spectrum.sum(axis=0)
    # A run at rest has only rounding errors, which are no spectrum.
    moving = own > 1e-24 * power
    product = np.sqrt(spectrum / np.where(moving, own, 1.0) * (expected / power)).sum(axis=0)
    overlap = np.where(moving, product, 0.0)
    return float(np.sqrt(np.clip(1 - overlap, 0.0, None)).mean())


def _flat(name: str, values: ArrayLike) -> FloatArray:
    array = np.asarray(values, np.float64)
    if array.ndim < 2 or array.size == 0:
        raise ValueError(f"{name}: found shape {array.shape}, allowed: (..., d), not empty")
    return array.reshape(-1, array.shape[-1])


def _pair(forecast: ArrayLike, truth: ArrayLike, least_dims: int) -> tuple[FloatArray, FloatArray]:
    found = np.asarray(forecast, np.float64)
    reference = np.asarray(truth, np.float64)
    if found.shape != reference.shape:
        raise ValueError(f"forecast: found shape {found.shape}, allowed: truth's {reference.shape}")
    if reference.ndim < least_dims or reference.size == 0:
        allowed = "(..., leads, d)" if least_dims == 2 else "(..., d)"
        raise ValueError(f"truth: found shape {reference.shape}, allowed: {allowed}, not empty")
    if not np.isfinite(reference).all():
        raise ValueError("truth: found values that are not finite, allowed: finite ones")
    return found, reference


def _constant(values: FloatArray) -> NDArray[np.bool_]:
    """Return which variables never vary: shape (d,). Rounding makes their deviations positive."""
    flat = values.reshape(-1, values.shape[-1])
    return np.asarray(flat.max(axis=0) == flat.min(axis=0))


def _scale(scale: ArrayLike | None, truth: FloatArray) -> FloatArray:
    if scale is None:
        deviations = truth.reshape(-1, truth.shape[-1]).std(axis=0)
        scales: FloatArray = np.where(_constant(truth), 0.0, deviations)
        advice = "truth never varies there: pass a scale"
    else:
        scales = np.asarray(scale, np.float64)
        advice = "allowed: positive numbers"
        if scales.shape not in ((), (1,), truth.shape[-1:]):
            raise ValueError(f"scale: found shape {scales.shape}, allowed: {truth.shape[-1:]}")
    if not (np.isfinite(scales).all() and (scales > 0).all()):
        bad = np.flatnonzero(~(np.isfinite(scales) & (scales > 0)))[0]
        raise ValueError(f"scale: found {scales.ravel()[bad]} for variable {bad}; {advice}")
    return scales
