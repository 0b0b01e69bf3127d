"""Lines that say where the best reference is better than the forecast, and what to change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.config.durations import Duration
from gfrnn.pipeline.config.experiment import Experiment
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.workflows.report.labels import lead_label
from gfrnn.workflows.report.score_figures.score_change import (
    LEAST_CHANGE,
    SIGNIFICANT,
    score_change,
)

Array = NDArray[Any]

_MOST_CHANNELS = 6  # that are named

_MEAN = "several different candidates in search with fit.average"
_PERSISTENT = {
    "eof": "more state.modes, as EOFs do not hold all that persists",
    "local": "larger values of fit.ridge, or more years of training",
    "zonal": "more state.wavenumbers and state.functions, as fewer do not hold it all",
}


def _remedy(system: str, experiment: Experiment, step: Duration, last: Duration) -> str:
    """Return what to try where a system is the best up to a last lead."""
    if system == "linear":
        return _linear_remedy(experiment, step, last)
    persistent, fit = _PERSISTENT[experiment.state.layout], experiment.fit
    fewer_delays = "fewer state.delays, or " if experiment.state.delays > 1 else ""
    longer = "a longer validation period" if fit.calibration else "fit.calibration: true"
    remedies = {
        "quadratic": "model.sampling: quadratic" + (f", or {_MEAN}" if fit.average == 1 else ""),
        "linear inverse": f"{fewer_delays}larger values of fit.ridge",
        "damped persistence": persistent,
        "persistence": persistent,
        "climatology": "a shorter forecast.horizon, as nothing is predicted there; with "
        f"{longer}, forecasts tend to the climatology",
    }
    return remedies[system]


def _linear_remedy(experiment: Experiment, step: Duration, last: Duration) -> str:
    """Return those changes for the better that the experiment does not have yet."""
    model, fit = experiment.model, experiment.fit
    if experiment.state.layout == "zonal":
        fewer = "fewer features (model.features, model.width), or "
        return f"{fewer if model.features or model.width else ''}more years of training"
    remedies = []
    # With features on the grid, a network without hidden features is not the linear model.
    if 0 not in (fit.widths or [model.width]) and not model.features:
        widths = [0, *(fit.widths or [model.width])]
        remedies.append(f"fit.widths: {widths}, with which the linear model may be chosen")
    if last > max([step, *model.leads]):
        remedies.append(f"model.leads up to {lead_label(last.length)}")
    if fit.average == 1:
        remedies.append(_MEAN)
    return ", or ".join(remedies) or "more years of training, or a longer validation period"


def better_references(scores: xr.Dataset, experiment: Experiment) -> list[str]:
    """Describe at which leads a reference is the best and the forecast worse than it.

    Parameters
    ----------
    scores : xarray.Dataset
        Scores of a run, from :func:`gfrnn.pipeline.verify`.
    experiment : Experiment
        Experiment of the run, on which the remedies depend.

    Returns
    -------
    list of str
        For each such reference a line that names it, one for each channel with the leads at which
        no system has a smaller RMSE and the excess of the forecast's RMSE, and one on what to try;
        none if the forecast is the best everywhere.
    """
    found: dict[str, list[str]] = {}
    last: dict[str, Duration] = {}
    systems = [str(name) for name in scores["system"].values if name != "forecast"]
    leads = [_duration(lead) for lead in scores["prediction_timedelta"].values]
    labels = [lead_label(lead.length) for lead in leads]
    for channel in scores["channel"].values:
        own = scores.sel(channel=channel)
        changes = {system: score_change(own, system) for system in systems}
        rmse = own["rmse"].sel(system=systems).values
        best = np.where(np.isfinite(rmse), rmse, np.inf).argmin(axis=0)
        for index, system in enumerate(systems):
            change = changes[system]
            worse = (best == index) & change.shown & (change.change > 0)
            if worse.any():
                mark = SIGNIFICANT * bool((worse & change.significant).any())
                found.setdefault(system, []).append(
                    f"  {channel}: {_excess(change.change, worse, labels)}{mark}"
                )
                latest = leads[int(np.flatnonzero(worse)[-1])]
                last[system] = max(latest, last.get(system, latest))
    return [
        line
        for system, places in found.items()
        for line in (
            f"the best reference is {system} (its RMSE is smaller than the forecast's):",
            *places[:_MOST_CHANNELS],
            *(
                [f"  and {len(places) - _MOST_CHANNELS} more channels"]
                * (len(places) > _MOST_CHANNELS)
            ),
            f"  to try: {_remedy(system, experiment, leads[0], last[system])}",
        )
    ]


def _duration(lead: np.timedelta64 | np.integer[Any]) -> Duration:
    """Return a lead of scores, in which months are integers."""
    return Duration(lead if isinstance(lead, np.timedelta64) else np.timedelta64(int(lead), "M"))


def better_on_validation(model: ForecastModel, experiment: Experiment) -> list[str]:
    """Describe where a reference is the best in the validation period, and the forecast worse.

    Parameters
    ----------
    model : ForecastModel
        Without errors of rollouts (``fit.calibration: false``) there is nothing to compare.
    experiment : Experiment
        Experiment of the run, on which the remedies depend.
    """
    selection = model.selection
    if "calibrated_errors" not in selection:
        return []
    ours, *others = np.asarray(selection["calibrated_errors"])
    known = dict(zip(("linear", "quadratic"), others, strict=False))
    known["climatology"] = np.asarray(selection["climatology_errors"])
    leads = [model.step * lead for lead in range(1, len(ours) + 1)]
    lines = list(_validation_lines(ours, known, leads, experiment))
    # The first lead has a direct prediction only.
    own = np.isin(np.arange(1, len(ours) + 1), model.linear.leads[1:])
    worse = own & (np.asarray(selection["rollout_errors"])[0] > known["climatology"])
    if worse.any() and experiment.model.combine_leads == "mean":
        labels = [lead_label(lead.length) for lead in leads]
        lines += [
            "on the validation period, forecasts of the model.leads "
            f"{', '.join(np.array(labels)[worse])} were worse than the climatology before "
            "calibration, as predictions from earlier leads are averaged with the direct ones",
            "  to try: model.combine_leads: longest",
        ]
    return lines


def _validation_lines(
    ours: Array, known: Mapping[str, Array], leads: Sequence[Duration], experiment: Experiment
) -> Iterator[str]:
    least = np.min(list(known.values()), axis=0)
    labels = [lead_label(lead.length) for lead in leads]
    for system, errors in known.items():
        worse = (errors == least) & (errors * (1 + LEAST_CHANGE / 100) ** 2 < ours)
        if worse.any():
            with np.errstate(divide="ignore", invalid="ignore"):
                excess = 100 * np.sqrt(ours / errors) - 100
            last = leads[int(np.flatnonzero(worse)[-1])]
            yield (
                f"on the validation period, the best reference is {system} (its RMSE of states is "
                f"smaller than the forecast's): {_excess(excess, worse, labels)}"
            )
            yield f"  to try: {_remedy(system, experiment, leads[0], last)}"


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
