"""The experiment file: all its sections, checked together before any work starts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, model_validator

from gfrnn.pipeline.config.data_config import ClimatologyConfig, DataConfig, PeriodsConfig
from gfrnn.pipeline.config.explained_errors import explain_errors
from gfrnn.pipeline.config.fit_config import FitConfig, ForecastConfig
from gfrnn.pipeline.config.hidden_values import hide_secrets
from gfrnn.pipeline.config.model_config import WIDTH_OF_POINT, ModelConfig
from gfrnn.pipeline.config.paths import with_paths_beside
from gfrnn.pipeline.config.section import Section, checked
from gfrnn.pipeline.config.state_config import StateConfig
from gfrnn.pipeline.config.verification_config import VerificationConfig
from gfrnn.pipeline.config.yaml_tree import parse_tree, read_tree

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
        "model.combine_leads",
        "model.joint_inputs",
        "model.season_terms",
        "fit.widths",
        "fit.balance",
        "fit.choice",
        "fit.refit",
        "fit.average",
        "fit.finalists",
        "fit.first_width",
    ),
}

# Bounds of rollouts by default. That of waves was chosen on a validation year of the nature run:
# the error at five days is 867, 933 and 1113 m2 s-2 with 2.1, 2.4 and 3.0, that at half a day 39,
# 35 and 34. That of grid cells was chosen on a validation year of ERA-Interim.
_BOUNDS = {"zonal": 2.1, "local": 5.0}

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


_MOST_CANDIDATES = 1000
"""Most combinations of a search."""


class Experiment(Section):
    """An experiment: all settings that its result depends on."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)
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
            defaults |= {"features": ["advection"], "width": 0 if alone else WIDTH_OF_POINT}
        else:
            # The halo limits iterated forecasts: on a validation year of ERA-Interim, the error of
            # the mean is larger by 1.0 to 1.6 % at two to five days.
            defaults["combine_leads"] = "longest"
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
                    f"search.{key}: cannot be searched; allowed: {', '.join(SEARCHABLE)}"
                )
            if not values:
                raise ValueError(
                    f"search.{key}: has no candidates; list some, or leave the key out"
                )
        candidates = math.prod(map(len, self.search.values()))
        if candidates > _MOST_CANDIDATES:
            raise ValueError(
                f"search: has {candidates} combinations, of which each is trained; give fewer "
                f"candidates, at most {_MOST_CANDIDATES} combinations"
            )
        if self.fit.average > candidates:
            raise ValueError(
                f"fit.average: {self.fit.average} is more than the {candidates} candidates of "
                "search; add some there, for example model.seed: [0, 1, 2]"
            )
        self._check_finalists(candidates)
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
        quadratic = "quadratic" in (self.model.sampling, *self.search.get("model.sampling", ()))
        if quadratic and self.state.layout != "eof":
            raise ValueError(
                "model.sampling: quadratic is allowed with state.layout: eof only, but the layout "
                f"is {self.state.layout}; choose another one, or products among model.features"
            )
        centres = "centres" in (self.model.sampling, *self.search.get("model.sampling", ()))
        if centres and self.model.width > self.fit.pool:
            raise ValueError(
                f"model.width: {self.model.width} centres are more than fit.pool, "
                f"{self.fit.pool}; give at most {self.fit.pool}, or a larger fit.pool"
            )
        if self.search:
            self._check_candidates()
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

    def __repr__(self) -> str:
        return f"<Experiment {self.name!r}>"

    def _repr_html_(self) -> str:
        return f"<pre>{escape(shown_experiment(self))}</pre>"

    def _check_finalists(self, candidates: int) -> None:
        """Refuse a first round that could not choose among the candidates."""
        fit = self.fit
        if fit.finalists is None:
            return
        if not fit.average <= fit.finalists <= candidates:
            raise ValueError(
                f"fit.finalists: {fit.finalists} is not within fit.average: {fit.average} and the "
                f"{candidates} candidates of search; give a number in between, or leave it out"
            )
        if fit.first_width >= self.model.width:
            raise ValueError(
                f"fit.first_width: {fit.first_width} is not below model.width: "
                f"{self.model.width}; give less, or leave fit.finalists out"
            )

    def _check_candidates(self) -> None:
        """Refuse a search with a candidate that is no valid experiment."""
        for values in self._grid():
            try:
                self.with_values(values)
            except ValidationError as error:
                line = explain_errors(error, Experiment)[0]
                key = line.partition(":")[0].partition("[")[0]
                if key in values:
                    place = self.search[key].index(values[key])
                    raise ValueError(f"search.{key}[{place}]{line.removeprefix(key)}") from None
                shown = ", ".join(f"{name}: {value}" for name, value in values.items())
                raise ValueError(f"search: the candidate {shown} is not allowed: {line}") from None

    def _grid(self) -> Iterator[dict[str, Any]]:
        for values in itertools.product(*self.search.values()):
            yield dict(zip(self.search, values, strict=True))

    def with_values(self, values: Mapping[str, Any]) -> Experiment:
        """Return the experiment of one candidate, given its values of the searched keys."""
        tree = to_tree(self)
        tree["search"] = {}
        tree["fit"] |= {"average": 1, "finalists": None}
        for key, value in values.items():
            section, name = key.split(".")
            tree[section][name] = value
        return Experiment.model_validate(tree)

    def candidates(self) -> list[tuple[dict[str, Any], Experiment]]:
        """Return the combinations of the searched keys, each as an experiment of its own.

        Of combinations that are the same model, as they differ in a seed from which nothing is
        drawn, the first stands for all.
        """
        found: dict[str, tuple[dict[str, Any], Experiment]] = {}
        for values in self._grid():
            variant = self.with_values(values)
            found.setdefault(variant.without_idle_seed().model_dump_json(), (values, variant))
        return list(found.values())

    def without_idle_seed(self) -> Experiment:
        """Return the experiment with the seed 0 where nothing of a fit is drawn from the seed."""
        model = self.model
        if model.sampling != "quadratic" or model.noise != 0 or self.fit.share < 1:
            return self
        return self.model_copy(update={"model": model.model_copy(update={"seed": 0})})


def to_tree(experiment: Experiment) -> dict[str, Any]:
    """Convert an experiment to plain lists and dictionaries, as YAML has them."""
    tree = experiment.model_dump(mode="json", exclude={"periods"})
    tree["periods"] = {key: period.as_pair() for key, period in experiment.periods}
    return tree


def dump_experiment(experiment: Experiment) -> str:
    """Write an experiment, with every default filled in, as YAML text."""
    return yaml.safe_dump(to_tree(experiment), sort_keys=False, allow_unicode=True)


def shown_experiment(experiment: Experiment) -> str:
    """Write an experiment as YAML text without passwords and storage options."""
    tree = hide_secrets(to_tree(experiment))
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)


def load_experiment(path: str | Path) -> Experiment:
    """Read and check an experiment file.

    Relative paths of data are those in the current folder, else those beside the file.

    Raises
    ------
    ConfigError
        With one line for each error: the file, the key, what was found, what is allowed.
    """
    experiment = checked(Experiment, read_tree(Path(path)), str(path))
    data = with_paths_beside(experiment.data, Path(path).parent)
    return experiment.model_copy(update={"data": data})


def parse_experiment(text: str, where: str = "experiment") -> Experiment:
    """Check the YAML text of an experiment; ``where`` is named in errors."""
    return checked(Experiment, parse_tree(text, where), where)
