"""Control problem: the forced Van der Pol oscillator, its cost and the initial states of runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from pydantic import PositiveFloat, PositiveInt

from gfrnn.pipeline.config.section import Section
from gfrnn_core.control import lqr, quadratic_cost, simulate
from gfrnn_core.sampling import Sampling
from gfrnn_core.systems import runge_kutta_step, van_der_pol_tendency

Array = NDArray[Any]
Policy = Callable[[Array], Array]
"""Function from states, shape (..., 2), to inputs, shape (..., 1)."""

# Two Runge-Kutta steps in one step of the system have an error of about 1e-8.
_SUBSTEPS = 2


class CostWeights(Section):
    """Weights in the cost of one step, ``state |h|^2 + input u^2``."""

    state: PositiveFloat
    input: PositiveFloat


class ControlStarts(Section):
    """Initial states, uniform in a square of half width ``reach`` (near rest: ``near``)."""

    count: PositiveInt
    reach: PositiveFloat
    near: PositiveFloat


class ControlData(Section):
    """Training runs of ``times`` steps from a square, with random inputs up to ``push``."""

    runs: PositiveInt
    times: PositiveInt
    reach: PositiveFloat
    push: PositiveFloat


class ControlNetwork(Section):
    """Hidden weights, and the number of singular directions that are kept."""

    sampling: Sampling
    scale: PositiveFloat
    width: PositiveInt
    rank: PositiveInt | None


class ControlSettings(Section):
    """Settings of the case."""

    mu: float
    dt: PositiveFloat
    steps: PositiveInt
    cost: CostWeights
    starts: ControlStarts
    data: ControlData
    network: ControlNetwork


@dataclass(frozen=True)
class ControlProblem:
    """The true system with the cost and the initial states of closed-loop runs.

    Attributes
    ----------
    settings : ControlSettings
    starts : ndarray, shape (starts, 2)
        Initial states.
    """

    settings: ControlSettings
    starts: Array

    @classmethod
    def make(cls, settings: ControlSettings, seed: int) -> ControlProblem:
        """Draw the initial states of a seed."""
        square = settings.starts
        size = (square.count, 2)
        starts = np.random.default_rng(seed).uniform(-square.reach, square.reach, size)
        return cls(settings, starts)

    @property
    def weights(self) -> tuple[Array, Array]:
        """Weight matrices of states and of inputs."""
        return self.settings.cost.state * np.eye(2), self.settings.cost.input * np.eye(1)

    def step(self, states: Array, inputs: Array) -> Array:
        """Return the states ``dt`` later under constant inputs."""
        tendency = partial(van_der_pol_tendency, inputs=inputs, mu=self.settings.mu)
        for _ in range(_SUBSTEPS):
            states = runge_kutta_step(tendency, states, self.settings.dt / _SUBSTEPS)
        return states

    def true_gain(self) -> Array:
        """Return the LQR gain of the exact discrete linearisation at rest, shape (1, 2)."""
        rates = np.array([[0, 1, 0], [-1, self.settings.mu, 1], [0, 0, 0]])
        flow = scipy.linalg.expm(self.settings.dt * rates)
        return lqr(flow[:2, :2], flow[:2, 2:], *self.weights)[0]

    def true_lqr(self) -> Policy:
        """Return the policy of :meth:`true_gain`."""
        gain = self.true_gain()
        return lambda states: -states @ gain.T

    def closed_loop(self, policy: Policy, starts: Array) -> tuple[Array, Array]:
        """Simulate the true system under a policy; return states and inputs."""
        with np.errstate(over="ignore", invalid="ignore"):  # a bad regulator may diverge
            return simulate(self.step, starts, self.settings.steps, policy)

    def costs(self, policy: Policy | None) -> tuple[float, float]:
        """Return the mean costs from the initial states and from those shrunk to near rest.

        A cost is infinite if a run diverges, and both are if there is no policy.
        """
        if policy is None:
            return np.inf, np.inf
        square = self.settings.starts
        starts = np.stack([self.starts, self.starts * (square.near / square.reach)])
        with np.errstate(over="ignore", invalid="ignore"):
            found = quadratic_cost(*self.closed_loop(policy, starts), *self.weights).mean(axis=1)
        far, near = np.where(np.isfinite(found), found, np.inf).tolist()
        return far, near
