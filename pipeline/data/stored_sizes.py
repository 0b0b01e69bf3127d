"""Sizes of the files and chunks behind a canonical Dataset, by the times that they hold."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from gfrnn.pipeline.data.canonical_array import LevelGroup, canonical_array
from gfrnn.pipeline.data.file_reading import FileTimeRange

Array = NDArray[Any]

_MOST_CHUNKS = 20_000  # of an array; asking a parallel file system for more takes minutes


@dataclass(frozen=True)
class StoredSize:
    """Size of what is stored for some times.

    Attributes
    ----------
    times : ndarray of int
        Positions on the time axis of the Dataset, ascending.
    digest : str
        Digest of the variable and the sizes, in bytes.
    """

    times: Array
    digest: str

    def belongs_to(self, index: Array) -> bool:
        """Return whether the last time is among some positions: what two folds share is one's."""
        return bool(np.isin(self.times[-1], index))


def stored_sizes(ds: xr.Dataset, used: Array) -> list[StoredSize]:
    """Return the sizes of local files and chunks all of whose times are in use.

    What holds other times too is left out, and what holds the last time in use, as it changes when
    an archive grows. No values are read; of files at URLs no size is known.

    Parameters
    ----------
    used : ndarray of int
        Positions on the time axis.
    """
    found = []
    for name, array in ds.data_vars.items():
        data = canonical_array(array)
        stores: dict[tuple[str, str, int], tuple[LevelGroup, list[FileTimeRange]]] = {}
        for number, group in enumerate(data.level_groups if data else ()):
            # Groups that are made of stored times have windows of their own.
            key = 0 if group.windows is None else number
            for part in group.time_ranges:
                _, parts = stores.setdefault((part.file.path, part.variable, key), (group, []))
                parts.append(part)
        for (path, variable, _), (group, own) in sorted(stores.items(), key=lambda each: each[0]):
            place = Path(path)
            if place.is_dir() and own[0].file.engine == "zarr":
                sizes = _chunk_sizes(own, variable)
            elif place.is_file():
                sizes = iter([(_positions(own), [("", place.stat().st_size)])])
            else:
                continue
            for stored, files in sizes:
                times = group.times_of(stored)
                if not len(times):
                    continue
                if np.isin(times, used).all() and times[-1] != used[-1]:
                    text = f"{name} {sorted(files)}"
                    found.append(StoredSize(times, hashlib.sha256(text.encode()).hexdigest()))
    return found


def _positions(parts: list[FileTimeRange]) -> Array:
    """Return the positions of all stored times of a file or store."""
    return np.unique(np.concatenate([part.start + np.arange(len(part.times)) for part in parts]))


def _chunk_sizes(
    parts: list[FileTimeRange], variable: str
) -> Iterator[tuple[Array, list[tuple[str, int]]]]:
    """Yield the stored times of each row of chunks, and names and sizes of its files."""
    first = parts[0]
    array = zarr.open_group(first.file.path, mode="r")[variable]
    if not isinstance(array, zarr.Array):
        return
    dims = first.file.open()[variable].dims
    axis = dims.index(first.grid.dims["time"]) if first.grid.dims.get("time") in dims else None
    if axis is None:
        return
    along = (array.shards or array.chunks)[axis]
    rows: dict[int, list[int]] = {}
    for part in parts:
        for place, row in enumerate(part.times, part.start):
            rows.setdefault(row // along, []).append(place)
    folder = Path(first.file.path) / variable
    names = sorted(_chunk_names(folder))
    step = -(-len(names) // _MOST_CHUNKS)
    files: dict[int, list[tuple[str, int]]] = {row: [] for row in rows}
    for name in names[:: max(1, step)]:
        numbers = re.findall(r"\d+", name)
        if len(numbers) == len(dims) and (row := int(numbers[axis])) in files:
            files[row].append((name, (folder / name).stat().st_size))
    for row, own in files.items():
        yield np.unique(rows[row]), own


def _chunk_names(folder: Path) -> Iterator[str]:
    for root, _, files in os.walk(folder):
        inner = Path(root).relative_to(folder).as_posix()
        for file in files:
            if not file.startswith(".") and file != "zarr.json":
                yield file if inner == "." else f"{inner}/{file}"
