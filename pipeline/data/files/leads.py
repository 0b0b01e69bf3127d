"""Leads of forecasts in files: names of their coordinate, and decoding."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.errors import DataError

Array = NDArray[Any]

# Whole names in lower case; the standard name is forecast_period.
LEAD_NAMES = (
    "prediction_timedelta", "lead_time", "step", "lead", "forecast_period", "leadtime",
    "forecast_lead_time", "forecast_hour", "fhour", "timedelta",
)  # fmt: skip

# Seconds of the units of leads.
_SECONDS = {
    r"ns|nanoseconds?": 1e-9,
    r"us|microseconds?": 1e-6,
    r"ms|milliseconds?": 1e-3,
    r"s|secs?|seconds?": 1.0,
    r"min|mins|minutes?": 60.0,
    r"h|hrs?|hours?": 3600.0,
    r"d|days?": 86400.0,
    r"weeks?": 604800.0,
}
_MONTHS = r"mo|months?"


def decode_leads(ds: xr.Dataset, name: str, where: str) -> Array:
    """Decode a coordinate of leads.

    Returns
    -------
    ndarray, shape (leads,)
        timedelta64[ns], or numbers of calendar months.

    Raises
    ------
    DataError
        If the coordinate is missing, states no unit of time, or has missing, negative or repeated
        entries.
    """
    if name not in ds.variables:
        raise DataError(
            f"{where}: the dimension {name} has no coordinate, so its leads are unknown; add one, "
            "for example ds.assign_coords(lead_time=('lead_time', hours, {'units': 'hours'}))"
        )
    raw = ds[name].variable
    values = np.atleast_1d(raw.values)
    if values.dtype.kind == "m":
        leads = values.astype("timedelta64[ns]")
        bad = np.isnat(leads)
    else:
        unit = str(raw.attrs.get("units", "")).strip()
        numbers = values.astype(float)
        bad = ~np.isfinite(numbers)
        numbers = np.where(bad, 0.0, numbers)
        factor = next(
            (size for names, size in _SECONDS.items() if re.fullmatch(names, unit.lower())), None
        )
        if factor is not None:
            seconds = np.round(numbers * factor).astype("timedelta64[s]")
            leads = seconds.astype("timedelta64[ns]")
        elif re.fullmatch(_MONTHS, unit.lower()) and (numbers == np.round(numbers)).all():
            leads = numbers.astype(np.int64)
        else:
            raise DataError(
                f"{where}: leads along {name} have the unit {unit!r}; allowed are seconds, "
                "minutes, hours, days, and whole months; set the attribute units, for example "
                f"ds[{name!r}].attrs['units'] = 'hours'"
            )
    if bad.any() or (leads < np.zeros((), leads.dtype)).any():
        raise DataError(
            f"{where}: some leads along {name} are missing or negative; drop these leads"
        )
    check_distinct(leads, name, where)
    return leads


def check_distinct(values: Array, name: str, where: str) -> None:
    """Check that no entry of a coordinate is repeated."""
    if len(np.unique(values)) < len(values):
        raise DataError(f"{where}: entries of {name} are repeated; give each once")
