"""Search for missing chunks of zarr stores, which are read as fill values without an error."""

from __future__ import annotations

import itertools
import os
from collections.abc import Container, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import xarray as xr
import zarr

from gfrnn.pipeline.data.canonical_array import LevelGroup, canonical_array
from gfrnn.pipeline.data.file_reading import FileTimeRange
from gfrnn.pipeline.data.files.raw_file import RawFile, zarr_store
from gfrnn.pipeline.data.files.references import stored_keys
from gfrnn.pipeline.data.files.selected_entries import places_of_entry
from gfrnn.pipeline.data.time_axis import format_minute

_SHOWN = 5


def missing_chunks(ds: xr.Dataset, times: np.ndarray | None = None) -> list[str]:
    """List missing chunks of the zarr stores behind a canonical Dataset, one line each.

    With ``times`` (bool, shape (times,)) only chunks of these times are checked.

    Names of files are compared with those expected; no values are read. A file is a chunk, or a
    shard of chunks: a chunk missing inside a shard is not found. Stores at URLs
    and Icechunk repositories are not checked, virtual references are. A
    program that writes a store may leave out a chunk of nothing but the fill value: the lines name
    it, and sources with ``fill: value`` are not checked.
    """
    lines: list[str] = []
    for name, array in ds.data_vars.items():
        data = canonical_array(array)
        if data is None:
            continue
        parts = [(group, part) for group in data.level_groups for part in group.time_ranges]
        stores = {(part.file, part.variable): part for _, part in parts}
        for (file, variable), first in stores.items():
            local = file.engine == "zarr" and Path(file.path).is_dir()
            if file.fill_is_value or not (local or file.engine == "references"):
                continue
            here = [(g, p) for g, p in parts if p.file == file and p.variable == variable]
            lines += _missing(str(name), first, here, ds["time"].values, times)
    return lines


def _missing(
    name: str,
    first: FileTimeRange,
    parts: list[tuple[LevelGroup, FileTimeRange]],
    time: np.ndarray,
    times: np.ndarray | None,
) -> list[str]:
    """List the missing chunks of one array, of which ``parts`` are groups and ranges of times."""
    array = zarr.open_group(zarr_store(first.file), mode="r")[first.variable]
    if not isinstance(array, zarr.Array):
        return []
    sizes = array.shards or array.chunks
    present = _present(first.file, first.variable)
    dims = {raw: dim for dim, raw in first.grid.dims.items()}
    raw_dims = first.file.open()[first.variable].dims
    when: dict[int, list[np.datetime64]] = {}  # chunk along time: its times
    for group, part in parts:
        time_dim = part.grid.dims.get("time")  # None in a file of one time
        along = sizes[raw_dims.index(time_dim)] if time_dim else 1
        stored = np.arange(part.start, part.start + len(part.times))
        made = stored if group.windows is None else group.windows.windows_of(stored)
        for place, row in zip(made.tolist(), part.times, strict=True):
            if place >= 0 and (times is None or times[place]):
                when.setdefault(row // along, []).append(time[place])
    wanted: list[Iterable[int]] = []
    for raw, size, length in zip(raw_dims, sizes, array.shape, strict=True):
        index = getattr(first.grid, dims.get(str(raw), "dims"), None)
        if dims.get(str(raw)) == "time":
            wanted.append(sorted(when))
        elif (places := _selected(first.file, str(raw))) is not None:
            wanted.append(np.unique(places // size).tolist())
        elif isinstance(index, np.ndarray):
            wanted.append(np.unique(index // size).tolist())
        else:
            wanted.append(range(-(-length // size)))
    absent = [
        chunk
        for chunk in itertools.product(*wanted)
        if f"{first.variable}/{array.metadata.encode_chunk_key(chunk)}" not in present
    ]
    lines = []
    axis = next((i for i, raw in enumerate(raw_dims) if dims.get(str(raw)) == "time"), None)
    for chunk in absent[:_SHOWN]:
        stamps = when[chunk[axis]] if axis is not None else time
        lines.append(
            f"{name}: {first.file.path}/{first.variable} has no chunk {chunk}, times "
            f"{format_minute(stamps[0])} to {format_minute(stamps[-1])}; it reads as the fill "
            f"value {array.fill_value}; write it again, or set fill: value in data.sources if it "
            "was left out because it holds only this value"
        )
    if len(absent) > _SHOWN:
        lines.append(f"{name}: {len(absent)} chunks are missing in all, {_SHOWN} are listed")
    return lines


def _selected(file: RawFile, dim: str) -> np.ndarray | None:
    """Return the stored positions of the entry that the source selects; None if it selects none."""
    for name, entry in file.select:
        if name == dim:
            return places_of_entry(replace(file, select=()).open()[dim].values, entry)
    return None


def _present(file: RawFile, variable: str) -> Container[str]:
    """Return the keys of the chunks that are there: paths of files in the store."""
    if file.engine == "references":
        return stored_keys(file.path, dict(file.options))
    folder = Path(file.path) / variable
    return {
        f"{variable}/{(Path(root) / name).relative_to(folder).as_posix()}"
        for root, _, names in os.walk(folder)
        for name in names
    }
