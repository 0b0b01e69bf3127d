"""Dynamical systems with known answers, and the reference integrator for their trajectories."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import solve_ivp

from gfrnn_core.kuramoto import KuramotoSivashinsky
from gfrnn_core.mackey_glass import MackeyGlass
from gfrnn_core.metrics import valid_prediction_time
from gfrnn_core.quasigeostrophic import TwoLayerQG

__all__ = [
    "LORENZ63",
    "LORENZ63_LYAPUNOV_EXPONENT",
    "LORENZ96",
    "LORENZ96_LYAPUNOV_EXPONENT",
    "ROESSLER",
    "ROESSLER_LYAPUNOV_EXPONENT",
    "VAN_DER_POL",
    "KuramotoSivashinsky",
    "MackeyGlass",
    "System",
    "TwoLayerQG",
    "integrate",
    "lorenz63_tendency",
    "lorenz63_trajectory",
    "lorenz96",
    "lorenz96_tendency",
    "roessler_tendency",
    "runge_kutta_step",
    "trusted_time",
    "van_der_pol_tendency",
]

FloatArray = NDArray[np.float64]
Tendency = Callable[[FloatArray], FloatArray]
Precision = TypeVar("Precision")

LORENZ63_LYAPUNOV_EXPONENT = 0.9056
"""Largest Lyapunov exponent of Lorenz 63 at the standard parameters, per unit of time.

Sprott (2003), Chaos and Time-Series Analysis, appendix A.
"""

LORENZ96_LYAPUNOV_EXPONENT = 2.27
"""Largest Lyapunov exponent of Lorenz 96 with 40 variables and forcing 10, per unit of time.

Vlachas et al. (2020), Neural Networks 126, 191-217.
"""

ROESSLER_LYAPUNOV_EXPONENT = 0.0714
"""Largest Lyapunov exponent of Roessler's system at a = b = 0.2, c = 5.7, per unit of time.

Sprott (2003), Chaos and Time-Series Analysis, appendix A.
"""


def integrate(
    tendency: Tendency,
    initial: ArrayLike,
    dt: float,
    steps: int,
    rtol: float = 1e-12,
    atol: float = 1e-12,
) -> FloatArray:
    """Integrate an autonomous system of ordinary differential equations.

    Dormand and Prince's method of order 8 with its own step control (Hairer, Norsett and Wanner,
    Solving Ordinary Differential Equations I, section II.10), sampled at multiples of `dt`.

    Parameters
    ----------
    tendency : callable
        State, shape (d,), to its time derivative, shape (d,).
    initial : array_like, shape (d,)
        State at time zero.
    dt : float
        Sampling interval, in the system's unit of time.
    steps : int
        Number of samples after the initial state.
    rtol, atol : float
        Tolerances of one internal step; `atol` in the state's units.

    Returns
    -------
    ndarray, shape (steps + 1, d), float64
        The trajectory; row 0 is `initial`.

    Raises
    ------
    ValueError
        If `dt` is not positive, `steps` is negative, or `initial` is not a finite vector.
    ArithmeticError
        If the integrator gives up, as it does when the solution leaves in finite time.
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
    """State `dt` later by one step of the classical Runge-Kutta method of order four.

    For many states at once and for controlled systems, where `integrate` cannot go: its error is
    that of `dt`, with no control of it.

    Parameters
    ----------
    tendency : callable
        States, shape (..., d), to their time derivatives; close over an input held for the step.
    state : ndarray, shape (..., d)
        Left as it is.
    dt : float
        In the system's unit of time.

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
    """Up to which time a numerical truth of a chaotic system is one.

    The trajectory is computed twice; the time is that of the last sample before the two part. It
    bounds the error of the coarse path, if the fine one is clearly better; rounding parts them
    too. No forecast can be said to be good for longer than that.

    Parameters
    ----------
    path : callable
        Precision (a tolerance, or a number of substeps) to a trajectory, shape
        (..., steps + 1, d), row 0 the initial state, leading axes starts.
    coarse, fine
        The two precisions; the second the better one.
    dt : float
        Time from one sample to the next.
    tolerance : float
        Largest distance, as root mean square over the variables, each divided by its scale.
    scale : array_like, broadcastable to (d,), optional
        By default the standard deviation of each variable along the fine path.

    Returns
    -------
    ndarray, shape (...)
        In the unit of `dt`. Paths that never part give their whole length, a lower bound.

    Raises
    ------
    ValueError
        For paths whose shapes differ or that have no step, and as `valid_prediction_time` does.

    Examples
    --------
    >>> def path(tolerance: float) -> FloatArray:
    ...     return integrate(LORENZ63.tendency, (1.0, 1.0, 25.0), 0.1, 400, tolerance, tolerance)
    >>> 20 < trusted_time(path, 1e-8, 1e-11, 0.1, tolerance=1e-2) < 40
    True
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


@dataclass(frozen=True)
class System:
    """An autonomous system of ordinary differential equations with its reference figures.

    Parameters
    ----------
    name : str
        As it appears in reports.
    tendency : callable
        State, shape (d,), to its time derivative, shape (d,).
    dimension : int
        d.
    lyapunov_exponent : float
        Largest one, per unit of the system's time; 0 for a limit cycle, nan where not known.
    initial : tuple of float
        A state near the attractor, the default start of trajectories.
    """

    name: str
    tendency: Tendency
    dimension: int
    lyapunov_exponent: float
    initial: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.initial) != self.dimension:
            raise ValueError(
                f"initial: found {len(self.initial)} values, allowed: dimension={self.dimension}"
            )

    def trajectory(
        self, dt: float, steps: int, initial: ArrayLike | None = None, spinup: int = 0
    ) -> FloatArray:
        """Reference trajectory, shape (steps + 1, d), after `spinup` samples left out.

        Parameters
        ----------
        dt : float
            Sampling interval.
        steps : int
            Samples after the first one returned.
        initial : array_like, shape (d,), optional
            Start of the spin-up; the system's own by default.
        spinup : int
            Samples to leave out, for the transient to the attractor.

        Raises
        ------
        ValueError
            If `initial` is not of shape (d,), `spinup` or `steps` is negative, or `dt` is not
            positive.
        """
        start = np.asarray(self.initial if initial is None else initial, np.float64)
        if start.shape != (self.dimension,):
            raise ValueError(f"initial: found shape {start.shape}, allowed: ({self.dimension},)")
        if spinup < 0:
            raise ValueError(f"spinup: {spinup!r} is negative")
        if steps < 0:
            raise ValueError(f"steps: {steps!r} is negative")
        return integrate(self.tendency, start, dt, spinup + steps)[spinup:]


def lorenz63_tendency(
    state: FloatArray, sigma: float = 10.0, rho: float = 28.0, beta: float = 8.0 / 3.0
) -> FloatArray:
    """Time derivative of the system of Lorenz (1963), J. Atmos. Sci. 20, 130-141.

    Parameters
    ----------
    state : ndarray, shape (..., 3)
        x, y, z; leading axes hold independent states.
    sigma, rho, beta : float
        Prandtl number, relative Rayleigh number and aspect factor, all without units.

    Returns
    -------
    ndarray, shape (..., 3)
    """
    x, y, z = state[..., 0], state[..., 1], state[..., 2]
    return np.stack([sigma * (y - x), x * (rho - z) - y, x * y - beta * z], axis=-1)


LORENZ63 = System(
    name="Lorenz 63",
    tendency=lorenz63_tendency,
    dimension=3,
    lyapunov_exponent=LORENZ63_LYAPUNOV_EXPONENT,
    initial=(1.0, 1.0, 25.0),
)
"""Lorenz 63 at the standard parameters."""


def lorenz63_trajectory(initial: ArrayLike, dt: float, steps: int, spinup: int = 0) -> FloatArray:
    """Lorenz 63 trajectory, shape (steps + 1, 3), after `spinup` samples left out.

    See `System.trajectory` for the parameters and errors.
    """
    return LORENZ63.trajectory(dt, steps, initial, spinup)


def lorenz96_tendency(state: FloatArray, forcing: float = 10.0) -> FloatArray:
    """Time derivative of the system of Lorenz (1996), Proc. ECMWF Seminar on Predictability, 1-18.

    ``dx_i/dt = (x_{i+1} - x_{i-2}) x_{i-1} - x_i + F`` on a circle. The product conserves energy,
    ``sum_i x_i^2 / 2``.

    Parameters
    ----------
    state : ndarray, shape (..., d)
        Leading axes hold independent states; d at least 4.
    forcing : float
        F.

    Returns
    -------
    ndarray, shape (..., d)
    """
    # One copy with its neighbours on both sides: five times as fast as three np.roll.
    ring = np.concatenate([state[..., -2:], state, state[..., :1]], axis=-1)
    out: FloatArray = ring[..., 3:] - ring[..., :-3]
    out *= ring[..., 1:-2]
    out -= state
    out += forcing
    return out


def lorenz96(
    size: int = 40, forcing: float = 10.0, lyapunov_exponent: float = float("nan")
) -> System:
    """Lorenz 96 of any size and forcing.

    Its initial state is the fixed point ``x_i = F`` with one variable moved by 1, off the
    attractor: leave some 10 units of time out as spin-up.

    Parameters
    ----------
    size : int
        Number of variables, at least 4.
    forcing : float
        F; chaos with 40 variables starts near 4.5.
    lyapunov_exponent : float
        Largest one, per unit of time; it depends on both others.

    Raises
    ------
    ValueError
        For fewer than 4 variables.
    """
    if size < 4:
        raise ValueError(f"size: found {size}, allowed: at least 4")
    return System(
        name="Lorenz 96",
        tendency=partial(lorenz96_tendency, forcing=forcing),
        dimension=size,
        lyapunov_exponent=lyapunov_exponent,
        initial=(forcing + 1.0,) + (forcing,) * (size - 1),
    )


LORENZ96 = lorenz96(lyapunov_exponent=LORENZ96_LYAPUNOV_EXPONENT)
"""Lorenz 96 with 40 variables and forcing 10."""


def roessler_tendency(
    state: FloatArray, a: float = 0.2, b: float = 0.2, c: float = 5.7
) -> FloatArray:
    """Time derivative of the system of Roessler (1976), Phys. Lett. A 57, 397-398.

    Parameters
    ----------
    state : ndarray, shape (..., 3)
        x, y, z; leading axes hold independent states.
    a, b, c : float
        Without units.

    Returns
    -------
    ndarray, shape (..., 3)
    """
    x, y, z = state[..., 0], state[..., 1], state[..., 2]
    return np.stack([-y - z, x + a * y, b + z * (x - c)], axis=-1)


ROESSLER = System(
    name="Roessler",
    tendency=roessler_tendency,
    dimension=3,
    lyapunov_exponent=ROESSLER_LYAPUNOV_EXPONENT,
    initial=(-9.0, 0.0, 0.0),
)
"""Roessler's system at the standard parameters."""


def van_der_pol_tendency(
    state: FloatArray, inputs: ArrayLike | None = None, mu: float = 1.0
) -> FloatArray:
    """Time derivative of van der Pol's oscillator, free or forced.

    ``dx/dt = v``, ``dv/dt = mu (1 - x^2) v - x + u`` (van der Pol 1926, Phil. Mag. 2, 978-992).

    Parameters
    ----------
    state : ndarray, shape (..., 2)
        x, v; leading axes hold independent states.
    inputs : array_like, broadcastable to (..., 1), optional
        u; none is the free oscillator.
    mu : float
        Strength of the damping, without units.

    Returns
    -------
    ndarray, shape (..., 2)

    Raises
    ------
    ValueError
        If the last axis of `inputs` is not of length 1.
    """
    x, v = state[..., 0], state[..., 1]
    push = mu * (1 - x**2) * v - x
    if inputs is not None:
        force = np.asarray(inputs, np.float64)
        if force.shape[-1:] != (1,):
            raise ValueError(f"inputs: found shape {force.shape}, allowed: (..., 1)")
        push, v = np.broadcast_arrays(push + force[..., 0], v)
    return np.stack([v, push], axis=-1)


VAN_DER_POL = System(
    name="Van der Pol",
    tendency=van_der_pol_tendency,
    dimension=2,
    lyapunov_exponent=0.0,
    initial=(2.0, 0.0),
)
"""The free oscillator with mu = 1, whose limit cycle has the period 6.6633."""
