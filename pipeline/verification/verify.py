"""Compute scores of the forecasts and of reference forecasts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.config.section import Period
from gfrnn.pipeline.config.verification_config import VerificationConfig
from gfrnn.pipeline.data.area_index import index_channel, index_weights
from gfrnn.pipeline.forecasting.forecast import load_model
from gfrnn.pipeline.forecasting.forecast_store import encode_leads
from gfrnn.pipeline.reduction.progress import Progress
from gfrnn.pipeline.reduction.run_tasks import run_tasks
from gfrnn.pipeline.reduction.task_memory import check_call
from gfrnn.pipeline.storage import string_array
from gfrnn.pipeline.verification.pair_scoring import PairScoring
from gfrnn.pipeline.verification.scores import scores_of, write_scores
from gfrnn.pipeline.verification.scoring_memory import statistics_bytes, truth_bytes
from gfrnn.pipeline.verification.spectrum_values import wavenumbers
from gfrnn.pipeline.verification.statistics_store import (
    create_statistics_store,
    finish_statistics_store,
    open_statistics,
    unwritten,
    use_tasks_of,
    write_quantiles,
)
from gfrnn.pipeline.verification.stored_fields import StoredForecasts

Array = NDArray[Any]

# Bytes of the truth and of members that one task holds, unless one initial time has more.
_TASK_BYTES = 128 * 2**20

# Most initial times of a task; tasks of this length keep many workers busy.
_TASK_STARTS = 64


def verify(
    ds: xr.Dataset,
    model: Path,
    forecasts: Path,
    statistics: Path,
    scores: Path,
    config: VerificationConfig | None = None,
    progress: Progress | None = None,
    key: str = "",
    seed: int = 0,
    masks: dict[str, Array] | None = None,
    batch: int = 1,
    periods: tuple[Period, ...] = (),
) -> xr.Dataset:
    """Score the forecasts and the references against the data.

    The statistics of each pair of initial time and lead are written to a store of their own; an
    unfinished store with the same key is finished, and a finished one is used.

    Parameters
    ----------
    ds : xarray.Dataset
        The truth, from :func:`gfrnn.pipeline.open_source`.
    model, forecasts : Path
        Stores ``model.zarr`` and ``forecast.zarr``.
    statistics, scores : Path
        Stores to write, ``statistics.zarr`` and ``scores.zarr``.
    config : VerificationConfig, optional
        Regions and area indices to score.
    progress : callable, optional
    key : str
        Key of everything that decides the statistics; empty to begin anew in any case.
    seed : int
        Seed of the members of references: that of the forecasts (``forecast.seed``).
    masks : dict of ndarray of bool, optional
        Cells of the regions with a static field, see
        :func:`gfrnn.pipeline.verification.region_masks.region_masks`.
    batch : int
        Number of initial times that were forecast together (``forecast.batch``).
    periods : tuple of Period
        Periods of the climatology, from which quantiles of events are estimated.

    Returns
    -------
    xarray.Dataset
        Scores, see :func:`gfrnn.pipeline.verification.scores.scores_of`. Means over areas are
        weighted with cos latitude and without the mask; persistence of an index is that of its
        anomaly.

    Raises
    ------
    ConfigError
        If an index or a region has no cell with values, an index a variable or level that the data
        do not have, or the data have too few times of the periods for a quantile.
    ResourceError
        If a task does not fit into a worker.
    RunError
        If model or forecasts are missing or not finished.
    """
    trained = load_model(str(model))
    fields = trained.fields(ds)
    own = StoredForecasts(forecasts, fields.grid)
    return score(
        PairScoring(
            fields,
            own,
            config or VerificationConfig(),
            model,
            seed=seed,
            masks=masks or {},
            periods=periods,
        ),
        statistics,
        scores,
        progress,
        key,
        batch=batch,
    )


def score(
    scoring: PairScoring,
    statistics: Path,
    scores: Path,
    progress: Progress | None = None,
    key: str = "",
    remedy: str = "forecast.horizon",
    batch: int = 1,
) -> xr.Dataset:
    """Compute statistics and scores.

    Parameters are those of :func:`compute_statistics`, and ``scores``, the store of the scores.
    """
    compute_statistics(scoring, statistics, progress, key, remedy, batch)
    return compute_scores(statistics, scores)


def compute_statistics(
    scoring: PairScoring,
    statistics: Path,
    progress: Progress | None = None,
    key: str = "",
    remedy: str = "forecast.horizon",
    batch: int = 1,
    stage: str = "verify",
) -> None:
    """Compute the statistics of each pair of initial time and lead.

    Parameters
    ----------
    scoring : PairScoring
    statistics : Path
        Store to write; an unfinished one with the same key is finished, a finished one is kept.
    progress : callable, optional
    key : str
        Key of everything that decides the statistics; empty to begin anew in any case.
    remedy : str
        What reduces the memory of a task if lowered.
    batch : int
        Number of initial times that were forecast together.
    stage : str
        Name of the stage in progress and messages.

    Raises
    ------
    ConfigError
        If an index or a region has no cell with values, or an index a variable or level that the
        data do not have.
    ResourceError
        If a task does not fit into a worker.
    """
    index_weights(scoring.config.indices, scoring.fields.grid)  # refuse bad ones before work
    length, count = starts_of_task(scoring, batch), len(scoring.starts)
    check_call(stage, statistics_bytes(scoring, 0, min(length, count)), remedy)
    missing = unwritten(statistics, key)
    if missing is not None and not missing.any():
        finish_statistics_store(statistics)
        return
    quantiles = scoring.event_quantiles(progress) if scoring.has_quantiles else None
    if missing is None:
        create_statistics_store(statistics, _coordinates(scoring), scoring.dimensions, length, key)
        missing = np.ones(count, dtype=bool)
    use_tasks_of(statistics, length)
    if quantiles is not None:
        grid = scoring.fields.grid
        write_quantiles(statistics, quantiles, grid.latitude, grid.longitude)
    run_tasks(
        stage,
        scoring.without_caches().write,
        [
            (statistics, first, min(first + length, count))
            for first in range(0, count, length)
            if missing[first : first + length].any()
        ],
        progress,
    )
    finish_statistics_store(statistics)


def starts_of_task(scoring: PairScoring, batch: int = 1) -> int:
    """Return the number of initial times of a task.

    It is a multiple of the batch where memory allows: sums round differently in batches of other
    lengths, and statistics should not depend on whether forecasts were stored in between.
    """
    fitting = min(_TASK_STARTS, len(scoring.starts))
    # Initial times share their targets, so that a task of more of them holds few times more.
    while fitting > 1 and truth_bytes(scoring, 0, fitting) > _TASK_BYTES:
        fitting //= 2
    if fitting < batch:
        return fitting
    return batch * (fitting // batch)


def compute_scores(statistics: Path, scores: Path) -> xr.Dataset:
    """Compute and write the scores from a finished store of statistics."""
    with open_statistics(statistics) as found:
        result = scores_of(found)
    write_scores(scores, result)
    return result


def _coordinates(scoring: PairScoring) -> xr.Dataset:
    """Return the coordinates of the statistics."""
    ds, grid = scoring.fields.ds, scoring.fields.grid
    forecasts, config = scoring.forecasts, scoring.config
    coords: dict[str, Any] = {
        "system": string_array(scoring.systems()),
        "region": string_array(scoring.means.names),
        "channel": string_array(channel.name for channel in grid.channels),
        "variable": ("channel", string_array(channel.variable for channel in grid.channels)),
        "level": ("channel", [channel.level or np.nan for channel in grid.channels]),
        "units": (
            "channel",
            string_array(_units(ds, channel.variable) for channel in grid.channels),
        ),
        "time": ("time", forecasts.initial),
        "prediction_timedelta": encode_leads(forecasts.leads),
        "valid_time": (("time", "prediction_timedelta"), forecasts.valid),
    }
    if forecasts.members is not None:
        coords["rank"] = np.arange(forecasts.members + 1)
    if scoring.events:
        own_channels = [grid.channels[event.channel].name for event in scoring.events]
        coords |= {
            "event": string_array(event.name for event in scoring.events),
            "event_channel": ("event", string_array(own_channels)),
            "threshold": ("event", [event.threshold for event in scoring.events]),
            "observed": np.array([0, 1]),
            "members_with_event": np.arange((forecasts.members or 1) + 1),
        }
    if config.neighbourhoods:
        coords["neighbourhood"] = np.array(config.neighbourhoods)
    if config.spectra:
        coords["wavenumber"] = np.arange(wavenumbers(grid))
    if config.indices:
        own = [
            grid.channels[index_channel(name, index, grid)]
            for name, index in config.indices.items()
        ]
        coords |= {
            "index": string_array(config.indices),
            "index_channel": ("index", string_array(channel.name for channel in own)),
            "index_units": ("index", string_array(_units(ds, channel.variable) for channel in own)),
        }
    return xr.Dataset(coords=coords)


def _units(ds: xr.Dataset, variable: str) -> str:
    return str(ds[variable].attrs.get("units", "1"))
