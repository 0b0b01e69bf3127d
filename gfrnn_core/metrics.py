"""Scores of forecasts of dynamical systems against a reference trajectory."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
ErrorNorm = Literal["nrmse", "nmse", "squared_relative"]

_NORMS = ("nrmse", "nmse", "squared_relative")


def forecast_error(
    forecast: ArrayLike, truth: ArrayLike, norm: ErrorNorm = "nrmse", scale: ArrayLike | None = None
) -> FloatArray:
    """Error of each lead of each forecast, by one of the norms in use for chaotic systems.

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
        The s_i, in the states' units. By default the standard deviation of `truth` over leads and
        starts, good only where these cover the attractor; pass the training data's otherwise.

    Returns
    -------
    ndarray, shape (..., leads)
        Infinite from the first lead at which a forecast is not finite, even where it returns.

    Raises
    ------
    ValueError
        For shapes that differ, a truth that is not finite, an unknown norm, a scale that is not
        positive, or a scale with ``squared_relative``, which has none.
    """
    found, reference = _pair(forecast, truth, least_dims=2)
    if norm not in _NORMS:
        raise ValueError(f"norm: {norm!r} is not one of {', '.join(_NORMS)}")
    finite = np.logical_and.accumulate(np.isfinite(found).all(axis=-1), axis=-1)
    difference = np.where(finite[..., None], found, reference) - reference
    # A forecast may run off to where its square overflows: that is an infinite error, no warning.
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
    """How long each forecast stays good, in Lyapunov times.

    The number of leads before the error first exceeds `threshold`, times ``dt *
    lyapunov_exponent``. Row 0 is the first step **after** the initial state: a forecast that is
    wrong at once scores 0. A forecast good to the end scores its length, a lower bound: see that
    the forecasts are long enough.

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
        The system's largest, per unit of time; 1 gives the time in units of `dt`.
    threshold : float
        Largest error that still counts as valid.
    norm, scale
        See `forecast_error`.

    Returns
    -------
    ndarray, shape (...)
        One time a start. A forecast that is not finite has failed at that lead.

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
    """Mean squared error of all values, each variable divided by its own scale first.

    Parameters
    ----------
    forecast, truth : array_like, shape (..., d)
        Variables on the last axis; samples on all others.
    normaliser : {"variance", "range"}
        What the squared error of a variable is divided by: its variance in `truth`, so that
        forecasting the mean scores 1, or its squared range, as min-max scaled data have it.
    scale : array_like, broadcastable to (d,), optional
        Divides instead: standard deviations or ranges of the training data.

    Returns
    -------
    float
        Infinite if any forecast value is not finite.

    Raises
    ------
    ValueError
        For shapes that differ, a truth that is not finite or has a variable that never varies, an
        unknown normaliser or a scale that is not positive.
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


def _scale(scale: ArrayLike | None, truth: FloatArray) -> FloatArray:
    if scale is None:
        spread: FloatArray = truth.reshape(-1, truth.shape[-1]).std(axis=0)
        advice = "truth never varies there: pass a scale"
    else:
        spread = np.asarray(scale, np.float64)
        advice = "allowed: positive numbers"
        if spread.shape not in ((), (1,), truth.shape[-1:]):
            raise ValueError(f"scale: found shape {spread.shape}, allowed: {truth.shape[-1:]}")
    if not (np.isfinite(spread).all() and (spread > 0).all()):
        bad = np.flatnonzero(~(np.isfinite(spread) & (spread > 0)))[0]
        raise ValueError(f"scale: found {spread.ravel()[bad]} for variable {bad}; {advice}")
    return spread
