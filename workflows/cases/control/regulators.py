"""Regulators that are designed from training runs of the control problem."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.workflows.cases.control.control_problem import ControlProblem, Policy
from gfrnn_core import SampledRNN
from gfrnn_core.control import Regulator, Response, fit_lifted
from gfrnn_core.lifting import lift

Array = NDArray[Any]


def training_runs(problem: ControlProblem, seed: int) -> tuple[Array, Array]:
    """Simulate training runs under random inputs.

    Returns
    -------
    states : ndarray, shape (runs, times + 1, 2)
    inputs : ndarray, shape (runs, times + 1, 1)
        The input at time t is that of the step that ends in the state at time t.
    """
    data, rng = problem.settings.data, np.random.default_rng([seed, 3])
    inputs = rng.uniform(-data.push, data.push, (data.runs, data.times + 1, 1))
    states = np.empty((data.runs, data.times + 1, 2))
    states[:, 0] = rng.uniform(-data.reach, data.reach, (data.runs, 2))
    for t in range(1, data.times + 1):
        states[:, t] = problem.step(states[:, t - 1], inputs[:, t])
    return states, inputs


def design(
    problem: ControlProblem,
    runs: tuple[Array, Array],
    seed: int,
    width: int,
    response: Response = "target",
) -> Policy | None:
    """Fit a lifted linear system to training runs and design its LQR.

    Parameters
    ----------
    problem : ControlProblem
    runs : tuple of ndarray
        States and inputs of :func:`training_runs`.
    seed : int
        Seed of the hidden weights.
    width : int
        Number of hidden features; with 0 the system is a linear fit.
    response : Response
        Definition of the response of lifted functions to inputs.

    Returns
    -------
    callable or None
        None if the Riccati equation of the fitted system has no solution.
    """
    settings, (states, inputs) = problem.settings.network, map(list, runs)
    network = SampledRNN(
        width,
        sampling=settings.sampling,
        scale=settings.scale,
        target="lifted",
        standardise=False,
        seed=seed,
    ).prepare(states, inputs)
    hidden = network.hidden
    assert hidden is not None, "prepared networks have hidden weights"
    operator, weights = fit_lifted(
        network.factorise(states, inputs),
        inputs=1,
        rank=None if settings.rank is None else min(settings.rank, width + 3),
        first=3,  # after the two coordinates and the constant
    )
    try:
        return Regulator.design(
            operator,
            weights,
            lambda h: lift(h, None, hidden),
            [0.0, 0.0],
            *problem.weights,
            constant=2,
            response=response,
        )
    except ValueError:
        return None


def uncontrolled(states: Array) -> Array:
    """Return inputs of zero."""
    return np.zeros((*states.shape[:-1], 1))
