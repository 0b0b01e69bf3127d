"""Valid times of one file."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from gfrnn.pipeline.config.section import Period
from gfrnn.pipeline.data.files.file_coordinates import find_coordinate
from gfrnn.pipeline.data.files.leads import LEAD_NAMES, decode_leads
from gfrnn.pipeline.data.files.raw_file import RawFile
from gfrnn.pipeline.data.time_axis import decode_times
from gfrnn.pipeline.errors import DataError


class FileTimes(NamedTuple):
    """Times of a file (datetime64, ascending), their positions in it, and notes."""

    times: np.ndarray
    positions: np.ndarray
    notes: list[str]


def read_times(ds: xr.Dataset, kinds: dict[str, str], file: RawFile) -> FileTimes:
    """Read the valid times of a file, without those outside of the extent that it states.

    The valid time of forecasts of one lead is their ``valid_time``, else the initial time plus the
    lead.

    Raises
    ------
    DataError
        If there are no times with dates, they are initial times of an unknown lead, or the stated
        extent is no pair of dates.
    """
    name = find_coordinate(ds, kinds, "time")
    if name is None or name not in ds.variables:
        listed = ", ".join(f"{dim} ({size})" for dim, size in ds.sizes.items())
        raise DataError(
            f"{file.path}: no time coordinate; its dimensions are {listed}; name it time or "
            "valid_time, with units such as 'hours since 1900-01-01'; files of static fields "
            "belong in data.static"
        )
    times, notes = _valid_times(ds, name, file.path)
    order = np.argsort(times, kind="stable")
    start, stop, preliminary = (
        str(ds.attrs.get(f"valid_time_{end}", "")) for end in ("start", "stop", "stop_era5t")
    )
    # Preliminary data (ERA5T) of the latest months end later than the final ones.
    stop = preliminary or stop
    if start and stop:
        try:
            inside = Period.model_validate([start, stop]).mask(times[order])
        except ValueError:
            raise DataError(
                f"{file.path}: its extent, valid_time_start {start!r} to valid_time_stop {stop!r}, "
                "is not a pair of dates; correct or remove the two attributes"
            ) from None
        if not inside.all():
            notes.append(
                f"{file.path}: {(~inside).sum()} of {inside.size} times are outside of "
                f"{start}..{stop}, the extent that the file states, and are dropped as padding"
            )
        order = order[inside]
    return FileTimes(times[order], order, notes)


def _valid_times(ds: xr.Dataset, name: str, where: str) -> tuple[np.ndarray, list[str]]:
    """Return the valid times (datetime64, shape (n,)) of a file, and notes.

    ``name`` is the coordinate of times, which are initial times in forecasts of a single lead.
    """
    raw = ds[name].variable
    lead = _single(ds, LEAD_NAMES, "forecast_period")
    initial = raw.attrs.get("standard_name") == "forecast_reference_time"
    times = decode_times(raw, name, where)
    valid_already = name == "valid_time" or raw.attrs.get("standard_name") == "time"
    if not initial and (lead is None or valid_already):
        return times, []
    for other in ds.variables.values():
        stated = other.attrs.get("standard_name") == "time"
        if other is raw or not (stated or other is ds.variables.get("valid_time")):
            continue
        if other.size == raw.size and set(raw.dims) <= set(other.dims) | {name}:
            valid = decode_times(other.copy(deep=False).squeeze(), "valid_time", where)
            if (valid == times).all():
                return times, []
            return valid, [f"{where}: times are those of valid_time, not the initial times {name}"]
    if lead is None:
        raise DataError(
            f"{where}: {name} is the initial time of forecasts (standard_name "
            "forecast_reference_time), and no coordinate states their lead; add valid_time or "
            "step, or set the standard_name to time if the values are analyses"
        )
    leads = decode_leads(ds, lead, where)
    if leads.dtype.kind != "m":
        raise DataError(
            f"{where}: {lead} is in calendar months, so the valid times are unknown; add a "
            "coordinate valid_time"
        )
    if leads[0] == np.timedelta64(0):
        return times, []
    return times + leads[0], [f"{where}: {lead} is added to the initial times {name}"]


def _single(ds: xr.Dataset, known: tuple[str, ...], standard_name: str) -> str | None:
    """Find a coordinate of one entry by its standard name or one of the known names."""
    one = {str(name): variable for name, variable in ds.variables.items() if variable.size == 1}
    for name, variable in one.items():
        if variable.attrs.get("standard_name") == standard_name:
            return name
    return next((name for name in one if name.lower() in known), None)
