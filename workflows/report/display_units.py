"""Units in which people read fields and scores: heights in dam, pressure in hPa.

Stores have SI units; what is printed or drawn is converted here.
"""

from __future__ import annotations

from typing import NamedTuple

import xarray as xr

from gfrnn.pipeline.data.grid import Channel
from gfrnn.pipeline.data.variables.units import GRAVITY


class DisplayUnit(NamedTuple):
    """A unit for readers: a stored value times ``factor`` is the value in ``units``."""

    units: str
    factor: float


_HEIGHT = DisplayUnit("dam", 0.1 / GRAVITY)
_OF_UNITS = {"Pa": DisplayUnit("hPa", 0.01)}

# Power of the unit of a channel or an index that a score has; other scores have no such unit.
_POWERS = {
    **dict.fromkeys(
        (
            "rmse",
            "mae",
            "bias",
            "crps",
            "fair_crps",
            "spread",
            "energy_score",
            "fair_energy_score",
            "index_rmse",
        ),
        1,
    ),
    "forecast_power": 2,
    "truth_power": 2,
}


def display_unit(variable: str, units: str) -> DisplayUnit:
    """Return the unit in which people read a variable.

    Parameters
    ----------
    variable : str
        ERA5 name, or the name of a channel such as ``geopotential_500``.
    units : str
        Stored unit.

    Examples
    --------
    >>> display_unit("mean_sea_level_pressure", "Pa")
    DisplayUnit(units='hPa', factor=0.01)
    """
    if variable.startswith("geopotential") and units == "m2 s-2":
        return _HEIGHT
    return _OF_UNITS.get(units, DisplayUnit(units, 1.0))


def channel_unit(channel: Channel, ds: xr.Dataset) -> DisplayUnit:
    """Return the unit in which people read a channel of a Dataset with SI units."""
    return display_unit(channel.variable, str(ds[channel.variable].attrs.get("units", "1")))


def displayed_scores(scores: xr.Dataset) -> xr.Dataset:
    """Return scores in the units in which people read them.

    Parameters
    ----------
    scores : xarray.Dataset
        Scores from :mod:`gfrnn.pipeline.verification.scores`, or a comparison of runs.

    Returns
    -------
    xarray.Dataset
        The same, with the scores, the thresholds of events and the coordinates ``units`` and
        ``index_units`` converted.
    """
    found = scores.copy()
    for dim, names, units in (
        ("channel", "channel", "units"),
        ("index", "index_channel", "index_units"),
    ):
        if units not in scores.coords:
            continue
        variables, stored = scores[names].values.tolist(), scores[units].values.tolist()
        own = [display_unit(*pair) for pair in zip(variables, stored, strict=True)]
        factors = xr.DataArray([each.factor for each in own], dims=dim)
        for name, power in _POWERS.items():
            if name in scores and dim in scores[name].dims:
                converted = scores[name] * factors**power
                found[name] = converted.transpose(*scores[name].dims)
        found[units] = (dim, [each.units for each in own])
        if dim == "channel" and "threshold" in scores.coords:
            places = [variables.index(name) for name in scores["event_channel"].values.tolist()]
            found["threshold"] = scores["threshold"] * factors.values[places]
    return found
