"""Comparison of chunks of the forecast store: by size, and one field in each as in the past."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from rich.table import Table

from gfrnn.pipeline.forecasting.forecast_chunks import ForecastChunks, forecast_chunks
from gfrnn.workflows.benchmarks.benchmark_tables import plain_table
from gfrnn.workflows.benchmarks.round_timing import least_seconds

Array = NDArray[Any]

_PATTERNS = 16
_LEVELS = 2
_LARGEST_SHARD = 2**23


@dataclass(frozen=True)
class StoreSize:
    """Size of the forecasts of one variable with two levels.

    Attributes
    ----------
    starts, leads : int
    latitudes, longitudes : int
    """

    starts: int
    leads: int
    latitudes: int
    longitudes: int

    @property
    def field_bytes(self) -> int:
        """Bytes of one field as float32."""
        return 4 * self.latitudes * self.longitudes

    @property
    def label(self) -> str:
        """Bytes of a field as text."""
        size = self.field_bytes
        text = f"{size // 2**20} MiB" if size >= 2**20 else f"{size // 2**10} KiB"
        return text

    def layouts(self) -> dict[str, ForecastChunks]:
        """Return the compared chunks by name: only one entry where they are the same."""
        whole = self.leads * _LEVELS * self.field_bytes <= _LARGEST_SHARD
        old = ForecastChunks(1, 1, self.leads if whole else 1, _LEVELS)
        new = forecast_chunks(self.leads, _LEVELS, self.field_bytes)
        return {"by size": new} if old == new else {"one field": old, "by size": new}


FULL = (
    StoreSize(starts=64, leads=40, latitudes=32, longitudes=64),
    StoreSize(starts=4, leads=20, latitudes=512, longitudes=512),
    StoreSize(starts=2, leads=10, latitudes=1024, longitudes=1024),
)
QUICK = (
    StoreSize(starts=8, leads=40, latitudes=32, longitudes=64),
    StoreSize(starts=2, leads=4, latitudes=512, longitudes=512),
)


def run(sizes: tuple[StoreSize, ...], rounds: int) -> Iterator[Table]:
    """Yield the table of the processor time of each access, the least of some rounds."""
    table = plain_table(
        "milliseconds of processor time of an access to forecasts of one variable with two levels",
        "field",
        "access",
        "one field a chunk",
        "chunks by size",
        "ratio",
        text=("field", "access"),
    )
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            seconds = least_seconds(accesses(Path(folder), size), rounds, time.process_time)
        for access in ("write", *READS):
            taken = [1e3 * seconds[f"{access}, {name}"] for name in size.layouts()]
            ratio = f"{taken[0] / taken[-1]:.2g}" if len(taken) > 1 else "same chunks"
            table.add_row(size.label, access, f"{taken[0]:.3g}", f"{taken[-1]:.3g}", ratio)
    yield table


READS: dict[str, tuple[Any, ...]] = {
    "one lead of one start": (0, 1, 0),
    "all leads of one start": (0,),
    "a cell over all starts": (slice(None), 1, 0, 5, 7),
}
"""Accesses that read, and what they select: start, lead, level, latitude, longitude."""


def accesses(folder: Path, size: StoreSize) -> dict[str, Callable[[], object]]:
    """Return functions that write and read forecasts with each of the layouts.

    Parameters
    ----------
    folder : Path
        Folder for the stores.
    size : StoreSize
    """
    values = smooth_fields(size)
    functions: dict[str, Callable[[], object]] = {}
    for name, chunks in size.layouts().items():
        path = folder / name.replace(" ", "_")
        functions[f"write, {name}"] = partial(write, path, values, chunks)
        for access, selection in READS.items():
            functions[f"{access}, {name}"] = partial(read, path, selection)
    return functions


def smooth_fields(size: StoreSize) -> Array:
    """Return sums of patterns: float32, (starts, leads, levels, latitudes, longitudes)."""
    rng = np.random.default_rng(0)
    shape = (_LEVELS, size.latitudes, size.longitudes)
    patterns = rng.standard_normal((_PATTERNS, *shape)).cumsum(axis=-1).astype(np.float32)
    amplitudes = rng.standard_normal((size.starts, size.leads, _PATTERNS)).astype(np.float32)
    return np.tensordot(amplitudes, patterns, 1)


def write(path: Path, values: Array, chunks: ForecastChunks) -> None:
    """Write forecasts, all leads of a shard at once."""
    plane = values.shape[-2:]
    array = zarr.create_array(
        path,
        shape=values.shape,
        chunks=(1, chunks.leads, chunks.levels, *plane),
        shards=(1, chunks.shard_leads, chunks.shard_levels, *plane) if chunks.sharded else None,
        dtype="float32",
        overwrite=True,
    )
    for first in range(0, values.shape[1], chunks.shard_leads):
        leads = slice(first, first + chunks.shard_leads)
        array[:, leads] = values[:, leads]


def read(path: Path, selection: tuple[Any, ...]) -> Array:
    """Open a store and read a part of it."""
    return np.asarray(zarr.open_array(path, mode="r")[selection])
