"""Ordinary differential equations: Lorenz 63, Lorenz 96, Roessler, Van der Pol."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gfrnn_core.systems.integration import Tendency, integrate

FloatArray = NDArray[np.float64]

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


@dataclass(frozen=True)
class System:
    """An autonomous system of ordinary differential equations with reference values.

    Parameters
    ----------
    name : str
        Name in reports.
    tendency : callable
        Maps a state, shape (d,), to its time derivative, shape (d,).
    dimension : int
        d.
    lyapunov_exponent : float
        Largest exponent, per unit of time of the system; 0 for a limit cycle, nan if not known.
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
        """Return a reference trajectory, shape (steps + 1, d), after a spin-up.

        Parameters
        ----------
        dt : float
            Sampling interval.
        steps : int
            Samples after the first one returned.
        initial : array_like, shape (d,), optional
            Start of the spin-up; the system's own by default.
        spinup : int
            Number of samples to discard, for the transient to the attractor.

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
    """Return the time derivative of the system of Lorenz (1963), J. Atmos. Sci. 20, 130-141.

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


def lorenz96_tendency(state: FloatArray, forcing: float = 10.0) -> FloatArray:
    """Return the time derivative of the system of Lorenz (1996).

    ``dx_i/dt = (x_{i+1} - x_{i-2}) x_{i-1} - x_i + F`` on a circle. The product conserves energy,
    ``sum_i x_i^2 / 2``. Source: Proc. ECMWF Seminar on Predictability, 1-18.

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
    state = np.asarray(state, dtype=float)
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
    """Return a Lorenz 96 system of any size and forcing.

    Its initial state is the fixed point ``x_i = F`` with one variable moved by 1, off the
    attractor: discard about 10 units of time as spin-up.

    Parameters
    ----------
    size : int
        Number of variables, at least 4.
    forcing : float
        F; chaos with 40 variables starts near 4.5.
    lyapunov_exponent : float
        Largest exponent, per unit of time; it depends on size and forcing.

    Raises
    ------
    ValueError
        If there are fewer than 4 variables.
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
    """Return the time derivative of the system of Roessler (1976), Phys. Lett. A 57, 397-398.

    Parameters
    ----------
    state : ndarray, shape (..., 3)
        x, y, z; leading axes hold independent states.
    a, b, c : float
        Parameters of the system, without units.

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
    """Return the time derivative of van der Pol's oscillator, free or forced.

    ``dx/dt = v``, ``dv/dt = mu (1 - x^2) v - x + u`` (van der Pol 1926, Phil. Mag. 2, 978-992).

    Parameters
    ----------
    state : ndarray, shape (..., 2)
        x, v; leading axes hold independent states.
    inputs : array_like, broadcastable to (..., 1), optional
        Input u; None gives the free oscillator.
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
