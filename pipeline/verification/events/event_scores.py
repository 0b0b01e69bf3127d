"""Scores of events, from their statistics: probabilities and neighbourhoods."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.verification.statistics.fraction_skill import (
    FRACTION_STATISTICS,
    fractions_skill_score,
)
from gfrnn.pipeline.verification.statistics.probability_scores import (
    brier_decomposition,
    brier_score,
    fair_brier_score,
    roc_area,
)
from gfrnn.pipeline.verification.subsets import subset_means

Array = NDArray[Any]

_DIMENSIONS = ("event", "region", "subset", "prediction_timedelta")


def event_scores(statistics: xr.Dataset, chosen: dict[str, Array]) -> dict[str, Any]:
    """Return the scores of events, with the dimensions (event, region, subset, lead).

    Parameters
    ----------
    statistics : xarray.Dataset
        With ``event_table``.
    chosen : dict of ndarray
        Pairs of each subset.

    Returns
    -------
    dict
        Variables ``brier_score``, ``fair_brier_score`` (NaN for single forecasts),
        ``reliability``, ``resolution``, ``base_rate_score`` (that of always forecasting how often
        the event happens), ``brier_skill_score`` against it and ``roc_area``;
        ``event_table`` with the dimensions ``observed`` and ``members_with_event`` besides, from
        which reliability diagrams and ROC curves follow; with neighbourhoods
        ``fractions_skill_score``.
    """
    table = subset_means(statistics["event_table"].values, chosen)
    table = np.moveaxis(table, (2, 3), (-2, -1))  # observed and members last
    parts, brier = brier_decomposition(table), brier_score(table)
    with np.errstate(divide="ignore", invalid="ignore"):
        skill = np.where(parts.uncertainty > 0, 1 - brier / parts.uncertainty, np.nan)
    found = {
        "brier_score": (brier, "Brier score"),
        "fair_brier_score": (fair_brier_score(table), "fair Brier score"),
        "reliability": (parts.reliability, "reliability part of the Brier score"),
        "resolution": (parts.resolution, "resolution part of the Brier score"),
        "base_rate_score": (parts.uncertainty, "Brier score of the frequency of the event"),
        "brier_skill_score": (skill, "Brier skill score against the frequency of the event"),
        "roc_area": (roc_area(table), "area under the relative operating characteristic"),
    }
    variables: dict[str, Any] = {
        name: (_DIMENSIONS, values, {"long_name": described, "units": "1"})
        for name, (values, described) in found.items()
    }
    variables["event_table"] = (
        (*_DIMENSIONS, "observed", "members_with_event"),
        table,
        {"long_name": "relative frequency by event and number of members", "units": "1"},
    )
    if "neighbourhood" in statistics.dims:
        means = [subset_means(statistics[name].values, chosen) for name in FRACTION_STATISTICS]
        variables["fractions_skill_score"] = (
            ("event", "region", "neighbourhood", *_DIMENSIONS[2:]),
            fractions_skill_score(*means),
            {"long_name": "fractions skill score", "units": "1"},
        )
    return variables
