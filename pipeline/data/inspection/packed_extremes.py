"""Find fill values of packed integers that the file does not declare."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.data.canonical_array import LevelGroup, canonical_array
from gfrnn.pipeline.data.file_reading import FileTimeRange
from gfrnn.pipeline.data.grid import Channel

Array = NDArray[Any]

_APART = 0.1  # of the range of all other values: no weather leaves such a gap at its extreme
_JUMP = 0.2  # the same, to the next places on the map
_STEEP = 5.0  # in usual differences of next places


def undeclared_fill(ds: xr.Dataset, channel: Channel, fields: Array, where: Array) -> Array:
    """Find values at the ends of the range of packed integers that are no values of the field.

    Programs write missing values as the smallest or largest integer, and readers know it by
    ``_FillValue``; without that it reads as an extreme value. Real extremes may lie there too, as
    packing often uses the whole range, but they are not apart from the other values: the value is
    doubtful if it is repeated and far from all other values, or far from those next to it.

    Parameters
    ----------
    ds : Dataset
        The canonical Dataset as opened.
    fields : ndarray, shape (times, latitudes, longitudes)
        Values of the channel.
    where : ndarray of int, shape (times,)
        Their positions among the times of ``ds``.

    Returns
    -------
    ndarray of bool
        Of the shape of ``fields``.
    """
    none = np.zeros(fields.shape, dtype=bool)
    ends = _ends_of_range(ds, channel, where)
    for column in range(ends.shape[1]):
        value, quantum = ends[:, column, :].T[..., None, None]
        # A value of zero is a natural bound: no rain, no ice, night.
        at = (np.abs(fields - value) <= 0.25 * quantum) & (np.abs(value) > 2 * quantum)
        if at.sum() < 2:
            continue
        others = np.where(at, np.nan, fields)
        rest = others[np.isfinite(others)]
        if rest.size and _apart(fields, at, others, float(np.ptp(rest))):
            return np.asarray(at)
    return none


def stored_number(ds: xr.Dataset, channel: Channel, time: int, value: float) -> float:
    """Return the number that a file stores for a value of the canonical Dataset.

    It is an integer where values are packed, or the same value where they come from no file.

    Parameters
    ----------
    time : int
        Position of the value among the times of ``ds``.
    """
    for group, part in file_ranges(ds, channel):
        (row,) = _last_rows(group, np.array([time]))
        if part.start <= row < part.start + len(part.times):
            encoding = part.file.open()[part.variable].encoding
            stored = (value - part.offset) / part.factor
            if not {"scale_factor", "add_offset"} & set(encoding):
                return stored
            scale, offset = (
                float(encoding.get(key, unit))
                for key, unit in (("scale_factor", 1.0), ("add_offset", 0.0))
            )
            return float(round((stored - offset) / scale))
    return value


def _last_rows(group: LevelGroup, times: Array) -> Array:
    """Return the last stored time of each time of the Dataset: shape of ``times``."""
    return times if group.windows is None else group.windows.stop[times] - 1


def file_ranges(ds: xr.Dataset, channel: Channel) -> Iterator[tuple[LevelGroup, FileTimeRange]]:
    """Yield groups and ranges of files in which a channel lies, none if it comes from no file."""
    array = canonical_array(ds[channel.variable])
    if array is None:
        return
    position = 0
    if channel.level is not None:
        position = int(np.flatnonzero(ds["level"].values == channel.level)[0])
    for group in array.level_groups:
        if channel.level is None or position in group.levels:
            yield from ((group, part) for part in group.time_ranges)


def _apart(fields: Array, at: Array, others: Array, spread: float) -> bool:
    """Return whether values are far from all others, or from those next to them on the map."""
    found, rest = fields[at], others[np.isfinite(others)]
    gap = max(rest.min() - found.max(), found.min() - rest.max())
    if gap > _APART * spread > 0:
        return True
    jumps, usual = [], []
    for axis in (1, 2):
        steps = np.abs(np.diff(fields, axis=axis))
        first, second = (np.take(at, np.arange(n, n + steps.shape[axis]), axis) for n in (0, 1))
        steps_known = np.isfinite(steps)
        jumps.append(steps[(first != second) & steps_known])
        usual.append(steps[~first & ~second & steps_known])
    jump, step = np.concatenate(jumps), np.concatenate(usual)
    if not jump.size or not step.size:
        return False
    return bool(np.median(jump) > max(_JUMP * spread, _STEEP * np.median(step)))


def _ends_of_range(ds: xr.Dataset, channel: Channel, where: Array) -> Array:
    """Return the values of the extreme packed integers at each time, and one unit of packing.

    Returns
    -------
    ndarray, shape (times, ends, 2)
        In canonical units; NaN where values are not packed.
    """
    found = np.full((len(where), 3, 2), np.nan)
    for group, part in file_ranges(ds, channel):
        rows = _last_rows(group, where)
        here = (rows >= part.start) & (rows < part.start + len(part.times))
        if here.any() and part.grid.weights is None:
            found[here] = _decoded_ends(part)
    return found


def _decoded_ends(part: FileTimeRange) -> Array:
    """Return the decoded extreme integers of one file and one unit of packing: shape (3, 2)."""
    found = np.full((3, 2), np.nan)
    encoding = part.file.open()[part.variable].encoding
    try:
        kind = np.iinfo(encoding["dtype"])
        scale, offset = float(encoding["scale_factor"]), float(encoding.get("add_offset", 0.0))
    except (KeyError, TypeError, ValueError):  # not packed, or not as integers
        return found
    # Zero of unsigned integers is the smallest value of many fields. Signed ones are often packed
    # symmetrically, and the smallest or the one above it is the fill value.
    ends = [kind.max] if kind.min == 0 else [kind.min, kind.min + 1, kind.max]
    for row, end in enumerate(ends):
        value = (end * scale + offset) * part.factor + part.offset
        found[row] = value, abs(scale * part.factor)
    return found
