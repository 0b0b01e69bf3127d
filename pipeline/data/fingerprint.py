"""Fingerprints of a canonical Dataset and of its parts, by which changed data are detected."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.data.stored_sizes import stored_sizes
from gfrnn.pipeline.data.transforms import TRANSFORM

Array = NDArray[Any]

# Bytes of fields that are sampled densely: a read of the samples holds no more in memory.
_DENSELY = 2**29
_PER_FOLD = 16  # sampled times of a fold, so that each month of a year has one
_IN_ALL = 8  # of a larger archive, whose chunks take long to decode


def fingerprint(ds: xr.Dataset) -> str:
    """Return the SHA-256 (hex) of names, levels, coordinates, units and values of eight times.

    Copies of an archive have the same fingerprint; a changed archive very likely has another.
    """
    digest = hashlib.sha256(description_digest(ds).encode())
    digest.update(ds["time"].values.astype("datetime64[s]").astype("int64").tobytes())
    for index in _spread(np.arange(ds.sizes["time"]), _IN_ALL):
        digest.update(_one_level(ds, int(index)))
    return digest.hexdigest()


def description_digest(ds: xr.Dataset) -> str:
    """Return the SHA-256 (hex) of names, levels, units, transforms and coordinates but the time."""
    digest = hashlib.sha256()
    for coordinate in sorted(set(map(str, ds.coords)) - {"time"}):
        digest.update(coordinate.encode() + ds[coordinate].values.astype("f8").tobytes())
    for name in sorted(map(str, ds.data_vars)):
        array = ds[name]
        levels = array.attrs.get("levels") or []
        digest.update(f"{name} {levels} {array.attrs.get('units')}".encode())
        digest.update(str(array.attrs.get(TRANSFORM, "")).encode())
    return digest.hexdigest()


def fold_digests(ds: xr.Dataset, folds: Mapping[str, Array]) -> dict[str, str]:
    """Return the SHA-256 (hex) of the times, sampled values and stored sizes of some folds.

    Times outside the folds have no part in them, so that an archive may grow. Sizes are those of
    files, or of chunks of zarr stores, that hold times of the folds only: compressed values that
    change almost always change them.

    Parameters
    ----------
    folds : mapping of ndarray of int
        Positions on the time axis, ascending, by name of the fold.
    """
    used = np.unique(np.concatenate([np.zeros(0, int), *folds.values()]))
    sizes = stored_sizes(ds, used)
    time = ds["time"].values.astype("datetime64[s]").astype("int64")
    samples = _samples(ds, folds, used)
    found = {}
    for fold, index in folds.items():
        digest = hashlib.sha256(time[index].tobytes())
        for each in sizes:
            if each.belongs_to(index):
                digest.update(each.digest.encode())
        for values in samples[fold]:
            digest.update(values)
        found[fold] = digest.hexdigest()
    return found


def _samples(ds: xr.Dataset, folds: Mapping[str, Array], used: Array) -> dict[str, list[bytes]]:
    """Return values of sampled times of each fold: of all levels, or of one of a large archive."""
    channels = sum(len(array.attrs.get("levels") or [None]) for array in ds.data_vars.values())
    cells = ds.sizes["latitude"] * ds.sizes["longitude"]
    if 4 * channels * cells * len(used) > _DENSELY:
        chosen = _spread(used, _IN_ALL)
        return {
            fold: [_one_level(ds, int(i)) for i in chosen[np.isin(chosen, index)]]
            for fold, index in folds.items()
        }
    places = {fold: _spread(index, _PER_FOLD) for fold, index in folds.items()}
    every = np.unique(np.concatenate([np.zeros(0, int), *places.values()]))
    found: dict[str, list[bytes]] = {fold: [] for fold in folds}
    for name in sorted(map(str, ds.data_vars)):
        # One read of all folds: each stored chunk is decoded once.
        values = ds[name].isel(time=every).values
        for fold, index in places.items():
            found[fold].append(_bytes(values[np.searchsorted(every, index)]))
    return found


def _one_level(ds: xr.Dataset, index: int) -> bytes:
    """Return the values of all variables at one time, each at one of its levels."""
    found = []
    for name in sorted(map(str, ds.data_vars)):
        fields = ds[name].isel(time=index)
        # One level each time, in turn, so that large archives are not read for hours.
        if levels := ds[name].attrs.get("levels") or []:
            fields = fields.sel(level=levels[index % len(levels)])
        found.append(_bytes(fields.values))
    return b"".join(found)


def _bytes(values: Array) -> bytes:
    return np.ascontiguousarray(values, "<f4").tobytes()


def _spread(index: Array, count: int) -> Array:
    """Return up to ``count`` evenly spread entries, with the first and the last."""
    return (
        index[np.unique(np.linspace(0, len(index) - 1, count).astype(int))] if len(index) else index
    )
