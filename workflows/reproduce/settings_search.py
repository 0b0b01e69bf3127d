"""Choose settings of a case on its validation trajectories (``--choose``)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
from pydantic import Field, PositiveInt, model_validator
from rich.table import Table

from gfrnn.pipeline.config.section import Section, checked
from gfrnn.pipeline.errors import ConfigError
from gfrnn.pipeline.reduction.progress import Progress
from gfrnn.pipeline.reduction.run_tasks import run_tasks
from gfrnn.workflows.reproduce.case import Case, Validation
from gfrnn.workflows.reproduce.result_table import number_text
from gfrnn.workflows.reproduce.settings_file import LoadedSettings, plain, with_values


class CandidateRange(Section):
    """Range of a random number with a uniform distribution of itself or of its logarithm."""

    uniform: tuple[float, float] | None = None
    log: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> CandidateRange:
        ends = self.log if self.uniform is None else self.uniform
        if ends is None or (self.log is not None and self.uniform is not None):
            raise ValueError("give either uniform: [low, high] or log: [low, high]")
        if not ends[0] < ends[1] or (self.log is not None and ends[0] <= 0):
            low = "low" if self.log is None else "positive low"
            raise ValueError(f"{list(ends)} is not a {low} and a high end")
        return self

    def draw(self, rng: np.random.Generator) -> float:
        """Draw a number, rounded to the three digits that a settings file shows."""
        if self.log is not None:
            value = math.exp(rng.uniform(math.log(self.log[0]), math.log(self.log[1])))
        else:
            low, high = self.uniform or (0.0, 1.0)  # the validator ensures one of the two
            value = rng.uniform(low, high)
        return float(f"{value:.3g}")


class CandidateSearch(Section):
    """Values of settings that one validation tries.

    Attributes
    ----------
    keys : mapping of str to list or CandidateRange
        Values by dotted keys of the settings.
    trials : int, optional
        Number of random combinations; by default all combinations of the lists are tried.
    seeds : int
        Number of seeds; their mean is the score of a combination.
    """

    keys: dict[str, Annotated[list[Any], Field(min_length=1)] | CandidateRange] = Field(
        min_length=1
    )
    trials: PositiveInt | None = None
    seeds: PositiveInt = 1

    @model_validator(mode="after")
    def _ranges_need_trials(self) -> CandidateSearch:
        ranges = [key for key, values in self.keys.items() if isinstance(values, CandidateRange)]
        if ranges and self.trials is None:
            raise ValueError(
                f"trials: missing; give the number of draws, as {ranges[0]} is a range"
            )
        return self

    def combinations(self) -> Iterator[dict[str, Any]]:
        """Yield all combinations or the random ones; each call yields the same."""
        if self.trials is None:
            for values in itertools.product(*self.keys.values()):
                yield dict(zip(self.keys, values, strict=True))
            return
        rng = np.random.default_rng(0)
        for _ in range(self.trials):
            yield {
                key: values.draw(rng)
                if isinstance(values, CandidateRange)
                else values[int(rng.integers(len(values)))]
                for key, values in self.keys.items()
            }


@dataclass(frozen=True)
class SettingsTrial:
    """Combination of settings and its mean validation score over seeds."""

    values: dict[str, Any]
    score: float


@dataclass(frozen=True)
class SettingsChoice:
    """All trials of one validation."""

    name: str
    validation: Validation[Any]
    trials: list[SettingsTrial]

    @property
    def best(self) -> SettingsTrial:
        """First trial with the best score; NaN ranks last."""
        sign = -1.0 if self.validation.score.better == "higher" else 1.0
        worst = math.inf
        return min(self.trials, key=lambda t: worst if math.isnan(t.score) else sign * t.score)


def searches(case: Case[Any], loaded: LoadedSettings[Any]) -> dict[str, CandidateSearch]:
    """Return the candidates of the settings file by validation, checked before work starts.

    Raises
    ------
    ConfigError
        If there are no candidates, a name is no validation of the case, or a key or value is not
        allowed. Candidates that do not apply to these settings are checked as well.
    """
    where = f"{loaded.where}: candidates"
    if not loaded.candidates:
        raise ConfigError(f"{where}: missing; there is nothing to choose, so add candidates")
    found = {}
    for name, tree in loaded.candidates.items():
        if name not in case.validations:
            raise ConfigError(
                f"{where}.{name}: unknown validation; allowed: {', '.join(case.validations)}"
            )
        search = checked(CandidateSearch, tree, f"{where}.{name}")
        for combination in search.combinations():
            _known(loaded.values, combination, f"{where}.{name}")
            with_values(case, loaded.values, combination, f"{where}.{name}")
        if case.validations[name].applies(loaded.settings):
            found[name] = search
    if not found:
        raise ConfigError(
            f"{where}: none of {', '.join(loaded.candidates)} applies to these settings; "
            "add one that does"
        )
    return found


def choose(
    case: Case[Any], loaded: LoadedSettings[Any], progress: Progress
) -> tuple[LoadedSettings[Any], list[SettingsChoice]]:
    """Try all candidates on the validation trajectories and adopt the best.

    Validations run in the order of the file; each one starts from the choices of those before it.
    Each combination and seed is one job, on the current Dask client if there is one.

    Returns
    -------
    chosen : LoadedSettings
        The settings with the best values.
    choices : list of SettingsChoice
    """
    choices = []
    for name, search in searches(case, loaded).items():
        validation = case.validations[name]
        combinations = list(search.combinations())
        jobs = [
            (with_values(case, loaded.values, values, loaded.where), seed)
            for values in combinations
            for seed in range(search.seeds)
        ]
        scores = np.reshape(run_tasks(name, validation.measure, jobs, progress), (-1, search.seeds))
        trials = [
            SettingsTrial(values, float(np.mean(own)))
            for values, own in zip(combinations, scores, strict=True)
        ]
        choice = SettingsChoice(name, validation, trials)
        choices.append(choice)
        settings = with_values(case, loaded.values, choice.best.values, loaded.where)
        values = plain(settings)
        loaded = replace(loaded, settings=settings, values=values)
    return loaded, choices


def choice_table(choice: SettingsChoice, most: int = 40) -> Table:
    """Return a table of validation scores, best first."""
    score, best = choice.validation.score, choice.best
    title = f"{choice.name}: {score.label} on the validation trajectories, {score.better} is better"
    table = Table(title=title, title_justify="left")
    for key in best.values:
        table.add_column(key, justify="right", overflow="fold")
    table.add_column(score.label + (f" ({score.unit})" if score.unit else ""), justify="right")
    table.add_column("")
    sign = -1.0 if score.better == "higher" else 1.0
    # Sorting is stable, so the first of several best trials comes first, as in `best`.
    order = sorted(choice.trials, key=lambda t: math.inf if math.isnan(t.score) else sign * t.score)
    for trial in order[:most]:
        style = "bold" if trial is best else None
        cells = [f"{v:g}" if isinstance(v, float) else str(v) for v in trial.values.values()]
        mark = "best" if trial is best else ""
        table.add_row(*cells, number_text(trial.score), mark, style=style)
    if len(order) > most:
        table.caption = f"the best {most} of {len(order)}"
    return table


def _known(values: Mapping[str, Any], combination: Mapping[str, Any], where: str) -> None:
    """Refuse unknown keys by their full names; the model's check names only their sections."""
    for key in combination:
        place: Any = values
        for part in key.split("."):
            if not isinstance(place, Mapping) or part not in place:
                raise ConfigError(
                    f"{where}.keys.{key}: the settings have no such key; check its name"
                )
            place = place[part]
