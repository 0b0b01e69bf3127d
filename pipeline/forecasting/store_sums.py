"""Sums of a finished store, by which lost files, changed metadata and changed values are found.

The chunks of forecast fields have checksums of their own, which zarr compares when it reads them,
so that their files need only be listed. All else is smaller, and summed whole.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import zarr

from gfrnn.pipeline.errors import RunError

SUMS = "sha256"
"""Attribute of a finished store: the sum of each array, as JSON text, since attributes of netCDF
files cannot be mappings, and what is read from a store may be written there as it is."""

_ATTRIBUTES = "attributes of groups"

_FIELD = {"latitude", "longitude"}
"""Dimensions of which an array of fields has at least one."""

_BLOCK_BYTES = 2**20  # of a file that are read at once


_REMEDY = (
    "restore it from a copy, or remove it and run `gfrnn forecast` again, which uses the trained "
    "model"
)


def store_sums(path: Path, *, whole: bool = False) -> dict[str, str]:
    """Return the SHA-256 (hex) of the metadata and of the names of all files of each array.

    Parameters
    ----------
    path : Path
    whole : bool
        Whether to include the contents of all files, and the attributes of the groups. Otherwise
        the files of fields are only listed, which is cheap; of all other arrays, such as
        coordinates, the contents are included.
    """
    group = zarr.open_group(path, mode="r", use_consolidated=False)
    if not whole:
        return {name: _array_sum(path / name) for name in sorted(group.array_keys())}
    members = dict(group.members(max_depth=None, use_consolidated_for_children=False))
    sums = {
        name: _array_sum(path / name, whole=True)
        for name, member in sorted(members.items())
        if isinstance(member, zarr.Array)
    }
    groups = {"": group} | {n: each for n, each in members.items() if isinstance(each, zarr.Group)}
    attrs = {
        name: {key: value for key, value in each.attrs.items() if key != SUMS}
        for name, each in sorted(groups.items())
    }
    return sums | {_ATTRIBUTES: hashlib.sha256(_plain(attrs)).hexdigest()}


def add_sums(path: Path) -> None:
    """Add the sums of all contents to the attributes of a finished store."""
    sums = json.dumps(store_sums(path, whole=True))
    zarr.open_group(path, mode="r+", use_consolidated=False).attrs[SUMS] = sums


def check_sums(path: Path, *, whole: bool = False, remedy: str = _REMEDY) -> None:
    """Check that a finished store is as it was when it was finished.

    Stores without sums, such as those of earlier versions, pass.

    Parameters
    ----------
    path : Path
    whole : bool
        Whether the sums are those of :func:`add_sums`.
    remedy : str
        What to do about damage.

    Raises
    ------
    RunError
        If files are missing or were changed; the message names the array.
    """
    try:
        attrs: dict[str, Any] = dict(zarr.open_group(path, mode="r", use_consolidated=False).attrs)
        if (text := attrs.get(SUMS)) is None:
            return
        wanted: dict[str, str] = json.loads(str(text))
        found = store_sums(path, whole=whole)
        changed = [
            name
            for name in wanted
            if found.get(name) != wanted[name] and _listed_sum(path / name) != wanted[name]
        ]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunError(damage(path, f"its metadata cannot be read, {error}", remedy)) from None
    if changed:
        what = f"files of the array {changed[0]} are missing or were changed since"
        if changed[0] == _ATTRIBUTES:
            what = "its attributes were changed"
        raise RunError(damage(path, what, remedy))


def damage(path: Path, what: str, remedy: str = _REMEDY) -> str:
    """Return the message about a damaged store, by default one of forecasts."""
    return f"{path}: is damaged, {what}; {remedy}"


@contextmanager
def naming_damage(
    path: Path, what: str = "values of the forecasts cannot be read"
) -> Iterator[None]:
    """Name a store of forecasts where a block, which reads its values only, meets damage.

    Raises
    ------
    RunError
        If a chunk does not have its checksum, or cannot be decoded.
    """
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        raise RunError(damage(path, f"{what} ({error})")) from None


def _array_sum(folder: Path, *, whole: bool = False) -> str:
    metadata = json.loads((folder / "zarr.json").read_text(encoding="utf-8"))
    files = _files(folder)
    digest = hashlib.sha256(_listing(metadata, files))
    chunks = [name for name in files if name != "zarr.json"]
    if whole or len(chunks) == 1 or not _FIELD & set(metadata.get("dimension_names") or ()):
        for name in chunks:
            with (folder / name).open("rb") as file:
                while block := file.read(_BLOCK_BYTES):
                    digest.update(block)
    return digest.hexdigest()


def _listed_sum(folder: Path) -> str | None:
    """Return the sum without contents that earlier versions stored for arrays of several files."""
    if not (folder / "zarr.json").exists() or len(files := _files(folder)) <= 2:
        return None
    metadata = json.loads((folder / "zarr.json").read_text(encoding="utf-8"))
    return hashlib.sha256(_listing(metadata, files)).hexdigest()


def _listing(metadata: Any, files: list[str]) -> bytes:
    return _plain(metadata) + "\n".join(files).encode()


def _files(folder: Path) -> list[str]:
    """Return the sorted paths of all files in a folder, relative to it."""
    files = []
    for place, _, names in os.walk(folder):
        files += [os.path.relpath(os.path.join(place, name), folder) for name in names]
    return sorted(files)


def _plain(tree: Any) -> bytes:
    return json.dumps(tree, sort_keys=True).encode()
