"""Whose a run's folder is, and who works in it."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from gfrnn.pipeline.config.experiment import Experiment, dump_experiment, load_experiment, to_tree
from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.storage import write_text

# What does not decide a result, and so may differ when a run is taken up again.
_INCIDENTAL = ("cluster", "output", "description")

APART_FROM_MODEL = (
    "data.sources",
    "data.chunk",
    "periods.test",
    "forecast.every",
    "forecast.batch",
)
"""What a model that was updated, or taken from another run, does not depend on: these may differ
when it forecasts."""


def essence(experiment: Experiment, free: Sequence[str] = ()) -> dict[str, Any]:
    """The part of an experiment that decides its result, without the keys that are ``free``."""
    tree = to_tree(experiment)
    for key in _INCIDENTAL:
        tree.pop(key)
    for key in free:
        section, name = key.split(".")
        tree[section].pop(name)
    if tree["data"]["variables"] is not None:
        # Their order is that of the columns, which mappings that are compared do not look at.
        tree["data"]["variables"] = list(map(list, tree["data"]["variables"].items()))
    return tree


def differences(old: Any, new: Any, where: str = "") -> list[str]:
    """One line for each key that differs."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            line
            for key in dict.fromkeys([*old, *new])
            for line in differences(old.get(key), new.get(key), f"{where}.{key}" if where else key)
        ]
    return [] if old == new else [f"{where}: {old!r} there, {new!r} here"]


# Where processes of the run meet, which may be before anything else is there.
_CLUSTER = "cluster"


def adopt(
    folder: Path, experiment: Experiment, stores: Iterable[Path], *, force: bool
) -> dict[str, Any]:
    """Take a folder for a run, unless it belongs to another experiment, and read its record.

    Parameters
    ----------
    stores : iterable of Path
        Where one of them is, work has begun.

    Raises
    ------
    RunError
    """
    path = folder / "experiment.yaml"
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: not a folder; choose another --output")
    record = read_record(folder) or {"name": experiment.name, "stages": {}}
    if path.exists():
        # An experiment that was refused before it computed anything may be mended in place.
        if any(store.exists() for store in stores) and not force:
            free = APART_FROM_MODEL if settled_in(record) else ()
            there, here = essence(load_experiment(path), free), essence(experiment, free)
            if differing := differences(there, here):
                raise RunError(
                    f"{folder}: holds a run of another experiment ({'; '.join(differing[:5])}); "
                    "choose another --output, or replace it with `gfrnn run --force`"
                )
    elif folder.exists() and any(path.name != _CLUSTER for path in folder.iterdir()):
        raise RunError(
            f"{folder}: not empty and not a run's folder (it has no experiment.yaml); "
            "choose another --output"
        )
    folder.mkdir(parents=True, exist_ok=True)
    text = dump_experiment(experiment)
    # Others may be reading it: several forecasts take the model of one run at the same time.
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)
    return record


def updated_in(record: dict[str, Any]) -> dict[str, Any] | None:
    """What a record says of the updates of the model, or None."""
    found: dict[str, Any] | None = record["stages"].get("fit", {}).get("updated")
    return found


def settled_in(record: dict[str, Any]) -> bool:
    """Whether a record says that the model came about without the data of its folder."""
    fit = record["stages"].get("fit", {})
    return "updated" in fit or "taken" in fit


def read_record(folder: Path) -> dict[str, Any]:
    """What ``run.json`` holds; nothing where there is none."""
    path = folder / "run.json"
    if not path.exists():
        return {}
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Keep a second process from working in the same folder; the lock ends with the process."""
    with open(folder / ".lock", "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(
                f"{folder}: another process is working in it; wait for it, or choose another "
                "--output"
            ) from None
        yield


def now() -> str:
    """The time, UTC, as records have it."""
    return f"{pd.Timestamp.now('UTC'):%Y-%m-%dT%H:%M:%SZ}"
