"""Learning by random perturbations compared with backpropagation through time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import get_args

import numpy as np

from gfrnn.pipeline.reduction.progress import Progress
from gfrnn.pipeline.reduction.run_tasks import run_tasks
from gfrnn.workflows.cases.perturbation.learning_curves import LearningCurves, dataset
from gfrnn.workflows.cases.perturbation.learning_figure import draw
from gfrnn.workflows.cases.perturbation.learning_run import LearningRun, learn, validation_loss
from gfrnn.workflows.cases.perturbation.perturbation_settings import (
    REFERENCE,
    LearningRule,
    PerturbationNetwork,
    PerturbationSettings,
    RuleName,
    TaskName,
    WeatherData,
)
from gfrnn.workflows.cases.perturbation.task_data import TaskPart, make_task, parts
from gfrnn.workflows.reproduce.case import Case, Validation
from gfrnn.workflows.reproduce.case_result import Bar, CaseResult, Entry, Kind, Score
from gfrnn_core.perturbation import Perturbation

MAIN_RULE: RuleName = "danp"
"""Rule that the bars apply to."""

PUBLISHED: Mapping[tuple[TaskName, int], Mapping[str, float]] = {
    ("mackey-glass", 15): {"20-lag linear map, to beat": 0.0106},
    ("weather", 1): {"least squares on 9 features, to beat": 5.64e-4},
    ("weather", 24): {"least squares on 9 features, to beat": 4.14e-3},
    ("weather", 48): {"least squares on 9 features, to beat": 8.21e-3},
}
"""Test losses of simple methods, measured for this project before, as bars."""

_TITLES: Mapping[TaskName, str] = {
    "mackey-glass": "Mackey-Glass",
    "copying": "Copying memory",
    "weather": "Temperature of a station",
}


def run(settings: PerturbationSettings, seeds: Sequence[int], progress: Progress) -> CaseResult:
    """Run all rules; each rule, seed and horizon is one job, as is each size of the scaling."""
    task_settings, rules = settings.task_settings, settings.distinct_rules
    horizons = parts(task_settings.data)
    references = {
        part: make_task(task_settings.data, part.ahead, validation=False) for part in horizons
    }
    jobs = [(part, name, seed) for part in horizons for name in rules for seed in seeds]
    learnt = run_tasks(
        "learning",
        learn,
        [
            (
                task_settings.data,
                part.ahead,
                task_settings.network,
                name,
                task_settings.rules[name],
                seed,
            )
            for part, name, seed in jobs
        ],
        progress,
    )
    runs: dict[tuple[str, RuleName], list[LearningRun]] = {}
    for (part, name, _), found in zip(jobs, learnt, strict=True):
        runs.setdefault((part.key, name), []).append(found)
    curves = LearningCurves(
        horizons,
        rules,
        list(seeds),
        runs,
        _scaling(settings, horizons[0], rules, progress),
        {
            part.key: {**task.references, **PUBLISHED.get((settings.task, part.ahead), {})}
            for part, task in references.items()
        },
    )
    return _result(settings, curves)


def _scaling(
    settings: PerturbationSettings, part: TaskPart, rules: Sequence[RuleName], progress: Progress
) -> dict[tuple[RuleName, int], LearningRun]:
    """Run some rules with several numbers of hidden units; return runs by rule and number."""
    task_settings, scaling = settings.task_settings, settings.task_settings.scaling
    sizes = [(name, units) for name in scaling.rules if name in rules for units in scaling.units]

    def arguments(name: RuleName, units: int) -> tuple[object, ...]:
        change = {"units": units, "epochs": scaling.epochs, "streams": scaling.streams}
        network: PerturbationNetwork = task_settings.network.model_copy(update=change)
        rule: LearningRule = task_settings.rules[name].model_copy(update={"draws": scaling.draws})
        return task_settings.data, part.ahead, network, name, rule, 0

    if not sizes:
        return {}
    found = run_tasks("scaling", learn, [arguments(*size) for size in sizes], progress)
    return dict(zip(sizes, found, strict=True))


def _result(settings: PerturbationSettings, curves: LearningCurves) -> CaseResult:
    task_settings, task = settings.task_settings, settings.task
    loss = "cross entropy" if task == "copying" else "normalised MSE"
    scores = []
    for part in curves.parts:
        where = f", {part.label}" if part.label else ""
        scores.append(Score(f"loss{part.key}", f"test loss{where}", loss))
        scores.append(
            Score(f"relative{part.key}", f"test loss over the median of {REFERENCE}{where}")
        )
    scores.append(Score("epoch", "time of an epoch", "s"))
    entries = [_entry(curves, name) for name in curves.rules]
    for text in dict.fromkeys(text for lines in curves.references.values() for text in lines):
        values = {
            f"loss{part.key}": [curves.references[part.key][text]]
            for part in curves.parts
            if text in curves.references[part.key]
        }
        entries.append(Entry(text, "reference", values))
    network, scaling = task_settings.network, task_settings.scaling
    streams = f", {network.streams} parallel streams" if network.streams > 1 else ""
    window = "all steps of a sequence" if network.window is None else f"{network.window} steps"
    return CaseResult(
        title=f"{_TITLES[task]}: learning by perturbation, {network.units} hidden units",
        description=[_task_description(settings), _RULES_DESCRIPTION],
        scores=scores,
        entries=entries,
        bars=list(_bars(settings, curves)) if MAIN_RULE in curves.rules else [],
        notes=[
            f"{network.epochs} epochs, an update after {window}{streams}. All rules start from the "
            "same weights and use the same data, each with its own settings. The settings file "
            "states which settings were chosen; they were chosen on the end of the training part. "
            "A seed is that of the weights and of the noise.",
            *_settings_notes(settings, curves.rules),
            *_diverged(curves),
        ],
        draw=partial(draw, curves, loss),
        caption=(
            "Left and middle: test loss against epochs and against seconds of learning, median and "
            "range over seeds; horizontal lines: simple references. Right: test loss "
            f"(first horizon, one seed) after {scaling.epochs} epochs of {scaling.draws} draws in "
            f"{scaling.streams} streams (above) and seconds per epoch (below) against hidden "
            f"units, with the learning rates for {network.units} units."
        ),
        dataset=dataset(curves, settings),
    )


def _entry(curves: LearningCurves, name: RuleName) -> Entry:
    scores: dict[str, list[float]] = {}
    training = np.zeros(len(curves.seeds))
    epochs = []
    for part in curves.parts:
        found = curves.runs[part.key, name]
        finals = [one.final for one in found]
        scores[f"loss{part.key}"] = finals
        level = curves.median(part, REFERENCE)
        if level is not None and np.isfinite(level):
            scores[f"relative{part.key}"] = [final / level for final in finals]
        training += [one.total for one in found]
        epochs.append([one.epoch_seconds for one in found])
    scores["epoch"] = list(np.mean(epochs, axis=0))
    kind: Kind = "reference" if "bptt" in name else "ours"
    return Entry(name, kind, scores, list(training))


def _bars(settings: PerturbationSettings, curves: LearningCurves) -> Iterator[Bar]:
    for part in curves.parts:
        for text, value in PUBLISHED.get((settings.task, part.ahead), {}).items():
            yield Bar(
                f"loss{part.key}", MAIN_RULE, value, strict=True, text=f"{text}.".capitalize()
            )
        if settings.task == "weather" and part.ahead > 1:
            continue
        if curves.median(part, REFERENCE) is not None:
            yield Bar(
                f"relative{part.key}", MAIN_RULE, 1.1, text=f"10 % above the median of {REFERENCE}."
            )
        for other in ("np", "wp"):
            level = curves.median(part, other)
            if level is not None:
                text = f"Half of the median of {other}, which has no decorrelation."
                # If both diverged, the bar is not reached.
                yield Bar(
                    f"loss{part.key}", MAIN_RULE, level / 2, strict=np.isinf(level), text=text
                )


_RULES_DESCRIPTION = (
    "Weight perturbation (wp), node perturbation (np) and activity-based node perturbation (anp) "
    "learn from the losses of one clean and several noisy forward passes (arXiv 2405.08967). A d "
    "before the name stands for decorrelated activity. All rules have the same number of noisy "
    "passes in an update; anp and danp solve for the gradient that fits all of them, the others "
    "take the mean of their estimates. bptt is exact backpropagation through all steps of a "
    "window, dbptt the same with decorrelated activity."
)


def _task_description(settings: PerturbationSettings) -> str:
    data = settings.task_settings.data
    if isinstance(data, WeatherData):
        return (
            "Dry bulb temperature of a station (WTH.csv) from its hourly values, scaled by their "
            f"extremes in the first {data.train} rows, which are the training part. The remaining "
            "rows, November and December 2013, are the test. The network predicts the change from "
            "the present temperature. A constant input replaces biases."
        )
    if settings.task == "copying":
        return (
            "Copying memory: output the symbol that was shown some steps before; the loss is the "
            "cross entropy."
        )
    return (
        "Mackey-Glass series with a delay of 17, transformed by tanh(x - 1): the input is the "
        "present value, the target a later one."
    )


def _settings_notes(settings: PerturbationSettings, rules: Sequence[RuleName]) -> Iterator[str]:
    """Yield one note on the settings of each rule."""
    for name in rules:
        rule = settings.task_settings.rules[name]
        text = f"{name}: {rule.optimiser}, rate {rule.rate:g}, {rule.schedule}"
        if rule.decorrelation:
            text += f", decorrelation {rule.decorrelation:g}"
        method = rule.method(name)
        if isinstance(method, Perturbation):
            text += f", noise {rule.sigma:g}, draws {rule.draws}"
            solved = method.combine == "solve"
            if solved:
                text += " solved together"
            elif method.kind != "wp":
                text += f", credit {'to the end' if rule.credit is None else rule.credit}"
            if method.kind == "anp" and not solved:
                text += f", {rule.scaling} scaling"
        yield text + "."


def _diverged(curves: LearningCurves) -> Iterator[str]:
    """Yield one note on each run that diverged."""
    for (part, name), found in curves.runs.items():
        for seed, one in zip(curves.seeds, found, strict=True):
            if one.diverged is not None:
                label = next(one.label for one in curves.parts if one.key == part)
                where = f", {label}" if label else ""
                yield f"{name}{where}, seed {seed} diverged (infinite loss): {one.diverged}."
    for (name, units), one in curves.scaling.items():
        if one.diverged is not None:
            yield f"{name} with {units} units diverged: {one.diverged}."


def _validation_score(
    task: TaskName, name: RuleName, settings: PerturbationSettings, seed: int
) -> float:
    task_settings = settings.model_copy(update={"task": task}).task_settings
    aheads = [part.ahead for part in parts(task_settings.data)]
    return validation_loss(
        task_settings.data, aheads, task_settings.network, name, task_settings.rules[name], seed
    )


def _applies(task: TaskName, name: RuleName, settings: PerturbationSettings) -> bool:
    return settings.task == task and name in settings.rules


CASE = Case(
    name="perturbation",
    summary="Learning by random perturbations (wp, np, anp) against backpropagation through time",
    settings=PerturbationSettings,
    run=run,
    validations={
        f"{task}_{name}": Validation(
            Score("log_loss", "log10 of the validation loss"),
            partial(_validation_score, task, name),
            partial(_applies, task, name),
        )
        for task in get_args(TaskName)
        for name in get_args(RuleName)
    },
    parallel=True,
)
