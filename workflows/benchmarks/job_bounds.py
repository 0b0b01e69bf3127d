"""Least work of forecast and verification: reading and writing their data once, with zarr alone.

Each function does what no implementation can avoid, so that the time of a stage over that of its
bound tells what the stage adds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from gfrnn.pipeline.storage import array_in
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn_core.zonal import ZonalNetwork

Array = NDArray[Any]

# Initial times that are read or written by one call, as many as a task has.
_TOGETHER = 32


def read_once(forecasts: Path, truth: Path, times: slice) -> None:
    """Decode all chunks of a forecast store, and those of the data that it is scored with.

    Parameters
    ----------
    forecasts : Path
    truth : Path
        zarr store with the variables of the forecasts under the same names, time first.
    times : slice
        Times of the data to read.
    """
    source = zarr.open_group(truth, mode="r")
    for name, array in _field_arrays(forecasts).items():
        for first in range(0, array.shape[0], _TOGETHER):
            np.asarray(array[first : first + _TOGETHER])
        np.asarray(array_in(source, name)[times])


def stored_values(forecasts: Path) -> dict[str, Array]:
    """Return the fields of a forecast store by variable."""
    return {name: np.asarray(array[...]) for name, array in _field_arrays(forecasts).items()}


def write_once(values: dict[str, Array], forecasts: Path, path: Path) -> None:
    """Write fields to a new store with the chunks of another one.

    Parameters
    ----------
    values : dict of ndarray
        From :func:`stored_values`.
    forecasts : Path
        The store whose chunks and compression are used.
    path : Path
        Store to write; an existing one is overwritten.
    """
    group = zarr.create_group(path, overwrite=True)
    for name, like in _field_arrays(forecasts).items():
        array = group.create_array(
            name,
            shape=like.shape,
            chunks=like.chunks,
            shards=like.shards,
            dtype=like.dtype,
            compressors=like.compressors,
            fill_value=like.fill_value,
        )
        for first in range(0, like.shape[0], _TOGETHER):
            array[first : first + _TOGETHER] = values[name][first : first + _TOGETHER]


def multiply_once(model: ForecastModel, starts: int, steps: int) -> None:
    """Multiply rows and outer weights, as the forecasts of a zonal model do, and nothing else.

    Parameters
    ----------
    model : ForecastModel
    starts, steps : int
        Number of initial times, and of steps of each.

    Raises
    ------
    TypeError
        If a network is not one of zonal waves.
    """
    outer = []
    for network in model.networks:
        if not isinstance(network, ZonalNetwork):
            raise TypeError(f"model: its networks are {type(network).__name__}, not ZonalNetwork")
        outer += [stage.outer for stage in network.stages]
    for first in range(0, starts, _TOGETHER):
        batch = min(_TOGETHER, starts - first)
        rows = [np.ones((len(each), batch, each.shape[1]), dtype=complex) for each in outer]
        for _ in range(steps):
            for own, each in zip(rows, outer, strict=True):
                np.matmul(own, each)


def _field_arrays(path: Path) -> dict[str, zarr.Array[Any]]:
    """Return the arrays of a forecast store that hold fields."""
    group = zarr.open_group(path, mode="r", use_consolidated=False)
    return {name: array for name, array in group.arrays() if array.ndim > 2}
