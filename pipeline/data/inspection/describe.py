"""Description of a canonical Dataset: some ten lines, or values for programs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.data.grid import contiguous_longitudes
from gfrnn.pipeline.data.monthly_times import with_middles_of_months
from gfrnn.pipeline.data.time_axis import format_time, segments, step_of
from gfrnn.pipeline.data.variables.file_variables import FileVariable
from gfrnn.pipeline.errors import DataError

Array = NDArray[Any]


def describe_dataset(ds: xr.Dataset, *, notes: bool = True) -> str:
    """Describe variables, grid, times and size of a canonical Dataset.

    Parameters
    ----------
    ds : xarray.Dataset
    notes : bool
        Whether to list its notes, which are also among the findings of
        :func:`gfrnn.pipeline.data.inspection.audit.audit`.
    """
    time = ds["time"].values
    lines = []
    points = ds.sizes["latitude"] * ds.sizes["longitude"]
    size = 0.0
    for name, array in ds.data_vars.items():
        levels = array.attrs.get("levels") or []
        size += 4.0 * time.size * points * max(1, len(levels))
        at = f" at {', '.join(f'{level:g}' for level in levels)} hPa" if levels else ""
        kind = ", anomalies" if array.attrs.get("anomalies") else ""
        lines.append(f"  {name} [{array.attrs.get('units', '')}]{kind}{at}")
    lines += _grid_lines(ds["latitude"].values, ds["longitude"].values) + _time_lines(time)
    lines.append(f"size: {size / 1e9:.3g} GB as float32")
    lines += [f"note: {note}" for note in ds.attrs.get("notes", []) if notes]
    return "\n".join(["variables:", *lines])


def dataset_facts(ds: xr.Dataset) -> dict[str, Any]:
    """Return variables, grid and times of a canonical Dataset as values of JSON's types."""
    time = ds["time"].values
    facts: dict[str, Any] = {
        "variables": {
            str(name): {
                "units": array.attrs.get("units", ""),
                "levels": [float(level) for level in array.attrs.get("levels") or []],
                "anomalies": bool(array.attrs.get("anomalies")),
            }
            for name, array in ds.data_vars.items()
        },
        "time": {"first": str(time[0]), "last": str(time[-1]), "count": time.size},
    }
    if time.size > 1:
        facts["time"] |= {"step": str(step_of(time)), "segments": len(segments(time))}
    for name in ("latitude", "longitude"):
        values = ds[name].values
        if name == "longitude":
            _, values = contiguous_longitudes(values)
        facts[name] = {"first": float(values[0]), "last": float(values[-1]), "count": values.size}
    return facts | {"notes": list(ds.attrs.get("notes", []))}


def describe_files(variables: Sequence[FileVariable]) -> str:
    """Describe variables as their files state them, where they cannot be used as they are.

    Parameters
    ----------
    variables : sequence of FileVariable
        At least one.
    """
    own: dict[tuple[str, str], list[FileVariable]] = {}
    for each in variables:
        own.setdefault((each.raw_name, each.variable), []).append(each)
    lines = ["variables, as the files state them:"]
    for (raw_name, variable), parts in own.items():
        levels = sorted({level for part in parts for level in part.levels or ()})
        at = f" at {', '.join(f'{level:g}' for level in levels)} hPa" if levels else ""
        name = variable if raw_name == variable else f"{raw_name}, {variable}"
        unusable = [part for part in parts if part.problem]
        doubt = f": cannot be used as it is in {len(unusable)} of {len(parts)} files"
        lines.append(f"  {name} [{parts[0].attrs['units']}]{at}{doubt if unusable else ''}")
    lines += _grid_lines(variables[0].latitude, variables[0].longitude)
    with suppress(DataError):  # files of one variable with other times, which is said then
        variables = with_middles_of_months(variables, None)
    lines += _time_lines(np.unique(np.concatenate([each.times for each in variables])))
    return "\n".join(lines)


def _grid_lines(latitude: Array, longitude: Array) -> list[str]:
    lines = []
    # A region across Greenwich is one range.
    for name, values in (
        ("latitude", latitude),
        ("longitude", contiguous_longitudes(longitude)[1]),
    ):
        apart = f", spacing {np.median(np.diff(values)):.4g}" if values.size > 1 else ""
        lines.append(f"{name}: {values[0]:g} to {values[-1]:g} ({values.size}{apart})")
    return lines


def _time_lines(time: Array) -> list[str]:
    if time.size < 2:
        return [f"time: {stamp.astype('datetime64[m]')} (1)" for stamp in time]
    step, runs = step_of(time), segments(time)
    first, last = (format_time(stamp, step) for stamp in time[[0, -1]])
    longest = max(run.stop - run.start for run in runs)
    gaps = "no gap" if len(runs) == 1 else f"{len(runs)} segments, longest {longest} times"
    return [f"time: {first} to {last} ({time.size})", f"step: {step}, {gaps}"]
