"""Synthetic weather of a known law, in a store like those of archives, and runs on it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml

from gfrnn.pipeline.config.experiment import Experiment, parse_experiment
from gfrnn.pipeline.errors import GfrnnError
from gfrnn.pipeline.runs.run import Run

CHANNELS = {
    "geopotential_500": (5.4e4, 600.0),
    "geopotential_850": (1.4e4, 400.0),
    "temperature_850": (278.0, 6.0),
    "mean_sea_level_pressure": (1.013e5, 700.0),
}
"""Mean and amplitude of each channel."""


@dataclass(frozen=True)
class Weather:
    """Patterns that turn at a few periods: ``z[t + 1] = damping * turn @ z[t] + noise``.

    Attributes
    ----------
    path : Path
        The zarr store.
    time : pandas.DatetimeIndex
    states : ndarray, shape (times, 2 * periods)
        z.
    law : ndarray, shape (2 * periods, 2 * periods)
        ``damping * turn``.
    ds : xarray.Dataset
        What is in the store, under the names of ERA5; latitude and longitude ascending.
    """

    path: Path
    time: pd.DatetimeIndex
    states: np.ndarray
    law: np.ndarray
    ds: xr.Dataset


def make_weather(
    path: Path,
    *,
    times: int = 800,
    freq: str = "1D",
    start: str = "2001-01-01",
    periods: tuple[float, ...] = (9.3, 14.1, 23.7),
    damping: float = 1.0,
    noise: float = 0.0,
    cycle: bool = False,
    chunk: int = 100,
    shape: tuple[int, int] = (5, 8),
    seed: int = 0,
) -> Weather:
    """Write a store with descending latitude, longitude -180..180 and ECMWF names.

    Parameters
    ----------
    periods : tuple of float
        In steps.
    cycle : bool
        Whether temperature has a cycle of the year and of the day besides.
    chunk : int
        Times in a chunk.
    """
    rng = np.random.default_rng(seed)
    size = 2 * len(periods)
    law = np.zeros((size, size))
    for i, period in enumerate(periods):
        angle = 2 * np.pi / period
        turn = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        law[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = damping * np.array(turn)
    states = np.empty((times, size))
    states[0] = rng.normal(size=size)
    for t in range(1, times):
        states[t] = law @ states[t - 1] + noise * rng.normal(size=size)
    patterns = rng.normal(size=(size, len(CHANNELS), *shape)) / np.sqrt(size)
    fields = np.tensordot(states, patterns, 1)
    time = pd.date_range(start, periods=times, freq=freq)
    values = {
        name: mean + amplitude * fields[:, index]
        for index, (name, (mean, amplitude)) in enumerate(CHANNELS.items())
    }
    if cycle:
        day = np.asarray(time.hour) / 24.0
        year = (np.asarray(time.day_of_year) - 1 + day) / 365  # no leap year here
        waves = 12 * np.cos(2 * np.pi * year) + 5 * np.cos(2 * np.pi * day)
        values["temperature_850"] = values["temperature_850"] + waves[:, None, None]
    latitude = np.linspace(30, 70, shape[0])
    longitude = np.linspace(-20, 50, shape[1])
    deep, flat = ("time", "level", "latitude", "longitude"), ("time", "latitude", "longitude")
    cold = np.full_like(values["temperature_850"], 250.0)  # nobody asks for it
    cold += 0.01 * np.arange(times)[:, None, None]
    ds = xr.Dataset(
        {
            "geopotential": (
                deep,
                np.stack([values["geopotential_500"], values["geopotential_850"]], 1),
                {"units": "m2 s-2"},
            ),
            "temperature": (deep, np.stack([cold, values["temperature_850"]], 1), {"units": "K"}),
            "mean_sea_level_pressure": (flat, values["mean_sea_level_pressure"], {"units": "Pa"}),
        },
        {
            "time": time,
            "level": ("level", [500.0, 850.0], {"units": "hPa"}),
            "latitude": latitude,
            "longitude": longitude % 360,
        },
    ).astype(np.float32, keep_attrs=True)
    raw = ds.assign_coords(longitude=longitude).isel(latitude=slice(None, None, -1))
    raw = raw.rename(geopotential="z", temperature="t", mean_sea_level_pressure="msl")
    write_store(raw, path, chunk)
    return Weather(path, time, states, law, ds.sortby("longitude"))


def write_store(raw: xr.Dataset, path: Path, chunk: int = 100) -> None:
    """Write a zarr store of format 3 with chunks of ``chunk`` times."""
    for array in raw.data_vars.values():
        array.encoding = {}
    encoding = {
        str(name): {
            "chunks": (min(chunk, raw.sizes["time"]), *array.shape[1:]),
            "fill_value": np.nan,
        }
        for name, array in raw.data_vars.items()
    }
    raw.to_zarr(path, mode="w", zarr_format=3, consolidated=False, encoding=encoding)


def tree(source: Path | str, **sections: dict[str, Any]) -> dict[str, Any]:
    """Return a small experiment on such a store; sections are merged into it key by key."""
    plain: dict[str, Any] = {
        "name": "turning",
        "data": {
            "sources": [str(source)],
            "variables": {
                "geopotential": [500, 850],
                "temperature": [850],
                "mean_sea_level_pressure": None,
            },
        },
        "periods": {
            "train": ["2001-01-01", "2002-03-31"],
            "validation": ["2002-04-01", "2002-06-30"],
            "test": ["2002-07-01", "2002-08-31"],
        },
        "climatology": {"annual": 0},
        "state": {"modes": 6, "delays": 1},
        "model": {"width": 20, "leads": ["1d", "3d"]},
        "fit": {"ridge": [1e-12, 1e-6, 1e-4, 1e-2]},
        "forecast": {"horizon": "6d"},
    }
    for name, section in sections.items():
        plain[name] = {**plain.get(name, {}), **section}
    return plain


def experiment(source: Path | str, **sections: dict[str, Any]) -> Experiment:
    """Return the experiment of :func:`tree`, validated."""
    return parse_experiment(yaml.safe_dump(tree(source, **sections), sort_keys=False))


def finish(run: Run) -> Run:
    """Run all three stages."""
    run.fit()
    run.forecast()
    run.verify()
    return run


def refused(kind: type[GfrnnError], run: Run) -> str:
    """Return the message with which a run is refused before anything is computed."""
    messages = []
    for stage in (run.check, run.fit):
        with pytest.raises(kind) as caught:
            stage()
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    # run.json and .lock may be there; nothing that was computed is.
    assert not list(run.folder.glob("*.zarr"))
    return messages[0]


def contents(store: Path, *, metadata: bool = False) -> dict[str, str]:
    """Return the SHA-256 of every file of a store; without its metadata, which hold dates."""
    return {
        str(file.relative_to(store)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(store.rglob("*"))
        if file.is_file() and (metadata or file.name != "zarr.json")
    }


def uncalibrated_contents(model: Path) -> dict[str, str]:
    """Return the contents of a model without its calibration, which a refit does not change."""
    return {
        name: value
        for name, value in contents(model).items()
        if "calibrat" not in name and "rollout_errors" not in name
    }


def stamps(store: Path) -> dict[str, int]:
    """Return the time at which each file of a store was written."""
    return {
        str(file.relative_to(store)): file.stat().st_mtime_ns
        for file in store.rglob("*")
        if file.is_file()
    }
