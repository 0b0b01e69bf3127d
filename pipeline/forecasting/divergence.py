"""Forecasts that leave the range of the training: from which time, at which lead, and where."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.data.grid import Grid
from gfrnn.pipeline.data.time_axis import format_minute
from gfrnn.pipeline.states.layouts import Layout

Array = NDArray[Any]

DIVERGENCE = "divergence"
"""Attribute of forecasts: JSON text, a list of mappings, one for each forecast that diverged."""

STAYED = -1
"""Place of a forecast that has not diverged at a lead."""


class DecodedLead(NamedTuple):
    """Forecasts from some initial times at one lead.

    Attributes
    ----------
    fields : ndarray, shape (starts, grid.size)
        NaN from the time of divergence on.
    limited : ndarray, shape (starts,)
        Share of values that the bound of rollouts has limited.
    departed : ndarray of int, shape (starts,)
        Position on the grid at which a forecast that diverged at this lead was farthest from the
        climatology one step before; :data:`STAYED` for all others.
    """

    fields: Array
    limited: Array
    departed: Array


def departures(before: Array, after: Array, layout: Layout) -> Array:
    """Return the places of the forecasts that diverge from one step to the next.

    Parameters
    ----------
    before, after : ndarray, shape (starts, size)
        States of two successive steps; a state that has diverged has a NaN.
    layout : Layout

    Returns
    -------
    ndarray of int, shape (starts,)
        Position on the grid of the largest anomaly before, in standard deviations of its channel;
        :data:`STAYED` where no forecast diverges.
    """
    places = np.full(len(after), STAYED)
    gone = np.flatnonzero(np.isnan(after).any(axis=1) & ~np.isnan(before).any(axis=1))
    if len(gone):
        scaling = layout.scaling
        channels = len(scaling.grid.channels)
        anomalies = layout.anomalies(before[gone]).reshape(len(gone), channels, -1)
        sizes = np.abs(anomalies) / scaling.climatology.std[:, None]
        places[gone] = sizes.reshape(len(gone), -1).argmax(axis=1)
    return places


def divergence_text(initial: Array, valid: Array, departed: Array, grid: Grid) -> str:
    """Describe the forecasts that diverged, as the attribute :data:`DIVERGENCE`.

    Parameters
    ----------
    initial : ndarray of datetime64, shape (starts,)
    valid : ndarray of datetime64, shape (starts, leads)
        Times that the forecasts are for.
    departed : ndarray of int, shape (starts, leads)
        Places of :class:`DecodedLead` at all leads.
    grid : Grid
    """
    found = []
    for start, lead in np.argwhere(departed > STAYED).tolist():
        channel, row, column = np.unravel_index(int(departed[start, lead]), grid.shape)
        found.append(
            {
                "initial": format_minute(initial[start]),
                "lead": lead + 1,
                "valid": format_minute(valid[start, lead]),
                "channel": grid.channels[int(channel)].name,
                "latitude": float(grid.latitude[row]),
                "longitude": float(grid.longitude[column]),
            }
        )
    return json.dumps(found)


def rollout_counts(forecasts: xr.Dataset, limited: Array) -> dict[str, Any]:
    """Count what happened to forecasts, for the record of a run.

    Parameters
    ----------
    forecasts : xarray.Dataset
        A finished store of forecasts, or what is known of forecasts that were not kept.
    limited : ndarray, shape (starts, leads)
        Share of the values that the bound has limited.

    Returns
    -------
    dict
        ``forecasts``, and where there are any: ``diverged`` and ``first_divergence``, a mapping
        with time, lead and place; ``limited``, the number of forecasts with limited values, and
        ``first_limited_lead`` in steps.
    """
    counts: dict[str, Any] = {"forecasts": len(limited)}
    if lost := int(forecasts.attrs.get("lost_forecasts", 0)):
        counts["diverged"] = lost
        if diverged := divergences(forecasts):
            counts["first_divergence"] = min(diverged, key=lambda each: int(each["lead"]))
    held = limited > 0
    if held.any():
        counts["limited"] = int(held.any(axis=1).sum())
        counts["first_limited_lead"] = int(np.flatnonzero(held.any(axis=0))[0]) + 1
    return counts


def divergences(forecasts: xr.Dataset) -> list[dict[str, Any]]:
    """Return what is known of the forecasts that diverged, in the order of their initial times.

    Stores of earlier versions have only their number.
    """
    found: list[dict[str, Any]] = json.loads(str(forecasts.attrs.get(DIVERGENCE, "[]")))
    return found
