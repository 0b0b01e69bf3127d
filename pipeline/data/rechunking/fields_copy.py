"""A copy of fields in chunks of few times, for stores whose chunks hold long series of small areas.

Every leaf of a pass over such a store would decode the same chunks again. Tasks decode each chunk
once and write its values to a store in which leaves find their times in chunks of their own.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from xarray.core import indexing

from gfrnn.pipeline.data.canonical_array import CanonicalArray, LevelGroup, canonical_array
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.data.file_reading import DIMS, FileTimeRange
from gfrnn.pipeline.data.files.raw_file import RawFile
from gfrnn.pipeline.data.rechunking.area_tiles import AreaTiles
from gfrnn.pipeline.data.stored_chunks import StoredChunks, stored_chunks
from gfrnn.pipeline.reduction.progress import Progress
from gfrnn.pipeline.reduction.run_tasks import run_tasks
from gfrnn.pipeline.untrusted_store import is_sound

Array = NDArray[Any]


@dataclass(frozen=True)
class FieldsCopy:
    """A copy of some times of a canonical Dataset.

    Attributes
    ----------
    ds : xarray.Dataset
        Dataset opened from files.
    path : Path
        Folder of the copy, to which all workers can write.
    windows : ndarray of int, shape (runs, 2)
        Copied times: first, and last plus one, of each run.
    length : int
        Times in a chunk of the copy.
    """

    ds: xr.Dataset
    path: Path
    windows: Array
    length: int

    @cached_property
    def tilings(self) -> list[AreaTiles]:
        """Tiles of each level group of each variable."""
        longest = int((self.windows[:, 1] - self.windows[:, 0]).max())
        return [AreaTiles(each, min(each.times, longest)) for each in stored_chunks(self.ds)]

    @property
    def tasks(self) -> list[tuple[int, int]]:
        """Level group and tile of each task."""
        return [(g, n) for g, tiles in enumerate(self.tilings) for n in range(len(tiles.tiles))]

    @property
    def task_bytes(self) -> int:
        """Peak memory of a task."""
        return max(tiles.task_bytes(self.length) for tiles in self.tilings)

    @property
    def least_chunk_bytes(self) -> int:
        """Size of the smallest chunks of the copy."""
        return min(tiles.chunk_bytes(self.length) for tiles in self.tilings)

    @property
    def kept_bytes(self) -> int:
        """Size of the copy before compression."""
        times = int((self.windows[:, 1] - self.windows[:, 0]).sum())
        return sum(tiles.bytes_of(times) for tiles in self.tilings)

    @property
    def tile_shapes(self) -> list[tuple[int, ...]]:
        """Levels, latitudes and longitudes of a tile of each level group."""
        return [tiles.tile_shape for tiles in self.tilings]

    def planned_fields(self) -> Fields:
        """Return the fields of the copy, which need not exist, for estimates."""
        return Fields(self.dataset(), planned_chunks=tuple(self.stored_chunks()))

    def stored_chunks(self) -> list[StoredChunks]:
        """Return the chunks that the copy has when it is written."""
        groups = [group for array in self._arrays.values() for group in array.level_groups]
        return [
            replace(
                tiles.stored,
                level_group=group,
                chunk_bytes=tiles.chunk_bytes(self.length),
                chunks_per_time=len(tiles.tiles),
                file_times=self.length,
                concurrent=zarr.config.get("async.concurrency"),
                copied=not tiles.is_regular,
            )
            for group, tiles in zip(groups, self.tilings, strict=True)
        ]

    def dataset(self) -> xr.Dataset:
        """Return the Dataset that reads the copy; it has no values at other times."""
        variables = {}
        for name, array in self._arrays.items():
            original = self.ds[name]
            encoding = {"source": array, "preferred_chunks": {"time": self.length}}
            data = indexing.LazilyIndexedArray(array)
            variables[name] = xr.Variable(original.dims, data, original.attrs, encoding)
        attrs = {"time_chunk": self.length, "time_chunk_start": 0}
        return self.ds.assign(variables).assign_attrs(attrs)

    def write(self, progress: Progress | None = None) -> None:
        """Write the copy on the workers of the current client, without tiles that are written."""
        done = self.path / "done"
        if not done.exists() or not is_sound(self._store):
            shutil.rmtree(self.path, ignore_errors=True)
            self._create()
            done.mkdir()
        there = {mark.name for mark in done.iterdir()}
        left = []
        for group, number in self.tasks:
            if (mark := f"{group}-{number}") not in there:
                tiles = self.tilings[group]
                target = self._store / str(group)
                left.append((tiles, tiles.tiles[number], self.windows, target, done / mark))
        run_tasks("rechunk", _write_tile, left, progress)

    @property
    def _store(self) -> Path:
        """Zarr store with an array for each level group."""
        return self.path / "store"

    @cached_property
    def _arrays(self) -> dict[str, CanonicalArray]:
        """Arrays that read the copy, by variable."""
        file, tilings = RawFile(str(self._store), "zarr"), enumerate(self.tilings)
        found = {}
        for name, variable in self.ds.data_vars.items():
            original = canonical_array(variable)
            assert original is not None
            times = range(original.shape[0])
            groups = []
            for group in original.level_groups:
                number, tiles = next(tilings)
                grid = tiles.index_map(_dims(number))
                part = FileTimeRange(file, str(number), grid, 0, times, 1.0, 0.0)
                groups.append(LevelGroup(group.levels, (part,)))
            found[str(name)] = CanonicalArray(original.shape, tuple(groups))
        return found

    def _create(self) -> None:
        """Create the arrays of the copy."""
        store, times = zarr.create_group(self._store), self.ds.sizes["time"]
        for number, tiles in enumerate(self.tilings):
            store.create_array(
                str(number),
                shape=(times, *tiles.shape),
                chunks=(min(self.length, times), *tiles.tile_shape),
                dtype="float32",
                fill_value=np.nan,
                dimension_names=list(_dims(number).values()),
            )


def _dims(number: int) -> dict[str, str]:
    """Return the names of the dimensions of an array of the copy, by canonical dimension."""
    return {dim: f"{dim}{number}" for dim in DIMS}


def _write_tile(
    tiles: AreaTiles, tile: tuple[int, ...], windows: Array, target: Path, mark: Path
) -> None:
    """Copy all times of a tile and leave a mark; no other task writes to the same chunks."""
    tiles.copy(tile, windows, zarr.open_array(target, mode="r+"))
    mark.touch()


def can_be_copied(ds: xr.Dataset) -> bool:
    """Return whether all values come from files of one grid and none are interpolated."""
    arrays = [canonical_array(variable) for variable in ds.data_vars.values()]
    return all(
        array is not None
        and all(
            part.grid is group.time_ranges[0].grid and part.grid.weights is None
            for group in array.level_groups
            for part in group.time_ranges
        )
        for array in arrays
    )
