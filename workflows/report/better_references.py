"""Lines that say where a simple reference is better than the forecast, and what to change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.workflows.report.labels import lead_label
from gfrnn.workflows.report.score_figures.score_change import SIGNIFICANT, score_change

Array = NDArray[Any]

# Least excess in percent that is said. Where fit.widths chooses 0, the forecast is that of the
# linear model but for rounding.
_LEAST = 0.05

_MOST_CHANNELS = 6  # that are named

_MEAN = "several different candidates in search with fit.average"
_LINEAR = {
    "eof": f"model.leads up to there, or {_MEAN}; with model.width: 0 the forecast is linear",
    "local": f"model.leads up to there, or {_MEAN}; with model.width: 0 the forecast is linear",
    "zonal": "fewer features (model.features, model.width), or more years of training",
}
_PERSISTENT = {
    "eof": "more state.modes, as EOFs do not hold all that persists",
    "local": "larger values of fit.ridge, or more years of training",
    "zonal": "more state.wavenumbers and state.functions, as fewer do not hold it all",
}


def _remedy(system: str, layout: str) -> str:
    """Return what to try where a system is better than the forecasts of a layout."""
    remedies = {
        "linear": _LINEAR[layout],
        "quadratic": f"model.sampling: quadratic, or {_MEAN}",
        "linear inverse": "fewer state.delays, or larger values of fit.ridge",
        "damped persistence": _PERSISTENT[layout],
        "persistence": _PERSISTENT[layout],
        "climatology": "a shorter forecast.horizon, as nothing is predicted there; with "
        "fit.calibration: true and a longer validation period, forecasts tend to the climatology",
    }
    return remedies[system]


def better_references(scores: xr.Dataset, layout: str) -> list[str]:
    """Describe where the reference with the smallest RMSE is better than the forecast.

    Parameters
    ----------
    scores : xarray.Dataset
        Scores of a run, from :func:`gfrnn.pipeline.verify`.
    layout : str
        Layout of the states, ``state.layout``, on which the remedies depend.

    Returns
    -------
    list of str
        For each such reference a line that names it, one for each channel with leads and the excess
        of the forecast's RMSE, and one on what to try; none if the forecast is the best everywhere.
    """
    found: dict[str, list[str]] = {}
    systems = [str(name) for name in scores["system"].values if name != "forecast"]
    labels = [lead_label(lead) for lead in scores["prediction_timedelta"].values]
    for channel in scores["channel"].values:
        own = scores.sel(channel=channel)
        changes = {system: score_change(own, system) for system in systems}
        rmse = own["rmse"].sel(system=systems).values
        best = np.where(np.isfinite(rmse), rmse, np.inf).argmin(axis=0)
        for index, system in enumerate(systems):
            change = changes[system]
            with np.errstate(invalid="ignore"):
                worse = (best == index) & (change.change > _LEAST)
            if worse.any():
                mark = SIGNIFICANT * bool((worse & change.significant).any())
                found.setdefault(system, []).append(
                    f"  {channel}: {_excess(change.change, worse, labels)}{mark}"
                )
    return [
        line
        for system, places in found.items()
        for line in (
            f"the forecast is worse than {system} (larger RMSE):",
            *places[:_MOST_CHANNELS],
            *(
                [f"  and {len(places) - _MOST_CHANNELS} more channels"]
                * (len(places) > _MOST_CHANNELS)
            ),
            f"  to try: {_remedy(system, layout)}",
        )
    ]


def better_on_validation(model: ForecastModel, layout: str) -> list[str]:
    """Describe where a reference is better than the forecast in the validation period.

    Parameters
    ----------
    model : ForecastModel
        Without errors of rollouts (``fit.calibration: false``) there is nothing to compare.
    layout : str
        Layout of the states.
    """
    selection = model.selection
    if "calibrated_errors" not in selection:
        return []
    ours, *others = np.asarray(selection["calibrated_errors"])
    known = dict(zip(("linear", "quadratic"), others, strict=False))
    known["climatology"] = np.asarray(selection["climatology_errors"])
    least = np.min(list(known.values()), axis=0)
    labels = [lead_label((model.step * lead).length) for lead in range(1, len(ours) + 1)]
    return list(_validation_lines(ours, known, least, labels, layout))


def _validation_lines(
    ours: Array, known: Mapping[str, Array], least: Array, labels: Sequence[str], layout: str
) -> Iterator[str]:
    for system, errors in known.items():
        worse = (errors == least) & (errors * (1 + _LEAST / 100) ** 2 < ours)
        if worse.any():
            with np.errstate(divide="ignore", invalid="ignore"):
                excess = 100 * np.sqrt(ours / errors) - 100
            yield (
                f"on the validation period, the forecast is worse than {system} (larger RMSE of "
                f"states): {_excess(excess, worse, labels)}"
            )
            yield f"  to try: {_remedy(system, layout)}"


def _excess(percent: Array, chosen: Array, labels: Sequence[str]) -> str:
    """Write at which leads an error is larger, and by how much: ``at +1 d by 5.3 %``."""
    most = "up to " if chosen.sum() > 1 else ""
    return f"at {_ranges(chosen, labels)} by {most}{percent[chosen].max():.1f} %"


def _ranges(chosen: Array, labels: Sequence[str]) -> str:
    """Write the chosen leads, successive ones as a range: ``+1 d, +7 d to +10 d``."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], chosen, [False]]).astype(int)))
    parts = [
        labels[first] if stop == first + 1 else f"{labels[first]} to {labels[stop - 1]}"
        for first, stop in edges.reshape(-1, 2).tolist()
    ]
    return ", ".join(parts)
