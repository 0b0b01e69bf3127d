"""Climatology of the truth, for forecasts that come without a model."""

from __future__ import annotations

import numpy as np
import pandas as pd

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
from gfrnn.pipeline.states.harmonics import AnnualCycle
from gfrnn.pipeline.training.stretches import read_stretches

DIURNAL = 2
"""Harmonics of the day in the climatology of data with several times a day."""

_YEAR = 365.0  # days


def climatology_periods(
    fields: Fields, first: np.datetime64, last: np.datetime64, chosen: Period | None
) -> list[Period]:
    """Return the periods of the truth whose times make the climatology.

    By default, these are the times before the first and after the last of the verified ones, if
    they are at least a year; without them, there is none.

    Parameters
    ----------
    fields : Fields
    first, last : datetime64
        First initial time, and last time that a forecast is verified for.
    chosen : Period or None

    Raises
    ------
    ConfigError
        If the chosen period is shorter than a year of the truth.
    """
    time = fields.time
    if chosen is not None:
        if _days(fields, int(chosen.mask(time).sum())) < _YEAR:
            raise ConfigError(
                f"--climatology: {chosen} has {chosen.mask(time).sum()} times of the truth, less "
                f"than a year; the truth goes from {time[0].astype('M8[D]')} to "
                f"{time[-1].astype('M8[D]')}; choose a longer period within it"
            )
        return [chosen]
    outside = (time < first) | (time > last)
    if _days(fields, int(outside.sum())) < _YEAR:
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


def terms(fields: Fields) -> tuple[AnnualCycle, int]:
    """Return the annual cycle, and the number of harmonics of the day, of a climatology."""
    annual, diurnal = ClimatologyConfig().cycles(step_of(fields.time))
    return annual, DIURNAL if diurnal else 0


def truth_climatology(
    fields: Fields, periods: list[Period], checkpoints: Checkpoints, progress: Progress | None
) -> Climatology:
    """Compute the climatology of some periods by a tree reduction.

    Raises
    ------
    DataError
        If a value is missing, or a channel does not vary.
    ResourceError
        If a task does not fit into a worker.
    """
    summary = ClimatologySummary(
        fields, *terms(fields), remedy="the number of channels (--channel)"
    )
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
    key = content_key(fingerprint(fields.ds), *terms(fields))
    found = reduce_stretches(
        summary, stretches, key=key, checkpoints=checkpoints, progress=progress
    )
    return summary.finish(found[summary.name])
