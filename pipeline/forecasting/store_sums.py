"""Sums of a finished forecast store, by which lost files and changed metadata are found.

The values of chunks have checksums of their own, which zarr compares when it reads them.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import zarr

from gfrnn.pipeline.errors import RunError

SUMS = "sha256"
"""Attribute of a finished store: the sum of each array, as JSON text, since attributes of netCDF
files cannot be mappings, and what is read from a store may be written there as it is."""


def store_sums(path: Path) -> dict[str, str]:
    """Return the SHA-256 (hex) of the metadata and of the names of all files of each array.

    The contents are included where an array is one file, as coordinates are. Larger arrays are
    only listed, so this is cheap.
    """
    arrays = zarr.open_group(path, mode="r", use_consolidated=False).array_keys()
    return {name: _array_sum(path / name) for name in sorted(arrays)}


def check_sums(path: Path) -> None:
    """Check that a finished store has all files that it had when it was finished.

    Stores without sums, such as those of earlier versions, pass.

    Raises
    ------
    RunError
        If files are missing or metadata were changed; the message names the array.
    """
    try:
        attrs: dict[str, Any] = dict(zarr.open_group(path, mode="r", use_consolidated=False).attrs)
        if (text := attrs.get(SUMS)) is None:
            return
        wanted: dict[str, str] = json.loads(str(text))
        found = store_sums(path)
        changed = [name for name in wanted if found.get(name) != wanted[name]]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunError(damage(path, f"its metadata cannot be read, {error}")) from None
    if changed:
        raise RunError(
            damage(path, f"files of the array {changed[0]} are missing or were changed since")
        )


def damage(path: Path, what: str) -> str:
    """Return the message about a damaged store of forecasts."""
    return (
        f"{path}: is damaged, {what}; restore it from a copy, or remove it and run "
        "`gfrnn forecast` again, which uses the trained model"
    )


def _array_sum(folder: Path) -> str:
    digest = hashlib.sha256()
    metadata = json.loads((folder / "zarr.json").read_text(encoding="utf-8"))
    digest.update(json.dumps(metadata, sort_keys=True).encode())
    files = []
    for place, _, names in os.walk(folder):
        files += [os.path.relpath(os.path.join(place, name), folder) for name in names]
    digest.update("\n".join(sorted(files)).encode())
    chunks = [name for name in files if name != "zarr.json"]
    if len(chunks) == 1:
        digest.update((folder / chunks[0]).read_bytes())
    return digest.hexdigest()
