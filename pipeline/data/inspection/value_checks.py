"""Checks of the values of a bounded sample of times."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr

from gfrnn.pipeline.data.grid import Channel
from gfrnn.pipeline.data.time_axis import format_minute
from gfrnn.pipeline.data.variables.names import QUANTITIES

# Fill values in use that are of a possible size for some quantity.
_FILL_VALUES = (-9999.0, -999.0, -99999.0, 9999.0, 99999.0, -32767.0, -32768.0, 32767.0)
_HUGE = 1e14  # no quantity in SI units comes near: 1e15, 1e20, 9.97e36 are fill values
_SAMPLE_BYTES = 5e8  # of one variable


@dataclass(frozen=True)
class DataFinding:
    """A finding of an audit about the data, or about one variable."""

    severity: Literal["error", "warning", "note"]
    variable: str | None
    message: str

    def __str__(self) -> str:
        """Format as one line: ``warning: geopotential_500: ...``."""
        return f"{self.severity}: {f'{self.variable}: ' if self.variable else ''}{self.message}"


def sample_times(ds: xr.Dataset, variable: str, sample: int) -> np.ndarray:
    """Choose evenly spaced times, with the first and the last, as many as memory allows."""
    array = ds[variable]
    levels = len(array.attrs.get("levels") or [None])
    one = 4.0 * levels * ds.sizes["latitude"] * ds.sizes["longitude"]
    count = int(np.clip(_SAMPLE_BYTES // one, min(8, sample), sample))
    return np.unique(np.linspace(0, ds.sizes["time"] - 1, count).round().astype(int))


def check_values(ds: xr.Dataset, sample: int) -> Iterator[DataFinding]:
    """Check the values of every channel of a canonical Dataset."""
    for variable, array in ds.data_vars.items():
        where = sample_times(ds, str(variable), sample)
        levels = array.attrs.get("levels") or []
        picked = array.sel(level=levels) if levels else array
        block = picked.isel(time=where).values
        for number, level in enumerate(levels or [None]):
            channel = Channel(str(variable), level)
            fields = block[:, number] if levels else block
            yield from _check_channel(ds, channel, fields, where)


def _check_channel(
    ds: xr.Dataset, channel: Channel, fields: np.ndarray, where: np.ndarray
) -> Iterator[DataFinding]:
    """Check one channel; ``fields`` has shape (sampled times, latitude, longitude)."""
    point = _point_formatter(ds, where)
    yield from _check_missing(ds, channel, fields, where, point)
    infinite = np.isinf(fields)
    if infinite.any():
        yield DataFinding(
            "error",
            channel.name,
            f"{infinite.sum()} infinite values, first {point(infinite)}; correct them",
        )
    quantity = QUANTITIES.get(channel.variable)
    low, high = (quantity.low, quantity.high) if quantity else (-np.inf, np.inf)
    if ds[channel.variable].attrs.get("anomalies"):
        low, high = low - high, high - low
    outside = (fields < low) | (fields > high)
    filled = np.abs(fields) > _HUGE
    filled |= np.isin(fields, _FILL_VALUES) & (outside if quantity else True)
    filled &= ~infinite
    if filled.any():
        yield DataFinding(
            "error",
            channel.name,
            f"{filled.sum()} values look like a fill value ({fields[filled][0]:g}), first "
            f"{point(filled)}; set the file's _FillValue to it, so that it is read as missing",
        )
    outside &= ~filled & ~infinite
    if outside.any() and quantity:
        found = fields[outside]
        centred = low > 0 and found.min() < 0 < found.max() < low
        hint = ", or set data.anomalies: true if they are anomalies" if centred else ""
        yield DataFinding(
            "error",
            channel.name,
            f"{outside.sum()} of {fields.size} values ({found.min():g}..{found.max():g}) are "
            f"outside of {low:g}..{high:g} {quantity.units}, first {point(outside)}; check the "
            f"unit in the file{hint}",
        )
    good = np.where(np.isfinite(fields) & ~filled, fields, np.nan)
    whole = good[np.isfinite(good).any(axis=(1, 2))]
    if whole.shape[0] > 2 and _largest_range(whole, 0) == 0:
        yield DataFinding(
            "warning", channel.name, "does not change in time, so it cannot be forecast"
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
        yield from _check_neighbours(ds, channel, whole)


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
            "error",
            channel.name,
            f"missing (NaN) everywhere at {whole.sum()} of {len(where)} sampled times, first from "
            f"{stamp}; choose periods without them, or leave the variable out",
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


def _check_neighbours(
    ds: xr.Dataset, channel: Channel, fields: np.ndarray
) -> Iterator[DataFinding]:
    """Check that neighbouring points have the highest correlation in time.

    In meteorological fields the correlation falls with distance. If points at a larger distance
    correlate more than neighbours, the rows or columns are in the wrong order, which other checks
    do not find. Correlations are of anomalies in time, averaged over all pairs of points.
    """
    masked = np.isnan(fields).all(axis=0)
    fields = fields[(np.isfinite(fields) | masked).all(axis=(1, 2))]
    if fields.shape[0] < 20:
        return
    longitude = ds["longitude"].values
    gaps = np.diff(np.append(longitude, longitude[0] + 360))
    # In the order of longitudes a region across Greenwich is in two parts: join them.
    fields = np.roll(fields, -(int(np.argmax(gaps)) + 1), axis=2)[:, :60, :60].astype(float)
    anomalies = fields - fields.mean(0)
    for axis, along in ((2, "longitude"), (1, "latitude")):
        lags = range(1, min(8, anomalies.shape[axis] - 1) + 1)
        if len(lags) < 3:
            continue
        near, *far = (_correlation(anomalies, lag, axis) for lag in lags)
        if -1 < near < 0.99 and max(far) > near - 0.1 * (1 - near):
            lag = 2 + int(np.argmax(far))
            yield DataFinding(
                "warning",
                channel.name,
                f"the grid seems to be scrambled: neighbours along {along} correlate {near:.2f}, "
                f"points {lag} apart {max(far):.2f}; plot one field, and compare it with another "
                "copy",
            )
            return


def _correlation(anomalies: np.ndarray, lag: int, axis: int) -> float:
    """Return the mean correlation in time of points ``lag`` cells apart, -1 if there are none."""
    size = anomalies.shape[axis]
    a = np.take(anomalies, np.arange(size - lag), axis)
    b = np.take(anomalies, np.arange(lag, size), axis)
    norm = np.sqrt((a * a).mean(0) * (b * b).mean(0))
    moving = norm > 0
    return float(((a * b).mean(0)[moving] / norm[moving]).mean()) if moving.any() else -1.0
