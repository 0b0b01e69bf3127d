"""Relative change of a score of the forecasts against a reference, with its interval."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gfrnn.workflows.report.labels import percent, signed

Array = NDArray[Any]

SIGNIFICANT = "*"
"""Mark of a change whose interval excludes 0."""

LEAST_CHANGE = 0.05
"""Smallest change in percent that is shown as one; smaller ones are written as ``0.0``.

Where ``fit.widths`` chooses 0, the forecast is that of the linear model but for the rounding of
stored fields, which has a sign and so may have an interval without 0.
"""


class ScoreChange(NamedTuple):
    """Change of a score of the forecasts against a reference, relative to that of the reference.

    Attributes
    ----------
    change, low, high : ndarray, shape (leads,)
        Change (negative where the forecasts are better) and ends of its 95 % interval, in %; the
        ends are NaN where there is no interval.
    """

    change: Array
    low: Array
    high: Array

    @property
    def significant(self) -> Array:
        """Whether a change that is shown has an interval without 0: bool, shape (leads,)."""
        return self.shown & ((self.low > 0) | (self.high < 0))

    @property
    def shown(self) -> Array:
        """Whether the change is LEAST_CHANGE in size or larger: bool, shape (leads,)."""
        with np.errstate(invalid="ignore"):
            return np.isfinite(self.change) & (np.abs(self.change) >= LEAST_CHANGE)

    def cells(self) -> list[str]:
        """Write the changes shortly, as ``-4.3`` or ``-52``, the significant ones with a star."""
        return self._marked(
            [signed(change, 1 if abs(change) < 9.95 else 0) for change in self.change]
        )

    def percents(self) -> list[str]:
        """Write the changes as ``-4.3 %``, the significant ones with a star."""
        return self._marked([percent(100 + change, 100.0) for change in self.change])

    def _marked(self, texts: list[str]) -> list[str]:
        marks = self.significant.tolist()
        return [text + SIGNIFICANT * mark for text, mark in zip(texts, marks, strict=True)]


SCORES = {"rmse": "rmse", "crps": "fair_crps"}
"""Scores that have changes, and the variables with their values."""


def score_change(scores: xr.Dataset, system: str, score: str = "rmse") -> ScoreChange:
    """Return the change of a score against a reference.

    Parameters
    ----------
    scores : xarray.Dataset
        Scores of one channel, region and subset; those of seasons and hours have no intervals.
    system : str
    score : str
        One of SCORES.
    """
    values = scores[SCORES[score]]
    with np.errstate(divide="ignore", invalid="ignore"):
        change = values.sel(system="forecast").values / values.sel(system=system).values - 1
    ends = [np.full(change.shape, np.nan)] * 2
    if f"{score}_change_low" in scores:
        own = scores.sel(system=system)
        ends = [own[f"{score}_change_{end}"].values for end in ("low", "high")]
    return ScoreChange(100 * change, 100 * ends[0], 100 * ends[1])
