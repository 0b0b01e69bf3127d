"""Processor time of scoring stored forecasts, beside that of decoding them and their truth."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import xarray as xr
import zarr
from rich.table import Table

from gfrnn.pipeline.config.data_config import DataConfig
from gfrnn.pipeline.config.durations import Duration
from gfrnn.pipeline.config.verification_config import VerificationConfig
from gfrnn.pipeline.data.dataset import open_source
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.forecasting.forecast_store import (
    WRITTEN,
    create_forecast_store,
    finish_forecast_store,
)
from gfrnn.pipeline.reduction.blas_threads import single_threaded
from gfrnn.pipeline.states.climatology import Climatology
from gfrnn.pipeline.states.harmonics import term_count
from gfrnn.pipeline.storage import array_in
from gfrnn.pipeline.verification.sources.source_scoring import SourceScoring
from gfrnn.pipeline.verification.stored_fields import StoredForecasts
from gfrnn.pipeline.verification.verify import compute_scores, compute_statistics
from gfrnn.workflows.benchmarks.benchmark_tables import BarCheck, bar_table, plain_table
from gfrnn.workflows.benchmarks.round_timing import least_seconds
from gfrnn.workflows.benchmarks.stores.job_bounds import read_data_once, read_once
from gfrnn.workflows.benchmarks.stores.store_chunks import StoreSize, smooth_fields

_BAR = 1.5
_LEVELS = [500.0, 850.0]
_NAME = "geopotential"
_REGIONS = {"north": {"latitude": [0, 90]}, "east": {"longitude": [0, 180]}}
_HARMONICS = 2

FULL = StoreSize(starts=64, leads=40, latitudes=120, longitudes=240)
QUICK = StoreSize(starts=16, leads=10, latitudes=60, longitudes=120)


@dataclass(frozen=True)
class MadeUp:
    """Made-up forecasts and their truth.

    Attributes
    ----------
    truth, forecasts : Path
        Stores.
    scoring : SourceScoring
        Persistence and a climatology are scored too.
    """

    truth: Path
    forecasts: Path
    scoring: SourceScoring


def run(size: StoreSize, rounds: int, full: bool) -> Iterator[Table]:
    """Yield the table of processor times, the least of some rounds, and that of the bar.

    Parameters
    ----------
    size : StoreSize
    rounds : int
    full : bool
        Whether the size is the full one.
    """
    with tempfile.TemporaryDirectory() as name:
        seconds = single_threaded(_measure, Path(name), size, rounds)
    table = plain_table(
        f"{size.starts} initial times, {size.leads} leads, 2 levels, fields of {size.label}",
        "work",
        "processor seconds",
        "over decoding",
        text=("work",),
    )
    for work, taken in seconds.items():
        table.add_row(work, f"{taken:.2f}", f"{taken / seconds['decode']:.2f}")
    yield table
    ratio = seconds["statistics"] / seconds["decode"]
    yield bar_table(
        [BarCheck("statistics: seconds over decoding", ratio, _BAR, at_most=True)], full
    )


def _measure(folder: Path, size: StoreSize, rounds: int) -> dict[str, float]:
    made = make_up(folder, size)
    return least_seconds(works(folder, made), rounds, time.process_time)


def works(folder: Path, made: MadeUp) -> dict[str, Callable[[], object]]:
    """Return the works: decoding, statistics of all pairs, and scores from the statistics.

    The last does not grow with the size of the fields.
    """

    def decode() -> None:
        read_once(made.forecasts)
        read_data_once(made.forecasts, made.truth, slice(None))

    own = made.scoring
    config = VerificationConfig.model_validate({"regions": _REGIONS})
    regional = SourceScoring(own.fields, own.forecasts, config, climatology=own.climatology)
    stores = folder / "statistics.zarr", folder / "scores.zarr"
    return {
        "decode": decode,
        "statistics": partial(compute_statistics, own, stores[0]),
        "statistics with two regions": partial(compute_statistics, regional, stores[0]),
        "scores from the statistics": partial(compute_scores, *stores),
    }


def make_up(folder: Path, size: StoreSize) -> MadeUp:
    """Write forecasts and their truth.

    Parameters
    ----------
    folder : Path
        Existing folder.
    size : StoreSize
    """
    values = 5e4 + 100 * smooth_fields(size)
    time_axis = np.datetime64("2020-01-01", "ns") + np.arange(
        size.starts + size.leads
    ) * np.timedelta64(12, "h")
    latitude = np.linspace(-87, 87, size.latitudes)
    longitude = np.arange(size.longitudes) * 360 / size.longitudes
    # The truth has the same patterns.
    days = np.concatenate([values[:, 0], values[-1]])
    truth = folder / "truth.zarr"
    attrs = {"units": "m2 s-2"}
    xr.Dataset(
        {_NAME: (("time", "level", "latitude", "longitude"), days, attrs)},
        {"time": time_axis, "level": _LEVELS, "latitude": latitude, "longitude": longitude},
    ).to_zarr(truth, consolidated=False, encoding={_NAME: {"chunks": (8, *days.shape[1:])}})
    fields = Fields(open_source(DataConfig.model_validate({"sources": [str(truth)]})))
    forecasts = folder / "forecast.zarr"
    create_forecast_store(
        forecasts,
        fields.grid,
        fields.time[: size.starts],
        Duration.parse("12h"),
        size.leads,
        {_NAME: attrs},
        {},
        size.starts,
    )
    group = zarr.open_group(forecasts, mode="r+", use_consolidated=False)
    array_in(group, _NAME)[...] = values
    array_in(group, WRITTEN)[...] = 1
    finish_forecast_store(forecasts, fields.grid)
    terms = np.zeros((term_count(_HARMONICS, 0), fields.grid.size))
    terms[0] = 5e4
    climatology = Climatology(_HARMONICS, 0, terms, np.ones(len(_LEVELS)))
    own = StoredForecasts(forecasts, fields.grid)
    scoring = SourceScoring(fields, own, VerificationConfig(), climatology=climatology)
    return MadeUp(truth, forecasts, scoring)
