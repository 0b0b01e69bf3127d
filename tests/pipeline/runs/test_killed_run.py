"""Test that a run that is killed in each of its stages resumes to the same products."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
import zarr

from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.forecasting.forecast_store import open_forecasts, written
from gfrnn.pipeline.forecasting.store_sums import SUMS
from gfrnn.pipeline.runs.run import Run
from gfrnn_testing.weather import (
    Weather,
    contents,
    experiment,
    finish,
    make_weather,
    stamps,
    tree,
)

GFRNN = [sys.executable, "-c", "from gfrnn.workflows.commands.main import main; main()"]
STORES = ("model.zarr", "forecast.zarr", "scores.zarr")


@pytest.fixture(scope="module")
def noisy(tmp_path_factory) -> Weather:
    """Write patterns that turn, decay and are forced by noise."""
    path = tmp_path_factory.mktemp("noisy") / "noisy.zarr"
    return make_weather(path, damping=0.95, noise=0.3, times=1600, start="1999-01-01")


def wait_for(moment: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait until a condition holds; fail if the process ends before."""
    while not moment():
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_result(noisy, tmp_path):
    parts = {
        "periods": {
            "train": ["1999-01-01", "2002-03-31"],
            "test": ["2002-07-01", "2003-04-30"],
        },
        "model": {"width": 300},
        "forecast": {"horizon": "4d", "batch": 4},
        "cluster": {"workers": 2, "dashboard": ":0"},
    }
    whole = experiment(noisy.path, **parts)
    reference = finish(Run(whole, tmp_path / "reference"))
    file, folder = tmp_path / "killed.yaml", tmp_path / "killed"
    file.write_text(yaml.safe_dump(tree(noisy.path, **parts), sort_keys=False))
    command = [*GFRNN, "run", str(file), "--output", str(folder)]
    rows, forecasts = folder / "summaries.zarr" / "rows", folder / "forecast.zarr"

    def kept() -> list[Path]:
        return list(rows.glob("*.npz"))

    def finished(stage: str) -> bool:
        record = folder / "run.json"
        stages = json.loads(record.read_text())["stages"] if record.exists() else {}
        return "finished" in stages.get(stage, {})

    def forecasts_under_way() -> bool:
        try:
            marks = written(forecasts)
        except (FileNotFoundError, KeyError, ValueError):  # just being made
            return False
        return marks is not None and bool(marks.any())

    def run_and_kill_at(moment: Callable[[], bool]) -> None:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip
        try:
            wait_for(moment, process)
            os.kill(process.pid, signal.SIGKILL)
        finally:
            process.kill()
            process.communicate()
            assert process.returncode == -signal.SIGKILL

    run_and_kill_at(lambda: bool(kept()))
    in_rows = {str(place): stamps(place) for place in kept()}
    assert not finished("fit")
    assert len(in_rows) < 5, "killed after the pass, not in it"

    run_and_kill_at(forecasts_under_way)
    assert finished("fit")
    # Folds that were there were not computed again.
    assert {place: stamps(Path(place)) for place in in_rows} == in_rows
    marks = written(forecasts)
    assert marks is not None
    assert 0 < marks.sum() < marks.size, "killed after the forecasts, not in them"
    shards = [forecasts / f"mean_sea_level_pressure/c/{i}/0/0/0" for i in np.flatnonzero(marks)]
    times = [shard.stat().st_mtime_ns for shard in shards]
    with pytest.raises(RunError, match="not finished"):
        open_forecasts(forecasts)

    run_and_kill_at(lambda: finished("forecast"))
    assert not finished("verify")
    assert [shard.stat().st_mtime_ns for shard in shards] == times
    unfinished = {name: stamps(folder / name) for name in ("model.zarr", "forecast.zarr")}

    last = subprocess.run(command, capture_output=True, text=True, check=False)
    assert last.returncode == 0, last.stderr
    assert last.stdout.count("done before, skipped") == 2
    assert {name: stamps(folder / name) for name in unfinished} == unfinished
    for name in STORES:
        assert contents(folder / name) == contents(reference.folder / name), name
    ours, theirs = (zarr.open_group(p / "forecast.zarr", mode="r") for p in
                    (folder, reference.folder))  # fmt: skip
    # The history has times of its own, and the sums cover it.
    changing = {"history": "", SUMS: ""}
    assert dict(ours.attrs) | changing == dict(theirs.attrs) | changing
    assert sorted(ours) == sorted(theirs)
