"""Compute scores of the forecasts and of reference forecasts.

A metric is a function of means of statistics over pairs of forecast and truth. The reducer computes
the sums of the statistics; the metrics are computed from them at the end.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.config.verification_config import IndexConfig
from gfrnn.pipeline.data.area_index import index_channel, index_weights
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.forecasting.forecast import load_model
from gfrnn.pipeline.forecasting.forecast_store import encode_leads, open_forecasts
from gfrnn.pipeline.forecasting.initial_states import read_history
from gfrnn.pipeline.reduction.checkpoints import Arrays
from gfrnn.pipeline.reduction.progress import Progress
from gfrnn.pipeline.reduction.reduce import reduce_stretches
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.states.eof_states import EofLayout
from gfrnn.pipeline.states.harmonics import calendar_months
from gfrnn.pipeline.storage import consolidate, write_whole
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.training.zonal.zonal_features import walk_bytes
from gfrnn.pipeline.verification.index_scores import (
    MOMENTS,
    index_correlation,
    index_moments,
    index_rmse,
)
from gfrnn_core import UnstableRollout
from gfrnn_core.zonal import ZonalNetwork

Array = NDArray[Any]

SYSTEMS = ("forecast", "linear", "damped persistence", "persistence", "climatology")
"""Scored systems: the forecasts and the references."""

STATISTICS = ("squared_error", "error", "anomaly_correlation")
"""Statistics of each pair of forecast and truth: area means over the grid."""

INVERSE = "linear inverse"
"""System of monthly data: the linear inverse model, see :meth:`ForecastModel.inverse_walk`."""

# Bytes of the pairs of fields (float64) that one leaf holds at once.
_LEAF_BYTES = 128 * 2**20


@dataclass(frozen=True)
class ScoreSummary:
    """Sums over initial times of the statistics of every system, channel, index and lead.

    A stretch is a range of initial times of the forecast store.
    """

    fields: Fields
    model: Path
    forecasts: Path
    indices: Mapping[str, IndexConfig] = field(default_factory=dict)
    name: str = "verify"
    remedy: str = "forecast.horizon"

    @cached_property
    def store(self) -> xr.Dataset:
        return open_forecasts(self.forecasts)

    @cached_property
    def starts(self) -> Array:
        """Return the indices of the initial times on the data's time axis."""
        return np.searchsorted(self.fields.time, self.store["time"].values)

    @cached_property
    def index_weights(self) -> Array:
        """Return the weight of each cell in each index: shape (indices, grid.size)."""
        return index_weights(self.indices, self.fields.grid)

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
        systems, months = scored_systems(model), _target_months(model)
        shape = (months, len(systems), len(STATISTICS), len(grid.channels), horizon)
        sums, counts = np.zeros(shape), np.zeros((months, horizon), dtype=int)
        moments = np.zeros((len(systems), len(MOMENTS), len(self.indices), horizon))
        climatology = model.layout.scaling.climatology
        # Initial times and the truth of all leads are read in one read.
        first, last = int(starts[0]), min(int(starts[-1]) + horizon + 1, len(time))
        real = self.fields.read(first, last)
        real -= climatology(time[first:last])
        walks = zip(
            model.linear_walk(history, time[starts], horizon),
            model.inverse_walk(history, horizon) if INVERSE in systems else repeat(None),
            strict=False,
        )
        for lead, ((linear, _), inverse) in enumerate(walks, 1):
            # Use only times in the data at the exact distance of the lead: data may have gaps.
            valid = model.step.after(time[starts], lead)
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
                INVERSE: None if inverse is None else model.layout.anomalies(inverse[known]),
                "damped persistence": present * model.damping(lead),
                "persistence": present + climatology(time[starts[known]]) - mean,
                "climatology": np.zeros_like(mean),
            }
            target = calendar_months(valid[known]) - 1
            groups = [target == month if months > 1 else slice(None) for month in range(months)]
            counts[:, lead - 1] = [len(truth[own]) for own in groups]
            for index, system in enumerate(systems):
                statistics = _statistics(anomalies[system], truth, weights)
                for month, own in enumerate(groups):
                    totals = [values[own].sum(axis=0) for values in statistics]
                    sums[month, index, :, :, lead - 1] = totals
                # Persistence of an index is that of its anomaly, not of the field.
                given = present if system == "persistence" else anomalies[system]
                moments[index, :, :, lead - 1] = index_moments(
                    given @ self.index_weights.T, truth @ self.index_weights.T
                )
        return {"sums": sums, "counts": counts, "moments": moments}

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
        scoring += len(self.indices) * self.fields.grid.size
        # The initial states of the references are held while the truth is read.
        history = model.delays * model.layout.size * len(starts)
        return max(self.fields.read_bytes(times) + 8 * history, 8 * scoring + zonal)

    def merge_bytes(self) -> int:
        horizon, model = self.store.sizes["prediction_timedelta"], load_model(str(self.model))
        statistics = _target_months(model) * len(STATISTICS) * len(self.fields.grid.channels)
        statistics += len(MOMENTS) * len(self.indices)
        return 3 * 8 * len(scored_systems(model)) * statistics * horizon

    def _forecasts(self, stretch: Stretch, lead: int) -> Array:
        """Return the forecasts at a lead: shape (initial times, grid.size), 0 in the mask."""
        chosen = self.store.isel(
            time=slice(stretch.start, stretch.stop), prediction_timedelta=lead - 1
        )
        grid = self.fields.grid
        loaded = {
            name: chosen[name].load() for name in dict.fromkeys(c.variable for c in grid.channels)
        }
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


def _statistics(forecast: Array, truth: Array, weights: Array) -> list[Array]:
    """Return each of the statistics: shape (times, channels).

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
    return [values.values for values in (mean(error**2), mean(error), correlation)]


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
    trained = ForecastModel.load(model)
    fields = trained.fields(ds)
    indices = indices or {}
    index_weights(indices, fields.grid)  # refuse an index without cells before work
    summary = ScoreSummary(fields, model, forecasts, indices)
    store = summary.store
    horizon = store.sizes["prediction_timedelta"]
    # An initial time takes the truth of all its leads and eight fields of a pair.
    length = max(1, _LEAF_BYTES // (8 * fields.grid.size * (horizon + 8)))
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


def scored_systems(model: ForecastModel) -> tuple[str, ...]:
    """Return the systems that are scored: SYSTEMS, with monthly data and EOFs also INVERSE."""
    if model.step.monthly and isinstance(model.layout, EofLayout):
        return (*SYSTEMS[:2], INVERSE, *SYSTEMS[2:])
    return SYSTEMS


def _target_months(model: ForecastModel) -> int:
    """Return the number of groups of targets: the calendar months of monthly data, else one."""
    return 12 if model.step.monthly else 1


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
