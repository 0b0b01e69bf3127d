"""Convert the forecast of one initial time to the layout of netCDF files by the CF conventions."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.config.durations import Duration
from gfrnn.pipeline.data.files.leads import decode_leads
from gfrnn.pipeline.data.time_axis import in_months
from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.forecasting.divergence import DIVERGENCE
from gfrnn.pipeline.forecasting.forecast_store import BOUNDS
from gfrnn.pipeline.forecasting.store_sums import SUMS

Array = NDArray[Any]

EXPORTED = "exported as netCDF by gfrnn"
"""End of the last line of the history of an exported file."""

# Names of ERA5 such as 2m_temperature; CF names begin with a letter.
_HEIGHT = re.compile(r"(\d+)m_(\w+)")

_UNITS = {"hours": 3600, "minutes": 60, "seconds": 1}

# Attributes of the store that say nothing about one file.
_OF_STORE = ("complete", "lost_forecasts", DIVERGENCE, SUMS)

# Bits are shuffled before, so that higher levels save a few percent for twice the time.
_COMPRESSION = 1


def netcdf_names(ds: xr.Dataset) -> dict[str, str]:
    """Return a name for each variable that begins with a letter, as CF demands.

    ``2m_temperature`` becomes ``temperature_2m``; signs other than letters, digits and underscores
    become underscores.

    Raises
    ------
    RunError
        If two variables would have one name.
    """
    names: dict[str, str] = {}
    for variable in map(str, ds.data_vars):
        match = _HEIGHT.fullmatch(variable)
        name = f"{match[2]}_{match[1]}m" if match else re.sub(r"\W", "_", variable, flags=re.ASCII)
        name = name if name[0].isalpha() else f"v{name}"
        if name in names.values():
            raise RunError(
                f"{variable}: is named {name} in netCDF, as another variable is; rename it in the "
                "store"
            )
        names[variable] = name
    return names


def netcdf_dataset(forecast: xr.Dataset) -> xr.Dataset:
    """Return the forecast of one initial time with its valid times as the dimension ``time``.

    Parameters
    ----------
    forecast : xarray.Dataset
        Forecast of a store at one ``time``, the initial one.

    Returns
    -------
    xarray.Dataset
        Dimensions (other ones such as ``number``, ``time``, ``level``, ``latitude``,
        ``longitude``). The scalar ``forecast_reference_time`` is the initial time,
        ``forecast_period`` the lead of each ``time``; months, and values of whole steps, have
        bounds. Variables at 2 or 10 m have a scalar height.
    """
    initial = forecast["time"].values
    valid = _valid_times(forecast, initial)
    in_whole_months = forecast["prediction_timedelta"].dtype.kind != "m" and in_months(valid)
    names = netcdf_names(forecast)
    ends = forecast[BOUNDS].values if BOUNDS in forecast.coords else None
    ds = forecast.drop_vars(["time", "valid_time", BOUNDS], errors="ignore").drop_encoding()
    ds = ds.rename(names).swap_dims(prediction_timedelta="time").drop_vars("prediction_timedelta")
    units = _longest_unit(valid - initial)
    period = (valid - initial) // np.timedelta64(_UNITS[units], "s")
    ds = ds.assign_coords(
        time=(
            "time",
            valid,
            {"standard_name": "time", "long_name": "time that the forecast is for", "axis": "T"},
        ),
        forecast_reference_time=(
            (),
            initial,
            {"standard_name": "forecast_reference_time", "long_name": "initial time"},
        ),
        forecast_period=(
            "time",
            period.astype("int32"),
            {"standard_name": "forecast_period", "long_name": "lead", "units": units},
        ),
    )
    for name in ("time", "forecast_reference_time"):
        ds[name].attrs["units_metadata"] = "leap_seconds: none"
    if ends is None and in_whole_months:
        ends = Duration.parse("1mo").bounds(valid)
    if ends is not None:
        ds = ds.assign(time_bnds=(("time", "bnds"), ends, {}, {"coordinates": None}))
        ds["time"].attrs["bounds"] = "time_bnds"
    for coordinate in ds.coords.values():  # such as the number of a member
        if coordinate.dtype.kind in "if":
            coordinate.attrs.setdefault("units", "1")
    ds = _add_heights(ds, names)
    order = ("time", "level", "latitude", "longitude")
    others = [dim for dim in ds.dims if dim not in (*order, "bnds")]
    ds = ds.transpose(*others, *order, ..., missing_dims="ignore")
    begin = str(np.datetime_as_string(initial, "s")).replace("T", " ")
    _set_encodings(ds, f"{units} since {begin}")
    kept = {key: value for key, value in ds.attrs.items() if key not in _OF_STORE and value != ""}
    written = f"{pd.Timestamp.now('UTC'):%Y-%m-%dT%H:%M:%SZ} {EXPORTED}"
    history = "\n".join(filter(None, [str(kept.get("history", "")), written]))
    ds.attrs = kept | {"Conventions": "CF-1.11", "history": history}
    return ds


def _valid_times(forecast: xr.Dataset, initial: Any) -> Array:
    """Return the valid times of a forecast; stores of others may have none."""
    if "valid_time" in forecast.coords:
        return np.asarray(forecast["valid_time"].values)
    leads = decode_leads(forecast, "prediction_timedelta", "forecasts")
    if leads.dtype.kind == "m":
        return np.asarray(initial + leads)
    return np.asarray(Duration.parse("1mo").after(initial, leads))


def _longest_unit(spans: Array) -> str:
    """Return the longest unit that all durations are whole multiples of."""
    for unit, seconds in _UNITS.items():
        if not (spans % np.timedelta64(seconds, "s")).astype("int64").any():
            return unit
    return "seconds"


def _add_heights(ds: xr.Dataset, names: dict[str, str]) -> xr.Dataset:
    """Add scalar heights, and name the auxiliary coordinates of each variable, none of others."""
    heights: dict[str, Any] = {}
    for variable, name in names.items():
        auxiliary = ["forecast_period", "forecast_reference_time"]
        if match := _HEIGHT.fullmatch(variable):
            auxiliary.append(f"height_{match[1]}m")
            heights[auxiliary[-1]] = (
                (),
                float(match[1]),
                {"standard_name": "height", "units": "m", "positive": "up", "axis": "Z"},
            )
        ds[name].encoding["coordinates"] = " ".join(auxiliary)
        if "standard_name" not in ds[name].attrs:
            ds[name].attrs.setdefault("long_name", variable)
    return ds.assign_coords(heights)


def _set_encodings(ds: xr.Dataset, since: str) -> None:
    """Set how values are stored: fields compressed, in the chunks that they are read in."""
    for variable in ds.variables.values():
        if variable.dtype.kind == "M":
            variable.encoding |= {"units": since, "calendar": "standard", "dtype": "int32"}
        if variable.chunks is None:  # a coordinate, where CF allows no missing values
            variable.encoding["_FillValue"] = None
            continue
        variable.encoding |= {
            "zlib": True,
            "complevel": _COMPRESSION,
            "shuffle": True,
            "chunksizes": tuple(sizes[0] for sizes in variable.chunks),
        }
        if variable.dtype.kind == "f":
            variable.encoding["_FillValue"] = variable.dtype.type(np.nan)
