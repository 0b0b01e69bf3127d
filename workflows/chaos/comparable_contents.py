"""Contents of the folders of runs, in a form in which two ends can be compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.runs.record import RunRecord

PRODUCTS = ("model.zarr", "forecast.zarr", "statistics.zarr", "scores.zarr")
"""Stores of a run's folder that must be the same with and without a fault."""

_FREE = ("performance-", ".lock", "cluster", "dask-")
"""Beginnings of names in a run's folder that depend on when it was computed."""


def finished_stages(folder: Path) -> set[str]:
    """Return the finished stages in the record of a run; none if it has none or it is damaged."""
    try:
        record = RunRecord.read(folder / "run.json")
    except RunError:
        return set()
    if record is None:
        return set()
    return {name for name, stage in record.stages.items() if stage.finished}


def contents(folders: list[Path]) -> dict[str, Any]:
    """Return the contents of runs' folders.

    The keys are the names of entries, finished stages, the SHA-256 of files with values of arrays,
    and each single value of the metadata of stores.
    """
    found: dict[str, Any] = {}
    for folder in folders:
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if not path.name.startswith(_FREE):
                found[f"{folder.name}/{path.name}"] = "entry"
        for stage in finished_stages(folder):
            found[f"{folder.name}: {stage}"] = "finished"
        for name in PRODUCTS:
            for path in sorted((folder / name).rglob("*")):
                if path.is_file():
                    found.update(_file(path, str(path.relative_to(folder.parent))))
    return found


def _file(path: Path, name: str) -> Iterator[tuple[str, Any]]:
    data = path.read_bytes()
    if path.name != "zarr.json":
        yield name, hashlib.sha256(data).hexdigest()
        return
    try:
        yield from _leaves(json.loads(data), name)
    except ValueError:
        yield name, "damaged"


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _leaves(part, f"{name} {key}")
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _leaves(part, f"{name} {index}")
    else:
        yield name, value
