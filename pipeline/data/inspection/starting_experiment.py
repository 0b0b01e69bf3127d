"""An experiment file for given data, to start from."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
import yaml

from gfrnn.pipeline.config.durations import Duration
from gfrnn.pipeline.config.model_config import ModelConfig
from gfrnn.pipeline.config.section import Period, checked
from gfrnn.pipeline.data.grid import Channel
from gfrnn.pipeline.data.inspection.value_checks import DataFinding
from gfrnn.pipeline.data.time_axis import covered, format_minute, step_of
from gfrnn.pipeline.errors import DataError

_LEAST_TIMES = 60
"""Fewest times of a record, of which validation and test have an eighth each."""

_DELAYS = 2
_SHARES = (0.75, 0.875)  # shares of the record before validation and before the test
_LEAST_YEARS = 4
"""Whole years from which on the validation and the test period are whole years."""

_WIDTHS = (0, 0.25, 1)
"""Hidden features to try, relative to the largest number; 0 is the linear model."""

_DATA = """\
Files, stores, globs or URLs; the variables to forecast, and their levels in hPa. Other keys, such
as region, step, units and rename, and their defaults: docs/experiment.md."""
_PERIODS = """\
The first period trains, on the second all settings are chosen, and only the third is forecast and
scored. With whole years, errors do not depend on which seasons are scored."""
_STATE = """\
The network sees the leading principal components (EOFs) of the fields at successive times."""
_MODEL = """\
Number of hidden features; here, there are at least twice as many training rows as columns."""
_FIT = """\
Numbers of hidden features to compare on the validation period, in one pass; 0 is the linear model.
Other settings are compared by a pass each: search: {model.scale: [0.05, 0.15, 0.5]}"""
_FORECAST = """\
Length of a forecast; with members: 20, for example, each is an ensemble."""

Periods = dict[str, list[str]]


@dataclass(frozen=True)
class StartingChoices:
    """Choices for an experiment; what is None is derived from the data.

    Attributes
    ----------
    variables : sequence of str or None
        Names of the variables to forecast.
    region : tuple of float or None
        South, north, west and east in degrees.
    periods : dict or None
        Pairs of dates for ``train``, ``validation`` and ``test``.
    horizon : str or None
        Length of a forecast.
    members : int or None
        Members of an ensemble; none means one forecast.
    """

    variables: Sequence[str] | None = None
    region: tuple[float, float, float, float] | None = None
    periods: Periods | None = None
    horizon: str | None = None
    members: int | None = None


def starting_experiment(
    ds: xr.Dataset,
    sources: Sequence[str | Mapping[str, Any]],
    name: str,
    findings: Sequence[DataFinding] = (),
    choices: StartingChoices | None = None,
) -> str:
    """Write the YAML text of an experiment on these data, with comments, to be edited.

    Channels that cannot be trained on are left out, with a comment that says why.

    Parameters
    ----------
    ds
        The canonical Dataset.
    sources
        Entries of ``data.sources``: paths, or mappings with ``path``, ``level`` and so on.
    name
        Name of the experiment.
    findings
        Those of the audit of the data.
    choices
        Values that are given.

    Raises
    ------
    DataError
        If there are too few times for three periods, or no channel can be trained on.
    """
    given = choices or StartingChoices()
    time = ds["time"].values
    if time.size < _LEAST_TIMES:
        raise DataError(
            f"{time.size} times are too few: at least {_LEAST_TIMES} are needed, most of them to "
            "train and an eighth each for validation and test; give more files, or an archive of "
            "a longer time"
        )
    periods = given.periods or proposed_periods(time)
    training = _times_in(time, "train", periods)
    horizon = given.horizon or str(proposed_horizon(time, periods))
    variables, reasons = _usable(ds, findings, given.variables)
    points = ds.sizes["latitude"] * ds.sizes["longitude"]
    values = points * sum(len(levels or [None]) for levels in variables.values())
    modes = int(max(1, min(80, values, time.size // 10)))
    # Half as many columns as rows: the delayed states, a constant and the hidden features.
    features = training.size // 2 - (_DELAYS * modes + 1)
    width = max(0, min(features, ModelConfig().width))
    data: dict[str, Any] = {
        "sources": [each if isinstance(each, str) else dict(each) for each in sources],
        "variables": variables,
    }
    if given.region is not None:
        data["region"] = {
            "latitude": list(given.region[:2]),
            "longitude": list(given.region[2:]),
        }
    forecast: dict[str, Any] = {"horizon": horizon}
    if given.members is not None:
        forecast["members"] = given.members
    left_out = "".join(f"{channel} is left out: {why}\n" for channel, why in reasons.items())
    widths = sorted({int(share * width) for share in _WIDTHS})
    sections: list[tuple[str, dict[str, Any]]] = [
        (left_out, {"name": name}),
        (_DATA, {"data": data}),
        (_PERIODS, {"periods": periods}),
        (_STATE, {"state": {"modes": modes, "delays": _DELAYS}}),
        (_MODEL, {"model": {"width": width}}),
        (_FIT, {"fit": {"widths": widths}}),
        (_FORECAST, {"forecast": forecast}),
    ]
    return "\n".join(_commented(*each) for each in sections if each[0] is not _FIT or width)


def _commented(comment: str, tree: Mapping[str, Any]) -> str:
    """Return YAML below lines of comments."""
    flat = not any(isinstance(value, Mapping) for value in tree.values())
    style = False if flat else None  # innermost mappings in one line, but not the file itself
    text = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, default_flow_style=style)
    return "".join(f"# {line}\n" for line in comment.splitlines()) + text


def _usable(
    ds: xr.Dataset, findings: Sequence[DataFinding], chosen: Sequence[str] | None
) -> tuple[dict[str, list[float] | None], dict[str, str]]:
    """Return the variables and levels to train on, and why each other channel is left out.

    Raises
    ------
    DataError
        If none is left, or a chosen one is not there.
    """
    if unknown := [name for name in chosen or () if name not in ds.data_vars]:
        raise DataError(
            f"variable {unknown[0]!r} is not in the data; allowed: {', '.join(map(str, ds))}"
        )
    reasons = {
        str(each.variable): each.message.partition(";")[0]
        for each in findings
        if each.variable is not None and (each.severity == "error" or each.constant)
    }
    variables: dict[str, list[float] | None] = {}
    for variable, array in ds.data_vars.items():
        if chosen is not None and variable not in chosen:
            continue
        levels = array.attrs.get("levels") or [None]
        kept = [at for at in levels if Channel(str(variable), at).name not in reasons]
        if kept:
            variables[str(variable)] = None if kept == [None] else kept
    if not variables:
        shown = "; ".join(f"{channel}: {why}" for channel, why in list(reasons.items())[:3])
        raise DataError(f"no variable can be trained on: {shown}")
    return variables, reasons


def proposed_horizon(time: np.ndarray, periods: Periods) -> Duration:
    """Propose a length of forecasts: a quarter of the test period, at most 10 days or 12 months.

    Raises
    ------
    DataError
        If the test period has no time of the data.
    """
    step = step_of(time)
    test = _times_in(time, "test", periods)
    longest = Duration.parse("12mo" if step.monthly else "10d")
    quarter = step * max(1, int(step.count(test[0], test[-1])) // 4)
    return min(quarter, step * max(1, int(longest.ratio(step) or 1)))


def _times_in(time: np.ndarray, name: str, periods: Periods) -> np.ndarray:
    period = checked(Period, periods[name], f"periods.{name}")
    if not (inside := time[period.mask(time)]).size:
        first, last = map(format_minute, (time[0], time[-1]))
        raise DataError(
            f"periods.{name}: {period} has no times of the data, which go from {first} to {last}; "
            "choose dates within them"
        )
    return inside


def proposed_periods(time: np.ndarray) -> Periods:
    """Propose periods for training, validation and test: of whole years, else months or days.

    The validation period and the test period take an eighth of the record each, or a whole year
    where there are four or more.
    """
    begin, end = (stamp.to_datetime64() for stamp in covered(time))
    if cuts := _whole_years(time):
        return _between(begin, end, cuts)
    targets = [time[int(share * time.size)] for share in _SHARES]
    for unit in ("M", "D"):
        cuts = [_nearest(mark, unit) for mark in targets]
        edges = [time[0], *cuts, time[-1] + np.timedelta64(1, "s")]
        counts = [int(((time >= a) & (time < b)).sum()) for a, b in itertools.pairwise(edges)]
        # Rounding must keep the shares roughly as they are.
        if min(counts) >= 0.08 * time.size and 0.6 <= counts[0] / time.size <= 0.85:
            return _between(begin, end, cuts)
    first, second = (int(share * time.size) for share in _SHARES)
    bounds = [(0, first - 1), (first, second - 1), (second, time.size - 1)]
    return _named([[format_minute(time[a]), format_minute(time[b])] for a, b in bounds])


def _whole_years(time: np.ndarray) -> list[np.datetime64]:
    """Return the beginnings of a validation and a test period of whole years; none if too short.

    The last days of a year that is not complete belong to the test period, the first to training.
    """
    years = time.astype("datetime64[Y]")
    counts = {year: int((years == year).sum()) for year in np.unique(years)}
    # A year is whole if it has as many times as the usual one, but for a few gaps.
    usual = np.median(list(counts.values()))
    whole = [year for year, count in counts.items() if count >= 0.95 * usual]
    if len(whole) < _LEAST_YEARS:
        return []
    length = max(1, round(len(whole) / 8))
    cuts = [whole[-2 * length], whole[-length]]
    return [cut.astype("datetime64[ns]") for cut in cuts]


def _between(begin: np.datetime64, end: np.datetime64, cuts: Sequence[np.datetime64]) -> Periods:
    ends = [cut - np.timedelta64(1, "D") for cut in [*cuts, end]]
    return _named([[_day(a), _day(b)] for a, b in zip([begin, *cuts], ends, strict=True)])


def _named(pairs: list[list[str]]) -> Periods:
    return dict(zip(("train", "validation", "test"), pairs, strict=True))


def _nearest(stamp: np.datetime64, unit: str) -> np.datetime64:
    """Return the beginning of a month or day that is nearest to a time."""
    below = stamp.astype(f"datetime64[{unit}]")
    edges = [edge.astype("datetime64[ns]") for edge in (below, below + 1)]
    return min(edges, key=lambda edge: abs(stamp - edge))


def _day(stamp: np.datetime64) -> str:
    return str(np.datetime_as_string(stamp, "D"))
