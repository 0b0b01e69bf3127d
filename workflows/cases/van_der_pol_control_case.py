"""Forced Van der Pol oscillator: LQR in the lifted space brings it to rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import scipy.linalg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pydantic import PositiveFloat, PositiveInt

from gfrnn.pipeline.config.section import Section
from gfrnn.pipeline.reduction.progress import Progress, ProgressUpdate
from gfrnn.workflows.reproduce.case import Bar, Case, CaseResult, Entry, Score, Validation
from gfrnn.workflows.reproduce.figure_style import STYLES
from gfrnn.workflows.reproduce.timing import timed
from gfrnn_core import SampledRNN
from gfrnn_core.control import Regulator, Response, fit_lifted, lqr, quadratic_cost, simulate
from gfrnn_core.lifting import lift
from gfrnn_core.sampling import Sampling
from gfrnn_core.systems import runge_kutta_step, van_der_pol_tendency

Array = NDArray[Any]
Policy = Callable[[Array], Array]

OURS = "lifted LQR"
MEAN = "lifted LQR, mean response"
LINEAR = "LQR on a linear fit"
TRUE = "LQR on the true linearisation"
FREE = "no control"

# Seeds of the starts, and what is added to a seed so that validation has data of its own.
TEST_SEED, VALIDATION_SEED, _VALIDATION_DATA = 1, 2, 100_000
# Runge-Kutta steps in one step of the system: an error of some 1e-8.
_SUBSTEPS = 2

COST = Score("cost", "cost")
RELATIVE = Score("relative", "cost relative to true LQR")
NEAR = Score("near", "the same, starts near rest")
SHARE = Score("share", "cost relative to no control")


class CostWeights(Section):
    """Cost of one step: ``state |h|^2 + input u^2``."""

    state: PositiveFloat
    input: PositiveFloat


class ControlStarts(Section):
    """Uniform in a square of half width ``reach``; near rest: the same, shrunk to ``near``."""

    count: PositiveInt
    reach: PositiveFloat
    near: PositiveFloat


class ControlData(Section):
    """Runs of ``times`` steps from a square, under uniform random inputs up to ``push``."""

    runs: PositiveInt
    times: PositiveInt
    reach: PositiveFloat
    push: PositiveFloat


class ControlNetwork(Section):
    """The dictionary, and how many of its singular directions are kept."""

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
    """The system, what a run costs, and where runs start."""

    settings: ControlSettings
    starts: Array

    @classmethod
    def make(cls, settings: ControlSettings, seed: int) -> ControlProblem:
        """With the starts of a seed."""
        where = settings.starts
        drawn = np.random.default_rng(seed).uniform(-where.reach, where.reach, (where.count, 2))
        return cls(settings, drawn)

    @property
    def weights(self) -> tuple[Array, Array]:
        """Return the weights of states and of inputs."""
        return self.settings.cost.state * np.eye(2), self.settings.cost.input * np.eye(1)

    def step(self, states: Array, inputs: Array) -> Array:
        """States ``dt`` later, the inputs held."""
        tendency = partial(van_der_pol_tendency, inputs=inputs, mu=self.settings.mu)
        for _ in range(_SUBSTEPS):
            states = runge_kutta_step(tendency, states, self.settings.dt / _SUBSTEPS)
        return states

    def true_gain(self) -> Array:
        """LQR on the exact discrete linear system around rest."""
        rates = np.array([[0, 1, 0], [-1, self.settings.mu, 1], [0, 0, 0]])
        flow = scipy.linalg.expm(self.settings.dt * rates)
        return lqr(flow[:2, :2], flow[:2, 2:], *self.weights)[0]

    def loop(self, policy: Policy, starts: Array) -> tuple[Array, Array]:
        """States and inputs of a closed loop on the true system."""
        with np.errstate(over="ignore", invalid="ignore"):  # a bad regulator may run away
            return simulate(self.step, starts, self.settings.steps, policy)

    def costs(self, policy: Policy | None) -> tuple[float, float]:
        """Mean over all starts, and over those near rest; infinite for what runs away."""
        if policy is None:
            return np.inf, np.inf
        where = self.settings.starts
        starts = np.stack([self.starts, self.starts * (where.near / where.reach)])
        with np.errstate(over="ignore", invalid="ignore"):
            found = quadratic_cost(*self.loop(policy, starts), *self.weights).mean(axis=1)
        far, close = np.where(np.isfinite(found), found, np.inf).tolist()
        return far, close


def record(problem: ControlProblem, seed: int) -> tuple[Array, Array]:
    """Training runs: states, (runs, times + 1, 2), and inputs, (runs, times + 1, 1).

    The inputs of time t led to the states of time t.
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
    """The regulator from training runs; None where the lifted system has none."""
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
        first=3,  # behind the two coordinates and the constant
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
    """No input."""
    return np.zeros((*states.shape[:-1], 1))


def validation_cost(settings: ControlSettings, seed: int) -> float:
    """Cost relative to true LQR on validation starts, from data of its own: near and far, mean."""
    problem = ControlProblem.make(settings, VALIDATION_SEED)
    gain = problem.true_gain()
    best = problem.costs(lambda h: -h @ gain.T)
    runs = record(problem, seed + _VALIDATION_DATA)
    policy, _ = timed(
        partial(design, problem, runs, seed + _VALIDATION_DATA, settings.network.width)
    )
    return float(np.mean(np.divide(problem.costs(policy), best)))


def run(settings: ControlSettings, seeds: Sequence[int], progress: Progress) -> CaseResult:
    """Costs of every regulator on the same test starts."""
    problem = ControlProblem.make(settings, TEST_SEED)
    gain = problem.true_gain()

    def true(states: Array) -> Array:
        return -states @ gain.T

    variants: dict[str, tuple[int, Response]] = {
        OURS: (settings.network.width, "target"),
        MEAN: (settings.network.width, "mean"),
        LINEAR: (0, "mean"),
    }
    policies: dict[str, list[Policy | None]] = {name: [] for name in variants}
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    progress(ProgressUpdate("regulators", 0, len(seeds)))
    for done, seed in enumerate(seeds, start=1):
        runs = record(problem, seed)
        for name, (width, response) in variants.items():
            policy, took = timed(partial(design, problem, runs, seed, width, response))
            policies[name].append(policy)
            seconds[name].append(took)
        progress(ProgressUpdate("regulators", done, len(seeds)))
    best, free = problem.costs(true), problem.costs(uncontrolled)

    def scores(tried: Sequence[Policy | None]) -> dict[str, list[float]]:
        far, near = np.transpose([problem.costs(policy) for policy in tried])
        return {
            "cost": list(far),
            "relative": list(far / best[0]),
            "near": list(near / best[1]),
            "share": list(far / free[0]),
        }

    entries = [
        Entry(OURS, "ours", scores(policies[OURS]), seconds[OURS]),
        Entry(MEAN, "peer", scores(policies[MEAN]), seconds[MEAN]),
        Entry(LINEAR, "reference", scores(policies[LINEAR]), seconds[LINEAR]),
        Entry(TRUE, "reference", scores([true])),
        Entry(FREE, "reference", scores([uncontrolled])),
    ]
    return CaseResult(
        title="Van der Pol oscillator with control",
        about=_about(settings),
        scores=(COST, RELATIVE, NEAR, SHARE),
        entries=entries,
        draw=partial(_draw, problem, policies[OURS][0], true),
        caption=(
            "Left: the first test starts in the phase plane, brought to rest by the lifted LQR and "
            "by LQR on the true linearisation; without control they end on the limit cycle. Right: "
            "the inputs over time from the start farthest from rest."
        ),
        bars=(
            Bar("relative", OURS, value=1.05, text="5% above LQR on the true linearisation"),
            Bar("near", OURS, value=1.05, text="the same where that linearisation holds"),
            Bar("share", OURS, value=0.1, text="far less than without control: a tenth"),
        ),
        notes=_notes(entries[0]),
    )


def _about(settings: ControlSettings) -> tuple[str, ...]:
    data, where = settings.data, settings.starts
    return (
        f"dx/dt = v, dv/dt = mu (1 - x^2) v - x + u with mu = {settings.mu:g}; u is held for "
        f"{settings.dt:g}. Rest is unstable without control.",
        f"Training: {data.runs} runs of {data.times} steps from a square of half width "
        f"{data.reach:g}, under random inputs up to {data.push:g}. Lifted LQR takes the "
        "inputs' effect on the functions at rest; with the mean response it is the mean over "
        "the data, as in Korda & Mezic (Automatica 93, 2018).",
        f"Cost: the sum over {settings.steps} steps of {settings.cost.state:g} (x^2 + v^2) + "
        f"{settings.cost.input:g} u^2, on the true system, mean of {where.count} test starts from "
        f"a square of half width {where.reach:g}; near rest: the same starts shrunk to "
        f"{where.near:g}.",
    )


def _notes(ours: Entry) -> tuple[str, ...]:
    far, near = max(ours.values("relative")), max(ours.values("near"))
    notes = [
        f"The worst seed of {OURS}: {far:.3f} times the cost of true LQR, near rest {near:.3f}."
    ]
    quartiles = ours.quartiles("relative")
    if quartiles is not None and quartiles[1] < 1:
        notes.append(
            "LQR on the linearisation is the optimum near rest only; on starts this far off the "
            "lifted LQR, which knows the nonlinear system, is cheaper."
        )
    return tuple(notes)


def _draw(problem: ControlProblem, ours: Policy | None, true: Policy, figure: Figure) -> None:
    plane, forces = figure.subplots(1, 2)
    shown = problem.starts[:4]
    far = problem.starts[np.argmax(np.linalg.norm(problem.starts, axis=1))]
    times = problem.settings.dt * np.arange(problem.settings.steps)
    policies = {OURS: ours, TRUE: true, FREE: uncontrolled}
    styles = dict(zip(policies, (STYLES[0], STYLES[1], STYLES[4]), strict=True))
    # What comes first lies below.
    for name in reversed(policies):
        policy = policies[name]
        if policy is None:
            continue
        states, _ = problem.loop(policy, shown)
        plane.plot(states[..., 0], states[..., 1], **styles[name])
        forces.plot(times, problem.loop(policy, far)[1][:, 0], label=name, **styles[name])
    plane.plot(shown[:, 0], shown[:, 1], "o", color="0.15", markersize=4)
    plane.plot(0, 0, "+", color="0.15", markersize=10)
    plane.set(xlabel="x", ylabel="v", title="phase plane")
    forces.set(xlabel="time", ylabel="u", title="input")
    forces.legend()


CASE = Case(
    name="van-der-pol-control",
    summary="Forced Van der Pol oscillator brought to rest by LQR in the lifted space",
    settings=ControlSettings,
    run=run,
    validations={
        "regulator": Validation(
            Score("excess", "cost relative to true LQR, validation starts"), validation_cost
        )
    },
)
