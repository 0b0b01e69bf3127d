"""Learning by random perturbations beside backpropagation through time: curves and scaling."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Literal, get_args

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
from gfrnn.workflows.reproduce.case import Bar, Case, CaseResult, Entry, Score, Validation
from gfrnn_core.perturbation import Perturbation

OURS: RuleName = "danp"
"""What the bars are for."""

PUBLISHED: Mapping[tuple[TaskName, int], Mapping[str, float]] = {
    ("mackey-glass", 15): {"20-lag linear map, to beat": 0.0106},
    ("weather", 1): {"least squares on 9 features, to beat": 5.64e-4},
    ("weather", 24): {"least squares on 9 features, to beat": 4.14e-3},
    ("weather", 48): {"least squares on 9 features, to beat": 8.21e-3},
}
"""Test losses measured for this project before, of what any claim must beat."""

_TITLES: Mapping[TaskName, str] = {
    "mackey-glass": "Mackey-Glass",
    "copying": "Copying memory",
    "weather": "Temperature of a station",
}


def run(settings: PerturbationSettings, seeds: Sequence[int], progress: Progress) -> CaseResult:
    """Every rule, seed and horizon is a job of its own; so is every size of the scaling."""
    task_settings, rules = settings.task_settings, settings.named
    shares = parts(task_settings.data)
    references = {
        part: make_task(task_settings.data, part.ahead, validation=False) for part in shares
    }
    places = [(part, name, seed) for part in shares for name in rules for seed in seeds]
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
            for part, name, seed in places
        ],
        progress,
    )
    runs: dict[tuple[str, RuleName], list[LearningRun]] = {}
    for (part, name, _), found in zip(places, learnt, strict=True):
        runs.setdefault((part.key, name), []).append(found)
    curves = LearningCurves(
        shares,
        rules,
        list(seeds),
        runs,
        _scaling(settings, shares[0], rules, progress),
        {
            part.key: {**task.references, **PUBLISHED.get((settings.task, part.ahead), {})}
            for part, task in references.items()
        },
    )
    return _result(settings, curves)


def _scaling(
    settings: PerturbationSettings, part: TaskPart, rules: Sequence[RuleName], progress: Progress
) -> dict[tuple[RuleName, int], LearningRun]:
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
            Score(f"relative{part.key}", f"test loss over the median of {REFERENCE}'s{where}")
        )
    scores.append(Score("epoch", "an epoch", "s"))
    entries = [_entry(curves, name) for name in curves.rules]
    for text in dict.fromkeys(text for lines in curves.references.values() for text in lines):
        values = {
            f"loss{part.key}": [curves.references[part.key][text]]
            for part in curves.parts
            if text in curves.references[part.key]
        }
        entries.append(Entry(text, "reference", values))
    network, scaling = task_settings.network, task_settings.scaling
    streams = f", in {network.streams} streams side by side" if network.streams > 1 else ""
    window = "all steps of a sequence" if network.window is None else f"{network.window} steps"
    return CaseResult(
        title=f"{_TITLES[task]}: learning by perturbation, {network.units} hidden units",
        about=[_about(settings), _ABOUT_RULES],
        scores=scores,
        entries=entries,
        bars=list(_bars(settings, curves)) if OURS in curves.rules else [],
        notes=[
            f"{network.epochs} epochs, an update every {window}{streams}; all rules start from the "
            "same weights and see the same data, each with its own settings. Where settings were "
            "chosen, it was on the end of the training part; the settings file says which. Seeds "
            "are of weights and noise together.",
            *_settings_notes(settings, curves.rules),
            *_diverged(curves),
        ],
        draw=partial(draw, curves, loss),
        caption=(
            "Test loss against epochs and against seconds of learning, median over seeds and the "
            "span of the seeds; horizontal lines: what simple forecasts reach. Right: test loss "
            f"(first horizon, one seed) after {scaling.epochs} epochs of {scaling.draws} draws in "
            f"{scaling.streams} streams against hidden units, above, and seconds an epoch, below; "
            f"the rates are those of {network.units} units."
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
    kind: Literal["ours", "reference"] = "reference" if "bptt" in name else "ours"
    return Entry(name, kind, scores, list(training))


def _bars(settings: PerturbationSettings, curves: LearningCurves) -> Iterator[Bar]:
    for part in curves.parts:
        for text, value in PUBLISHED.get((settings.task, part.ahead), {}).items():
            yield Bar(f"loss{part.key}", OURS, value, strict=True, text=f"{text}.".capitalize())
        if settings.task == "weather" and part.ahead > 1:
            continue
        if curves.median(part, REFERENCE) is not None:
            yield Bar(f"relative{part.key}", OURS, 1.1, text=f"Within 10% of {REFERENCE}'s.")
        for rival in ("np", "wp"):
            level = curves.median(part, rival)
            if level is not None:
                text = f"Half of the median of {rival}'s, the rival without decorrelation."
                # Where both diverged, the bar is not reached.
                yield Bar(f"loss{part.key}", OURS, level / 2, strict=np.isinf(level), text=text)


_ABOUT_RULES = (
    "Weight perturbation (wp), node perturbation (np) and activity-based node perturbation (anp) "
    "learn from the losses of a clean and some noisy forward passes alone (arXiv 2405.08967); a d "
    "before the name stands for decorrelated activity. All have as many noisy passes an update; "
    "anp and danp solve for the slope that fits all of them, the others take their mean. bptt is "
    "true backpropagation through time, through all steps of a window, and dbptt the same with "
    "decorrelated activity."
)


def _about(settings: PerturbationSettings) -> str:
    data = settings.task_settings.data
    if isinstance(data, WeatherData):
        return (
            "Dry bulb temperature of a station (WTH.csv) from its hourly values, scaled by the "
            f"extremes of the first {data.train} rows, which are learnt from; the rest, November "
            "and December 2013, is the test. The network gives the change from the present value, "
            "and a constant input stands for the biases that it lacks."
        )
    if settings.task == "copying":
        return "Name the symbol that was shown some steps ago; the loss is the cross entropy."
    return (
        "The Mackey-Glass series of delay 17, squashed by tanh(x - 1), posed forwards: the present "
        "value goes in, a later one is wanted."
    )


def _settings_notes(settings: PerturbationSettings, rules: Sequence[RuleName]) -> Iterator[str]:
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
                text += " solved at once"
            elif method.kind != "wp":
                text += f", credit {'to the end' if rule.credit is None else rule.credit}"
            if method.kind == "anp" and not solved:
                text += f", {rule.scaling} scaling"
        yield text + "."


def _diverged(curves: LearningCurves) -> Iterator[str]:
    for (part, name), found in curves.runs.items():
        for seed, one in zip(curves.seeds, found, strict=True):
            if one.diverged is not None:
                label = next(share.label for share in curves.parts if share.key == part)
                where = f", {label}" if label else ""
                yield f"{name}{where}, seed {seed} diverged and counts as infinite: {one.diverged}."
    for (name, units), one in curves.scaling.items():
        if one.diverged is not None:
            yield f"{name} of {units} units diverged: {one.diverged}."


def _measure(task: TaskName, name: RuleName, settings: PerturbationSettings, seed: int) -> float:
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
            partial(_measure, task, name),
            partial(_applies, task, name),
        )
        for task in get_args(TaskName)
        for name in get_args(RuleName)
    },
    parallel=True,
)
