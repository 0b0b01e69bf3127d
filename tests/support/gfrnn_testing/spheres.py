"""Fields on spheres and boxes that obey known local laws, in stores, and experiments on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
import yaml

from gfrnn.pipeline.config.experiment import Experiment, parse_experiment
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.data.grid import Channel, Grid
from gfrnn.pipeline.states.climatology import Climatology, Scaling
from gfrnn.pipeline.states.patch_states import LocalLayout

DIMS = ("time", "latitude", "longitude")
FIRST_DAY = "2001-01-01"

# Mean and amplitude of each variable.
VARIABLES = {
    "mean_sea_level_pressure": (101300.0, 500.0, "Pa"),
    "2m_temperature": (280.0, 5.0, "K"),
    "10m_u_component_of_wind": (0.0, 8.0, "m s-1"),
}


def latitudes(rows: int, kind: str) -> np.ndarray:
    """Return latitudes with rows on the poles ("row") or half a cell from them ("between")."""
    if kind == "row":
        return np.linspace(-90, 90, rows)
    return (np.arange(rows) + 0.5) * 180 / rows - 90


def longitudes(columns: int) -> np.ndarray:
    return np.arange(columns) * 360 / columns


def grid_of(latitude: Any, longitude: Any, names: Any = ("2m_temperature",), mask=None) -> Grid:
    channels = tuple(Channel(name, None) for name in names)
    return Grid(channels, np.asarray(latitude, float), np.asarray(longitude, float), mask)


def layout_of_anomalies(grid: Grid) -> LocalLayout:
    """Return a layout whose states are the fields: climatology 0, standard deviation 1."""
    size, channels = grid.size, len(grid.channels)
    climatology = Climatology(0, 0, np.zeros((1, size)), np.ones(channels))
    return LocalLayout(Scaling(grid, climatology, area_weighted=False))


def memory_fields(values: np.ndarray, grid: Grid, freq: str = "D") -> Fields:
    """Return fields in memory from values of shape (times, channels, latitudes, longitudes)."""
    time = pd.date_range(FIRST_DAY, periods=len(values), freq=freq)
    ds = xr.Dataset(
        {c.variable: (DIMS, values[:, index]) for index, c in enumerate(grid.channels)},
        {"time": time, "latitude": grid.latitude, "longitude": grid.longitude},
    )
    return Fields(ds, grid.mask)


def advected(rows: int, columns: int, speeds: Any, times: int, seed: int = 0) -> np.ndarray:
    """Return random rows that move east by ``speeds`` cells a step: (times, rows, columns).

    Their zonal mean is 0, and so is the mean over any ``columns`` steps.
    """
    field = np.random.default_rng(seed).normal(size=(rows, columns))
    field -= field.mean(axis=1, keepdims=True)
    column = np.arange(columns) - np.arange(times)[:, None, None] * np.reshape(speeds, (-1, 1))
    return field[np.arange(rows)[:, None], column % columns]


def waves(
    times: int, shape: tuple[int, int], poles: str, sign: int = 1, seed: int = 0
) -> np.ndarray:
    """Integrate the wave equation ``u'' = k laplace(u)`` on a sphere: (times, *shape).

    Parameters
    ----------
    poles : {"row", "between", "none"}
        Position of the poles; with "none" the first and last rows are repeated.
    sign : int
        Factor of values seen across a pole.
    """
    rng = np.random.default_rng(seed)
    path = [rng.normal(size=shape)]
    path.append(path[0] + 0.1 * rng.normal(size=shape))
    for _ in range(times - 2):
        now = path[-1]
        other = sign * np.roll(now, shape[1] // 2, axis=1)
        beyond = {"row": (other[1], other[-2]), "between": (other[0], other[-1])}
        south, north = beyond.get(poles, (now[0], now[-1]))
        tall = np.concatenate([south[None], now, north[None]])
        across = tall[2:] + tall[:-2] + np.roll(now, 1, axis=1) + np.roll(now, -1, axis=1)
        path.append(2 * now - path[-2] + 0.2 * (across - 4 * now))
    return np.stack(path)


def write_fields(
    path: Path,
    fields: dict[str, np.ndarray],
    latitude: np.ndarray,
    longitude: np.ndarray,
    *,
    freq: str = "1D",
    chunks: tuple[int, int, int] | None = None,
) -> Path:
    """Write a store of variables in their units: mean + amplitude * field, as float64."""
    times = len(next(iter(fields.values())))
    variables = {}
    for name, values in fields.items():
        mean, amplitude, units = VARIABLES[name]
        variables[name] = (DIMS, mean + amplitude * values, {"units": units})
    time = pd.date_range(FIRST_DAY, periods=times, freq=freq)
    ds = xr.Dataset(variables, {"time": time, "latitude": latitude, "longitude": longitude})
    sizes = chunks or (60, len(latitude), len(longitude))
    encoding = {name: {"chunks": sizes} for name in fields}
    ds.to_zarr(path, mode="w", zarr_format=3, consolidated=False, encoding=encoding)
    return path


def local_tree(source: Path | str, **sections: dict[str, Any]) -> dict[str, Any]:
    """Return a linear experiment of a local layout, into which sections are merged key by key.

    Training takes 360 days, in which a field that moves by a cell a day goes round 8, 10 or 12
    cells a whole number of times.
    """
    plain: dict[str, Any] = {
        "name": "local",
        "data": {"sources": [str(source)]},
        "periods": {
            "train": [FIRST_DAY, "2001-12-26"],
            "validation": ["2001-12-27", "2002-02-28"],
            "test": ["2002-03-01", "2002-04-30"],
        },
        "climatology": {"annual": 0},
        "state": {"layout": "local", "patch": [2, 3], "halo": [1, 1], "delays": 1},
        "model": {"width": 0},
        "fit": {"ridge": [1e-12, 1e-8, 1e-4, 1e-2]},
        "forecast": {"horizon": "6d", "every": "3d"},
    }
    for name, section in sections.items():
        plain[name] = {**plain.get(name, {}), **section}
    return plain


DAYS = 485
"""Times that :func:`local_tree` asks for."""


def local_experiment(source: Path | str, **sections: dict[str, Any]) -> Experiment:
    """Return the experiment of :func:`local_tree`, validated."""
    return parse_experiment(yaml.safe_dump(local_tree(source, **sections), sort_keys=False))
