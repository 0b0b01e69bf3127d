"""Initial times of forecasts whose errors make the members of ensembles."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.config.experiment import Experiment
from gfrnn.pipeline.data.time_axis import step_of
from gfrnn.pipeline.errors import ConfigError
from gfrnn.pipeline.training.calibration.calibration_pass import calibration_starts
from gfrnn.pipeline.training.state_series import joined_stretches
from gfrnn.pipeline.training.stretches import known_times, row_stretches, steps

Array = NDArray[Any]

MOST_STARTS = 400
"""Most initial times. More make the errors of a single year no better known."""

LEAST_STARTS = 30
"""Fewest initial times of which members are drawn."""


def held_out_starts(experiment: Experiment, time: Array, delays: int) -> Array:
    """Return initial times of the validation period whose data have no gap up to the last lead.

    Parameters
    ----------
    experiment : Experiment
    time : ndarray of datetime64, shape (times,)
        Time axis of the data.
    delays : int
        Successive states from which forecasts start.

    Returns
    -------
    ndarray of int, shape (starts,)
        Positions on the time axis, evenly spaced within parts without a gap.

    Raises
    ------
    ConfigError
        If there are too few.
    """
    horizon = steps("forecast.horizon", experiment.forecast.horizon, step_of(time))
    periods = experiment.periods
    runs = joined_stretches(
        row_stretches(
            time,
            periods.validation,
            "validation",
            known_times(time, periods.train, periods.validation),
            delays=delays,
            reach=1,
            length=len(time),
        )
    )
    starts, ends, _ = calibration_starts(runs, horizon, MOST_STARTS)
    whole = starts + horizon < ends
    if whole.sum() < LEAST_STARTS:
        raise ConfigError(
            f"forecast.members: the validation period, {periods.validation}, has "
            f"{int(whole.sum())} initial times with data at all leads up to forecast.horizon, but "
            f"members are made of the errors of at least {LEAST_STARTS}; choose a longer "
            "validation period or a shorter horizon, or leave forecast.members out"
        )
    return np.asarray(starts[whole])
