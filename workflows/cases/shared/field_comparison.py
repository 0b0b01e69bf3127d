"""Cases that forecast a chaotic field on a line with one network for all places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveFloat, PositiveInt

from gfrnn.pipeline.config.section import Section
from gfrnn.pipeline.reduction.progress import Progress
from gfrnn.workflows.cases.shared.field_figure import draw
from gfrnn.workflows.cases.shared.field_forecasts import (
    FieldForecasts,
    FieldModel,
    FieldNetwork,
    forecast,
    train,
)
from gfrnn.workflows.cases.shared.field_system import (
    BATCH,
    FieldSystem,
    training_states,
    true_trajectories,
)
from gfrnn.workflows.cases.shared.invariant_measure import KL, LONG_RUN_SEEDS, TRUE_RUNS
from gfrnn.workflows.cases.shared.step_progress import no_progress, step_progress
from gfrnn.workflows.cases.shared.trajectories import (
    TEST_SEED,
    VALIDATION_SEED,
    Truth,
    divergence_allowed,
)
from gfrnn.workflows.reproduce.case import Case, Validation
from gfrnn.workflows.reproduce.case_result import Bar, CaseResult, Entry, Kind, Score
from gfrnn.workflows.reproduce.timing import timed
from gfrnn_core.metrics import kl_divergence

Array = NDArray[Any]

VALID = Score("valid", "valid prediction time, mean of starts", "Lyapunov times", "higher")

# Successive states of long runs are almost equal, so that statistics take every tenth one.
_THINNING = 10


class FieldData(Section):
    """Settings of the training series and of the test forecasts."""

    times: PositiveInt
    starts: PositiveInt
    steps: PositiveInt
    threshold: PositiveFloat


class FreeRunSettings(Section):
    """Number and length of the free runs whose statistics are compared with the truth."""

    starts: PositiveInt
    steps: PositiveInt


class FieldCaseSettings(Section):
    """Settings of a case on a field."""

    network: FieldNetwork
    wide: FieldModel
    small: FieldModel
    linear: FieldModel
    data: FieldData
    climate: FreeRunSettings


def value_pairs(states: Array, distance: int) -> Array:
    """Return pairs of values at a distance in cells, from all places and every tenth time.

    Parameters
    ----------
    states : ndarray, shape (starts, times, cells)
    distance : int

    Returns
    -------
    ndarray, shape (values, 2)
    """
    kept = states[:, ::_THINNING]
    return np.stack([kept, np.roll(kept, -distance, axis=-1)], axis=-1).reshape(-1, 2)


def run(
    system: FieldSystem, settings: FieldCaseSettings, seeds: Sequence[int], progress: Progress
) -> CaseResult:
    """Train all models and score their forecasts and free runs."""
    data, climate = settings.data, settings.climate
    states = training_states(system, data.times, progress)
    truth = true_trajectories(
        system, data.starts, data.steps, TEST_SEED, float(states.std()), progress
    )
    origin, other = (
        system.long_runs(climate.starts, seed, climate.steps) for seed in LONG_RUN_SEEDS
    )
    reference = value_pairs(other, system.pair_distance)

    def divergence(states: Array) -> float:
        return kl_divergence(value_pairs(states, system.pair_distance), reference)

    models = (settings.wide, settings.small, settings.linear)
    # The linear model hardly depends on the seed, so one is enough.
    plans = [(model, list(seeds) if model.width else list(seeds)[:1]) for model in models]
    batches = -(-data.starts // BATCH)
    step = step_progress(progress, "networks", sum(len(own) for _, own in plans) * (batches + 2))
    entries: list[Entry] = []
    forecasts: dict[str, FieldForecasts] = {}
    for model, own in plans:
        scores: dict[str, list[float]] = {"valid": [], "kl": []}
        training_times = []
        for seed in own:
            network, seconds = timed(partial(train, settings.network, model, seed, states))
            training_times.append(seconds)
            step()
            found = forecast(system, network, truth, data.threshold, step)
            forecasts.setdefault(model.name, found)
            scores["valid"].append(float(found.valid_times.mean()))
            with divergence_allowed():
                free_runs = network.rollout(origin[:, :1], climate.steps)
            scores["kl"].append(divergence(free_runs))
            step()
        kind: Kind = "ours" if model.width else "reference"
        entries.append(Entry(model.name, kind, scores, training_times))
    entries.append(Entry(TRUE_RUNS, "reference", {"kl": [divergence(origin[:, 1:])]}))
    entries.append(Entry(system.published_method, "reference", {"valid": [system.published_time]}))
    return _result(system, settings, truth, entries, forecasts)


def _result(
    system: FieldSystem,
    settings: FieldCaseSettings,
    truth: Truth,
    entries: Sequence[Entry],
    forecasts: Mapping[str, FieldForecasts],
) -> CaseResult:
    data, patch, ours = settings.data, settings.network, settings.wide.name
    window = patch.size + sum(patch.halo)
    noise = f"{settings.wide.noise:g}, {settings.small.noise:g} and {settings.linear.noise:g}"
    return CaseResult(
        title=f"{system.title}, {settings.wide.width:,} tanh features",
        description=(
            *system.description,
            f"One network serves all {system.cells // patch.size} places. It sees {window} "
            f"neighbouring values, of which its hidden features see the inner "
            f"{patch.size + sum(patch.inner)}, and predicts the change of {patch.size}. It is "
            f"trained on about {patch.rows:,} samples, drawn at random from all places and "
            f"{data.times:,} successive states. Standard deviations of the input noise in "
            f"training, relative to those of the inputs: {noise} (wide, small, linear).",
            "A forecast is valid until its squared error, relative to the squared state, exceeds "
            f"{data.threshold:g}. Scores are means of {data.starts} independent initial states.",
        ),
        scores=(VALID, KL),
        entries=entries,
        draw=partial(draw, system, data.threshold, truth, forecasts),
        caption=(
            f"Left: squared relative error against lead, median and quartiles of {data.starts} "
            "initial states, first seed; dotted: the threshold. Right: truth, forecast of the "
            f"{ours} and their difference over place and lead for the first initial state; the "
            "dashed line marks the end of the valid prediction time."
        ),
        bars=(
            Bar("valid", ours, system.bar, text="At most 4,000 features in one layer."),
            Bar("valid", ours, against=system.published_method, text="Quoted, not rerun."),
        ),
        notes=_notes(system, settings, truth, forecasts[ours]),
    )


def _notes(
    system: FieldSystem, settings: FieldCaseSettings, truth: Truth, ours: FieldForecasts
) -> tuple[str, ...]:
    trusted = truth.trusted_time * system.exponent
    length = settings.data.steps * system.dt * system.exponent
    cut = int((ours.valid_times >= np.minimum(trusted, length) * (1 - 1e-9)).sum())
    climate = settings.climate
    return (
        f"{system.truth_note} It is trusted to {trusted.min():.1f} Lyapunov times at the worst "
        f"initial state and {np.median(trusted):.1f} at half of them; valid prediction times end "
        f"there. Forecasts have a length of {length:.1f}. Of the {len(trusted)} forecasts of the "
        f"first seed {cut} were still valid at the end"
        f"{', so that their mean valid time is a lower bound' if cut else ''}.",
        f"{system.published_method}: from the public code of localised deep random features (arXiv "
        "2501.06661), not run here; threshold and norm are the same.",
        f"KL divergence: {climate.starts} free runs of {climate.steps} steps each, histograms of "
        f"30 x 30 bins of the values at a distance of {system.pair_distance} cells, against as "
        "many states of other true runs; infinite for runs that left the range of the data.",
        "Settings were chosen on other initial states than those of the test. Training, "
        "validation, test and free runs have different seeds for their initial states.",
    )


def _validation_score(
    system: FieldSystem, name: str, settings: FieldCaseSettings, seed: int
) -> float:
    data = settings.data
    states = training_states(system, data.times, no_progress)
    starts = min(data.starts, BATCH)  # enough for a choice
    truth = true_trajectories(
        system, starts, data.steps, VALIDATION_SEED, float(states.std()), no_progress
    )
    network = train(settings.network, getattr(settings, name), seed, states)
    return float(forecast(system, network, truth, data.threshold).valid_times.mean())


def field_case(name: str, summary: str, system: FieldSystem) -> Case[FieldCaseSettings]:
    """Define the case of one system."""
    return Case(
        name=name,
        summary=summary,
        settings=FieldCaseSettings,
        run=partial(run, system),
        validations={
            name: Validation(VALID, partial(_validation_score, system, name))
            for name in ("wide", "small", "linear")
        },
    )
