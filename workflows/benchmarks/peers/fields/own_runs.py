"""Runs of this program: the experiment as it is shipped, or one network of it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline import Run
from gfrnn.pipeline.forecasting.forecast_store import open_forecasts
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.workflows.benchmarks.peers.fields.field_data import (
    StateData,
    experiment_of,
    prepared_summaries,
)
from gfrnn.workflows.benchmarks.peers.program import Program, Setting

Array = NDArray[Any]


class OwnRun(Program):
    """``Run.fit`` on the prepared states, which is the fit without climatology and EOFs.

    Options: ``experiment``, parameter of :func:`experiment_of`; ``width``, if one network of
    this width is fitted, with the values of the searched keys that are best on validation data.
    Otherwise the experiment is fitted as it is, its search included.
    """

    def load(self) -> None:
        self.data = StateData.load(self.folder)
        self.experiment = experiment_of(self.options["experiment"], self.quick, self.folder)

    def search(self) -> Setting:
        width = 50 if self.quick else self.options["width"]
        keys = {"model.width": [width], **self.experiment.search, "model.seed": [0]}
        alone = self.experiment.fit.model_copy(update={"average": 1})
        run = self._run(self.experiment.model_copy(update={"search": keys, "fit": alone}))
        run.fit()
        candidates = ForecastModel.load(run.model).notes.candidates
        return dict(min(candidates, key=lambda one: one.score).values)

    def fit(self, setting: Setting, seed: int) -> Run:
        chosen = self.experiment
        if "width" in self.options:
            chosen = chosen.with_values({**setting, "model.seed": seed})
        run = self._run(chosen)
        run.fit()
        return run

    def _run(self, experiment: Any) -> Run:
        run = Run(experiment, Path(tempfile.mkdtemp(dir=self.folder)) / "run")
        with run.lock():  # which claims the folder
            shutil.copytree(prepared_summaries(self.folder), run.summaries, dirs_exist_ok=True)
        return run

    def forecast(self, model: Run) -> Array:
        model.forecast()
        grid = ForecastModel.load(model.model).layout.scaling.grid
        climatology = ForecastModel.load(model.model).layout.scaling.climatology
        with open_forecasts(model.forecast_store) as stored:
            given = np.full((len(self.data.starts), len(self.data.leads), grid.size), np.nan)
            times = model.ds["time"].values
            place = np.searchsorted(times[self.data.starts], stored["time"].values)
            for column, lead in enumerate(self.data.leads):
                one = stored.isel(prediction_timedelta=int(lead) - 1)
                parts = []
                for channel in grid.channels:
                    field = one[channel.variable]
                    if channel.level is not None:
                        field = field.sel(level=channel.level)
                    parts.append(field.values.reshape(len(place), -1))
                values = np.concatenate(parts, axis=1).astype(float)
                values -= climatology(one["valid_time"].values)
                given[place, column] = values
        if grid.mask is not None:
            given[..., grid.mask] = 0.0
        return given.astype(np.float32)

    def score(self, forecast: Array) -> dict[str, float]:
        return self.data.score(forecast)
