"""Check what an experiment wants verified against its data, before work starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.config.experiment import Experiment
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.data.time_axis import step_of
from gfrnn.pipeline.forecasting.forecast import initial_times
from gfrnn.pipeline.training.stretches import steps
from gfrnn.pipeline.verification.events.event_quantiles import QuantileTimes
from gfrnn.pipeline.verification.events.event_values import events_of
from gfrnn.pipeline.verification.region_masks import region_masks
from gfrnn.pipeline.verification.statistics.region_means import RegionMeans


def check_verification(
    experiment: Experiment, ds: xr.Dataset, masks: Mapping[str, NDArray[Any]] | None = None
) -> None:
    """Check the horizon and the initial times of forecasts, and their regions and thresholds.

    Parameters
    ----------
    experiment : Experiment
    ds : xarray.Dataset
        Data from :func:`gfrnn.pipeline.open_source`; no values are read.
    masks : mapping of ndarray of bool, optional
        Cells of the regions with a static field, by default from :func:`region_masks`.

    Raises
    ------
    ConfigError
        If the horizon is not a multiple of the data's step, no forecast can start, a region has no
        cell with values, a threshold is of a channel that the data do not have, or the training
        period has too few times for a quantile.
    DataError
        If the static field of a region is not found, is on another grid, or has missing values.
    """
    time, grid, config = ds["time"].values, Fields(ds).grid, experiment.verification
    step = step_of(time)
    horizon = steps("forecast.horizon", experiment.forecast.horizon, step)
    starts = initial_times(experiment, time)
    if masks is None:
        masks = region_masks(experiment.data, grid, config.regions)
    RegionMeans.on_grid(grid, config.regions, masks)
    events = events_of(config.thresholds, grid)
    valid = step.after(time[starts][:, None], np.arange(1, horizon + 1))
    QuantileTimes.choose(time, [experiment.periods.train], valid, events)
