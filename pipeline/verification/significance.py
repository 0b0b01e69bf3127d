"""Intervals of the scores: changes against references, spread over error, rank histograms."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from gfrnn.pipeline.verification.pair_scoring import FORECAST
from gfrnn.pipeline.verification.statistics.circular_blocks import block_standard_error
from gfrnn.pipeline.verification.statistics.metric_difference import Metric
from gfrnn.pipeline.verification.statistics.paired_bootstrap import paired_bootstrap

LEVEL = 0.95
"""Level of the intervals."""

_NORMAL = 1.96
"""Quantile of the normal distribution at both ends of an interval of this level."""

CHANGES: dict[str, tuple[str, Metric]] = {
    "rmse": ("squared_error", np.sqrt),
    "mae": ("absolute_error", np.asarray),
    "crps": ("fair_crps", np.asarray),
}
"""Scores that are compared: the statistic whose mean they are a function of, and the function.
Ensembles are compared by the fair CRPS, which does not depend on the number of members."""

_DIMENSIONS = ("system", "region", "channel", "prediction_timedelta")


def score_changes(statistics: xr.Dataset) -> dict[str, Any]:
    """Return how much the scores of the forecasts differ from those of each reference.

    Forecasts and references have the same pairs, and errors of successive initial times are
    correlated, so that pairs are resampled in blocks; see
    :func:`gfrnn.pipeline.verification.statistics.paired_bootstrap.paired_bootstrap`.

    Parameters
    ----------
    statistics : xarray.Dataset
        From :func:`gfrnn.pipeline.verification.statistics_store.open_statistics`.

    Returns
    -------
    dict
        Variables with the dimensions (system, region, channel, prediction_timedelta), for each
        score such as ``rmse``: ``rmse_change``, the score of the forecasts over that of the
        system, less 1; ``rmse_change_low`` and ``rmse_change_high``, the ends of its interval of
        95 %; ``rmse_change_block``, the length of a block in initial times. NaN for the forecasts
        themselves, where there are too few pairs, and for the CRPS of references that are single
        forecasts.
    """
    systems = [str(name) for name in statistics["system"].values]
    own = systems.index(FORECAST)
    others = [index for index in range(len(systems)) if index != own]
    known = statistics["known"].transpose("time", "prediction_timedelta").values == 1
    variables: dict[str, Any] = {}
    for name, (statistic, metric) in CHANGES.items():
        if statistic not in statistics:
            continue
        values = statistics[statistic].transpose("time", *_DIMENSIONS).values
        compared = others
        if name == "crps":
            # Members against a single forecast would compare an ensemble with none.
            single = statistics["absolute_error"].transpose("time", *_DIMENSIONS).values
            compared = [
                index
                for index in others
                if not np.array_equal(values[:, index], single[:, index], equal_nan=True)
            ]
        shape = values.shape[1:]
        found = np.full((4, *shape), np.nan)
        if compared:
            rest = values[:, compared]
            ours = np.broadcast_to(values[:, own, None], rest.shape)
            present = np.broadcast_to(known[:, None, None, None], rest.shape)
            test = paired_bootstrap(
                [ours], [rest], metric, relative=True, present=present, level=LEVEL
            )
            parts = test.difference, test.low, test.high, test.block_length
            for place, part in enumerate(parts):
                found[place][compared] = part
        described = (
            ("change", f"{name} of the forecast over that of the system, less 1", "1"),
            ("change_low", f"lower end of the {LEVEL:.0%} interval of {name}_change", "1"),
            ("change_high", f"upper end of the {LEVEL:.0%} interval of {name}_change", "1"),
            ("change_block", "length of a block of the bootstrap in initial times", "1"),
        )
        for part, (suffix, long_name, units) in zip(found, described, strict=True):
            about = {"long_name": long_name, "units": units}
            variables[f"{name}_{suffix}"] = (_DIMENSIONS, part, about)
    return variables


def spread_skill_interval(statistics: xr.Dataset) -> dict[str, Any]:
    """Return the interval of the spread-skill ratio of an ensemble.

    The ratio compares two metrics of the same initial times, so that the same bootstrap as in
    :func:`score_changes` applies to it.

    Parameters
    ----------
    statistics : xarray.Dataset
        Statistics of an ensemble, from
        :func:`gfrnn.pipeline.verification.statistics_store.open_statistics`.

    Returns
    -------
    dict
        Variables ``spread_skill_ratio_low`` and ``spread_skill_ratio_high``, the ends of the
        interval of 95 %, with the dimensions (region, channel, prediction_timedelta); NaN where
        there are too few pairs, or one member only.
    """
    dims = _DIMENSIONS[1:]
    members = statistics.sizes["rank"] - 1
    known = statistics["known"].transpose("time", "prediction_timedelta").values == 1
    variance = statistics["ensemble_variance"].transpose("time", *dims).values
    error = statistics["squared_error"].sel(system=FORECAST).transpose("time", *dims).values
    test = paired_bootstrap(
        [(members + 1) / members * variance],
        [error],
        np.sqrt,
        relative=True,
        present=np.broadcast_to(known[:, None, None], error.shape),
        level=LEVEL,
    )
    return {
        f"spread_skill_ratio_{end}": (
            dims,
            1 + found,
            {"long_name": f"{which} end of the {LEVEL:.0%} interval of spread_skill_ratio"},
        )
        for end, which, found in (("low", "lower", test.low), ("high", "upper", test.high))
    }


def rank_histogram_interval(statistics: xr.Dataset) -> dict[str, Any]:
    """Return the intervals of the frequencies of a rank histogram.

    Ranks of successive initial times are alike, so that a histogram is less certain than its number
    of pairs suggests. The interval is 1.96 standard errors to both sides, within [0, 1]; see
    :func:`gfrnn.pipeline.verification.statistics.circular_blocks.block_standard_error`. It is too
    narrow with few pairs: of 15 independent ones and 11 ranks, it contains the true frequency in
    three of four cases.

    Parameters
    ----------
    statistics : xarray.Dataset
        Statistics of an ensemble, from
        :func:`gfrnn.pipeline.verification.statistics_store.open_statistics`.

    Returns
    -------
    dict
        Variables ``rank_histogram_low`` and ``rank_histogram_high``, the ends of the interval of
        95 % of each frequency, with the dimensions (rank, region, channel, prediction_timedelta);
        NaN where there are too few pairs, where a forecast has diverged, and for frequencies that
        never vary, such as of a rank that does not occur.
    """
    dims = ("rank", *_DIMENSIONS[1:])
    known = statistics["known"].transpose("time", "prediction_timedelta").values == 1
    ranks = statistics["rank_histogram"].transpose("time", *dims).values
    there = known[:, None, None, None]
    mean = np.where(there, ranks, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    error = block_standard_error(np.where(there, ranks, np.nan))
    half = _NORMAL * np.where(error > 0, error, np.nan)
    ends = {"low": ("lower", mean - half), "high": ("upper", mean + half)}
    return {
        f"rank_histogram_{end}": (
            dims,
            np.clip(found, 0.0, 1.0),
            {"long_name": f"{which} end of the {LEVEL:.0%} interval of rank_histogram"},
        )
        for end, (which, found) in ends.items()
    }
