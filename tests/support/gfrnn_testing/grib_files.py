"""GRIB files of small archives, written with ecCodes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

_SHORT_NAMES = {"t2m": "2t"}  # of GRIB, where they differ from those of netCDF
_MISSING = 9999.0


def write_grib(
    ds: xr.Dataset, path: Path, edition: int = 2, keys: Mapping[str, Any] | None = None
) -> Path:
    """Write fields with dimensions (time, [number], [level], latitude, longitude), one a message.

    Messages go to the end of the file. Values have 24 bits; NaN are missing values. ``keys`` are
    set in each message.
    """
    with path.open("ab") as stream:
        for name, array in ds.data_vars.items():
            header = [dim for dim in array.dims if dim not in ("latitude", "longitude")]
            order = array.transpose(*header, "latitude", "longitude")
            for place in np.ndindex(*(order.sizes[dim] for dim in header)):
                field = order.isel(dict(zip(header, place, strict=True)))
                stream.write(_message(str(name), field, edition, keys or {}))
    return path


def _message(name: str, field: xr.DataArray, edition: int, keys: Mapping[str, Any]) -> bytes:
    import eccodes

    levels = "level" in field.coords
    kind = "pl" if levels else "sfc"
    handle = eccodes.codes_grib_new_from_samples(f"regular_ll_{kind}_grib{edition}")
    try:
        latitude, longitude = field["latitude"].values, field["longitude"].values
        time = pd.Timestamp(field["time"].values)
        values = np.nan_to_num(field.values.astype(float), nan=_MISSING)
        entries: dict[str, Any] = {
            "Ni": longitude.size,
            "Nj": latitude.size,
            "latitudeOfFirstGridPointInDegrees": float(latitude[0]),
            "latitudeOfLastGridPointInDegrees": float(latitude[-1]),
            "longitudeOfFirstGridPointInDegrees": float(longitude[0]),
            "longitudeOfLastGridPointInDegrees": float(longitude[-1]),
            "iDirectionIncrementInDegrees": float(longitude[1] - longitude[0]),
            "jDirectionIncrementInDegrees": float(abs(latitude[1] - latitude[0])),
            "jScansPositively": int(latitude[1] > latitude[0]),
            "dataDate": int(time.strftime("%Y%m%d")),
            "dataTime": int(time.strftime("%H%M")),
            "shortName": _SHORT_NAMES.get(name, name),
            "bitmapPresent": 1,
            "missingValue": _MISSING,
            "bitsPerValue": 24,
        }
        if levels:
            entries["level"] = int(field["level"])
        if "number" in field.coords:
            if edition == 2:
                entries["productDefinitionTemplateNumber"] = 1
            else:
                entries["localDefinitionNumber"] = 1
            entries["number"] = int(field["number"])
        for key, value in (entries | dict(keys)).items():
            eccodes.codes_set(handle, key, value)
        eccodes.codes_set_values(handle, values.ravel())
        return bytes(eccodes.codes_get_message(handle))
    finally:
        eccodes.codes_release(handle)
