"""Score forecasts while they are made: the statistics are kept, and no fields."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.config.experiment import Experiment
from gfrnn.pipeline.data.grid import Grid
from gfrnn.pipeline.forecasting.divergence import DIVERGENCE, STAYED, divergence_text
from gfrnn.pipeline.forecasting.forecast import check_members, load_model
from gfrnn.pipeline.forecasting.forecast_store import LIMITED
from gfrnn.pipeline.reduction.progress import Progress
from gfrnn.pipeline.verification.online.computed_forecasts import ComputedForecasts
from gfrnn.pipeline.verification.pair_scoring import PairScoring
from gfrnn.pipeline.verification.statistics_store import open_statistics
from gfrnn.pipeline.verification.verify import compute_statistics, starts_of_task

Array = NDArray[Any]

DIVERGED = "diverged"
"""Name of the statistic of a pair that is above 0 at the lead at which the forecast diverged: 1 and
the place, see :class:`gfrnn.pipeline.forecasting.divergence.DecodedLead`."""


@dataclass(frozen=True)
class OnlineScoring(PairScoring):
    """Scoring of forecasts that are computed for it.

    The statistics also have what a forecast store says of the rollouts: the share of values that
    the bound has limited, and which forecasts have diverged.
    """

    forecasts: ComputedForecasts

    def without_caches(self) -> OnlineScoring:
        return replace(self, forecasts=self.forecasts.begin())

    @property
    def dimensions(self) -> dict[str, tuple[str, ...]]:
        pair = ("time", "prediction_timedelta")
        return super().dimensions | {LIMITED: pair, DIVERGED: pair}

    def statistics(self, first: int, stop: int) -> dict[str, Array]:
        own = self.without_caches()  # other threads may use this object
        found = PairScoring.statistics(own, first, stop)
        return found | {
            LIMITED: np.stack(own.forecasts.limited, axis=1),
            DIVERGED: np.stack(own.forecasts.departed, axis=1) + 1.0,
        }


def online_scoring(
    experiment: Experiment, ds: xr.Dataset, model: Path, masks: dict[str, Array] | None = None
) -> OnlineScoring:
    """Return the scoring of the forecasts of the test period.

    Parameters
    ----------
    experiment : Experiment
    ds : xarray.Dataset
        Data from :func:`gfrnn.pipeline.open_source`: initial states and truth.
    model : Path
        Store of the model, ``model.zarr``.
    masks : dict of ndarray of bool, optional
        Cells of the regions with a static field, see
        :func:`gfrnn.pipeline.verification.region_masks.region_masks`.
    """
    fields = load_model(str(model)).fields(ds)
    config = experiment.forecast
    forecasts = ComputedForecasts(experiment, fields, model, config.batch)
    scoring = OnlineScoring(
        fields,
        forecasts,
        experiment.verification,
        model,
        seed=config.seed,
        masks=masks or {},
        periods=(experiment.periods.train,),
    )
    forecasts.batch = min(config.batch, starts_of_task(scoring, config.batch))
    return scoring


def verify_online(
    experiment: Experiment,
    ds: xr.Dataset,
    model: Path,
    statistics: Path,
    progress: Progress | None = None,
    key: str = "",
    masks: dict[str, Array] | None = None,
) -> None:
    """Forecast the test period and score each lead as soon as it is computed.

    The statistics are those of stored forecasts, bit for bit, where a task of the scoring holds
    whole batches (``forecast.batch``). One lead of a task's initial times is in memory at once.

    Parameters
    ----------
    experiment, ds, model
        As for :func:`online_scoring`.
    statistics : Path
        Store to write, ``statistics.zarr``; an unfinished one with the same key is finished.
    progress : callable, optional
        Callback that counts tasks.
    key : str
        Key of everything that decides the statistics; empty to begin anew in any case.
    masks : dict of ndarray of bool, optional
        As for :func:`online_scoring`.

    Raises
    ------
    ConfigError
        If the horizon is not a multiple of the data's step, there is no initial time, or an index
        or a region has no cell with values.
    ResourceError
        If a task does not fit into a worker.
    RunError
        If the model is missing or cannot make the members.
    """
    check_members(load_model(str(model)), experiment.forecast)
    scoring = online_scoring(experiment, ds, model, masks)
    compute_statistics(
        scoring,
        statistics,
        progress,
        key,
        remedy="forecast.batch or forecast.horizon",
        batch=scoring.forecasts.batch,
        stage="forecast",
    )


def open_rollouts(statistics: Path, grid: Grid) -> xr.Dataset:
    """Return what is known of forecasts of which no fields are kept, on this grid.

    Returns
    -------
    xarray.Dataset
        The variable ``limited`` and the attributes ``lost_forecasts`` and ``divergence`` of a
        forecast store, see
        :func:`gfrnn.pipeline.forecasting.forecast_store.finish_forecast_store`, and its coordinates
        of initial times and leads.

    Raises
    ------
    RunError
        If the statistics do not exist or are not finished.
    """
    with open_statistics(statistics) as ds:
        found = ds[[LIMITED, DIVERGED]].load()
    departed = found[DIVERGED].values.astype(int) - 1
    attrs: dict[str, Any] = {"lost_forecasts": int((departed > STAYED).any(axis=1).sum())}
    if attrs["lost_forecasts"]:
        times = found["time"].values, found["valid_time"].values
        attrs[DIVERGENCE] = divergence_text(*times, departed, grid)
    kept = ["time", "prediction_timedelta", "valid_time"]
    return (
        found[[LIMITED]]
        .reset_coords()[[LIMITED]]
        .assign_coords({name: found[name] for name in kept})
        .assign_attrs(attrs)
    )
