"""A short text of what data hold, and an experiment file to start from."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
import yaml

from gfrnn.pipeline.config.section import format_duration
from gfrnn.pipeline.data.fields import unbroken
from gfrnn.pipeline.data.time_axis import segments, step_of
from gfrnn.pipeline.errors import DataError

_SHARES = (0.75, 0.875)  # where validation and test begin


def describe(ds: xr.Dataset) -> str:
    """What a canonical Dataset holds, for people: some ten lines."""
    time = ds["time"].values
    lines = []
    points = ds.sizes["latitude"] * ds.sizes["longitude"]
    size = 0.0
    for name, array in ds.data_vars.items():
        levels = array.attrs.get("levels") or []
        size += 4.0 * time.size * points * max(1, len(levels))
        at = f" at {', '.join(f'{level:g}' for level in levels)} hPa" if levels else ""
        lines.append(f"  {name} [{array.attrs.get('units', '')}]{at}")
    for name in ("latitude", "longitude"):
        values = ds[name].values
        if name == "longitude":  # a box across Greenwich reads best in one piece
            _, values = unbroken(values)
        apart = f", {np.median(np.diff(values)):.4g} apart" if values.size > 1 else ""
        lines.append(f"{name}: {values[0]:g} to {values[-1]:g} ({values.size}{apart})")
    if time.size:
        lines.append(f"time: {_minute(time[0])} to {_minute(time[-1])} ({time.size})")
    if time.size > 1:
        runs = segments(time)
        longest = max(run.stop - run.start for run in runs)
        stretches = (
            "no gap" if len(runs) == 1 else f"{len(runs)} stretches, longest {longest} times"
        )
        lines.append(f"step: {format_duration(pd.Timedelta(step_of(time)))}, {stretches}")
    lines.append(f"size: {size / 1e9:.3g} GB as float32")
    lines += [f"note: {note}" for note in ds.attrs.get("notes", [])]
    return "\n".join(["variables:", *lines])


def starting_experiment(
    ds: xr.Dataset, sources: Sequence[str | Mapping[str, Any]], name: str
) -> str:
    """YAML of an experiment on these data, to be edited.

    Parameters
    ----------
    ds
        The canonical Dataset.
    sources
        What ``data.sources`` is to hold: paths, or mappings with ``path``, ``level`` and so on.
    name
        Name of the experiment.

    Raises
    ------
    DataError
        Where there are too few times for three periods.
    """
    time = ds["time"].values
    if time.size < 8:
        raise DataError(f"{time.size} times are too few for a training, validation and test period")
    periods, test = _periods(time)
    step = pd.Timedelta(step_of(time))
    points = ds.sizes["latitude"] * ds.sizes["longitude"]
    variables = {str(v): array.attrs.get("levels") or None for v, array in ds.data_vars.items()}
    width = points * sum(len(levels or [None]) for levels in variables.values())
    # The forecasts have to fit into the test period several times over.
    horizon = min(pd.Timedelta("10D"), (pd.Timedelta(test) // 4) // step * step)
    tree = {
        "name": name,
        "data": {
            "sources": [s if isinstance(s, str) else dict(s) for s in sources],
            "variables": variables,
        },
        "periods": periods,
        "state": {"modes": int(max(1, min(80, width, time.size // 10))), "delays": 2},
        "forecast": {"horizon": format_duration(max(step, horizon))},
    }
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, default_flow_style=None)


def _periods(time: np.ndarray) -> tuple[dict[str, list[str]], np.timedelta64]:
    """Three periods on whole years, months or days, the first that works; length of the last."""
    marks = [time[int(share * time.size)] for share in _SHARES]
    for unit in ("Y", "M", "D"):
        cuts = [_nearest(mark, unit) for mark in marks]
        edges = [time[0], *cuts, time[-1] + np.timedelta64(1, "s")]
        counts = [int(((time >= a) & (time < b)).sum()) for a, b in itertools.pairwise(edges)]
        # Rounding may not turn the shares into something else.
        if min(counts) >= 0.08 * time.size and 0.6 <= counts[0] / time.size <= 0.85:
            ends = [cut - np.timedelta64(1, "D") for cut in cuts] + [time[-1]]
            begins = [time[0], *cuts]
            pairs = [[_day(a), _day(b)] for a, b in zip(begins, ends, strict=True)]
            return dict(zip(("train", "validation", "test"), pairs, strict=True)), time[-1] - cuts[
                1
            ]
    first, second = (int(share * time.size) for share in _SHARES)
    bounds = [(0, first - 1), (first, second - 1), (second, time.size - 1)]
    pairs = [[_minute(time[a]), _minute(time[b])] for a, b in bounds]
    return dict(zip(("train", "validation", "test"), pairs, strict=True)), time[-1] - time[second]


def _nearest(stamp: np.datetime64, unit: str) -> np.datetime64:
    """The beginning of a year, month or day that is nearest."""
    below = stamp.astype(f"datetime64[{unit}]")
    edges = [edge.astype("datetime64[ns]") for edge in (below, below + 1)]
    return min(edges, key=lambda edge: abs(stamp - edge))


def _day(stamp: np.datetime64) -> str:
    return str(np.datetime_as_string(stamp, "D"))


def _minute(stamp: np.datetime64) -> str:
    return str(np.datetime_as_string(stamp, "m")).replace("T", " ")
