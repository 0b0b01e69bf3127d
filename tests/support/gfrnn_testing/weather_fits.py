"""Fits of the simulated weather with a few features, and the rows of their periods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import zarr

from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.training.triangles import Factors
from gfrnn_core import SampledRNN
from gfrnn_testing.reduction_toys import period
from gfrnn_testing.weather import (
    Weather,
    experiment,
)

PARTS: dict[str, Any] = {
    "periods": {"test": ["2002-07-01", "2002-07-31"]},
    "state": {"modes": 5, "delays": 2},
    "model": {"width": 15, "leads": ["1d", "3d"], "scale": 0.4},
    "fit": {"ridge": [1e-3, 1e-2, 1e-1], "balance": [1.0, 0.3]},
    "search": {"model.seed": [0, 1]},
    "forecast": {"horizon": "4d"},
}
TRAIN, VALIDATION = ("2001-01-01", "2002-03-31"), ("2002-04-01", "2002-06-30")


def fit_of(weather: Weather, folder: Path, **sections: Any) -> Run:
    """Fit PARTS with some keys changed."""
    parts = {name: PARTS.get(name, {}) | sections.get(name, {}) for name in PARTS | sections}
    run = Run(experiment(weather.path, **parts), folder)
    run.fit()
    return run


def model_of(run: Run) -> ForecastModel:
    return ForecastModel.load(run.model)


def states_of(run: Run) -> np.ndarray:
    """Return the states of all times; NaN outside the training and validation periods."""
    return np.asarray(zarr.open_array(run.folder / "summaries.zarr" / "series", mode="r")[...])


def times_in(run: Run, first: str, last: str) -> np.ndarray:
    return np.flatnonzero(period(first, last).mask(run.ds["time"].values))


def rows_in(run: Run, network: SampledRNN, size: int, *periods: tuple[str, str]) -> Factors:
    """Compute the triangle of the rows with all targets in one of some periods."""
    states, series = states_of(run)[:, :size], []
    for first, last in periods:
        inside = times_in(run, first, last)
        begin = max(0, inside[0] - network.delays)
        series.append(states[begin : inside[-1] + 1])
    return Factors.of_series(network, series)
