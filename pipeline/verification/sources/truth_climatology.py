"""Climatology of the truth, for forecasts that come without a model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gfrnn.pipeline.config.data_config import ClimatologyConfig
from gfrnn.pipeline.config.section import Period
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.data.fingerprint import fingerprint
from gfrnn.pipeline.data.time_axis import step_of
from gfrnn.pipeline.errors import ConfigError
from gfrnn.pipeline.reduction.checkpoints import Checkpoints, content_key
from gfrnn.pipeline.reduction.progress import Progress
from gfrnn.pipeline.reduction.reduce import reduce_stretches
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.states.climatology import Climatology, ClimatologySummary
from gfrnn.pipeline.states.harmonics import AnnualCycle, calendar_months, supported_harmonics
from gfrnn.pipeline.training.stretches import known_times, read_stretches

Array = NDArray[Any]

MOST_HARMONICS = 2
"""Harmonics of the year in the climatology, of data that are not monthly."""

DIURNAL = 2
"""Harmonics of the day in the climatology of data with several times a day."""

_YEAR = 365.0  # days


def climatology_periods(
    fields: Fields, first: np.datetime64, valid: Array, chosen: Period | None
) -> list[Period]:
    """Return the periods of the truth whose times make the climatology.

    By default, these are the times before the first and after the last of the verified ones, if
    they are at least a year and have all calendar months of the verified ones; else there is none.

    Parameters
    ----------
    fields : Fields
    first : datetime64
        First initial time.
    valid : ndarray of datetime64, shape (times,)
        Times that forecasts are verified for.
    chosen : Period or None

    Raises
    ------
    ConfigError
        If the chosen period is shorter than a year of the truth, or lacks a calendar month.
    """
    time = fields.time
    if chosen is not None:
        if _days(fields, int(chosen.mask(time).sum())) < _YEAR:
            raise ConfigError(
                f"--climatology: {chosen} has {chosen.mask(time).sum()} times of the truth, less "
                f"than a year; the truth goes from {time[0].astype('M8[D]')} to "
                f"{time[-1].astype('M8[D]')}; choose a longer period within it"
            )
        if months := _lacking(time[chosen.mask(time)], valid):
            raise ConfigError(
                f"--climatology: the truth has no times of {chosen} in the calendar months "
                f"{', '.join(map(str, months))}, for which there are forecasts; choose a period in "
                "which it has"
            )
        return [chosen]
    last = valid.max()
    outside = (time < first) | (time > last)
    if _days(fields, int(outside.sum())) < _YEAR or _lacking(time[outside], valid):
        return []
    return [
        Period.model_validate({"start": pd.Timestamp(part[0]), "end": pd.Timestamp(part[-1])})
        for part in (time[time < first], time[time > last])
        if len(part)
    ]


def _days(fields: Fields, count: int) -> float:
    """Return how many days a number of times of the truth takes; a year of months is 365."""
    step = step_of(fields.time)
    return count * (365 / 12 if step.monthly else float(step.length / np.timedelta64(1, "D")))


def _lacking(time: Array, valid: Array) -> list[int]:
    """Return the calendar months, 1 to 12, of verified times that other times lack."""
    return list(np.setdiff1d(calendar_months(valid), calendar_months(time)))


def terms(fields: Fields, periods: list[Period], valid: Array) -> tuple[AnnualCycle, int]:
    """Return the annual cycle, and the number of harmonics of the day, of a climatology.

    Parameters
    ----------
    fields : Fields
    periods : list of Period
        Periods of the truth that make the climatology.
    valid : ndarray of datetime64, shape (times,)
        Times that forecasts are verified for: harmonics of the year that the periods do not
        determine there are left out.
    """
    own = known_times(fields.time, *periods)
    supported = supported_harmonics(fields.time[own], valid) if periods else MOST_HARMONICS
    annual, diurnal = ClimatologyConfig().cycles(step_of(fields.time), supported)
    return annual, DIURNAL if diurnal else 0


def truth_climatology(
    fields: Fields,
    periods: list[Period],
    valid: Array,
    checkpoints: Checkpoints,
    progress: Progress | None,
) -> Climatology:
    """Compute the climatology of some periods by a tree reduction, with the terms of :func:`terms`.

    Raises
    ------
    DataError
        If a value is missing, or a channel does not vary.
    ResourceError
        If a task does not fit into a worker.
    """
    own = terms(fields, periods, valid)
    summary = ClimatologySummary(fields, *own, remedy="the number of channels (--channel)")
    stretches = [
        Stretch(summary.name, part.start, part.stop)
        for period in periods
        for part in read_stretches(
            fields.time,
            period,
            summary.name,
            columns=fields.grid.size,
            chunk=None,
            grain=fields.ds.attrs["time_chunk"],
            phase=fields.ds.attrs["time_chunk_start"],
        )
    ]
    key = content_key(fingerprint(fields.ds), *own)
    found = reduce_stretches(
        summary, stretches, key=key, checkpoints=checkpoints, progress=progress
    )
    return summary.finish(found[summary.name])
