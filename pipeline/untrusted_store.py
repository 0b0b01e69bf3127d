"""Check a zarr store that may come from anybody before anything of it is allocated or decoded."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

# Codecs of what this program writes. None of them runs code of the store.
_CODECS = {"bytes", "crc32c", "vlen-utf8", "zstd"}
_SHARDS = "sharding_indexed"
"""Codec of chunks that consist of smaller ones, which have codecs of their own."""

_TYPES = {"bool", "string", *(f"int{bits}" for bits in (8, 16, 32, 64))}
_TYPES |= {f"uint{bits}" for bits in (8, 16, 32, 64)} | {f"float{bits}" for bits in (16, 32, 64)}
_TYPES |= {"complex64", "complex128"}  # waves of zonal states

_FORMAT_2 = {".zarray", ".zgroup", ".zattrs", ".zmetadata"}

_MOST_ARRAYS = 100_000
_METADATA_BYTES = 2**26
"""Most arrays of a store, and most bytes of a file of metadata."""

# Arrays that are read whole, and a chunk, may take this many bytes of memory, or this many times
# their bytes on disk.
_PLAIN_BYTES, _COMPRESSION = 2**30, 4096

_IN_CHUNKS = 3
"""Least dimensions of the fields and errors that are read in chunks."""


class UntrustedStoreError(ValueError):
    """A store has something that this program does not write; the message says what."""


def check_store(path: Path, *, in_chunks: bool = False) -> None:
    """Check links, format, number, types, codecs and sizes of the arrays of a store.

    Only metadata are read, folders are listed, and sizes of files are looked up where arrays are
    large. The copy of the metadata that zarr keeps in a group (consolidated metadata) is not
    checked, so readers must not use it.

    Parameters
    ----------
    path : Path
    in_chunks : bool
        Whether arrays of three and more dimensions are read in chunks, and may lack some, so that
        their chunks are bounded, but not their shapes.

    Raises
    ------
    FileNotFoundError
        If there is no store.
    UntrustedStoreError
        If something is not as this program writes it.
    """
    if path.is_symlink():
        raise UntrustedStoreError(f"{path.name} is a link")
    if any((path / name).exists() for name in _FORMAT_2):
        raise UntrustedStoreError("it has zarr format 2, whose filters may run code")
    if not (path / "zarr.json").exists():
        raise FileNotFoundError(path / "zarr.json")
    whole: dict[str, int] = {}
    arrays = 0
    top = os.fspath(path)
    waiting = [("", False)]  # paths as text: stores have thousands of folders
    while waiting:
        folder, holds_chunks = waiting.pop()
        name = folder or "the top group"
        with os.scandir(os.path.join(top, folder)) as listing:
            entries = list(listing)
        for entry in entries:
            if entry.is_symlink():
                raise UntrustedStoreError(f"{os.path.join(folder, entry.name)} is a link")
        names = {entry.name for entry in entries}
        if _FORMAT_2 & names:
            raise UntrustedStoreError(f"{name} has zarr format 2, whose filters may run code")
        if "zarr.json" in names and not holds_chunks:
            arrays += 1
            if arrays > _MOST_ARRAYS:
                raise UntrustedStoreError(f"it has more than {_MOST_ARRAYS} arrays and groups")
            own = _checked_metadata(path / folder, name)
            holds_chunks = own is not None
            if own is not None and not (in_chunks and len(own["shape"]) >= _IN_CHUNKS):
                whole[name] = _bytes_of(own["shape"], own)
        waiting += [
            (os.path.join(folder, entry.name), holds_chunks) for entry in entries if entry.is_dir()
        ]
    needed = sum(whole.values())
    if needed > _PLAIN_BYTES and needed > _COMPRESSION * (stored := _stored_bytes(path)):
        largest = max(whole, key=lambda name: whole[name])
        raise UntrustedStoreError(
            f"the array {largest} has the shape of {whole[largest]} bytes, and all arrays need "
            f"{needed}, but the store has {stored} bytes on disk"
        )


def is_sound(path: Path) -> bool:
    """Return whether there is a store, read in chunks, that this program may have written."""
    try:
        check_store(path, in_chunks=True)
    except (OSError, UntrustedStoreError):
        return False
    return True


def _checked_metadata(folder: Path, name: str) -> dict[str, Any] | None:
    """Check an array or a group, and return the metadata of an array, None for a group."""
    file = folder / "zarr.json"
    if file.stat().st_size > _METADATA_BYTES:
        raise UntrustedStoreError(f"the metadata of {name} have more than {_METADATA_BYTES} bytes")
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UntrustedStoreError(f"the metadata of {name} are no JSON ({error})") from None
    if not isinstance(found, dict):
        raise UntrustedStoreError(
            f"the metadata of {name} are {type(found).__name__}, not a mapping"
        )
    if found.get("zarr_format") != 3 or found.get("node_type") not in ("array", "group"):
        raise UntrustedStoreError(f"{name} is no array or group of zarr format 3")
    if found["node_type"] == "array":
        _check_array(found, folder, name)
        return found
    return None


def _check_array(metadata: dict[str, Any], folder: Path, name: str) -> None:
    kind = metadata.get("data_type")
    if not isinstance(kind, str) or kind not in _TYPES:
        raise UntrustedStoreError(f"the array {name} has the type {str(kind)[:80]!r}")
    if metadata.get("storage_transformers"):
        raise UntrustedStoreError(f"the array {name} has storage transformers")
    shape = _lengths(metadata.get("shape"), 0, f"the array {name} has the shape")
    metadata["shape"] = shape
    grid = metadata.get("chunk_grid")
    chunks = [_chunk_shape(grid, name)]
    for codec in _codecs(metadata.get("codecs"), name, {*_CODECS, _SHARDS}):
        if codec.get("name") == _SHARDS:
            inner = codec.get("configuration")
            chunks.append(_chunk_shape(codec, name))
            for key in ("codecs", "index_codecs"):
                _codecs(inner.get(key) if isinstance(inner, dict) else None, name, _CODECS)
    for chunk in chunks:
        needed = _bytes_of(chunk, metadata)
        if needed > _PLAIN_BYTES and needed > _COMPRESSION * (stored := _stored_bytes(folder)):
            raise UntrustedStoreError(
                f"the array {name} has the chunks {str(chunk)[:80]}, but {stored} bytes on disk"
            )


def _codecs(found: Any, name: str, known: set[str]) -> list[dict[str, Any]]:
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise UntrustedStoreError(f"the array {name} has no list of codecs")
    for each in found:
        codec = each.get("name")
        if not isinstance(codec, str) or codec not in known:
            raise UntrustedStoreError(f"the array {name} has the codec {str(codec)[:80]!r}")
    return found


def _chunk_shape(holder: Any, name: str) -> list[int]:
    options = holder.get("configuration") if isinstance(holder, dict) else None
    chunk = options.get("chunk_shape") if isinstance(options, dict) else None
    return _lengths(chunk, 1, f"the array {name} has the chunks")


def _lengths(found: Any, least: int, what: str) -> list[int]:
    if not isinstance(found, list) or not all(type(n) is int and n >= least for n in found):
        raise UntrustedStoreError(f"{what} {str(found)[:80]}")
    return found


def _bytes_of(shape: list[int], metadata: dict[str, Any]) -> int:
    kind = metadata["data_type"]
    return math.prod(shape) * (16 if kind == "string" else np.dtype(kind).itemsize)


def _stored_bytes(folder: Path) -> int:
    return sum(
        os.lstat(os.path.join(place, each)).st_size
        for place, _, files in os.walk(folder)
        for each in files
    )
