"""Trajectories of the systems of the cases: many at once, and how long they can be trusted."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gfrnn_core.rollout import UnstableRollout
from gfrnn_core.systems import System
from gfrnn_core.systems.integration import integrate, trusted_time

Array = NDArray[Any]

FINE, COARSE = 3e-14, 1e-13
"""Tolerances of the truth and of what it is compared with to see how long it holds."""


def along(
    system: System, starts: ArrayLike, dt: float, steps: int, tolerance: float = FINE
) -> Array:
    """Trajectories from many starts, integrated together.

    Parameters
    ----------
    system : System
    starts : array_like, shape (starts, d)
    dt : float
        Time from one sample to the next.
    steps : int
    tolerance : float
        Relative and absolute, of a step of the integration.

    Returns
    -------
    ndarray, shape (starts, steps + 1, d)
        The starts first.
    """
    first = np.asarray(starts, dtype=float)

    def tendency(states: Array) -> Array:
        return np.asarray(system.tendency(states.reshape(first.shape)).ravel())

    path = integrate(tendency, first.ravel(), dt, steps, rtol=tolerance, atol=tolerance)
    return np.ascontiguousarray(path.reshape(steps + 1, *first.shape).swapaxes(0, 1))


def scattered(system: System, count: int, seed: int, time: float, spread: float = 0.3) -> Array:
    """States on the attractor that know nothing of each other: shape (count, d).

    Parameters
    ----------
    system : System
    count : int
    seed : int
        Another seed, another part of the attractor: training, validation and test have their own.
    time : float
        How long the system runs from around its initial state before a state is taken.
    spread : float
        Standard deviation of the first states about the system's initial one, as a share of its
        largest coordinate.
    """
    rng = np.random.default_rng(seed)
    centre = np.array(system.initial)
    first = centre + spread * np.abs(centre).max() * rng.standard_normal((count, len(centre)))
    return along(system, first, time, 1, tolerance=1e-10)[:, -1]


@dataclass(frozen=True)
class Truth:
    """True trajectories after some starts, and the time for which they can be trusted.

    Attributes
    ----------
    starts : ndarray, shape (starts, d)
    path : ndarray, shape (starts, steps, d)
        From the first step after the start on.
    trusted : ndarray, shape (starts,)
        In the system's unit of time.
    """

    starts: Array
    path: Array
    trusted: Array

    @classmethod
    def follow(
        cls, system: System, starts: Array, dt: float, steps: int, tolerance: float, scale: Array
    ) -> Truth:
        """Integrate at two tolerances; the truth is trusted until the two part.

        Parameters
        ----------
        system : System
        starts : ndarray, shape (starts, d)
        dt : float
        steps : int
        tolerance : float
            Largest distance, see :func:`gfrnn_core.systems.integration.trusted_time`.
        scale : ndarray, shape (d,)
            By which each variable is divided.
        """
        fine = along(system, starts, dt, steps)
        coarse = along(system, starts, dt, steps, COARSE)
        paths = {COARSE: coarse, FINE: fine}
        trusted = trusted_time(paths.__getitem__, COARSE, FINE, dt, tolerance, scale)
        return cls(starts, fine[:, 1:], trusted)


@contextmanager
def quietly() -> Iterator[None]:
    """Rollouts that run away warn nobody here: their scores say it."""
    with warnings.catch_warnings(), np.errstate(over="ignore", invalid="ignore"):
        warnings.simplefilter("ignore", UnstableRollout)
        yield
