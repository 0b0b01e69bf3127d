"""Compare verified forecasts with each other, on the pairs of forecast and truth they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.config.durations import Duration
from gfrnn.pipeline.config.verification_config import WHOLE
from gfrnn.pipeline.data.time_axis import format_minute
from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.storage import string_array
from gfrnn.pipeline.verification.pair_scoring import FORECAST
from gfrnn.pipeline.verification.significance import CHANGES, LEVEL
from gfrnn.pipeline.verification.statistics.paired_bootstrap import paired_bootstrap
from gfrnn.pipeline.verification.statistics_store import open_statistics

Array = NDArray[Any]

_PERSISTENCE = "persistence"
_ORDER = ("channel", "time", "prediction_timedelta")
# Difference of squared errors of persistence that rounding may cause, relative to them.
_SAME_TRUTH = 1e-3


def compare(stores: Mapping[str, Path], channels: Sequence[str] = ()) -> xr.Dataset:
    """Compare the scores of several forecasts, and of references, on their common pairs.

    The references are the other systems of the first store, and those that only later ones have.

    Parameters
    ----------
    stores : mapping of str to Path
        Names and stores of statistics (``statistics.zarr``); the others are compared with the
        first.
    channels : sequence of str
        Names of the channels to compare; default: all, which must be the same in all stores.

    Returns
    -------
    xarray.Dataset
        ``rmse`` (run, channel, prediction_timedelta), ``rmse_change`` from the first run, relative
        to it, ``rmse_change_low`` and ``rmse_change_high``, the ends of its interval of 95 % by a
        paired block bootstrap (NaN where there is none), and ``rmse_change_block``, the length of a
        block in initial times. Where one of them is an ensemble, the same for ``crps``: the fair
        CRPS of ensembles, and the mean absolute error of single forecasts. ``pairs``
        (prediction_timedelta) counts the common pairs. The references follow the runs along
        ``run``, where the coordinate ``reference`` is True. The attribute ``notes`` lists what is
        to be known about the comparison.

    Raises
    ------
    RunError
        If a store is not finished, or they differ in channels or truth, or share no pair.
    """
    opened = {name: open_statistics(path) for name, path in stores.items()}
    names = list(opened)
    chosen = _channels(opened, channels)
    axes = {axis: _common(opened, axis) for axis in ("time", "prediction_timedelta")}
    own = {name: ds.sel({"channel": chosen, **axes}) for name, ds in opened.items()}
    known = reduce(np.logical_and, (_values(ds["known"], _ORDER[1:]) == 1 for ds in own.values()))
    if not known.any():
        raise RunError(
            f"{', '.join(names)}: no common pair of initial time and lead has a truth; verify "
            "forecasts of the same period"
        )
    notes = [_size(opened, axes, known), *_same_truth(own, known)]
    ensembles = any("fair_crps" in ds for ds in own.values())
    single = [name for name, ds in own.items() if "fair_crps" not in ds]
    if ensembles and single:
        notes.append(f"CRPS of single forecasts is the mean absolute error: {', '.join(single)}")
    compared = {name: (ds, FORECAST) for name, ds in own.items()} | _references(own)
    notes += _origins(compared, own)
    variables: dict[str, Any] = {}
    dims = ("run", "channel", "prediction_timedelta")
    for score in ("rmse", "crps") if ensembles else ("rmse",):
        statistic, metric = CHANGES[score]
        values = [_statistic(*each, statistic).transpose(1, 0, 2) for each in compared.values()]
        present = np.broadcast_to(known[:, None], values[0].shape)
        tests = [
            paired_bootstrap(
                [each], [values[0]], metric, relative=True, present=present, level=LEVEL
            )
            for each in values
        ]
        variables[score] = (dims, np.stack([test.first for test in tests]))
        parts = ("difference", ""), ("low", "_low"), ("high", "_high"), ("block_length", "_block")
        for part, suffix in parts:
            found = np.stack([getattr(test, part) for test in tests]).astype(float)
            found[0] = np.nan  # the first run itself
            variables[f"{score}_change{suffix}"] = (dims, found)
        reasons = np.stack([test.reason for test in tests[1 : len(names)]])
        for reason in sorted(set(reasons[reasons != ""].tolist())):
            count = int((reasons == reason).sum())
            notes.append(f"{score}: no interval for {count} of {reasons.size} changes: {reason}")
    variables["pairs"] = ("prediction_timedelta", known.sum(axis=0))
    first = own[names[0]]
    coords: dict[str, Any] = {
        name: first[name].values for name in ("channel", "prediction_timedelta")
    }
    coords |= {name: ("channel", first[name].values) for name in ("variable", "level", "units")}
    coords["run"] = string_array(list(compared))
    coords["reference"] = ("run", [system != FORECAST for _, system in compared.values()])
    attrs = {"notes": notes, "first": str(axes["time"][0]), "last": str(axes["time"][-1])}
    return xr.Dataset(variables, coords, attrs)


def _channels(opened: Mapping[str, xr.Dataset], chosen: Sequence[str]) -> list[str]:
    """Return the channels to compare, and check that all stores have them in the same units."""
    there = {name: list(map(str, ds["channel"].values)) for name, ds in opened.items()}
    first, *others = there
    common = [each for each in there[first] if all(each in there[other] for other in others)]
    if absent := [each for each in chosen if each not in common]:
        raise RunError(
            f"--channel: {absent[0]} is not in all of {', '.join(there)}; allowed: "
            f"{', '.join(common) or 'none'}"
        )
    for other in others:
        if not chosen and set(there[other]) != set(there[first]):
            differing = sorted(set(there[other]) ^ set(there[first]))
            advice = " ".join(f"--channel {each}" for each in common[:3])
            remedy = f"name common ones, such as {advice}" if common else "none is in all"
            raise RunError(
                f"{first} and {other} have different channels ({', '.join(differing[:5])}); "
                f"{remedy}"
            )
    names = list(chosen) or common
    units = {name: ds["units"].sel(channel=names).values.tolist() for name, ds in opened.items()}
    for other in others:
        if units[other] != units[first]:
            raise RunError(
                f"{first} and {other} have channels in different units: {units[first]} and "
                f"{units[other]}; verify them against the same truth"
            )
    return names


def _common(opened: Mapping[str, xr.Dataset], axis: str) -> Array:
    """Return the values of an axis that all stores have."""
    what = "initial time" if axis == "time" else "lead"
    first, *others = opened
    found = opened[first][axis].values
    for other in others:
        theirs = opened[other][axis].values
        same = found.dtype.kind == theirs.dtype.kind
        shared = np.intersect1d(found, theirs) if same else found[:0]
        if not len(shared):
            ours, other_range = map(_extent, (found, theirs))
            raise RunError(
                f"{first} and {other} have no common {what}: {ours}, and {other_range}; verify "
                "forecasts of the same period and leads"
            )
        found = shared
    return np.asarray(found)


def _extent(values: Array) -> str:
    """Write the first and the last of initial times or leads as on a command line."""
    if values.dtype.kind == "M":
        return " to ".join(map(format_minute, (values.min(), values.max())))
    # Leads of monthly data are numbers of months.
    leads = values if values.dtype.kind == "m" else values.astype("timedelta64[M]")
    return " to ".join(str(Duration(lead)) for lead in (leads.min(), leads.max()))


def _size(opened: Mapping[str, xr.Dataset], axes: Mapping[str, Array], known: Array) -> str:
    """Describe the common pairs."""
    left = {
        f"{name}: {ds.sizes['time'] - len(axes['time'])} initial times and "
        f"{ds.sizes['prediction_timedelta'] - len(axes['prediction_timedelta'])} leads"
        for name, ds in opened.items()
        if ds.sizes["time"] > len(axes["time"])
        or ds.sizes["prediction_timedelta"] > len(axes["prediction_timedelta"])
    }
    least, most = (int(end(known.sum(axis=0))) for end in (np.min, np.max))
    pairs = str(least) if least == most else f"{least} to {most}"
    rest = f"; not compared, as others lack them: {'; '.join(sorted(left))}" if left else ""
    return (
        f"{len(axes['time'])} common initial times and {known.shape[1]} leads, {pairs} pairs "
        f"a lead{rest}"
    )


def _same_truth(own: Mapping[str, xr.Dataset], known: Array) -> list[str]:
    """Check that all were scored against one truth, which errors of persistence show.

    Raises
    ------
    RunError
        If persistence has other errors in one of them.
    """
    with_persistence = [name for name, ds in own.items() if _PERSISTENCE in ds["system"].values]
    found = {}
    for name in with_persistence:
        chosen = own[name]["squared_error"].sel(system=_PERSISTENCE, region=WHOLE)
        found[name] = _values(chosen, _ORDER)[:, known]
    for name in with_persistence[1:]:
        first = with_persistence[0]
        # A pair with hardly any error may differ by more, relative to itself, from rounding alone.
        size = np.nan_to_num(found[first]).mean(axis=1, keepdims=True)
        least = _SAME_TRUTH * size
        if not np.allclose(found[name], found[first], _SAME_TRUTH, least, equal_nan=True):
            raise RunError(
                f"{first} and {name} were scored against different truths: persistence has other "
                "errors on the same initial times; verify them against the same truth, on one grid"
            )
    rest = [name for name in own if name not in with_persistence]
    if not rest:
        return []
    return [f"not checked whether the truth is the same, without persistence: {', '.join(rest)}"]


def _references(own: Mapping[str, xr.Dataset]) -> dict[str, tuple[xr.Dataset, str]]:
    """Return the references: by name, a store and its system."""
    found: dict[str, tuple[xr.Dataset, str]] = {}
    for ds in own.values():
        for system in map(str, ds["system"].values):
            name = system if system not in own else f"{system} (reference)"
            if system != FORECAST and name not in found:
                found[name] = ds, system
    return found


def _origins(
    compared: Mapping[str, tuple[xr.Dataset, str]], own: Mapping[str, xr.Dataset]
) -> list[str]:
    """Say which references are those of which run."""
    found = []
    for name, ds in own.items():
        systems = [
            each
            for each, (origin, system) in compared.items()
            if origin is ds and system != FORECAST
        ]
        if systems:
            found.append(f"references of {name}: {', '.join(systems)}")
    return found


def _statistic(ds: xr.Dataset, system: str, statistic: str) -> Array:
    """Return a statistic of a system; the fair CRPS of a single forecast is its absolute error."""
    if statistic in ds:
        values = _values(ds[statistic].sel(system=system, region=WHOLE), _ORDER)
        if statistic != "fair_crps" or np.isfinite(values).any():
            return values
    return _values(ds["absolute_error"].sel(system=system, region=WHOLE), _ORDER)


def _values(array: xr.DataArray, order: Sequence[str]) -> Array:
    return np.asarray(array.transpose(*order).values)
