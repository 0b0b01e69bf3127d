"""A run of a few hundred made-up days, all stages done."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml

from pipeline.config import parse_experiment
from pipeline.experiment import Run
from workflows import cli

DESCRIPTION = "Made-up waves <script>alert('a & b')</script>"


def make_source(path: Path, days: int = 400, seed: int = 0, *, land: bool = False) -> Path:
    """Travelling waves with noise, on a box across Greenwich, as netCDF.

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
    """A small experiment in ``folder``, no stage done."""
    source = make_source(folder / "waves.nc", land=land)
    tree = {
        "name": "waves",
        "description": DESCRIPTION,
        "data": {"sources": [str(source)]},
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
    return Run(parse_experiment(yaml.safe_dump(tree)), folder / "run")


@pytest.fixture
def untouched(tmp_path: Path) -> Run:
    """A run with no stage done."""
    return make_run(tmp_path)


@pytest.fixture
def masked(tmp_path: Path) -> Run:
    """The same with a mask."""
    return make_run(tmp_path, land=True)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with all stages done; tests leave its stores as they are."""
    run = make_run(tmp_path_factory.mktemp("waves"))
    run.fit()
    run.forecast()
    run.verify()
    return run


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """Call ``gfrnn reproduce`` in an empty folder: exit code, output, errors."""
    monkeypatch.chdir(tmp_path)

    def call(*words):
        monkeypatch.setattr("sys.argv", ["gfrnn", "reproduce", *map(str, words)])
        monkeypatch.setattr(cli, "console", cli.Console(soft_wrap=True, width=200))
        with pytest.raises(SystemExit) as caught:
            cli.main()
        printed = capsys.readouterr()
        return int(caught.value.code or 0), printed.out, printed.err

    return call


@pytest.fixture(scope="session")
def commands(tmp_path_factory) -> Path:
    """A folder with the command ``gfrnn`` of these sources."""
    folder = tmp_path_factory.mktemp("bin")
    command = folder / "gfrnn"
    root = Path(__file__).parents[2]
    code = f"import sys; sys.path.insert(0, '{root}'); from workflows.cli import main; main()"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{code}" "$@"\n')
    command.chmod(0o755)
    return folder


@pytest.fixture
def gfrnn_on_path(commands, monkeypatch) -> None:
    """It is there for shells and workflow managers."""
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
