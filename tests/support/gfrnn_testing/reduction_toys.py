"""Small summaries and data for tests of reduction and training, which workers can import."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
import zarr

from gfrnn.pipeline.config.section import Period
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.errors import DataError
from gfrnn.pipeline.reduction.checkpoints import Arrays
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.states.climatology import Climatology, Scaling
from gfrnn.pipeline.states.eof_states import EofSummary
from gfrnn.pipeline.states.forcing import Forcing
from gfrnn.pipeline.training.rows import RowSummary, StoredStates
from gfrnn_core import SampledRNN


@dataclass(frozen=True)
class Record:
    """Summary that spells its tree: ``((0-2,2-4),4-5)``."""

    name: str = "record"
    remedy: str = "toy.size"
    leaf_size: int = 1
    merge_size: int = 1

    def leaf(self, stretch: Stretch) -> Arrays:
        return spelled(f"{stretch.start}-{stretch.stop}")

    def merge(self, left: Arrays, right: Arrays) -> Arrays:
        return spelled(f"({read(left)},{read(right)})")

    def leaf_bytes(self, stretch: Stretch) -> int:
        return self.leaf_size * (stretch.stop - stretch.start)

    def merge_bytes(self) -> int:
        return self.merge_size


def spelled(text: str) -> Arrays:
    return {"text": np.frombuffer(text.encode(), dtype=np.uint8).copy()}


def read(arrays: Arrays) -> str:
    return arrays["text"].tobytes().decode()


@dataclass(frozen=True)
class Troubled:
    """Summary that writes a file for every call of a leaf, and may sleep, fail or die.

    Attributes
    ----------
    calls : Path
        A folder; the files in it tell which leaves ran and how often.
    naps : int, optional
        Seed of naps that decide in which order leaves arrive.
    fails, dies : int, optional
        Start of the leaf that raises DataError, or kills its process.
    deaths : int
        How often it does.
    """

    inner: Any
    calls: Path
    naps: int | None = None
    fails: int | None = None
    dies: int | None = None
    deaths: int = 1

    @property
    def name(self) -> str:
        return str(self.inner.name)

    @property
    def remedy(self) -> str:
        return str(self.inner.remedy)

    def leaf(self, stretch: Stretch) -> Arrays:
        before = self.count(stretch.start)
        mark = self.calls / f"{stretch.start}.{before}"
        mark.write_text(str(os.getpid()))
        if self.naps is not None:
            time.sleep(0.08 * np.random.default_rng([self.naps, stretch.start]).random())
        if stretch.start == self.dies and before < self.deaths:
            os.kill(os.getpid(), signal.SIGKILL)
        if stretch.start == self.fails:
            raise DataError(f"temperature_850: nan at time {stretch.start}")
        result: Arrays = self.inner.leaf(stretch)
        return result

    def merge(self, left: Arrays, right: Arrays) -> Arrays:
        result: Arrays = self.inner.merge(left, right)
        return result

    def leaf_bytes(self, stretch: Stretch) -> int:
        return int(self.inner.leaf_bytes(stretch))

    def merge_bytes(self) -> int:
        return int(self.inner.merge_bytes())

    def count(self, start: int) -> int:
        return len(list(self.calls.glob(f"{start}.*")))

    def ran(self) -> list[int]:
        """Return the starts of the leaves that ran, each as often as it did."""
        return sorted(int(file.stem) for file in self.calls.iterdir())


def cut(times: int, length: int, *folds: tuple[str, int]) -> list[Stretch]:
    """Return stretches of ``length`` up to ``times``; ``folds`` are names and their last times."""
    ends = folds or (("a", times),)
    pieces, start = [], 0
    for fold, end in ends:
        pieces += [Stretch(fold, i, min(i + length, end)) for i in range(start, end, length)]
        start = end
    return pieces


def row_summary(
    folder: Path, times: int, *, width: int = 30, modes: int = 3, delays: int = 2, seed: int = 0
) -> RowSummary:
    """Return the summary of a training pass over random states, in chunks of 256 times on disk."""
    rng = np.random.default_rng(seed)
    place = folder / "series"
    series = zarr.create_array(
        place, shape=(times, modes), dtype="f8", chunks=(256, modes), overwrite=True
    )
    for start in range(0, times, 4096):
        rows = min(4096, times - start)
        series[start : start + rows] = rng.standard_normal((rows, modes))
    network = SampledRNN(
        width=width, delays=delays, sampling="normal", target="state", standardise=False
    )
    network = network.sample(np.zeros((1, delays * modes)))
    time = pd.date_range("2001-01-01", periods=times, freq="6h").to_numpy()
    states, forcing = StoredStates(place, modes), Forcing.calendar(("day_of_year",))
    return RowSummary(replace(network, inputs=2), states, forcing, time)


def row_pieces(summary: RowSummary, length: int, *folds: tuple[str, int]) -> list[Stretch]:
    """Return leaves over all rows of a :func:`row_summary`."""
    first, last = summary.network.delays - 1, len(summary.time) - max(summary.network.leads)
    pieces = cut(last, length, *folds)
    return [Stretch(p.fold, max(p.start, first), p.stop) for p in pieces if p.stop > first]


def period(start: Any, end: Any) -> Period:
    return Period.model_validate([str(start), str(end)])


def fields_of(values: np.ndarray, time: Any) -> Fields:
    """Return fields of one surface variable and one with two levels.

    Parameters
    ----------
    values : ndarray, shape (times, 3, latitudes, longitudes)
    """
    rows, columns = values.shape[2:]
    dims = ("time", "latitude", "longitude")
    return Fields(
        xr.Dataset(
            {
                "mean_sea_level_pressure": (dims, values[:, 0]),
                "temperature": (
                    ("time", "level", *dims[1:]),
                    values[:, 1:],
                    {"levels": [500.0, 850.0]},
                ),
            },
            {
                "time": np.asarray(time),
                "level": [500.0, 850.0],
                "latitude": np.linspace(20, 80, rows),
                "longitude": np.arange(columns) * 10.0,
            },
        )
    )


def random_fields(times: int, *, seed: int = 0, rank: int | None = None) -> Fields:
    """Return hourly fields of 3 channels on 5 x 6 points, of ``rank`` patterns if given."""
    rng = np.random.default_rng(seed)
    time = pd.date_range("2001-12-20", periods=times, freq="h").to_numpy()
    size = 3 * 5 * 6
    if rank is None:
        values = rng.standard_normal((times, size))
    else:
        strengths = 2.0 ** -np.arange(rank)
        values = (rng.standard_normal((times, rank)) * strengths) @ rng.standard_normal(
            (rank, size)
        )
    units = np.array([300.0, 4.0, 6.0])[:, None, None]
    return fields_of(units * values.reshape(times, 3, 5, 6) + 250.0, time)


def eof_summary(times: int, rank: int = 12) -> EofSummary:
    """Return the summary for EOFs of random fields about a constant climatology."""
    fields = random_fields(times)
    climatology = Climatology(
        0, 0, np.full((1, fields.grid.size), 250.0), np.array([300.0, 4.0, 6.0])
    )
    return EofSummary(fields, Scaling(fields.grid, climatology), rank)
