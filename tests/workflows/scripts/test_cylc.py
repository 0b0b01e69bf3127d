"""Test the Cylc workflow: each new day updates the model, is forecast, and is verified."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml

from gfrnn.pipeline.config.experiment import parse_experiment
from gfrnn.pipeline.forecasting.forecast_store import open_forecasts
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.runs.update import update
from gfrnn_testing.paths import ROOT
from gfrnn_testing.reduction_toys import period
from gfrnn_testing.weather import make_weather, tree

FLOW = ROOT / "workflows" / "cylc" / "flow.cylc"
LAST, DAYS = "2002-07-15", ["2002-07-16", "2002-07-17", "2002-07-18"]
PATIENCE = 300.0


@pytest.fixture
def cylc(tmp_path, monkeypatch, gfrnn_on_path) -> Path:
    """Return a home folder in which the workflow is installed."""
    if shutil.which("cylc") is None:
        pytest.skip("no cylc on the PATH; pip install cylc-flow, in an environment of its own")
    home = tmp_path / "home"
    place = home / "cylc-run" / "days"
    place.mkdir(parents=True)
    shutil.copy(FLOW, place)
    # Jobs run in login shells.
    (home / ".profile").write_text(f"export PATH='{os.environ['PATH']}'\n")
    monkeypatch.setenv("HOME", str(home))
    return home


def cut_into_days(folder: Path) -> None:
    """Write the archive up to the last day, and the days after it in `coming`."""
    make_weather(folder / "weather.zarr", damping=0.95, noise=0.3, times=600)
    with xr.open_zarr(folder / "weather.zarr", consolidated=False) as ds:
        whole = ds.load()
    for array in whole.variables.values():
        array.encoding = {}
    (folder / "archive").mkdir()
    (folder / "coming").mkdir()
    whole.sel(time=slice(None, LAST)).to_netcdf(folder / "archive" / "history.nc")
    for day in DAYS:
        whole.sel(time=[pd.Timestamp(day)]).to_netcdf(folder / "coming" / f"{day}.nc")


def forecast_made(folder: Path) -> bool:
    path = folder / "run.json"
    stages = json.loads(path.read_text())["stages"] if path.exists() else {}
    return "finished" in stages.get("forecast", {})


@pytest.mark.cluster
def test_each_day_is_added_to_the_model_forecast_and_verified(cylc, tmp_path):
    cut_into_days(tmp_path)
    archive, cycles = tmp_path / "archive", tmp_path / "cycles"
    parts = {"forecast": {"horizon": "1d"}, "cluster": {"dashboard": ":0"}}
    parts |= {"periods": {"test": ["2002-07-01", LAST]}}
    text = yaml.safe_dump(tree(archive / "*.nc", **parts), sort_keys=False)
    run = Run(parse_experiment(text), tmp_path / "run")
    run.fit()
    update(run.folder, [str(archive / "*.nc")], period=period("2002-04-01", LAST))
    given = {
        "RUN": run.folder,
        "CYCLES": cycles,
        "DATA": archive / "*.nc",
        "DAY_FILE": f"{archive}/$DAY.nc",
        "HORIZON": "P1D",
        "LOOK": "PT5S",
        "OPTIONS": "--workers 1",
    }
    command = ["cylc", "play", "--no-detach", "days"]
    for name, value in given.items():
        command += ["--set", f"{name}='{value}'"]
    command += ["--initial-cycle-point", DAYS[0], "--final-cycle-point", DAYS[-1]]
    log = tmp_path / "log"
    coming = list(DAYS)
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        end = time.monotonic() + PATIENCE
        while process.poll() is None:
            before = DAYS[: len(DAYS) - len(coming)]
            # A day comes when that before it has been forecast.
            if coming and all(forecast_made(cycles / day) for day in before):
                shutil.move(tmp_path / "coming" / f"{coming.pop(0)}.nc", archive)
            if time.monotonic() > end:
                process.terminate()
            time.sleep(0.5)
    assert process.returncode == 0, log.read_text()
    assert coming == []
    for day in DAYS:
        made = Run.reopen(cycles / day)
        with open_forecasts(made.forecast_store) as forecasts:
            assert list(forecasts["time"].values) == [np.datetime64(day)]
        assert made.updated is not None
        assert made.updated.last == f"{day} 00:00:00"
        if day == DAYS[-1]:
            assert "verify" not in made.record.stages
            continue
        with xr.open_zarr(made.score_store, consolidated=False) as scores:
            assert list(scores["pairs"].values) == [1]
            assert np.isfinite(scores["rmse"].values).all()
