"""Reference integrators for dynamical systems, and the accurate time of their trajectories."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import solve_ivp

from gfrnn_core.metrics import valid_prediction_time

FloatArray = NDArray[np.float64]
Tendency = Callable[[FloatArray], FloatArray]
Precision = TypeVar("Precision")


def integrate(
    tendency: Tendency,
    initial: ArrayLike,
    dt: float,
    steps: int,
    rtol: float = 1e-12,
    atol: float = 1e-12,
) -> FloatArray:
    """Integrate an autonomous system of ordinary differential equations.

    The method is that of Dormand and Prince, of order 8 with step control (Hairer, Norsett and
    Wanner, Solving Ordinary Differential Equations I, section II.10), sampled at multiples of `dt`.

    Parameters
    ----------
    tendency : callable
        Maps a state, shape (d,), to its time derivative, shape (d,).
    initial : array_like, shape (d,)
        State at time zero.
    dt : float
        Sampling interval, in the system's unit of time.
    steps : int
        Number of samples after the initial state.
    rtol, atol : float
        Tolerances of one internal step; `atol` is in the units of the state.

    Returns
    -------
    ndarray, shape (steps + 1, d), float64
        Trajectory; row 0 is `initial`.

    Raises
    ------
    ValueError
        If `dt` is not positive, `steps` is negative, or `initial` is not a finite vector.
    ArithmeticError
        If the integration fails, for example because the solution diverges in finite time.
    """
    if not (np.isfinite(dt) and dt > 0):
        raise ValueError(f"dt: {dt!r} is not a positive number")
    if steps < 0:
        raise ValueError(f"steps: {steps!r} is negative")
    start = np.asarray(initial, np.float64)
    if start.ndim != 1 or not np.isfinite(start).all():
        raise ValueError(f"initial: found shape {start.shape}, allowed: a vector of finite numbers")
    if steps == 0:
        return start[None, :].copy()
    times = np.arange(steps + 1) * dt
    with np.errstate(over="ignore", invalid="ignore"):
        solution = solve_ivp(
            lambda _, state: tendency(state),
            (0.0, times[-1]),
            start,
            method="DOP853",
            t_eval=times,
            rtol=rtol,
            atol=atol,
        )
    if not solution.success or not np.isfinite(solution.y).all():
        raise ArithmeticError(f"integration stopped early: {solution.message}")
    return np.ascontiguousarray(solution.y.T, dtype=np.float64)


def runge_kutta_step(tendency: Tendency, state: FloatArray, dt: float) -> FloatArray:
    """Return the state `dt` later, by one step of the classical Runge-Kutta method of order four.

    Unlike `integrate`, it works for many states at once and for controlled systems, but its error
    depends on `dt` and is not controlled.

    Parameters
    ----------
    tendency : callable
        Maps states, shape (..., d), to their time derivatives; an input is constant in the step.
    state : ndarray, shape (..., d)
        State; it is not changed.
    dt : float
        Time step in the unit of time of the system.

    Returns
    -------
    ndarray, shape (..., d)
    """
    first = tendency(state)
    second = tendency(state + (dt / 2) * first)
    third = tendency(state + (dt / 2) * second)
    fourth = tendency(state + dt * third)
    return state + (dt / 6) * (first + 2 * (second + third) + fourth)


def trusted_time(
    path: Callable[[Precision], ArrayLike],
    coarse: Precision,
    fine: Precision,
    dt: float,
    tolerance: float,
    scale: ArrayLike | None = None,
) -> FloatArray:
    """Return the time up to which a numerical trajectory of a chaotic system can be trusted.

    The trajectory is computed twice; the time is that of the last sample before the two differ. It
    limits the error of the coarse path if the fine one is clearly better; rounding also makes them
    differ. No forecast can be verified for a longer time.

    Parameters
    ----------
    path : callable
        Maps a precision (a tolerance, or a number of substeps) to a trajectory, shape
        (..., steps + 1, d); row 0 is the initial state, leading axes are starts.
    coarse, fine
        The two precisions; the second is the better one.
    dt : float
        Time from one sample to the next.
    tolerance : float
        Largest distance, as root mean square over the variables, each divided by its scale.
    scale : array_like, broadcastable to (d,), optional
        Scale of each variable; by default its standard deviation along the fine path.

    Returns
    -------
    ndarray, shape (...)
        Time in the unit of `dt`. Paths that never differ give their whole length, a lower bound.

    Raises
    ------
    ValueError
        If the shapes of the paths differ or they have no step; see also `valid_prediction_time`.
    """
    first, second = (np.asarray(path(level), np.float64) for level in (coarse, fine))
    if first.shape != second.shape or first.ndim < 2 or first.shape[-2] < 2:
        raise ValueError(
            f"path: found shapes {first.shape} and {second.shape}, allowed: twice the same "
            f"(..., steps + 1, d), steps at least 1"
        )
    if scale is None:
        scale = second.reshape(-1, second.shape[-1]).std(axis=0)
    return valid_prediction_time(
        first[..., 1:, :], second[..., 1:, :], dt, 1.0, tolerance, "nrmse", scale
    )
