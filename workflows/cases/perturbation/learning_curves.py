"""Learning curves of all rules and seeds, and their dataset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gfrnn.workflows.cases.perturbation.learning_run import LearningRun
from gfrnn.workflows.cases.perturbation.perturbation_settings import PerturbationSettings, RuleName
from gfrnn.workflows.cases.perturbation.task_data import TaskPart
from gfrnn.workflows.reproduce.case_result import quartiles


@dataclass(frozen=True)
class LearningCurves:
    """All runs of a task.

    Attributes
    ----------
    parts : sequence of TaskPart
    rules : sequence of str
    seeds : sequence of int
    runs : mapping
        One run for each seed, by key of the part and name of the rule.
    scaling : mapping
        Runs on the first part by name of the rule and number of hidden units.
    references : mapping
        Test losses of simple methods, by key of the part and name of the method.
    """

    parts: Sequence[TaskPart]
    rules: Sequence[RuleName]
    seeds: Sequence[int]
    runs: Mapping[tuple[str, RuleName], Sequence[LearningRun]]
    scaling: Mapping[tuple[RuleName, int], LearningRun]
    references: Mapping[str, Mapping[str, float]]

    def median(self, part: TaskPart, name: RuleName) -> float | None:
        """Return the median of the final test losses; None if the rule was not run."""
        found = self.runs.get((part.key, name))
        return None if found is None else quartiles([one.final for one in found])[1]


def dataset(curves: LearningCurves, settings: PerturbationSettings) -> xr.Dataset:
    """Return the curves as a dataset.

    Returns
    -------
    Dataset
        ``train_loss``, ``test_loss`` and ``seconds`` (part, rule, seed, epoch), NaN after a run
        diverged; ``scaling_loss`` (scaled_rule, units) after the last epoch, infinite if the run
        diverged; ``scaling_seconds`` (scaled_rule, units) per epoch; ``reference_loss`` (part,
        reference).
    """
    own = settings.task_settings.network
    dims = ("part", "rule", "seed", "epoch")
    units = "nats" if settings.task == "copying" else "1"

    def stacked(name: str) -> NDArray[Any]:
        return np.array(
            [
                [
                    [getattr(one, name) for one in curves.runs[part.key, rule]]
                    for rule in curves.rules
                ]
                for part in curves.parts
            ]
        )

    texts = list(dict.fromkeys(text for lines in curves.references.values() for text in lines))
    levels = [
        [curves.references[part.key].get(text, np.nan) for text in texts] for part in curves.parts
    ]
    names = list(dict.fromkeys(rule for rule, _ in curves.scaling))
    sizes = list(dict.fromkeys(size for _, size in curves.scaling))
    pairs = [[curves.scaling[rule, size] for size in sizes] for rule in names]
    shape = (len(names), len(sizes))
    final = np.array([[one.final for one in row] for row in pairs]).reshape(shape)
    cost = np.array([[one.epoch_seconds for one in row] for row in pairs]).reshape(shape)
    scaled = ("scaled_rule", "units")
    return xr.Dataset(
        {
            "train_loss": (dims, stacked("train"), {"long_name": "training loss", "units": units}),
            "test_loss": (dims, stacked("test"), {"long_name": "test loss", "units": units}),
            "seconds": (dims, stacked("seconds"), {"long_name": "time learning", "units": "s"}),
            "reference_loss": (("part", "reference"), levels, {"units": units}),
            "scaling_loss": (scaled, final, {"long_name": "test loss", "units": units}),
            "scaling_seconds": (scaled, cost, {"long_name": "time of an epoch", "units": "s"}),
        },
        {
            "part": ("part", _words(part.label or settings.task for part in curves.parts)),
            "rule": ("rule", _words(curves.rules)),
            "seed": list(curves.seeds),
            "epoch": np.arange(1, own.epochs + 1),
            "reference": ("reference", _words(texts)),
            "scaled_rule": ("scaled_rule", _words(names)),
            "units": ("units", np.array(sizes, dtype=int), {"long_name": "hidden units"}),
        },
        {
            "task": settings.task,
            "hidden_units": own.units,
            "source": "arXiv 2405.08967",
            "rules": str(
                {name: settings.task_settings.rules[name].model_dump() for name in curves.rules}
            ),
        },
    )


def _words(words: Iterable[str]) -> NDArray[Any]:
    """Return text of variable length; zarr does not specify text of fixed length."""
    return np.array(list(words), dtype=np.dtypes.StringDType())
