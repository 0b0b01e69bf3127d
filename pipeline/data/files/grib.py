"""GRIB files as datasets that read single messages when values are asked for."""

from __future__ import annotations

import itertools
from typing import IO, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from gfrnn.pipeline.data.files.grib_cache import grib_variables
from gfrnn.pipeline.data.files.grib_index import PRESSURE, GribVariable, eccodes_of
from gfrnn.pipeline.errors import DataError

Array = NDArray[Any]

Grid = tuple[tuple[str, ...], dict[str, xr.Variable]]
"""Dimensions of a field in the order of its values, and their coordinates."""

_GRIDS: dict[str, Grid] = {}  # by the digest that ecCodes makes of their definition


def open_grib(path: str, stamp: tuple[int | str, ...], name: str) -> xr.Dataset:
    """Open a variable of a GRIB file lazily: no values are decoded, and no file is written.

    Parameters
    ----------
    path : str
    stamp : tuple
        Size and modification time of the file.
    name : str
        Name of the variable, one of those in :func:`grib_variables`.

    Returns
    -------
    xarray.Dataset
        The variable with dimensions (valid_time, [number], [isobaricInhPa or another type of
        level], latitude, longitude) and its coordinates. Times are numbers with ``units``. A grid
        that is not regular has the single dimension ``values`` instead of latitude and longitude.
        The encoding ``problem`` of a variable that cannot be read tells why.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    variable = grib_variables(path, stamp)[name]
    kind, described = variable.kind, variable.description
    dims, coords = _grid(path, variable)
    grid = (coords["latitude"].size,) if len(dims) == 1 else tuple(coords[dim].size for dim in dims)
    header = {
        "valid_time": xr.Variable(
            "valid_time",
            variable.times.astype(np.int64),
            {"units": "seconds since 1970-01-01", "standard_name": "time"},
        ),
        "number": xr.Variable("number", variable.members, {"standard_name": "realization"}),
        kind.level_type: xr.Variable(
            kind.level_type, variable.levels, _level_attributes(kind.level_type)
        ),
    }
    attrs = {
        "long_name": described["name"],
        "units": described["units"],
        "GRIB_paramId": kind.parameter,
        "GRIB_shortName": described["shortName"],
        "GRIB_stepType": kind.step_type,
        "GRIB_typeOfLevel": kind.level_type,
        "GRIB_gridType": described["gridType"],
    }
    if described["cfName"] != "unknown":
        attrs["standard_name"] = described["cfName"]
    values = indexing.LazilyIndexedArray(_Messages(path, variable, grid))
    field = xr.Variable((*header, *dims), values, attrs)
    # A single member, or a single level, is no dimension.
    single = {dim: 0 for dim in header if dim != "valid_time" and header[dim].size == 1}
    ds = xr.Dataset({name: field}, header | coords).isel(single)
    ds[name].encoding["chunksizes"] = (*[1] * (len(header) - len(single)), *grid)
    ds[name].encoding["problem"] = variable.problem
    return ds


def _level_attributes(level_type: str) -> dict[str, str]:
    if level_type == PRESSURE:
        return {"units": "hPa", "standard_name": "air_pressure"}
    return {"units": "m"} if level_type.startswith("height") else {}


def _grid(path: str, variable: GribVariable) -> Grid:
    """Return the grid of a variable, read once in a process for all files that have it.

    Raises
    ------
    DataError
        If every second row of the grid runs backwards.
    """
    digest = variable.kind.grid
    if digest not in _GRIDS:
        _GRIDS[digest] = _read_grid(path, variable)
    return _GRIDS[digest]


def _read_grid(path: str, variable: GribVariable) -> Grid:
    """Read the grid of a variable, see :func:`_grid`, from its first message."""
    place = np.unravel_index(np.argmax(variable.lengths > 0), variable.lengths.shape)
    eccodes = eccodes_of(path)
    with open(path, "rb") as stream:
        handle = _message(path, stream, variable, tuple(map(int, place)))
    try:
        shown = {"latitude": "degrees_north", "longitude": "degrees_east"}
        if variable.description["gridType"] == "sh":
            size = eccodes.codes_get_size(handle, "values")
            points = {name: np.full(size, np.nan) for name in shown}
        else:
            points = {name: eccodes.codes_get_array(handle, f"{name}s") for name in shown}
        if not variable.is_regular:
            return ("values",), {
                name: xr.Variable("values", points[name], {"units": unit})
                for name, unit in shown.items()
            }
        shape = eccodes.codes_get(handle, "Nj", int), eccodes.codes_get(handle, "Ni", int)
        dims: tuple[str, ...] = ("latitude", "longitude")
        if eccodes.codes_get(handle, "jPointsAreConsecutive", int):
            dims, shape = dims[::-1], shape[::-1]
        if eccodes.codes_get(handle, "alternativeRowScanning", int):
            raise DataError(
                f"{path}: every second row of the grid of {variable.name} runs backwards "
                "(alternativeRowScanning); rewrite it, for example with cdo -f grb2 copy"
            )
    finally:
        eccodes.codes_release(handle)
    coords = {}
    for axis, name in enumerate(dims):
        along = points[name].reshape(shape).take(0, axis=1 - axis)
        # Packed degrees have six digits at most; ecCodes adds rounding in float64.
        coords[name] = xr.Variable(name, np.round(along, 6), {"units": shown[name]})
    return dims, coords


def _message(path: str, stream: IO[bytes], variable: GribVariable, place: tuple[int, ...]) -> Any:
    """Return a handle of ecCodes for a message, which the caller must release."""
    stream.seek(int(variable.offsets[place]))
    return eccodes_of(path).codes_new_from_message(stream.read(int(variable.lengths[place])))


class _Messages(BackendArray):
    """Values of a variable of a GRIB file; float32; shape (times, members, levels, *grid)."""

    def __init__(self, path: str, variable: GribVariable, grid: tuple[int, ...]) -> None:
        """Set the messages and the shape of a field, which has the order of its values."""
        self.path, self.variable, self.grid = path, variable, grid
        self.shape = (*variable.offsets.shape, *grid)
        self.dtype = np.dtype(np.float32)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        """Read the values that an indexer of xarray selects."""
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> Array:
        picks = [np.atleast_1d(np.arange(n)[k]) for n, k in zip(self.shape, key, strict=True)]
        out = np.full([pick.size for pick in picks], np.nan, np.float32)
        inner = np.ix_(*picks[3:])
        with open(self.path, "rb") as stream:
            for place in itertools.product(*(range(pick.size) for pick in picks[:3])):
                message = tuple(int(pick[i]) for pick, i in zip(picks[:3], place, strict=True))
                if self.variable.lengths[message]:
                    out[place] = self._field(stream, message)[inner]
        return out[tuple(0 if np.ndim(k) == 0 and not isinstance(k, slice) else slice(None)
                         for k in key)]  # fmt: skip

    def _field(self, stream: IO[bytes], place: tuple[int, ...]) -> Array:
        """Decode the field of one message, with NaN where it has no value."""
        eccodes = eccodes_of(self.path)
        handle = _message(self.path, stream, self.variable, place)
        try:
            eccodes.codes_set(handle, "missingValue", np.finfo(np.float64).max)
            values = eccodes.codes_get_values(handle)
        finally:
            eccodes.codes_release(handle)
        values[values == np.finfo(np.float64).max] = np.nan
        return np.asarray(values, np.float32).reshape(self.grid)
