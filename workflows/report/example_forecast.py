"""The forecast that a report shows: maps at one lead, an animation, and places over the leads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.data.grid import Channel
from gfrnn.pipeline.errors import ConfigError
from gfrnn.pipeline.forecasting.forecast_store import NUMBER
from gfrnn.workflows.report.animation import Animation, animate
from gfrnn.workflows.report.figures import Picture
from gfrnn.workflows.report.labels import channel_label, lead_label, time_label
from gfrnn.workflows.report.maps import MapField, map_pictures
from gfrnn.workflows.report.place_card import (
    PlaceCard,
    PlaceCell,
    PlaceValues,
    cells_of,
    place_card,
)
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
    cards : list of PlaceCard
        Probabilities at places; empty for single forecasts.
    """

    initial: str
    valid: str
    lead: str
    maps: list[Picture]
    channel: str
    animation: Animation | None
    cards: list[PlaceCard]


def example_forecast(
    contents: RunContents, places: Mapping[str, tuple[float, float]]
) -> ExampleForecast | None:
    """Draw the forecast from the middle one of the initial times whose truth is known.

    Parameters
    ----------
    contents : RunContents
    places : mapping of str to (float, float)
        Names, and latitude and longitude in degrees, of places for ensembles; none for the middle
        of the grid.

    Returns
    -------
    ExampleForecast or None
        None if no fields are kept, no truth is known, or the grid is a single line.

    Raises
    ------
    ConfigError
        If there are places, but single forecasts or no fields, or a place is outside of the grid or
        masked.
    """
    kept = contents.run.experiment.forecast.store
    ensemble = kept and NUMBER in contents.forecasts.dims
    if places and not ensemble:
        found = "these are single forecasts" if kept else "this run keeps no fields"
        raise ConfigError(
            f"--place: allowed for stored ensembles only, but {found}; leave it out, or set "
            "forecast.members and forecast.store"
        )
    if not kept:
        return None
    cells = cells_of(places, contents.grid) if ensemble else []
    lead = contents.nearest(_MAP_LEAD)
    valid = contents.forecasts["valid_time"].values
    known = np.isin(valid, contents.truth.time)
    starts = np.flatnonzero(known[:, lead])
    if not len(starts) or min(contents.grid.shape[1:]) < 2:
        return None
    start, step = int(starts[len(starts) // 2]), contents.model.step
    grid, when, channels = contents.grid, valid[start, lead], contents.channels[:_MOST_MAPS]
    pictures = map_pictures(
        _fields(contents, start, lead, channels),
        grid.latitude,
        grid.longitude,
        when,
        coast=not contents.simulated,
    )
    shown = _frame_leads(contents.leads, known[start])
    frames, points = [], np.empty((len(cells), len(channels), 2, len(shown)))
    for place, each in enumerate(shown):
        fields = _fields(contents, start, each, channels if cells else channels[:1])
        frames.append(fields[0])
        for number, cell in enumerate(cells):
            at = cell.row, cell.column
            points[number, ..., place] = [(own.truth[at], own.climatology[at]) for own in fields]
    return ExampleForecast(
        time_label(contents.forecasts["time"].values[start], step),
        time_label(when, step),
        lead_label(contents.leads[lead]),
        pictures,
        channel_label(contents.channels[0]),
        _animation(contents, start, shown, frames),
        _cards(contents, start, shown, cells, points),
    )


def _animation(
    contents: RunContents, start: int, leads: list[int], fields: list[MapField]
) -> Animation | None:
    """Animate a channel at these leads."""
    if len(leads) < 2:
        return None
    grid, valid = contents.grid, contents.forecasts["valid_time"].values[start]
    return animate(
        fields,
        [lead_label(contents.leads[lead]) for lead in leads],
        [time_label(valid[lead], contents.model.step).removesuffix(" UTC") for lead in leads],
        grid.latitude,
        grid.longitude,
        coast=not contents.simulated,
    )


def _cards(
    contents: RunContents, start: int, leads: list[int], cells: list[PlaceCell], points: Array
) -> list[PlaceCard]:
    """Draw the probabilities at places.

    Parameters
    ----------
    contents : RunContents
    start : int
        Index of the initial time.
    leads : list of int
        Indices of the leads.
    cells : list of PlaceCell
    points : ndarray, shape (cells, channels, 2, leads)
        Truth and climatology of the first channels.
    """
    one = contents.forecasts.isel(time=start, prediction_timedelta=leads)
    channels, events = contents.channels[: points.shape[1]], _thresholds(contents.scores)
    cards = []
    for cell, own in zip(cells, points, strict=True):
        at = {"latitude": cell.row, "longitude": cell.column}
        values = []
        for channel, (truth, climatology) in zip(channels, own, strict=True):
            if not np.isfinite(truth).any():  # the channel is masked there
                continue
            lazy = of_channel(one, channel).isel(at).transpose(NUMBER, "prediction_timedelta")
            units, factor = contents.display_unit(channel)
            with contents.reading_forecasts():
                members = factor * lazy.values.astype(float)
            values.append(
                PlaceValues(
                    channel,
                    units,
                    contents.leads[leads],
                    members,
                    truth,
                    climatology,
                )
            )
        cards.append(place_card(cell, contents.grid, values, events))
    return cards


def _thresholds(scores: xr.Dataset) -> dict[str, list[float]]:
    """Return the thresholds of the events of each channel by its name."""
    found: dict[str, list[float]] = {}
    if "event" in scores.dims:
        owners = map(str, scores["event_channel"].values)
        for channel, limit in zip(owners, scores["threshold"].values.tolist(), strict=True):
            if np.isfinite(limit):  # quantiles differ from cell to cell
                found.setdefault(channel, []).append(limit)
    return found


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
    contents.truth.transforms.inverse(mean, 0)
    fields = []
    for channel in channels:
        with contents.reading_forecasts():
            values = channel_map(one, channel)
        index = grid.channels.index(channel)
        units, factor = contents.display_unit(channel)
        three = (factor * field for field in (values, truth[index], mean[index]))
        fields.append(MapField(channel, units, *three))
    return fields


def channel_map(forecast: xr.Dataset, channel: Channel) -> Array:
    """Return the map of a channel of one forecast at one lead; of an ensemble, its mean.

    Returns
    -------
    ndarray, shape (latitudes, longitudes)
    """
    field = of_channel(forecast, channel)
    if NUMBER in field.dims:
        field = field.mean(NUMBER, skipna=False)
    return field.transpose("latitude", "longitude").values.astype(float)


def of_channel(forecast: xr.Dataset, channel: Channel) -> xr.DataArray:
    """Return the variable of a channel at its level."""
    field = forecast[channel.variable]
    return field if channel.level is None else field.sel(level=channel.level)
