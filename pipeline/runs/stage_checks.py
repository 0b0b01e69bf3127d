"""Checks of what a stage of a run needs: its model, truth, and statistics of online scoring."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.config.experiment import Experiment
from gfrnn.pipeline.data.time_axis import format_minute, step_of
from gfrnn.pipeline.errors import DataError, RunError
from gfrnn.pipeline.forecasting.forecast import initial_times
from gfrnn.pipeline.runs.folder import RunFolder
from gfrnn.pipeline.runs.record import RunRecord
from gfrnn.pipeline.training.stretches import steps

Array = NDArray[Any]


def check_external_model(run: RunFolder, record: RunRecord, experiment: Experiment) -> None:
    """Check that a model which was not trained in a run's folder is there, with its origin.

    A fit leaves its checkpoints in the folder. Without them and without the record, a model or
    forecasts come from a command that uses the model of another run.

    Raises
    ------
    RunError
        If the model or its origin is missing; `gfrnn fit` would train another model then.
    """
    done, folder = record.fit, run.folder
    period = [end.removesuffix(" 00:00:00") for end in experiment.periods.test.as_pair()]

    def forecast_again(source: str) -> str:
        words = ["gfrnn", "forecast", source, "--period", *period, "--output", str(folder)]
        return f"`{shlex.join(words)}`"

    copied = done is not None and done.finished and run.model.exists()
    if done is not None and done.taken is not None and not copied:
        raise RunError(
            f"{run.model}: the copy of the model of {done.taken.of} is missing or not complete; "
            f"copy it again with {forecast_again(done.taken.of)}"
        )
    if done is not None and done.command is not None and not done.finished:
        raise RunError(
            f"{run.model}: was not finished; repeat the command that makes it, with the same "
            f"options: {done.command}"
        )
    made = run.model.exists() or run.forecast_store.exists()
    if done is None and made and not run.summaries.exists():
        raise RunError(
            f"{folder}: has neither run.json, which names the run that the model is from, nor "
            "summaries.zarr, the checkpoints of a fit; repeat the command that made the folder: "
            f"{forecast_again('RUN')} for forecasts of another period, `gfrnn refit RUN` or "
            "`gfrnn update RUN` with its --output for another model; "
            f"`gfrnn fit {shlex.quote(str(folder))} --force` trains a new model instead"
        )


def check_online(
    experiment: Experiment, ds: xr.Dataset, forecasts: Path, *, force: bool = False
) -> None:
    """Check that forecasts of which no fields are kept can be scored.

    Parameters
    ----------
    experiment : Experiment
    ds : xarray.Dataset
        Data from :func:`gfrnn.pipeline.open_source`.
    forecasts : Path
        Store that forecasts with fields would have.
    force : bool
        Whether the store may exist, as it will be removed.

    Raises
    ------
    DataError
        If no forecast has a truth.
    RunError
        If the store exists.
    """
    if experiment.forecast.store:
        return
    if forecasts.exists() and not force:
        raise RunError(
            f"{forecasts}: has fields of forecasts, which forecast.store: false does not keep; set "
            "forecast.store: true to keep them, or remove them by `gfrnn forecast --force`, which "
            "makes the forecasts again"
        )
    time = ds["time"].values
    step = step_of(time)
    horizon = steps("forecast.horizon", experiment.forecast.horizon, step)
    initial = time[initial_times(experiment, time)]
    valid = step.after(initial[:, None], np.arange(1, horizon + 1))
    remedy = "set forecast.store: true to keep the forecasts until there is one"
    check_truth("forecast.store: false", valid, time, remedy)


def check_truth(subject: str, valid: Array, time: Array, remedy: str) -> None:
    """Refuse to score forecasts none of which has a truth.

    Parameters
    ----------
    subject : str
        Key or store that the message begins with.
    valid : ndarray of datetime64
        Times that the forecasts are for.
    time : ndarray of datetime64
        Times of the data, ascending.
    remedy : str

    Raises
    ------
    DataError
        If the data have none of the times that the forecasts are for.
    """
    if not np.isin(valid, time).any():
        first, last, end = map(format_minute, (valid.min(), valid.max(), time[-1]))
        raise DataError(
            f"{subject}: there is no truth for any of the forecasts, which are for {first} to "
            f"{last}, as the data end at {end}; {remedy}"
        )


def require_statistics(statistics: Path, finished: bool) -> None:
    """Refuse statistics of forecasts that are missing or not those of this run.

    Raises
    ------
    RunError
    """
    if not statistics.exists():
        raise RunError(
            f"{statistics}: no statistics of forecasts there; run `gfrnn forecast` first"
        )
    if not finished:
        raise RunError(
            f"{statistics}: not finished, or not of these data and this experiment, whose section "
            "verification decides statistics too where no fields are kept (forecast.store: false); "
            "run `gfrnn forecast` first"
        )
