"""Compute scores from statistics: metrics are functions of means over initial times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.config.verification_config import WHOLE
from gfrnn.pipeline.forecasting.forecast_store import encode_leads
from gfrnn.pipeline.forecasting.store_sums import (
    SUMS,
    add_sums,
    check_sums,
    naming_damage,
    open_store,
)
from gfrnn.pipeline.storage import consolidate, string_array, write_whole
from gfrnn.pipeline.verification.events.event_scores import event_scores
from gfrnn.pipeline.verification.significance import (
    rank_histogram_interval,
    score_changes,
    spread_skill_interval,
)
from gfrnn.pipeline.verification.spectrum_scores import spectrum_scores
from gfrnn.pipeline.verification.statistics.ensemble_statistics import spread_skill_ratio
from gfrnn.pipeline.verification.statistics.index_scores import index_correlation, index_rmse
from gfrnn.pipeline.verification.subsets import subset_means, subsets

Array = NDArray[Any]

DIMENSIONS = ("system", "region", "subset", "channel", "prediction_timedelta")
"""Dimensions of the scores of fields."""

SUBSETS = "subsets"
"""Name of the group of the store with the scores of regions, seasons and hours."""

_REMEDY = "restore it from a copy, or remove it and run `gfrnn verify` again"

_FIRST = (
    "rmse",
    "mae",
    "bias",
    "acc",
    "activity",
    "pairs",
    "crps",
    "fair_crps",
    "spread",
    "spread_skill_ratio",
    "energy_score",
    "fair_energy_score",
)
"""Scores in the order in which they are returned; others follow by name."""

_WITHOUT_UNITS = ("acc", "activity", "index_correlation")

_NAMES = {
    "rmse": "root mean square error",
    "mae": "mean absolute error",
    "bias": "mean error",
    "acc": "anomaly correlation",
    "activity": "root mean square of forecast anomalies over that of the truth",
    "index_correlation": "correlation of anomalies of the index over all pairs",
    "index_rmse": "root mean square error of the index",
}


def scores_of(statistics: xr.Dataset) -> xr.Dataset:
    """Return the scores of all subsets.

    Parameters
    ----------
    statistics : xarray.Dataset
        From :func:`gfrnn.pipeline.verification.statistics_store.open_statistics`.

    Returns
    -------
    xarray.Dataset
        ``rmse``, ``mae``, ``bias`` (in the units of each channel), ``acc`` (uncentred anomaly
        correlation, mean over maps) and ``activity``, with DIMENSIONS, the last two if there is a
        climatology; ``pairs`` with the
        dimensions (subset, prediction_timedelta). With indices also ``index_correlation`` and
        ``index_rmse``, dims (system, index, subset, prediction_timedelta). With ensembles also
        ``crps`` and ``fair_crps``, whose dimensions are DIMENSIONS, ``spread``,
        ``spread_skill_ratio`` (1 for members that are exchangeable with the truth; its interval is
        that of :func:`gfrnn.pipeline.verification.significance.spread_skill_interval`),
        ``energy_score`` and ``fair_energy_score``, which lack ``system``, and ``rank_histogram``,
        which has the dimension ``rank`` instead (its interval is that of
        :func:`gfrnn.pipeline.verification.significance.rank_histogram_interval`); of events and
        spectra those of :func:`gfrnn.pipeline.verification.events.event_scores.event_scores` and
        :func:`gfrnn.pipeline.verification.spectrum_scores.spectrum_scores`. Changes against each
        reference, ``rmse_change`` and others, are those of
        :func:`gfrnn.pipeline.verification.significance.score_changes`. A score of no pairs is
        NaN, and so is one of a forecast that has diverged.
    """
    chosen = subsets(statistics)
    means = {
        str(name): _means(statistics[name], chosen)
        for name in statistics.data_vars
        if {"region", "channel", "time"} <= set(statistics[name].dims)
    }
    with np.errstate(divide="ignore", invalid="ignore"):
        found = {
            "rmse": np.sqrt(means["squared_error"]),
            "mae": means["absolute_error"],
            "bias": means["error"],
        }
        if "squared_truth" in means:
            found["acc"] = means["anomaly_correlation"]
            found["activity"] = np.sqrt(means["squared_anomaly"] / means["squared_truth"])
    variables: dict[str, Any] = {
        name: (DIMENSIONS, values, _described(name, statistics["units"].values))
        for name, values in found.items()
    }
    counts = np.stack([own.sum(axis=0) for own in chosen.values()])
    variables["pairs"] = (
        ("subset", "prediction_timedelta"),
        counts,
        {"long_name": "number of pairs of forecast and truth", "units": "1"},
    )
    if "crps" in means:
        variables |= _ensemble_scores(means, statistics.sizes["rank"] - 1)
        variables |= spread_skill_interval(statistics) | rank_histogram_interval(statistics)
    if "event" in statistics.dims:
        variables |= event_scores(statistics, chosen)
    if "wavenumber" in statistics.dims:
        variables |= spectrum_scores(statistics, chosen)
    variables |= score_changes(statistics)
    if "index" in statistics.dims:
        variables |= _index_scores(statistics, chosen)
    time = statistics["time"].values
    kept = statistics.drop_vars([*statistics.data_vars, "time", "valid_time"])
    return (
        kept.assign_coords(subset=string_array(chosen))
        .assign(variables)
        .assign_attrs(first=str(time[0]), last=str(time[-1]))
    )


def _ensemble_scores(means: dict[str, Array], members: int) -> dict[str, Any]:
    """Return the scores of an ensemble."""
    by_system = {
        "crps": "continuous ranked probability score",
        "fair_crps": "fair continuous ranked probability score",
    }
    variables: dict[str, Any] = {
        name: (DIMENSIONS, means[name], {"long_name": described})
        for name, described in by_system.items()
    }
    variance, own = means["ensemble_variance"], DIMENSIONS[1:]
    ratio = spread_skill_ratio(variance, means["squared_error"][0], members)
    found = {
        "spread": (np.sqrt(variance), "root of the mean variance of the ensemble"),
        "spread_skill_ratio": (ratio, "ratio of the spread to the error of the ensemble mean"),
        "energy_score": (means["energy_score"], "energy score of maps"),
        "fair_energy_score": (means["fair_energy_score"], "fair energy score of maps"),
    }
    for name, (values, described) in found.items():
        variables[name] = (own, values, {"long_name": described})
    ranks = (("rank", *own), means["rank_histogram"], {"long_name": "rank histogram"})
    return variables | {"rank_histogram": ranks}


def write_scores(path: Path, scores: xr.Dataset) -> None:
    """Write the scores of all subsets; those of the whole area and all pairs stand at the root."""

    def write(partial: Path) -> None:
        leads = encode_leads(scores["prediction_timedelta"].values)
        encoded = scores.assign_coords(prediction_timedelta=leads)
        for group, own in ((None, _whole(encoded)), (SUBSETS, encoded)):
            own.to_zarr(partial, group=group, mode="a", zarr_format=3, consolidated=False)
        add_sums(partial)
        consolidate(partial)

    write_whole(path, write)


def open_scores(path: Path) -> xr.Dataset:
    """Return the scores of the whole area and all pairs.

    Returns
    -------
    xarray.Dataset
        Variables of :func:`scores_of` without the dimensions ``region`` and ``subset``, always in
        the same order.

    Raises
    ------
    RunError
        If the store is damaged.
    """
    return _open(path, None)


def open_score_subsets(path: Path) -> xr.Dataset:
    """Return the scores of all regions and subsets, see :func:`scores_of`.

    Raises
    ------
    RunError
        If the store is damaged.
    """
    return _open(path, SUBSETS)


def _open(path: Path, group: str | None) -> xr.Dataset:
    check_sums(path, whole=True, remedy=_REMEDY)
    ds = open_store(path, group=group, remedy=_REMEDY)
    with naming_damage(path, "values cannot be read", _REMEDY), ds:
        found: xr.Dataset = ds.load()
    found.attrs.pop(SUMS, None)
    # A store lists its arrays in an order of chance.
    names = sorted(map(str, found.data_vars))
    names.sort(key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))
    coords = {name: found[name].variable for name in sorted(map(str, found.coords))}
    return xr.Dataset({name: found[name].variable for name in names}, coords, found.attrs)


def _whole(scores: xr.Dataset) -> xr.Dataset:
    return scores.sel(region=WHOLE, subset=WHOLE, drop=True)


def _described(name: str, units: Array) -> dict[str, str]:
    """Return the attributes of a score of channels or indices with these units."""
    own = ["1"] if name in _WITHOUT_UNITS else sorted(set(map(str, units)))
    if len(own) == 1:
        return {"long_name": _NAMES[name], "units": own[0]}
    dimension = "index_units" if name.startswith("index") else "units"
    return {"long_name": _NAMES[name], "comment": f"in different units: see {dimension}"}


def _means(statistic: xr.DataArray, chosen: dict[str, Array]) -> Array:
    """Return the means of a statistic over the pairs of each subset.

    Returns
    -------
    ndarray, shape (..., subsets, channels, leads)
    """
    dims = [dim for dim in statistic.dims if dim not in ("channel", "time", "prediction_timedelta")]
    values = statistic.transpose(*dims, "channel", "time", "prediction_timedelta").values
    return np.moveaxis(subset_means(values, chosen), -2, -3)


def _index_scores(statistics: xr.Dataset, chosen: dict[str, Array]) -> dict[str, Any]:
    forecast, truth = statistics["index_forecast"].values, statistics["index_truth"].values
    dims = ("system", "index", "subset", "prediction_timedelta")
    return {
        name: (
            dims,
            np.stack([metric(forecast, truth, own) for own in chosen.values()], axis=2),
            _described(name, statistics["index_units"].values),
        )
        for name, metric in (("index_correlation", index_correlation), ("index_rmse", index_rmse))
    }
