"""The experiment file: keys, defaults and limits, all checked before any work starts."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import pandas as pd
import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    field_validator,
    model_validator,
)

from pipeline.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)


class Section(BaseModel):
    """A section of the experiment file: unknown keys are refused, values never change."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, arbitrary_types_allowed=True
    )


ONE_DAY = pd.Timedelta(days=1)


def _to_duration(value: Any) -> pd.Timedelta:
    try:
        if isinstance(value, (int, float)):
            raise ValueError  # a bare number would silently mean nanoseconds
        # pandas spells a day D; people write d.
        duration = pd.Timedelta(value.replace("d", "D") if isinstance(value, str) else value)
    except ValueError:
        raise ValueError(f"{value!r} is not a duration; write for example 6h or 1d") from None
    if pd.isna(duration) or duration <= pd.Timedelta(0):
        raise ValueError(f"{value!r} is not a positive duration; write for example 6h or 1d")
    return duration


def format_duration(duration: pd.Timedelta) -> str:
    """``1d``, ``6h``, ``30min``: a duration as the experiment file spells it."""
    for unit, seconds in (("d", 86400), ("h", 3600), ("min", 60)):
        if duration.total_seconds() % seconds == 0:
            return f"{int(duration.total_seconds() // seconds)}{unit}"
    return f"{duration.total_seconds():g}s"


Duration = Annotated[pd.Timedelta, BeforeValidator(_to_duration), PlainSerializer(format_duration)]


def _to_timestamp(value: Any) -> pd.Timestamp:
    try:
        if isinstance(value, (int, float)):
            raise ValueError
        stamp = pd.Timestamp(value)
    except ValueError:
        raise ValueError(f"{value!r} is not a date; write for example 2008-12-31") from None
    if pd.isna(stamp) or stamp.tzinfo is not None:
        raise ValueError(f"{value!r} is not a date without time zone; times are UTC")
    return stamp


class Period(Section):
    """A stretch of time, both ends included; an end without an hour means the whole day."""

    start: pd.Timestamp
    end: pd.Timestamp

    @model_validator(mode="before")
    @classmethod
    def _from_pair(cls, value: Any) -> Any:
        if isinstance(value, Period):
            return value
        if isinstance(value, Mapping) and set(value) == {"start", "end"}:
            value = [value["start"], value["end"]]
        if not isinstance(value, (list, tuple)) or len(value) != 2:
            raise ValueError(
                "a period is a pair of dates; write for example [2000-01-01, 2007-12-31]"
            )
        start, end = map(_to_timestamp, value)
        # A bare date as the end means all of that day, as people read it.
        if end == end.normalize() and len(str(value[1])) <= 10:
            end = end + ONE_DAY - pd.Timedelta(1, "ns")
        if end < start:
            raise ValueError(f"the period ends ({value[1]}) before it starts ({value[0]})")
        return {"start": start, "end": end}

    def mask(self, time: np.ndarray) -> np.ndarray:
        """Which of the times (datetime64, shape (n,)) lie inside: bool, shape (n,)."""
        return np.asarray((time >= self.start.to_datetime64()) & (time <= self.end.to_datetime64()))

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%d}..{self.end:%Y-%m-%d}"

    def as_pair(self) -> list[str]:
        """The two ends as the experiment file spells them."""
        whole_day = self.end == self.end.normalize() + ONE_DAY - pd.Timedelta(1, "ns")
        return [str(self.start), f"{self.end:%Y-%m-%d}" if whole_day else str(self.end)]


class SourceConfig(Section):
    """One source: files that belong together, or one store."""

    path: str | list[str]
    level: float | None = Field(None, gt=0, description="hPa, where only the file's name has it")
    rename: dict[str, str] = Field({}, description="name in the file: name of ERA5")
    units: dict[str, str] = Field({}, description="name in the file: its unit, where not stated")
    storage_options: dict[str, Any] = Field({}, description="passed to fsspec for URLs")


class Region(Section):
    """A box; longitude may be given as -180..180 or 0..360 and may cross Greenwich."""

    latitude: tuple[float, float]
    longitude: tuple[float, float]

    @field_validator("latitude")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not -90 <= value[0] < value[1] <= 90:
            raise ValueError(f"{list(value)} is not [south, north] within -90..90")
        return value


class DataConfig(Section):
    """What is read."""

    sources: list[SourceConfig] = Field(min_length=1)
    variables: dict[str, list[float] | None] | None = Field(
        None, description="ERA5 long name: levels in hPa, or nothing for all there are"
    )
    region: Region | None = None
    step: Duration | None = Field(None, description="keep only every such time, e.g. 6h")
    chunk: int | None = Field(None, gt=0, description="times that a leaf reads at once")

    @field_validator("sources", mode="before")
    @classmethod
    def _spread(cls, value: Any) -> Any:
        entries = value if isinstance(value, list) else [value]
        return [{"path": entry} if isinstance(entry, str) else entry for entry in entries]


class PeriodsConfig(Section):
    """Which times train the weights, choose the hyperparameters, and are forecast and scored."""

    train: Period
    validation: Period
    test: Period

    @model_validator(mode="after")
    def _disjoint(self) -> PeriodsConfig:
        for (first, a), (second, b) in itertools.combinations(iter(self), 2):
            if a.start <= b.end and b.start <= a.end:
                raise ValueError(
                    f"{first} ({a}) and {second} ({b}) overlap; choose periods with no common time"
                )
        return self


class ClimatologyConfig(Section):
    """Harmonics of the year and of the day that make up the climatology of each grid cell."""

    annual: int = Field(2, ge=0, le=12)
    diurnal: int | None = Field(None, ge=0, le=12, description="default: 1 for steps below 12 h")


class StateConfig(Section):
    """How fields become the states of the network."""

    layout: Literal["eof"] = "eof"
    modes: int = Field(80, gt=0, description="number of EOFs kept, all variables together")
    delays: int = Field(
        2, gt=0, description="successive states that features see, with the present"
    )


class ModelConfig(Section):
    """The sampled recurrent network."""

    width: int = Field(1000, ge=0, description="number of hidden features; 0 is the linear model")
    hidden_delays: int | None = Field(
        None, gt=0, description="of the delays, those that hidden features see; default: all"
    )
    hidden_modes: int | None = Field(
        None, gt=0, description="of the modes, those that hidden features see; default: all"
    )
    activation: Literal["tanh", "relu"] = "tanh"
    sampling: Literal["pairs", "uniform_pairs", "normal"] = "normal"
    scale: float = Field(0.15, gt=0, description="of normal weights; the first mode has variance 1")
    target: Literal["state", "increment"] = "state"
    leads: list[Duration] = Field(
        [], description="with outer weights of their own; one step always"
    )
    inputs: list[Literal["day_of_year", "hour"]] = Field([], description="calendar inputs psi(x)")
    seed: int = Field(0, ge=0, description="of the hidden weights")

    @field_validator("leads")
    @classmethod
    def _sorted(cls, value: list[pd.Timedelta]) -> list[pd.Timedelta]:
        if len(set(value)) != len(value):
            raise ValueError("a lead is given twice")
        return sorted(value)


class FitConfig(Section):
    """The solve from the triangle."""

    ridge: list[Annotated[float, Field(gt=0)]] = Field(
        [float(f"{r:.3g}") for r in 10 ** np.arange(-8, 0.01, 0.25)],
        min_length=1,
        description="candidates, in units of the largest singular value of R_ff",
    )
    widths: list[Annotated[int, Field(gt=0)]] = Field(
        [], description="narrower candidates, tried by column selection; model.width always is"
    )
    balance: list[Annotated[float, Field(gt=0)]] = Field(
        [1.0],
        min_length=1,
        description="weights of hidden features against linear terms, tried at each lead",
    )
    average: int = Field(
        1, gt=0, description="candidates averaged at each lead: the best on the validation period"
    )
    pool: int = Field(2000, ge=2, description="states kept for drawing data pairs")
    rows: int | None = Field(None, gt=0, description="rows of a leaf of the training pass")


class ForecastConfig(Section):
    """What is forecast."""

    horizon: Duration = 10 * ONE_DAY
    every: Duration | None = Field(None, description="between initial times; default: a step")
    batch: int = Field(32, gt=0, description="initial times forecast by one task")


SEARCHABLE = (
    "state.modes",
    "state.delays",
    "model.activation",
    "model.hidden_delays",
    "model.hidden_modes",
    "model.sampling",
    "model.scale",
    "model.seed",
    "model.target",
)
"""Keys whose candidates may be compared on the validation period."""


class Experiment(Section):
    """One experiment: everything that decides its result."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    description: str = ""
    output: str | None = Field(None, description="the run's folder; default: runs/<name>")
    data: DataConfig
    periods: PeriodsConfig
    climatology: ClimatologyConfig = ClimatologyConfig()
    state: StateConfig = StateConfig()
    model: ModelConfig = ModelConfig()
    fit: FitConfig = FitConfig()
    search: dict[str, list[Any]] = Field(
        {}, description="key: candidates, compared on the validation period"
    )
    forecast: ForecastConfig = ForecastConfig()
    cluster: dict[str, Any] = Field({}, description="where it runs: keys of cluster.ClusterConfig")

    @model_validator(mode="after")
    def _searchable(self) -> Experiment:
        for key, values in self.search.items():
            if key not in SEARCHABLE:
                raise ValueError(
                    f"search.{key} cannot be searched; allowed: {', '.join(SEARCHABLE)}"
                )
            if not values:
                raise ValueError(f"search.{key} has no candidates")
        candidates = len(list(self._grid()))
        if self.fit.average > candidates:
            raise ValueError(
                f"fit.average: {self.fit.average} is more than the {candidates} candidates of "
                "search; name more there, for example model.seed: [0, 1, 2]"
            )
        if self.search:  # each candidate must itself be a valid experiment
            self.candidates()
        for name, seen, there in (
            ("hidden_delays", self.model.hidden_delays, self.state.delays),
            ("hidden_modes", self.model.hidden_modes, self.state.modes),
        ):
            if f"model.{name}" not in self.search and seen is not None and seen > there:
                raise ValueError(f"model.{name}: {seen} is more than the {there} there are")
        return self

    def _grid(self) -> Iterator[dict[str, Any]]:
        for values in itertools.product(*self.search.values()):
            yield dict(zip(self.search, values, strict=True))

    def _with(self, values: Mapping[str, Any]) -> Experiment:
        tree = to_tree(self)
        tree["search"] = {}
        tree["fit"]["average"] = 1
        for key, value in values.items():
            section, name = key.split(".")
            tree[section][name] = value
        return Experiment.model_validate(tree)

    def candidates(self) -> list[tuple[dict[str, Any], Experiment]]:
        """Every combination of the searched keys, each as an experiment of its own."""
        return [(values, self._with(values)) for values in self._grid()]


def to_tree(experiment: Experiment) -> dict[str, Any]:
    """The experiment as plain lists and dictionaries, as YAML holds it."""
    tree = experiment.model_dump(mode="json", exclude={"periods"})
    tree["periods"] = {key: period.as_pair() for key, period in experiment.periods}
    return tree


def dump_experiment(experiment: Experiment) -> str:
    """The experiment, with every default filled in, as YAML text."""
    return yaml.safe_dump(to_tree(experiment), sort_keys=False, allow_unicode=True)


def load_experiment(path: str | Path) -> Experiment:
    """Read and check an experiment file.

    Raises
    ------
    ConfigError
        Naming the file, the key, what was found and what is allowed.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not a text file in UTF-8, so no experiment") from None
    return parse_experiment(text, str(path))


def parse_experiment(text: str, where: str = "experiment") -> Experiment:
    """Check the YAML text of an experiment; ``where`` is named in errors."""
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not valid YAML: {error}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{where}: expected keys and values, found {type(tree).__name__}")
    return checked(Experiment, tree, where)


def checked(model: type[Model], tree: Any, where: str) -> Model:
    """A section from plain lists and dictionaries.

    Raises
    ------
    ConfigError
        One line a finding: ``where``, the key, what was found, what is allowed.
    """
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        lines = [f"{where}: {_explain(detail, model)}" for detail in error.errors()]
        raise ConfigError("\n".join(lines)) from None


def _explain(detail: Any, model: type[BaseModel]) -> str:
    """One line for one finding: the key, what was found, what is allowed."""
    location = [str(part) for part in detail["loc"]]
    key, kind, found = ".".join(location), detail["type"], detail.get("input")
    if kind == "extra_forbidden":
        allowed = _keys_at(model, location[:-1])
        near = difflib.get_close_matches(location[-1], allowed, 1)
        hint = f"did you mean {near[0]}?" if near else f"allowed: {', '.join(allowed)}"
        return f"{key}: unknown key; {hint}"
    if kind == "missing":
        return f"{key}: missing; it has no default, so give it"
    if kind == "value_error":
        message = str(detail["ctx"]["error"])
        return f"{key}: {message}" if key else message
    message = detail["msg"][0].lower() + detail["msg"][1:]
    return f"{key}: {found!r} is not allowed: {message}"


def _keys_at(model: type[BaseModel], location: list[str]) -> list[str]:
    """The keys that the section at this place has."""
    section: Any = model
    for part in location:
        if part.isdigit():
            continue
        field = section.model_fields.get(part)
        if field is None:
            return []
        section = _section_of(field.annotation)
        if section is None:
            return []
    return list(section.model_fields)


def _section_of(annotation: Any) -> type[BaseModel] | None:
    """The section class inside ``Section | None`` or ``list[Section]``."""
    if isinstance(annotation, type):
        return annotation if issubclass(annotation, BaseModel) else None
    for part in getattr(annotation, "__args__", ()):
        section = _section_of(part)
        if section is not None:
            return section
    return None
