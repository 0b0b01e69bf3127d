"""Read fields in two ways: by the training pass of a tiny network, and by decoding alone."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from gfrnn.pipeline.config.data_config import DataConfig
from gfrnn.pipeline.data.dataset import open_source
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.reduction.run_tasks import run_tasks
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.states.climatology import Climatology, Scaling
from gfrnn.pipeline.states.forcing import Forcing
from gfrnn.pipeline.states.patch_states import LocalLayout
from gfrnn.pipeline.training.rows import FieldStates, RowSummary
from gfrnn.pipeline.training.stretches import leaf_length, split
from gfrnn.workflows.benchmarks.training_pass import reduced
from gfrnn_core import Patches, SampledRNN

_LEVELS = (500.0, 700.0, 850.0)
_UPPER = {"geopotential": ("m2 s-2", 5e4, 2e3), "temperature": ("K", 260.0, 10.0)}
_SURFACE = {"mean_sea_level_pressure": ("Pa", 1e5, 1e3)}
_PATTERNS = 16
_BATCH = 32


@dataclass(frozen=True)
class BenchmarkArchive:
    """Synthetic ERA5-like fields: float32, with one time and all levels of a variable in a chunk.

    Attributes
    ----------
    times, latitudes, longitudes : int
    """

    times: int
    latitudes: int
    longitudes: int

    def __str__(self) -> str:
        channels = len(_UPPER) * len(_LEVELS) + len(_SURFACE)
        return f"{self.times:,} times of {channels} x {self.latitudes} x {self.longitudes} cells"

    def write(self, path: Path) -> None:
        """Write the archive with xarray, one batch of times after another."""
        for first in range(0, self.times, _BATCH):
            self._write(path, np.arange(first, min(first + _BATCH, self.times)))

    def _write(self, path: Path, times: np.ndarray) -> None:
        variables: dict[str, Any] = {}
        for number, (name, (units, mean, deviation)) in enumerate((_UPPER | _SURFACE).items()):
            levels = ("level",) if name in _UPPER else ()
            shape = (len(_LEVELS),) * len(levels) + (self.latitudes, self.longitudes)
            patterns = np.random.default_rng(number).standard_normal((_PATTERNS, *shape))
            rng = np.random.default_rng([number, int(times[0])])
            amplitudes = rng.standard_normal((len(times), _PATTERNS)) / _PATTERNS**0.5
            values = mean + deviation * np.tensordot(amplitudes, patterns, 1)
            dims = ("time", *levels, "latitude", "longitude")
            variables[name] = (dims, values.astype(np.float32), {"units": units})
        start = np.datetime64("2001-01-01", "ns")
        ds = xr.Dataset(
            variables,
            {
                "time": start + times * np.timedelta64(6, "h"),
                "level": ("level", list(_LEVELS), {"units": "hPa"}),
                "latitude": (
                    "latitude",
                    np.linspace(-90, 90, self.latitudes),
                    {"units": "degrees_north"},
                ),
                "longitude": (
                    "longitude",
                    np.arange(self.longitudes) * 360 / self.longitudes,
                    {"units": "degrees_east"},
                ),
            },
        )
        chunks = {name: (1, *values[1].shape[1:]) for name, values in variables.items()}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Consolidated metadata")
            if times[0] == 0:
                encoding: dict[str, dict[str, Any]] = {
                    name: {"chunks": shape} for name, shape in chunks.items()
                }
                encoding["time"] = {"units": "hours since 2001-01-01", "chunks": (self.times,)}
                ds.to_zarr(path, mode="w", encoding=encoding)
            else:
                ds.to_zarr(path, append_dim="time")


@dataclass(frozen=True)
class FieldReading:
    """An archive on disk that is read by a training pass or only decoded.

    Attributes
    ----------
    path : Path
    """

    path: Path

    @cached_property
    def summary(self) -> RowSummary:
        """Summary of the rows of a few small patches with four hidden features."""
        fields = Fields(open_source(DataConfig.model_validate({"sources": [str(self.path)]})))
        channels, rows, columns = fields.grid.shape
        climatology = Climatology(2, 1, np.zeros((7, fields.grid.size)), np.ones(channels))
        patches = Patches((rows, columns), ((0, 0), (0, 0)), size=(3, 4), channels=channels)
        network = SampledRNN(
            width=4, sampling="normal", patches=patches, share=0.01, standardise=False
        )
        network = replace(network.sample(np.zeros((1, patches.window))), inputs=0)
        states = FieldStates(fields, LocalLayout(Scaling(fields.grid, climatology, False)))
        return RowSummary(network, states, Forcing.calendar(()), fields.time)

    @property
    def stretches(self) -> list[Stretch]:
        """Leaves of the pass, of the same size as in a run."""
        length = leaf_length(self.summary.states.size, None)
        return split(Stretch("all", 0, len(self.summary.time) - 1), length)

    def run(self) -> None:
        """Run the training pass on the current client."""
        reduced(self.summary, self.stretches)

    def decode(self) -> None:
        """Decode the same stretches with zarr and discard them."""
        parts = [(self.path, part.start, part.stop) for part in self.stretches]
        run_tasks("decode", _decode, parts)


def _decode(path: Path, start: int, stop: int) -> None:
    for name in (*_UPPER, *_SURFACE):
        np.asarray(zarr.open_array(path / name, mode="r")[start:stop])
