"""Dynamical systems with known answers, and the reference integrator for their trajectories."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import solve_ivp

from gfrnn_core.quasigeostrophic import TwoLayerQG

__all__ = [
    "LORENZ63",
    "LORENZ63_LYAPUNOV_EXPONENT",
    "System",
    "TwoLayerQG",
    "integrate",
    "lorenz63_tendency",
    "lorenz63_trajectory",
]

FloatArray = NDArray[np.float64]
Tendency = Callable[[FloatArray], FloatArray]

LORENZ63_LYAPUNOV_EXPONENT = 0.9056
"""Largest Lyapunov exponent of Lorenz 63 at the standard parameters, per unit of time.

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


@dataclass(frozen=True)
class System:
    """An autonomous chaotic system with its reference figures.

    Parameters
    ----------
    name : str
        As it appears in reports.
    tendency : callable
        State, shape (d,), to its time derivative, shape (d,).
    dimension : int
        d.
    lyapunov_exponent : float
        Largest one, per unit of the system's time.
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
