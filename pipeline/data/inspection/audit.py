"""Audit of data before training: time axis, stores and values."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import xarray as xr

from gfrnn.pipeline.config.durations import Duration
from gfrnn.pipeline.data.inspection.value_checks import DataFinding, check_values, doubtful_values
from gfrnn.pipeline.data.missing_chunks import missing_chunks
from gfrnn.pipeline.data.time_axis import format_time, segments, step_of
from gfrnn.pipeline.errors import DataError

_SHORT = 100  # times; a shorter record is too short for most models
_SHOWN = 3
_ORDER = ("error", "warning", "note")


def audit(ds: xr.Dataset, sample: int = 64) -> list[DataFinding]:
    """Audit a canonical Dataset; return the findings, errors first.

    Parameters
    ----------
    ds
        Opened with ``open_source``.
    sample
        Number of evenly spaced times of which values are read; fewer for large fields. With 0 no
        values are checked.
    """
    found = [*_check_times(ds), *_check_store(ds)]
    if sample:
        found += check_values(ds, sample)
    return sorted(found, key=lambda finding: _ORDER.index(finding.severity))


def check_sample(
    ds: xr.Dataset, used: np.ndarray, allow: Collection[str] = (), sample: int = 64
) -> None:
    """Refuse data with values that cannot be right, in a sample of the times in use.

    Parameters
    ----------
    ds : Dataset
        Opened with ``open_source``.
    used : ndarray of bool, shape (times,)
        Times of the periods.
    allow : collection of {"scrambled", "extremes", "range"}
        Doubts that are accepted, ``data.allow``.
    sample : int
        Number of evenly spaced times of which values are read; fewer for large fields.

    Raises
    ------
    DataError
        With a line for each channel: what was found, where, and the key that accepts it.
    """
    found = [each for each in doubtful_values(ds, sample, used) if each.doubt not in allow]
    found = [each for each in found if each.doubt is not None]
    if found:
        lines = [f"{each.variable}: {each.message}" for each in found[:_SHOWN]]
        if len(found) > _SHOWN:
            lines.append(f"and {len(found) - _SHOWN} more; `gfrnn inspect` lists all")
        doubts = ", ".join(dict.fromkeys(str(each.doubt) for each in found))
        lines.append(f"to use these values nevertheless, set data.allow: [{doubts}]")
        raise DataError("\n".join(lines))


def _check_times(ds: xr.Dataset) -> Iterator[DataFinding]:
    """Find gaps, irregular steps, short records and unusual times."""
    time = ds["time"].values
    if time.size < 2:
        yield DataFinding("error", None, f"only {time.size} times; training needs many more")
        return
    step, runs = step_of(time), segments(time)
    steps = step.differences(time)
    longer, shorter = np.nonzero(steps > step.length)[0], np.nonzero(steps < step.length)[0]
    lengths = [run.stop - run.start for run in runs]
    if longer.size:
        shown = "; ".join(
            f"{format_time(time[i], step)} to {format_time(time[i + 1], step)}"
            for i in longer[:_SHOWN]
        )
        least, most = min(lengths), max(lengths)
        times = str(least) if least == most else f"{least} to {most}"
        more = f" and {longer.size - _SHOWN} more" if longer.size > _SHOWN else ""
        yield DataFinding(
            "warning",
            None,
            f"{longer.size} gaps in time (step {step}): {shown}{more}; training uses the "
            f"{len(runs)} segments of {times} times between them",
        )
    if shorter.size:
        yield DataFinding(
            "warning",
            None,
            f"irregular times: {shorter.size} steps are shorter than the usual {step}, first "
            f"after {format_time(time[shorter[0]], step)}; set data.step to select regular ones",
        )
    if max(lengths) < 3:
        yield DataFinding(
            "error",
            None,
            f"no three successive times have the step {step}; training needs them",
        )
    if time.size < _SHORT:
        yield DataFinding(
            "warning", None, f"short record: {time.size} times, while most models need more"
        )
    elif time[-1] - time[0] < np.timedelta64(364, "D"):
        yield DataFinding(
            "note", None, "less than a year: the annual cycle cannot be separated from the weather"
        )
    minutes = np.unique(time.astype("datetime64[m]").astype(int) % 60)
    if step >= Duration.parse("1h") and minutes.any():
        yield DataFinding(
            "note",
            None,
            f"times are at minute {minutes[-1]} of the hour, so values may be hourly means",
        )


def _check_store(ds: xr.Dataset) -> Iterator[DataFinding]:
    """Find a grid of one point, missing chunks, and the notes of opening the files."""
    if ds.sizes["latitude"] * ds.sizes["longitude"] == 1:
        yield DataFinding("note", None, "one grid point: the data have no horizontal dimensions")
    for note in ds.attrs.get("notes", []):
        yield DataFinding("warning" if note in ds.attrs.get("losses", []) else "note", None, note)
    for line in missing_chunks(ds):
        variable, _, message = line.partition(": ")
        yield DataFinding("error", variable, message)
