"""A small archive of made-up waves, and the commands of small runs on it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
import yaml

_TIMES = 700
_PERIODS = (9.3, 14.1, 23.7)


@dataclass(frozen=True)
class SmallCommand:
    """A command of a small run.

    Attributes
    ----------
    name : str
        Name of the subcommand, and of the folders of its begin and end.
    after : str or None
        Command from whose end it begins; None begins with an empty folder.
    arguments : tuple of str
        Arguments of ``gfrnn``, relative to the working folder.
    reads : tuple of str
        Stores in the folder of the run that it reads whole; damage there must be noticed.
    product : str
        Folder of the run that it writes.
    """

    name: str
    after: str | None
    arguments: tuple[str, ...]
    reads: tuple[str, ...] = ()
    product: str = "run"

    @property
    def folders(self) -> tuple[str, ...]:
        """Folders of runs that exist at its end."""
        return ("run",) if self.product == "run" else ("run", self.product)


_FILE = ("experiment.yaml", "-o", "run")

COMMANDS = (
    SmallCommand("fit", None, ("fit", *_FILE)),
    SmallCommand("forecast", "fit", ("forecast", *_FILE), ("model.zarr",)),
    SmallCommand("verify", "forecast", ("verify", *_FILE), ("forecast.zarr",)),
    SmallCommand("run", None, ("run", *_FILE)),
    SmallCommand("report", "run", ("report", "run"), ("scores.zarr",)),
    SmallCommand(
        "refit",
        "fit",
        ("refit", "run", "--width", "10", "-o", "refit"),
        ("summaries.zarr",),
        product="refit",
    ),
    SmallCommand("update", "fit", ("update", "run", "later.zarr"), ("model.zarr",)),
    SmallCommand(
        "period",
        "fit",
        ("forecast", "run", "--period", "2002-09-01", "2002-10-15", "-o", "period"),
        ("model.zarr",),
        product="period",
    ),
)
"""Commands in an order in which each comes after the one that it begins from."""


def command_named(name: str) -> SmallCommand:
    """Return the command with a name."""
    return next(command for command in COMMANDS if command.name == name)


_INPUTS = ("experiment.yaml", "archive.zarr", "later.zarr")


def write_inputs(folder: Path) -> None:
    """Write the archive, newer data and the experiment file into a folder."""
    fields = _waves()
    _write_store(fields.isel(time=slice(None, 660)), folder / "archive.zarr")
    _write_store(fields.isel(time=slice(660, None)), folder / "later.zarr")
    text = yaml.safe_dump(_experiment(folder / "archive.zarr"), sort_keys=False)
    (folder / "experiment.yaml").write_text(text, encoding="utf-8")


def copy_begin(ends: Path, command: SmallCommand, folder: Path) -> None:
    """Replace the run folders in a working folder by those from which a command begins."""
    remove_runs(folder)
    if command.after is not None:
        shutil.copytree(ends / command.after, folder, symlinks=True, dirs_exist_ok=True)


def copy_end(folder: Path, ends: Path, command: SmallCommand) -> None:
    """Keep the run folders in a working folder as the end of a command."""
    for path in folder.iterdir():
        if path.name not in _INPUTS:
            shutil.copytree(path, ends / command.name / path.name, symlinks=True)


def remove_runs(folder: Path, keep: str | None = None) -> None:
    """Remove the run folders in a working folder, except for one."""
    for path in folder.iterdir():
        if path.name not in (*_INPUTS, keep):
            shutil.rmtree(path)


def _experiment(archive: Path) -> dict[str, object]:
    return {
        "name": "waves",
        "data": {
            "sources": [str(archive)],
            "variables": {"geopotential": [500], "mean_sea_level_pressure": None},
        },
        "periods": {
            "train": ["2001-01-01", "2002-03-31"],
            "validation": ["2002-04-01", "2002-06-30"],
            "test": ["2002-07-01", "2002-08-31"],
        },
        "climatology": {"annual": 0},
        "state": {"modes": 6, "delays": 1},
        "model": {"width": 20},
        "fit": {"ridge": [1e-6, 1e-4, 1e-2]},
        "forecast": {"horizon": "4d", "every": "2d"},
        "cluster": {"kind": "local", "workers": 2},
    }


def _waves(shape: tuple[int, int] = (5, 8), seed: int = 0) -> xr.Dataset:
    """Return fields of patterns that turn at a few periods, with noise."""
    rng = np.random.default_rng(seed)
    angles = 2 * np.pi * np.arange(_TIMES)[:, None] / np.array(_PERIODS)
    states = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
    states = states + 0.05 * rng.normal(size=states.shape)
    dims = ("time", "latitude", "longitude")
    variables = {}
    for name, units, mean, amplitude in (
        ("geopotential", "m2 s-2", 5.4e4, 600.0),
        ("mean_sea_level_pressure", "Pa", 1.013e5, 700.0),
    ):
        patterns = rng.normal(size=(states.shape[1], *shape))
        values = mean + amplitude * np.tensordot(states, patterns, 1)
        variables[name] = (dims, values.astype(np.float32), {"units": units})
    coordinates = {
        "time": pd.date_range("2001-01-01", periods=_TIMES),
        "latitude": ("latitude", np.linspace(70, 30, shape[0]), {"units": "degrees_north"}),
        "longitude": ("longitude", np.linspace(0, 70, shape[1]), {"units": "degrees_east"}),
        "level": ("level", [500.0], {"units": "hPa"}),
    }
    ds = xr.Dataset(variables, coordinates)
    ds["geopotential"] = ds["geopotential"].expand_dims({"level": 1}, axis=1)
    return ds


def _write_store(ds: xr.Dataset, path: Path) -> None:
    ds.chunk({"time": 60}).to_zarr(path, zarr_format=3, consolidated=False)
