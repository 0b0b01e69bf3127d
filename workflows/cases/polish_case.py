"""Sampled networks polished by perturbations: noisy Lorenz 63, before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from gfrnn.pipeline.config.section import Section
from gfrnn.pipeline.reduction.progress import Progress, ProgressUpdate
from gfrnn.pipeline.reduction.run_tasks import run_tasks
from gfrnn.workflows.cases.lorenz63_case import (
    Lorenz63Data,
    Lorenz63Network,
    Lorenz63Setup,
    sampled_network,
)
from gfrnn.workflows.reproduce.case import Bar, Case, CaseResult, Entry, Score, Validation
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

TEST_SEED, VALIDATION_SEED = 1, 2  # seeds of the starts
_TASKS = 8  # chunks of starts at least, so that a cluster has something to share
NAMES: dict[NetworkKind, str] = {"one": "one state", "delays": "delays"}
PARTS: dict[NoiseLevel, str] = {"noise_2": "noise 1e-2", "noise_3": "noise 1e-3"}


class DescentSettings(Section):
    """How a network is polished, see :class:`gfrnn_core.perturbation.rollout_polish.Polish`."""

    steps: PositiveInt
    every: PositiveInt  # each so many-th start of the training series
    noise: PositiveFloat
    draws: PositiveInt
    rate: PositiveFloat
    ridge: PositiveFloat
    iterations: NonNegativeInt
    memory: float = Field(ge=0, lt=1)
    growth: float = Field(ge=1)

    def settings(self, seed: int) -> Polish:
        """For a run of at least one iteration."""
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
    """Chunks of starts on the current Dask client, or in this process: the same bits in both."""
    size = min(rows(network), max(64, -(-len(starts) // _TASKS)))
    calls = [(network, part, noise) for part in starts.chunks(size)]
    return merged(run_tasks("polish", evaluate_chunk, calls))


def polished(network: SampledRNN, series: Array, descent: DescentSettings, seed: int) -> Polished:
    """Polish a network on every start of the series that it was fitted to."""
    if descent.iterations == 0:
        return Polished(network, [])
    starts = RolloutStarts.cut(series, network.delays, descent.steps)
    thinned = RolloutStarts(starts.history[:: descent.every], starts.truth[:: descent.every])
    # With noisy data float32 is enough to see what a perturbation does, in half the time.
    found = descent.settings(seed).run(
        replace(network, precision="float32"), thinned, evaluate=evaluate
    )
    return replace(found, network=replace(found.network, precision=network.precision))


def run(settings: PolishSettings, seeds: Sequence[int], progress: Progress) -> CaseResult:
    """All networks on all setups, before and after."""
    entries: list[Entry] = []
    falls: dict[str, Array] = {}
    total, done = len(seeds) * len(NAMES) * len(settings.setups), 0
    progress(ProgressUpdate("networks", 0, total))
    for kind, name in NAMES.items():
        before: dict[str, list[float]] = {part: [] for part in settings.setups}
        after: dict[str, list[float]] = {part: [] for part in settings.setups}
        seconds: tuple[list[float], list[float]] = ([], [])
        for part, setup in settings.setups.items():
            network_settings, descent = settings.networks[kind][part], settings.polish[kind][part]
            data = Lorenz63Data.make(setup, TEST_SEED, network_settings.delays)
            for seed in seeds:
                series = data.noisy(seed)
                network, fitting = timed(
                    partial(sampled_network(settings.width, network_settings, seed).fit, series)
                )
                found, moving = timed(partial(polished, network, series, descent, seed))
                before[part].append(data.score(data.forecast(network)))
                after[part].append(data.score(data.forecast(found.network)))
                if part == "noise_2":
                    seconds[0].append(fitting)
                    seconds[1].append(fitting + moving)
                falls.setdefault(f"{name}, {PARTS[part]}", _losses(found))
                done += 1
                progress(ProgressUpdate("networks", done, total))
        entries += [
            Entry(f"{name}, solved", "reference", before, seconds[0]),
            Entry(f"{name}, polished", "ours", after, seconds[1]),
        ]
    return _result(settings, entries, falls)


def _losses(found: Polished) -> Array:
    """Return the losses of the accepted steps, as shares of the first."""
    losses = np.array([one.loss for one in found.iterations if one.accepted])
    return losses / losses[:1]


def _result(settings: PolishSettings, entries: list[Entry], falls: dict[str, Array]) -> CaseResult:
    scores = [
        Score(part, f"valid prediction time, {PARTS[part]}", "Lyapunov times", "higher")
        for part in settings.setups
    ]
    bars = [
        Bar(part, f"{name}, polished", against=f"{name}, solved", text="Worth keeping only then.")
        for name in NAMES.values()
        for part in settings.setups
    ]
    setup = next(iter(settings.setups.values()))
    return CaseResult(
        title=f"Polished by perturbations: Lorenz 63 with noise, {settings.width} tanh features",
        about=[
            "Least squares makes the outer weights of a sampled network best for one step. "
            "Polishing moves them to where rollouts over several steps are best on the same noisy "
            "training series, by perturbing what the weights put out and watching the loss of the "
            "later steps: forward passes alone, no gradients.",
        ],
        scores=scores,
        entries=entries,
        bars=bars,
        notes=[
            f"{setup.samples} training samples, dt {setup.dt:g}; noise is a share of each "
            f"variable's standard deviation. {setup.starts} starts free of noise, threshold "
            f"{setup.threshold:g} on {setup.norm}, {setup.statistic} of starts.",
            "Training times are those at noise 1e-2; polishing counts with the fit before it.",
            "Settings of fit and polishing are chosen on other starts than the test's.",
        ],
        draw=partial(_draw, falls),
        caption="Loss of the rollouts on the training series against accepted steps, as a share of "
        "the solved network's, first seed.",
    )


def _draw(falls: dict[str, Array], figure: Figure) -> None:
    panel = figure.subplots()
    for label, losses in falls.items():
        panel.plot(np.arange(len(losses)), losses, label=label)
    panel.set(xlabel="accepted steps", ylabel="loss, share of the solved network's")
    panel.legend()


@lru_cache(maxsize=8)
def _validation_data(setup: str, delays: int) -> Lorenz63Data:
    return Lorenz63Data.make(Lorenz63Setup.model_validate_json(setup), VALIDATION_SEED, delays)


@lru_cache(maxsize=8)
def _fitted(
    width: int, network_settings: str, setup: str, seed: int
) -> tuple[Lorenz63Data, Array, SampledRNN]:
    chosen = Lorenz63Network.model_validate_json(network_settings)
    data = _validation_data(setup, chosen.delays)
    series = data.noisy(seed + 1000)
    return data, series, sampled_network(width, chosen, seed).fit(series)


def _measure(
    kind: NetworkKind, part: NoiseLevel, solved: bool, settings: PolishSettings, seed: int
) -> float:
    setup = settings.setups[part]
    data, series, network = _fitted(
        settings.width,
        settings.networks[kind][part].model_dump_json(),
        setup.model_copy(update={"starts": min(setup.starts, 100)}).model_dump_json(),
        seed,
    )
    if not solved:
        network = polished(network, series, settings.polish[kind][part], seed).network
    return data.score(data.forecast(network))


_VALIDITY = Score("validity", "valid prediction time", "Lyapunov times", "higher")

CASE = Case(
    name="polish",
    summary="Lorenz 63 with noise: a solved network polished by perturbations, before and after",
    settings=PolishSettings,
    run=run,
    validations={
        f"{'solved' if solved else 'polished'}_{kind}_{part}": Validation(
            _VALIDITY, partial(_measure, kind, part, solved)
        )
        for kind in NAMES
        for part in PARTS
        for solved in (True, False)
    },
)
