"""Stored models that are wrong in one or several places, with right checksums.

Whoever changes a model can make its checksums anew.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from gfrnn.pipeline.reduction.checkpoints import content_digest, content_key
from gfrnn.pipeline.storage import array_in
from gfrnn.pipeline.training.model import ATTRIBUTES, SUMS

JUNK: list[Any] = [
    None, -1, 0, 1, 2, 2.5, 1e300, -1e-300, float("inf"), float("nan"), 10**9, 10**30, "", "x",
    "../../x", "NaT", "1d", "\x00", "month", [], [[]], [1], [1, 2], {}, {"a": 1}, True, False,
    ["day_of_year"] * 3,
]  # fmt: skip
"""Values that are wrong in most places of the metadata."""

VALUES = [np.nan, np.inf, -np.inf, 1e300, -1e300, 1e200, 1e-300, 0.0, -1.0, 1e25]
"""Numbers that are wrong in most arrays."""


def strange_model(store: Path, dice: random.Random) -> list[str]:
    """Change a stored model in one to three places; return what was done, for messages."""
    done = []
    for _ in range(dice.randint(1, 3)):
        change = dice.choice([_change_attribute, _change_attribute, _change_values, _reshape])
        done.append(change(store, dice))
    renew_sums(store)
    return done


def renew_sums(store: Path) -> None:
    """Compute the checksums of a model anew, as far as its arrays can be read."""
    group = zarr.open_group(store, mode="r+", zarr_format=3)
    sums = dict(group.attrs).get(SUMS)
    if not isinstance(sums, dict):
        return
    for name in sums:
        if name != ATTRIBUTES and name in group:
            sums[name] = content_digest(np.asarray(array_in(group, name)[...]))
    rest = {name: value for name, value in group.attrs.items() if name != SUMS}
    group.attrs[SUMS] = sums | {ATTRIBUTES: content_key(rest)}


def set_array(store: Path, name: str, values: np.ndarray) -> None:
    """Replace an array of a model, and the checksums."""
    zarr.open_group(store, mode="r+", zarr_format=3).create_array(name, data=values, overwrite=True)
    renew_sums(store)


def set_attributes(store: Path, change: Any) -> None:
    """Change the attributes of a model in place by a function, and the checksums."""
    path = store / "zarr.json"
    tree = json.loads(path.read_text(encoding="utf-8"))
    change(tree["attributes"])
    path.write_text(json.dumps(tree), encoding="utf-8")
    renew_sums(store)


def places(tree: Any) -> list[tuple[Any, Any]]:
    """Return all containers and keys of a tree of JSON."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree)
    found = []
    for key, value in inner:
        found.append((tree, key))
        if isinstance(value, dict | list):
            found += places(value)
    return found


def _arrays(store: Path) -> list[str]:
    group = zarr.open_group(store, mode="r", zarr_format=3)
    members = group.members(max_depth=None)
    return sorted(name for name, each in members if isinstance(each, zarr.Array))


def _change_attribute(store: Path, dice: random.Random) -> str:
    path = store / "zarr.json"
    tree = json.loads(path.read_text(encoding="utf-8"))
    known = {name: value for name, value in tree["attributes"].items() if name != SUMS}
    container, key = dice.choice(places(known))
    old = container[key]
    if dice.random() < 0.2 and isinstance(container, dict):
        del container[key]
        new: Any = "(removed)"
    else:
        new = container[key] = dice.choice(JUNK)
    tree["attributes"] = known | {SUMS: tree["attributes"][SUMS]}
    path.write_text(json.dumps(tree), encoding="utf-8")
    return f"{key}: {str(old)[:40]} -> {new!r}"


def _change_values(store: Path, dice: random.Random) -> str:
    name, value = dice.choice(_arrays(store)), dice.choice(VALUES)
    array = array_in(zarr.open_group(store, mode="r+", zarr_format=3), name)
    values = np.asarray(array[...])
    if values.dtype.kind not in "fc" or not values.size:
        return f"{name}: unchanged"
    if dice.random() < 0.5:
        values.reshape(-1)[dice.randrange(values.size)] = value
    else:
        values[...] = value
    with np.errstate(over="ignore"):
        array[...] = values
    return f"{name}: values {value}"


def _reshape(store: Path, dice: random.Random) -> str:
    name = dice.choice(_arrays(store))
    group = zarr.open_group(store, mode="r+", zarr_format=3)
    values = np.asarray(array_in(group, name)[...])
    how = dice.randrange(5)
    if how == 0:
        values = values.reshape(-1)
    elif how == 1:
        values = values[..., :1] if values.ndim else values[None]
    elif how == 2:
        values = np.concatenate([values, values]) if values.ndim else values[None]
    elif how == 3:
        values = values.astype(dice.choice(["int8", "float32", "bool", "complex128", "uint64"]))
    else:
        values = np.zeros((0, *values.shape[1:]), values.dtype)
    group.create_array(name, data=values, overwrite=True)
    return f"{name}: shape {values.shape}, {values.dtype}"
