"""Forecasts of a homogeneous field by one network for all places: what two cases share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import count
from typing import Any, Self

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from gfrnn.pipeline.config.section import Section
from gfrnn.pipeline.reduction.progress import Progress, ProgressUpdate
from gfrnn.workflows.cases.shared.trajectories import Truth, quietly
from gfrnn.workflows.reproduce.case import Bar, Case, CaseResult, Entry, Kind, Score, Validation
from gfrnn.workflows.reproduce.figure_style import STYLES
from gfrnn.workflows.reproduce.timing import timed
from gfrnn_core import Patches, SampledRNN
from gfrnn_core.metrics import forecast_error, kl_divergence, valid_prediction_time

Array = NDArray[Any]

TRAIN_SEED, TEST_SEED, VALIDATION_SEED, FREE_RUN_SEED = 0, 1, 2, 3
"""Seeds of the first states: no trajectory serves two purposes; free runs take two."""

LINEAR = "linear model, same window"
TRUTH = "another stretch of the truth"

VALID = Score("valid", "valid prediction time, mean of starts", "Lyapunov times", "higher")
KL = Score("kl", "KL divergence of the invariant measure", "nats", "lower")

# Starts that are followed or forecast at a time, so that little memory is needed.
_BATCH = 25
# Of the free runs every tenth step counts: neighbouring ones say nearly the same.
_EVERY = 10


class FieldData(Section):
    """Training series and test forecasts."""

    times: PositiveInt
    starts: PositiveInt
    steps: PositiveInt
    threshold: PositiveFloat


class FieldNetwork(Section):
    """The network of one place."""

    size: PositiveInt
    """Cells whose next values a patch predicts."""
    halo: tuple[NonNegativeInt, NonNegativeInt]
    """Cells before and after them that the linear terms see."""
    inner: tuple[NonNegativeInt, NonNegativeInt]
    """Cells before and after them that the hidden features see."""
    scale: PositiveFloat
    ridge: NonNegativeFloat
    rows: PositiveInt
    """Pairs of a window and what follows, drawn from all times and places."""

    @model_validator(mode="after")
    def _inner_within_halo(self) -> Self:
        if any(inner > halo for inner, halo in zip(self.inner, self.halo, strict=True)):
            raise ValueError(f"inner: {self.inner} is not within halo, {self.halo}")
        return self


class FieldModel(Section):
    """One of those that are compared; without hidden features it is the linear model."""

    width: NonNegativeInt
    noise: NonNegativeFloat
    """On what it sees in training, in standard deviations: each needs its own to be stable."""

    @property
    def name(self) -> str:
        """Name in the table."""
        return f"sampled network, {self.width:,} features" if self.width else LINEAR


class FreeRunSettings(Section):
    """Free runs."""

    starts: PositiveInt
    steps: PositiveInt


class FieldCaseSettings(Section):
    """Settings of a case."""

    network: FieldNetwork
    wide: FieldModel
    small: FieldModel
    linear: FieldModel
    data: FieldData
    climate: FreeRunSettings


@dataclass(frozen=True)
class FieldSystem:
    """A system on a periodic line, and the best that others have reached on it.

    Attributes
    ----------
    title, about, cells, dt
    exponent : float
        Largest Lyapunov exponent, per unit of time.
    apart : int
        Cells between the two values whose joint distribution is compared.
    series : callable
        (seed, times, progress) to a trajectory on the attractor, shape (times, cells).
    scattered : callable
        (number, seed) to states on the attractor that know nothing of each other, shape
        (number, cells).
    follow : callable
        (starts, steps, scale) to the truth after them, and how long it is one.
    free : callable
        (number, seed, steps) to long trajectories, shape (number, steps + 1, cells).
    rival, rival_valid
        The method, and its valid prediction time as quoted.
    bar, truth
        What is to be reached; how the truth was computed.
    """

    title: str
    about: tuple[str, ...]
    cells: int
    dt: float
    exponent: float
    apart: int
    series: Callable[[int, int, Progress], Array]
    scattered: Callable[[int, int], Array]
    follow: Callable[[Array, int, float], Truth]
    free: Callable[[int, int, int], Array]
    rival: str
    rival_valid: float
    bar: float
    truth: str


def no_progress(_: ProgressUpdate) -> None:
    """Progress that nobody looks at."""


@lru_cache(maxsize=1)
def training_series(field: FieldSystem, times: int, progress: Progress) -> Array:
    """The training series, shape (times, cells)."""
    return field.series(TRAIN_SEED, times, progress)


@lru_cache(maxsize=2)
def true_trajectories(
    field: FieldSystem, starts: int, steps: int, seed: int, scale: float, progress: Progress
) -> Truth:
    """The truth after the starts of one seed."""
    first = field.scattered(starts, seed)
    parts = []
    progress(ProgressUpdate("truth", 0, starts))
    for begin in range(0, starts, _BATCH):
        parts.append(field.follow(first[begin : begin + _BATCH], steps, scale))
        progress(ProgressUpdate("truth", min(begin + _BATCH, starts), starts))
    return Truth(
        first, np.concatenate([p.path for p in parts]), np.concatenate([p.trusted for p in parts])
    )


def train(
    network_settings: FieldNetwork, model: FieldModel, seed: int, states: Array
) -> SampledRNN:
    """A network whose linear terms see all of a window and whose hidden features its inner part.

    What lies far off acts on a place weakly and so nearly linearly: features that do not look
    there resolve finer what is near. The linear terms need all, or input noise could not keep
    forecasts on smooth fields.

    Parameters
    ----------
    net, model, seed
    states : ndarray, shape (times, cells)
    """
    patches = Patches(
        (states.shape[1],),
        (network_settings.halo,),
        size=network_settings.size,
        inner=(network_settings.inner,),
    )
    network = SampledRNN(
        model.width,
        sampling="normal",
        scale=network_settings.scale,
        noise=model.noise,
        ridge=network_settings.ridge,
        patches=patches,
        share=min(1.0, network_settings.rows / ((len(states) - 1) * patches.places)),
        seed=seed,
    )
    return network.fit(states)


@dataclass(frozen=True)
class FieldForecasts:
    """Forecasts from all starts."""

    error: Array
    """Squared and relative, shape (starts, steps)."""
    valid: Array
    """Lyapunov times, counted to where the truth is trusted: shape (starts,)."""
    shown: Array
    """The first forecast, shape (steps, cells)."""


def forecast(
    field: FieldSystem,
    network: SampledRNN,
    truth: Truth,
    threshold: float,
    step: Callable[[], None] = lambda: None,
) -> FieldForecasts:
    """Forecast from all starts, a batch at a time; ``step`` is called after each."""
    errors, valid, shown = [], [], None
    for begin in range(0, len(truth.starts), _BATCH):
        part = slice(begin, begin + _BATCH)
        with quietly():
            found = network.rollout(truth.starts[part, None], truth.path.shape[1])
        errors.append(forecast_error(found, truth.path[part], "squared_relative"))
        times = valid_prediction_time(
            found, truth.path[part], field.dt, field.exponent, threshold, "squared_relative"
        )
        valid.append(np.minimum(times, truth.trusted[part] * field.exponent))
        shown = found[0] if shown is None else shown
        step()
    if shown is None:
        raise ValueError("truth: no starts at all")
    return FieldForecasts(np.concatenate(errors), np.concatenate(valid), shown)


def neighbours(path: Array, apart: int) -> Array:
    """Values ``apart`` cells from each other, at all places and every tenth time.

    Shape (starts, times, cells) to (values, 2).
    """
    kept = path[:, ::_EVERY]
    return np.stack([kept, np.roll(kept, -apart, axis=-1)], axis=-1).reshape(-1, 2)


def run(
    field: FieldSystem, settings: FieldCaseSettings, seeds: Sequence[int], progress: Progress
) -> CaseResult:
    """Train and score all methods."""
    data, climate = settings.data, settings.climate
    states = training_series(field, data.times, progress)
    truth = true_trajectories(
        field, data.starts, data.steps, TEST_SEED, float(states.std()), progress
    )
    free = [field.free(climate.starts, FREE_RUN_SEED + half, climate.steps) for half in (0, 1)]
    reference = neighbours(free[1], field.apart)
    models = (settings.wide, settings.small, settings.linear)
    # The linear model hardly depends on the seed.
    plans = [(model, list(seeds) if model.width else list(seeds)[:1]) for model in models]
    total = sum(len(own) for _, own in plans) * (-(-data.starts // _BATCH) + 2)
    steps = count(1)

    def step() -> None:
        progress(ProgressUpdate("networks", next(steps), total))

    entries: list[Entry] = []
    shown: dict[str, FieldForecasts] = {}
    progress(ProgressUpdate("networks", 0, total))
    for model, own in plans:
        scores: dict[str, list[float]] = {"valid": [], "kl": []}
        training_times = []
        for seed in own:
            network, seconds = timed(partial(train, settings.network, model, seed, states))
            training_times.append(seconds)
            step()
            found = forecast(field, network, truth, data.threshold, step)
            shown.setdefault(model.name, found)
            scores["valid"].append(float(found.valid.mean()))
            with quietly():
                path = network.rollout(free[0][:, :1], climate.steps)
            scores["kl"].append(kl_divergence(neighbours(path, field.apart), reference))
            step()
        kind: Kind = "ours" if model.width else "reference"
        entries.append(Entry(model.name, kind, scores, training_times))
    floor = kl_divergence(neighbours(free[0][:, 1:], field.apart), reference)
    entries.append(Entry(TRUTH, "reference", {"kl": [floor]}))
    entries.append(Entry(field.rival, "reference", {"valid": [field.rival_valid]}))
    return _result(field, settings, truth, entries, shown)


def _result(
    field: FieldSystem,
    settings: FieldCaseSettings,
    truth: Truth,
    entries: Sequence[Entry],
    shown: dict[str, FieldForecasts],
) -> CaseResult:
    data, place, ours = settings.data, settings.network, settings.wide.name
    window = place.size + sum(place.halo)
    noise = f"{settings.wide.noise:g}, {settings.small.noise:g}, {settings.linear.noise:g}"
    return CaseResult(
        title=f"{field.title}, {settings.wide.width:,} tanh features",
        about=(
            *field.about,
            f"One network for all {field.cells // place.size} places sees {window} neighbouring "
            f"values, its hidden features the inner {place.size + sum(place.inner)} of them, and "
            f"predicts the change of {place.size}. It is trained on about {place.rows:,} such "
            f"windows with what follows, drawn at random from {data.times:,} successive states. "
            f"Noise on what is seen in training, in standard deviations: {noise} for the linear "
            "model.",
            f"A forecast is valid until its squared error, relative to the squared state, passes "
            f"{data.threshold:g}; the mean of {data.starts} starts from another trajectory each.",
        ),
        scores=(VALID, KL),
        entries=entries,
        draw=partial(_draw, field, data, truth, shown),
        caption=(
            f"Left: squared relative error against lead, median and quartiles of {data.starts} "
            "starts, first seed; dotted: the threshold. Right: the first test start, truth, "
            f"forecast of the {ours} and their difference over place and lead; the dashed line is "
            "where that forecast stops being valid."
        ),
        bars=(
            Bar("valid", ours, field.bar, text="At most 4,000 features in one layer."),
            Bar("valid", ours, against=field.rival, text="Quoted, not rerun."),
        ),
        notes=_notes(field, settings, truth, shown[ours]),
    )


def _notes(
    field: FieldSystem, settings: FieldCaseSettings, truth: Truth, ours: FieldForecasts
) -> tuple[str, ...]:
    trusted = truth.trusted * field.exponent
    length = settings.data.steps * field.dt * field.exponent
    cut = int((ours.valid >= np.minimum(trusted, length) * (1 - 1e-9)).sum())
    climate = settings.climate
    return (
        f"{field.truth} It is trusted to {trusted.min():.1f} Lyapunov times at the worst start and "
        f"{np.median(trusted):.1f} at half of them, and forecasts are counted to there; they run "
        f"for {length:.1f}. Of the {len(trusted)} forecasts of the first seed {cut} were still "
        f"valid then{', so that their time is a lower bound' if cut else ''}.",
        f"{field.rival}: quoted from the public code of localised deep random features (arXiv "
        "2501.06661), not run here; the same threshold on the same norm.",
        f"KL divergence: {climate.starts} free runs of {climate.steps} steps each, histograms of "
        f"30 x 30 bins of the values at cells {field.apart} apart, against as many true states "
        "elsewhere; infinite for runs that left the range of the data.",
        "Settings were chosen on other starts than the test's. The truth's initial states of "
        "training, validation, test and free runs have seeds of their own.",
    )


def _draw(
    field: FieldSystem,
    data: FieldData,
    truth: Truth,
    shown: dict[str, FieldForecasts],
    figure: Figure,
) -> None:
    figure.set_size_inches(figure.get_figwidth(), 4.6)
    growth, *pictures = figure.subplots(1, 4, width_ratios=(2.2, 1, 1, 1))
    times = np.arange(1, data.steps + 1) * field.dt * field.exponent
    for (name, found), style in zip(shown.items(), STYLES, strict=False):
        # The error of a diverged forecast is far above everything that is drawn.
        error = np.nan_to_num(found.error, posinf=1e3)
        low, middle, high = np.quantile(error, [0.25, 0.5, 0.75], axis=0)
        growth.plot(times, middle, label=name, **style)
        growth.fill_between(times, low, high, color=style["color"], alpha=0.2, linewidth=0)
    growth.axhline(data.threshold, color="0.45", linewidth=0.8, linestyle=":")
    least = min(np.median(found.error[:, 0]) for found in shown.values())
    growth.set(yscale="log", ylim=(0.3 * max(least, 1e-16), 10))
    growth.set(xlabel="lead (Lyapunov times)", ylabel="squared relative error")
    growth.legend(loc="lower right")
    ours, path = next(iter(shown.values())), truth.path[0]
    limit = float(np.abs(path).max())
    fields = {"truth": path, "forecast": ours.shown, "difference": ours.shown - path}
    for axes, (title, values) in zip(pictures, fields.items(), strict=True):
        picture = axes.imshow(
            values, aspect="auto", origin="lower", cmap="RdBu_r", vmin=-limit, vmax=limit,
            extent=(0, field.cells, 0, times[-1]), interpolation="nearest",
        )  # fmt: skip
        axes.axhline(ours.valid[0], color="0.15", linewidth=0.9, linestyle="--")
        axes.set(title=title, xlabel="cell")
        axes.grid(visible=False)
        axes.tick_params(labelleft=axes is pictures[0])
    pictures[0].set(ylabel="lead (Lyapunov times)")
    figure.colorbar(picture, ax=pictures, shrink=0.8)


def _measure(field: FieldSystem, name: str, settings: FieldCaseSettings, seed: int) -> float:
    data = settings.data
    states = training_series(field, data.times, no_progress)
    starts = min(data.starts, _BATCH)  # enough to choose by
    truth = true_trajectories(
        field, starts, data.steps, VALIDATION_SEED, float(states.std()), no_progress
    )
    network = train(settings.network, getattr(settings, name), seed, states)
    return float(forecast(field, network, truth, data.threshold).valid.mean())


def field_case(name: str, summary: str, field: FieldSystem) -> Case[FieldCaseSettings]:
    """The case of one field."""
    return Case(
        name=name,
        summary=summary,
        settings=FieldCaseSettings,
        run=partial(run, field),
        validations={
            name: Validation(VALID, partial(_measure, field, name))
            for name in ("wide", "small", "linear")
        },
    )
