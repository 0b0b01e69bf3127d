"""Lorenz 63: how long forecasts stay valid, by solver, by hidden weights and with noisy data."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, Literal

import numpy as np
import scipy.linalg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from gfrnn.pipeline.config.section import Section
from gfrnn.pipeline.reduction.progress import Progress, ProgressUpdate
from gfrnn.workflows.cases.shared.trajectories import Truth, along, quietly, scattered
from gfrnn.workflows.reproduce.case import Bar, Case, CaseResult, Entry, Score, Validation
from gfrnn.workflows.reproduce.figure_style import STYLES
from gfrnn.workflows.reproduce.timing import timed
from gfrnn_core import SampledRNN
from gfrnn_core.lifting import lift
from gfrnn_core.metrics import ErrorNorm, forecast_error, kl_divergence, valid_prediction_time
from gfrnn_core.systems import LORENZ63

Array = NDArray[Any]
Sampling = Literal["pairs", "uniform_pairs", "normal"]

EXPONENT = LORENZ63.lyapunov_exponent
TEST_SEED, VALIDATION_SEED = 1, 2  # seeds of the starts


class Lorenz63Setup(Section):
    """Data, and what counts as valid."""

    dt: PositiveFloat
    samples: PositiveInt
    noise: NonNegativeFloat = 0.0
    starts: PositiveInt
    steps: PositiveInt
    norm: ErrorNorm = "nrmse"
    threshold: PositiveFloat
    statistic: Literal["median", "mean"] = "median"
    bar: PositiveFloat | None = None


class Lorenz63Network(Section):
    """Hidden weights and the solver's strength."""

    sampling: Sampling
    scale: PositiveFloat = 0.5
    delays: PositiveInt = 1
    ridge: NonNegativeFloat


class Lorenz63Settings(Section):
    """Settings of the case; noise is a share of each variable's standard deviation."""

    width: PositiveInt
    setups: dict[Literal["fine", "squared", "noise_3", "noise_2"], Lorenz63Setup]
    networks: dict[str, dict[Literal["fine", "squared", "noise_3", "noise_2"], Lorenz63Network]]
    gram_ridge: PositiveFloat
    climate_starts: PositiveInt
    climate_steps: PositiveInt


LABELS = {
    "normal": "R factor, normal",
    "normal_delays": "R factor, normal, delays",
    "pairs": "R factor, data pairs",
    "uniform_pairs": "R factor, uniform pairs",
}
GRAM = "Gram matrix, normal"
TRUTH = "another stretch of the truth"


@dataclass(frozen=True)
class Lorenz63Data:
    """A training series without noise, and the truth after each of some starts."""

    setup: Lorenz63Setup
    train: Array
    history: Array
    truth: Truth

    @classmethod
    def make(cls, setup: Lorenz63Setup, seed: int, delays: int) -> Lorenz63Data:
        """Starts of one seed lie anywhere on the attractor, and know nothing of the training."""
        train = _training(setup.dt, setup.samples)
        first = scattered(LORENZ63, setup.starts, seed, time=30.0)
        history = along(LORENZ63, first, setup.dt, delays - 1)
        truth = Truth.follow(
            LORENZ63, history[:, -1], setup.dt, setup.steps, 0.03, train.std(axis=0)
        )
        return cls(setup, train, history, truth)

    def noisy(self, seed: int) -> Array:
        """The training series as the network sees it."""
        if self.setup.noise == 0:
            return self.train
        rng = np.random.default_rng([seed, 17])
        spread = self.setup.noise * self.train.std(axis=0)
        return np.asarray(self.train + spread * rng.standard_normal(self.train.shape))

    def forecast(self, network: SampledRNN) -> Array:
        with quietly():
            return network.rollout(self.history[:, -network.delays :], self.setup.steps)

    def validity(self, forecast: Array) -> Array:
        """Lyapunov times, counted to where the truth is trusted: shape (starts,)."""
        setup = self.setup
        scale = self.train.std(axis=0) if setup.norm == "nrmse" else None
        found = valid_prediction_time(
            forecast, self.truth.path, setup.dt, EXPONENT, setup.threshold, setup.norm, scale
        )
        return np.minimum(found, self.truth.trusted * EXPONENT)

    def score(self, forecast: Array) -> float:
        statistic = np.median if self.setup.statistic == "median" else np.mean
        return float(statistic(self.validity(forecast)))


@lru_cache(maxsize=4)
def _training(dt: float, samples: int) -> Array:
    return LORENZ63.trajectory(dt, samples - 1, (1.0, 1.0, 1.0), spinup=round(20 / dt))


def sampled_network(width: int, network_settings: Lorenz63Network, seed: int) -> SampledRNN:
    """The network that a part of the settings describes, untrained."""
    return SampledRNN(
        width,
        sampling=network_settings.sampling,
        scale=network_settings.scale,
        delays=network_settings.delays,
        ridge=network_settings.ridge,
        seed=seed,
    )


def solve_gram(network: SampledRNN, train: Array, ridge: float) -> SampledRNN:
    """A network with its hidden weights drawn, solved by the normal equations: the usual way.

    Parameters
    ----------
    network : SampledRNN
    train : ndarray, shape (times, d)
    ridge : float
        Relative to the largest eigenvalue of the Gram matrix.
    """
    ready = network.prepare(train)
    states = ready.scaled(train)
    if ready.hidden is None:
        raise ValueError("network: no hidden weights were drawn")
    features = lift(states[:-1], None, ready.hidden)
    gram = features.T @ features
    moments = features.T @ (states[1:] - states[:-1])
    shifted = gram + ridge * float(np.linalg.eigvalsh(gram)[-1]) * np.eye(len(gram))
    with warnings.catch_warnings():  # that it is ill-conditioned is what the case shows
        warnings.simplefilter("ignore", scipy.linalg.LinAlgWarning)
        weights = scipy.linalg.solve(shifted, moments, assume_a="sym", check_finite=False)
    return replace(ready, outer=weights[None])


def run(settings: Lorenz63Settings, seeds: Sequence[int], progress: Progress) -> CaseResult:
    """All networks on all setups."""
    delays = max(
        network_settings.delays
        for nets in settings.networks.values()
        for network_settings in nets.values()
    )
    data = {
        name: Lorenz63Data.make(setup, TEST_SEED, delays) for name, setup in settings.setups.items()
    }
    climate = _training(settings.setups["fine"].dt, settings.setups["fine"].samples)
    dt = settings.setups["fine"].dt
    truths = [
        along(
            LORENZ63, scattered(LORENZ63, settings.climate_starts, seed, 30.0), dt,
            settings.climate_steps, 1e-9,
        )
        for seed in (3, 4)
    ]  # fmt: skip
    entries: list[Entry] = []
    errors: dict[str, Array] = {}
    total = len(seeds) * (1 + sum(map(len, settings.networks.values())))
    done = 0
    progress(ProgressUpdate("networks", 0, total))
    plans = [(LABELS[name], nets) for name, nets in settings.networks.items()]
    plans.insert(1, (GRAM, {"fine": settings.networks["normal"]["fine"]}))
    for label, nets in plans:
        scores: dict[str, list[float]] = {}
        training = []
        for seed in seeds:
            for part, network_settings in nets.items():
                own = data[part]
                plain, train = (
                    sampled_network(settings.width, network_settings, seed),
                    own.noisy(seed),
                )
                solve = partial(solve_gram, plain, train, settings.gram_ridge)
                fit = partial(plain.fit, train)
                network, seconds = timed(solve if label == GRAM else fit)
                forecast = own.forecast(network)
                scores.setdefault(part, []).append(own.score(forecast))
                if part == "fine":
                    training.append(seconds)
                    errors.setdefault(label, _error(own, forecast))
                    scores.setdefault("kl", []).append(
                        _climate_distance(network, truths[0], truths[1])
                    )
                done += 1
                progress(ProgressUpdate("networks", done, total))
        kind: Literal["ours", "reference"] = "ours" if label != GRAM else "reference"
        entries.append(Entry(label, kind, scores, training or None))
    floor = kl_divergence(truths[0], truths[1])
    entries.append(Entry(TRUTH, "reference", {"kl": [floor]}))
    return _result(settings, data, entries, errors, len(climate))


def _climate_distance(network: SampledRNN, starts: Array, reference: Array) -> float:
    """Compute the divergence of free runs that start at one set of truths from the other set."""
    with quietly():
        path = network.rollout(starts[:, : network.delays], reference.shape[1] - network.delays)
    return kl_divergence(np.concatenate([starts[:, : network.delays], path], axis=1), reference)


def _error(data: Lorenz63Data, forecast: Array) -> Array:
    """Median over starts of the normalised error at each step."""
    scale = data.train.std(axis=0)
    return np.median(forecast_error(forecast, data.truth.path, scale=scale), axis=0)


def _result(
    settings: Lorenz63Settings,
    data: dict[Any, Lorenz63Data],
    entries: list[Entry],
    errors: dict[str, Array],
    samples: int,
) -> CaseResult:
    scores, bars, notes = [], [], []
    for key, own in data.items():
        setup = own.setup
        noise = f", noise {setup.noise:g}" if setup.noise else ""
        label = f"valid prediction time, dt {setup.dt:g}{noise}, {setup.statistic} of starts"
        scores.append(Score(key, label, "Lyapunov times", "higher"))
        if setup.bar is not None:
            bars.append(Bar(key, _label(key), setup.bar, strict=key != "fine", text=_SOURCES[key]))
        trusted = own.truth.trusted * EXPONENT
        length = setup.steps * setup.dt * EXPONENT
        counted = (
            "longer than the forecasts run"
            if trusted.min() > 0.99 * length
            else ("and forecasts are counted to there")
        )
        notes.append(
            f"{label}: {setup.starts} starts, {setup.samples} training samples, threshold "
            f"{setup.threshold:g} on {setup.norm}. The truth is trusted to {trusted.min():.1f} "
            f"Lyapunov times at the worst start, {np.median(trusted):.1f} at half of them, "
            f"{counted}; forecasts run for {length:.1f}."
        )
    scores.append(Score("kl", "KL divergence of the invariant measure", "nats", "lower"))
    notes.append(
        f"KL divergence: {settings.climate_starts} free runs of {settings.climate_steps} steps "
        "each, histograms of 30 bins a variable, against as many true states elsewhere; the last "
        "line is the divergence of two stretches of the truth, the least to be expected."
    )
    notes.append(
        "Ridge, scale and delays of each column, the ridge of the Gram matrix too, are chosen on "
        "other starts than the test's; starts are free of noise."
    )
    fine = settings.setups["fine"]
    return CaseResult(
        title=f"Lorenz 63, {settings.width} tanh features",
        about=[
            "The chaotic system of Lorenz (1963) from its full state. One network forecasts by "
            "its own output, step by step, until its error passes a threshold.",
            "The same features are solved from the R factor and from the Gram matrix, the usual "
            "way: without noise, the digits that the Gram matrix loses are Lyapunov times.",
        ],
        scores=scores,
        entries=entries,
        bars=bars,
        notes=notes,
        draw=partial(_draw, errors, fine),
        caption=(
            f"Median over {fine.starts} starts of the normalised error against lead, first seed, "
            f"training data without noise, dt {fine.dt:g}; dotted: the threshold."
        ),
    )


def _label(part: str) -> str:
    """The entry that a bar applies to: with noise, several states in a row tell more than one."""
    return LABELS["normal_delays" if part.startswith("noise") else "normal"]


_SOURCES = {
    "fine": "Measured for this project before; the Gram matrix stands beside it.",
    "squared": "Best variant in the public code of DeepRFM (localised deep random features).",
    "noise_3": "Prototype of this project.",
    "noise_2": "Prototype of this project.",
}


def _draw(errors: dict[str, Array], setup: Lorenz63Setup, figure: Figure) -> None:
    panel = figure.subplots()
    for (label, error), style in zip(errors.items(), STYLES, strict=False):
        times = np.arange(1, len(error) + 1) * setup.dt * EXPONENT
        panel.plot(times, error, label=label, **style)
    panel.axhline(setup.threshold, color="0.45", linewidth=0.8, linestyle=":")
    panel.set(yscale="log", xlabel="lead (Lyapunov times)", ylabel="normalised error")
    panel.legend(loc="lower right")


@lru_cache(maxsize=8)
def _validation_data(setup: str, delays: int) -> Lorenz63Data:
    return Lorenz63Data.make(Lorenz63Setup.model_validate_json(setup), VALIDATION_SEED, delays)


def _measure(
    part: Literal["fine", "squared", "noise_3", "noise_2"],
    name: str,
    settings: Lorenz63Settings,
    seed: int,
) -> float:
    network_settings = settings.networks[name][part]
    # A long column of starts is not needed to choose by.
    setup = settings.setups[part]
    setup = setup.model_copy(update={"starts": min(setup.starts, 100)})
    data = _validation_data(setup.model_dump_json(), network_settings.delays)
    network = sampled_network(settings.width, network_settings, seed).fit(data.noisy(seed + 1000))
    return data.score(data.forecast(network))


def _measure_gram(settings: Lorenz63Settings, seed: int) -> float:
    setup = settings.setups["fine"]
    data = _validation_data(setup.model_dump_json(), 1)
    plain = sampled_network(settings.width, settings.networks["normal"]["fine"], seed)
    return data.score(data.forecast(solve_gram(plain, data.train, settings.gram_ridge)))


_VALIDITY = Score("validity", "valid prediction time", "Lyapunov times", "higher")

CASE = Case(
    name="lorenz63",
    summary="Lorenz 63: forecasts by solver and sampling, without and with noise in the data",
    settings=Lorenz63Settings,
    run=run,
    validations={
        f"{name}_{part}": Validation(_VALIDITY, partial(_measure, part, name))
        for name in LABELS
        for part in ("fine", "squared", "noise_3", "noise_2")
    }
    | {"gram": Validation(_VALIDITY, _measure_gram)},
)
