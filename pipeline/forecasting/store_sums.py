"""Open stores of a run, and check sums by which lost and changed files are found.

The chunks of forecast fields have checksums of their own, which zarr compares when it reads them,
so that their files need only be listed. All else is smaller, and summed whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import xarray as xr
import zarr

from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.storage import remove_partial_files, stored_files
from gfrnn.pipeline.untrusted_store import UntrustedStoreError, check_store

SUMS = "sha256"
"""Attribute of a finished store: the sum of each array, as JSON text, since attributes of netCDF
files cannot be mappings, and what is read from a store may be written there as it is."""

COMPLETE = "complete"
"""Attribute of forecasts: 1 once they are finished, before 0."""

_ATTRIBUTES = "attributes of groups"

_FIELD = {"latitude", "longitude"}
"""Dimensions of which an array of fields has at least one."""

_BLOCK_BYTES = 2**20  # of a file that are read at once

# What libraries raise where metadata or values of a store are not what they expect.
_DAMAGE = (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, IndexError)

_REMEDY = (
    "restore it from a copy, or remove it and run `gfrnn forecast` again, which uses the trained "
    "model"
)


def check_written(path: Path, *, in_chunks: bool = False, remedy: str = _REMEDY) -> None:
    """Refuse a store that this program cannot have written, before anything of it is decoded.

    The parameters are those of :func:`gfrnn.pipeline.untrusted_store.check_store` and of
    :func:`check_sums`.

    Raises
    ------
    RunError
    """
    try:
        check_store(path, in_chunks=in_chunks)
    except UntrustedStoreError as error:
        what = f"{path}: is damaged, or not written by this program: {error}; {remedy}"
        raise RunError(what) from None
    except OSError as error:
        raise RunError(damage(path, f"its metadata cannot be read ({error})", remedy)) from None


def open_store(path: Path, *, group: str | None = None, remedy: str = _REMEDY) -> xr.Dataset:
    """Open a store that was checked, or a group of it, lazily and without Dask.

    Raises
    ------
    RunError
        If it is damaged.
    """
    options: dict[str, Any] = {"chunks": None, "decode_timedelta": True, "consolidated": False}
    with naming_damage(path, "it cannot be opened", remedy):
        ds: xr.Dataset = xr.open_zarr(path, group=group, **options)
    return ds


def store_sums(path: Path, *, whole: bool = False) -> dict[str, str]:
    """Return the SHA-256 (hex) of each array, and of the attributes of the groups.

    That of an array is of its metadata, and of the names and contents of its files.

    Parameters
    ----------
    path : Path
    whole : bool
        Whether to include the contents of all files. Otherwise the files of fields are only listed,
        which is cheap; of all other arrays, such as coordinates, the contents are included.
    """
    sums, attrs = {}, {}
    for name, metadata in _members(path, ""):
        if metadata["node_type"] == "array":
            sums[name] = _array_sum(path / name, metadata, whole=whole)
        else:
            own = metadata.get("attributes", {})
            attrs[name] = {key: own[key] for key in own if key not in (SUMS, COMPLETE)}
    return sums | {_ATTRIBUTES: hashlib.sha256(_plain(attrs)).hexdigest()}


def _members(store: Path, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield names and metadata of a group, and of all arrays and groups in it."""
    metadata = json.loads((store / name / "zarr.json").read_text(encoding="utf-8"))
    yield name, metadata
    if metadata["node_type"] == "group":
        for each in sorted((store / name).iterdir()):
            if (each / "zarr.json").exists():
                yield from _members(store, str(each.relative_to(store)))


def add_sums(path: Path, without: Collection[str] = ()) -> None:
    """Add the sums of all contents to the attributes of a finished store.

    Files that killed processes have left half written are removed before.

    Parameters
    ----------
    path : Path
    without : collection of str
        Names of arrays that are removed next.
    """
    remove_partial_files(path)
    sums = store_sums(path, whole=True)
    kept = json.dumps({name: own for name, own in sums.items() if name not in without})
    zarr.open_group(path, mode="r+", use_consolidated=False).attrs[SUMS] = kept


def check_sums(path: Path, *, whole: bool = False, remedy: str = _REMEDY) -> None:
    """Check that a finished store is as it was when it was finished.

    Stores without sums, such as those of earlier versions, pass if this program may have written
    them.

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
    check_written(path, in_chunks=not whole, remedy=remedy)
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
    path: Path, what: str = "values of the forecasts cannot be read", remedy: str = _REMEDY
) -> Iterator[None]:
    """Name a store, by default one of forecasts, where a block, which only reads it, meets damage.

    Raises
    ------
    RunError
        If a chunk does not have its checksum, or metadata or values cannot be decoded.
    """
    try:
        yield
    except RunError:
        raise
    except _DAMAGE as error:
        raise RunError(damage(path, f"{what} ({error})", remedy)) from None


def _array_sum(folder: Path, metadata: dict[str, Any], *, whole: bool) -> str:
    files = stored_files(folder)
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
    if not (folder / "zarr.json").exists() or len(files := stored_files(folder)) <= 2:
        return None
    metadata = json.loads((folder / "zarr.json").read_text(encoding="utf-8"))
    return hashlib.sha256(_listing(metadata, files)).hexdigest()


def _listing(metadata: Any, files: list[str]) -> bytes:
    return _plain(metadata) + "\n".join(files).encode()


def _plain(tree: Any) -> bytes:
    return json.dumps(tree, sort_keys=True).encode()
