"""An experiment file for given data, to start from."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
import yaml

from gfrnn.pipeline.config.durations import Duration
from gfrnn.pipeline.config.model_config import ModelConfig
from gfrnn.pipeline.data.grid import Channel
from gfrnn.pipeline.data.inspection.value_checks import DataFinding
from gfrnn.pipeline.data.time_axis import covered, format_minute, step_of
from gfrnn.pipeline.errors import DataError

_LEAST_TIMES = 8
_DELAYS = 2
_SHARES = (0.75, 0.875)  # shares of the record before validation and before the test


def starting_experiment(
    ds: xr.Dataset,
    sources: Sequence[str | Mapping[str, Any]],
    name: str,
    findings: Sequence[DataFinding] = (),
) -> str:
    """Write the YAML text of an experiment on these data, to be edited.

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

    Raises
    ------
    DataError
        If there are too few times for three periods, or no channel can be trained on.
    """
    time = ds["time"].values
    if time.size < _LEAST_TIMES:
        raise DataError(
            f"{time.size} times are too few for a training, validation and test period; give data "
            f"of at least {_LEAST_TIMES} times"
        )
    periods, test = _periods(time)
    step = step_of(time)
    points = ds.sizes["latitude"] * ds.sizes["longitude"]
    variables, reasons = _usable(ds, findings)
    width = points * sum(len(levels or [None]) for levels in variables.values())
    # The test period should be several times as long as a forecast.
    longest = Duration.parse("12mo" if step.monthly else "10d")
    quarter = step * max(1, int(step.count(test, time[-1])) // 4)
    horizon = min(quarter, step * max(1, int(longest.ratio(step) or 1)))
    modes = int(max(1, min(80, width, time.size // 10)))
    # Half as many columns as rows: the delayed states, a constant and the hidden features.
    features = int(_SHARES[0] * time.size) // 2 - (_DELAYS * modes + 1)
    tree: dict[str, Any] = {
        "name": name,
        "data": {
            "sources": [s if isinstance(s, str) else dict(s) for s in sources],
            "variables": variables,
        },
        "periods": periods,
        "state": {"modes": modes, "delays": _DELAYS},
        "forecast": {"horizon": str(horizon)},
    }
    if features < ModelConfig().width:
        tree["model"] = {"width": max(0, features)}
    text = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, default_flow_style=None)
    left_out = "".join(f"# {channel} is left out: {why}\n" for channel, why in reasons.items())
    return left_out + text


def _usable(
    ds: xr.Dataset, findings: Sequence[DataFinding]
) -> tuple[dict[str, list[float] | None], dict[str, str]]:
    """Return the variables and levels to train on, and why each other channel is left out.

    Raises
    ------
    DataError
        If none is left.
    """
    reasons = {
        str(each.variable): each.message.partition(";")[0]
        for each in findings
        if each.variable is not None and (each.severity == "error" or each.constant)
    }
    variables: dict[str, list[float] | None] = {}
    for variable, array in ds.data_vars.items():
        levels = array.attrs.get("levels") or [None]
        kept = [at for at in levels if Channel(str(variable), at).name not in reasons]
        if kept:
            variables[str(variable)] = None if kept == [None] else kept
    if not variables:
        shown = "; ".join(f"{channel}: {why}" for channel, why in list(reasons.items())[:3])
        raise DataError(f"no variable can be trained on: {shown}")
    return variables, reasons


def _periods(time: np.ndarray) -> tuple[dict[str, list[str]], np.datetime64]:
    """Choose periods of whole years, else months or days; return them and the test's beginning."""
    begin, end = (stamp.to_datetime64() for stamp in covered(time))
    targets = [time[int(share * time.size)] for share in _SHARES]
    for unit in ("Y", "M", "D"):
        cuts = [_nearest(mark, unit) for mark in targets]
        edges = [time[0], *cuts, time[-1] + np.timedelta64(1, "s")]
        counts = [int(((time >= a) & (time < b)).sum()) for a, b in itertools.pairwise(edges)]
        # Rounding to whole years must keep the shares roughly as they are.
        if min(counts) >= 0.08 * time.size and 0.6 <= counts[0] / time.size <= 0.85:
            ends = [cut - np.timedelta64(1, "D") for cut in [*cuts, end]]
            begins = [begin, *cuts]
            pairs = [[_day(a), _day(b)] for a, b in zip(begins, ends, strict=True)]
            return _named(pairs), cuts[1]
    first, second = (int(share * time.size) for share in _SHARES)
    bounds = [(0, first - 1), (first, second - 1), (second, time.size - 1)]
    pairs = [[format_minute(time[a]), format_minute(time[b])] for a, b in bounds]
    return _named(pairs), time[second]


def _named(pairs: list[list[str]]) -> dict[str, list[str]]:
    return dict(zip(("train", "validation", "test"), pairs, strict=True))


def _nearest(stamp: np.datetime64, unit: str) -> np.datetime64:
    """Return the beginning of a year, month or day that is nearest to a time."""
    below = stamp.astype(f"datetime64[{unit}]")
    edges = [edge.astype("datetime64[ns]") for edge in (below, below + 1)]
    return min(edges, key=lambda edge: abs(stamp - edge))


def _day(stamp: np.datetime64) -> str:
    return str(np.datetime_as_string(stamp, "D"))
