"""Lorenz 63: valid prediction times by solver, by hidden weights and with noise in the data."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
import scipy.linalg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pydantic import PositiveFloat, PositiveInt

from gfrnn.pipeline.config.section import Section
from gfrnn.pipeline.reduction.progress import Progress
from gfrnn.workflows.cases.shared.invariant_measure import KL, LONG_RUN_SEEDS, TRUE_RUNS
from gfrnn.workflows.cases.shared.lorenz63_data import (
    EXPONENT,
    VALIDATION_SCORE,
    Lorenz63Data,
    Lorenz63Network,
    Lorenz63Setup,
    validation_data,
)
from gfrnn.workflows.cases.shared.step_progress import step_progress
from gfrnn.workflows.cases.shared.trajectories import (
    TEST_SEED,
    attractor_states,
    divergence_allowed,
    trajectories,
)
from gfrnn.workflows.reproduce.case import Case, Validation
from gfrnn.workflows.reproduce.case_result import Bar, CaseResult, Entry, Kind, Score
from gfrnn.workflows.reproduce.figure_style import STYLES
from gfrnn.workflows.reproduce.timing import timed
from gfrnn_core import SampledRNN
from gfrnn_core.lifting import lift
from gfrnn_core.metrics import forecast_error, kl_divergence
from gfrnn_core.systems import LORENZ63

Array = NDArray[Any]
SetupName = Literal["fine", "squared", "noise_3", "noise_2"]

LABELS = {
    "normal": "R factor, normal",
    "normal_delays": "R factor, normal, delays",
    "pairs": "R factor, data pairs",
    "uniform_pairs": "R factor, uniform pairs",
}
GRAM = "Gram matrix, normal"

BAR_SOURCES = {
    "fine": "Measured for this project before; see the Gram matrix in the same column.",
    "squared": "Best variant in the public code of DeepRFM (localised deep random features).",
    "noise_3": "Prototype of this project.",
    "noise_2": "Prototype of this project.",
}


class Lorenz63Settings(Section):
    """Settings of the case."""

    width: PositiveInt
    setups: dict[SetupName, Lorenz63Setup]
    networks: dict[str, dict[SetupName, Lorenz63Network]]
    gram_ridge: PositiveFloat
    climate_starts: PositiveInt
    climate_steps: PositiveInt


def solve_gram(network: SampledRNN, train: Array, ridge: float) -> SampledRNN:
    """Train a network by the normal equations, the usual alternative to the R factor.

    Parameters
    ----------
    network : SampledRNN
        Untrained network.
    train : ndarray, shape (times, d)
    ridge : float
        Relative to the largest eigenvalue of the Gram matrix.
    """
    prepared = network.prepare(train)
    states = prepared.scaled(train)
    if prepared.hidden is None:
        raise ValueError("network: has no hidden weights; give a width above 0")
    features = lift(states[:-1], None, prepared.hidden)
    gram = features.T @ features
    moments = features.T @ (states[1:] - states[:-1])
    shifted = gram + ridge * float(np.linalg.eigvalsh(gram)[-1]) * np.eye(len(gram))
    with warnings.catch_warnings():  # the case shows how ill-conditioned the Gram matrix is
        warnings.simplefilter("ignore", scipy.linalg.LinAlgWarning)
        weights = scipy.linalg.solve(shifted, moments, assume_a="sym", check_finite=False)
    return replace(prepared, outer=weights[None])


def run(settings: Lorenz63Settings, seeds: Sequence[int], progress: Progress) -> CaseResult:
    """Train and score all networks on all setups."""
    delays = max(one.delays for nets in settings.networks.values() for one in nets.values())
    data = {
        name: Lorenz63Data.make(setup, TEST_SEED, delays) for name, setup in settings.setups.items()
    }
    origin, other = _long_runs(settings)
    entries: list[Entry] = []
    errors: dict[str, Array] = {}
    plans = [(LABELS[name], nets) for name, nets in settings.networks.items()]
    plans.insert(1, (GRAM, {"fine": settings.networks["normal"]["fine"]}))
    step = step_progress(progress, "networks", len(seeds) * sum(len(nets) for _, nets in plans))
    for label, nets in plans:
        scores: dict[str, list[float]] = {}
        training = []
        for seed in seeds:
            for part, chosen in nets.items():
                own = data[part]
                untrained, train = chosen.untrained(settings.width, seed), own.noisy(seed)
                solve = partial(solve_gram, untrained, train, settings.gram_ridge)
                fit = partial(untrained.fit, train)
                network, seconds = timed(solve if label == GRAM else fit)
                forecast = own.forecast(network)
                scores.setdefault(part, []).append(own.score(forecast))
                if part == "fine":
                    training.append(seconds)
                    errors.setdefault(label, _median_error(own, forecast))
                    scores.setdefault("kl", []).append(_divergence(network, origin, other))
                step()
        kind: Kind = "ours" if label != GRAM else "reference"
        entries.append(Entry(label, kind, scores, training or None))
    entries.append(Entry(TRUE_RUNS, "reference", {"kl": [kl_divergence(origin, other)]}))
    return _result(settings, data, entries, errors)


def _long_runs(settings: Lorenz63Settings) -> list[Array]:
    """Return two independent sets of long true runs, for statistics."""
    dt, starts, steps = settings.setups["fine"].dt, settings.climate_starts, settings.climate_steps
    return [
        trajectories(LORENZ63, attractor_states(LORENZ63, starts, seed, 30.0), dt, steps, 1e-9)
        for seed in LONG_RUN_SEEDS
    ]


def _divergence(network: SampledRNN, origin: Array, other: Array) -> float:
    """Return the KL divergence of free runs from one set of true runs to the other set."""
    history = origin[:, : network.delays]
    with divergence_allowed():
        path = network.rollout(history, other.shape[1] - network.delays)
    return kl_divergence(np.concatenate([history, path], axis=1), other)


def _median_error(data: Lorenz63Data, forecast: Array) -> Array:
    """Return the median over initial states of the normalised error at each step."""
    scale = data.train.std(axis=0)
    return np.median(forecast_error(forecast, data.truth.states, scale=scale), axis=0)


def _result(
    settings: Lorenz63Settings,
    data: Mapping[SetupName, Lorenz63Data],
    entries: list[Entry],
    errors: dict[str, Array],
) -> CaseResult:
    scores, bars, notes = [], [], []
    for key, own in data.items():
        setup = own.setup
        noise = f", noise {setup.noise:g}" if setup.noise else ""
        label = f"valid prediction time, dt {setup.dt:g}{noise}, {setup.statistic} of starts"
        scores.append(Score(key, label, "Lyapunov times", "higher"))
        if setup.bar is not None:
            # With noise, several successive states are more informative than one.
            name = LABELS["normal_delays" if key.startswith("noise") else "normal"]
            bars.append(Bar(key, name, setup.bar, strict=key != "fine", text=BAR_SOURCES[key]))
        notes.append(f"{label}: {_truth_note(own)}")
    scores.append(KL)
    notes.append(
        f"KL divergence: {settings.climate_starts} free runs of {settings.climate_steps} steps "
        "each, histograms of 30 bins a variable, against as many states of other true runs. The "
        "last line compares two sets of true runs, which gives the least value to be expected."
    )
    notes.append(
        "Ridge, scale and delays of each column, and the ridge of the Gram matrix, are chosen on "
        "other initial states than those of the test; initial states have no noise."
    )
    fine = settings.setups["fine"]
    return CaseResult(
        title=f"Lorenz 63, {settings.width} tanh features",
        description=[
            "The chaotic system of Lorenz (1963) from its full state. A network forecasts step by "
            "step from its own output, until its error exceeds a threshold.",
            "The same features are solved from the R factor and, as is usual, from the Gram "
            "matrix. Without noise, the digits that the Gram matrix loses shorten the valid time.",
        ],
        scores=scores,
        entries=entries,
        bars=bars,
        notes=notes,
        draw=partial(_draw, errors, fine),
        caption=(
            f"Median over {fine.starts} initial states of the normalised error against lead, first "
            f"seed, training data without noise, dt {fine.dt:g}; dotted: the threshold."
        ),
    )


def _truth_note(data: Lorenz63Data) -> str:
    setup = data.setup
    trusted = data.truth.trusted_time * EXPONENT
    length = setup.steps * setup.dt * EXPONENT
    whole = trusted.min() > 0.99 * length
    end = "which covers the forecasts" if whole else "where valid prediction times end"
    return (
        f"{setup.starts} initial states, {setup.samples} training samples, threshold "
        f"{setup.threshold:g} on {setup.norm}. The truth is trusted to {trusted.min():.1f} "
        f"Lyapunov times at the worst initial state, {np.median(trusted):.1f} at half of them, "
        f"{end}. Forecasts have a length of {length:.1f}."
    )


def _draw(errors: dict[str, Array], setup: Lorenz63Setup, figure: Figure) -> None:
    panel = figure.subplots()
    for (label, error), style in zip(errors.items(), STYLES, strict=False):
        times = np.arange(1, len(error) + 1) * setup.dt * EXPONENT
        panel.plot(times, error, label=label, **style)
    panel.axhline(setup.threshold, color="0.45", linewidth=0.8, linestyle=":")
    panel.set(yscale="log", xlabel="lead (Lyapunov times)", ylabel="normalised error")
    panel.legend(loc="lower right")


def _validation_score(part: SetupName, name: str, settings: Lorenz63Settings, seed: int) -> float:
    chosen = settings.networks[name][part]
    data = validation_data(settings.setups[part].model_dump_json(), chosen.delays)
    network = chosen.untrained(settings.width, seed).fit(data.validation_series(seed))
    return data.score(data.forecast(network))


def _gram_validation_score(settings: Lorenz63Settings, seed: int) -> float:
    data = validation_data(settings.setups["fine"].model_dump_json(), 1)
    untrained = settings.networks["normal"]["fine"].untrained(settings.width, seed)
    return data.score(data.forecast(solve_gram(untrained, data.train, settings.gram_ridge)))


CASE = Case(
    name="lorenz63",
    summary="Lorenz 63: forecasts by solver and sampling, without and with noise in the data",
    settings=Lorenz63Settings,
    run=run,
    validations={
        f"{name}_{part}": Validation(VALIDATION_SCORE, partial(_validation_score, part, name))
        for name in LABELS
        for part in get_args(SetupName)
    }
    | {"gram": Validation(VALIDATION_SCORE, _gram_validation_score)},
)
