"""Subsets of pairs of forecast and truth, by the time that they are valid for."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.config.verification_config import WHOLE
from gfrnn.pipeline.states.harmonics import calendar_months

Array = NDArray[Any]

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
"""Names of the subsets of calendar months, in any locale."""

_SEASONS = {"DJF": (12, 1, 2), "MAM": (3, 4, 5), "JJA": (6, 7, 8), "SON": (9, 10, 11)}


def subsets(statistics: xr.Dataset) -> dict[str, Array]:
    """Return which pairs with a truth belong to each subset: bool, shape (times, leads).

    The subset ``all`` comes first. Monthly data are divided by calendar month, other data by season
    and, where there are several, by hour of the day; a division of one part is left out.

    Parameters
    ----------
    statistics : xarray.Dataset
        With ``known`` and ``valid_time``.
    """
    known = statistics["known"].values == 1
    valid = statistics["valid_time"].values
    months = calendar_months(valid.reshape(-1)).reshape(valid.shape)
    found = {WHOLE: known}
    if statistics["prediction_timedelta"].dtype.kind == "i":
        return found | {name: known & (months == n) for n, name in enumerate(MONTHS, 1)}
    seasons = {name: known & np.isin(months, own) for name, own in _SEASONS.items()}
    minutes = (valid.astype("datetime64[m]") - valid.astype("datetime64[D]")).astype(int)
    hours = {
        f"{minute // 60:02d}:{minute % 60:02d} UTC": known & (minutes == minute)
        for minute in np.unique(minutes[known]).tolist()
    }
    for division in (seasons, hours):
        parts = {name: own for name, own in division.items() if own.any()}
        if len(parts) > 1:
            found |= parts
    return found


def subset_means(values: Array, chosen: dict[str, Array]) -> Array:
    """Return the means of a statistic over the pairs of each subset.

    Parameters
    ----------
    values : ndarray, shape (..., times, leads)
    chosen : dict of ndarray
        From :func:`subsets`.

    Returns
    -------
    ndarray, shape (..., subsets, leads)
        NaN where a subset has no pair.
    """
    means = []
    for own in chosen.values():
        with np.errstate(divide="ignore", invalid="ignore"):
            means.append(np.where(own, values, 0.0).sum(axis=-2) / own.sum(axis=0))
    return np.stack(means, axis=-2)
