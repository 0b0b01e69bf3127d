"""Print the peak memory of tasks of update, forecast and verify; run as a program of its own.

Prints a line for each task: its name, its part, the bytes that are planned, and those that resident
memory rose by at the peak.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gfrnn.pipeline.config.experiment import Experiment
from gfrnn.pipeline.config.section import Period, checked
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.data.time_axis import step_of
from gfrnn.pipeline.forecasting.forecast import _forecast_batch, batch_bytes, initial_times
from gfrnn.pipeline.forecasting.forecast_store import create_forecast_store
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.runs.new_data import NewStateSummary, open_new_data
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.verification.online.verify_online import online_scoring
from gfrnn.pipeline.verification.pair_scoring import PairScoring
from gfrnn.pipeline.verification.scoring_memory import statistics_bytes
from gfrnn.pipeline.verification.stored_fields import StoredForecasts
from gfrnn_testing.peak import rise
from gfrnn_testing.weather import make_weather, tree
from gfrnn_testing.zonal_weather import write_zonal_noise, zonal_tree

HORIZON = 6
BATCH = 40
STATES = {
    "eof": {"layout": "eof", "modes": 20, "delays": 2},
    "local": {"layout": "local", "patch": [6, 8], "halo": [2, 2], "delays": 2},
}
STATES |= {"products": STATES["local"], "ensemble": STATES["eof"]}
MEMBERS = 20


def forecast_run(layout: str, folder: Path) -> Run:
    """Forecast with a small model from a store whose chunks hold more times than a task reads."""
    path = folder / "weather.zarr"
    if layout == "zonal":
        return zonal_run(path, folder)
    make_weather(path, times=700, chunk=350, shape=(24, 48), damping=0.95, noise=0.3)
    plain = tree(
        path,
        data={"chunk": 120},
        periods={"test": ["2002-07-01", "2002-10-31"]},
        model={"leads": ["1d"]},
        fit={"widths": [20]},
        forecast={"batch": BATCH},
    )
    plain["state"] = STATES[layout]
    if layout == "products":
        plain["model"] |= {"features": ["products"], "products": 2}
    if layout == "ensemble":
        plain["forecast"] |= {"members": MEMBERS}
    run = Run(checked(Experiment, plain, "test"), folder / "run")
    run.fit()
    run.forecast()
    return run


def zonal_run(path: Path, folder: Path) -> Run:
    """Forecast noise on the globe with a small zonal model."""
    write_zonal_noise(path, 700, (24, 48), 350)
    plain = zonal_tree(
        path,
        data={"chunk": 120, "variables": {"geopotential": [500], "temperature": [500]}},
        periods={
            "train": ["2001-01-01", "2002-03-31"],
            "validation": ["2002-04-01", "2002-06-30"],
            "test": ["2002-07-01", "2002-10-31"],
        },
        model={"stages": 2},
        fit={"ridge": [1e-2]},
        forecast={"batch": BATCH, "every": "1d"},
    )
    plain["state"] = {"layout": "zonal", "delays": 2}
    run = Run(checked(Experiment, plain, "test"), folder / "run")
    run.fit()
    run.forecast()
    return run


def show(name: str, part: str, planned: int, call: Callable[[], Any], held: int = 0) -> None:
    """Print the planned and the measured memory of a call that has run once before."""
    call()  # for the buffers that a BLAS gets and keeps, and for the model, which is kept
    gc.collect()
    print(name, part, planned, held + rise(call))


def main(layout: str, folder: Path) -> None:
    run = forecast_run(layout, folder)
    fields, model = Fields(run.ds), ForecastModel.load(run.model)
    starts = initial_times(run.experiment, fields.time)
    arguments = (run.ds, str(run.model), str(folder / "again.zarr"), HORIZON, 0, starts[:BATCH],
                 run.experiment.forecast)  # fmt: skip
    unfinished(run, folder / "again.zarr", starts)
    planned = batch_bytes(run.experiment, fields, HORIZON)
    show("forecast", "batch", planned, lambda: _forecast_batch(*arguments))

    truth = model.fields(run.ds)
    forecasts = StoredForecasts(run.forecast_store, truth.grid)
    scoring = PairScoring(truth, forecasts, run.experiment.verification, run.model)
    planned = statistics_bytes(scoring, 0, 60)
    show("verify", "task", planned, lambda: scoring.statistics(0, 60))

    online = online_scoring(run.experiment, run.ds, run.model)
    planned = statistics_bytes(online, 0, BATCH)
    show("online", "task", planned, lambda: online.statistics(0, BATCH))

    part = checked(Period, ["2002-07-01", "2002-10-31"], "test")
    data = open_new_data(run.experiment.data, [str(folder / "weather.zarr")], model, part)
    states = NewStateSummary(data, model.layout)
    pair = Stretch("new", 0, 60), Stretch("new", 60, 120)
    show("update", "leaf", states.leaf_bytes(pair[0]), lambda: states.leaf(pair[0]))
    sides = [states.leaf(each) for each in pair]
    show("update", "merge", states.merge_bytes(), lambda: states.merge(*sides), bytes_of(sides))


def unfinished(run: Run, path: Path, starts: np.ndarray) -> None:
    """Create a store to write one batch to."""
    fields = Fields(run.ds)
    step = step_of(fields.time)
    described: dict[str, dict[str, Any]] = {str(name): {} for name in run.ds.data_vars}
    create_forecast_store(
        path,
        fields.grid,
        fields.time[starts],
        step,
        HORIZON,
        described,
        {},
        BATCH,
        run.experiment.forecast.members,
    )


def bytes_of(sides: list[dict[str, np.ndarray]]) -> int:
    return sum(values.nbytes for side in sides for values in side.values())


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
