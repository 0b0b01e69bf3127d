"""Find the initial time of one forecast: the newest complete state of the data, or a given time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.config.data_config import DataConfig
from gfrnn.pipeline.config.section import Period, checked
from gfrnn.pipeline.data.dataset import open_source
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.data.joined_times import NOT_COMMON
from gfrnn.pipeline.data.missing_chunks import missing_chunks
from gfrnn.pipeline.data.time_axis import format_minute, segments
from gfrnn.pipeline.errors import ConfigError, DataError
from gfrnn.pipeline.training.model import ForecastModel

Array = NDArray[Any]

LATEST = "latest"
"""Word for the newest complete state."""

# Times before the last that are tried one by one.
_NEAR = 16

# Times listed in an error.
_LISTED = 8


def newest_initial_time(
    data: DataConfig, ds: xr.Dataset, model: ForecastModel, delays: int
) -> tuple[np.datetime64, str]:
    """Return the newest time from which a forecast can start.

    Fields are read back from the end of the data, one time after the other, and then in steps that
    double while nothing is found, so that an archive with years of padding takes few reads.

    Parameters
    ----------
    data : DataConfig
        Section of the data.
    ds : xarray.Dataset
        The opened data, which have the model's grid and step.
    model : ForecastModel
    delays : int
        Successive states that a forecast starts from.

    Returns
    -------
    datetime64, str
        The time, and what newer times lack, empty if there are none.

    Raises
    ------
    DataError
        If no time has complete states.
    """
    fields = model.fields(ds)
    starts = _with_history(fields.time, delays, model)
    if not len(starts):
        raise DataError(
            f"--init {LATEST}: no time of the data has the {delays} successive states "
            "(state.delays) that a forecast starts from; give data without gaps"
        )
    problem = _problem(fields, starts[-1], delays)
    newest = len(starts) - 1
    if problem:
        found, lost, reach = -1, newest, 1  # complete, incomplete
        while found < 0:
            if lost == 0:
                raise DataError(f"--init {LATEST}: no time of the data is complete; {problem}")
            place = max(0, newest - reach)
            if _problem(fields, starts[place], delays):
                lost, reach = place, reach + 1 if reach < _NEAR else 2 * reach
            else:
                found = place
        while lost - found > 1:
            place = (lost + found) // 2
            if _problem(fields, starts[place], delays):
                lost = place
            else:
                found = place
        newest = found
    elif any(note.startswith(NOT_COMMON) for note in ds.attrs["notes"]):
        following = model.step.after(fields.time[-1], 1)
        late, there = _variables_without(data, ds, [following])
        problem = "; ".join(late) if there else ""
    return fields.time[starts[newest]], problem


def given_initial_time(
    data: DataConfig, ds: xr.Dataset, model: ForecastModel, delays: int, init: str
) -> np.datetime64:
    """Return the time of the data that the user gave, after its states were read once.

    Parameters
    ----------
    data, ds, model, delays
        As for :func:`newest_initial_time`.
    init : str
        Time such as ``2021-04-01T12``, or a day, month or year with one time.

    Raises
    ------
    ConfigError
        If it is no date, or a day, month or year with several times.
    DataError
        If a state that the forecast starts from is missing; the message names variable and time.
    """
    wanted = checked(Period, (init, init), "--init")
    fields = model.fields(ds)
    within = wanted.mask(fields.time)
    if model.step.monthly:
        months = fields.time.astype("datetime64[M]")
        ends = [np.datetime64(end, "M") for end in (wanted.start, wanted.end)]
        within = (months >= ends[0]) & (months <= ends[1])
    inside = np.flatnonzero(within)
    if len(inside) > 1:
        times = ", ".join(map(format_minute, fields.time[inside[:_LISTED]]))
        raise ConfigError(f"--init: {init} has {len(inside)} times, {times}; choose one of them")
    first = fields.time[inside[0]] if len(inside) else np.datetime64(wanted.start, "ns")
    needed = [model.step.after(first, -back) for back in reversed(range(delays))]
    if lost := [stamp for stamp in needed if stamp not in fields.time]:
        late, there = _variables_without(data, ds, lost)
        begin, end = (format_minute(fields.time[place]) for place in (0, -1))
        raise DataError(
            f"--init {init}: the data, which go from {begin} to {end}, lack the state at "
            f"{', '.join(map(format_minute, lost[:_LISTED]))}{_history(delays)}"
            f"{': ' + '; '.join(late) if there else ''}; wait for the data, or choose "
            f"--init {LATEST}"
        )
    place = int(np.flatnonzero(fields.time == first)[0])
    if problem := _problem(fields, place, delays):
        raise DataError(f"--init {init}: {problem}; wait for the data, or choose --init {LATEST}")
    return first


def _history(delays: int) -> str:
    return f" (a forecast starts from {delays} successive states, state.delays)" * (delays > 1)


def _with_history(time: Array, delays: int, model: ForecastModel) -> Array:
    """Return the indices of times whose earlier states precede them without a gap."""
    parts = [np.arange(part.start + delays - 1, part.stop) for part in segments(time, model.step)]
    return np.concatenate(parts) if parts else np.empty(0, dtype=int)


def _problem(fields: Fields, place: int, delays: int) -> str:
    """Read the states that a forecast starts from; return what is missing there, or ''."""
    window = slice(place - delays + 1, place + 1)
    used = np.zeros(len(fields.time), dtype=bool)
    used[window] = True
    if missing := missing_chunks(fields.ds, used):
        return missing[0]
    try:
        fields.read(window.start, window.stop)
    except DataError as error:
        return str(error).partition("; ")[0]  # without the advice, which is for training
    return ""


def _variables_without(
    data: DataConfig, ds: xr.Dataset, stamps: Iterable[np.datetime64]
) -> tuple[list[str], bool]:
    """Return what is said of each variable that lacks a time, and whether another one has all."""
    late, complete = [], False
    for name, array in ds.data_vars.items():
        levels = list(map(float, array.attrs["levels"])) or None
        try:
            alone = open_source(data.model_copy(update={"variables": {name: levels}}))
        except DataError:  # its grid is that of another variable (interpolate)
            continue
        time = alone["time"].values
        lost = [stamp for stamp in stamps if stamp not in time]
        if lost:
            end = "ends at" if lost[0] > time[-1] else "has no such time, but goes to"
            late.append(f"{name} {end} {format_minute(time[-1])}")
        complete |= not lost
    return late, complete


def day_and_hour(stamp: np.datetime64) -> str:
    """Return a time as part of a folder's name, such as ``20210401T12``."""
    whole = pd.Timestamp(stamp)
    return whole.strftime("%Y%m%dT%H" if whole == whole.floor("h") else "%Y%m%dT%H%M")
