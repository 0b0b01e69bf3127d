"""The experiment file: keys, defaults and limits, all checked before any work starts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import yaml
from pydantic import Field, PositiveInt, field_validator, model_validator

from gfrnn.pipeline.config.durations import Duration
from gfrnn.pipeline.config.section import Period, Section, checked, parse_tree, read_tree


class SourceConfig(Section):
    """A source of data: files that are read as one data set, or one store."""

    path: str | list[str]
    level: float | None = Field(None, gt=0, description="level in hPa, if the file has none")
    rename: dict[str, str] = Field({}, description="mapping: name in the file to ERA5 name")
    units: dict[str, str] = Field({}, description="mapping: name in the file to unit")
    storage_options: dict[str, Any] = Field({}, description="options of fsspec for URLs")
    interpolate: bool = Field(
        False, description="whether to interpolate to the grid of the sources without this key"
    )


class Region(Section):
    """A region in latitude and longitude (-180..180 or 0..360), which may cross Greenwich."""

    latitude: tuple[float, float]
    longitude: tuple[float, float]

    @field_validator("latitude")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not -90 <= value[0] < value[1] <= 90:
            raise ValueError(
                f"{list(value)} is not [south, north] within -90..90; write for example [35, 70]"
            )
        return value


class DataConfig(Section):
    """Input data: sources, variables, region and time step."""

    sources: list[SourceConfig] = Field(min_length=1)
    static: list[SourceConfig] = Field([], description="sources of static fields only")
    variables: dict[str, list[float] | None] | None = Field(
        None, description="mapping: ERA5 name to levels in hPa, or to nothing for all levels"
    )
    region: Region | None = None
    anomalies: bool | None = Field(
        None, description="whether values are anomalies; default: names and attributes tell"
    )
    step: Duration | None = Field(None, description="time step to use, e.g. 6h or 1mo")
    chunk: int | None = Field(None, gt=0, description="number of times that a leaf reads at once")

    @field_validator("sources", "static", mode="before")
    @classmethod
    def _paths_to_sources(cls, value: Any) -> Any:
        entries = value if isinstance(value, list) else [value]
        return [{"path": entry} if isinstance(entry, str) else entry for entry in entries]

    @model_validator(mode="after")
    def _one_grid(self) -> DataConfig:
        if all(source.interpolate for source in self.sources):
            raise ValueError(
                "data.sources: interpolate: true for every source, so that none gives the grid; "
                "leave it out of one"
            )
        if any(source.interpolate for source in self.static):
            raise ValueError(
                "data.static: interpolate is allowed in data.sources only; give static fields on "
                "the grid of the data"
            )
        return self


class PeriodsConfig(Section):
    """Periods of training, of validation (choice of hyperparameters) and of the test."""

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
    """Annual and diurnal cycle of the climatology."""

    annual: int | Literal["month"] | None = Field(
        None,
        description="number of harmonics, or month; default: month for monthly data, else 2",
    )
    diurnal: int | None = Field(
        None, ge=0, le=12, description="default: 1 if the step is below 12 h"
    )

    @field_validator("annual", mode="before")
    @classmethod
    def _annual_cycle(cls, value: Any) -> Any:
        if value is None or value == "month" or (type(value) is int and 0 <= value <= 12):
            return value
        raise ValueError(
            f"{value!r} is neither a number of harmonics, 0 to 12, nor month (a mean for each "
            "calendar month); choose one of them"
        )

    def cycles(self, step: Duration) -> tuple[int | Literal["month"], int]:
        """Return the annual and the diurnal cycle for data of a step, with defaults filled in."""
        annual, diurnal = self.annual, self.diurnal
        if annual is None:
            annual = "month" if step.monthly else 2
        if diurnal is None:
            diurnal = 1 if step < Duration.parse("12h") else 0
        return annual, diurnal


# Keys of ``state`` that only one layout has.
_STATE_KEYS = {
    "eof": ("modes",),
    "local": ("patch", "halo", "inner", "weights", "bands", "static"),
    "zonal": ("wavenumbers", "functions", "geometry"),
}

# Layouts that have a key of ``model`` and ``fit``, where not all have it.
_LAYOUTS_OF_KEYS = {
    ("zonal",): ("model.stages",),
    ("local",): ("model.products",),
    ("local", "zonal"): ("model.features", "model.wind"),
    ("eof", "local"): (
        "model.hidden_modes",
        "model.activation",
        "model.sampling",
        "model.target",
        "model.leads",
        "model.joint_inputs",
        "model.season_terms",
        "model.precision",
        "fit.widths",
        "fit.balance",
        "fit.choice",
        "fit.refit",
        "fit.average",
    ),
}

# Numbers of hidden features by default: of a state or patch, and of a grid point.
_WIDTH, _WIDTH_OF_POINT = 1000, 16

# Bounds of rollouts by default. That of waves was chosen on a validation year of the nature run:
# the error at five days is 867, 933 and 1113 m2 s-2 with 2.1, 2.4 and 3.0, that at half a day 39,
# 35 and 34. That of grid cells was chosen on a validation year of ERA-Interim.
_BOUNDS = {"zonal": 2.1, "local": 5.0}

Cells = tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]


class StateConfig(Section):
    """Settings that determine how fields become states of the network."""

    layout: Literal["eof", "local", "zonal"] = "eof"
    modes: int = Field(80, gt=0, description="number of EOFs kept, all variables together")
    delays: int = Field(
        2, gt=0, description="number of successive states that are input, with the present one"
    )
    patch: tuple[PositiveInt, PositiveInt] = Field(
        (4, 4), description="size of a patch in cells: latitudes, longitudes"
    )
    halo: Cells = Field((2, 2), description="cells around a patch that are input")
    inner: Cells | None = Field(None, description="part of the halo that hidden features use")
    weights: Literal["shared", "bands", "own"] = Field(
        "shared", description="outer weights for all patches, bands of latitude, or each patch"
    )
    bands: int = Field(6, gt=0, description="number of bands of latitude")
    static: list[str] = Field([], description="static fields that are input for each patch")
    wavenumbers: int | None = Field(
        None,
        gt=0,
        description="largest zonal wavenumber; default: the largest whose products the longitudes "
        "resolve, a third of their number",
    )
    functions: int | None = Field(
        None,
        gt=0,
        description="number of functions of latitude of the zonal mean; default: one more than the "
        "wavenumbers on a globe, half the latitudes elsewhere",
    )
    geometry: Literal["sphere", "channel"] = Field(
        "sphere",
        description="sphere, or a plane channel between walls, such as that of the nature run",
    )

    @model_validator(mode="after")
    def _keys_of_one_layout(self) -> StateConfig:
        for layout, names in _STATE_KEYS.items():
            for name in names if layout != self.layout else ():
                if getattr(self, name) != StateConfig.model_fields[name].default:
                    raise ValueError(
                        f"state.{name} is allowed with state.layout: {layout} only, but the layout "
                        f"is {self.layout}; leave the key out"
                    )
        if self.inner is not None and any(
            inner > halo for inner, halo in zip(self.inner, self.halo, strict=True)
        ):
            raise ValueError(
                f"state.inner: {list(self.inner)} is more than state.halo, {list(self.halo)}; "
                "give at most the halo"
            )
        return self


class ModelConfig(Section):
    """The sampled recurrent network."""

    width: int = Field(
        _WIDTH,
        ge=0,
        description="number of hidden features; 0 is the linear model. In the zonal layout: of "
        "sampled features at a grid point, advection not counted; default 16, or 0 with advection "
        "alone",
    )
    features: list[Literal["advection", "products", "tanh", "relu"]] = Field(
        [],
        description="kinds of features, computed on the grid; default: advection in the zonal "
        "layout, none elsewhere",
    )
    products: int = Field(
        _WIDTH_OF_POINT, gt=0, description="number of products of a cell in the local layout"
    )
    wind: Literal["geostrophic", "components"] | None = Field(
        None,
        description="wind of advection: of the geopotential, or the wind components; default: the "
        "components where the data have them",
    )
    stages: int = Field(
        1, gt=0, description="number of stages, each of which corrects the one before"
    )
    hidden_delays: int | None = Field(
        None, gt=0, description="number of latest states that hidden features use; default: all"
    )
    hidden_modes: int | None = Field(
        None, gt=0, description="number of leading EOFs that hidden features use; default: all"
    )
    activation: Literal["tanh", "relu"] = "tanh"
    hidden_inputs: list[Literal["state", "linear"]] = Field(
        ["state"],
        min_length=1,
        description="what hidden features see: states, and the linear model's next state",
    )
    sampling: Literal["pairs", "uniform_pairs", "normal", "centres"] = "normal"
    scale: float | None = Field(
        None,
        gt=0,
        description="standard deviation of normal weights, default 0.15, or relative length of "
        "features around centres, default 1",
    )
    target: Literal["state", "increment"] = "state"
    leads: list[Duration] = Field(
        [], description="leads with their own outer weights, besides one step"
    )
    inputs: list[Literal["day_of_year", "hour", "insolation"]] = Field(
        [], description="inputs from the calendar and, for each place, the insolation"
    )
    joint_inputs: bool | None = Field(
        None, description="whether hidden features see the inputs; default: with patches only"
    )
    season_terms: bool = Field(
        False, description="whether linear terms depend on the season: state times cos and sin"
    )
    noise: float | Literal["residual"] = Field(
        0.0,
        description="standard deviation of noise on input states; in the zonal layout relative to "
        "the changes in a step; residual: the spectrum of the model's own errors in a step",
    )
    noise_factor: float = Field(
        2.0,
        gt=0,
        allow_inf_nan=False,
        description="factor on the model's own errors with noise: residual",
    )
    bound: float | None = Field(
        None,
        gt=1,
        allow_inf_nan=False,
        description="multiple of its root mean square in training at which a rollout is held",
    )
    precision: Literal["float64", "float32"] = Field(
        "float64", description="precision of rows, their triangles within a leaf, and rollouts"
    )
    seed: int = Field(0, ge=0, description="seed of the hidden weights")

    @model_validator(mode="after")
    def _factor_of_residual_noise(self) -> ModelConfig:
        if (
            self.noise != "residual"
            and self.noise_factor != type(self).model_fields["noise_factor"].default
        ):
            raise ValueError(
                f"model.noise_factor: {self.noise_factor:g} is allowed with model.noise: residual "
                f"only, but the noise is {self.noise}; leave the key out"
            )
        return self

    @field_validator("leads")
    @classmethod
    def _sorted(cls, value: list[Duration]) -> list[Duration]:
        if len(set(value)) != len(value):
            raise ValueError("the same lead is given twice; give each lead once")
        return sorted(value)

    @field_validator("hidden_inputs")
    @classmethod
    def _different(cls, value: list[str]) -> list[str]:
        if len(set(value)) != len(value):
            raise ValueError(f"{value} names an input twice; give each once")
        return value

    @field_validator("noise", mode="before")
    @classmethod
    def _number_or_residual(cls, value: Any) -> Any:
        if value == "residual":
            return value
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = np.nan
        if not 0 <= number < np.inf:
            raise ValueError(f"{value!r} is not allowed; give a number from 0 on, or residual")
        return number

    @model_validator(mode="after")
    def _activation_that_applies(self) -> ModelConfig:
        if self.sampling == "centres" and self.activation != "tanh":
            raise ValueError(
                f"model.activation: {self.activation} does not apply to model.sampling: centres, "
                "whose features are Gaussian; leave model.activation out"
            )
        return self

    @property
    def hidden_scale(self) -> float:
        """Scale of the hidden weights, also where the key has no value."""
        return self.scale or (1.0 if self.sampling == "centres" else 0.15)

    @model_validator(mode="after")
    def _inputs_in_use(self) -> ModelConfig:
        if self.joint_inputs and not self.inputs:
            raise ValueError(
                "model.joint_inputs: true, but model.inputs is empty; list inputs, for example "
                "inputs: [day_of_year], or leave model.joint_inputs out"
            )
        if self.season_terms and "day_of_year" not in self.inputs:
            raise ValueError(
                f"model.season_terms: needs day_of_year among model.inputs, found {self.inputs}; "
                "add it, or leave model.season_terms out"
            )
        return self


class FitConfig(Section):
    """Settings of the regression for the outer weights, and of the choice of a model."""

    ridge: list[Annotated[float, Field(gt=0)]] = Field(
        [float(f"{r:.3g}") for r in 10 ** np.arange(-8, 0.01, 0.25)],
        min_length=1,
        description="ridge strengths to try, in units of the largest singular value of R_ff",
    )
    widths: list[Annotated[int, Field(gt=0)]] = Field(
        [], description="numbers of hidden features to try; none means model.width alone"
    )
    without: list[int] = Field(
        [], description="training years whose rows are left out of the regression"
    )
    balance: list[Annotated[float, Field(gt=0)]] = Field(
        [1.0],
        min_length=1,
        description="weights of hidden features relative to linear terms to try at each lead",
    )
    choice: Literal["validation", "years"] = Field(
        "validation",
        description="errors that decide: on the validation period, or on each year left out",
    )
    refit: Literal["none", "all"] = Field(
        "none", description="all: solve again, with the validation period, once all is chosen"
    )
    average: int = Field(
        1, gt=0, description="number of best candidates that are averaged at each lead"
    )
    pool: int = Field(2000, ge=2, description="number of training states to draw pairs from")
    rows: int | None = Field(None, gt=0, description="number of rows of a leaf")
    share: float = Field(1.0, gt=0, le=1, description="share of rows that is used")
    calibration: bool = Field(
        True,
        description="damp the forecast at each lead by a regression on rollouts of the validation "
        "period",
    )


class ForecastConfig(Section):
    """Initial times and length of the forecasts."""

    horizon: Duration = Duration.parse("10d")
    every: Duration | None = Field(None, description="time between initial times")
    batch: int = Field(32, gt=0, description="number of initial times of a task")


class IndexConfig(Region):
    """An index: the mean of a variable over a box in latitude and longitude."""

    variable: str = Field(description="ERA5 name of a variable of the data")
    level: float | None = Field(None, gt=0, description="level in hPa, if there are several")


_SST = {"variable": "sea_surface_temperature"}
KNOWN_INDICES: dict[str, dict[str, Any]] = {
    "nino12": _SST | {"latitude": [-10, 0], "longitude": [270, 280]},
    "nino3": _SST | {"latitude": [-5, 5], "longitude": [210, 270]},
    "nino34": _SST | {"latitude": [-5, 5], "longitude": [190, 240]},
    "nino4": _SST | {"latitude": [-5, 5], "longitude": [160, 210]},
}
"""Indices whose keys have defaults (Trenberth 1997, Bull. Amer. Meteor. Soc. 78, 2771)."""

IndexName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]


class VerificationConfig(Section):
    """Scores besides those of the fields."""

    indices: dict[IndexName, IndexConfig] = Field(
        {}, description="mapping: name of an index to its variable and box; or names alone"
    )

    @field_validator("indices", mode="before")
    @classmethod
    def _known_indices(cls, value: Any) -> Any:
        """Fill in the keys of well-known indices."""
        if isinstance(value, list) and all(isinstance(name, str) for name in value):
            value = dict.fromkeys(value)
        if not isinstance(value, Mapping):
            return value
        if unknown := [n for n, own in value.items() if own is None and n not in KNOWN_INDICES]:
            raise ValueError(
                f"{unknown[0]} is not a well-known index ({', '.join(KNOWN_INDICES)}); give its "
                "variable, latitude and longitude"
            )
        return {
            name: {**KNOWN_INDICES.get(name, {}), **(own or {})}
            if own is None or isinstance(own, Mapping)
            else own
            for name, own in value.items()
        }


SEARCHABLE = (
    "state.modes",
    "state.delays",
    "model.activation",
    "model.hidden_delays",
    "model.hidden_modes",
    "model.hidden_inputs",
    "model.sampling",
    "model.scale",
    "model.seed",
    "model.target",
    "model.noise",
    "model.noise_factor",
    "model.features",
    "model.joint_inputs",
    "model.season_terms",
    "state.halo",
    "state.inner",
    "state.weights",
    "state.bands",
)
"""Keys that are allowed in ``search``."""


class Experiment(Section):
    """An experiment: all settings that its result depends on."""

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
        {}, description="mapping: key to candidates, compared on the validation period"
    )
    forecast: ForecastConfig = ForecastConfig()
    verification: VerificationConfig = VerificationConfig()
    cluster: dict[str, Any] = Field({}, description="keys of gfrnn.cluster.ClusterConfig")

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_layout(cls, tree: Any) -> Any:
        """Fill in defaults of ``model`` that depend on the layout."""
        state, model = (
            tree.get(name) or {} if isinstance(tree, dict) else None for name in ("state", "model")
        )
        if not isinstance(state, dict) or not isinstance(model, dict):
            return tree
        layout = state.get("layout")
        if layout not in ("local", "zonal"):
            return tree
        defaults: dict[str, Any] = {"bound": _BOUNDS[layout]}
        if layout == "zonal":
            alone = model.get("features", ["advection"]) == ["advection"]
            defaults |= {"features": ["advection"], "width": 0 if alone else _WIDTH_OF_POINT}
        return tree | {"model": defaults | model}

    @model_validator(mode="after")
    def _keys_of_layout(self) -> Experiment:
        """Refuse keys that the layout does not have."""
        zonal = self.state.layout == "zonal"
        sections: dict[str, type[Section]] = {"model": ModelConfig, "fit": FitConfig}
        for layouts, keys in _LAYOUTS_OF_KEYS.items():
            for key in keys if self.state.layout not in layouts else ():
                section, name = key.split(".")
                given = getattr(getattr(self, section), name)
                if given != sections[section].model_fields[name].default:
                    raise ValueError(
                        f"{key} is allowed with state.layout: {' and '.join(layouts)} only, but "
                        f"the layout is {self.state.layout}; leave the key out"
                    )
        activated = [kind for kind in self.model.features if kind in ("tanh", "relu")]
        if not zonal and activated:
            raise ValueError(
                f"model.features: {activated[0]} is allowed with state.layout: zonal only, but the "
                "layout is local, where hidden features are activated already; set model.width and "
                "model.activation instead"
            )
        if not zonal:
            return self
        if not self.model.features:
            raise ValueError(
                "model.features: is empty; list some of advection, products, tanh and relu, or "
                "leave the key out"
            )
        for kind in (features := self.model.features):
            if features.count(kind) > 1:
                raise ValueError(
                    f"model.features: {kind} is given twice; give each kind once, and their number "
                    "as model.width"
                )
        if len(activated) > 1:
            raise ValueError("model.features: tanh and relu exclude each other; choose one of them")
        if self.search:
            raise ValueError("search is not allowed with state.layout: zonal; leave it out")
        sampled = [kind for kind in self.model.features if kind != "advection"]
        if sampled and self.model.width < len(sampled):
            raise ValueError(
                f"model.width: {self.model.width} is less than the {len(sampled)} kinds of sampled "
                f"features, {', '.join(sampled)}; give at least one each, or leave kinds out"
            )
        if not sampled and self.model.width:
            raise ValueError(
                f"model.width: {self.model.width}, but model.features has no sampled kind; add "
                "products, tanh or relu, or leave the key out"
            )
        return self

    @model_validator(mode="after")
    def _searchable(self) -> Experiment:
        for key, values in self.search.items():
            if key not in SEARCHABLE:
                raise ValueError(
                    f"search.{key} cannot be searched; allowed: {', '.join(SEARCHABLE)}"
                )
            if not values:
                raise ValueError(f"search.{key} has no candidates; list some, or leave the key out")
        candidates = len(list(self._grid()))
        if self.fit.average > candidates:
            raise ValueError(
                f"fit.average: {self.fit.average} is more than the {candidates} candidates of "
                "search; add some there, for example model.seed: [0, 1, 2]"
            )
        if self.state.layout != "local" and "insolation" in self.model.inputs:
            raise ValueError(
                "model.inputs: insolation is allowed with state.layout: local only, but the layout "
                f"is {self.state.layout}; leave it out, or choose state.layout: local"
            )
        if self.state.layout != "eof" and "linear" in self.model.hidden_inputs:
            raise ValueError(
                "model.hidden_inputs: linear is allowed with state.layout: eof only, but the "
                f"layout is {self.state.layout}; leave it out"
            )
        centres = "centres" in (self.model.sampling, *self.search.get("model.sampling", ()))
        if centres and self.model.width > self.fit.pool:
            raise ValueError(
                f"model.width: {self.model.width} centres are more than fit.pool, "
                f"{self.fit.pool}; give at most {self.fit.pool}, or a larger fit.pool"
            )
        if self.search:  # each candidate must itself be a valid experiment
            self.candidates()
        if self.state.layout == "local" and self.model.hidden_modes is not None:
            raise ValueError(
                "model.hidden_modes is allowed with state.layout: eof only, but the layout is "
                "local; leave the key out, or limit the hidden features' input with state.inner"
            )
        for name, given, limit in (
            ("hidden_delays", self.model.hidden_delays, self.state.delays),
            ("hidden_modes", self.model.hidden_modes, self.state.modes),
        ):
            if f"model.{name}" not in self.search and given is not None and given > limit:
                key = f"state.{name.removeprefix('hidden_')}"
                raise ValueError(
                    f"model.{name}: {given} is more than {key}: {limit}; give at most {limit}"
                )
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
        """Return every combination of the searched keys, each as an experiment of its own."""
        return [(values, self._with(values)) for values in self._grid()]


def to_tree(experiment: Experiment) -> dict[str, Any]:
    """Convert an experiment to plain lists and dictionaries, as YAML has them."""
    tree = experiment.model_dump(mode="json", exclude={"periods"})
    tree["periods"] = {key: period.as_pair() for key, period in experiment.periods}
    return tree


def dump_experiment(experiment: Experiment) -> str:
    """Write an experiment, with every default filled in, as YAML text."""
    return yaml.safe_dump(to_tree(experiment), sort_keys=False, allow_unicode=True)


def load_experiment(path: str | Path) -> Experiment:
    """Read and check an experiment file.

    Raises
    ------
    ConfigError
        With one line for each error: the file, the key, what was found, what is allowed.
    """
    return checked(Experiment, read_tree(Path(path)), str(path))


def parse_experiment(text: str, where: str = "experiment") -> Experiment:
    """Check the YAML text of an experiment; ``where`` is named in errors."""
    return checked(Experiment, parse_tree(text, where), where)
