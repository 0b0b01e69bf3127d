"""Score the forecasts of finished runs from their stores, and compare the scores with bars.

The scores are computed with xarray from ``forecast.zarr`` and the data, by code that shares nothing
with the stage ``verify``, so that either checks the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from rich.table import Table

from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.training.stretches import climatology_cycles
from gfrnn.workflows.benchmarks.benchmark_tables import BarCheck, bar_table

Array = NDArray[Any]

_DAY = np.timedelta64(1, "D")


@dataclass(frozen=True)
class LeadBar:
    """A bar for the score of one variable at one lead.

    Attributes
    ----------
    variable : str
    lead : float
        Lead in days, or in months for monthly data.
    bar : float
        RMSE in the unit of the variable that the forecast must not exceed.
    level : float or None
        Level in hPa.
    """

    variable: str
    lead: float
    bar: float
    level: float | None = None


Z, T, MSL = "geopotential", "temperature", "mean_sea_level_pressure"
SST = "sea_surface_temperature"

RMSE_BARS: dict[str, list[LeadBar]] = {
    "nature": [
        LeadBar(Z, lead, bar, 250.0) for lead, bar in ((0.5, 45), (1, 130), (2, 380), (5, 1080))
    ],
    "era_interim_europe": [
        LeadBar(variable, lead, bar, level)
        for variable, level, bars in (
            (Z, 500.0, (460, 914, 1020)),
            (T, 850.0, (1.86, 3.30, 3.66)),
            (MSL, None, (436, 797, 875)),
        )
        for lead, bar in zip((1, 3, 5), bars, strict=True)
    ],
}
"""RMSE that the forecasts of the example experiments must reach, by name of the experiment."""

LEAST_USEFUL_DAYS = {"nature": 6.5}
"""Least lead in days at which the mean anomaly correlation may fall below 0.6."""

CORRELATION_BARS = {"enso": {3: 0.82, 6: 0.63, 9: 0.42, 12: 0.33}}
"""Least correlation of the Nino 3.4 index, by lead in months."""

RELATIVE_BARS = {"enso": {6: 0.83}}
"""Largest RMSE of the fields relative to that of the climatology, by lead in months."""

CLIMATOLOGY_BAR = 1.01
"""Largest RMSE at any lead of the nature run, relative to that of the climatology."""


def run(folders: list[Path]) -> Iterator[Table]:
    """Score the runs in some folders; yield one table each."""
    for folder in folders:
        finished = Run.reopen(folder)
        scores = score_run(finished)
        checks = [*bar_checks(finished.experiment.name, scores), *_agreement(finished, scores)]
        table = bar_table(checks, full=True)
        table.title = f"{finished.experiment.name}: {folder}"
        yield table


def score_run(finished: Run) -> xr.Dataset:
    """Return RMSE, that of the climatology, and anomaly correlation, by variable and lead.

    Returns
    -------
    xarray.Dataset
        For each variable NAME of the forecasts ``NAME_rmse``, ``NAME_climatology`` and
        ``NAME_acc``, dims (lead, [level]), and ``nino34`` (lead) where there is sea surface
        temperature. The coordinate ``lead`` is in days, or in months for monthly data.
    """
    monthly = finished.experiment.forecast.horizon.monthly
    with finished.stored_forecasts() as forecasts:  # longitudes in the order of the data
        names = [str(name) for name in forecasts.data_vars if "latitude" in forecasts[name].dims]
        found: dict[str, xr.DataArray] = {}
        for name in names:
            anomalies = _Anomalies(finished, finished.ds[name].load())
            found |= _scores_of(name, forecasts[name], forecasts["valid_time"], anomalies)
        leads = forecasts["prediction_timedelta"].values
    numbers = np.arange(1, len(leads) + 1) if monthly else leads / _DAY
    return xr.Dataset(found).assign_coords(lead=np.asarray(numbers, dtype=float))


class _Anomalies:
    """Differences of fields from a climatology that is fitted to the training period."""

    def __init__(self, finished: Run, truth: xr.DataArray) -> None:
        self.annual, self.diurnal = climatology_cycles(finished.experiment, truth["time"].values)
        self.truth = truth
        period = finished.experiment.periods.train
        known = truth.isel(time=np.flatnonzero(period.mask(truth["time"].values)))
        self.mean: xr.DataArray | None = None
        if self.annual == "month":
            self.mean = known.groupby("time.month").mean()
            return
        rows = known.transpose("time", ...).values.reshape(known.sizes["time"], -1)
        design = self._design(known["time"].values)
        self.coefficients = np.linalg.lstsq(design, rows, rcond=None)[0]

    def _design(self, time: Array) -> Array:
        stamps = pd.DatetimeIndex(time)
        day = np.asarray((stamps - stamps.normalize()) / pd.Timedelta(days=1))
        days = np.where(stamps.is_leap_year, 366, 365)
        year = (np.asarray(stamps.day_of_year) - 1 + day) / days
        annual = 0 if self.annual == "month" else self.annual  # months have means instead
        waves = [2 * np.pi * k * year for k in range(1, annual + 1)]
        waves += [2 * np.pi * k * day for k in range(1, self.diurnal + 1)]
        columns = [np.ones(len(time)), *(f(wave) for wave in waves for f in (np.cos, np.sin))]
        return np.stack(columns, axis=1)

    def climatology(self, time: Array) -> xr.DataArray:
        """Return the climatology at some times."""
        if self.mean is not None:
            months = xr.DataArray(pd.DatetimeIndex(time).month, dims="time")
            return self.mean.sel(month=months).drop_vars("month")
        one = self.truth.isel(time=0, drop=True)
        values = (self._design(time) @ self.coefficients).reshape(len(time), *one.shape)
        return xr.DataArray(values, dims=("time", *one.dims), coords=one.coords)


def _scores_of(
    name: str, forecasts: xr.DataArray, valid_time: xr.DataArray, anomalies: _Anomalies
) -> dict[str, xr.DataArray]:
    """Return the scores of one variable by name."""
    truth = anomalies.truth
    weights = area_weights(truth)
    dims = ("latitude", "longitude")
    series: dict[str, list[xr.DataArray]] = {}

    def mean(values: xr.DataArray) -> xr.DataArray:
        return values.weighted(weights).mean(dims)

    for lead in range(forecasts.sizes["prediction_timedelta"]):
        valid = valid_time.isel(prediction_timedelta=lead).values
        known = np.isin(valid, truth["time"].values)
        time = valid[known]
        given = forecasts.isel(prediction_timedelta=lead).values[known]
        real = truth.sel(time=time).transpose("time", *forecasts.dims[2:])
        climate = anomalies.climatology(time).transpose(*real.dims)
        ours = real.copy(data=given.astype(float)) - climate.values
        theirs = real - climate.values
        norm = (mean(ours**2) * mean(theirs**2)) ** 0.5
        found = {
            "rmse": mean((ours - theirs) ** 2).mean("time") ** 0.5,
            "climatology": mean(theirs**2).mean("time") ** 0.5,
            "acc": (mean(ours * theirs) / norm).mean("time"),
        }
        if name == SST:
            found["nino34"] = _correlation(_nino34(ours), _nino34(theirs))
        for kind, values in found.items():
            series.setdefault(kind, []).append(values.drop_vars("time", errors="ignore"))
    return {
        kind if kind == "nino34" else f"{name}_{kind}": xr.concat(values, "lead")
        for kind, values in series.items()
    }


def area_weights(fields: xr.DataArray) -> xr.DataArray:
    """Return the cosine of the latitude of some fields."""
    latitude = fields["latitude"]
    return latitude.copy(data=np.cos(np.deg2rad(latitude.values)))


def _nino34(anomalies: xr.DataArray) -> xr.DataArray:
    """Return the mean over 5S-5N, 170W-120W."""
    east = anomalies["longitude"] % 360
    inside = (np.abs(anomalies["latitude"]) <= 5) & (east >= 190) & (east <= 240)
    weights = area_weights(anomalies)
    return anomalies.where(inside).weighted(weights).mean(("latitude", "longitude"))


def _correlation(a: xr.DataArray, b: xr.DataArray) -> xr.DataArray:
    return xr.DataArray(np.corrcoef(a.values.ravel(), b.values.ravel())[0, 1])


def bar_checks(name: str, scores: xr.Dataset) -> Iterator[BarCheck]:
    """Yield the scores that have a bar, by the name of the experiment."""
    leads = scores["lead"].values
    for each in RMSE_BARS.get(name, []):
        rmse = scores[f"{each.variable}_rmse"].sel(lead=each.lead)
        if each.level is not None:
            rmse = rmse.sel(level=each.level)
        level = "" if each.level is None else f" {each.level:g}"
        label = f"{each.variable}{level}, RMSE at {each.lead:g} d"
        yield BarCheck(label, float(rmse), each.bar, at_most=True)
    if name in LEAST_USEFUL_DAYS:
        below = np.flatnonzero(scores[f"{Z}_acc"].isel(level=0).values < 0.6)
        first = float(leads[below[0]]) if len(below) else np.inf
        days = LEAST_USEFUL_DAYS[name]
        yield BarCheck("anomaly correlation below 0.6 at", first, days, unit=" d")
        worst = float((scores[f"{Z}_rmse"] / scores[f"{Z}_climatology"]).max())
        yield BarCheck("largest RMSE / climatology", worst, CLIMATOLOGY_BAR, at_most=True)
    for lead, bar in CORRELATION_BARS.get(name, {}).items():
        found = float(scores["nino34"].sel(lead=lead))
        yield BarCheck(f"Nino 3.4, correlation at {lead} months", found, bar)
    for lead, bar in RELATIVE_BARS.get(name, {}).items():
        ratio = (scores[f"{SST}_rmse"] / scores[f"{SST}_climatology"]).sel(lead=lead)
        yield BarCheck(f"RMSE / climatology at {lead} months", float(ratio), bar, at_most=True)


def _agreement(finished: Run, scores: xr.Dataset) -> Iterator[BarCheck]:
    """Yield the largest relative difference from the RMSE in the store of the stage verify."""
    rmse = finished.scores()["rmse"].sel(system="forecast")
    differences = []
    for index, (variable, level) in enumerate(zip(rmse["variable"], rmse["level"], strict=True)):
        ours = scores[f"{variable.item()}_rmse"]
        if "level" in ours.dims:
            ours = ours.sel(level=level.item())
        theirs = rmse.isel(channel=index).values
        differences.append(np.abs(ours.values / theirs - 1).max())
    yield BarCheck("largest relative difference from scores.zarr", max(differences), 1e-4, True)
