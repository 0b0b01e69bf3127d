"""What is wrong with the data, said before any training."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import xarray as xr

from gfrnn.pipeline.config.section import format_duration
from gfrnn.pipeline.data.inspection.describe import describe, starting_experiment
from gfrnn.pipeline.data.inspection.value_checks import Finding, check_values
from gfrnn.pipeline.data.missing_chunks import missing_chunks
from gfrnn.pipeline.data.time_axis import segments, step_of

__all__ = ["Finding", "audit", "describe", "segments", "starting_experiment", "step_of"]

_SHORT = 100  # times; fewer do not fill the windows of any model here
_SHOWN = 3
_ORDER = ("error", "warning", "note")


def audit(ds: xr.Dataset, sample: int = 64) -> list[Finding]:
    """Everything found in a canonical Dataset, errors first.

    Parameters
    ----------
    ds
        As ``open_source`` gives it.
    sample
        Number of times, evenly spaced, whose values are looked at; fewer where fields are large.
        With 0 only what needs no values is checked.
    """
    found = [*_check_times(ds), *_check_store(ds)]
    if sample:
        found += check_values(ds, sample)
    return sorted(found, key=lambda finding: _ORDER.index(finding.severity))


def _check_times(ds: xr.Dataset) -> Iterator[Finding]:
    """Gaps, irregular steps, short records and odd stamps."""
    time = ds["time"].values
    if time.size < 2:
        yield Finding("error", None, f"{time.size} time; a model needs a record of many")
        return
    step, runs = step_of(time), segments(time)
    steps = np.diff(time)
    name = format_duration(pd.Timedelta(step))
    days = steps / np.timedelta64(1, "D")
    if days.min() >= 28 and days.max() <= 31 and days.min() < days.max():
        yield Finding(
            "error",
            None,
            "monthly data: steps of 28 to 31 days are no regular step; use daily or finer",
        )
    else:
        longer, shorter = np.nonzero(steps > step)[0], np.nonzero(steps < step)[0]
        lengths = [run.stop - run.start for run in runs]
        if longer.size:
            shown = "; ".join(
                f"{_minute(time[i])} to {_minute(time[i + 1])}" for i in longer[:_SHOWN]
            )
            more = f" and {longer.size - _SHOWN} more" if longer.size > _SHOWN else ""
            yield Finding(
                "warning",
                None,
                f"{longer.size} gaps in time (step {name}): {shown}{more}; {len(runs)} stretches "
                f"of {min(lengths)} to {max(lengths)} times are left, and no window crosses a gap",
            )
        if shorter.size:
            yield Finding(
                "warning",
                None,
                f"irregular times: {shorter.size} steps are shorter than the usual {name}, first "
                f"after {_minute(time[shorter[0]])}; set data.step to keep regular ones",
            )
        if max(lengths) < 3:
            yield Finding("error", None, f"no three times in a row follow each other by {name}")
    if time.size < _SHORT:
        yield Finding("warning", None, f"short record: {time.size} times; most windows do not fit")
    elif time[-1] - time[0] < np.timedelta64(364, "D"):
        yield Finding(
            "note", None, "less than a year: the annual cycle cannot be told from the weather"
        )
    minutes = np.unique(time.astype("datetime64[m]").astype(int) % 60)
    if step >= np.timedelta64(1, "h") and minutes.any():
        yield Finding(
            "note", None, f"stamps at minute {minutes[-1]}: often means over the hour, not states"
        )


def _check_store(ds: xr.Dataset) -> Iterator[Finding]:
    """The grid, what opening noted, and chunks that are not there."""
    if ds.sizes["latitude"] * ds.sizes["longitude"] == 1:
        yield Finding("note", None, "one point: there is no space in these data")
    for note in ds.attrs.get("notes", []):
        dropped = "given twice" in note or "common to all" in note
        yield Finding("warning" if dropped else "note", None, note)
    for line in missing_chunks(ds):
        variable, _, message = line.partition(": ")
        yield Finding("error", variable, message)


def _minute(stamp: np.datetime64) -> str:
    return str(np.datetime_as_string(stamp, "m"))
