"""Some hundred days of synthetic waves, as netCDF, and an experiment on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
import yaml

from gfrnn.pipeline.config.experiment import parse_experiment
from gfrnn.pipeline.runs.run import Run

DESCRIPTION = "Made-up waves <script>alert('a & b')</script>"


def make_source(path: Path, days: int = 400, seed: int = 0, *, land: bool = False) -> Path:
    """Write travelling waves with noise, on a box across Greenwich, as netCDF.

    With land, a third of the temperature is masked.
    """
    rng = np.random.default_rng(seed)
    time = pd.date_range("2001-01-01", periods=days, freq="D")
    latitude, longitude = np.linspace(40, 50, 6), np.sort(np.arange(-8.0, 8.0, 2.0) % 360)
    phase = 2 * np.pi * (np.arange(days)[:, None] / np.array([9.0, 14.0, 23.0]))
    patterns = rng.normal(size=(6, 6, 8))
    signal = np.tensordot(np.hstack([np.cos(phase), np.sin(phase)]), patterns, 1)
    signal += 0.3 * rng.normal(size=signal.shape)
    dims = ("time", "latitude", "longitude")
    temperature = 285 + 3 * np.roll(signal, 2, axis=0)
    if land:
        temperature[:, :4, 2:6] = np.nan
    xr.Dataset(
        {
            "msl": (dims, 101300 + 500 * signal, {"units": "Pa"}),
            "t2m": (dims, temperature, {"units": "K"}),
        },
        {
            "time": time,
            "latitude": ("latitude", latitude, {"units": "degrees_north"}),
            "longitude": ("longitude", longitude, {"units": "degrees_east"}),
        },
    ).to_netcdf(path)
    return path


def make_run(folder: Path, *, land: bool = False) -> Run:
    """Return a small experiment in ``folder`` with no stage done."""
    source = make_source(folder / "waves.nc", land=land)
    tree = {
        "name": "waves",
        "description": DESCRIPTION,
        "data": {"sources": [str(source)]},
        "climatology": {"annual": 1},
        "periods": {
            "train": ["2001-01-01", "2001-09-30"],
            "validation": ["2001-10-01", "2001-11-30"],
            "test": ["2001-12-01", "2002-01-31"],
        },
        "state": {"modes": 6, "delays": 2},
        "model": {"width": 40, "leads": ["1d", "2d"]},
        "fit": {"ridge": [1e-6, 1e-4, 1e-2], "widths": [20, 40]},
        "search": {"model.scale": [0.1, 0.3]},
        "forecast": {"horizon": "5d"},
    }
    (folder / "run").mkdir()  # an empty folder gets the experiment file at once
    return Run(parse_experiment(yaml.safe_dump(tree)), folder / "run")
