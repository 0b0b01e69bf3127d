"""Our network, an echo state network of the same width and the linear model on the same data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from gfrnn.pipeline.config.section import Section
from gfrnn.pipeline.reduction.progress import Progress, ProgressUpdate
from gfrnn.workflows.cases.shared.echo_state_network import (
    ECHO_STATE_NETWORK,
    NOT_INSTALLED,
    EchoStateNetwork,
    EchoStateSettings,
    reservoirpy_installed,
)
from gfrnn.workflows.cases.shared.trajectories import Truth, along, quietly
from gfrnn.workflows.reproduce.case import TRAINING, Bar, Case, CaseResult, Entry, Score, Validation
from gfrnn.workflows.reproduce.figure_style import STYLES, TRUTH
from gfrnn.workflows.reproduce.timing import timed
from gfrnn_core import SampledRNN
from gfrnn_core.metrics import forecast_error, normalised_mse, valid_prediction_time
from gfrnn_core.systems import System

Array = NDArray[Any]

OURS = "sampled network"
LINEAR = "linear model"
TRAIN_SEED, TEST_SEED, VALIDATION_SEED = 0, 1, 2
"""Seeds of the first states: no trajectory serves two purposes."""


class ComparisonNetwork(Section):
    """Hidden weights and the solver's strength."""

    sampling: Literal["pairs", "uniform_pairs", "normal"]
    scale: PositiveFloat = 0.5
    ridge: NonNegativeFloat


class Trajectories(Section):
    """Training series and forecasts."""

    dt: PositiveFloat
    series: PositiveInt
    """Training trajectories, each of so many ``samples``."""
    samples: PositiveInt
    history: PositiveInt
    """True states before a forecast; each method takes of them what it needs."""
    starts: PositiveInt
    steps: PositiveInt
    """Of a forecast, over all of which errors are averaged."""
    valid_steps: PositiveInt | None = None
    """Of the longer forecasts whose valid time is measured."""
    threshold: PositiveFloat = 0.3


class ComparisonSettings(Section):
    """Trajectories and networks."""

    data: Trajectories
    width: PositiveInt
    delays: PositiveInt = 1
    network: ComparisonNetwork
    linear_ridge: NonNegativeFloat
    echo: EchoStateSettings

    @model_validator(mode="after")
    def _delays_within_history(self) -> ComparisonSettings:
        if self.delays > self.data.history:
            raise ValueError(
                f"delays: {self.delays} are more than data.history, {self.data.history}"
            )
        return self


@dataclass(frozen=True)
class ComparedSystem:
    """A system, what is seen of it and where trajectories start.

    Attributes
    ----------
    system : System
    observed : int
        Number of leading coordinates that are seen.
    first : callable
        (number, generator) to first states, shape (number, d).
    title : str
    about : tuple of str
    """

    system: System
    observed: int
    first: Callable[[int, np.random.Generator], Array]
    title: str
    about: tuple[str, ...]


@dataclass(frozen=True)
class ComparisonData:
    """Training series, and what follows after some histories: observed coordinates only."""

    train: list[Array]
    history: Array
    truth: Truth

    @property
    def scale(self) -> Array:
        return np.asarray(np.concatenate(self.train).std(axis=0))


@lru_cache(maxsize=2)
def make_data(compared: ComparedSystem, settings: Trajectories, seed: int) -> ComparisonData:
    """The training series, and test or validation trajectories."""

    def paths(number: int, which: int, steps: int) -> Array:
        first = compared.first(number, np.random.default_rng(which))
        return along(compared.system, first, settings.dt, steps)

    train = paths(settings.series, TRAIN_SEED, settings.samples - 1)
    history = paths(settings.starts, seed, settings.history - 1)
    scale = train.reshape(-1, train.shape[-1]).std(axis=0)
    steps = max(settings.steps, settings.valid_steps or 0)
    truth = Truth.follow(compared.system, history[:, -1], settings.dt, steps, 0.03, scale)
    seen = slice(None, compared.observed)
    return ComparisonData(
        list(train[..., seen]),
        history[..., seen],
        Truth(truth.starts[:, seen], truth.path[..., seen], truth.trusted),
    )


ComparedModel = SampledRNN | EchoStateNetwork


def train_sampled(settings: ComparisonSettings, data: ComparisonData, seed: int) -> ComparedModel:
    """Our network, trained."""
    chosen = settings.network
    return SampledRNN(
        settings.width, sampling=chosen.sampling, scale=chosen.scale, ridge=chosen.ridge,
        delays=settings.delays, seed=seed,
    ).fit(data.train)  # fmt: skip


def train_linear(settings: ComparisonSettings, data: ComparisonData, seed: int) -> ComparedModel:
    """Fit the linear model: the regression without hidden features."""
    return SampledRNN(0, ridge=settings.linear_ridge, delays=settings.delays).fit(data.train)


def train_echo(settings: ComparisonSettings, data: ComparisonData, seed: int) -> ComparedModel:
    """The echo state network, trained by reservoirpy."""
    return EchoStateNetwork.fit(settings.echo, settings.width, data.train, seed)


TRAINERS: Mapping[str, Callable[[ComparisonSettings, ComparisonData, int], ComparedModel]] = {
    OURS: train_sampled, ECHO_STATE_NETWORK: train_echo, LINEAR: train_linear,
}  # fmt: skip


def forecast(model: ComparedModel, data: ComparisonData, steps: int) -> Array:
    """Forecasts from all histories: shape (starts, steps, d)."""
    if isinstance(model, EchoStateNetwork):
        return model.rollout(data.history, steps)
    with quietly():
        return model.rollout(data.history[:, -model.delays :], steps)


def error(found: Array, data: ComparisonData, steps: int) -> float:
    """Normalised mean squared error over all starts and the first steps."""
    return normalised_mse(found[:, :steps], data.truth.path[:, :steps], scale=data.scale)


def run(
    compared: ComparedSystem, settings: ComparisonSettings, seeds: Sequence[int], progress: Progress
) -> CaseResult:
    """Train and score all methods."""
    data = make_data(compared, settings.data, TEST_SEED)
    steps = data.truth.path.shape[1]
    trainers = {name: train for name, train in TRAINERS.items() if name != ECHO_STATE_NETWORK}
    if reservoirpy_installed():
        trainers = dict(TRAINERS)
    timed(partial(train_linear, settings, data, 0))  # what is imported on first use is no training
    entries: list[Entry] = []
    shown: dict[str, Array] = {}
    done = 0
    total = len(trainers) * len(seeds)
    progress(ProgressUpdate("networks", 0, total))
    for name, train in trainers.items():
        scores: dict[str, list[float]] = {"nmse": []}
        training = []
        for seed in seeds:
            model, seconds = timed(partial(train, settings, data, seed))
            training.append(seconds)
            found = forecast(model, data, steps)
            shown.setdefault(name, found)
            scores["nmse"].append(error(found, data, settings.data.steps))
            if settings.data.valid_steps is not None:
                scores.setdefault("valid", []).append(_valid(compared, settings, data, found))
            done += 1
            progress(ProgressUpdate("networks", done, total))
        kind: Literal["ours", "peer", "reference"]
        kind = "ours" if name == OURS else "peer" if name == ECHO_STATE_NETWORK else "reference"
        entries.append(Entry(name, kind, scores, training))
    return _result(compared, settings, data, entries, shown)


def _valid(
    compared: ComparedSystem, settings: ComparisonSettings, data: ComparisonData, found: Array
) -> float:
    exponent = compared.system.lyapunov_exponent
    times = valid_prediction_time(
        found,
        data.truth.path,
        settings.data.dt,
        exponent,
        settings.data.threshold,
        scale=data.scale,
    )
    return float(np.median(np.minimum(times, data.truth.trusted * exponent)))


def _result(
    compared: ComparedSystem,
    settings: ComparisonSettings,
    data: ComparisonData,
    entries: list[Entry],
    shown: dict[str, Array],
) -> CaseResult:
    span = settings.data.steps * settings.data.dt
    scores = [Score("nmse", f"normalised MSE over {span:g} time units")]
    own = settings.data
    notes = [
        f"{own.series} training series of {own.samples} samples, dt {own.dt:g}; {own.starts} test "
        f"starts, each after {own.history} true states, of which a network with delays sees the "
        f"last {settings.delays} and the echo state network all.",
        "Everybody is trained on the same series and has its settings chosen on other starts "
        "than the test's, the echo state network by the random search that its authors advise.",
    ]
    trusted, length = data.truth.trusted, data.truth.path.shape[1] * settings.data.dt
    if trusted.min() < 0.999 * length:
        exponent = compared.system.lyapunov_exponent
        notes.append(
            f"The truth is trusted to {trusted.min() * exponent:.1f} Lyapunov times at the worst "
            "start, and forecasts are counted to there."
        )
    else:
        notes.append(f"The truth is trusted for the whole length of the forecasts, {length:g}.")
    if settings.data.valid_steps is not None:
        label = f"valid prediction time, threshold {settings.data.threshold:g}, median of starts"
        scores.append(Score("valid", label, "Lyapunov times", "higher"))
    peers = "The echo state network of the same width on the same data."
    bars = [
        Bar(score.key, OURS, against=ECHO_STATE_NETWORK, text=peers)
        for score in (*scores, TRAINING)
    ]
    if not reservoirpy_installed():
        notes.append(NOT_INSTALLED)
    return CaseResult(
        title=f"{compared.title}, width {settings.width}",
        about=compared.about,
        scores=scores,
        entries=entries,
        bars=bars,
        notes=notes,
        draw=partial(_draw, settings, data, shown),
        caption=(
            "Left: the first coordinate after one test start, truth and forecasts of the first "
            "seed. Right: median over starts of the normalised error against lead."
        ),
    )


def _draw(
    settings: ComparisonSettings, data: ComparisonData, shown: dict[str, Array], figure: Figure
) -> None:
    left, right = figure.subplots(1, 2)
    steps = data.truth.path.shape[1]
    times = np.arange(1, steps + 1) * settings.data.dt
    part = slice(None, settings.data.steps)
    low, high = data.truth.path[..., 0].min(), data.truth.path[..., 0].max()
    left.plot(times[part], data.truth.path[0, part, 0], label="truth", zorder=9, **TRUTH)
    for (name, found), style in zip(shown.items(), STYLES, strict=False):
        left.plot(times[part], found[0, part, 0], **style)
        typical = np.median(forecast_error(found, data.truth.path, scale=data.scale), axis=0)
        right.plot(times, typical, label=name, **style)
    left.set(xlabel="time", ylabel="x", ylim=(1.2 * low - 0.2 * high, 1.2 * high - 0.2 * low))
    right.set(yscale="log", xlabel="lead (time)", ylabel="normalised error")
    figure.legend(loc="outside upper right", ncols=4)


def _measure(compared: ComparedSystem, name: str, settings: ComparisonSettings, seed: int) -> float:
    data = make_data(
        compared, settings.data.model_copy(update={"valid_steps": None}), VALIDATION_SEED
    )
    steps = settings.data.steps
    found = forecast(TRAINERS[name](settings, data, seed), data, steps)
    # Errors differ by orders of magnitude: the mean over seeds is that of their logarithms.
    return float(np.log10(error(found, data, steps)))


def comparison_case(name: str, summary: str, compared: ComparedSystem) -> Case[ComparisonSettings]:
    """Return the case that compares the methods on one system."""
    score = Score("log_nmse", "log10 of the normalised MSE")
    keys = {"network": OURS, "echo": ECHO_STATE_NETWORK, "linear": LINEAR}
    return Case(
        name=name,
        summary=summary,
        settings=ComparisonSettings,
        run=partial(run, compared),
        validations={
            key: Validation(score, partial(_measure, compared, entry))
            for key, entry in keys.items()
        },
    )
