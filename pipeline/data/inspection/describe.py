"""Description of a canonical Dataset: some ten lines, or values for programs."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from gfrnn.pipeline.data.grid import contiguous_longitudes
from gfrnn.pipeline.data.time_axis import format_time, segments, step_of


def describe_dataset(ds: xr.Dataset) -> str:
    """Describe variables, grid, times and size of a canonical Dataset."""
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
    for name in ("latitude", "longitude"):
        values = ds[name].values
        if name == "longitude":  # a region across Greenwich is one range
            _, values = contiguous_longitudes(values)
        apart = f", spacing {np.median(np.diff(values)):.4g}" if values.size > 1 else ""
        lines.append(f"{name}: {values[0]:g} to {values[-1]:g} ({values.size}{apart})")
    if time.size == 1:
        lines.append(f"time: {time[0].astype('datetime64[m]')} (1)")
    if time.size > 1:
        step = step_of(time)
        first, last = (format_time(stamp, step) for stamp in time[[0, -1]])
        lines.append(f"time: {first} to {last} ({time.size})")
        runs = segments(time)
        longest = max(run.stop - run.start for run in runs)
        gaps = "no gap" if len(runs) == 1 else f"{len(runs)} segments, longest {longest} times"
        lines.append(f"step: {step}, {gaps}")
    lines.append(f"size: {size / 1e9:.3g} GB as float32")
    lines += [f"note: {note}" for note in ds.attrs.get("notes", [])]
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
