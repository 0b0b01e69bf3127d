"""Compute scores of the forecasts and of reference forecasts.

A metric is a function of means of statistics over pairs of forecast and truth. The reducer computes
the sums of the statistics; the metrics are computed from them at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.config.verification_config import IndexConfig
from gfrnn.pipeline.data.area_index import index_channel, index_weights
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.forecasting.forecast import load_model
from gfrnn.pipeline.forecasting.forecast_store import encode_leads
from gfrnn.pipeline.reduction.checkpoints import Arrays
from gfrnn.pipeline.reduction.progress import Progress
from gfrnn.pipeline.reduction.reduce import reduce_stretches
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.storage import consolidate, write_whole
from gfrnn.pipeline.verification.index_scores import index_correlation, index_rmse
from gfrnn.pipeline.verification.pair_statistics import STATISTICS
from gfrnn.pipeline.verification.score_summary import ScoreSummary, scored_systems

Array = NDArray[Any]

# Bytes of the pairs of fields (float64) that one leaf holds at once.
_LEAF_BYTES = 128 * 2**20

# Most initial times of a leaf. It does not depend on the number of workers, so that sums are the
# same on any number; leaves of this length keep many workers busy.
_LEAF_STARTS = 32


def verify(
    ds: xr.Dataset,
    model: Path,
    forecasts: Path,
    path: Path,
    progress: Progress | None = None,
    indices: Mapping[str, IndexConfig] | None = None,
) -> xr.Dataset:
    """Score the forecasts and the references against the data, and write ``scores.zarr``.

    Parameters
    ----------
    ds : xarray.Dataset
        The truth, from :func:`gfrnn.pipeline.open_source`.
    model, forecasts : Path
        Stores ``model.zarr`` and ``forecast.zarr``.
    path : Path
        Store to write, ``scores.zarr``.
    progress : callable, optional
    indices : mapping of IndexConfig, optional
        Area indices to score, by name.

    Returns
    -------
    xarray.Dataset
        ``rmse``, ``bias`` (in the units of each channel) and ``acc`` (uncentred anomaly
        correlation, mean over maps), dims (system, channel, prediction_timedelta), weighted with
        cos latitude and without the mask. ``pairs`` counts the initial times of each lead. With
        indices also ``index_correlation`` (of anomalies, over all pairs) and ``index_rmse``, dims
        (system, index, prediction_timedelta); their persistence is that of the anomaly. Scores
        of monthly data also have ``rmse_by_month``, ``acc_by_month`` and ``pairs_by_month``, with
        the dimension ``month``, the calendar month of the target, 1 to 12.

    Raises
    ------
    ConfigError
        If an index has no cell with values, or a variable or level that the data do not have.
    RunError
        If model or forecasts are missing or not finished.
    """
    trained = load_model(str(model))
    fields = trained.fields(ds)
    indices = indices or {}
    index_weights(indices, fields.grid)  # refuse an index without cells before work
    summary = ScoreSummary(fields, model, forecasts, indices)
    store = summary.store
    horizon = store.sizes["prediction_timedelta"]
    # An initial time takes the truth of all its leads and eight fields of a pair.
    length = max(1, _LEAF_BYTES // (8 * fields.grid.size * (horizon + 8)))
    length = min(length, _LEAF_STARTS)
    stretches = [
        Stretch("scores", start, min(start + length, store.sizes["time"]))
        for start in range(0, store.sizes["time"], length)
    ]
    root = reduce_stretches(summary, stretches, key="", progress=progress)["scores"]
    scores = _metrics(root, fields, store, scored_systems(trained))
    if summary.indices:
        scores = scores.assign(_index_scores(root, summary))

    def write(partial: Path) -> None:
        stored = scores.assign_coords(
            prediction_timedelta=encode_leads(scores["prediction_timedelta"].values)
        )
        stored.to_zarr(partial, mode="w", zarr_format=3, consolidated=False)
        consolidate(partial)

    write_whole(path, write)
    return scores


def _metrics(root: Arrays, fields: Fields, store: xr.Dataset, systems: Sequence[str]) -> xr.Dataset:
    ds, channels = fields.ds, fields.grid.channels
    dims = ("system", "channel", "prediction_timedelta")
    means = _means(root["sums"].sum(axis=0), root["counts"].sum(axis=0))
    error, correlation = (
        {"long_name": "root mean square error"},
        {"long_name": "anomaly correlation"},
    )
    variables = {
        "rmse": (dims, np.sqrt(means["squared_error"]), error),
        "bias": (dims, means["error"], {"long_name": "mean error"}),
        "acc": (dims, means["anomaly_correlation"], correlation),
        "pairs": ("prediction_timedelta", root["counts"].sum(axis=0)),
    }
    coords = {
        "system": _text(systems),
        "channel": _text(channel.name for channel in channels),
        "variable": ("channel", _text(channel.variable for channel in channels)),
        "level": ("channel", [channel.level or np.nan for channel in channels]),
        "units": ("channel", _text(ds[c.variable].attrs.get("units", "1") for c in channels)),
        "prediction_timedelta": store["prediction_timedelta"].variable,
    }
    if len(root["counts"]) > 1:
        by_month = _means(np.moveaxis(root["sums"], 0, 3), root["counts"])
        own = ("system", "channel", "month", "prediction_timedelta")
        variables |= {
            "rmse_by_month": (own, np.sqrt(by_month["squared_error"]), error),
            "acc_by_month": (own, by_month["anomaly_correlation"], correlation),
            "pairs_by_month": (own[2:], root["counts"]),
        }
        coords["month"] = ("month", np.arange(1, 13), {"long_name": "calendar month of the target"})
    period = {"first": str(store["time"].values[0]), "last": str(store["time"].values[-1])}
    return xr.Dataset(variables, coords, period)


def _means(sums: Array, counts: Array) -> dict[str, Array]:
    """Return the mean of each statistic; ``sums`` has shape (systems, statistics, ...)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return dict(zip(STATISTICS, np.moveaxis(sums / counts, 1, 0), strict=True))


def _index_scores(root: Arrays, summary: ScoreSummary) -> xr.Dataset:
    """Return correlation and RMSE of the indices."""
    grid, dims = summary.fields.grid, ("system", "index", "prediction_timedelta")
    own = [
        grid.channels[index_channel(name, index, grid)] for name, index in summary.indices.items()
    ]
    units = [summary.fields.ds[channel.variable].attrs.get("units", "1") for channel in own]
    sums, counts = root["moments"], root["counts"].sum(axis=0)
    return xr.Dataset(
        {
            "index_correlation": (
                dims,
                index_correlation(sums, counts),
                {"long_name": "correlation of anomalies of the index over all pairs"},
            ),
            "index_rmse": (
                dims,
                index_rmse(sums, counts),
                {"long_name": "root mean square error of the index"},
            ),
        },
        {
            "index": _text(summary.indices),
            "index_channel": ("index", _text(channel.name for channel in own)),
            "index_units": ("index", _text(units)),
        },
    )


def _text(words: Iterable[Any]) -> Array:
    # Strings have variable length: zarr 3 does not specify strings of fixed length.
    return np.array([str(word) for word in words], dtype=np.dtypes.StringDType())
