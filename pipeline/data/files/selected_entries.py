"""Selection of one entry of further dimensions of a file, such as a member of an ensemble."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import xarray as xr

from gfrnn.pipeline.errors import DataError

_SHOWN = 10  # entries of a dimension that a message lists


def select_entries(
    ds: xr.Dataset, select: Iterable[tuple[str, float | str]], where: str
) -> xr.Dataset:
    """Reduce dimensions to one entry each.

    They stay, with the length 1, so that a variable has as many dimensions as its stored chunks.

    Parameters
    ----------
    ds : xarray.Dataset
    select : iterable of (str, float or str)
        Pairs of a dimension and its entry; the position where the dimension has no coordinate.
        Dimensions that the file does not have are left out.
    where : str
        Name of the file, for messages.

    Raises
    ------
    DataError
        If a dimension has no such entry.
    """
    for dim, entry in select:
        wanted = entry if isinstance(entry, str) else f"{entry:g}"
        if dim not in ds.dims:
            if dim in ds.coords and not _is_entry(ds[dim].values, entry).all():
                raise DataError(
                    f"{where}: select: {dim} has the only entry {ds[dim].values}, not {wanted}"
                )
            continue
        values = ds[dim].values
        places = places_of_entry(values, entry)
        if places.size != 1:
            listed = ", ".join(map(str, values[:_SHOWN])) + ", ..." * (values.size > _SHOWN)
            raise DataError(
                f"{where}: select: {places.size or 'no'} entries of {dim} are {wanted}; it has "
                f"{listed}"
            )
        ds = ds.isel({dim: slice(int(places[0]), int(places[0]) + 1)})
    return ds


def places_of_entry(values: np.ndarray, entry: float | str) -> np.ndarray:
    """Return the positions of an entry in the coordinate of a dimension."""
    return np.flatnonzero(_is_entry(values, entry))


def _is_entry(values: np.ndarray, entry: float | str) -> np.ndarray:
    """Compare entries of a coordinate with a number, or with text."""
    if values.dtype.kind in "iuf" and not isinstance(entry, str):
        return np.isclose(values, entry, rtol=1e-6)
    wanted = entry if isinstance(entry, str) else f"{entry:g}"
    plain = (each.decode("utf-8", "replace") if isinstance(each, bytes) else each
             for each in values.flat)  # fmt: skip
    return np.reshape(np.array([str(each) for each in plain]) == wanted, values.shape)
