"""Dimensions of a file of forecasts: initial times, leads, members, and a flattened grid."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

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
        initial = _find(ds, _INITIAL, "forecast_reference_time", ds.variables)
        if initial is None or initial not in ds.variables:
            raise DataError(
                f"{where}: leads along {lead}, but no initial time; add a coordinate time with the "
                "initial time of the forecasts, for example ds.assign_coords(time=...)"
            )
        times = decode_times(ds[initial].variable, initial, where)
        leads = decode_leads(ds, lead, where)
        check_distinct(times, initial, where)
        along = initial if initial in ds.dims else None
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
                times = decode_times(ds[valid].variable, valid, where)
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
