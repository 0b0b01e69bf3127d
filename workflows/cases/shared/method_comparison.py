"""Cases that compare a sampled network with an echo state network and a linear model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gfrnn.pipeline.reduction.progress import Progress
from gfrnn.workflows.cases.shared.compared_methods import (
    LINEAR,
    SAMPLED_NETWORK,
    TRAINERS,
    ComparedSystem,
    ComparisonData,
    ComparisonSettings,
    forecast,
    make_data,
    mean_error,
    train_linear,
)
from gfrnn.workflows.cases.shared.echo_state_network import (
    ECHO_STATE_NETWORK,
    NOT_INSTALLED,
    reservoirpy_installed,
)
from gfrnn.workflows.cases.shared.step_progress import step_progress
from gfrnn.workflows.cases.shared.trajectories import TEST_SEED, VALIDATION_SEED
from gfrnn.workflows.reproduce.case import Case, Validation
from gfrnn.workflows.reproduce.case_result import TRAINING, Bar, CaseResult, Entry, Kind, Score
from gfrnn.workflows.reproduce.figure_style import STYLES, TRUTH
from gfrnn.workflows.reproduce.timing import timed
from gfrnn_core.metrics import forecast_error

Array = NDArray[Any]

KINDS: Mapping[str, Kind] = {
    SAMPLED_NETWORK: "ours",
    ECHO_STATE_NETWORK: "peer",
    LINEAR: "reference",
}


def run(
    compared: ComparedSystem, settings: ComparisonSettings, seeds: Sequence[int], progress: Progress
) -> CaseResult:
    """Train and score all methods; the echo state network only if reservoirpy is installed."""
    data = make_data(compared, settings.data, TEST_SEED)
    names = [name for name in TRAINERS if name != ECHO_STATE_NETWORK or reservoirpy_installed()]
    timed(partial(train_linear, settings, data, 0))  # excludes imports on first use
    entries: list[Entry] = []
    forecasts: dict[str, Array] = {}
    step = step_progress(progress, "networks", len(names) * len(seeds))
    for name in names:
        scores: dict[str, list[float]] = {"nmse": []}
        training = []
        for seed in seeds:
            model, seconds = timed(partial(TRAINERS[name], settings, data, seed))
            training.append(seconds)
            found = forecast(model, data, data.truth.states.shape[1])
            forecasts.setdefault(name, found)
            scores["nmse"].append(mean_error(found, data, settings.data.steps))
            if settings.data.valid_steps is not None:
                median = _median_valid_time(compared, settings, data, found)
                scores.setdefault("valid", []).append(median)
            step()
        entries.append(Entry(name, KINDS[name], scores, training))
    return _result(compared, settings, data, entries, forecasts)


def _median_valid_time(
    compared: ComparedSystem, settings: ComparisonSettings, data: ComparisonData, found: Array
) -> float:
    times = data.truth.valid_times(
        found,
        settings.data.dt,
        compared.system.lyapunov_exponent,
        settings.data.threshold,
        scale=data.scale,
    )
    return float(np.median(times))


def _result(
    compared: ComparedSystem,
    settings: ComparisonSettings,
    data: ComparisonData,
    entries: list[Entry],
    forecasts: Mapping[str, Array],
) -> CaseResult:
    duration = settings.data.steps * settings.data.dt
    scores = [Score("nmse", f"normalised MSE over {duration:g} time units")]
    if settings.data.valid_steps is not None:
        label = f"valid prediction time, threshold {settings.data.threshold:g}, median of starts"
        scores.append(Score("valid", label, "Lyapunov times", "higher"))
    source = "The echo state network of the same width on the same data."
    return CaseResult(
        title=f"{compared.title}, width {settings.width}",
        description=compared.description,
        scores=scores,
        entries=entries,
        bars=[
            Bar(score.key, SAMPLED_NETWORK, against=ECHO_STATE_NETWORK, text=source)
            for score in (*scores, TRAINING)
        ],
        notes=_notes(compared, settings, data),
        draw=partial(_draw, settings, data, forecasts),
        caption=(
            "Left: first coordinate after one initial state, truth and forecasts of the first "
            "seed. Right: median over initial states of the normalised error against lead."
        ),
    )


def _notes(
    compared: ComparedSystem, settings: ComparisonSettings, data: ComparisonData
) -> list[str]:
    own = settings.data
    notes = [
        f"{own.series} training series of {own.samples} samples, dt {own.dt:g}; {own.starts} "
        f"forecasts, each after {own.history} true states, of which a network with delays uses the "
        f"last {settings.delays} and the echo state network all.",
        "All methods are trained on the same series. Their settings are chosen on other initial "
        "states than those of the test, those of the echo state network by the random search that "
        "its authors advise.",
    ]
    trusted, length = data.truth.trusted_time, data.truth.states.shape[1] * own.dt
    if trusted.min() < 0.999 * length:
        shortest = trusted.min() * compared.system.lyapunov_exponent
        notes.append(
            f"The truth is trusted to {shortest:.1f} Lyapunov times at the worst initial state; "
            "valid prediction times end where it is no longer trusted."
        )
    else:
        notes.append(f"The truth is trusted for the whole length of the forecasts, {length:g}.")
    if not reservoirpy_installed():
        notes.append(NOT_INSTALLED)
    return notes


def _draw(
    settings: ComparisonSettings,
    data: ComparisonData,
    forecasts: Mapping[str, Array],
    figure: Figure,
) -> None:
    left, right = figure.subplots(1, 2)
    truth = data.truth.states
    times = np.arange(1, truth.shape[1] + 1) * settings.data.dt
    part = slice(None, settings.data.steps)
    low, high = truth[..., 0].min(), truth[..., 0].max()
    left.plot(times[part], truth[0, part, 0], label="truth", zorder=9, **TRUTH)
    for (name, found), style in zip(forecasts.items(), STYLES, strict=False):
        left.plot(times[part], found[0, part, 0], **style)
        median = np.median(forecast_error(found, truth, scale=data.scale), axis=0)
        right.plot(times, median, label=name, **style)
    left.set(xlabel="time", ylabel="x", ylim=(1.2 * low - 0.2 * high, 1.2 * high - 0.2 * low))
    right.set(yscale="log", xlabel="lead (time)", ylabel="normalised error")
    figure.legend(loc="outside upper right", ncols=4)


def _validation_score(
    compared: ComparedSystem, name: str, settings: ComparisonSettings, seed: int
) -> float:
    short = settings.data.model_copy(update={"valid_steps": None})
    data = make_data(compared, short, VALIDATION_SEED)
    found = forecast(TRAINERS[name](settings, data, seed), data, short.steps)
    # Errors differ by orders of magnitude between seeds, so that the mean is taken of logarithms.
    return float(np.log10(mean_error(found, data, short.steps)))


def comparison_case(name: str, summary: str, compared: ComparedSystem) -> Case[ComparisonSettings]:
    """Define the case that compares the methods on one system."""
    score = Score("log_nmse", "log10 of the normalised MSE")
    keys = {"network": SAMPLED_NETWORK, "echo": ECHO_STATE_NETWORK, "linear": LINEAR}
    return Case(
        name=name,
        summary=summary,
        settings=ComparisonSettings,
        run=partial(run, compared),
        validations={
            key: Validation(score, partial(_validation_score, compared, method))
            for key, method in keys.items()
        },
    )
