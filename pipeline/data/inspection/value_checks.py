"""Checks of the values of a bounded sample of times."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr

from gfrnn.pipeline.config.data_config import Doubt
from gfrnn.pipeline.data.canonical_array import as_stored
from gfrnn.pipeline.data.grid import Channel
from gfrnn.pipeline.data.inspection.grid_order import disorder
from gfrnn.pipeline.data.inspection.packed_extremes import (
    file_ranges,
    stored_number,
    undeclared_fill,
)
from gfrnn.pipeline.data.time_axis import format_minute
from gfrnn.pipeline.data.variables.names import QUANTITIES

# Fill values in use that are of a possible size for some quantity.
_FILL_VALUES = (-9999.0, -999.0, -99999.0, 9999.0, 99999.0, -32767.0, -32768.0, 32767.0)
_HUGE = 1e14  # no quantity in SI units comes near: 1e15, 1e20, 9.97e36 are fill values
_SAMPLE_BYTES = 5e8  # of one variable


@dataclass(frozen=True)
class DataFinding:
    """A finding of an audit about the data, or about one variable.

    Attributes
    ----------
    severity : {"error", "warning", "note"}
    variable : str or None
    message : str
    doubt : {"scrambled", "extremes", "range"} or None
        Kind of a doubt about the values, for which a fit refuses them unless ``data.allow`` has it.
    constant : bool
        Whether the finding is that a variable does not change.
    """

    severity: Literal["error", "warning", "note"]
    variable: str | None
    message: str
    doubt: Doubt | None = None
    constant: bool = False

    def __str__(self) -> str:
        """Format as one line: ``warning: geopotential_500: ...``."""
        return f"{self.severity}: {f'{self.variable}: ' if self.variable else ''}{self.message}"


def sample_times(
    ds: xr.Dataset, variable: str, sample: int, used: np.ndarray | None = None
) -> np.ndarray:
    """Choose evenly spaced times, with the first and the last, as many as memory allows.

    With ``used`` (bool, shape (times,)) only these times are chosen from.
    """
    array = ds[variable]
    levels = len(array.attrs.get("levels") or [None])
    one = 4.0 * levels * ds.sizes["latitude"] * ds.sizes["longitude"]
    count = int(np.clip(_SAMPLE_BYTES // one, min(8, sample), sample))
    times = np.arange(ds.sizes["time"]) if used is None else np.flatnonzero(used)
    return times[np.unique(np.linspace(0, len(times) - 1, count).round().astype(int))]


def check_values(ds: xr.Dataset, sample: int) -> Iterator[DataFinding]:
    """Check the values of every channel of a canonical Dataset."""
    for channel, fields, stored, where in _sampled_channels(ds, sample):
        yield from _check_channel(ds, channel, fields, stored, where)


def doubtful_values(ds: xr.Dataset, sample: int, used: np.ndarray) -> Iterator[DataFinding]:
    """Find values that are there but cannot be right, in a sample of the times in use.

    Missing and infinite values are not among them: each pass refuses those that it reads.

    Parameters
    ----------
    used : ndarray of bool, shape (times,)
    """
    for channel, fields, stored, where in _sampled_channels(ds, sample, used):
        yield from _Doubts.of(ds, channel, stored, where).findings(_point_formatter(ds, where))
        doubts = _Doubts.of(ds, channel, fields, where)
        if not doubts.constant:
            yield from _check_order(ds, channel, doubts.good)


def _sampled_channels(
    ds: xr.Dataset, sample: int, used: np.ndarray | None = None
) -> Iterator[tuple[Channel, np.ndarray, np.ndarray, np.ndarray]]:
    """Yield each channel, its fields (times, latitude, longitude), and the sampled times.

    The second fields are those of the last stored time, where values are made of several.
    """
    for variable, array in ds.data_vars.items():
        where = sample_times(ds, str(variable), sample, used)
        levels = array.attrs.get("levels") or []
        stored = as_stored(array)
        blocks = [
            (each.sel(level=levels) if levels else each).isel(time=where).values
            for each in ([array] if stored is array else [array, stored])
        ]
        for number, level in enumerate(levels or [None]):
            fields = [block[:, number] if levels else block for block in blocks]
            yield Channel(str(variable), level), fields[0], fields[-1], where


def _check_channel(
    ds: xr.Dataset, channel: Channel, fields: np.ndarray, stored: np.ndarray, where: np.ndarray
) -> Iterator[DataFinding]:
    """Check one channel; fields have shape (sampled times, latitude, longitude)."""
    point = _point_formatter(ds, where)
    yield from _check_missing(ds, channel, fields, where, point)
    infinite = np.isinf(fields)
    if infinite.any():
        yield DataFinding(
            "error",
            channel.name,
            f"{infinite.sum()} infinite values, first {point(infinite)}; correct them",
        )
    yield from _Doubts.of(ds, channel, stored, where).findings(point)
    doubts = _Doubts.of(ds, channel, fields, where)
    whole = doubts.good
    if doubts.constant:
        yield DataFinding(
            "warning",
            channel.name,
            "does not change in time, so it cannot be forecast",
            constant=True,
        )
    elif (
        whole.shape[0] > 2
        and whole[0].size > 1
        and _largest_range(whole.reshape(len(whole), -1), 1) == 0
    ):
        yield DataFinding(
            "warning", channel.name, "has the same value at all places, at all sampled times"
        )
    else:
        yield from _check_order(ds, channel, whole)


@dataclass(frozen=True)
class _Doubts:
    """Values of one channel that cannot be right, as masks of the shape of its fields.

    Attributes
    ----------
    channel : Channel
    fields : ndarray, shape (sampled times, latitude, longitude)
    filled : ndarray of bool
        Values that look like a fill value.
    undeclared : ndarray of bool
        Extreme packed integers that are apart from all other values.
    outside : ndarray of bool
        Values outside ``limits``.
    limits : tuple of float
        Physically possible range.
    stored : callable
        Function that writes the number that the file stores for the first value of a mask.
    """

    channel: Channel
    fields: np.ndarray
    filled: np.ndarray
    undeclared: np.ndarray
    outside: np.ndarray
    limits: tuple[float, float]
    stored: Callable[[np.ndarray], str]

    @classmethod
    def of(cls, ds: xr.Dataset, channel: Channel, fields: np.ndarray, where: np.ndarray) -> _Doubts:
        quantity = QUANTITIES.get(channel.variable)
        low, high = (quantity.low, quantity.high) if quantity else (-np.inf, np.inf)
        if ds[channel.variable].attrs.get("anomalies"):
            low, high = low - high, high - low
        finite = np.isfinite(fields)
        outside = (fields < low) | (fields > high)
        filled = np.abs(fields) > _HUGE
        filled |= np.isin(fields, _fill_values(ds, channel)) & (outside if quantity else True)
        filled &= finite
        plausible = np.where(filled, np.nan, fields)
        undeclared = undeclared_fill(ds, channel, plausible, where)
        outside &= finite & ~filled & ~undeclared

        def stored(mask: np.ndarray) -> str:
            first = int(where[np.nonzero(mask)[0][0]])
            number = stored_number(ds, channel, first, float(fields[mask][0]))
            # The conversion of units has rounded it.
            near = [fill for fill in _FILL_VALUES if abs(number - fill) < 1e-5 * abs(fill)]
            return f"{near[0] if near else number:.7g}"

        return cls(channel, fields, filled, undeclared, outside, (low, high), stored)

    @property
    def good(self) -> np.ndarray:
        """Fields without doubtful and infinite values, of times that have any value."""
        bad = ~np.isfinite(self.fields) | self.filled | self.undeclared
        good = np.where(bad, np.nan, self.fields)
        return np.asarray(good[np.isfinite(good).any(axis=(1, 2))])

    @property
    def constant(self) -> bool:
        """Whether no place has two values."""
        good = self.good
        return good.shape[0] > 2 and _largest_range(good, 0) == 0

    def findings(self, point: Callable[[np.ndarray], str]) -> Iterator[DataFinding]:
        fields, name = self.fields, self.channel.name
        if self.filled.any():
            yield DataFinding(
                "error",
                name,
                f"{self.filled.sum()} values look like a fill value "
                f"({fields[self.filled][0]:g}), first {point(self.filled)}; set "
                f"data.sources.missing: [{self.stored(self.filled)}], so that it is read as "
                "missing",
                "extremes",
            )
        if self.undeclared.any():
            yield DataFinding(
                "error",
                name,
                f"{self.undeclared.sum()} of {fields.size} values are the smallest or largest "
                f"packed integer ({fields[self.undeclared][0]:g}), far from the values around "
                f"them, first {point(self.undeclared)}: a fill value that the file does not "
                "declare, or an overflow when it was packed; set data.sources.missing: "
                f"[{self.stored(self.undeclared)}], so that they are read as missing, or leave the "
                "variable out",
                "extremes",
            )
        quantity, (low, high) = QUANTITIES.get(self.channel.variable), self.limits
        if self.outside.any() and quantity:
            found = fields[self.outside]
            centred = low > 0 and found.min() < 0 < found.max() < low
            hint = ", or set data.anomalies: true if they are anomalies" if centred else ""
            yield DataFinding(
                "error",
                name,
                f"{self.outside.sum()} of {fields.size} values ({found.min():g}..{found.max():g}) "
                f"are outside of {low:g}..{high:g} {quantity.units}, first {point(self.outside)}; "
                f"check the unit in the file{hint}",
                "range",
            )


def _check_order(ds: xr.Dataset, channel: Channel, fields: np.ndarray) -> Iterator[DataFinding]:
    """Find a grid whose points are in the wrong order."""
    found = disorder(fields, ds["latitude"].values, ds["longitude"].values)
    if found is None:
        return
    message = f"{found}; plot one field, and compare it with another copy"
    if found.certain:
        yield DataFinding(
            "error",
            channel.name,
            f"the grid is scrambled, its points are in the wrong order: {message}",
            "scrambled",
        )
    else:
        yield DataFinding("warning", channel.name, f"the grid seems to be scrambled: {message}")


def _fill_values(ds: xr.Dataset, channel: Channel) -> np.ndarray:
    """Return fill values in use, in the unit of the files and converted to the canonical one."""
    usual = np.array(_FILL_VALUES, np.float32)
    conversions = {(part.factor, part.offset) for _, part in file_ranges(ds, channel)} | {
        (1.0, 0.0)
    }
    return np.unique([usual * factor + offset for factor, offset in conversions])


def _largest_range(values: np.ndarray, axis: int) -> float:
    """Return the largest range of values along an axis, without missing values."""
    low = np.where(np.isnan(values), np.inf, values).min(axis)
    high = np.where(np.isnan(values), -np.inf, values).max(axis)
    return float(np.maximum(high - low, 0).max())


def _check_missing(
    ds: xr.Dataset,
    channel: Channel,
    fields: np.ndarray,
    where: np.ndarray,
    point: Callable[[np.ndarray], str],
) -> Iterator[DataFinding]:
    """Find values that are missing everywhere, at whole times, in a mask, or at single places."""
    missing = np.isnan(fields)
    if not missing.any():
        return
    if missing.all():
        yield DataFinding("error", channel.name, f"missing (NaN) at all {len(where)} sampled times")
        return
    whole = missing.all(axis=(1, 2))
    if whole.any():
        first = int(np.argmax(whole))
        begin = _first_missing(ds, channel, where[first - 1], where[first]) if first else where[0]
        stamp = format_minute(ds["time"].values[begin])
        yield DataFinding(
            "warning",
            channel.name,
            f"missing (NaN) everywhere at {whole.sum()} of {len(where)} sampled times, first from "
            f"{stamp}; a fit leaves such times out of all variables, as gaps: leave this one out "
            "if they are many",
        )
    mask = missing[~whole].all(axis=0)
    if mask.any():
        row, column = np.argwhere(mask)[0]
        yield DataFinding(
            "note",
            channel.name,
            f"{mask.mean():.0%} of the cells are always masked: {mask.sum()} of {mask.size} have "
            f"no value at any sampled time, first latitude {ds['latitude'].values[row]:g}, "
            f"longitude {ds['longitude'].values[column]:g}; they are left out of training "
            "and scores",
        )
    scattered = missing & ~mask & ~whole[:, None, None]
    if scattered.any():
        yield DataFinding(
            "error",
            channel.name,
            f"missing (NaN) at scattered places, {scattered.sum()} values in "
            f"{scattered.any(axis=(1, 2)).sum()} of {len(where)} sampled times, first "
            f"{point(scattered)}; fill them, choose a region or periods without them, or leave the "
            "variable out",
        )


def _first_missing(ds: xr.Dataset, channel: Channel, good: int, bad: int) -> int:
    """Find, by bisection, the first missing time between a good and a missing one."""
    array = ds[channel.variable]
    array = array if channel.level is None else array.sel(level=channel.level)
    while bad - good > 1:
        middle = int(good + bad) // 2
        if np.isnan(array.isel(time=middle).values).all():
            bad = middle
        else:
            good = middle
    return int(bad)


def _point_formatter(ds: xr.Dataset, where: np.ndarray) -> Callable[[np.ndarray], str]:
    """Return a function that writes time and place of the first True of a mask."""
    time, latitude, longitude = (ds[name].values for name in ("time", "latitude", "longitude"))

    def name(mask: np.ndarray) -> str:
        t, i, j = np.unravel_index(int(np.argmax(mask)), mask.shape)
        stamp = format_minute(time[where[t]])
        return f"at {stamp}, latitude {latitude[i]:g}, longitude {longitude[j]:g}"

    return name
