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

_TYPES = {"bool", "string", *(f"int{bits}" for bits in (8, 16, 32, 64))}
_TYPES |= {f"uint{bits}" for bits in (8, 16, 32, 64)} | {f"float{bits}" for bits in (16, 32, 64)}
_TYPES |= {"complex64", "complex128"}  # waves of zonal states

_FORMAT_2 = {".zarray", ".zgroup", ".zattrs", ".zmetadata"}

_MOST_ARRAYS = 100_000
_METADATA_BYTES = 2**26
"""Most arrays of a store, and most bytes of a file of metadata."""

# An array may take this many bytes of memory, or this many times its bytes on disk.
_PLAIN_BYTES, _COMPRESSION = 2**26, 4096


class UntrustedStoreError(ValueError):
    """A store has something that this program does not write; the message says what."""


def check_store(path: Path) -> None:
    """Check links, format, number, types, codecs and sizes of the arrays of a store.

    Only metadata and the sizes of files are read.

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
    arrays = 0
    for place, folders, files in os.walk(path):
        inside = Path(place)
        name = str(inside.relative_to(path))
        for each in (*folders, *files):
            if (inside / each).is_symlink():
                raise UntrustedStoreError(f"{Path(name) / each} is a link")
        if _FORMAT_2 & set(files):
            raise UntrustedStoreError(f"{name} has zarr format 2, whose filters may run code")
        if "zarr.json" not in files:
            continue
        arrays += 1
        if arrays > _MOST_ARRAYS:
            raise UntrustedStoreError(f"it has more than {_MOST_ARRAYS} arrays and groups")
        metadata = _metadata(inside / "zarr.json", name)
        if metadata.get("node_type") == "array":
            _check_array(metadata, inside, name)
            folders.clear()  # chunks


def _metadata(file: Path, name: str) -> dict[str, Any]:
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
    return found


def _check_array(metadata: dict[str, Any], folder: Path, name: str) -> None:
    kind = metadata.get("data_type")
    if not isinstance(kind, str) or kind not in _TYPES:
        raise UntrustedStoreError(f"the array {name} has the type {str(kind)[:80]!r}")
    codecs = metadata.get("codecs")
    if not isinstance(codecs, list) or not all(isinstance(each, dict) for each in codecs):
        raise UntrustedStoreError(f"the array {name} has no list of codecs")
    if odd := [str(each.get("name"))[:80] for each in codecs if each.get("name") not in _CODECS]:
        raise UntrustedStoreError(f"the array {name} has the codec {odd[0]!r}")
    if metadata.get("storage_transformers"):
        raise UntrustedStoreError(f"the array {name} has storage transformers")
    stored = sum(
        os.lstat(os.path.join(place, each)).st_size
        for place, _, files in os.walk(folder)
        for each in files
    )
    grid = metadata.get("chunk_grid")
    options = grid.get("configuration") if isinstance(grid, dict) else None
    chunk = options.get("chunk_shape") if isinstance(options, dict) else None
    size = 16 if kind == "string" else np.dtype(kind).itemsize
    for what, shape, least in (("shape", metadata.get("shape"), 0), ("chunks", chunk, 1)):
        if not isinstance(shape, list) or not all(type(n) is int and n >= least for n in shape):
            raise UntrustedStoreError(f"the array {name} has the {what} {str(shape)[:80]}")
        if math.prod(shape) * size > max(_PLAIN_BYTES, _COMPRESSION * stored):
            raise UntrustedStoreError(
                f"the array {name} has the {what} {str(shape)[:80]}, but {stored} bytes on disk"
            )
