"""Times at which a variable has no value at all: found in one pass, kept, and left out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.data.time_axis import format_minute
from gfrnn.pipeline.errors import DataError
from gfrnn.pipeline.reduction.progress import Progress
from gfrnn.pipeline.reduction.run_tasks import run_tasks
from gfrnn.pipeline.storage import write_text
from gfrnn.pipeline.training.stretches import leaf_length

Array = NDArray[Any]

Missing = dict[str, list[str]]
"""Channels that have no value, by time in ISO 8601."""


def find_missing_times(
    ds: xr.Dataset, used: Array, chunk: int | None, progress: Progress | None
) -> Missing:
    """Read the times in use and return those at which a channel has no value at any place.

    Parameters
    ----------
    ds : Dataset
        Opened with ``open_source``.
    used : ndarray of bool, shape (times,)
    chunk : int or None
        Times that a task reads, ``data.chunk``.

    Raises
    ------
    DataError
        If a channel has no value at any of the times: nothing would be left.
    """
    fields = Fields(ds)
    index = np.flatnonzero(used)
    length = leaf_length(fields.grid.size, chunk, int(ds.attrs["time_chunk"]))
    edges = np.flatnonzero(np.diff(index, prepend=index[0]) > 1)
    parts = [
        (int(run[at]), int(run[min(at + length, len(run)) - 1]) + 1)
        for run in np.split(index, edges)
        for at in range(0, len(run), length)
    ]
    found = run_tasks("missing times", partial(_absent, fields), parts, progress)
    absent = np.concatenate(found)
    names = [channel.name for channel in fields.grid.channels]
    if (never := np.flatnonzero(absent.all(axis=0))).size:
        raise DataError(
            f"{names[never[0]]}: has no value (NaN) at any time of the periods; leave it out "
            "(data.variables) of a fit, or choose periods or an initial time with values"
        )
    stamps = fields.time[index]
    return {
        _text(stamps[row]): [name for name, gone in zip(names, absent[row], strict=True) if gone]
        for row in np.flatnonzero(absent.any(axis=1))
    }


def _absent(fields: Fields, start: int, stop: int) -> Array:
    return fields.absent(start, stop)


def _text(stamp: np.datetime64) -> str:
    return str(np.datetime_as_string(stamp, "s"))


def write_missing_times(path: Path, missing: Mapping[str, list[str]]) -> None:
    """Write ``missing_times.json``."""
    write_text(path, json.dumps(missing, indent=1) + "\n")


def read_missing_times(path: Path) -> Missing:
    """Read ``missing_times.json``; it is empty where there is no such file.

    Raises
    ------
    DataError
        If the file is damaged.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {str(np.datetime64(stamp)): list(map(str, names)) for stamp, names in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: cannot be read ({error}); remove it, and the missing times are found again"
        ) from None


def still_missing(ds: xr.Dataset, missing: Mapping[str, list[str]]) -> bool:
    """Check the first and the last missing time: repaired data have values there."""
    fields = Fields(ds)
    names = [channel.name for channel in fields.grid.channels]
    for stamp in (min(missing), max(missing)):
        place = np.flatnonzero(fields.time == np.datetime64(stamp))
        if place.size:
            absent = fields.absent(int(place[0]), int(place[0]) + 1)[0]
            gone = {name for name, each in zip(names, absent, strict=True) if each}
            if gone != set(missing[stamp]):
                return False
    return True


def describe_missing_times(missing: Mapping[str, list[str]]) -> str:
    """Describe missing times in one line."""
    channels = list(dict.fromkeys(name for names in missing.values() for name in names))
    first, last = (format_minute(np.datetime64(stamp)) for stamp in (min(missing), max(missing)))
    shown = ", ".join(channels[:3]) + (f" and {len(channels) - 3} more" if channels[3:] else "")
    between = first if first == last else f"between {first} and {last}"
    many = len(missing) > 1
    verb = "count as gaps" if many else "counts as a gap"
    return f"{len(missing)} time{'s' if many else ''} {between} without any value of {shown} {verb}"
