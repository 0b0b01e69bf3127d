"""Sequences of the tasks of perturbation learning, for training and for test or validation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.errors import ConfigError, DataError, GfrnnError
from gfrnn.workflows.cases.perturbation.perturbation_settings import (
    CopyingData,
    MackeyGlassData,
    WeatherData,
)
from gfrnn.workflows.cases.station.station_files import TEMPERATURE, read_station
from gfrnn_core.perturbation import Task, Window
from gfrnn_core.perturbation.sequence_tasks import copying, forecasting, mackey_glass

Array = NDArray[Any]
TaskData = MackeyGlassData | CopyingData | WeatherData

WARM_UP = 100
"""Number of steps at the start of each piece of a series that are not in the loss."""


@dataclass(frozen=True)
class TaskPart:
    """A task, or one of its several horizons.

    Attributes
    ----------
    key : str
        Suffix of the keys of its scores.
    label : str
        Label of the horizon; empty if there is only one.
    ahead : int
        Steps from the present to the target.
    """

    key: str
    label: str
    ahead: int


def parts(data: TaskData) -> list[TaskPart]:
    """Return the horizons of a task."""
    if isinstance(data, WeatherData):
        return [TaskPart(f"_{hours}", f"{hours} h ahead", hours) for hours in data.ahead]
    return [TaskPart("", "", data.ahead if isinstance(data, MackeyGlassData) else data.delay)]


def make_task(data: TaskData, ahead: int, *, validation: bool) -> Task:
    """Return the sequences of a task; equal arguments give the same sequences.

    Parameters
    ----------
    data : TaskData
    ahead : int
        Steps from the present to the target.
    validation : bool
        Whether to test on the end of the training part, and to learn from the rest of it.

    Raises
    ------
    ConfigError
        If too few rows or sequences are left for training.
    DataError
        If the station's file cannot be used.
    """
    return _series(data.model_dump_json(), type(data), ahead, validation)


@lru_cache(maxsize=8)
def _series(text: str, kind: type[TaskData], ahead: int, validation: bool) -> Task:
    data = kind.model_validate_json(text)
    try:
        if isinstance(data, MackeyGlassData):
            if not validation:
                return mackey_glass(data.steps, ahead, data.test)
            # Validation ends with the last training target; a series has one time more than steps.
            return mackey_glass(data.steps - data.validation, ahead, data.validation - ahead - 1)
        if isinstance(data, CopyingData):
            return _copying(data, validation=validation)
        return _weather(data, ahead, validation=validation)
    except GfrnnError:
        raise
    except ValueError as error:
        raise ConfigError(f"data: {error}; use more rows or a smaller validation") from error


def _copying(data: CopyingData, *, validation: bool) -> Task:
    task = copying(data.symbols, data.alphabet, data.delay, data.sequences, data.batch)
    if not validation:
        return task
    held = -(-data.validation // data.batch)
    if held >= len(task.train):
        raise ValueError(
            f"validation: {data.validation} of {data.sequences} sequences in batches of "
            f"{data.batch} leave none for training"
        )
    return replace(task, train=task.train[:-held], test=task.train[-held:])


def _weather(data: WeatherData, ahead: int, *, validation: bool) -> Task:
    """Return the task of forecasting the temperature from all columns of a station's file.

    All columns are scaled by the extremes of the training rows. The network predicts the change
    from the present temperature: its error is that of the forecast, and learning starts from
    persistence. A constant input replaces biases, which the network does not have.
    """
    table = read_station("wth", data.path, "tasks.weather.data.path")
    values = np.column_stack([table.pop(TEMPERATURE).to_numpy(), table.to_numpy()])
    if not np.isfinite(values).all():
        raise DataError(
            f"{data.path}: {np.isnan(values).any(axis=1).sum()} hours lack values, but a "
            "recurrent network needs every hour; use the file as published, or fill them"
        )
    if not data.validation < data.train < len(values):
        raise ValueError(
            f"train: {data.train} rows are not between validation ({data.validation}) and all "
            f"rows ({len(values)})"
        )
    low, high = values[: data.train].min(axis=0), values[: data.train].max(axis=0)
    scaled = (values - low) / (high - low)
    if validation:
        scaled = scaled[: data.train]
    border = data.train - data.validation if validation else data.train
    scaled -= scaled[:border].mean(axis=0)  # which has no effect on the squared error
    present = scaled[:, :1]
    single = forecasting("weather", scaled, present, ahead, border, warm_up=WARM_UP, lags=1)
    day = forecasting("weather", scaled, present, ahead, border, warm_up=WARM_UP, lags=24)
    references = {
        "persistence": single.references["persistence"],
        f"least squares, {scaled.shape[1]} columns": single.references["linear, 1 lags"],
        f"least squares, 24 lags x {scaled.shape[1]} columns": day.references["linear, 24 lags"],
    }
    return Task(
        "weather", tuple(map(_change, single.train)), tuple(map(_change, single.test)), references
    )


def _change(window: Window) -> Window:
    """Subtract the present temperature from the targets, and add a constant input."""
    ones = np.ones((*window.inputs.shape[:2], 1))
    return replace(
        window,
        inputs=np.concatenate([window.inputs, ones], axis=2),
        targets=window.targets - window.inputs[..., :1],
    )


def streams(window: Window, number: int) -> Window:
    """Cut a series into pieces of equal length that form a batch.

    Each piece begins with warm-up steps that are not in the loss. Steps that are left over at the
    end are not used.

    Parameters
    ----------
    window : Window
        One sequence; its first steps are not in the loss.
    number : int
        Number of pieces.

    Raises
    ------
    ConfigError
        If the window has several sequences, or fewer steps than pieces.
    """
    if number == 1:
        return window
    steps, batch, _ = window.inputs.shape
    first = int(np.argmax(window.counted))
    length = (steps - first) // number
    if batch > 1 or length == 0:
        raise ConfigError(
            f"network.streams: {number} pieces of {steps - first} steps of {batch} sequences; "
            "allowed: 1 for several sequences, at most the number of steps for one"
        )
    rows = first + np.arange(number) * length + np.arange(-first, length)[:, None]
    return Window(
        window.inputs[rows, 0],
        window.targets[rows, 0],
        np.arange(first + length) >= first,
        window.loss,
    )
