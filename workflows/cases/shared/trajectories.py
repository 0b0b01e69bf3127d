"""Trajectories of chaotic systems: many at once, and how long they can be trusted."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gfrnn.pipeline.reduction.progress import Progress, ProgressUpdate
from gfrnn_core.metrics import ErrorNorm, valid_prediction_time
from gfrnn_core.rollout import UnstableRollout
from gfrnn_core.systems import System
from gfrnn_core.systems.integration import integrate, trusted_time

Array = NDArray[Any]

TRAIN_SEED, TEST_SEED, VALIDATION_SEED = 0, 1, 2
"""Seeds of the initial states, so that no trajectory serves two purposes."""

FINE, COARSE = 3e-14, 1e-13
"""Tolerances of the truth and of the integration that it is compared with."""

TRUST = 0.03
"""Largest distance of two integrations, relative to the scale, at which the truth is trusted."""


def trajectories(
    system: System, starts: ArrayLike, dt: float, steps: int, tolerance: float = FINE
) -> Array:
    """Integrate many initial states together.

    Parameters
    ----------
    system : System
    starts : array_like, shape (starts, d)
    dt : float
        Time from one sample to the next.
    steps : int
    tolerance : float
        Relative and absolute tolerance of a step of the integration.

    Returns
    -------
    ndarray, shape (starts, steps + 1, d)
        The first sample is the initial state.
    """
    first = np.asarray(starts, dtype=float)

    def tendency(states: Array) -> Array:
        return np.asarray(system.tendency(states.reshape(first.shape)).ravel())

    path = integrate(tendency, first.ravel(), dt, steps, rtol=tolerance, atol=tolerance)
    return np.ascontiguousarray(path.reshape(steps + 1, *first.shape).swapaxes(0, 1))


def attractor_states(
    system: System, count: int, seed: int, time: float, deviation: float = 0.3
) -> Array:
    """Return independent states on the attractor, shape (count, d).

    Parameters
    ----------
    system : System
    count : int
    seed : int
        Each seed gives other states; training, validation and test have seeds of their own.
    time : float
        Time of integration from near the system's initial state to the returned state.
    deviation : float
        Standard deviation of the perturbations of the initial state, relative to its largest
        coordinate.
    """
    rng = np.random.default_rng(seed)
    centre = np.array(system.initial)
    first = centre + deviation * np.abs(centre).max() * rng.standard_normal((count, len(centre)))
    return trajectories(system, first, time, 1, tolerance=1e-10)[:, -1]


def long_trajectory(
    first: Array,
    times: int,
    piece: int,
    integrate_from: Callable[[Array, int], Array],
    progress: Progress,
) -> Array:
    """Integrate a training series piece by piece and report the progress after each.

    Parameters
    ----------
    first : ndarray, shape (d,)
        Initial state, the first of the series.
    times : int
    piece : int
        Largest number of steps of a piece.
    integrate_from : callable
        (state, steps) to a trajectory of shape (steps + 1, d) from that state.
    progress : callable

    Returns
    -------
    ndarray, shape (times, d)
    """
    pieces = [first[None]]
    progress(ProgressUpdate("training series", 0, times))
    while (done := sum(map(len, pieces))) < times:
        steps = min(piece, times - done)
        pieces.append(integrate_from(pieces[-1][-1], steps)[1:])
        progress(ProgressUpdate("training series", done + steps, times))
    return np.concatenate(pieces)


@dataclass(frozen=True)
class Truth:
    """True trajectories after some initial states, and the time for which they can be trusted.

    Attributes
    ----------
    starts : ndarray, shape (starts, d)
        Initial states.
    states : ndarray, shape (starts, steps, d)
        States from the first step after the initial one on.
    trusted_time : ndarray, shape (starts,)
        In the unit of time of the system.
    """

    starts: Array
    states: Array
    trusted_time: Array

    @classmethod
    def follow(cls, system: System, starts: Array, dt: float, steps: int, scale: Array) -> Truth:
        """Integrate at two tolerances; the truth is trusted until the results differ.

        Parameters
        ----------
        system : System
        starts : ndarray, shape (starts, d)
        dt : float
        steps : int
        scale : ndarray, shape (d,)
            Divisor of the differences of each variable, which are compared with ``TRUST``.
        """
        fine = trajectories(system, starts, dt, steps)
        coarse = trajectories(system, starts, dt, steps, COARSE)
        return cls.compare(starts, coarse, fine, dt, scale)

    @classmethod
    def compare(
        cls, starts: Array, coarse: Array, fine: Array, dt: float, scale: float | Array
    ) -> Truth:
        """Take the finer of two integrations, trusted until the two differ.

        Parameters
        ----------
        starts : ndarray, shape (starts, d)
        coarse, fine : ndarray, shape (starts, steps + 1, d)
        dt : float
        scale : float or ndarray of shape (d,)
        """
        paths = {COARSE: coarse, FINE: fine}
        trusted = trusted_time(paths.__getitem__, COARSE, FINE, dt, TRUST, scale)
        return cls(starts, fine[:, 1:], trusted)

    def valid_times(
        self,
        forecast: Array,
        dt: float,
        exponent: float,
        threshold: float,
        norm: ErrorNorm = "nrmse",
        scale: ArrayLike | None = None,
    ) -> Array:
        """Return valid prediction times, at most the trusted time of each trajectory.

        Parameters
        ----------
        forecast : ndarray, shape (starts, steps, d)
        dt, exponent, threshold, norm, scale
            See :func:`gfrnn_core.metrics.valid_prediction_time`.

        Returns
        -------
        ndarray, shape (starts,)
            In Lyapunov times.
        """
        found = valid_prediction_time(forecast, self.states, dt, exponent, threshold, norm, scale)
        return np.minimum(found, self.trusted_time * exponent)


@contextmanager
def divergence_allowed() -> Iterator[None]:
    """Suppress warnings of rollouts that diverge; their scores show it."""
    with warnings.catch_warnings(), np.errstate(over="ignore", invalid="ignore"):
        warnings.simplefilter("ignore", UnstableRollout)
        yield
