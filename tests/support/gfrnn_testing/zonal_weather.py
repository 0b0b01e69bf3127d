"""Synthetic fields whose waves are advected by their own geostrophic wind, in a store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
import yaml

from gfrnn.pipeline.config.experiment import Experiment, parse_experiment
from gfrnn_core.local_features import GridFeatures
from gfrnn_core.zonal import LatitudeFunctions, ZonalBasis
from gfrnn_testing.weather import write_store

LATITUDES = {"channel": 30 + (np.arange(8) + 0.5) * 4, "sphere": -90 + (np.arange(10) + 0.5) * 18}
LONGITUDE = np.arange(16) * 22.5
WAVENUMBERS, FUNCTIONS = 3, 4
TIMES = 1000


def advected_fields(geometry: Any, times: int = TIMES, seed: int = 0) -> np.ndarray:
    """Return fields that a Jacobian with their Laplacian changes: (times, latitudes, longitudes).

    Waves also turn at rates of their own, so that a linear model forecasts a part of the change.
    """
    basis = ZonalBasis(
        LatitudeFunctions.on(LATITUDES[geometry], WAVENUMBERS + 1, FUNCTIONS, geometry), 1, 16
    )
    scales = np.ones((1, 6))
    features = GridFeatures.none(scales)
    jacobian = GridFeatures(
        scales, np.array([[0, 0, 1]]), features.winds, features.products, features.weights,
        features.biases,
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    state = basis.unpack(rng.standard_normal((1, basis.size)))
    rates = np.exp(1j * rng.uniform(0.05, 0.4, (basis.wavenumbers, 1, basis.width)))
    rates[0] = 1.0
    size = np.abs(basis.encode(jacobian(basis.base_fields(state)))).max()
    path = []
    for _ in range(times):
        path.append(basis.decode(state)[0, 0])
        # Longer steps would be unstable.
        state = rates * state + 0.01 / size * basis.encode(jacobian(basis.base_fields(state)))
    return np.asarray(path)


def write_zonal_weather(path: Path, geometry: Any = "channel", times: int = TIMES) -> Path:
    """Write a store of daily fields of geopotential at one level, in double precision."""
    fields = advected_fields(geometry, times)
    ds = xr.Dataset(
        {
            "geopotential": (
                ("time", "level", "latitude", "longitude"),
                5.4e4 + 600 * fields[:, None],
                {"units": "m2 s-2"},
            )
        },
        {
            "time": pd.date_range("2001-01-01", periods=times),
            "level": ("level", [500.0], {"units": "hPa"}),
            "latitude": ("latitude", LATITUDES[geometry], {"units": "degrees_north"}),
            "longitude": ("longitude", LONGITUDE, {"units": "degrees_east"}),
        },
    )
    write_store(ds, path)
    return path


def write_zonal_noise(path: Path, times: int, shape: tuple[int, int], chunk: int) -> Path:
    """Write a store of daily noise on the globe, of two variables, to measure memory with."""
    latitudes, longitudes = shape
    rng = np.random.default_rng(0)
    values = {
        "geopotential": (5.4e4, 600.0, "m2 s-2"),
        "temperature": (280.0, 6.0, "K"),
    }
    dims = ("time", "level", "latitude", "longitude")
    ds = xr.Dataset(
        {
            name: (
                dims,
                mean + size * rng.standard_normal((times, 1, *shape), dtype=np.float32),
                {"units": units},
            )
            for name, (mean, size, units) in values.items()
        },
        {
            "time": pd.date_range("2001-01-01", periods=times),
            "level": ("level", [500.0], {"units": "hPa"}),
            "latitude": -90 + (np.arange(latitudes) + 0.5) * 180 / latitudes,
            "longitude": np.arange(longitudes) * 360 / longitudes,
        },
    )
    write_store(ds, path, chunk)
    return path


def zonal_tree(source: Path | str, **sections: dict[str, Any]) -> dict[str, Any]:
    """Return a small experiment on such a store; sections are merged into it key by key."""
    plain: dict[str, Any] = {
        "name": "advected",
        "data": {"sources": [str(source)], "variables": {"geopotential": [500]}},
        "periods": {
            "train": ["2001-01-01", "2002-12-31"],
            "validation": ["2003-01-01", "2003-06-30"],
            "test": ["2003-07-01", "2003-09-26"],
        },
        "climatology": {"annual": 0},
        "state": {
            "layout": "zonal",
            "geometry": "channel",
            "delays": 1,
            "wavenumbers": WAVENUMBERS,
            "functions": FUNCTIONS,
        },
        "model": {},
        "fit": {"ridge": [1e-12, 1e-9, 1e-6, 1e-4, 1e-2]},
        "forecast": {"horizon": "6d", "every": "3d"},
    }
    for name, section in sections.items():
        plain[name] = {**plain.get(name, {}), **section}
    return plain


def zonal_experiment(source: Path | str, **sections: dict[str, Any]) -> Experiment:
    """Return the experiment of :func:`zonal_tree`, validated."""
    return parse_experiment(yaml.safe_dump(zonal_tree(source, **sections), sort_keys=False))
