"""One file or store of forecasts: its channels, and reading of their fields in canonical order."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.config.data_config import SourceConfig
from gfrnn.pipeline.data.file_reading import stored_chunk_lengths
from gfrnn.pipeline.data.files.raw_file import RawFile
from gfrnn.pipeline.data.grid import Channel
from gfrnn.pipeline.data.variables.file_variables import FileVariable, field_variables
from gfrnn.pipeline.errors import DataError
from gfrnn.pipeline.forecasting.forecast_store import WRITTEN
from gfrnn.pipeline.verification.sources.forecast_dimensions import ForecastDimensions

Array = NDArray[Any]

# Keys of the encoding that tell of values which are missing or cannot be read.
_KEPT = ("_FillValue", "problem")

KEY = "forecast"
"""Name of the source of forecasts in messages."""


@dataclass(frozen=True, eq=False)
class ForecastFile:
    """A file of forecasts, of which no fields are read. Cheap to pickle.

    Attributes
    ----------
    file : RawFile
    dimensions : ForecastDimensions
    variables : list of FileVariable
        Variables on the grid that have the dimensions of initial times and leads.
    """

    file: RawFile
    dimensions: ForecastDimensions
    variables: list[FileVariable]

    @classmethod
    def open(
        cls, file: RawFile, source: SourceConfig, initial_time: np.datetime64 | None = None
    ) -> ForecastFile:
        """Open a file and recognise its variables.

        Parameters
        ----------
        file : RawFile
        source : SourceConfig
            Names and units that the file does not state.
        initial_time : datetime64, optional
            See :meth:`ForecastDimensions.find`.

        Raises
        ------
        DataError
            If it is still being written, holds no forecasts, or its grid is not regular.
        """
        with file.lock:
            return cls._read(file, source, initial_time)

    @classmethod
    def _read(
        cls, file: RawFile, source: SourceConfig, initial_time: np.datetime64 | None
    ) -> ForecastFile:
        """Open a file, see :meth:`open`; the caller holds its lock."""
        ds = file.open()
        if WRITTEN in ds.variables or _is_false(ds.attrs.get("complete", True)):
            raise DataError(
                f"{file.path}: the store is still being written; wait until it is complete (its "
                "attribute complete is then true)"
            )
        dims = ForecastDimensions.find(ds, file.path, initial_time)
        variables = field_variables(file, _one_field_each(ds, dims, file.path), source, KEY)
        if not variables:
            listed = ", ".join(
                f"{name} {list(map(str, v.dims))}" for name, v in ds.data_vars.items()
            )
            raise DataError(
                f"{file.path}: no variable has latitude, longitude and the dimensions of the "
                f"forecasts; found {listed}"
            )
        return cls(file, dims, variables)

    @cached_property
    def channels(self) -> dict[Channel, tuple[FileVariable, int | None]]:
        """Variable of each channel, and the position of its level in the file.

        Where two variables hold a channel, the first one counts.
        """
        found: dict[Channel, tuple[FileVariable, int | None]] = {}
        for variable in self.variables:
            if variable.levels is None:
                found.setdefault(Channel(variable.variable), (variable, None))
                continue
            # At the levels of other variables, a variable of our stores is NaN.
            own = self.file.open()[variable.raw_name].attrs.get("levels")
            places = variable.grid.level
            for number, level in enumerate(variable.levels):
                if own is None or level in np.atleast_1d(own):
                    place = None if places is None else int(places[number])
                    found.setdefault(Channel(variable.variable, level), (variable, place))
        return found

    def chunk(self, variable: FileVariable, dim: str | None) -> int:
        """Return the length of a stored chunk of a variable along a dimension; 1 without chunks."""
        raw = self.file.open()[variable.raw_name].variable
        return 1 if dim is None else stored_chunk_lengths(raw).get(dim, 1)

    def chunk_bytes(self, variable: FileVariable) -> int:
        """Return the size of a decoded chunk; 0 without chunks."""
        raw = self.file.open()[variable.raw_name].variable
        sizes = stored_chunk_lengths(raw)
        size = np.dtype(raw.encoding.get("dtype", raw.dtype)).itemsize
        return int(np.prod([*sizes.values(), size])) if sizes else 0

    def read(
        self, variable: FileVariable, starts: Array, leads: Array, levels: Array | None
    ) -> Array:
        """Read fields of a variable in the canonical unit.

        Parameters
        ----------
        variable : FileVariable
        starts, leads : ndarray of int
            Positions in the file.
        levels : ndarray of int or None
            Positions in the file; None for a variable without a dimension of levels.

        Returns
        -------
        ndarray of float32, shape (starts, members, leads, levels, cells)

        Raises
        ------
        DataError
            If the file cannot be read.
        """
        dims, grid = self.dimensions, variable.grid
        raw = self.file.open()[variable.raw_name].variable
        picks = {dims.initial: starts, dims.lead: leads, grid.dims.get("level"): levels}
        keys = {
            dim: _slice_or_list(places)
            for dim, places in picks.items()
            if dim in raw.dims and places is not None
        }
        cells = (
            [dims.cells] if dims.cells else [grid.dims.get(n) for n in ("latitude", "longitude")]
        )
        order = [dims.initial, dims.member, dims.lead, grid.dims.get("level"), *cells]
        present = [dim for dim in order if dim in raw.dims]
        rest = {dim: 0 for dim in raw.dims if dim not in present}
        try:
            selected = raw.isel({**keys, **rest})
            with self.file.lock:
                values = selected.values
            # A lazy transposition would make the backend select value by value.
            values = values.transpose([selected.dims.index(dim) for dim in present])
        except Exception as error:
            raise DataError(
                f"{self.file.path}: {variable.raw_name} cannot be read "
                f"({self.file.reason(error)}); the file is damaged or incomplete; copy or write it "
                "again"
            ) from error
        shape = (len(starts), dims.members or 1, len(leads), 1 if levels is None else len(levels))
        values = values.reshape(*shape, len(grid.latitude), len(grid.longitude))
        values = values[..., _reversed_or_places(grid.latitude), :]
        values = values[..., _reversed_or_places(grid.longitude)]
        if (variable.factor, variable.offset) != (1.0, 0.0):
            values = values * variable.factor + variable.offset
        return values.astype(np.float32, copy=False).reshape(*shape, -1)


def _one_field_each(ds: xr.Dataset, dims: ForecastDimensions, where: str) -> xr.Dataset:
    """Return a Dataset of the dimensions, coordinates and attributes of one field a variable.

    Its values are zeros without memory; a flattened grid is unfolded.
    """
    along = {dims.initial, dims.lead, dims.member} - {None}
    needed = {dims.initial, dims.lead} - {None}
    grid = {} if dims.cells is None else _unfolded(ds, dims.cells, where)
    plane: dict[Any, int] = {name: len(values) for name, values in grid.items()}
    found = {}
    for name, array in ds.data_vars.items():
        if not needed <= set(array.dims):
            continue
        sizes: dict[Any, int] = {}
        for dim in array.dims:
            if dim not in along:
                sizes |= plane if dim == dims.cells else {dim: ds.sizes[dim]}
        zeros = np.broadcast_to(np.zeros((), array.dtype), tuple(sizes.values()))
        kept = {key: array.encoding[key] for key in _KEPT if key in array.encoding}
        found[name] = (tuple(sizes), zeros, array.attrs, kept)
    coords = {
        name: ds[name].variable
        for name in ds.coords
        if not {*along, dims.cells} & {*ds[name].dims, name}
    }
    return xr.Dataset(found, {**coords, **grid})


def _unfolded(ds: xr.Dataset, cells: str, where: str) -> dict[str, Any]:
    """Return the coordinates of a flattened regular grid.

    Raises
    ------
    DataError
        If the cells are no regular grid, row by row.
    """
    latitude, longitude = (
        ds[next(name for name in names if name in ds.variables)].values
        for names in (("latitude", "lat"), ("longitude", "lon"))
    )
    width = int(np.argmax(latitude != latitude[0])) or len(latitude)
    if len(latitude) % width == 0:
        rows, columns = latitude.reshape(-1, width), longitude.reshape(-1, width)
        if (rows == rows[:, :1]).all() and (columns == columns[:1]).all():
            return {
                name: xr.Variable((name,), values)
                for name, values in (("latitude", rows[:, 0]), ("longitude", columns[0]))
            }
    raise DataError(
        f"{where}: the {len(latitude)} cells along {cells} are no regular grid in latitude and "
        "longitude (points, or a reduced Gaussian grid); interpolate the forecasts to the grid of "
        "the truth, for example with earthkit-regrid or cdo remapbil"
    )


def _is_false(value: Any) -> bool:
    """Tell whether an attribute states false: files may have it as a number or a text."""
    return str(value).lower() in ("false", "0")


def _slice_or_list(places: Array) -> Any:
    """Return successive ascending positions as a slice, others unchanged."""
    if len(places) and (np.diff(places) == 1).all():
        return slice(int(places[0]), int(places[-1]) + 1)
    return places


def _reversed_or_places(places: Array) -> Any:
    """Return all positions in order, or in reverse order, as a slice, others unchanged."""
    if (places == np.arange(len(places))).all():
        return slice(None)
    if (places == np.arange(len(places))[::-1]).all():
        return slice(None, None, -1)
    return places
