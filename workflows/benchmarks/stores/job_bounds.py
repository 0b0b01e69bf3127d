"""Least work of the stages of a job: their products, and reading and writing their data once.

Each function does what no implementation can avoid, so that the time of a stage over that of its
bound tells what the stage adds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from scipy.linalg import get_blas_funcs

from gfrnn.pipeline.storage import array_in
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn_core.zonal import ZonalNetwork

Array = NDArray[Any]

# Initial times that are read or written by one call, as many as a task has.
_TOGETHER = 32

# Rows that are multiplied by one call.
_ROWS = 1024


def read_once(forecasts: Path) -> None:
    """Decode all chunks of the fields of a forecast store."""
    for array in _field_arrays(forecasts).values():
        for first in range(0, array.shape[0], _TOGETHER):
            np.asarray(array[first : first + _TOGETHER])


def read_data_once(forecasts: Path, data: Path, times: slice) -> None:
    """Decode the data of some times, of the variables of a forecast store.

    Parameters
    ----------
    forecasts : Path
    data : Path
        zarr store with the variables of the forecasts under the same names, time first.
    times : slice
    """
    source = zarr.open_group(data, mode="r")
    for name in _field_arrays(forecasts):
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


def roll_out_once(model: ForecastModel, starts: int, steps: int) -> None:
    """Compute the features, products and fields of forecasts of a zonal model, and nothing else.

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
    for network in map(_zonal, model.networks):
        basis, kind = network.basis, network.complex_type
        outer = [stage.outer.astype(kind) for stage in network.stages]
        for first in range(0, starts, _TOGETHER):
            batch = min(_TOGETHER, starts - first)
            state = np.zeros((basis.wavenumbers, batch, basis.width), dtype=complex)
            terms = np.zeros((batch, len(network.background)))
            rows = [np.ones((*state.shape[:2], each.shape[1]), dtype=kind) for each in outer]
            for _ in range(steps):
                for own, weights in zip(rows, outer, strict=True):
                    network.featurise(state, terms)
                    np.matmul(own, weights)
                basis.decode(state)


def square_rows_once(network: ZonalNetwork, rows: int) -> None:
    """Multiply the rows and targets of each stage with themselves: their normal equations.

    Parameters
    ----------
    network : ZonalNetwork
        Solved network.
    rows : int
        Number of rows of a wavenumber.
    """
    used = network.basis.used.sum(axis=1)
    for stage in range(len(network.stages)):
        columns = network.used_columns(stage).sum(axis=1) + used
        shape = _ROWS, int(columns.max())
        block = np.ones(shape, dtype=network.complex_type, order="F")
        herk = get_blas_funcs("herk", (block,))
        for _ in range(rows // _ROWS):
            for count in columns.tolist():
                herk(1.0, block[:, :count], trans=2)


def _zonal(network: object) -> ZonalNetwork:
    if not isinstance(network, ZonalNetwork):
        raise TypeError(f"model: its networks are {type(network).__name__}, not ZonalNetwork")
    return network


def _field_arrays(path: Path) -> dict[str, zarr.Array[Any]]:
    """Return the arrays of a forecast store that hold fields."""
    group = zarr.open_group(path, mode="r", use_consolidated=False)
    return {name: array for name, array in group.arrays() if array.ndim > 2}
