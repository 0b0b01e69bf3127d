"""Dimensions of a file of forecasts: initial times, leads, members, and a flattened grid."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.config.durations import Duration
from gfrnn.pipeline.data.files.leads import LEAD_NAMES, check_distinct, decode_leads
from gfrnn.pipeline.data.time_axis import decode_times
from gfrnn.pipeline.errors import DataError

Array = NDArray[Any]

# Whole names in lower case, and standard names of CF.
_INITIAL = (
    "init_time", "initial_time", "init", "forecast_reference_time", "reference_time", "start_time",
    "base_time", "analysis_time", "initialization_time", "forecast_init_time", "time",
)  # fmt: skip
_MEMBER = (
    "number", "realization", "member", "ensemble", "sample", "ens", "ensemble_member", "members",
)  # fmt: skip
_VALID = ("time", "valid_time")


@dataclass(frozen=True)
class ForecastDimensions:
    """Names of the dimensions of a file of forecasts, and what their coordinates state.

    Attributes
    ----------
    initial, lead, member : str or None
        Names of dimensions; None where there is none.
    initial_times : ndarray of datetime64, shape (starts,)
        In the order of the file.
    leads : ndarray, shape (leads,)
        timedelta64, or numbers of months, in the order of the file.
    members : int or None
        Size of the dimension of members.
    cells : str or None
        Dimension of the cells of a flattened grid.
    """

    initial: str | None
    lead: str | None
    member: str | None
    initial_times: Array
    leads: Array
    members: int | None
    cells: str | None

    @classmethod
    def find(
        cls, ds: xr.Dataset, where: str, initial_time: np.datetime64 | None = None
    ) -> ForecastDimensions:
        """Find the dimensions of a file, by their names or the standard names of coordinates.

        Parameters
        ----------
        ds : xarray.Dataset
            With times and leads that are not decoded.
        where : str
            Path of the file, for messages.
        initial_time : datetime64, optional
            Initial time of a file of one forecast that states times, but no leads.

        Raises
        ------
        DataError
            If there are no leads or no initial times, or they cannot be decoded.
        """
        lead = _find(ds, LEAD_NAMES, "forecast_period", ds.dims)
        members = _find(ds, _MEMBER, "realization", ds.dims)
        cells = _cells(ds)
        about = members, None if members is None else ds.sizes[members], cells
        if lead is None:
            return cls._of_valid_times(ds, where, initial_time, about)
        initial = _find(ds, _INITIAL, "forecast_reference_time", _initial_names(ds, lead))
        if initial is None:
            times = _start_of_valid_times(ds, lead, where)
            return cls(None, lead, about[0], times, decode_leads(ds, lead, where), *about[1:])
        times = decode_times(ds[initial].variable, initial, where)
        leads = decode_leads(ds, lead, where)
        check_distinct(times, initial, where)
        along = str(ds[initial].dims[0]) if ds[initial].dims else None
        return cls(along, lead, about[0], times, leads, *about[1:])

    @classmethod
    def _of_valid_times(
        cls,
        ds: xr.Dataset,
        where: str,
        initial_time: np.datetime64 | None,
        about: tuple[str | None, int | None, str | None],
    ) -> ForecastDimensions:
        """Return the dimensions of a file without a dimension of leads.

        It has the times of one forecast, or a single lead as a scalar.
        """
        scalars = [name for name, variable in ds.variables.items() if variable.ndim == 0]
        lead = _find(ds, LEAD_NAMES, "forecast_period", scalars)
        valid = _find(ds, _VALID, "time", ds.dims)
        if lead is not None and valid is not None:
            leads = decode_leads(ds, lead, where)
            # ERA5 converted from GRIB has such a scalar, which is 0.
            if leads[0] > np.zeros((), leads.dtype):
                times = _starts_of_one_lead(ds, valid, leads[0], where)
                return cls(valid, None, about[0], times, leads, *about[1:])
        initial = _find(ds, _INITIAL, "forecast_reference_time", scalars)
        if valid is None or valid not in ds.variables or (initial is None and initial_time is None):
            listed = ", ".join(f"{dim} ({size})" for dim, size in ds.sizes.items())
            raise DataError(
                f"{where}: not a store of forecasts: it has no dimension of leads; its dimensions "
                f"are {listed}; name it prediction_timedelta, lead_time or step, or give "
                "--initial-time for a file with the times of one forecast"
            )
        first = initial_time
        if first is None:
            first = decode_times(ds[initial].variable, str(initial), where)[0]
        beside = [name for name, variable in ds.variables.items() if variable.dims == (valid,)]
        stated = _find(ds, LEAD_NAMES, "forecast_period", beside)
        if stated is not None:
            leads = decode_leads(ds, stated, where)
        else:
            leads = decode_times(ds[valid].variable, valid, where) - first
        if (leads < np.zeros((), leads.dtype)).any():
            raise DataError(
                f"{where}: times of {valid} lie before the initial time, {first}; give the time "
                "from which the forecast starts"
            )
        check_distinct(leads, valid, where)
        return cls(None, valid, about[0], np.array([first], "M8[ns]"), leads, *about[1:])


def _initial_names(ds: xr.Dataset, lead: str) -> list[str]:
    """Return the variables that may hold initial times: not those of the leads, or of validity.

    Many forecasts are made from an archive whose times have the standard name of times of validity,
    and keep it. Times that have a dimension of their own beside that of leads, or are one beside
    several leads, cannot be times of validity; others can, unless these stand beside.
    """
    pairs = [variable.dims for variable in ds.variables.values() if _kind(variable) == "M"]
    return [
        str(name)
        for name, variable in ds.variables.items()
        if lead not in variable.dims
        and variable.ndim < 2
        and (
            variable.attrs.get("standard_name") != "time"
            or name in ds.dims
            or ds.sizes[lead] > 1
            or any({lead, *variable.dims} == set(dims) for dims in pairs)
        )
    ]


def _kind(variable: xr.Variable) -> str:
    """Return M for times, which may not be decoded, else another letter."""
    return "M" if "since" in str(variable.attrs.get("units", "")) else variable.dtype.kind


def _start_of_valid_times(ds: xr.Dataset, lead: str, where: str) -> Array:
    """Return the initial time of one forecast whose leads have times of validity beside them.

    Raises
    ------
    DataError
        If there are no such times, or they and the leads have several initial times.
    """
    beside = [name for name, variable in ds.variables.items() if variable.dims == (lead,)]
    valid = _find(ds, _VALID, "time", [name for name in beside if name != lead])
    advice = (
        "add a coordinate forecast_reference_time with the initial time of the forecasts, for "
        "example ds.assign_coords(forecast_reference_time=...)"
    )
    if valid is None:
        named = [n for n in ds.variables if ds[n].attrs.get("standard_name") == "time"]
        if named:
            advice = (
                f"{named[0]} has the standard name time, that of times of validity; set it to "
                f"forecast_reference_time if it holds initial times, or {advice}"
            )
        raise DataError(f"{where}: leads along {lead}, but no initial time; {advice}")
    times = decode_times(ds[valid].variable, valid, where)
    starts = np.unique(_before(times, decode_leads(ds, lead, where)))
    if len(starts) > 1:
        raise DataError(
            f"{where}: {valid} less the leads along {lead} is no single initial time, but "
            f"{starts[0]} to {starts[-1]}; {advice}"
        )
    return starts


def _starts_of_one_lead(ds: xr.Dataset, along: str, lead: Any, where: str) -> Array:
    """Return the initial times of forecasts of one lead along a dimension of times.

    These are the ones stated along it; without them, a dimension ``time`` holds initial times, as
    in files converted from GRIB, unless its standard name or another name tells times of validity.
    """
    stated = [
        name
        for name, variable in ds.variables.items()
        if variable.dims == (along,) and name != along
    ]
    initial = _find(
        ds, [name for name in _INITIAL if name != "time"], "forecast_reference_time", stated
    )
    times = decode_times(ds[initial or along].variable, initial or along, where)
    own = ds[along].attrs.get("standard_name")
    if initial is None and (own == "time" or (own is None and along.lower() != "time")):
        times = _before(times, np.broadcast_to(lead, times.shape))
    check_distinct(times, initial or along, where)
    return times


def _before(times: Array, leads: Array) -> Array:
    """Return times less leads, which are timedelta64 or numbers of months."""
    if leads.dtype.kind != "i":
        return np.asarray(times - leads)
    return np.asarray(Duration.parse("1mo").after(times, -leads))


def _find(
    ds: xr.Dataset, names: Collection[str], standard_name: str, among: Collection[Any]
) -> str | None:
    """Find a name by the standard name of its coordinate, else by the order of known names."""
    for name in among:
        if name in ds.variables and ds[name].attrs.get("standard_name") == standard_name:
            return str(name)
    lower = {str(name).lower(): str(name) for name in among}
    return next((lower[name] for name in names if name in lower), None)


def _cells(ds: xr.Dataset) -> str | None:
    """Find the dimension that latitudes and longitudes have in common, if they have one each."""
    for latitude, longitude in (("latitude", "longitude"), ("lat", "lon")):
        if latitude in ds.variables and longitude in ds.variables:
            dims = ds[latitude].dims, ds[longitude].dims
            if dims[0] == dims[1] and len(dims[0]) == 1:
                return str(dims[0][0])
    return None
