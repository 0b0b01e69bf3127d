"""Fields and states of noise, on which tasks are timed before any data are read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import xarray as xr
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.data.transforms import Transform
from gfrnn.pipeline.training.rows import FieldStates, States

Array = NDArray[Any]

# Number of random values; an odd number is no multiple of the length of a state.
_VALUES = 2**20 - 1

# Values by which the field of a time is shifted to give the next: any two fields are independent,
# yet a long archive takes hardly more memory than one time.
_SHIFT = 16


@dataclass(frozen=True)
class NoiseStates:
    """States that are noise, at any time.

    Attributes
    ----------
    size : int
        Length of a state.
    """

    size: int

    def read(self, start: int, stop: int) -> Array:
        """Return the states of times ``start`` to ``stop - 1``: shape (times, size)."""
        return _noise((stop - start) * self.size).reshape(-1, self.size)

    def read_bytes(self, times: int) -> int:
        """Return the memory in bytes of the states of a number of times."""
        return 8 * times * self.size


def synthetic_states(states: States) -> States:
    """Return states of noise; those that are encoded from fields are encoded from noise."""
    if isinstance(states, FieldStates):
        return replace(states, fields=synthetic_fields(states.fields))
    return NoiseStates(states.size)


def synthetic_fields(fields: Fields) -> Fields:
    """Return fields of noise in memory, with the times, the grid and the variables of others."""

    def noise(array: xr.DataArray) -> xr.DataArray:
        array = array.transpose("time", ...)
        times, shape = array.shape[0], array.shape[1:]
        values = _noise(times * _SHIFT + int(np.prod(shape))).astype(np.float32)
        if Transform.of(array):
            np.abs(values, out=values)  # transforms refuse negative values
        inner = np.empty(shape, np.float32).strides
        strided = as_strided(
            values, array.shape, (_SHIFT * values.itemsize, *inner), writeable=False
        )
        return xr.DataArray(strided, dims=array.dims, attrs=array.attrs)

    return Fields(fields.ds.assign({name: noise(each) for name, each in fields.ds.items()}))


def _noise(count: int) -> Array:
    """Return standard normal values, repeated after a while, as they are cheaper than new ones."""
    return np.resize(_drawn(), count)


@cache
def _drawn() -> Array:
    return np.random.default_rng(0).standard_normal(_VALUES)
