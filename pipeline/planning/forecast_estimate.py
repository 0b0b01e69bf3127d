"""Estimate the forecasts that follow a fit: their size on disk and the memory of a task."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gfrnn.pipeline.config.experiment import Experiment
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.forecasting.forecast import batch_bytes, initial_times
from gfrnn.pipeline.forecasting.forecast_chunks import field_bytes
from gfrnn.pipeline.verification.online.computed_forecasts import ComputedForecasts
from gfrnn.pipeline.verification.pair_scoring import PairScoring
from gfrnn.pipeline.verification.region_masks import region_masks
from gfrnn.pipeline.verification.scoring_memory import statistics_bytes
from gfrnn.pipeline.verification.verify import starts_of_task


@dataclass(frozen=True)
class ForecastEstimate:
    """The estimated size of the forecasts of the test period.

    Attributes
    ----------
    starts, leads : int
    members : int or None
        None for single forecasts.
    field_bytes : int
        Size of all fields before compression.
    kept_bytes : int
        The same, or 0 where no fields are kept (``forecast.store: false``).
    task_bytes : int
        Peak memory of a task. Where no fields are kept, that of scoring without the linear
        references, which a fit has yet to make.
    """

    starts: int
    leads: int
    members: int | None
    field_bytes: int
    kept_bytes: int
    task_bytes: int


def estimate_forecasts(experiment: Experiment, fields: Fields) -> ForecastEstimate:
    """Estimate the forecasts of an experiment from the metadata of its data.

    Raises
    ------
    ConfigError
        If the horizon is not a multiple of the data's step, or there is no initial time.
    """
    config = experiment.forecast
    forecasts = ComputedForecasts(experiment, fields, Path(), config.batch)
    starts, leads = len(initial_times(experiment, fields.time)), forecasts.horizon
    if config.store:
        task = batch_bytes(experiment, fields, leads)
    else:
        verification = experiment.verification
        masks = region_masks(experiment.data, fields.grid, verification.regions)
        scoring = PairScoring(fields, forecasts, verification, masks=masks)
        together = starts_of_task(scoring, config.batch)
        forecasts.batch = min(config.batch, together)
        task = statistics_bytes(scoring, 0, min(together, starts))
    size = int(np.prod([starts, leads, config.members or 1, len(fields.grid.channels)]))
    size *= field_bytes(fields.grid)
    kept = size if config.store else 0
    return ForecastEstimate(starts, leads, config.members, size, kept, task)
