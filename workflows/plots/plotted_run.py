"""The forecasts of a run, the truth and the climatology, of which figures are made."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.config.durations import Duration
from gfrnn.pipeline.config.section import Period, checked
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.data.grid import Channel, Grid
from gfrnn.pipeline.data.transforms import TRANSFORM, ChannelTransforms
from gfrnn.pipeline.data.variables.names import split_name, suggest_names
from gfrnn.pipeline.errors import ConfigError, DataError
from gfrnn.pipeline.forecasting.forecast_store import NUMBER
from gfrnn.pipeline.forecasting.store_sums import naming_damage
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.workflows.report.display_units import DisplayUnit, channel_unit
from gfrnn.workflows.report.labels import time_label
from gfrnn.workflows.report.run_contents import headline_rank

_LOGGER = logging.getLogger(__name__)

Array = NDArray[Any]

LATEST = "latest"
"""Word for the last initial time."""

_LISTED = 6
_USUAL_LEAD = 3  # days or months


@dataclass(frozen=True)
class PlottedRun:
    """A run and its parts, each opened once, when a figure needs it.

    Attributes
    ----------
    run : Run
        A run with finished forecasts.
    """

    run: Run

    @cached_property
    def forecasts(self) -> xr.Dataset:
        """The stored forecasts, lazily.

        Raises
        ------
        RunError
            If there are none, they are unfinished or damaged, or the run keeps no fields.
        """
        return self.run.stored_forecasts()

    @cached_property
    def model(self) -> ForecastModel:
        """The trained model."""
        return self.run.load_model()

    @cached_property
    def truth(self) -> Fields | str:
        """Fields of the data in physical units, or the reason why they cannot be opened."""
        try:
            return self.model.fields(self.run.ds).in_physical_units()
        except DataError as error:
            return str(error)

    @property
    def step(self) -> Duration:
        """Time step of the data."""
        return self.model.step

    @property
    def grid(self) -> Grid:
        """Grid of the model."""
        return self.model.layout.scaling.grid

    @cached_property
    def earth(self) -> bool:
        """Whether the data are of the earth, and not simulated by this project."""
        if isinstance(self.truth, str):
            return True
        origins = self.truth.ds.attrs.get("origins", [])
        return not any(str(each.get("source", "")).startswith("gfrnn_core") for each in origins)

    @property
    def initial(self) -> Array:
        """Initial times: datetime64, shape (times,)."""
        return np.asarray(self.forecasts["time"].values)

    @property
    def leads(self) -> Array:
        """Leads: timedelta64, or numbers of months; shape (leads,)."""
        return np.asarray(self.forecasts["prediction_timedelta"].values)

    @property
    def valid(self) -> Array:
        """Times that the forecasts are for: datetime64, shape (times, leads)."""
        return np.asarray(self.forecasts["valid_time"].values)

    def unit(self, channel: Channel) -> DisplayUnit:
        """Return the unit in which a channel is shown."""
        return channel_unit(channel, self.forecasts)

    # What the user asks for

    def start_of(self, text: str | None, lead: int) -> int:
        """Return the index of an initial time.

        Parameters
        ----------
        text : str or None
            Time such as ``2021-04-01T12``, a day or month with one initial time, or ``latest``.
            By default it is the last one whose truth at the lead is known, or the last.
        lead : int
            Index of the lead.

        Raises
        ------
        ConfigError
            If there is no such initial time, or there are several.
        """
        if text is None:
            known = np.flatnonzero(self._known(self.valid[:, lead]))
            return int(known[-1]) if len(known) else len(self.initial) - 1
        if text == LATEST:
            return len(self.initial) - 1
        wanted = checked(Period, (text, text), "--time")
        inside = np.flatnonzero(wanted.mask(self.initial))
        if self.step.monthly:
            months = self.initial.astype("datetime64[M]")
            ends = [np.datetime64(end, "M") for end in (wanted.start, wanted.end)]
            inside = np.flatnonzero((months >= ends[0]) & (months <= ends[1]))
        if len(inside) == 1:
            return int(inside[0])
        if len(inside):
            times = ", ".join(time_label(self.initial[place], self.step) for place in inside)
            raise ConfigError(f"--time: {text} has {len(inside)} initial times, {times}; give one")
        distance = np.abs(self.initial - np.datetime64(wanted.start, "ns"))
        near = sorted(np.argsort(distance, kind="stable")[:2].tolist())
        nearest = " and ".join(time_label(self.initial[place], self.step) for place in near)
        first, last = (time_label(self.initial[place], self.step) for place in (0, -1))
        raise ConfigError(
            f"--time: {text} is no initial time of {self.run.folder}, whose {len(self.initial)} go "
            f"from {first} to {last}; the nearest: {nearest}"
        )

    def lead_of(self, text: str | None, leads: Array | None = None) -> int:
        """Return the index of a lead such as ``3d`` or ``6mo``, by default a usual one.

        Parameters
        ----------
        text : str or None
        leads : ndarray, optional
            Leads to choose from; by default those of the forecasts.

        Raises
        ------
        ConfigError
            If it is no duration, or no lead of the forecasts.
        """
        own = self.leads if leads is None else leads
        monthly = own.dtype.kind == "i"
        if text is None:
            usual = _USUAL_LEAD if monthly else np.timedelta64(_USUAL_LEAD, "D")
            return int(np.abs(own - usual).argmin())
        try:
            wanted = Duration.parse(text)
        except ValueError as error:
            raise ConfigError(f"--lead: {error}") from None
        shown, near = [str(_duration(lead)) for lead in own], "allowed"
        if wanted.monthly == monthly:
            length = int(wanted.length.astype(int)) if monthly else wanted.length
            distance = np.abs(own - length)
            if not distance.min().astype(int):
                return int(distance.argmin())
            places, near = sorted(np.argsort(distance, kind="stable")[:2]), "the nearest"
            shown = [shown[place] for place in places]
        raise ConfigError(
            f"--lead: {text} is no lead of {self.run.folder}, whose {len(own)} go from "
            f"{_duration(own[0])} to {_duration(own[-1])}; {near}: "
            f"{', '.join(shown[:_LISTED])}"
        )

    def channels_of(self, names: list[str], most: int) -> list[Channel]:
        """Return channels by their names, by default those that forecasters look at first.

        Parameters
        ----------
        names : list of str
            Names such as ``geopotential_500``, ``z500`` or, for all levels, ``geopotential``.
        most : int
            Number of channels by default.

        Raises
        ------
        ConfigError
            If the forecasts have no such channel.
        """
        all_channels = self.grid.channels
        if not names:
            ranked = sorted(all_channels, key=lambda channel: headline_rank(channel.name))
            return ranked[:most]
        found: list[Channel] = []
        for name in names:
            variable, level = split_name(name)
            own = [
                channel
                for channel in all_channels
                if name in (channel.name, channel.variable)
                or (channel.variable == variable and level in (None, channel.level))
            ]
            if not own:
                advice = suggest_names(name, (channel.name for channel in all_channels))
                raise ConfigError(f"--variable: {name} is not in {self.run.folder}; {advice}")
            found += own
        return list(dict.fromkeys(found))

    # Fields

    def member_fields(self, channel: Channel, start: int, leads: slice | int) -> xr.DataArray:
        """Read a channel of one initial time in its shown unit.

        Returns
        -------
        xarray.DataArray
            Dimensions ``number`` (of length 1 for single forecasts), ``prediction_timedelta`` where
            leads are a slice, ``latitude``, ``longitude``.

        Raises
        ------
        RunError
            If the chunk is damaged.
        """
        lazy = self.forecasts[channel.variable].isel(time=start, prediction_timedelta=leads)
        if channel.level is not None:
            lazy = lazy.sel(level=channel.level)
        if NUMBER not in lazy.dims:
            lazy = lazy.expand_dims(NUMBER)
        with naming_damage(self.run.forecast_store):
            values = lazy.transpose(NUMBER, ...).astype(float).load()
        return self.unit(channel).factor * values

    def truth_at(self, times: Array) -> Array:
        """Read all channels of the truth: shape (times, channels, latitudes, longitudes).

        It is in SI units, and NaN at times that are not known and in the mask.
        """
        fields = np.full((len(times), *self.grid.shape), np.nan)
        if isinstance(self.truth, str):
            return fields
        for place in np.flatnonzero(self._known(times)):
            row = int(np.searchsorted(self.truth.time, times[place]))
            values = self.grid.fill_mask(self.truth.read(row, row + 1))
            fields[place] = values.reshape(self.grid.shape)
        return fields

    def climatology_at(self, times: Array) -> Array:
        """Return the climatology of all channels, as :meth:`truth_at`; it has no mask."""
        mean = self.model.layout.scaling.climatology(times).reshape(len(times), *self.grid.shape)
        return self._transforms.inverse(mean, 1)

    @property
    def _transforms(self) -> ChannelTransforms:
        """Transforms of the channels; they do not depend on data that may be gone."""
        named = self.run.experiment.data.transform
        marked = xr.Dataset(
            {
                name: self.forecasts[name].assign_attrs({TRANSFORM: named.get(name)})
                for name in {channel.variable for channel in self.grid.channels}
            }
        )
        return ChannelTransforms.of(marked, [channel.variable for channel in self.grid.channels])

    def warn_without_truth(self, times: Array) -> None:
        """Log, as a warning, why the truth is not drawn, if it is known at none of the times."""
        if isinstance(self.truth, str):
            _LOGGER.warning("the truth is not drawn, as the data cannot be used: %s", self.truth)
        elif not self._known(times).any():
            first, last = (time_label(self.truth.time[place], self.step) for place in (0, -1))
            _LOGGER.warning(
                "the truth is not drawn, as the data, from %s to %s, do not have the valid time %s",
                first,
                last,
                " to ".join(dict.fromkeys(time_label(times[at], self.step) for at in (0, -1))),
            )

    def _known(self, times: Array) -> Array:
        if isinstance(self.truth, str):
            return np.zeros(times.shape, dtype=bool)
        return np.isin(times, self.truth.time)


def _duration(lead: Any) -> Duration:
    """Return a lead of a store as a duration."""
    if isinstance(lead, np.timedelta64):
        return Duration(lead.astype("timedelta64[ns]"))
    return Duration(np.timedelta64(int(lead), "M"))


def file_stamp(stamp: np.datetime64, step: Duration) -> str:
    """Return a time as part of a file's name: ``20210401T12``, or ``202104`` of monthly data."""
    whole = pd.Timestamp(stamp)
    if step.monthly:
        return whole.strftime("%Y%m")
    return whole.strftime("%Y%m%dT%H" if whole == whole.floor("h") else "%Y%m%dT%H%M")
