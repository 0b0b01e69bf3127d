"""A small case with its settings, result and candidates."""

from __future__ import annotations

import math

from pydantic import PositiveInt

from gfrnn.pipeline.config.section import Section
from gfrnn.pipeline.reduction.progress import ProgressUpdate
from gfrnn.workflows.reproduce.case import Case, Validation
from gfrnn.workflows.reproduce.case_result import Bar, CaseResult, Entry, Score
from gfrnn.workflows.reproduce.settings_file import LoadedSettings

LONG = Score("long", "how long", "days", "higher")
ERROR = Score("error", "error <&>")
SILENT = lambda advance: None  # noqa: E731


class Inner(Section):
    power: float = 1.0


class Toy(Section):
    size: PositiveInt
    inner: Inner = Inner()


def draw(figure):
    figure.subplots().plot([0, 1], [1, 0])


def result(**changes):
    parts = {
        "title": "A <toy>",
        "description": ["About it & more."],
        "scores": [LONG, ERROR],
        "entries": [
            Entry("mine", "ours", {"long": [3.0, 1.0, 2.0], "error": [0.5, 0.5, 0.5]}, [1, 2, 9]),
            Entry("theirs", "peer", {"long": [1.0, 1.5, 9.0], "error": [math.inf] * 3}, [3, 4, 5]),
            Entry("plain", "reference", {"error": [0.7]}),
        ],
        "bars": [Bar("long", "mine", 2.0), Bar("training", "mine", against="theirs")],
        "notes": ["Noted."],
        "draw": draw,
        "caption": "A line that falls.",
    }
    return CaseResult(**(parts | changes))


def toy_run(settings, seeds, progress):
    progress(ProgressUpdate("toys", len(seeds), len(seeds)))
    return result()


def distance(settings, seed):
    return abs(settings.inner.power - 3.0) + seed


CASE = Case(
    "toy", "A toy.", Toy, toy_run,
    {"near": Validation(ERROR, distance),
     "big": Validation(LONG, lambda settings, seed: settings.size * settings.inner.power)},
)  # fmt: skip


def loaded(**candidates):
    settings = Toy(size=2)
    return LoadedSettings(settings, settings.model_dump(mode="json"), candidates, "toy.yaml")
