"""The forecast that a report shows: its maps at one lead, and its animation over the leads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.config.durations import Duration
from gfrnn.pipeline.data.grid import Channel
from gfrnn.pipeline.data.time_axis import format_time
from gfrnn.pipeline.forecasting.forecast_store import NUMBER
from gfrnn.workflows.report.animation import Animation, animate
from gfrnn.workflows.report.figures import Picture
from gfrnn.workflows.report.labels import channel_label, lead_label
from gfrnn.workflows.report.maps import MapField, map_pictures
from gfrnn.workflows.report.run_contents import RunContents

Array = NDArray[Any]

_MAP_LEAD = 3  # days or months
_MOST_MAPS = 4
_MOST_FRAMES = 12


@dataclass(frozen=True)
class ExampleForecast:
    """Pictures of one forecast.

    Attributes
    ----------
    initial, valid, lead : str
        Times and lead of the maps.
    maps : list of Picture
    channel : str
        Name of the channel of the animation.
    animation : Animation or None
        None if the truth is known at one lead only.
    """

    initial: str
    valid: str
    lead: str
    maps: list[Picture]
    channel: str
    animation: Animation | None


def example_forecast(contents: RunContents) -> ExampleForecast | None:
    """Draw the forecast from the middle one of the initial times whose truth is known.

    Returns
    -------
    ExampleForecast or None
        None if no fields are kept, no truth is known, or the grid is a single line.
    """
    if not contents.run.experiment.forecast.store:
        return None
    lead = contents.nearest(_MAP_LEAD)
    valid = contents.forecasts["valid_time"].values
    known = np.isin(valid, contents.truth.time)
    starts = np.flatnonzero(known[:, lead])
    if not len(starts) or min(contents.grid.shape[1:]) < 2:
        return None
    start, step = int(starts[len(starts) // 2]), contents.model.step
    fields = _fields(contents, start, lead, contents.channels[:_MOST_MAPS])
    grid, when = contents.grid, valid[start, lead]
    pictures = map_pictures(
        fields, grid.latitude, grid.longitude, when, coast=not contents.simulated
    )
    return ExampleForecast(
        _when(contents.forecasts["time"].values[start], step),
        _when(when, step),
        lead_label(contents.leads[lead]),
        pictures,
        channel_label(contents.channels[0]),
        _animation(contents, start, _frame_leads(contents.leads, known[start])),
    )


def _animation(contents: RunContents, start: int, leads: list[int]) -> Animation | None:
    """Animate the first channel at these leads."""
    if len(leads) < 2:
        return None
    grid, valid = contents.grid, contents.forecasts["valid_time"].values[start]
    fields = [
        field for lead in leads for field in _fields(contents, start, lead, contents.channels[:1])
    ]
    return animate(
        fields,
        [lead_label(contents.leads[lead]) for lead in leads],
        [_when(valid[lead], contents.model.step).removesuffix(" UTC") for lead in leads],
        grid.latitude,
        grid.longitude,
        coast=not contents.simulated,
    )


def _frame_leads(leads: Array, known: Array) -> list[int]:
    """Return the indices of at most `_MOST_FRAMES` evenly spaced leads with a known truth.

    Leads of whole days are preferred.
    """
    places = np.flatnonzero(known)
    if leads.dtype.kind == "m":
        days = places[leads[places] % np.timedelta64(1, "D") == np.timedelta64(0)]
        places = days if len(days) >= _MOST_FRAMES // 3 else places
    stride = max(1, -(-len(places) // _MOST_FRAMES))
    return [int(place) for place in places[stride - 1 :: stride]]


def _fields(
    contents: RunContents, start: int, lead: int, channels: list[Channel]
) -> list[MapField]:
    """Read channels of one forecast, the truth and the climatology."""
    store, grid = contents.forecasts, contents.grid
    one = store.isel(time=start, prediction_timedelta=lead)
    when = store["valid_time"].values[start, lead]
    place = int(np.searchsorted(contents.truth.time, when))
    truth = grid.fill_mask(contents.truth.read(place, place + 1)).reshape(grid.shape)
    mean = contents.model.layout.scaling.climatology(np.array([when])).reshape(grid.shape)
    fields = []
    for channel in channels:
        index, values = grid.channels.index(channel), channel_map(one, channel)
        fields.append(MapField(channel, contents.units(channel), values, truth[index], mean[index]))
    return fields


def channel_map(forecast: xr.Dataset, channel: Channel) -> Array:
    """Return the map of a channel of one forecast at one lead; of an ensemble, its mean.

    Returns
    -------
    ndarray, shape (latitudes, longitudes)
    """
    field = forecast[channel.variable]
    if channel.level is not None:
        field = field.sel(level=channel.level)
    if NUMBER in field.dims:
        field = field.mean(NUMBER)
    return field.transpose("latitude", "longitude").values.astype(float)


def _when(stamp: np.datetime64, step: Duration) -> str:
    """Write a time to the minute, or the month alone of monthly data."""
    if step.monthly:
        return format_time(stamp, step)
    return f"{pd.Timestamp(stamp):%Y-%m-%d %H:%M} UTC"
