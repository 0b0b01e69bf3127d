"""Forced Van der Pol oscillator, brought to rest by LQR in the lifted space."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from gfrnn.pipeline.reduction.progress import Progress
from gfrnn.workflows.cases.control.control_problem import ControlProblem, ControlSettings, Policy
from gfrnn.workflows.cases.control.regulators import design, training_runs, uncontrolled
from gfrnn.workflows.cases.shared.step_progress import step_progress
from gfrnn.workflows.cases.shared.trajectories import TEST_SEED, VALIDATION_SEED
from gfrnn.workflows.reproduce.case import Case, Validation
from gfrnn.workflows.reproduce.case_result import Bar, CaseResult, Entry, Score
from gfrnn.workflows.reproduce.figure_style import STYLES
from gfrnn.workflows.reproduce.timing import timed
from gfrnn_core.control import Response

LIFTED = "lifted LQR"
LIFTED_MEAN = "lifted LQR, mean response"
LINEAR_FIT = "LQR on a linear fit"
TRUE_LQR = "LQR on the true linearisation"
NO_CONTROL = "no control"

# Added to the seed, so that validation has training runs and hidden weights of its own.
_VALIDATION_DATA = 100_000

COST = Score("cost", "cost")
RELATIVE = Score("relative", "cost relative to true LQR")
NEAR = Score("near", "cost relative to true LQR, starts near rest")
SHARE = Score("share", "cost relative to no control")


def run(settings: ControlSettings, seeds: Sequence[int], progress: Progress) -> CaseResult:
    """Compute the costs of all regulators from the same test starts."""
    problem = ControlProblem.make(settings, TEST_SEED)
    true_lqr = problem.true_lqr()
    variants: dict[str, tuple[int, Response]] = {
        LIFTED: (settings.network.width, "target"),
        LIFTED_MEAN: (settings.network.width, "mean"),
        LINEAR_FIT: (0, "mean"),
    }
    policies: dict[str, list[Policy | None]] = {name: [] for name in variants}
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    step = step_progress(progress, "regulators", len(seeds))
    for seed in seeds:
        runs = training_runs(problem, seed)
        for name, (width, response) in variants.items():
            policy, took = timed(partial(design, problem, runs, seed, width, response))
            policies[name].append(policy)
            seconds[name].append(took)
        step()
    true_costs, free_costs = problem.costs(true_lqr), problem.costs(uncontrolled)

    def scores(tried: Sequence[Policy | None]) -> dict[str, list[float]]:
        far, near = np.transpose([problem.costs(policy) for policy in tried])
        return {
            "cost": list(far),
            "relative": list(far / true_costs[0]),
            "near": list(near / true_costs[1]),
            "share": list(far / free_costs[0]),
        }

    entries = [
        Entry(LIFTED, "ours", scores(policies[LIFTED]), seconds[LIFTED]),
        Entry(LIFTED_MEAN, "peer", scores(policies[LIFTED_MEAN]), seconds[LIFTED_MEAN]),
        Entry(LINEAR_FIT, "reference", scores(policies[LINEAR_FIT]), seconds[LINEAR_FIT]),
        Entry(TRUE_LQR, "reference", scores([true_lqr])),
        Entry(NO_CONTROL, "reference", scores([uncontrolled])),
    ]
    return CaseResult(
        title="Van der Pol oscillator with control",
        description=_description(settings),
        scores=(COST, RELATIVE, NEAR, SHARE),
        entries=entries,
        draw=partial(_draw, problem, policies[LIFTED][0], true_lqr),
        caption=(
            "Left: runs from the first test starts in the phase plane, brought to rest by the "
            "lifted LQR and by LQR on the true linearisation; without control they end on the "
            "limit cycle. Right: inputs over time from the start farthest from rest."
        ),
        bars=(
            Bar("relative", LIFTED, value=1.05, text="5 % above LQR on the true linearisation."),
            Bar("near", LIFTED, value=1.05, text="5 % above the optimum near rest."),
            Bar("share", LIFTED, value=0.1, text="A tenth of the cost without control."),
        ),
        notes=_notes(entries[0]),
    )


def _description(settings: ControlSettings) -> tuple[str, ...]:
    data, starts = settings.data, settings.starts
    return (
        f"dx/dt = v, dv/dt = mu (1 - x^2) v - x + u with mu = {settings.mu:g}; u is constant over "
        f"steps of {settings.dt:g}. Without control, rest is unstable.",
        f"Training: {data.runs} runs of {data.times} steps from a square of half width "
        f"{data.reach:g}, with random inputs up to {data.push:g}. The lifted LQR uses the response "
        "of the lifted functions to inputs at rest; the mean response is the mean over the data, "
        "as in Korda & Mezic (Automatica 93, 2018).",
        f"Cost: sum over {settings.steps} steps of {settings.cost.state:g} (x^2 + v^2) + "
        f"{settings.cost.input:g} u^2 on the true system, mean of {starts.count} test starts from "
        f"a square of half width {starts.reach:g}. Starts near rest are these, shrunk to a half "
        f"width of {starts.near:g}.",
    )


def _notes(lifted: Entry) -> tuple[str, ...]:
    far, near = max(lifted.values("relative")), max(lifted.values("near"))
    notes = [
        f"Largest cost of {LIFTED} among the seeds: {far:.3f} times that of true LQR, near rest "
        f"{near:.3f} times."
    ]
    quartiles = lifted.quartiles("relative")
    if quartiles is not None and quartiles[1] < 1:
        notes.append(
            "LQR on the linearisation is optimal near rest only. From starts farther away the "
            "lifted LQR costs less, because it models the nonlinear system."
        )
    return tuple(notes)


def _draw(problem: ControlProblem, lifted: Policy | None, true_lqr: Policy, figure: Figure) -> None:
    plane, forces = figure.subplots(1, 2)
    shown = problem.starts[:4]
    farthest = problem.starts[np.argmax(np.linalg.norm(problem.starts, axis=1))]
    times = problem.settings.dt * np.arange(problem.settings.steps)
    policies = {LIFTED: lifted, TRUE_LQR: true_lqr, NO_CONTROL: uncontrolled}
    styles = dict(zip(policies, (STYLES[0], STYLES[1], STYLES[4]), strict=True))
    # Lines that are drawn first are covered by later ones.
    for name in reversed(policies):
        policy = policies[name]
        if policy is None:
            continue
        states, _ = problem.closed_loop(policy, shown)
        plane.plot(states[..., 0], states[..., 1], **styles[name])
        inputs = problem.closed_loop(policy, farthest)[1][:, 0]
        forces.plot(times, inputs, label=name, **styles[name])
    plane.plot(shown[:, 0], shown[:, 1], "o", color="0.15", markersize=4)
    plane.plot(0, 0, "+", color="0.15", markersize=10)
    plane.set(xlabel="x", ylabel="v", title="phase plane")
    forces.set(xlabel="time", ylabel="u", title="input")
    forces.legend()


def validation_cost(settings: ControlSettings, seed: int) -> float:
    """Return the cost relative to true LQR, mean of starts far from and near rest.

    Starts, training runs and hidden weights differ from those of the test.
    """
    problem = ControlProblem.make(settings, VALIDATION_SEED)
    own = seed + _VALIDATION_DATA
    runs = training_runs(problem, own)
    # `timed` uses one BLAS thread, so that the design is the same as in the test.
    policy, _ = timed(partial(design, problem, runs, own, settings.network.width))
    return float(np.mean(np.divide(problem.costs(policy), problem.costs(problem.true_lqr()))))


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
