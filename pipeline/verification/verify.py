"""Compute scores of the forecasts and of reference forecasts.

A metric is a function of means of statistics over pairs of forecast and truth. The reducer computes
the sums of the statistics; the metrics are computed from them at the end.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.forecasting.forecast import load_model, read_history
from gfrnn.pipeline.forecasting.forecast_store import encode_leads, open_forecasts
from gfrnn.pipeline.reduction.checkpoints import Arrays
from gfrnn.pipeline.reduction.progress import Progress
from gfrnn.pipeline.reduction.reduce import reduce_stretches
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.storage import consolidate, write_whole
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.training.zonal.zonal_features import walk_bytes
from gfrnn_core import UnstableRollout
from gfrnn_core.zonal import ZonalNetwork

Array = NDArray[Any]

SYSTEMS = ("forecast", "linear", "damped persistence", "persistence", "climatology")
"""Scored systems: the forecasts and the references."""

STATISTICS = ("squared_error", "error", "anomaly_correlation")
"""Statistics of each pair of forecast and truth: area means over the grid."""

# Bytes of the pairs of fields (float64) that one leaf holds at once.
_LEAF_BYTES = 128 * 2**20


@dataclass(frozen=True)
class ScoreSummary:
    """Sums over initial times of the statistics of every system, channel and lead.

    A stretch is a range of initial times of the forecast store.
    """

    fields: Fields
    model: Path
    forecasts: Path
    name: str = "verify"
    remedy: str = "forecast.horizon"

    @cached_property
    def store(self) -> xr.Dataset:
        return open_forecasts(self.forecasts)

    @cached_property
    def starts(self) -> Array:
        """Return the indices of the initial times on the data's time axis."""
        return np.searchsorted(self.fields.time, self.store["time"].values)

    def leaf(self, stretch: Stretch) -> Arrays:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnstableRollout)  # scores are NaN instead
            return self._leaf(stretch)

    def _leaf(self, stretch: Stretch) -> Arrays:
        model = load_model(str(self.model))
        horizon = self.store.sizes["prediction_timedelta"]
        grid, time = self.fields.grid, self.fields.time
        starts = self.starts[stretch.start : stretch.stop]
        weights = np.cos(np.deg2rad(grid.latitude))[:, None] * grid.valid
        history = read_history(self.fields, model, starts)
        shape = (len(SYSTEMS), len(STATISTICS), len(grid.channels), horizon)
        sums, counts = np.zeros(shape), np.zeros(horizon, dtype=int)
        climatology = model.layout.scaling.climatology
        # Initial times and the truth of all leads are read in one read.
        first, last = int(starts[0]), min(int(starts[-1]) + horizon + 1, len(time))
        real = self.fields.read(first, last)
        real -= climatology(time[first:last])
        walk = model.linear_walk(history, time[starts], horizon)
        for lead, (linear, _) in enumerate(walk, 1):
            # Use only times in the data at the exact distance of the lead: data may have gaps.
            valid = time[starts] + model.step * lead
            later = np.searchsorted(time, valid)
            known = later < len(time)
            known[known] = time[later[known]] == valid[known]
            if not known.any():
                continue
            truth, present = real[later[known] - first], real[starts[known] - first]
            mean = climatology(valid[known])
            anomalies = {
                "forecast": self._forecasts(stretch, lead)[known] - mean,
                "linear": model.layout.anomalies(linear[known]),
                "damped persistence": present * model.damping(lead),
                "persistence": present + climatology(time[starts[known]]) - mean,
                "climatology": np.zeros_like(mean),
            }
            for index, system in enumerate(SYSTEMS):
                pairs = anomalies[system], truth
                sums[index, :, :, lead - 1] = _statistics(*pairs, weights)
            counts[lead - 1] = known.sum()
        return {"sums": sums, "counts": counts}

    def merge(self, left: Arrays, right: Arrays) -> Arrays:
        return {name: left[name] + right[name] for name in left}

    def leaf_bytes(self, stretch: Stretch) -> int:
        horizon = self.store.sizes["prediction_timedelta"]
        starts = self.starts[stretch.start : stretch.stop]
        times = int(starts[-1] - starts[0]) + horizon + 1
        model = load_model(str(self.model))
        linear = model.linear
        # The first states and their scaled copies, the states that the linear model still needs,
        # the latest stacked, and the predicted ones.
        walked = linear.state_size * (max(linear.leads) + 4 * linear.delays + 2)
        zonal = 0
        if isinstance(linear, ZonalNetwork):
            zonal = walk_bytes(linear, 1, len(starts))
        # Eight fields and climatologies per pair, and five products for the statistics.
        scoring = self.fields.grid.size * (2 * times + 13 * len(starts)) + walked * len(starts)
        # The initial states of the references are held while the truth is read.
        history = model.delays * model.layout.size * len(starts)
        return max(self.fields.read_bytes(times) + 8 * history, 8 * scoring + zonal)

    def merge_bytes(self) -> int:
        horizon = self.store.sizes["prediction_timedelta"]
        return 3 * 8 * len(SYSTEMS) * len(STATISTICS) * len(self.fields.grid.channels) * horizon

    def _forecasts(self, stretch: Stretch, lead: int) -> Array:
        """Return the forecasts at a lead: shape (initial times, grid.size), 0 in the mask."""
        chosen = self.store.isel(
            time=slice(stretch.start, stretch.stop), prediction_timedelta=lead - 1
        )
        grid = self.fields.grid
        loaded = {name: chosen[name].load() for name in map(str, chosen.data_vars)}
        planes = []
        for channel in grid.channels:
            array = loaded[channel.variable]
            if channel.level is not None:
                array = array.sel(level=channel.level)
            planes.append(array.transpose("time", "latitude", "longitude").values)
        fields = np.stack(planes, axis=1).astype(float).reshape(-1, grid.size)
        if grid.mask is not None:
            fields[:, grid.mask] = 0.0
        return fields


def _statistics(forecast: Array, truth: Array, weights: Array) -> Array:
    """Return sums over times of the statistics: shape (statistics, channels).

    ``weights`` are the weights of all cells: shape (channels, latitudes, longitudes).
    """
    dims = ("time", "channel", "latitude", "longitude")
    given = xr.DataArray(forecast.reshape(-1, *weights.shape), dims=dims)
    real = xr.DataArray(truth.reshape(-1, *weights.shape), dims=dims)
    area = xr.DataArray(weights, dims=dims[1:])

    def mean(values: xr.DataArray) -> xr.DataArray:
        # NaN values must make the mean NaN.
        return values.weighted(area).mean(("latitude", "longitude"), skipna=False)

    error = given - real
    norm = (mean(given**2) * mean(real**2)) ** 0.5
    # A forecast without anomalies (the climatology) has no pattern to correlate: it counts 0.
    correlation = (mean(given * real) / norm.where(norm != 0, 1.0)).where(norm != 0, 0.0)
    return np.stack(
        [
            values.sum("time", skipna=False).values
            for values in (mean(error**2), mean(error), correlation)
        ]
    )


def verify(
    ds: xr.Dataset,
    model: Path,
    forecasts: Path,
    path: Path,
    progress: Progress | None = None,
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

    Returns
    -------
    xarray.Dataset
        ``rmse``, ``bias`` (in the units of each channel) and ``acc`` (uncentred anomaly
        correlation, mean over maps), dims (system, channel, prediction_timedelta), weighted with
        cos latitude and without the mask. ``pairs`` counts the initial times of each lead.

    Raises
    ------
    RunError
        If model or forecasts are missing or not finished.
    """
    fields = ForecastModel.load(model).fields(ds)
    summary = ScoreSummary(fields, model, forecasts)
    store = summary.store
    horizon = store.sizes["prediction_timedelta"]
    # An initial time takes the truth of all its leads and eight fields of a pair.
    length = max(1, _LEAF_BYTES // (8 * fields.grid.size * (horizon + 8)))
    stretches = [
        Stretch("scores", start, min(start + length, store.sizes["time"]))
        for start in range(0, store.sizes["time"], length)
    ]
    root = reduce_stretches(summary, stretches, key="", progress=progress)["scores"]
    scores = _metrics(root, fields, store)

    def write(partial: Path) -> None:
        stored = scores.assign_coords(
            prediction_timedelta=encode_leads(scores["prediction_timedelta"].values)
        )
        stored.to_zarr(partial, mode="w", zarr_format=3, consolidated=False)
        consolidate(partial)

    write_whole(path, write)
    return scores


def _metrics(root: Arrays, fields: Fields, store: xr.Dataset) -> xr.Dataset:
    with np.errstate(divide="ignore", invalid="ignore"):
        means = dict(zip(STATISTICS, np.moveaxis(root["sums"] / root["counts"], 1, 0), strict=True))
    ds, channels = fields.ds, fields.grid.channels
    dims = ("system", "channel", "prediction_timedelta")
    return xr.Dataset(
        {
            "rmse": (
                dims,
                np.sqrt(means["squared_error"]),
                {"long_name": "root mean square error"},
            ),
            "bias": (dims, means["error"], {"long_name": "mean error"}),
            "acc": (dims, means["anomaly_correlation"], {"long_name": "anomaly correlation"}),
            "pairs": ("prediction_timedelta", root["counts"]),
        },
        {
            "system": _text(SYSTEMS),
            "channel": _text(channel.name for channel in channels),
            "variable": ("channel", _text(channel.variable for channel in channels)),
            "level": ("channel", [channel.level or np.nan for channel in channels]),
            "units": ("channel", _text(ds[c.variable].attrs.get("units", "1") for c in channels)),
            "prediction_timedelta": store["prediction_timedelta"].values,
        },
        {"first": str(store["time"].values[0]), "last": str(store["time"].values[-1])},
    )


def _text(words: Iterable[Any]) -> Array:
    # Strings have variable length: zarr 3 does not specify strings of fixed length.
    return np.array([str(word) for word in words], dtype=np.dtypes.StringDType())
