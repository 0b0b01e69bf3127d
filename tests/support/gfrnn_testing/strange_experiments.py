"""Experiments at random that are wrong in one or several places."""

from __future__ import annotations

import copy
import random
from typing import Any

from pydantic import BaseModel

from gfrnn.cluster import ClusterConfig
from gfrnn.pipeline.config.experiment import SEARCHABLE, Experiment

VALID: dict[str, Any] = {
    "name": "small",
    "data": {
        "sources": [{"path": "era5.zarr", "rename": {"x": "geopotential"}, "level": 500}],
        "variables": {"geopotential": [500]},
        "region": {"latitude": [35, 60], "longitude": [-10, 30]},
        "step": "6h",
    },
    "periods": {
        "train": ["2001-01-01", "2005-12-31"],
        "validation": ["2006-01-01", "2006-12-31"],
        "test": ["2007-01-01", "2007-12-31"],
    },
    "climatology": {"annual": 2},
    "state": {"layout": "eof", "modes": 20},
    "model": {"width": 50, "leads": ["1d"], "inputs": ["hour"], "noise": 0.1},
    "fit": {"ridge": [0.1, 0.01], "average": 1},
    "search": {"model.seed": [0, 1]},
    "forecast": {"horizon": "5d", "every": "1d"},
    "verification": {"regions": {"here": {"latitude": [0, 9], "longitude": [0, 9]}}},
    "cluster": {"workers": 2, "memory": "1GiB"},
}
"""A valid experiment with most sections."""

STRANGE: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2,
    7,
    1.5,
    -0.0,
    1e-300,
    1e300,
    2**31,
    10**12,
    2**63 - 1,
    -(2**63),
    float("inf"),
    float("-inf"),
    float("nan"),
    "",
    " ",
    "0",
    "-1",
    "nan",
    "NaT",
    "1d",
    "0d",
    "-3h",
    "1ns",
    "3mo",
    "1e30d",
    "999999999999999999999d",
    "2001-01-01",
    "2001-02-30",
    "9999-12-31",
    "1500-01-01",
    "99999-01-01",
    "2001-01-01T00:00Z",
    "now",
    "today",
    "-5GiB",
    "0GiB",
    "1e40GiB",
    "../../x",
    "/etc/passwd",
    "a\nb",
    "[/red]",
    "{x}",
    "%s%n",
    "a" * 300,
    "é" * 40,
    "\u202e",
    "all",
    "month",
    "residual",
    "eof",
    "local",
    "zonal",
    "era5",
    [],
    [[]],
    [None],
    [1],
    [1, 2],
    [2, 1],
    [0.1, -1],
    [1, 2, 3],
    ["1d", "1d"],
    ["2001-01-01", "2001-06-30"],
    [["2001-01-01"], {"a": 1}],
    list(range(200)),
    {},
    {"": None},
    {"a": {}},
    {"start": [], "end": {}},
    {"latitude": [0, 1], "longitude": [0, 1]},
    {"path": None},
    {"path": ["a", 3]},
    {"a" * 300: 1},
]
"""Values that are wrong in most places."""


def strange_experiment(random: random.Random) -> Any:
    """Return an experiment as YAML would have it, with one to three changes at random."""
    tree = copy.deepcopy(VALID)
    for _ in range(random.randint(1, 3)):
        kind = random.random()
        if kind < 0.45:
            _set_known_key(tree, random)
        elif kind < 0.9:
            _change_value(tree, random)
        else:
            _delete_value(tree, random)
    return tree


def _set_known_key(tree: dict[str, Any], random: random.Random) -> None:
    """Set a key of a section, which the valid experiment may be without."""
    name = random.choice([*Experiment.model_fields, "cluster", "search"])
    if name == "search":
        keys = [*SEARCHABLE, "model.width", "name", "", "a.b.c"]
        key, values = random.choice(keys), [random.choice(STRANGE) for _ in range(3)]
    else:
        section = ClusterConfig if name == "cluster" else _section(name)
        if section is None:
            tree[name] = random.choice(STRANGE)
            return
        key, values = random.choice(sorted(section.model_fields)), random.choice(STRANGE)
    if isinstance(tree.get(name), dict):
        tree[name][key] = values
    else:
        tree[name] = {key: values}


def _section(name: str) -> type[BaseModel] | None:
    annotation = Experiment.model_fields[name].annotation
    known = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return annotation if known else None


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Return container and key of each value."""
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree)
    found = []
    for key, value in list(pairs):
        found.append((tree, key))
        if isinstance(value, (dict, list)) and len(value) < 50:
            found += _places(value)
    return found


def _change_value(tree: dict[str, Any], random: random.Random) -> None:
    container, key = random.choice(_places(tree))
    container[key] = copy.deepcopy(random.choice(STRANGE))


def _delete_value(tree: dict[str, Any], random: random.Random) -> None:
    container, key = random.choice(_places(tree))
    del container[key]
