"""Scoring of forecasts that come from files, where fields may be missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.verification.pair_scoring import PairScoring

Array = NDArray[Any]

_OF_ANOMALIES = ("anomaly_correlation", "squared_anomaly", "squared_truth")


@dataclass(frozen=True)
class SourceScoring(PairScoring):
    """Scoring in which a forecast with a missing value counts as absent.

    Its pair of initial time and lead is then left out for all systems and channels, so that they
    are compared on the same pairs. Statistics of anomalies need a climatology.
    """

    @property
    def dimensions(self) -> dict[str, tuple[str, ...]]:
        found = super().dimensions
        if self.climatology is None:
            found = {name: dims for name, dims in found.items() if name not in _OF_ANOMALIES}
        return found

    def statistics(self, first: int, stop: int) -> dict[str, Array]:
        found = super().statistics(first, stop)
        whole = found["squared_error"][0, 0]  # of the forecasts, over the whole area
        lost = np.isnan(whole).any(axis=0) & (found["known"] == 1)
        found["known"] = np.where(lost, 0.0, found["known"])
        return {name: values for name, values in found.items() if name in self.dimensions}
