"""Fingerprint of a canonical Dataset, by which a changed archive is detected."""

from __future__ import annotations

import hashlib

import numpy as np
import xarray as xr


def fingerprint(ds: xr.Dataset) -> str:
    """Return the SHA-256 (hex) of names, levels, coordinates, units and values of eight times.

    Copies of an archive have the same fingerprint; a changed archive very likely has another. A
    copy of some times states that of the archive as an attribute.
    """
    if stated := ds.attrs.get("fingerprint"):
        return str(stated)
    digest = hashlib.sha256()
    for coordinate in sorted(map(str, ds.coords)):
        values = ds[coordinate].values
        values = (
            values.astype("datetime64[s]").astype("int64")
            if coordinate == "time"
            else values.astype("f8")
        )
        digest.update(coordinate.encode() + values.tobytes())
    sample = np.unique(np.linspace(0, ds.sizes["time"] - 1, 8).astype(int))
    for name in sorted(map(str, ds.data_vars)):
        array = ds[name]
        levels = array.attrs.get("levels") or []
        digest.update(f"{name} {levels} {array.attrs.get('units')}".encode())
        for number, index in enumerate(sample):
            fields = array.isel(time=int(index))
            # One level each time, in turn, so that large archives are not read for hours.
            fields = fields.sel(level=levels[number % len(levels)]) if levels else fields
            digest.update(np.ascontiguousarray(fields.values, "<f4").tobytes())
    return digest.hexdigest()
