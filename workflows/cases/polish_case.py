"""Rollouts of sampled networks improved by perturbations, on Lorenz 63 with noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from gfrnn.pipeline.config.section import Section
from gfrnn.pipeline.reduction.progress import Progress
from gfrnn.pipeline.reduction.run_tasks import run_tasks
from gfrnn.workflows.cases.shared.lorenz63_data import (
    VALIDATION_SCORE,
    Lorenz63Data,
    Lorenz63Network,
    Lorenz63Setup,
    validation_data,
)
from gfrnn.workflows.cases.shared.step_progress import step_progress
from gfrnn.workflows.cases.shared.trajectories import TEST_SEED
from gfrnn.workflows.reproduce.case import Case, Validation
from gfrnn.workflows.reproduce.case_result import Bar, CaseResult, Entry, Score
from gfrnn.workflows.reproduce.timing import timed
from gfrnn_core import SampledRNN
from gfrnn_core.perturbation.rollout_gradient import (
    RolloutNoise,
    RolloutStarts,
    RolloutSums,
    evaluate_chunk,
    merged,
    rows,
)
from gfrnn_core.perturbation.rollout_polish import Polish, Polished

Array = NDArray[Any]
NoiseLevel = Literal["noise_2", "noise_3"]
NetworkKind = Literal["one", "delays"]

NETWORK_LABELS: dict[NetworkKind, str] = {"one": "one state", "delays": "delays"}
NOISE_LABELS: dict[NoiseLevel, str] = {"noise_2": "noise 1e-2", "noise_3": "noise 1e-3"}

_LEAST_TASKS = 8  # so that the workers of a cluster share the work


class DescentSettings(Section):
    """Settings of the descent, see :class:`gfrnn_core.perturbation.rollout_polish.Polish`."""

    steps: PositiveInt
    every: PositiveInt  # only every n-th state of the series is an initial state
    noise: PositiveFloat
    draws: PositiveInt
    rate: PositiveFloat
    ridge: PositiveFloat
    iterations: NonNegativeInt
    memory: float = Field(ge=0, lt=1)
    growth: float = Field(ge=1)

    def settings(self, seed: int) -> Polish:
        """Return the settings of the core for at least one iteration."""
        return Polish(
            noise=self.noise,
            draws=self.draws,
            rate=self.rate,
            ridge=self.ridge,
            iterations=self.iterations,
            memory=self.memory,
            growth=self.growth,
            seed=seed,
        )


class PolishSettings(Section):
    """Settings of the case."""

    width: PositiveInt
    setups: dict[NoiseLevel, Lorenz63Setup]
    networks: dict[NetworkKind, dict[NoiseLevel, Lorenz63Network]]
    polish: dict[NetworkKind, dict[NoiseLevel, DescentSettings]]


def evaluate(network: SampledRNN, starts: RolloutStarts, noise: RolloutNoise | None) -> RolloutSums:
    """Evaluate chunks of initial states on the current Dask client or in this process.

    The result is identical bit for bit in both.
    """
    size = min(rows(network), max(64, -(-len(starts) // _LEAST_TASKS)))
    calls = [(network, part, noise) for part in starts.chunks(size)]
    return merged(run_tasks("polish", evaluate_chunk, calls))


def polished(network: SampledRNN, series: Array, descent: DescentSettings, seed: int) -> Polished:
    """Polish a network on the series that it was fitted to."""
    if descent.iterations == 0:
        return Polished(network, [])
    starts = RolloutStarts.cut(series, network.delays, descent.steps)
    thinned = RolloutStarts(starts.history[:: descent.every], starts.truth[:: descent.every])
    # With noisy data, float32 resolves the effect of a perturbation in half the time.
    found = descent.settings(seed).run(
        replace(network, precision="float32"), thinned, evaluate=evaluate
    )
    return replace(found, network=replace(found.network, precision=network.precision))


def run(settings: PolishSettings, seeds: Sequence[int], progress: Progress) -> CaseResult:
    """Score all networks on all setups, before and after polishing."""
    entries: list[Entry] = []
    losses: dict[str, Array] = {}
    total = len(seeds) * len(NETWORK_LABELS) * len(settings.setups)
    step = step_progress(progress, "networks", total)
    for kind, label in NETWORK_LABELS.items():
        before: dict[str, list[float]] = {noise: [] for noise in settings.setups}
        after: dict[str, list[float]] = {noise: [] for noise in settings.setups}
        seconds: tuple[list[float], list[float]] = ([], [])
        for noise, setup in settings.setups.items():
            chosen, descent = settings.networks[kind][noise], settings.polish[kind][noise]
            data = Lorenz63Data.make(setup, TEST_SEED, chosen.delays)
            for seed in seeds:
                series = data.noisy(seed)
                fit = partial(chosen.untrained(settings.width, seed).fit, series)
                network, fit_seconds = timed(fit)
                found, polish_seconds = timed(partial(polished, network, series, descent, seed))
                before[noise].append(data.score(data.forecast(network)))
                after[noise].append(data.score(data.forecast(found.network)))
                if noise == "noise_2":
                    seconds[0].append(fit_seconds)
                    seconds[1].append(fit_seconds + polish_seconds)
                losses.setdefault(f"{label}, {NOISE_LABELS[noise]}", _losses(found))
                step()
        entries += [
            Entry(f"{label}, solved", "reference", before, seconds[0]),
            Entry(f"{label}, polished", "ours", after, seconds[1]),
        ]
    return _result(settings, entries, losses)


def _losses(found: Polished) -> Array:
    """Return the losses of the accepted steps, relative to the first."""
    losses = np.array([one.loss for one in found.iterations if one.accepted])
    return losses / losses[:1]


def _result(
    settings: PolishSettings, entries: list[Entry], losses: Mapping[str, Array]
) -> CaseResult:
    scores = [
        Score(noise, f"valid prediction time, {NOISE_LABELS[noise]}", "Lyapunov times", "higher")
        for noise in settings.setups
    ]
    bars = [
        Bar(
            noise,
            f"{label}, polished",
            against=f"{label}, solved",
            text="Polishing is worth its cost only if it lengthens the valid time.",
        )
        for label in NETWORK_LABELS.values()
        for noise in settings.setups
    ]
    setup = next(iter(settings.setups.values()))
    return CaseResult(
        title=f"Lorenz 63 with noise, polished by perturbations, {settings.width} tanh features",
        description=[
            "Least squares gives the outer weights of a sampled network that are best for one "
            "step. Polishing starts from them and reduces the loss of rollouts over several steps "
            "on the same noisy training series. It perturbs the output of each step and measures "
            "the loss of later steps, so it needs forward passes only and no gradients.",
        ],
        scores=scores,
        entries=entries,
        bars=bars,
        notes=[
            f"{setup.samples} training samples, dt {setup.dt:g}; noise is relative to each "
            f"variable's standard deviation. {setup.starts} initial states without noise, "
            f"threshold {setup.threshold:g} on {setup.norm}, {setup.statistic} of initial states.",
            "Training times are those at noise 1e-2; that of polishing includes the fit before it.",
            "Settings of fit and polishing are chosen on other initial states than those of the "
            "test.",
        ],
        draw=partial(_draw, losses),
        caption="Loss of the rollouts on the training series against accepted steps, relative to "
        "that of the solved network, first seed.",
    )


def _draw(losses: Mapping[str, Array], figure: Figure) -> None:
    panel = figure.subplots()
    for label, values in losses.items():
        panel.plot(np.arange(len(values)), values, label=label)
    panel.set(xlabel="accepted steps", ylabel="loss relative to the solved network")
    panel.legend()


@lru_cache(maxsize=8)
def _validation_fit(
    width: int, network: str, setup: str, seed: int
) -> tuple[Lorenz63Data, Array, SampledRNN]:
    """Return validation data, noisy training series and a network fitted to it.

    Settings are JSON texts, which can be hashed.
    """
    chosen = Lorenz63Network.model_validate_json(network)
    data = validation_data(setup, chosen.delays)
    series = data.validation_series(seed)
    return data, series, chosen.untrained(width, seed).fit(series)


def _validation_score(
    kind: NetworkKind, noise: NoiseLevel, solved: bool, settings: PolishSettings, seed: int
) -> float:
    data, series, network = _validation_fit(
        settings.width,
        settings.networks[kind][noise].model_dump_json(),
        settings.setups[noise].model_dump_json(),
        seed,
    )
    if not solved:
        network = polished(network, series, settings.polish[kind][noise], seed).network
    return data.score(data.forecast(network))


CASE = Case(
    name="polish",
    summary="Lorenz 63 with noise: a solved network polished by perturbations, before and after",
    settings=PolishSettings,
    run=run,
    validations={
        f"{'solved' if solved else 'polished'}_{kind}_{noise}": Validation(
            VALIDATION_SCORE, partial(_validation_score, kind, noise, solved)
        )
        for kind in NETWORK_LABELS
        for noise in NOISE_LABELS
        for solved in (True, False)
    },
)
